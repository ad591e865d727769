"""Recomputes what an activity earned, and compares it with its entry and its lines.

Activities are taken as columns, as wallets are (`audit_columns.py`): of nearly all of them nothing
is to be told. The rules that violations name are listed in `audit.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from services.earning import explanations
from services.earning.audit import DETAIL_MAX, Violation
from services.earning.audit_columns import Micros
from services.earning.domain import EntryType
from services.earning.explanations import Explanation

# fmt: off
ActivityColumns: TypeAlias = tuple[
    str, str, bytes, int, str, int, str, int, int, Micros, int, int, str, int,
    str | None, str | None, int | None, int | None, int | None, int | None, int | None, Micros, str,
]
# fmt: on
"""Of an activity its identifier, member, content, points, level, version, explanation, when it
occurred, was recorded and is available, amount and points reversed, how, and whether it is erased.

Then of its entry type, activity, points of the program, whether it has the same explanation, when
it occurred and was booked, what it made pending, and when its lot is available; last the hold that
paid for a part of the activity.
"""
LineColumns: TypeAlias = tuple[str, int, int, int, int]
"""Activity and points of a line; quantity, amount and points that were returned of it."""

Orphan: TypeAlias = tuple[str, str, int]
"""Activity, member and number of an entry."""

_EARN = EntryType.EARN.value


def is_returned(activity: ActivityColumns) -> bool:
    """Whether it says that anything is returned, or may be given back of what paid for it."""
    return bool(activity[10] or activity[11] or activity[12] or activity[22])


def audit_activity(
    program_id: str,
    activity: ActivityColumns,
    lines: Sequence[LineColumns],
    again: Explanation | None,
) -> Iterator[Violation]:
    """What does not agree between an activity, its entry and its lines.

    `again` is the explanation when deciding again gave the same one.
    """
    if not _is_booked(activity):
        yield violation("activity_entry", program_id, activity[0], *_booked(activity))
    try:
        stored = again or explanations.read(activity[6])
    except (ValueError, TypeError):
        yield violation("activity_lines", program_id, activity[0], "shares", "what is unreadable")
        return
    shares = tuple([line[1] for line in lines])
    points, level_id, version = activity[3:6]
    if (
        stored.line_points != shares
        or stored.level_id != level_id
        or stored.program_version != version
        or (lines and sum(shares) != points)
    ):
        explained = (stored.program_version, stored.level_id, stored.line_points, points)
        told = (version, level_id, shares, sum(shares))
        yield violation("activity_lines", program_id, activity[0], explained, told)


def _is_booked(activity: ActivityColumns) -> bool:
    """Whether its points are booked once, under its name, with its explanation."""
    points = activity[3]
    if not points:
        return activity[14] is None
    return bool(
        activity[14] == _EARN
        and activity[15] == activity[0]
        and activity[16] == -points
        and activity[17]
        and activity[18:20] == activity[7:9]
        and (activity[21] if activity[20] else None) == activity[9]
    )


def _booked(activity: ActivityColumns) -> tuple[object, object]:
    """What the entry of an activity must say, and what it says."""
    expected = (_EARN, activity[0], -activity[3], True, *activity[7:10])
    return expected if activity[3] else "no entry", tuple(activity[14:22])


def audit_orphans(program_id: str, unrecorded: Iterable[Orphan]) -> Iterator[Violation]:
    """Entries that booked what activities earned, and that no activity names as its own."""
    for activity_id, member_key, sequence in unrecorded:
        found = f"entry {sequence} of {member_key} without it"
        yield violation("activity_entry", program_id, activity_id, "a record", found)


def violation(
    rule: str, program_id: str, activity_id: str, expected: object, found: object
) -> Violation:
    """What differs in an activity."""
    detail = f"expected {expected}, found {found}"
    return Violation(rule=rule, subject=f"{program_id}/{activity_id}", detail=detail[:DETAIL_MAX])
