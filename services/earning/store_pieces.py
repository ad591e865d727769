"""What transfers and mergers made of lots, by their entries."""

from collections.abc import Iterable
from itertools import groupby

import sqlalchemy as sa

from services.earning import notes, tables
from services.earning.domain import EntryType
from services.earning.pieces import Piece
from shared.database import Tx

PIECES_MAX = 10_000
"""How many lots that one lot became are followed."""

_WALLET = ("program_id", "member_key", "currency_id")
_entries, _uses = tables.entries.c, tables.lot_uses.c
_left = (
    sa.select(_entries.explanation)
    .select_from(
        tables.lot_uses.join(
            tables.entries,
            sa.and_(
                *(_entries[name] == _uses[name] for name in _WALLET),
                _entries.sequence == _uses.sequence,
            ),
        )
    )
    .where(
        *(_uses[name] == sa.bindparam(name) for name in _WALLET),
        _uses.sequence > sa.bindparam("after", type_=sa.BigInteger),
        _uses.lot_sequence.in_(sa.bindparam("lots", expanding=True)),
        _entries.type == sa.literal_column(f"'{EntryType.TRANSFER_OUT.value}'"),
    )
    .order_by(_entries.sequence)
)


async def came_of(tx: Tx, lot: Piece) -> set[Piece]:
    """A lot and what became of it, in whatever wallets; at most `PIECES_MAX`.

    What is in a locked wallet of them cannot change until the lock is given back.
    """
    found, new = {lot}, {lot}
    while new and len(found) < PIECES_MAX:
        new = {each for wallet in _by_wallet(new) for each in await _moved(tx, wallet)} - found
        found |= new
    return found


def _by_wallet(pieces: Iterable[Piece]) -> list[list[Piece]]:
    return [list(group) for _, group in groupby(sorted(pieces), key=lambda each: each[:3])]


async def _moved(tx: Tx, lots: list[Piece]) -> list[Piece]:
    """The lots that transfers out of lots of one wallet made."""
    program_id, member_key, currency_id, first = lots[0]
    params: dict[str, object] = {
        "program_id": program_id,
        "member_key": member_key,
        "currency_id": currency_id,
        "after": first,
        "lots": [each[3] for each in lots],
    }
    told = [notes.read(row.explanation) for row in await tx.fetch(_left, params)]
    return [(program_id, each.other_member_key, currency_id, each.other_sequence) for each in told]
