"""Reads reversals for those who ask for them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

import orjson
import sqlalchemy as sa

from services.earning import rows, rows_reversals, tables, wire
from services.earning.domain import (
    ActivityId,
    CurrencyId,
    FurtherReversal,
    Hold,
    ProgramId,
    Reversal,
    ReversalId,
)
from shared.database import Row, Tx

_REVERSAL = ("program_id", "reversal_id")
_ACTIVITY = ("program_id", "activity_id")
_reversals = tables.reversals.c
_page = (
    sa.select(tables.reversals)
    .where(
        _reversals.program_id == sa.bindparam("program_id"),
        _reversals.activity_id == sa.bindparam("activity_id"),
        sa.tuple_(_reversals.create_time, _reversals.reversal_id)
        > sa.tuple_(
            sa.bindparam("time", type_=_reversals.create_time.type),
            sa.bindparam("reversal_id", type_=sa.Text),
        ),
    )
    .order_by(_reversals.create_time, _reversals.reversal_id)
    .limit(sa.bindparam("count"))
)
_content = [tables.activities.c[name] for name in (*_ACTIVITY, "content", "points_hold_id")]


async def find(tx: Tx, program_id: ProgramId, reversal_id: ReversalId) -> Reversal | None:
    """One reversal that was applied."""
    found = await tx.select(tables.reversals, [(program_id, reversal_id)], key=_REVERSAL)
    whole = await _whole(tx, found)
    return whole[0] if whole else None


async def page(
    tx: Tx,
    program_id: ProgramId,
    activity_id: ActivityId,
    *,
    after: tuple[datetime, str],
    count: int,
) -> list[Reversal]:
    """Reversals of an activity beyond an instant and identifier, in that order."""
    params = {
        "program_id": program_id,
        "activity_id": activity_id,
        "time": after[0],
        "reversal_id": after[1],
        "count": count,
    }
    return await _whole(tx, await tx.fetch(_page, params))


async def _whole(tx: Tx, found: Sequence[Row]) -> list[Reversal]:
    """Reversals of one activity, with its lines as they were bought."""
    if not found:
        return []
    key = (found[0].program_id, found[0].activity_id)
    activity = (await tx.select(_content, [key], key=_ACTIVITY))[0]
    items = wire.line_items(cast("bytes", activity.content))
    held: Hold | None = None
    if activity.points_hold_id:
        place = (key[0], activity.points_hold_id)
        holds = await tx.select(tables.holds, [place], key=("program_id", "hold_id"))
        held = rows.hold_of(holds[0])
    further: dict[str, list[FurtherReversal]] = {}
    for row in await tx.select(
        tables.reversal_earnings,
        [(each.program_id, each.reversal_id) for each in found],
        key=_REVERSAL,
        order_by=(*_REVERSAL, "currency_id"),
    ):
        taken = FurtherReversal(
            currency_id=CurrencyId(row.currency_id),
            points=row.points,
            owed=row.owed,
            line_points=tuple(orjson.loads(row.line_points)) if row.line_points else (),
        )
        further.setdefault(row.reversal_id, []).append(taken)
    return [
        replace(
            rows_reversals.reversal_of(row, items, held),
            further=tuple(further.get(row.reversal_id, ())),
        )
        for row in found
    ]
