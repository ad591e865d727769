"""Where the points of a lot went: the lots that transfers and mergers made of it."""

from collections.abc import Iterable
from typing import TypeAlias

from services.earning import notes
from services.earning.domain import CurrencyId, Entry, EntryType, MemberKey, ProgramId

Piece: TypeAlias = tuple[ProgramId, MemberKey, CurrencyId, int]
"""A lot of a wallet: its program, member and currency, and its number."""


def follow(pieces: set[Piece], entries: Iterable[Entry]) -> None:
    """Add to lots what entries made of them; entries of any wallets, in the order of booking."""
    for entry in entries:
        if entry.type is not EntryType.TRANSFER_OUT:
            continue
        wallet = (entry.program_id, entry.member_key, entry.currency_id)
        if any((*wallet, use.lot_sequence) in pieces for use in entry.lot_uses):
            note = notes.read(entry.explanation)
            pieces.add((wallet[0], note.other_member_key, wallet[2], note.other_sequence))


def within(
    pieces: Iterable[Piece], program_id: ProgramId, member_key: MemberKey, currency_id: CurrencyId
) -> frozenset[int]:
    """The numbers of those lots that are in one wallet."""
    wallet = (program_id, member_key, currency_id)
    return frozenset(piece[3] for piece in pieces if piece[:3] == wallet)
