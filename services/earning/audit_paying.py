"""Recomputes what returns gave back of the points that paid, and says what does not agree.

The rule that violations name is activity_paid: the activity and the hold that paid for it name each
other, and returns gave back what they come to, as far as it was still there, by entries.
"""

from collections.abc import Iterable, Iterator, Mapping

from services.earning import paying
from services.earning.audit import Violation
from services.earning.domain import ActivityRecord, Entry, Hold, ProgramId, Reversal

_RULE = "activity_paid"


def audit_activity(
    record: ActivityRecord, held: Hold | None, reversals: Iterable[Reversal]
) -> Iterator[Violation]:
    """What does not agree between an activity, the hold that paid for it, and what came back."""
    subject = f"{record.program_id}/{record.activity_id}"
    given = sum([each.given_back.points for each in reversals if each.given_back is not None])
    if not record.points_hold_id:
        if given:
            yield _violation(subject, "expected nothing that paid", f"{given} points given back")
        return
    if held is None or held.activity_id != record.activity_id:
        found = "no such hold" if held is None else f"one that paid for {held.activity_id!r}"
        yield _violation(subject, f"expected hold {record.points_hold_id}", found)
        return
    due = paying.due(record, held.captured)
    is_all = held.refunded == held.captured
    if given > due or (given < due and not is_all) or given > held.refunded:
        detail = f"{given}, of which {held.refunded} were refunded"
        yield _violation(subject, f"expected {due} points given back", detail)


def audit_holds(holds: Iterable[Hold], paid: Mapping[str, str]) -> Iterator[Violation]:
    """Holds that say that they paid for an activity, which says otherwise.

    `paid` are the holds that paid, by activity.
    """
    for held in holds:
        if held.activity_id and paid.get(held.activity_id) != held.hold_id:
            found = f"that hold {paid.get(held.activity_id, '')!r} paid for it"
            subject = f"{held.program_id}/{held.hold_id}"
            yield _violation(subject, f"expected activity {held.activity_id} to name it", found)


def audit_entries(
    program_id: ProgramId, refunds: Iterable[Entry], given: Mapping[str, int]
) -> Iterator[Violation]:
    """Entries that gave points back with returns, against what the returns say, by activity."""
    booked: dict[str, int] = {}
    for entry in refunds:
        booked[entry.activity_id] = booked.get(entry.activity_id, 0) - entry.program_delta
    for activity_id, points in booked.items():
        if given.get(activity_id, 0) != points:
            subject = f"{program_id}/{activity_id}"
            yield _violation(
                subject, f"expected {points} points given back", str(given.get(activity_id, 0))
            )


def _violation(subject: str, expected: str, found: str) -> Violation:
    return Violation(rule=_RULE, subject=subject, detail=f"{expected}, found {found}")
