"""What returns give back of points that paid, in any split, and what may pay."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.earning import paying
from services.earning.decisions import Changes
from services.earning.domain import (
    ActivityId,
    ActivityRecord,
    Hold,
    HoldId,
    HoldState,
    LineRecord,
)
from services.earning.events import Recorded
from services.earning.refusals import HoldNotCaptured, HoldOfAnotherMember, HoldUsed
from services.earning.reversals import Amount, Lines, ReturnedUnits, Whole, give_back
from shared import errors
from shared.decision import Decision
from tests.earning.samples import CURRENCY, KEY, NOW, PROGRAM, record


def hold(
    captured: int,
    refunded: int = 0,
    state: HoldState = HoldState.CAPTURED,
    activity_id: str = "",
) -> Hold:
    return Hold(
        program_id=PROGRAM,
        hold_id=HoldId("h-1"),
        member_key=KEY,
        currency_id=CURRENCY,
        points=max(captured, 1),
        captured=captured,
        refunded=refunded,
        state=state,
        expire_time=NOW,
        reference="",
        entry_sequence=1,
        lots=(),
        activity_id=ActivityId(activity_id),
    )


def line(number: int, quantity: int, amount: int) -> LineRecord:
    return LineRecord(line_number=number, quantity=quantity, amount=amount, points=0)


def units(*returned: tuple[int, int]) -> Lines:
    return Lines(
        lines=tuple(
            ReturnedUnits(line_number=number, quantity=quantity) for number, quantity in returned
        )
    )


def returned(
    bought: ActivityRecord, held: Hold, *scopes: Whole | Lines | Amount | int
) -> list[int]:
    """Points that each return gives back; a number is so many points of RefundCapture."""
    given_back: list[int] = []
    for scope in scopes:
        if isinstance(scope, int):
            held = replace(held, refunded=held.refunded + scope)
            continue
        after = give_back(bought, scope).record
        given_back.append(paying.points_to_give_back(bought, after, held))
        bought, held = after, replace(held, refunded=held.refunded + given_back[-1])
    return given_back


ORDER = record(amount=20_000, points=160)
BASKET = record(lines=(line(1, 3, 1_000), line(2, 1, 0), line(3, 1, 2_000)), points=0)
FREE = record(lines=(line(1, 2, 0), line(2, 1, 0)), points=0)


@pytest.mark.parametrize(
    ("bought", "captured", "scopes", "expected"),
    [
        (ORDER, 4_000, [Whole()], [4_000]),
        (ORDER, 4_000, [Amount(amount=8_000), Whole()], [1_600, 2_400]),
        (ORDER, 100, [Amount(amount=1), Amount(amount=199), Whole()], [0, 1, 99]),
        (ORDER, 1, [Amount(amount=19_999), Amount(amount=1)], [0, 1]),
        (ORDER, 0, [Whole()], [0]),
        (BASKET, 100, [units((1, 1)), units((1, 1)), units((1, 1))], [11, 11, 11]),
        (BASKET, 100, [units((1, 3)), units((2, 1)), units((3, 1))], [33, 0, 67]),
        (BASKET, 100, [units((2, 1)), Whole()], [0, 100]),
        (FREE, 100, [units((1, 2)), units((2, 1))], [0, 100]),
        (record(amount=0, points=30), 100, [Whole()], [100]),
        (ORDER, 100, [30, Whole()], [70]),
        (ORDER, 100, [30, Amount(amount=10_000), Amount(amount=10_000)], [50, 20]),
        (ORDER, 100, [Amount(amount=10_000), 50, Amount(amount=10_000)], [50, 0]),
        (ORDER, 100, [100, Whole()], [0]),
    ],
)
def test_returns_give_back_the_floor_of_the_total_so_far_and_the_last_the_rest(
    bought: ActivityRecord,
    captured: int,
    scopes: list[Whole | Lines | Amount | int],
    expected: list[int],
) -> None:
    assert returned(bought, hold(captured), *scopes) == expected


@given(st.integers(0, 10**12), st.integers(1, 10**15), st.data())
def test_any_split_by_amount_with_refunds_between_gives_back_what_was_captured_and_no_more(
    captured: int, amount: int, data: st.DataObject
) -> None:
    bought, held, left = record(amount=amount, points=0), hold(captured), amount
    while left:
        held = replace(held, refunded=data.draw(st.integers(held.refunded, captured)))
        part = left if data.draw(st.booleans()) else data.draw(st.integers(1, left))
        (points,) = returned(bought, held, Amount(amount=part))
        bought, left = give_back(bought, Amount(amount=part)).record, left - part
        held = replace(held, refunded=held.refunded + points)
        assert captured * (amount - left) // amount <= held.refunded <= captured
        assert points >= 0
    assert held.refunded == captured


@given(st.integers(0, 10**12), st.lists(st.tuples(st.integers(1, 9), st.integers(0, 999))))
def test_any_order_of_units_gives_back_the_same_total(
    captured: int, bought: list[tuple[int, int]]
) -> None:
    lines = [(1, 5), *bought]
    basket = record(
        lines=tuple(line(number, *each) for number, each in enumerate(lines, start=1)), points=0
    )
    single = [
        units((number, 1)) for number, each in enumerate(lines, start=1) for _ in range(each[0])
    ]
    for order in (single, single[::-1]):
        assert sum(returned(basket, hold(captured), *order)) == captured


@pytest.mark.parametrize(
    ("held", "is_own", "refused"),
    [
        (hold(10), False, HoldOfAnotherMember(hold_id="h-1")),
        (
            hold(0, state=HoldState.OPEN),
            True,
            HoldNotCaptured(hold_id="h-1", state=HoldState.OPEN),
        ),
        (
            hold(0, state=HoldState.VOIDED),
            True,
            HoldNotCaptured(hold_id="h-1", state=HoldState.VOIDED),
        ),
        (hold(10, activity_id="a-0"), True, HoldUsed(hold_id="h-1", activity_id="a-0")),
    ],
)
def test_what_cannot_have_paid_is_refused(
    held: Hold, refused: errors.Refusal, *, is_own: bool
) -> None:
    answer = Recorded(create_time=NOW, currency_id=CURRENCY, points=0, explanation="")
    decided = Decision(state=Changes(activity=ORDER), answer=answer)
    with pytest.raises(type(refused)) as caught:
        paying.paid(decided, held, is_own=is_own)
    assert caught.value == refused
