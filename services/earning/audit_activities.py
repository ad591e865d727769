"""Recomputes what an activity earned, and compares it with its lines.

Activities are taken as columns, as wallets are (`audit_columns.py`): of nearly all of them nothing
is to be told. The rules that violations name are listed in `audit.py`.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from services.earning import explanations
from services.earning.audit import DETAIL_MAX, Violation
from services.earning.explanations import Explanation

ActivityColumns: TypeAlias = tuple[str, str, bytes, int, str, int, str, int, int, str, int, str]
"""Of an activity its identifier, member, content, points, level, version, explanation, amount and
points reversed, how, whether it is erased, and the hold that paid for a part of it."""
LineColumns: TypeAlias = tuple[str, int, int, int, int]
"""Activity and points of a line; quantity, amount and points that were returned of it."""


def is_returned(activity: ActivityColumns) -> bool:
    """Whether it says that anything is returned, or may be given back of what paid for it."""
    return bool(activity[7] or activity[8] or activity[9] or activity[11])


def audit_activity(
    program_id: str,
    activity: ActivityColumns,
    lines: Sequence[LineColumns],
    again: Explanation | None,
) -> Iterator[Violation]:
    """What does not agree between an activity and its lines.

    `again` is the explanation when deciding again gave the same one.
    """
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


def violation(
    rule: str, program_id: str, activity_id: str, expected: object, found: object
) -> Violation:
    """What differs in an activity."""
    detail = f"expected {expected}, found {found}"
    return Violation(rule=rule, subject=f"{program_id}/{activity_id}", detail=detail[:DETAIL_MAX])
