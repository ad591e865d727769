"""Recomputes what an activity earned, and compares it with its lines.

Activities are taken as columns, as wallets are (`audit_columns.py`): of nearly all of them nothing
is to be told. The rules that violations name are listed in `audit.py`.
"""

from typing import TypeAlias

from services.earning import explanations
from services.earning.audit import DETAIL_MAX, Violation
from services.earning.explanations import Explanation

ActivityColumns: TypeAlias = tuple[str, str, bytes, int, str, int, str, int, int, str, int, str]
"""Of an activity its identifier, member, content, points, level, version, explanation, amount and
points reversed, how, whether it is erased, and the hold that paid for a part of it."""
LineColumns: TypeAlias = tuple[str, str, int]
"""Activity of some lines, their points one after the other, and whether anything is returned."""
Shares: TypeAlias = tuple[int, str, str, int]
"""Version, level, points of each line and all of them, as an explanation has them."""


def is_returned(activity: ActivityColumns) -> bool:
    """Whether it says that anything is returned, or may be given back of what paid for it."""
    return bool(activity[7] or activity[8] or activity[9] or activity[11])


def shares_of(explanation: Explanation) -> Shares:
    """The shares of the lines in an explanation."""
    points = explanation.line_points
    version, level_id = explanation.program_version, explanation.level_id
    return version, level_id, ",".join(map(str, points)), sum(points)


def audit_activity(
    program_id: str, activity: ActivityColumns, lines: str, again: Shares | None
) -> list[Violation]:
    """What does not agree between an activity and its lines, whose points `lines` are.

    `again` are the shares when deciding again gave the same explanation.
    """
    points, level_id, version = activity[3:6]
    found = version, level_id, lines, points if lines else 0
    if again == found:
        return []
    try:
        stored = again or shares_of(explanations.read(activity[6]))
    except (ValueError, TypeError):
        return [
            violation("activity_lines", program_id, activity[0], "shares", "what is unreadable")
        ]
    if stored == found:
        return []
    return [violation("activity_lines", program_id, activity[0], stored, found)]


def violation(
    rule: str, program_id: str, activity_id: str, expected: object, found: object
) -> Violation:
    """What differs in an activity."""
    detail = f"expected {expected}, found {found}"
    return Violation(rule=rule, subject=f"{program_id}/{activity_id}", detail=detail[:DETAIL_MAX])
