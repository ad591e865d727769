"""What a return gives back: of the stored record alone, never by today's rules.

After any number of partial returns the total given back is floor(earned * returned so far / all),
so that the last one takes the remainder and never more than was earned; by lines the same with each
line's own points and units (`semantics.md`, "Reversal").
"""

from collections.abc import Sequence
from dataclasses import replace

from services.earning.domain import (
    ActivityRecord,
    LineRecord,
    ReversalWay,
    ReversedLine,
)
from services.earning.refusals import (
    AmountNotReturnable,
    LineNotFound,
    NothingLeftToReverse,
    QuantityNotReturnable,
    ReversalWayChanged,
)
from shared.values import value


@value
class Whole:
    """Everything that has not been reversed yet."""


@value
class ReturnedUnits:
    """Units of one line, counted from 1."""

    line_number: int
    quantity: int


@value
class Lines:
    """Units of lines, each line at most once."""

    lines: tuple[ReturnedUnits, ...]


@value
class Amount:
    """A part of the amount, in minor units."""

    amount: int


@value
class GivenBack:
    """What a reversal gives back, and the record as it is afterwards.

    `points` is what is to be taken from the member; how much of it can be is for the ledger to say.
    """

    record: ActivityRecord
    points: int
    amount: int
    lines: tuple[ReversedLine, ...]


def give_back(record: ActivityRecord, scope: Whole | Lines | Amount) -> GivenBack:
    """Decide one reversal; `points_reversed` of the record is left to the ledger's word.

    Refuses ReversalWayChanged, LineNotFound, QuantityNotReturnable, AmountNotReturnable or
    NothingLeftToReverse.
    """
    match scope:
        case Lines(lines=units):
            return _by_lines(record, units)
        case Amount(amount=amount):
            return _by_amount(record, amount)
        case Whole():
            return _whole(record)


def _whole(record: ActivityRecord) -> GivenBack:
    if record.reversal_way is not ReversalWay.AMOUNT and record.lines:
        units = tuple(
            ReturnedUnits(line_number=line.line_number, quantity=left)
            for line in record.lines
            if (left := line.quantity - line.quantity_returned)
        )
        if not units:
            raise NothingLeftToReverse(activity_id=record.activity_id)
        return _by_lines(record, units)
    left = record.amount - record.amount_reversed
    if left:
        return _by_amount(record, left)
    if record.amount or record.reversal_way is not ReversalWay.NONE:
        raise NothingLeftToReverse(activity_id=record.activity_id)
    return GivenBack(
        record=replace(record, reversal_way=ReversalWay.AMOUNT),
        points=record.points,
        amount=0,
        lines=(),
    )


def _by_lines(record: ActivityRecord, units: Sequence[ReturnedUnits]) -> GivenBack:
    _check_way(record, ReversalWay.LINES)
    lines = list(record.lines)
    reversed_lines: list[ReversedLine] = []
    for returned in units:
        if not 1 <= returned.line_number <= len(lines):
            raise LineNotFound(line_number=returned.line_number, line_count=len(lines))
        before = lines[returned.line_number - 1]
        after = _returned(before, returned.quantity)
        lines[returned.line_number - 1] = after
        reversed_lines.append(
            ReversedLine(
                line_number=before.line_number,
                quantity=returned.quantity,
                amount=after.amount_returned - before.amount_returned,
                points=after.points_returned - before.points_returned,
                item=before.item,
            )
        )
    amount = sum(line.amount for line in reversed_lines)
    return GivenBack(
        record=replace(
            record,
            lines=tuple(lines),
            amount_reversed=record.amount_reversed + amount,
            reversal_way=ReversalWay.LINES,
        ),
        points=sum(line.points for line in reversed_lines),
        amount=amount,
        lines=tuple(reversed_lines),
    )


def _returned(line: LineRecord, quantity: int) -> LineRecord:
    left = line.quantity - line.quantity_returned
    if quantity > left:
        raise QuantityNotReturnable(
            line_number=line.line_number, quantity=quantity, quantity_returnable=left
        )
    so_far = line.quantity_returned + quantity
    return replace(
        line,
        quantity_returned=so_far,
        amount_returned=line.amount * so_far // line.quantity,
        points_returned=line.points * so_far // line.quantity,
    )


def _by_amount(record: ActivityRecord, amount: int) -> GivenBack:
    _check_way(record, ReversalWay.AMOUNT)
    left = record.amount - record.amount_reversed
    if amount > left:
        raise AmountNotReturnable(amount_minor=amount, amount_minor_returnable=left)
    so_far = record.amount_reversed + amount
    before = record.points * record.amount_reversed // record.amount
    return GivenBack(
        record=replace(record, amount_reversed=so_far, reversal_way=ReversalWay.AMOUNT),
        points=record.points * so_far // record.amount - before,
        amount=amount,
        lines=(),
    )


def _check_way(record: ActivityRecord, way: ReversalWay) -> None:
    if record.reversal_way not in {ReversalWay.NONE, way}:
        raise ReversalWayChanged(way=record.reversal_way)
