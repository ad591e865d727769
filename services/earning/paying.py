"""Points that pay for an activity: which hold paid, and what returns give back of it.

After any number of returns the points given back are floor(captured * returned so far / all), so
that the last return takes the remainder. By amount, all is the activity's amount; by lines it is
the amounts of all lines, of which each return brings those of its units (`semantics.md`,
"Reversal"). What RefundCapture gave back is gone: together never more is given back than was
captured.
"""

from dataclasses import replace

from services.earning.decisions import Changes
from services.earning.domain import (
    ActivityRecord,
    Hold,
    HoldState,
    PointsGivenBack,
    Reversal,
    ReversalWay,
)
from services.earning.events import ActivityReversed, Recorded
from services.earning.refusals import HoldNotCaptured, HoldOfAnotherMember, HoldUsed
from shared.decision import Decision


def paid(
    decided: Decision[Changes, Recorded], held: Hold, *, is_own: bool
) -> Decision[Changes, Recorded]:
    """A decided activity that a hold paid for, which from now on pays for no other.

    `is_own` says that both are of the same member. Refuses HoldOfAnotherMember, HoldNotCaptured or
    HoldUsed.
    """
    made = decided.state.activity
    if made is None:
        raise AssertionError("what is recorded is an activity")
    if not is_own:
        raise HoldOfAnotherMember(hold_id=held.hold_id)
    if held.state is not HoldState.CAPTURED:
        raise HoldNotCaptured(hold_id=held.hold_id, state=held.state)
    if held.activity_id:
        raise HoldUsed(hold_id=held.hold_id, activity_id=held.activity_id)
    used = replace(held, activity_id=made.activity_id)
    return replace(decided, state=replace(decided.state, hold=used))


def due(record: ActivityRecord, captured: int) -> int:
    """Points that the returns of a record so far come to, of those that its hold captured."""
    match record.reversal_way:
        case ReversalWay.NONE:
            return 0
        case ReversalWay.AMOUNT:
            returned, whole = record.amount_reversed, record.amount
            is_all = True  # an activity without an amount is returned as a whole
        case ReversalWay.LINES:
            returned, whole = record.amount_reversed, sum([line.amount for line in record.lines])
            is_all = all(line.quantity_returned == line.quantity for line in record.lines)
    if not whole:
        return captured if is_all else 0
    return captured * returned // whole


def points_to_give_back(before: ActivityRecord, after: ActivityRecord, held: Hold) -> int:
    """Points that one return gives back, as far as they are still out of their lots."""
    points = due(after, held.captured) - due(before, held.captured)
    return min(points, held.captured - held.refunded)


def joined(
    given: Decision[Changes, Hold], taken: Decision[Changes, Reversal], points: int
) -> Decision[Changes, Reversal]:
    """One decision: points are given back, and over that is taken what was earned."""
    held = given.answer
    back = PointsGivenBack(hold_id=held.hold_id, currency_id=held.currency_id, points=points)
    reversal = replace(taken.answer, given_back=back)
    events = [
        replace(each, reversal=reversal) if isinstance(each, ActivityReversed) else each
        for each in taken.events
    ]
    return Decision(
        state=replace(
            given.state, then=(*given.state.then, replace(taken.state, reversal=reversal))
        ),
        answer=reversal,
        events=(*given.events, *events),
    )
