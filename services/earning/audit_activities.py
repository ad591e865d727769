"""Recomputes what an activity earned, and compares it with its entry and its lines.

Activities are taken as columns, as wallets are (`audit_columns.py`): of nearly all of them nothing
is to be told. The rules that violations name are listed in `audit.py`.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from services.earning import evaluation, explanations
from services.earning.audit import DETAIL_MAX, Violation
from services.earning.audit_columns import Micros
from services.earning.domain import EntryType, LevelId
from services.earning.explanations import Explanation
from services.earning.rules import Deed, Facts, Rules

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

_EARN = EntryType.EARN.value


def is_returned(activity: ActivityColumns, lines: Sequence[LineColumns]) -> bool:
    """Whether anything of it is said to be returned, or may be given back of what paid for it."""
    if activity[10] or activity[11] or activity[12] or activity[22]:
        return True
    return any(line[2] or line[3] or line[4] for line in lines)


def audit_activity(
    program_id: str,
    activity: ActivityColumns,
    lines: Sequence[LineColumns],
    again: Explanation | None,
) -> Iterator[Violation]:
    """What does not agree between an activity, its entry and its lines.

    `again` is the explanation when deciding again gave the same one.
    """
    activity_id, points, level_id, version = activity[0], *activity[3:6]
    expected, found = _booked(activity)
    if expected != found:
        yield violation("activity_entry", program_id, activity_id, expected, found)
    try:
        stored = again or explanations.read(activity[6])
    except (ValueError, TypeError):
        yield violation("activity_lines", program_id, activity_id, "shares", "what is unreadable")
        return
    shares = tuple([line[1] for line in lines])
    explained = (stored[0], stored[1], stored[5], points if lines else 0)
    if explained != (version, level_id, shares, sum(shares)):
        told = (version, level_id, shares, sum(shares))
        yield violation("activity_lines", program_id, activity_id, explained, told)


def _booked(activity: ActivityColumns) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """What the entry of an activity must say, nothing when it earned nothing; what it says."""
    expected: tuple[object, ...] = ()
    if activity[3]:
        expected = (_EARN, activity[0], -activity[3], True, *activity[7:10])
    found: tuple[object, ...] = ()
    if activity[14] is not None:
        waits_until = activity[21] if activity[20] else None
        found = (*activity[14:17], bool(activity[17]), *activity[18:20], waits_until)
    return expected, found


def decided(activity: ActivityColumns, rules: Rules, deed: Deed) -> tuple[Explanation, str]:
    """The explanation of deciding it again, by the rules that decided it, and its text.

    Raises ValueError or TypeError where what was looked up cannot be read, or a refusal.
    """
    facts = Facts(level_id=LevelId(activity[4]))
    if not rules.is_plain:
        facts = evaluation.looked_up(rules, explanations.read(activity[6]))
    again = evaluation.decide(rules, deed, facts).explanation
    return again, explanations.written(again)


def violation(
    rule: str, program_id: str, activity_id: str, expected: object, found: object
) -> Violation:
    """What differs in an activity."""
    detail = f"expected {expected}, found {found}"
    return Violation(rule=rule, subject=f"{program_id}/{activity_id}", detail=detail[:DETAIL_MAX])
