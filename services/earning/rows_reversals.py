"""Rows of returns as values of the domain, and back; no statement is here."""

from dataclasses import replace

import orjson

from services.earning.domain import (
    NO_HOLD,
    CurrencyId,
    Hold,
    PointsGivenBack,
    Reversal,
    ReversedLine,
)
from shared import record
from shared.database import Row


def reversal_row(reversal: Reversal) -> dict[str, object]:
    """Columns of `reversals`; what it took of further currencies is rows of their own."""
    lines = [(line.line_number, line.quantity, line.amount, line.points) for line in reversal.lines]
    return {
        "program_id": reversal.program_id,
        "reversal_id": reversal.reversal_id,
        "activity_id": reversal.activity_id,
        "member_key": reversal.member_key,
        "occurred_time": reversal.occurred_time,
        "create_time": reversal.create_time,
        "reason": reversal.reason,
        "points": reversal.points,
        "owed": reversal.owed,
        "amount": reversal.amount,
        "lines": record.dumps(lines),
        "points_given_back": reversal.given_back.points if reversal.given_back else 0,
    }


def reversal_of(row: Row, items: tuple[bytes, ...] = (), held: Hold | None = None) -> Reversal:
    """The return of a row of `reversals`.

    `items` are the serialized lines of its activity and `held` is the hold that paid for that, when
    they are needed.
    """
    reversal = Reversal(
        program_id=row.program_id,
        reversal_id=row.reversal_id,
        activity_id=row.activity_id,
        member_key=row.member_key,
        occurred_time=row.occurred_time,
        create_time=row.create_time,
        reason=row.reason,
        points=row.points,
        owed=row.owed,
        amount=row.amount,
        lines=tuple(
            ReversedLine(
                line_number=number,
                quantity=quantity,
                amount=amount,
                points=points,
                item=items[number - 1] if items else b"",
            )
            for number, quantity, amount, points in orjson.loads(row.lines)
        ),
    )
    if not row.points_given_back:
        return reversal
    return replace(
        reversal,
        given_back=PointsGivenBack(
            hold_id=held.hold_id if held else NO_HOLD,
            currency_id=held.currency_id if held else CurrencyId(""),
            points=row.points_given_back,
        ),
    )
