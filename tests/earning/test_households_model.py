"""Any order of pooled holds, captures, voids and refunds: books of members that always agree."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from services.earning import deciding
from services.earning.commands import (
    CaptureHold,
    Command,
    HoldPoints,
    MemberName,
    RefundCapture,
    VoidHold,
)
from services.earning.domain import (
    NO_ACTIVITY,
    CurrencyId,
    Hold,
    HoldId,
    HoldState,
    HouseholdId,
    Lot,
    MemberId,
    MemberKey,
    Wallet,
)
from services.earning.household_records import Household, Joined, Membership
from services.earning.households_world import Households
from services.earning.program import parse
from services.earning.world import World
from shared.errors import Refusal
from tests.earning.nodes import document
from tests.earning.samples import CURRENCY, PROGRAM

NOW = datetime(2025, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOME = HouseholdId("home")
NAMES = ("ann", "bob", "cy")


def key(name: str) -> MemberKey:
    return MemberKey(name.ljust(4, "0") + "0" * 28)


@dataclass(slots=True)
class House:
    """A household whose members have lots, and what was done; no database."""

    world: World
    before: dict[str, dict[int, int]]
    holds: list[HoldId] = field(default_factory=list)
    number: int = 0

    def do(self, command: Command) -> object:
        """Decide a command and go on from there; None when it is refused."""
        self.number += 1
        try:
            decided = deciding.DECIDERS[type(command)](self.world, command, NOW)
        except Refusal:
            return None
        self.world.put(decided.state)
        return decided.answer

    def hold(self, name: str, points: int) -> None:
        made = self.do(
            HoldPoints(
                program_id=PROGRAM,
                request_id="",
                member=MemberName(member_id=MemberId(""), member_key=key(name)),
                currency_id=CurrencyId(""),
                points=points,
                duration=DAY,
                reference="",
                unique=f"-{self.number}",
                digest="",
                from_household=True,
            )
        )
        if isinstance(made, Hold):
            self.holds.append(made.hold_id)

    def check(self) -> None:
        """What must hold after anything."""
        held, spent = dict.fromkeys(NAMES, 0), dict.fromkeys(NAMES, 0)
        out = {name: dict.fromkeys(lots, 0) for name, lots in self.before.items()}
        for hold in self.world.holds.values():
            assert sum([each.points for each in hold.shares]) == hold.points
            assert sum([each.captured for each in hold.shares]) == hold.captured
            assert sum([each.refunded for each in hold.shares]) == hold.refunded
            for share in hold.shares:
                name = share.member_key.rstrip("0")
                is_open = hold.state is HoldState.OPEN
                kept = share.points if is_open else share.captured - share.refunded
                held[name] += kept if is_open else 0
                spent[name] += 0 if is_open else kept
                assert -sum([use.points for use in share.lots]) == kept
                for use in share.lots:
                    out[name][use.lot_sequence] -= use.points
        for name in NAMES:
            place = (PROGRAM, key(name), CURRENCY)
            wallet, lots = self.world.wallets[place], self.world.lots[place]
            left = {number: lot.remaining for number, lot in lots.items()}
            assert {number: left[number] + out[name][number] for number in left} == self.before[
                name
            ]
            assert wallet.available == sum(left.values())
            assert (wallet.held, wallet.spent) == (held[name], spent[name])


def ending(what: str, hold_id: HoldId, points: int) -> Command:
    """A capture or a refund of some points, 0 for all, or the end of a hold."""
    if what == "void":
        return VoidHold(program_id=PROGRAM, request_id="", digest="", hold_id=hold_id)
    kind = CaptureHold if what == "capture" else RefundCapture
    return kind(program_id=PROGRAM, request_id="", digest="", hold_id=hold_id, points=points)


@st.composite
def houses(draw: st.DrawFn) -> House:
    """Three members with up to three lots each, some of which end."""
    parsed = parse(PROGRAM, 1, document(households={"max_members": 4}).SerializeToString())
    world = World(programs={PROGRAM: parsed}, households=Households())
    assert world.households is not None
    before: dict[str, dict[int, int]] = {}
    for name in NAMES:
        given_lots = draw(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 3)), max_size=3))
        place = (PROGRAM, key(name), CURRENCY)
        world.lots[place] = {
            number: Lot(
                lot_sequence=number,
                amount=points,
                remaining=points,
                available_time=NOW - DAY,
                expire_time=NOW + ends * DAY if ends else None,
                activity_id=NO_ACTIVITY,
            )
            for number, (points, ends) in enumerate(given_lots, start=1)
        }
        before[name] = {number: lot.remaining for number, lot in world.lots[place].items()}
        total = sum(before[name].values())
        world.wallets[place] = Wallet(
            program_id=PROGRAM,
            member_key=key(name),
            currency_id=CURRENCY,
            available=total,
            earned=total,
            sequence=len(given_lots),
        )
    joined = tuple(
        Joined(member_key=key(name), number=number, join_time=NOW)
        for number, name in enumerate(NAMES, start=1)
    )
    world.households.by_id[PROGRAM, HOME] = Household(
        program_id=PROGRAM,
        household_id=HOME,
        head_key=key("ann"),
        create_time=NOW,
        joined=len(NAMES),
        members=joined,
    )
    for each in joined:
        world.households.memberships[PROGRAM, each.member_key] = Membership(
            program_id=PROGRAM,
            member_key=each.member_key,
            household_id=HOME,
            number=each.number,
            join_time=NOW,
        )
    return House(world, before)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["hold", "capture", "void", "refund"]),
        st.sampled_from(NAMES),
        st.integers(0, 5),
        st.integers(0, 40),
    ),
    max_size=12,
)


@given(house=houses(), steps=STEPS)
@settings(max_examples=150, deadline=None)
def test_whatever_is_done_every_lot_has_what_it_had_less_what_holds_have_of_it(
    house: House, steps: list[tuple[str, str, int, int]]
) -> None:
    for what, name, at, points in steps:
        if what == "hold":
            house.hold(name, max(1, points))
        elif house.holds:
            hold_id = house.holds[at % len(house.holds)]
            house.do(ending(what, hold_id, points))
        house.check()
    for hold_id in house.holds:
        house.do(ending("void", hold_id, 0))
        house.do(ending("refund", hold_id, 0))
    house.check()
    for name in NAMES:
        wallet = house.world.wallets[PROGRAM, key(name), CURRENCY]
        assert (wallet.available, wallet.held) == (sum(house.before[name].values()), 0)
