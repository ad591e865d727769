"""Who may join, who is head, and whose points go first: tables and what always holds."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.earning import household_holds, households
from services.earning.commands import HoldPoints, MemberName
from services.earning.commands_households import CreateHousehold
from services.earning.domain import (
    NO_ACTIVITY,
    CurrencyId,
    Hold,
    HoldState,
    HouseholdId,
    Lot,
    MemberId,
    MemberKey,
    ProgramId,
    Wallet,
)
from services.earning.expiry import plain
from services.earning.further import Purse
from services.earning.household_records import (
    Household,
    HouseholdPolicy,
    Joined,
    Membership,
    invitation_code,
)
from services.earning.ledger_books import Books
from services.earning.member_records import Frozen
from services.earning.refusals import InsufficientPoints
from services.earning.refusals_households import (
    AlreadyInHousehold,
    HouseholdCoolOff,
    HouseholdsDiffer,
)
from tests.earning.samples import CURRENCY

NOW = datetime(2025, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SHOP, HOME = ProgramId("shop"), HouseholdId("home")


# Who is in which ---------------------------------------------------------------------------------


def household(*names: str) -> Household:
    """The first is the head."""
    return Household(
        program_id=SHOP,
        household_id=HOME,
        head_key=MemberKey(names[0]),
        create_time=NOW,
        joined=len(names),
        members=tuple(
            Joined(member_key=MemberKey(name), number=number, join_time=NOW)
            for number, name in enumerate(names, start=1)
        ),
    )


def membership(name: str, home: str, left_days_ago: int | None) -> Membership:
    return Membership(
        program_id=SHOP,
        member_key=MemberKey(name),
        household_id=HouseholdId(home),
        number=1,
        join_time=NOW - 100 * DAY,
        leave_time=None if left_days_ago is None else NOW - left_days_ago * DAY,
    )


@pytest.mark.parametrize(
    ("left_days_ago", "cool_off_days", "refusal"),
    [
        (None, 0, AlreadyInHousehold),
        (0, 0, None),
        (0, 1, HouseholdCoolOff),
        (29, 30, HouseholdCoolOff),
        (30, 30, None),
        (99, 30, None),
    ],
)
def test_who_left_another_household_waits_for_the_days_of_the_policy(
    left_days_ago: int | None, cool_off_days: int, refusal: type[Exception] | None
) -> None:
    command = CreateHousehold(
        program_id=SHOP, request_id="r", digest="", member_id=MemberId("ann"), unique="new"
    )
    policy = HouseholdPolicy(max_members=2, cool_off_days=cool_off_days)
    before = membership("ann", "old", left_days_ago)

    def create() -> Household:
        return households.create(command, MemberKey("ann"), before, policy, NOW).answer

    if refusal is None:
        assert create().head_key == "ann"
    else:
        with pytest.raises(refusal):
            create()


@pytest.mark.parametrize(
    ("members", "leaving", "left", "head"),
    [
        ("ann bob cy", "bob", "ann cy", "ann"),
        ("ann bob cy", "ann", "bob cy", "bob"),
        ("ann bob cy", "ann bob", "cy", "cy"),
        ("ann", "ann", "", "ann"),
        ("ann bob", "ann bob", "", "ann"),
    ],
)
def test_whoever_joined_first_of_those_who_stay_is_the_head(
    members: str, leaving: str, left: str, head: str
) -> None:
    keys = [MemberKey(name) for name in leaving.split()]
    after = households.leave(household(*members.split()), keys, NOW).answer
    assert " ".join([each.member_key for each in after.members]) == left
    assert after.head_key == head
    assert (after.dissolve_time is None) == bool(left)


@pytest.mark.parametrize(
    ("members", "target", "after"),
    [
        ("ann bob", None, "cy bob"),  # the target is in none, and is head now
        ("bob ann", None, "bob cy"),
        ("ann cy bob", "home", "cy bob"),  # both are in it: one place is given up
        ("ann bob", "other", None),
    ],
)
def test_when_ann_becomes_cy_cy_has_her_place(
    members: str, target: str | None, after: str | None
) -> None:
    home = household(*members.split())
    source = membership("ann", "home", None)
    goal = None if target is None else membership("cy", target, None)
    names = (MemberId("ann"), MemberId("cy"))

    def merge() -> Household:
        made = households.merge(source, goal, home, names, MemberKey("cy"), NOW)
        assert made is not None
        return made.answer

    if after is None:
        with pytest.raises(HouseholdsDiffer):
            merge()
        return
    assert " ".join([each.member_key for each in merge().members]) == after
    assert merge().head_key == after.split(maxsplit=1)[0]


@given(chance=st.binary(min_size=16, max_size=16))
def test_a_code_has_16_characters_none_of_which_looks_like_another(chance: bytes) -> None:
    code = invitation_code(chance)
    assert len(code) == 16
    assert not set(code) & set("01ILOUilou- ")


# Whose points ------------------------------------------------------------------------------------


def purse(name: str, lots: Sequence[tuple[int, int, int]], frozen: int = 0) -> Purse:
    """Lots are points, the day on which they end (0 for never), and the day they came."""
    made = {
        number: Lot(
            lot_sequence=number,
            amount=points,
            remaining=points,
            available_time=NOW - 1_000 * DAY + came * DAY,
            expire_time=NOW + ends * DAY if ends else None,
            activity_id=NO_ACTIVITY,
        )
        for number, (points, ends, came) in enumerate(lots, start=1)
    }
    total = sum([points for points, _, _ in lots])
    wallet = Wallet(
        program_id=SHOP,
        member_key=MemberKey(name),
        currency_id=CURRENCY,
        available=total,
        earned=total,
        sequence=len(lots),
        frozen=frozen,
    )
    return Purse(wallet=wallet, lots=made, policy=plain(CURRENCY))


def command(points: int) -> HoldPoints:
    return HoldPoints(
        program_id=SHOP,
        request_id="r",
        member=MemberName(member_id=MemberId("ann"), member_key=MemberKey("")),
        currency_id=CurrencyId(""),
        points=points,
        duration=DAY,
        reference="",
        unique="u",
        digest="",
        from_household=True,
    )


def placed(points: int, *purses: Purse) -> Hold:
    return household_holds.place(command(points), HOME, purses, NOW).answer


def given_by(hold: Hold) -> dict[str, int]:
    return {share.member_key: share.points for share in hold.shares}


# Points that each has, with the day on which they end; what is taken of 10.
POOLS: list[tuple[str, Mapping[str, Sequence[tuple[int, int, int]]], dict[str, int]]] = [
    ("what ends first goes first", {"ann": [(10, 9, 0)], "bob": [(10, 2, 0)]}, {"bob": 10}),
    (
        "then what ends next, whoever has it",
        {"ann": [(4, 9, 0), (3, 1, 0)], "bob": [(5, 2, 0)]},
        {"ann": 5, "bob": 5},
    ),
    (
        "what never ends goes last",
        {"ann": [(10, 0, 0)], "bob": [(6, 500, 0)]},
        {"ann": 4, "bob": 6},
    ),
    ("ann spends: her own go first", {"ann": [(10, 5, 9)], "bob": [(10, 5, 1)]}, {"ann": 10}),
    (
        "then the older ones",
        {"ann": [(1, 5, 0)], "bob": [(9, 5, 3)], "cy": [(8, 5, 2)]},
        {"ann": 1, "bob": 1, "cy": 8},
    ),
    (
        "then those of the first by key",
        {"ann": [], "cy": [(9, 5, 0)], "bob": [(8, 5, 0)]},
        {"bob": 8, "cy": 2},
    ),
]


@pytest.mark.parametrize(("_", "pool", "expected"), POOLS, ids=[each[0] for each in POOLS])
def test_of_a_household_s_points(
    _: str, pool: Mapping[str, Sequence[tuple[int, int, int]]], expected: dict[str, int]
) -> None:
    hold = placed(10, *(purse(name, lots) for name, lots in pool.items()))
    assert given_by(hold) == expected


def test_a_household_has_no_more_than_its_members_that_are_not_frozen() -> None:
    purses = purse("ann", [(5, 0, 0)]), purse("bob", [(9, 0, 0)], frozen=Frozen.YES)
    with pytest.raises(InsufficientPoints) as refused:
        placed(6, *purses)
    assert refused.value.points_available == 5


@st.composite
def pools(draw: st.DrawFn) -> list[Purse]:
    """Up to four members with up to four lots each; ann, the spender, is not frozen."""
    lots = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 4), st.integers(0, 4)), max_size=4)
    names = ["ann", *draw(st.lists(st.sampled_from(["bob", "cy", "di"]), unique=True))]
    return [
        purse(name, draw(lots), frozen=draw(st.integers(0, 1)) if name != "ann" else 0)
        for name in names
    ]


@given(purses=pools(), data=st.data())
def test_exactly_what_is_asked_for_is_taken_and_what_ends_first_of_nobody_that_is_frozen(
    purses: list[Purse], data: st.DataObject
) -> None:
    active = {each.wallet.member_key: each for each in purses if not each.wallet.frozen}
    available = sum([each.wallet.available for each in active.values()])
    if not available:
        return
    points = data.draw(st.integers(1, available))
    hold = placed(points, *purses)
    assert sum(given_by(hold).values()) == hold.points == points
    assert given_by(hold).keys() <= active.keys()
    taken, left = [], []
    for key, each in active.items():
        uses = {
            use.lot_sequence: -use.points
            for s in hold.shares
            if s.member_key == key
            for use in s.lots
        }
        for number, lot in each.lots.items():
            end = lot.expire_time or NOW + 9_999 * DAY
            part = uses.get(number, 0)
            assert part <= lot.remaining
            taken += [end] if part else []
            left += [end] if part < lot.remaining else []
    assert not left or max(taken) <= min(left)


@given(purses=pools(), data=st.data())
def test_what_a_hold_keeps_is_what_was_used_first_and_the_rest_is_what_goes_back(
    purses: list[Purse], data: st.DataObject
) -> None:
    active = [each for each in purses if not each.wallet.frozen]
    available = sum([each.wallet.available for each in active])
    if not available:
        return
    hold = placed(data.draw(st.integers(1, available)), *purses)
    by_key = {each.wallet.member_key: each for each in active}
    of_shares = [by_key[share.member_key] for share in hold.shares]
    points = data.draw(st.integers(0, hold.points))
    kept = household_holds.kept_of(hold, of_shares, points)
    assert sum(kept) == points
    # To keep fewer is as if fewer had been taken.
    books = [Books.of(each.wallet, each.lots) for each in active]
    alone = household_holds.shared_out(books, MemberKey("ann"), points)
    expected = dict(zip([each.wallet.member_key for each in active], alone, strict=True))
    assert [expected[share.member_key] for share in hold.shares] == kept


def test_the_part_of_a_captured_hold_that_kept_nothing_is_one_that_was_voided() -> None:
    hold = placed(10, purse("ann", [(5, 1, 0)]), purse("bob", [(5, 2, 0)]))
    parts = household_holds.parts_of(hold)
    assert [each.state for each in parts] == [HoldState.OPEN, HoldState.OPEN]
    assert household_holds.of_parts(hold, HoldState.OPEN, parts) == hold
