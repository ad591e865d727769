"""Sums of a wallet's entries up to an instant, and between two."""

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from services.earning import tables
from services.earning.domain import Account, CurrencyId, EntryType, MemberKey, ProgramId
from services.earning.statements import Balance, Open
from shared.database import Tx, to_micros

_entries = tables.entries.c
_of_wallet = (
    _entries.program_id == sa.bindparam("program_id"),
    _entries.member_key == sa.bindparam("member_key"),
    _entries.currency_id == sa.bindparam("currency_id"),
)
_last = (
    sa.select(_entries.sequence)
    .where(*_of_wallet, _entries.create_time < sa.bindparam("at", type_=sa.BigInteger))
    .order_by(_entries.sequence.desc())
    .limit(1)
)

_booked = sa.select(
    sa.func.min(_entries.create_time).label("first"),
    sa.func.max(_entries.create_time).label("last"),
).where(*_of_wallet)


def _sum(column: sa.ColumnElement[int], name: str) -> sa.Label[int]:
    return sa.cast(sa.func.coalesce(sa.func.sum(column), 0), sa.BigInteger).label(name)


_balance = sa.select(
    _sum(_entries.available_delta, "available"),
    _sum(_entries.pending_delta, "pending"),
    _sum(_entries.held_delta, "held"),
    _sum(_entries.debt_delta, "debt"),
).where(*_of_wallet, _entries.sequence <= sa.bindparam("upto"))
_moved = (
    sa.select(_entries.program_account, _sum(_entries.program_delta, "points"))
    .where(
        *_of_wallet,
        _entries.sequence > sa.bindparam("after"),
        _entries.sequence <= sa.bindparam("upto"),
    )
    .group_by(_entries.program_account)
)

_upto = sa.bindparam("upto", type_=sa.BigInteger)
_lot_uses = tables.lot_uses.c
_used = (
    sa.select(_lot_uses.lot_sequence, _sum(_lot_uses.points, "points"))
    .where(
        _lot_uses.program_id == sa.bindparam("program_id"),
        _lot_uses.member_key == sa.bindparam("member_key"),
        _lot_uses.currency_id == sa.bindparam("currency_id"),
        _lot_uses.sequence <= _upto,
    )
    .group_by(_lot_uses.lot_sequence)
    .subquery("used")
)
_left = sa.cast(sa.func.coalesce(_used.c.points, 0) - _entries.program_delta, sa.BigInteger)
_made = (
    sa.select(_entries.sequence, _left.label("remaining"))
    .select_from(tables.entries.outerjoin(_used, _used.c.lot_sequence == _entries.sequence))
    .where(
        *_of_wallet,
        _entries.sequence <= _upto,
        _entries.lot_sequence == _entries.sequence,
        _left > sa.literal_column("0"),
    )
    .subquery("made")
)
_dated = (
    sa.select(
        *(_entries.lot_sequence, _made.c.remaining, _entries.type, _entries.pending_delta),
        *(_entries.lot_expire_time, _entries.slide_time),
    )
    .select_from(tables.entries.join(_made, _made.c.sequence == _entries.lot_sequence))
    .where(*_of_wallet, _entries.sequence <= _upto)
    .order_by(_entries.sequence)
)
_slid = (
    sa.select(_entries.slide_time)
    .where(*_of_wallet, _entries.sequence <= _upto, _entries.slide_time.is_not(None))
    .order_by(_entries.sequence.desc())
    .limit(1)
)

WalletKey = tuple[ProgramId, MemberKey, CurrencyId]


def _keys(key: WalletKey) -> dict[str, object]:
    return {"program_id": key[0], "member_key": key[1], "currency_id": key[2]}


async def last_before(tx: Tx, key: WalletKey, at: datetime) -> int:
    """The number of the wallet's last entry that was booked before an instant, 0 for none."""
    found = await tx.fetch(_last, {**_keys(key), "at": to_micros(at)})
    return int(found[0].sequence) if found else 0


async def booked(tx: Tx, key: WalletKey) -> tuple[datetime, datetime] | None:
    """When the wallet's first entry was booked, and its last; None when it has none."""
    (row,) = await tx.fetch(_booked, _keys(key))
    return None if row.first is None else (row.first, row.last)


async def balance(tx: Tx, key: WalletKey, upto: int) -> Balance:
    """What the wallet has after an entry."""
    (row,) = await tx.fetch(_balance, {**_keys(key), "upto": upto})
    return Balance(available=row.available, pending=row.pending, held=row.held, debt=-row.debt)


async def moved(tx: Tx, key: WalletKey, after: int, upto: int) -> Mapping[Account, int]:
    """What the program's accounts got by the entries between two, the second included."""
    found = await tx.fetch(_moved, {**_keys(key), "after": after, "upto": upto})
    return {Account(row.program_account): row.points for row in found}


async def open_lots(tx: Tx, key: WalletKey, upto: int) -> list[Open]:
    """Lots in which something remains after an entry, as the entries up to it tell them."""
    lots: dict[int, Open] = {}
    for row in await tx.fetch(_dated, {**_keys(key), "upto": upto}):
        before = lots.get(row.lot_sequence)
        waits = row.pending_delta > 0 if before is None else before.is_pending
        lots[row.lot_sequence] = Open(
            remaining=row.remaining,
            expire_time=row.lot_expire_time,
            is_pending=waits and row.type != EntryType.ACTIVATE.value,
            is_sliding=row.slide_time is not None and row.lot_expire_time is None,
        )
    return list(lots.values())


async def slide_time(tx: Tx, key: WalletKey, upto: int) -> datetime | None:
    """When the wallet's sliding points end, as the entries up to one tell it."""
    found = await tx.fetch(_slid, {**_keys(key), "upto": upto})
    return found[0].slide_time if found else None
