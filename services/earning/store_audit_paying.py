"""Reads what a verification compares of points that paid for activities."""

from collections.abc import Iterable, Mapping, Sequence

from services.earning import rows, tables
from services.earning.domain import ActivityRecord, Hold, ProgramId
from shared.database import Tx

_ACTIVITY = ("program_id", "activity_id")
_hold_of_activity = [
    tables.activities.c[name] for name in ("program_id", "activity_id", "points_hold_id")
]
_given_back = [
    tables.reversals.c[name] for name in ("program_id", "activity_id", "points_given_back")
]


async def holds_of(tx: Tx, records: Sequence[ActivityRecord]) -> Mapping[str, Hold]:
    """The holds that paid for activities, by activity; those that are missing are left out."""
    paid = {
        (each.program_id, each.points_hold_id): each.activity_id
        for each in records
        if each.points_hold_id
    }
    found = await tx.select(tables.holds, list(paid), key=("program_id", "hold_id"))
    return {paid[row.program_id, row.hold_id]: rows.hold_of(row) for row in found}


async def given_back(
    tx: Tx, program_id: ProgramId, activity_ids: Iterable[str]
) -> Mapping[str, int]:
    """Points that the returns of activities gave back in total, by activity."""
    keys = sorted({(program_id, each) for each in activity_ids})
    given: dict[str, int] = {}
    for row in await tx.select(_given_back, keys, key=_ACTIVITY):
        given[row.activity_id] = given.get(row.activity_id, 0) + row.points_given_back
    return given


async def paid_by(tx: Tx, program_id: ProgramId, activity_ids: Iterable[str]) -> Mapping[str, str]:
    """The holds that paid for activities as these say themselves, by activity."""
    keys = sorted({(program_id, each) for each in activity_ids})
    found = await tx.select(_hold_of_activity, keys, key=_ACTIVITY)
    return {row.activity_id: row.points_hold_id for row in found}
