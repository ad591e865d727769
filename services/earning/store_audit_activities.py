"""Reads what a verification compares of activities, a range of identifiers at a time."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import sqlalchemy as sa

from services.earning import audit, rows, rows_reversals, store_further, tables
from services.earning.audit_activities import ActivityColumns, LineColumns
from services.earning.audit_bookings import BookedColumns
from services.earning.domain import (
    ActivityRecord,
    ProgramId,
    Reversal,
)
from services.earning.member_records import MemberState
from services.earning.store_audit import Range, Ranged, Select
from shared.database import Row, Tx

_ERASABLE = {MemberState.ERASED, MemberState.MERGED}
_ACTIVITY = ("program_id", "activity_id")
_activities = tables.activities.c
_COMMA = cast("str", sa.literal_column("','"))  # not a parameter
_ZERO: sa.ColumnElement[int] = sa.literal_column("0")
_recorded = Ranged(
    sa.select(
        *(_activities.activity_id, _activities.member_key, _activities.content),
        *(_activities.points, _activities.level_id, _activities.program_version),
        *(_activities.explanation, _activities.amount_reversed, _activities.points_reversed),
        *(_activities.reversal_way, _activities.is_erased, _activities.points_hold_id),
    ),
    _activities.program_id,
    _activities.activity_id,
)
_booked = Ranged(
    sa.select(
        *(_activities.activity_id, _activities.member_key, _activities.currency_id),
        *(_activities.entry_sequence, _activities.points, _activities.explanation),
        *(_activities.occurred_time, _activities.create_time, _activities.available_time),
    ).where(sa.or_(_activities.points != _ZERO, _activities.entry_sequence != _ZERO)),
    _activities.program_id,
    _activities.member_key,
)
_lines = tables.activity_lines.c
_is_returned = sa.case(
    (
        sa.or_(
            _lines.quantity_returned != _ZERO,
            _lines.amount_returned != _ZERO,
            _lines.points_returned != _ZERO,
        ),
        sa.literal_column("1"),
    ),
    else_=_ZERO,
)
_named = [
    Ranged(sa.select(table.c.activity_id), table.c.program_id, table.c.activity_id)
    for table in (tables.reversals, tables.activity_earnings, tables.reversal_earnings)
]


def _joined(ordered: Select) -> Select:
    """The lines of each activity as one row; they come in their order, and so they are joined."""
    line = ordered.subquery().c
    points = sa.func.aggregate_strings(line.points, _COMMA)
    return sa.select(line.activity_id, points, sa.func.max(line.is_returned)).group_by(
        line.activity_id
    )


_lines_of = Ranged(
    sa.select(
        _lines.activity_id,
        sa.cast(_lines.points, sa.Text).label("points"),
        _is_returned.label("is_returned"),
    ),
    _lines.program_id,
    _lines.activity_id,
    *(_lines.activity_id, _lines.line_number),
    made=_joined,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What is stored of some activities; `lines` are the points of each line, by activity.

    `told` are those that other rows tell of: returns, returned lines, or further currencies.
    `erased` are those that lost what their members' erasure took.
    """

    activities: Sequence[ActivityColumns]
    lines: Mapping[str, str]
    told: frozenset[str]
    erased: frozenset[str]


async def recorded(tx: Tx, range_: Range) -> Recorded:
    """What is stored of a range of activities."""
    keys = range_.keys
    found = cast("Sequence[ActivityColumns]", await tx.plain(_recorded.of(range_), keys))
    told = {
        str(row[0]) for statement in _named for row in await tx.plain(statement.of(range_), keys)
    }
    lines: dict[str, str] = {}
    found_lines = cast("Sequence[LineColumns]", await tx.plain(_lines_of.of(range_), keys))
    for activity_id, points, is_returned in found_lines:
        lines[activity_id] = points
        if is_returned:
            told.add(activity_id)
    marked = {each[0]: each[1] for each in found if each[10]}
    erasable = await erased_members(tx, range_.program_id, marked.values())
    return Recorded(
        activities=found,
        lines=lines,
        told=frozenset(told),
        erased=frozenset([each for each, member_key in marked.items() if member_key in erasable]),
    )


async def booked(tx: Tx, range_: Range) -> Sequence[BookedColumns]:
    """Activities of a range of members that have points, or say that they have an entry."""
    return cast("Sequence[BookedColumns]", await tx.plain(_booked.of(range_), range_.keys))


async def records_of(
    tx: Tx, program_id: ProgramId, activity_ids: Collection[str]
) -> list[ActivityRecord]:
    """Whole records of activities, with their lines and further earnings."""
    keys = [(program_id, each) for each in sorted(activity_ids)]
    lines: dict[str, list[Row]] = {}
    for row in await tx.select(tables.activity_lines, keys, key=_ACTIVITY):
        lines.setdefault(row.activity_id, []).append(row)
    found = await tx.select(tables.activities, keys, key=_ACTIVITY)
    records = [
        rows.activity_of(row, rows.lines_of(lines.get(row.activity_id, ()))) for row in found
    ]
    return await store_further.with_earnings(tx, records)


async def reversals_of(tx: Tx, records: Sequence[ActivityRecord]) -> Mapping[str, list[Reversal]]:
    """Reversals of activities, by activity."""
    found = await tx.select(
        tables.reversals,
        [(each.program_id, each.activity_id) for each in records],
        key=_ACTIVITY,
    )
    return audit.by_activity(rows_reversals.reversal_of(row) for row in found)


async def erased_members(
    tx: Tx, program_id: ProgramId, member_keys: Iterable[str]
) -> frozenset[str]:
    """Members whose state explains that something of their activities is gone."""
    keys = sorted({(program_id, each) for each in member_keys})
    found = await tx.select(tables.members, keys, key=("program_id", "member_key"))
    return frozenset([row.member_key for row in found if row.state in _ERASABLE])
