"""Reads and saves reversals that came before their activity."""

from collections.abc import Collection, Sequence
from typing import cast

import orjson
import sqlalchemy as sa

from services.earning import tables
from services.earning.commands import ReverseActivity
from services.earning.domain import ActivityId, ProgramId, ReversalId, ReversalState
from services.earning.reversals import Amount, Lines, ReturnedUnits, Whole
from services.earning.waiting_records import WaitingReversal
from services.earning.world import ActivityKey, World
from shared import record
from shared.database import Row, Tx

_ACTIVITY = ("program_id", "activity_id")
_REVERSAL = ("program_id", "reversal_id")
_CHANGED = ("state", "settle_time", "rejected_reason")
_waiting = tables.waiting_reversals.c
_page = (
    sa.select(tables.waiting_reversals)
    .where(
        _waiting.program_id == sa.bindparam("program_id"),
        _waiting.activity_id == sa.bindparam("activity_id"),
        _waiting.state != ReversalState.APPLIED.value,
        _waiting.number > sa.bindparam("after"),
    )
    .order_by(_waiting.number)
    .limit(sa.bindparam("count"))
)


async def load(
    tx: Tx, keys: Collection[ActivityKey]
) -> dict[ActivityKey, dict[int, WaitingReversal]]:
    """Those of activities, by number; activities without any are left out."""
    found: dict[ActivityKey, dict[int, WaitingReversal]] = {}
    for row in await tx.select(tables.waiting_reversals, sorted(keys), key=_ACTIVITY):
        kept = waiting_of(row)
        found.setdefault((row.program_id, row.activity_id), {})[kept.number] = kept
    return found


async def find(tx: Tx, program_id: ProgramId, reversal_id: ReversalId) -> WaitingReversal | None:
    """One reversal that came before its activity."""
    found = await tx.select(tables.waiting_reversals, [(program_id, reversal_id)], key=_REVERSAL)
    return waiting_of(found[0]) if found else None


async def page(
    tx: Tx, program_id: ProgramId, activity_id: ActivityId, *, after: int, count: int
) -> list[WaitingReversal]:
    """Those of an activity that are not applied, in the order in which they came."""
    params = {
        "program_id": program_id,
        "activity_id": activity_id,
        "after": after,
        "count": count,
    }
    return [waiting_of(row) for row in await tx.fetch(_page, params)]


async def save(tx: Tx, world: World) -> None:
    """Write what came, and what has become of what had come."""
    if not world.changed_waiting:
        return
    rows = {
        (key, number): _row(world.waiting[key][number])
        for key, number in sorted(world.changed_waiting)
    }
    await tx.insert(
        tables.waiting_reversals,
        [row for place, row in rows.items() if place in world.made_waiting],
    )
    await tx.update(
        tables.waiting_reversals,
        [
            {name: row[name] for name in (*_REVERSAL, *_CHANGED)}
            for place, row in rows.items()
            if place not in world.made_waiting
        ],
        key=_REVERSAL,
    )


def _row(kept: WaitingReversal) -> dict[str, object]:
    order = kept.order
    return {
        "program_id": order.program_id,
        "reversal_id": order.reversal_id,
        "activity_id": order.activity_id,
        "number": kept.number,
        "occurred_time": order.occurred_time,
        "create_time": kept.create_time,
        "reason": order.reason,
        "scope": record.dumps(_scope(order.scope)),
        "state": kept.state,
        "settle_time": kept.settle_time,
        "rejected_reason": kept.rejected_reason,
    }


def _scope(scope: Whole | Lines | Amount) -> list[object]:
    match scope:
        case Whole():
            return ["whole"]
        case Amount(amount=amount):
            return ["amount", amount]
        case Lines(lines=lines):
            return ["lines", *[[each.line_number, each.quantity] for each in lines]]


def waiting_of(row: Row) -> WaitingReversal:
    """The reversal of a row; it lost the digest of its request, which its key has."""
    which, *parts = cast("Sequence[object]", orjson.loads(row.scope))
    scope: Whole | Lines | Amount = Whole()
    if which == "amount":
        scope = Amount(amount=cast("int", parts[0]))
    elif which == "lines":
        units = cast("Sequence[tuple[int, int]]", parts)
        scope = Lines(
            lines=tuple([ReturnedUnits(line_number=at, quantity=count) for at, count in units])
        )
    return WaitingReversal(
        order=ReverseActivity(
            program_id=row.program_id,
            reversal_id=row.reversal_id,
            activity_id=row.activity_id,
            occurred_time=row.occurred_time,
            scope=scope,
            reason=row.reason,
            digest="",
        ),
        number=row.number,
        create_time=row.create_time,
        state=ReversalState(row.state),
        settle_time=row.settle_time,
        rejected_reason=row.rejected_reason,
    )
