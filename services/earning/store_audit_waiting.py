"""Reads what a verification compares of reversals that came before their activity."""

from collections.abc import Sequence

import sqlalchemy as sa

from services.earning import rows_reversals, store_waiting, tables
from services.earning.commands import activity_key
from services.earning.domain import ActivityId, ProgramId, Reversal
from services.earning.waiting_records import WaitingReversal
from shared.database import Tx

_waiting = tables.waiting_reversals.c
_activities = (
    sa.select(_waiting.activity_id)
    .where(
        _waiting.program_id == sa.bindparam("program_id"),
        _waiting.activity_id > sa.bindparam("after"),
    )
    .distinct()
    .order_by(_waiting.activity_id)
    .limit(sa.bindparam("count"))
)
_keys = tables.kernel.request_keys
_digests = [_keys.c[name] for name in ("request_id", "digest")]


async def activities(tx: Tx, program_id: ProgramId, after: str, size: int) -> list[ActivityId]:
    """Activities that reversals came before, whose identifier is above `after`, in that order."""
    params = {"program_id": program_id, "after": after, "count": size}
    return [ActivityId(row.activity_id) for row in await tx.fetch(_activities, params)]


async def kept(
    tx: Tx, program_id: ProgramId, page: Sequence[ActivityId]
) -> dict[str, list[WaitingReversal]]:
    """Reversals that came before activities, by activity and in the order in which they came."""
    found = await store_waiting.load(tx, [(program_id, each) for each in page])
    return {
        key[1]: [by_number[number] for number in sorted(by_number)]
        for key, by_number in found.items()
    }


async def applied(
    tx: Tx, program_id: ProgramId, waiting: Sequence[WaitingReversal]
) -> dict[str, Reversal]:
    """Those of them that were applied, by identifier."""
    names = [(program_id, each.order.reversal_id) for each in waiting]
    found = await tx.select(tables.reversals, names, key=("program_id", "reversal_id"))
    return {row.reversal_id: rows_reversals.reversal_of(row) for row in found}


async def reserved(tx: Tx, program_id: ProgramId, page: Sequence[ActivityId]) -> set[str]:
    """Those of activities whose keys are reserved: recording them finds what waits."""
    names = [activity_key(program_id, each) for each in page]
    found = await tx.select(_digests, names, key=("program_id", "scope", "request_id"))
    return {row.request_id for row in found if not row.digest}
