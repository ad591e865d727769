"""Reads what seals are recomputed from: every entry's number, changes, time and hash."""

from collections.abc import AsyncIterator, Sequence
from typing import cast

import sqlalchemy as sa

from services.earning import audit_seals, store_seals, tables
from services.earning.audit import Progress
from services.earning.audit_seals import SealedEntry, SealsAudit
from services.earning.domain import ProgramId
from services.earning.store_audit import Range, Ranged
from shared.database import Database, Tx

_COLUMNS = (
    *("member_key", "currency_id", "sequence"),
    *("available_delta", "pending_delta", "held_delta", "debt_delta"),
    *("create_time", "chain_hash"),
)
_PLACE = ("member_key", "currency_id", "sequence")
_entries = Ranged(
    sa.select(*(tables.entries.c[name] for name in _COLUMNS)),
    tables.entries.c.program_id,
    tables.entries.c.member_key,
    *(tables.entries.c[name] for name in _PLACE),
)
_PAGE = 2_000


async def entries(tx: Tx, range_: Range) -> AsyncIterator[Sequence[SealedEntry]]:
    """Entries of a range of members in the order of wallets, a page at a time."""
    async for page in tx.pages(_entries.of(range_), range_.keys, _PAGE):
        yield cast("Sequence[SealedEntry]", page)


async def audited(
    database: Database, program_id: ProgramId, total: int, ranges: AsyncIterator[Range]
) -> AsyncIterator[Progress]:
    """Recompute the seals of a program; nothing where it has none."""
    async with database.reading() as tx:
        sealed = await store_seals.all_of(tx, program_id)
    if not sealed:
        return
    audit = SealsAudit(sealed)
    async for range_ in ranges:
        async with database.reading() as tx:
            async for page in entries(tx, range_):
                audit.add(page)
        yield Progress(stage="seals", done=audit.wallets, total=max(total, audit.wallets))
    digests: list[bytes] = []
    for each in sealed:
        async with database.reading() as tx:
            digests.append(
                audit_seals.digest_of(await store_seals.chunks(tx, program_id, each.day))
            )
    found = tuple(audit.finish(digests))
    yield Progress(stage="seals", done=audit.wallets, total=audit.wallets, violations=found)
