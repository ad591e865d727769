"""Recomputes what became of reversals that came before their activity. Pure.

They are replayed over the activity as it was when it was recorded, in the order in which they came.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from services.earning.audit import DETAIL_MAX, Violation
from services.earning.domain import ActivityRecord, Reversal, ReversalState, ReversalWay
from services.earning.refusals import (
    ActivityNotFound,
    AmountNotReturnable,
    LineNotFound,
    NothingLeftToReverse,
    QuantityNotReturnable,
    ReversalWayChanged,
)
from services.earning.reversals import GivenBack, give_back
from services.earning.waiting_records import WaitingReversal
from shared import errors

_REFUSED = {
    each.reason
    for each in (
        *(ActivityNotFound, AmountNotReturnable, LineNotFound, NothingLeftToReverse),
        *(QuantityNotReturnable, ReversalWayChanged),
    )
}
"""Reasons that follow from the record alone; others come of the wallet as it was then."""


def audit_activity(
    kept: Sequence[WaitingReversal],
    record: ActivityRecord | None,
    reversals: Mapping[str, Reversal],
    *,
    is_reserved: bool,
    is_blanked: bool,
) -> Iterator[Violation]:
    """What does not agree between the reversals that came before an activity and what was booked.

    `kept` are all of them, by number; `record` is the activity, None while there is none, and
    `reversals` are those that were applied; `is_reserved` tells of the activity's key.
    `is_blanked` says that reasons may be gone with the member.
    """
    fresh = None if record is None else _as_recorded(record)
    for number, each in enumerate(kept, start=1):
        if each.number != number:
            yield _violation(each, f"number {number}", f"number {each.number}")
        applied = reversals.get(each.order.reversal_id)
        if applied is not None and is_blanked and not each.order.reason:
            applied = replace(applied, reason="")
        if each.state is ReversalState.WAITING:
            if record is not None or not is_reserved or applied is not None:
                found = "the activity is recorded" if record else "nothing would wake it"
                yield _violation(each, "an activity that is yet to come", found)
            continue
        given: GivenBack | None = None
        expected = ActivityNotFound.reason
        if fresh is not None and record is not None and each.settle_time == record.create_time:
            try:
                given, expected = give_back(fresh, each.order.scope), ""
            except errors.Refusal as refusal:
                expected = refusal.reason
        if each.rejected_reason not in {expected, *_other(each.rejected_reason)}:
            yield _violation(each, expected or "applied", each.rejected_reason or "applied")
        if each.state is ReversalState.APPLIED and given is not None:
            fresh = given.record
        wanted = _of(each, given) if each.state is ReversalState.APPLIED else None
        booked = None if applied is None else _booked(applied)
        if wanted != booked:
            yield _violation(each, str(wanted), str(booked))


def _other(reason: str) -> set[str]:
    return {reason} - _REFUSED - {""}


def _as_recorded(record: ActivityRecord) -> ActivityRecord:
    """The record before anything of it was returned."""
    return replace(
        record,
        points_reversed=0,
        amount_reversed=0,
        reversal_way=ReversalWay.NONE,
        lines=tuple(
            replace(line, quantity_returned=0, amount_returned=0, points_returned=0)
            for line in record.lines
        ),
    )


def _of(each: WaitingReversal, given: GivenBack | None) -> object:
    lines = () if given is None else given.lines
    order = each.order
    return (
        order.activity_id,
        order.occurred_time,
        each.settle_time,
        order.reason,
        None if given is None else given.amount,
        [(line.line_number, line.quantity, line.amount, line.points) for line in lines],
    )


def _booked(applied: Reversal) -> object:
    return (
        applied.activity_id,
        applied.occurred_time,
        applied.create_time,
        applied.reason,
        applied.amount,
        [(line.line_number, line.quantity, line.amount, line.points) for line in applied.lines],
    )


def _violation(each: WaitingReversal, expected: str, found: str) -> Violation:
    return Violation(
        rule="waiting_reversals",
        subject=f"{each.order.program_id}/{each.order.reversal_id}",
        detail=f"expected {expected}, found {found}"[:DETAIL_MAX],
    )
