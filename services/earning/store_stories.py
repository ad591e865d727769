"""Reads what is stored of one entry, for its story."""

from collections.abc import Sequence

import sqlalchemy as sa

from services.earning import rows, store_reads, store_shares, tables
from services.earning.domain import (
    ActivityId,
    Entry,
    EntryType,
    Hold,
    HoldId,
    Lot,
    MemberKey,
    ProgramId,
)
from services.earning.world import WalletKey
from shared.database import Tx

_WALLET = ("program_id", "member_key", "currency_id")
_entries = tables.entries.c
_of_activity = sa.select(_entries.sequence).where(
    *(_entries[name] == sa.bindparam(name) for name in (*_WALLET, "activity_id")),
    _entries.type == sa.literal_column(f"'{EntryType.EARN.value}'"),
)


async def owner_of_activity(
    tx: Tx, program_id: ProgramId, activity_id: ActivityId
) -> MemberKey | None:
    """Key of the member who did it, None for an activity that is not there."""
    found = await tx.select(
        tables.activities, [(program_id, activity_id)], key=("program_id", "activity_id")
    )
    return MemberKey(found[0].member_key) if found else None


async def sequence_of_activity(tx: Tx, wallet: WalletKey, activity_id: ActivityId) -> int:
    """Sequence of the entry that booked an activity's points of a currency; 0 for none."""
    asked = {**dict(zip(_WALLET, wallet, strict=True)), "activity_id": activity_id}
    found = await tx.fetch(_of_activity, asked)
    return int(found[0].sequence) if found else 0


async def entry(tx: Tx, wallet: WalletKey, sequence: int) -> Entry | None:
    """An entry with its lot uses."""
    key = (*wallet, sequence)
    found = await tx.select(tables.entries, [key], key=(*_WALLET, "sequence"))
    if not found:
        return None
    return rows.entry_of(found[0], (await store_reads.lot_uses(tx, [key])).get(key, ()))


async def lots(tx: Tx, wallet: WalletKey, sequences: Sequence[int]) -> list[tuple[Entry, Lot]]:
    """Lots, each with the entry that made it, in the order of their sequences."""
    keys = [(*wallet, each) for each in sorted(set(sequences))]
    made = await tx.select(tables.entries, keys, key=(*_WALLET, "sequence"))
    entries = {row.sequence: rows.entry_of(row, ()) for row in made}
    found = await tx.select(tables.lots, keys, key=(*_WALLET, "lot_sequence"))
    known = {row.lot_sequence: rows.lot_of(row) for row in found}
    return [(entries[each], known[each]) for each in sorted(known) if each in entries]


async def hold(tx: Tx, program_id: ProgramId, hold_id: str) -> Hold | None:
    """A hold as it is now."""
    found = await tx.select(tables.holds, [(program_id, hold_id)], key=("program_id", "hold_id"))
    key = (program_id, HoldId(hold_id))
    made = {key: rows.hold_of(found[0])} if found else {}
    return (await store_shares.with_shares(tx, made)).get(key)
