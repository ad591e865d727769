"""Which activities qualify, who stands above whom, what a code looks like: tables."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.earning import program, referrals, wire
from services.earning.commands_referrals import ClaimReferral
from services.earning.domain import LineRecord, MemberId, MemberKey, ProgramId, ReversalWay
from services.earning.expiry import UTC_ZONE
from services.earning.referral_records import code_of, read_code
from services.earning.refusals_referrals import ReferralCycle, SelfReferral
from tests.earning import samples
from tests.earning.nodes import document, purchase

NOW = datetime(2025, 6, 1, tzinfo=UTC)


def key(number: int) -> MemberKey:
    return MemberKey(f"{number:032x}")


@pytest.mark.parametrize(
    ("policy", "type_", "pounds", "expected"),
    [
        ({}, "purchase", 1, True),
        ({}, "visit", 1, True),
        ({"activity_types": ["purchase"]}, "purchase", 1, True),
        ({"activity_types": ["purchase"]}, "visit", 1, False),
        ({"condition": "activity.payment.amount_minor >= 1000"}, "visit", 10, True),
        ({"condition": "activity.payment.amount_minor >= 1000"}, "visit", 9, False),
        ({"condition": "1 / (activity.payment.amount_minor - 1000) == 0"}, "visit", 10, False),
        (
            {"activity_types": ["purchase"], "condition": 'activity.source == "till"'},
            "visit",
            1,
            False,
        ),
    ],
)
def test_an_activity_qualifies_by_type_and_condition_and_one_that_fails_does_not(
    policy: dict[str, object], type_: str, pounds: int, *, expected: bool
) -> None:
    made = document(referral={"friend_points": 1, **policy})
    parsed = program.parse("shop", 1, made.SerializeToString()).referral
    assert parsed is not None
    activity = purchase("a", amount=pounds * 100, type_=type_)
    deed = wire.deed_of(activity.SerializeToString())
    assert referrals.qualifies(parsed, deed, UTC_ZONE) is expected


@pytest.mark.parametrize(
    ("edges", "start", "expected"),
    [
        ({}, 1, [1]),
        ({1: 2}, 1, [1, 2]),
        ({1: 2, 2: 3, 4: 3}, 1, [1, 2, 3]),
        ({1: 2, 2: 1}, 1, [1, 2]),  # of members that were merged
    ],
)
def test_who_stands_above_a_member(edges: dict[int, int], start: int, expected: list[int]) -> None:
    chains = {key(one): key(other) for one, other in edges.items()}
    assert referrals.above(chains, key(start)) == [key(each) for each in expected]


def test_a_chain_that_is_too_long_takes_nobody_more() -> None:
    chains = {key(number): key(number + 1) for number in range(2_000)}
    fits = referrals.above(chains, key(2_001 - referrals.ABOVE_MAX))
    assert len(fits) == referrals.ABOVE_MAX
    claimed("a", 5_000, fits)
    too_long = referrals.above(chains, key(2_000 - referrals.ABOVE_MAX))
    assert len(too_long) == referrals.ABOVE_MAX + 1
    with pytest.raises(ReferralCycle):
        claimed("a", 5_000, too_long)


def claimed(code: str, friend: int, chain: list[MemberKey]) -> None:
    command = ClaimReferral(
        program_id=ProgramId("shop"),
        request_id="r",
        member_id=MemberId(str(friend)),
        code=code,
        unique="u",
        digest="",
    )
    referrals.claim(command, key(friend), chain, is_referred=False, has_qualified=False, now=NOW)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=40))
def test_whatever_is_claimed_in_whatever_order_nobody_stands_above_itself(
    claims: list[tuple[int, int]],
) -> None:
    chains: dict[MemberKey, MemberKey] = {}
    for friend, referrer in claims:
        if key(friend) in chains:
            continue
        reachable = {friend}  # whoever came by the friend, and so on down
        for _ in range(8):
            reachable |= {
                one for one in range(8) if chains.get(key(one)) in {key(each) for each in reachable}
            }
        try:
            claimed("a", friend, referrals.above(chains, key(referrer)))
        except SelfReferral:
            assert friend == referrer
        except ReferralCycle:
            assert referrer in reachable - {friend}
        else:
            assert referrer not in reachable
            chains[key(friend)] = key(referrer)


def test_an_activity_is_returned_when_all_of_it_is() -> None:
    lines = tuple(
        LineRecord(line_number=number, quantity=2, amount=500, points=5) for number in (1, 2)
    )
    record = samples.record(lines=lines)
    none = replace(record, reversal_way=ReversalWay.NONE)
    part = replace(
        record,
        reversal_way=ReversalWay.LINES,
        lines=(replace(lines[0], quantity_returned=lines[0].quantity), *lines[1:]),
    )
    whole = replace(
        part, lines=tuple(replace(each, quantity_returned=each.quantity) for each in lines)
    )
    amount = replace(record, reversal_way=ReversalWay.AMOUNT, amount_reversed=record.amount)
    less = replace(amount, amount_reversed=record.amount - 1)
    found = [referrals.is_returned(each) for each in (none, part, whole, amount, less)]
    assert found == [False, False, True, True, False]


@given(st.binary(min_size=16, max_size=16), st.integers(0, 7))
def test_a_code_is_read_as_it_is_however_it_is_typed(chance: bytes, attempt: int) -> None:
    code = code_of(chance, attempt)
    assert len(code) == 8
    assert not set(code) & set("01ILOU")
    assert read_code(f" {code[:3].lower()}-{code[3:]} ") == code
    assert code_of(chance, attempt + 1) != code
