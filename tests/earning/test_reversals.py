"""What returns give back, in any split, by lines and by amount."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.earning.domain import ActivityRecord, LineRecord, ReversalWay
from services.earning.refusals import (
    AmountNotReturnable,
    LineNotFound,
    NothingLeftToReverse,
    QuantityNotReturnable,
    ReversalWayChanged,
)
from services.earning.reversals import Amount, GivenBack, Lines, ReturnedUnits, Whole, give_back
from shared import errors
from tests.earning.samples import record


def units(*returned: tuple[int, int]) -> Lines:
    return Lines(
        lines=tuple(
            ReturnedUnits(line_number=number, quantity=quantity) for number, quantity in returned
        )
    )


def line(number: int, quantity: int, amount: int, points: int) -> LineRecord:
    return LineRecord(line_number=number, quantity=quantity, amount=amount, points=points)


def all_given(start: ActivityRecord, *scopes: Whole | Lines | Amount) -> list[GivenBack]:
    given_back = []
    for scope in scopes:
        given_back.append(give_back(start, scope))
        start = given_back[-1].record
    return given_back


@pytest.mark.parametrize(
    ("earned", "amount", "returned", "expected"),
    [
        (300, 20_000, [8_000], [120]),  # silver 1.5x: 200 yuan earned 300, 80 returned
        (300, 20_000, [8_000, 12_000], [120, 180]),
        (10, 3_000, [1_000, 1_000, 1_000], [3, 3, 4]),
        (1, 3_000, [1_000, 1_000, 1_000], [0, 0, 1]),
        (0, 3_000, [3_000], [0]),
    ],
)
def test_amounts_give_back_the_floor_of_the_total_so_far(
    earned: int, amount: int, returned: list[int], expected: list[int]
) -> None:
    scopes = [Amount(amount=each) for each in returned]
    given_back = all_given(record(points=earned, amount=amount), *scopes)
    assert [each.points for each in given_back] == expected
    assert [each.amount for each in given_back] == returned


def test_lines_give_back_their_own_points_by_units() -> None:
    bought = record(lines=(line(1, 3, 1_000, 10), line(2, 2, 500, 5)))
    first, second, third = all_given(
        bought, units((1, 1)), units((1, 1), (2, 1)), units((1, 1), (2, 1))
    )
    assert [first.points, second.points, third.points] == [3, 3 + 2, 4 + 3]
    assert [first.amount, second.amount, third.amount] == [333, 333 + 250, 334 + 250]
    assert third.record.amount_reversed == 1_500
    assert [each.quantity for each in second.lines] == [1, 1]


def test_a_line_that_earned_nothing_gives_back_its_amount_and_no_points() -> None:
    (given_back,) = all_given(record(lines=(line(1, 2, 700, 0),)), units((1, 2)))
    assert (given_back.points, given_back.amount) == (0, 700)


def test_the_whole_is_what_has_not_been_returned_yet() -> None:
    bought = record(lines=(line(1, 3, 1_000, 10), line(2, 2, 500, 5)))
    first, rest = all_given(bought, units((1, 2)), Whole())
    assert [(each.line_number, each.quantity) for each in rest.lines] == [(1, 1), (2, 2)]
    assert first.points + rest.points == 15
    assert first.amount + rest.amount == 1_500


def test_the_whole_of_what_was_returned_by_amount_is_the_rest_of_the_amount() -> None:
    bought = record(points=15, amount=1_500, lines=(line(1, 3, 1_500, 15),))
    first, rest = all_given(bought, Amount(amount=400), Whole())
    assert (first.points, rest.points, rest.amount, rest.lines) == (4, 11, 1_100, ())


def test_an_activity_without_money_is_reversed_as_a_whole_once() -> None:
    (given_back,) = all_given(record(points=30, amount=0), Whole())
    assert given_back.points == 30
    with pytest.raises(NothingLeftToReverse):
        give_back(given_back.record, Whole())


TWO_LINES = record(points=15, amount=1_500, lines=(line(1, 3, 1_000, 10), line(2, 2, 500, 5)))
BY_LINES = give_back(TWO_LINES, units((1, 3))).record
BY_AMOUNT = give_back(TWO_LINES, Amount(amount=1_000)).record


@pytest.mark.parametrize(
    ("start", "scope", "refused"),
    [
        (TWO_LINES, units((3, 1)), LineNotFound(line_number=3, line_count=2)),
        (
            TWO_LINES,
            units((2, 3)),
            QuantityNotReturnable(line_number=2, quantity=3, quantity_returnable=2),
        ),
        (
            BY_LINES,
            units((1, 1)),
            QuantityNotReturnable(line_number=1, quantity=1, quantity_returnable=0),
        ),
        (
            BY_AMOUNT,
            Amount(amount=501),
            AmountNotReturnable(amount_minor=501, amount_minor_returnable=500),
        ),
        (BY_LINES, Amount(amount=1), ReversalWayChanged(way=ReversalWay.LINES)),
        (BY_AMOUNT, units((1, 1)), ReversalWayChanged(way=ReversalWay.AMOUNT)),
        (
            record(points=5, amount=0),
            Amount(amount=1),
            AmountNotReturnable(amount_minor=1, amount_minor_returnable=0),
        ),
        (
            give_back(TWO_LINES, Whole()).record,
            Whole(),
            NothingLeftToReverse(activity_id=TWO_LINES.activity_id),
        ),
        (
            give_back(BY_AMOUNT, Whole()).record,
            Whole(),
            NothingLeftToReverse(activity_id=TWO_LINES.activity_id),
        ),
    ],
)
def test_what_cannot_be_returned_is_refused(
    start: ActivityRecord, scope: Whole | Lines | Amount, refused: errors.Refusal
) -> None:
    with pytest.raises(type(refused)) as caught:
        give_back(start, scope)
    assert caught.value == refused


@given(st.data())
def test_any_split_of_units_gives_back_the_same_total_and_never_more_than_was_earned(
    data: st.DataObject,
) -> None:
    quantity = data.draw(st.integers(1, 40))
    earned, amount = data.draw(st.integers(0, 500)), data.draw(st.integers(0, 500))
    bought = record(lines=(line(1, quantity, amount, earned),))
    returned = points = money = 0
    while returned < quantity:
        part = data.draw(st.integers(1, quantity - returned))
        given_back = give_back(bought, units((1, part)))
        bought, returned = given_back.record, returned + part
        points, money = points + given_back.points, money + given_back.amount
        assert points == earned * returned // quantity
        assert money == amount * returned // quantity
    assert (points, money) == (earned, amount)


@given(st.integers(0, 10**15), st.integers(1, 10**15), st.data())
def test_any_split_of_the_amount_gives_back_the_same_total(
    earned: int, amount: int, data: st.DataObject
) -> None:
    bought = record(points=earned, amount=amount)
    left, points = amount, 0
    for _ in range(4):
        part = data.draw(st.integers(1, left))
        given_back = give_back(bought, Amount(amount=part))
        bought, left, points = given_back.record, left - part, points + given_back.points
        assert points == earned * (amount - left) // amount
        if not left:
            return
    assert points + give_back(bought, Whole()).points == earned
