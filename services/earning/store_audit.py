"""Reads everything that a verification compares, a page at a time, in the order of the keys."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import orjson
import sqlalchemy as sa

from services.earning import audit, rows, store_points, store_reads, tables
from services.earning.audit import Violation
from services.earning.domain import (
    ActivityRecord,
    Entry,
    Hold,
    Lot,
    ProgramId,
    Reversal,
    ReversedLine,
    Wallet,
)
from services.earning.member_records import FROZEN_OF, MemberState
from services.earning.points_records import Adjustment
from shared.database import Row, Tx

Owner = tuple[str, str]
"""Key of the member and currency of a wallet."""

_WALLET = ("program_id", "member_key", "currency_id")

_entries, _activities, _wallets = tables.entries.c, tables.activities.c, tables.wallets.c
_ERASABLE = {MemberState.ERASED, MemberState.MERGED}
_OWNED = (tables.wallets, tables.entries, tables.lots, tables.holds, tables.adjustments)
_programs = sa.union(
    *(sa.select(table.c.program_id) for table in (*_OWNED, tables.activities)),
).order_by("program_id")
_member_page = (
    sa.select(_wallets.member_key)
    .where(
        _wallets.program_id == sa.bindparam("program_id"),
        _wallets.member_key > sa.bindparam("after"),
    )
    .order_by(_wallets.member_key)
    .limit(sa.bindparam("count"))
)
_counts = {
    table: sa.select(sa.func.count().label("number")).where(
        table.c.program_id == sa.bindparam("program_id")
    )
    for table in (tables.wallets, tables.activities)
}
_RANGED = (tables.wallets, tables.lots, tables.holds, tables.members, tables.adjustments)
_ranges = {
    table: sa.select(table).where(
        table.c.program_id == sa.bindparam("program_id"),
        table.c.member_key > sa.bindparam("after"),
        table.c.member_key <= sa.bindparam("upto"),
    )
    for table in _RANGED
}
_entry_page = (
    sa.select(tables.entries)
    .where(
        _entries.program_id == sa.bindparam("program_id"),
        _entries.member_key > sa.bindparam("after"),
        _entries.member_key <= sa.bindparam("upto"),
        sa.tuple_(_entries.member_key, _entries.currency_id, _entries.sequence)
        > sa.tuple_(
            sa.bindparam("after_key", type_=sa.Text),
            sa.bindparam("after_currency", type_=sa.Text),
            sa.bindparam("after_sequence", type_=sa.BigInteger),
        ),
    )
    .order_by(_entries.member_key, _entries.currency_id, _entries.sequence)
    .limit(sa.bindparam("count"))
)
_activity_page = (
    sa.select(tables.activities)
    .where(
        _activities.program_id == sa.bindparam("program_id"),
        _activities.activity_id > sa.bindparam("after"),
    )
    .order_by(_activities.activity_id)
    .limit(sa.bindparam("count"))
)


_transferred = (
    sa.select(
        _entries.currency_id,
        sa.cast(sa.func.sum(_entries.program_delta), sa.BigInteger).label("points"),
    )
    .where(
        _entries.program_id == sa.bindparam("program_id"),
        _entries.program_account == sa.literal_column("'transfer'"),
    )
    .group_by(_entries.currency_id)
    .order_by(_entries.currency_id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """What is stored of the wallets of some members, beside their entries."""

    wallets: Mapping[Owner, Wallet]
    lots: Mapping[Owner, list[Lot]]
    holds: Mapping[Owner, list[Hold]]
    adjustments: Mapping[Owner, list[Adjustment]]


async def programs(tx: Tx) -> list[ProgramId]:
    """Programs of which anything is stored."""
    return [ProgramId(row.program_id) for row in await tx.fetch(_programs)]


async def wallet_count(tx: Tx, program_id: ProgramId) -> int:
    """Number of wallets."""
    return int((await tx.fetch(_counts[tables.wallets], {"program_id": program_id}))[0].number)


async def activity_count(tx: Tx, program_id: ProgramId) -> int:
    """Number of activities."""
    return int((await tx.fetch(_counts[tables.activities], {"program_id": program_id}))[0].number)


async def lost_in_transfer(tx: Tx, program_id: ProgramId) -> dict[str, int]:
    """Points by currency that left wallets for others and never came, or came from nowhere."""
    found = await tx.fetch(_transferred, {"program_id": program_id})
    return {row.currency_id: int(row.points) for row in found if row.points}


async def member_page(tx: Tx, program_id: ProgramId, after: str, count: int) -> list[str]:
    """Keys above `after` of members with a wallet, ascending, one for each wallet."""
    found = await tx.fetch(_member_page, {"program_id": program_id, "after": after, "count": count})
    return [str(row.member_key) for row in found]


async def owned(tx: Tx, program_id: ProgramId, after: str, upto: str) -> Owned:
    """What is stored of members whose key is above `after` and at most `upto`."""
    keys = {"program_id": program_id, "after": after, "upto": upto}
    lots: dict[Owner, list[Lot]] = {}
    for row in await tx.fetch(_ranges[tables.lots], keys):
        lots.setdefault(_owner(row), []).append(rows.lot_of(row))
    holds: dict[Owner, list[Hold]] = {}
    for row in await tx.fetch(_ranges[tables.holds], keys):
        holds.setdefault(_owner(row), []).append(rows.hold_of(row))
    adjustments: dict[Owner, list[Adjustment]] = {}
    for row in await tx.fetch(_ranges[tables.adjustments], keys):
        adjustments.setdefault(_owner(row), []).append(store_points.adjustment_of(row))
    wallets = await tx.fetch(_ranges[tables.wallets], keys)
    frozen = {
        row.member_key: FROZEN_OF[MemberState(row.state)]
        for row in await tx.fetch(_ranges[tables.members], keys)
    }
    return Owned(
        wallets={_owner(row): _thawed(rows.wallet_of(row), frozen) for row in wallets},
        lots=lots,
        holds=holds,
        adjustments=adjustments,
    )


async def walk_entries(
    tx: Tx, program_id: ProgramId, after: str, upto: str, *, page: int
) -> AsyncIterator[Entry | Violation]:
    """Entries of a range of members, wallet by wallet, or what is wrong with reading one."""
    place = ("", "", 0)
    while True:
        found = await tx.fetch(
            _entry_page,
            {
                "program_id": program_id,
                "after": after,
                "upto": upto,
                "after_key": place[0],
                "after_currency": place[1],
                "after_sequence": place[2],
                "count": page,
            },
        )
        keys = [(program_id, row.member_key, row.currency_id, row.sequence) for row in found]
        uses = await store_reads.lot_uses(tx, keys)
        for row, key in zip(found, keys, strict=True):
            try:
                yield rows.entry_of(row, uses.get(key, ()))
            except ValueError as error:
                subject = "/".join(str(part) for part in key)
                yield Violation(rule="entry_type", subject=subject, detail=str(error))
        if len(found) < page:
            return
        last = found[-1]
        place = (last.member_key, last.currency_id, last.sequence)


async def activity_page(
    tx: Tx, program_id: ProgramId, after: str, count: int
) -> list[ActivityRecord]:
    """Records of activities whose identifier is above `after`, with their lines."""
    found = await tx.fetch(
        _activity_page, {"program_id": program_id, "after": after, "count": count}
    )
    lines = await tx.select(
        tables.activity_lines,
        [(row.program_id, row.activity_id) for row in found],
        key=("program_id", "activity_id"),
        order_by=("activity_id", "line_number"),
    )
    by_activity = {
        activity_id: list(group) for activity_id, group in groupby(lines, lambda row: row[1])
    }
    owners = [(program_id, row.member_key) for row in found if row.is_erased]
    states = {
        row.member_key: row.state
        for row in await tx.select(tables.members, owners, key=("program_id", "member_key"))
    }
    records = [
        rows.activity_of(row, rows.lines_of(by_activity.get(row.activity_id, ()))) for row in found
    ]
    # A mark that no erasure explains excuses nothing.
    return [
        replace(each, is_erased=each.is_erased and states.get(each.member_key) in _ERASABLE)
        for each in records
    ]


def _thawed(wallet: Wallet, frozen: Mapping[str, int]) -> Wallet:
    """A wallet as its entries make it: no entry freezes it, so it is compared with its member."""
    if wallet.frozen != frozen.get(wallet.member_key, 0):
        return wallet
    return replace(wallet, frozen=0)


async def entries_of(tx: Tx, records: Sequence[ActivityRecord]) -> Mapping[str, Entry]:
    """Entries of activities, by the activity that says that it is theirs; odd ones are left out."""
    places = {
        (each.program_id, each.member_key, each.currency_id, each.entry_sequence): each
        for each in records
        if each.entry_sequence
    }
    found = await tx.select(tables.entries, list(places), key=(*_WALLET, "sequence"))
    entries: dict[str, Entry] = {}
    for row in found:
        record = places[row.program_id, row.member_key, row.currency_id, row.sequence]
        try:
            entries[record.activity_id] = rows.entry_of(row, ())
        except ValueError:
            continue  # the stage of the wallets says what is wrong with it
    return entries


async def reversals_of(tx: Tx, records: Sequence[ActivityRecord]) -> Mapping[str, list[Reversal]]:
    """Reversals of activities, by activity."""
    found = await tx.select(
        tables.reversals,
        [(each.program_id, each.activity_id) for each in records],
        key=("program_id", "activity_id"),
    )
    return audit.by_activity(_reversal(row) for row in found)


def _reversal(row: Row) -> Reversal:
    return Reversal(
        program_id=row.program_id,
        reversal_id=row.reversal_id,
        activity_id=row.activity_id,
        member_key=row.member_key,
        occurred_time=row.occurred_time,
        create_time=row.create_time,
        reason=row.reason,
        points=row.points,
        owed=row.owed,
        amount=row.amount,
        lines=tuple(
            ReversedLine(
                line_number=number, quantity=quantity, amount=amount, points=points, item=b""
            )
            for number, quantity, amount, points in orjson.loads(row.lines)
        ),
    )


def _owner(row: Row) -> Owner:
    return (row.member_key, row.currency_id)
