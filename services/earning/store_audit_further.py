"""Reads what a verification compares of further currencies, a page at a time."""

from collections.abc import Iterator, Mapping, Sequence

from services.earning import rows, tables
from services.earning.audit_further import Taken
from services.earning.domain import (
    ActivityRecord,
    CurrencyId,
    Entry,
    ProgramId,
)
from shared.database import Tx

_ACTIVITY = ("program_id", "activity_id")
_ENTRY = ("program_id", "member_key", "currency_id", "sequence")
_PIECE = 2_000

Entries = Mapping[str, Mapping[CurrencyId, Entry]]
Reversals = Mapping[str, Mapping[CurrencyId, Sequence[Taken]]]


async def entries_of(tx: Tx, records: Sequence[ActivityRecord]) -> Entries:
    """Entries of further earnings, by activity and currency; odd ones are left out."""
    places = {
        (each.program_id, each.member_key, earning.currency_id, earning.entry_sequence): each
        for each in records
        for earning in each.further
        if earning.entry_sequence
    }
    entries: dict[str, dict[CurrencyId, Entry]] = {}
    for row in await tx.select(tables.entries, list(places), key=_ENTRY):
        record = places[row.program_id, row.member_key, row.currency_id, row.sequence]
        try:
            entry = rows.entry_of(row, ())
        except ValueError:
            continue  # the stage of the wallets says what is wrong with it
        entries.setdefault(record.activity_id, {})[entry.currency_id] = entry
    return entries


async def reversals_of(tx: Tx, records: Sequence[ActivityRecord]) -> Reversals:
    """What reversals took of further currencies, by activity and currency."""
    keys = [(each.program_id, each.activity_id) for each in records]
    reversals: dict[str, dict[CurrencyId, list[Taken]]] = {}
    for row in await tx.select(tables.reversal_earnings, keys, key=_ACTIVITY):
        by_currency = reversals.setdefault(row.activity_id, {})
        taken = Taken(reversal_id=row.reversal_id, points=row.points, line_points=row.line_points)
        by_currency.setdefault(CurrencyId(row.currency_id), []).append(taken)
    return reversals


async def recorded(
    tx: Tx, program_id: ProgramId, earned: Sequence[Entry]
) -> set[tuple[str, CurrencyId]]:
    """Of entries that booked further earnings, activity and currency of those on record."""
    known: set[tuple[str, CurrencyId]] = set()
    for piece in _pieces(earned):
        keys = sorted({(program_id, each.activity_id) for each in piece})
        for row in await tx.select(tables.activity_earnings, keys, key=_ACTIVITY):
            known.add((row.activity_id, row.currency_id))
    return known


def _pieces(earned: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    for start in range(0, len(earned), _PIECE):
        yield earned[start : start + _PIECE]
