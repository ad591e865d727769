"""Reads what earning holds, for answers; no lock is taken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import sqlalchemy as sa

from services.earning import rows, tables
from services.earning.domain import (
    ActivityRecord,
    CurrencyId,
    Entry,
    EntryType,
    HoldId,
    LotUse,
    MemberId,
    MemberKey,
    ProgramId,
    Wallet,
)
from shared.database import Row, Tx, to_micros

_WALLET = ("program_id", "member_key", "currency_id")
_identifiers, _entries, _activities = (
    tables.member_identifiers.c,
    tables.entries.c,
    tables.activities.c,
)
_wallets, _holds = tables.wallets.c, tables.holds.c

_entry_page = (
    sa.select(tables.entries)
    .where(
        _entries.program_id == sa.bindparam("program_id"),
        _entries.member_key == sa.bindparam("member_key"),
        _entries.currency_id == sa.bindparam("currency_id"),
        _entries.sequence < sa.bindparam("before"),
    )
    .order_by(_entries.sequence.desc())
    .limit(sa.bindparam("count"))
)
_activity_page = (
    sa.select(tables.activities)
    .where(
        _activities.program_id == sa.bindparam("program_id"),
        _activities.member_key.in_(sa.bindparam("member_keys", expanding=True)),
        sa.or_(
            _activities.create_time < sa.bindparam("before_time", type_=sa.BigInteger),
            sa.and_(
                _activities.create_time == sa.bindparam("before_time", type_=sa.BigInteger),
                _activities.activity_id < sa.bindparam("before_id"),
            ),
        ),
    )
    .order_by(_activities.create_time.desc(), _activities.activity_id.desc())
    .limit(sa.bindparam("count"))
)
_due = sa.and_(
    _holds.state == "open", _holds.expire_time <= sa.bindparam("now", type_=sa.BigInteger)
)
_due_count = sa.select(sa.func.count().label("due")).where(_due)
_due_holds = (
    sa.select(_holds.program_id, _holds.hold_id)
    .where(_due)
    .order_by(_holds.expire_time, _holds.program_id, _holds.hold_id)
    .limit(sa.bindparam("count"))
)
_due_wallet = _wallets.next_time <= sa.bindparam("now", type_=sa.BigInteger)
_due_wallet_count = sa.select(sa.func.count().label("due")).select_from(
    sa.select(_wallets.next_time).where(_due_wallet).limit(sa.bindparam("count")).subquery()
)
_due_wallets = (
    sa.select(
        _wallets.program_id,
        _wallets.member_key,
        _wallets.currency_id,
        _wallets.next_time,
        _wallets.sequence,
    )
    .where(
        _due_wallet,
        sa.tuple_(
            _wallets.next_time, _wallets.program_id, _wallets.member_key, _wallets.currency_id
        )
        > sa.tuple_(
            sa.bindparam("after_time", type_=sa.BigInteger),
            sa.bindparam("after_program", type_=sa.Text),
            sa.bindparam("after_member", type_=sa.Text),
            sa.bindparam("after_currency", type_=sa.Text),
        ),
    )
    .order_by(_wallets.next_time, _wallets.program_id, _wallets.member_key, _wallets.currency_id)
    .limit(sa.bindparam("count"))
)


def _sum(column: sa.ColumnElement[int], name: str) -> sa.Label[int]:
    return sa.cast(sa.func.coalesce(sa.func.sum(column), 0), sa.BigInteger).label(name)


_of_currency = (
    _entries.program_id == sa.bindparam("program_id"),
    _entries.currency_id == sa.bindparam("currency_id"),
)
_by_type = (
    sa.select(
        _entries.type,
        _sum(_entries.program_delta, "program"),
        _sum(_entries.available_delta, "available"),
        _sum(_entries.pending_delta, "pending"),
        _sum(_entries.held_delta, "held"),
        _sum(_entries.debt_delta, "debt"),
    )
    .where(*_of_currency)
    .group_by(_entries.type)
)
_by_activity_type = (
    sa.select(_activities.type, sa.func.count().label("activities"))
    .where(_activities.program_id == sa.bindparam("program_id"))
    .group_by(_activities.type)
    .order_by(_activities.type)
    .limit(1_000)
)
_member_count = sa.select(sa.func.count().label("number")).where(
    tables.members.c.program_id == sa.bindparam("program_id")
)
_reversal_count = sa.select(sa.func.count().label("number")).where(
    tables.reversals.c.program_id == sa.bindparam("program_id")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSummary:
    """Totals of one program and currency; `activities` are (type, number), sorted by type."""

    members: int
    activities: tuple[tuple[str, int], ...]
    reversals: int
    earned: int
    credited: int
    reversed: int
    spent: int
    expired: int
    available: int
    pending: int
    held: int
    debt: int
    adjusted: int = 0
    referred: int = 0
    converted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DueWallet:
    """A wallet that the clock looks at from `next_time` on, and how many entries it has."""

    program_id: ProgramId
    member_key: MemberKey
    currency_id: CurrencyId
    next_time: datetime
    entries: int


async def find_member(tx: Tx, program_id: ProgramId, member_id: MemberId) -> MemberKey | None:
    """Key of the member that an identifier names, None for nobody."""
    found = await tx.select(
        tables.member_identifiers, [(program_id, member_id)], key=("program_id", "identifier")
    )
    return MemberKey(found[0].member_key) if found else None


async def name_member(tx: Tx, program_id: ProgramId, member_key: MemberKey) -> MemberId:
    """First identifier of a member, in their order; empty when it has none."""
    found = await tx.select(
        tables.member_identifiers,
        [(program_id, member_key)],
        key=("program_id", "member_key"),
        order_by=("identifier",),
    )
    return MemberId(found[0].identifier if found else "")


async def wallet(
    tx: Tx, program_id: ProgramId, member_key: MemberKey, currency_id: CurrencyId
) -> Wallet:
    """A member's wallet; one that was never used is empty."""
    found = await tx.select(tables.wallets, [(program_id, member_key, currency_id)], key=_WALLET)
    if found:
        return rows.wallet_of(found[0])
    return Wallet(program_id=program_id, member_key=member_key, currency_id=currency_id)


async def entries(
    tx: Tx,
    key: tuple[ProgramId, MemberKey, CurrencyId],
    *,
    before: int,
    count: int,
) -> list[Entry]:
    """Entries of a wallet with a sequence below `before`, newest first, at most `count`."""
    found = await tx.fetch(
        _entry_page,
        {
            "program_id": key[0],
            "member_key": key[1],
            "currency_id": key[2],
            "before": before,
            "count": count,
        },
    )
    uses = await lot_uses(tx, [(*key, row.sequence) for row in found])
    return [rows.entry_of(row, uses.get((*key, row.sequence), ())) for row in found]


async def lot_uses(
    tx: Tx, keys: Sequence[tuple[str, str, str, int]]
) -> Mapping[tuple[str, str, str, int], tuple[LotUse, ...]]:
    """Lot uses of entries, in the order of the lots; entries without any are left out."""
    found = await tx.select(
        tables.lot_uses,
        keys,
        key=(*_WALLET, "sequence"),
        order_by=(*_WALLET, "sequence", "lot_sequence"),
    )
    return {
        key: tuple(rows.use_of(row) for row in group) for key, group in groupby(found, _entry_key)
    }


def _entry_key(row: Row) -> tuple[str, str, str, int]:
    return (row.program_id, row.member_key, row.currency_id, row.sequence)


async def activities(
    tx: Tx,
    program_id: ProgramId,
    member_keys: Sequence[MemberKey],
    *,
    before: tuple[datetime, str],
    count: int,
) -> list[ActivityRecord]:
    """Activities of members, newest first by record and then by identifier, at most `count`."""
    found = await tx.fetch(
        _activity_page,
        {
            "program_id": program_id,
            "member_keys": list(member_keys),
            "before_time": to_micros(before[0]),
            "before_id": before[1],
            "count": count,
        },
    )
    lines = await tx.select(
        tables.activity_lines,
        [(program_id, row.activity_id) for row in found],
        key=("program_id", "activity_id"),
        order_by=("activity_id", "line_number"),
    )
    by_activity = {
        activity_id: list(group) for activity_id, group in groupby(lines, lambda row: row[1])
    }
    return [
        rows.activity_of(row, rows.lines_of(by_activity.get(row.activity_id, ()))) for row in found
    ]


async def due_count(tx: Tx, now: datetime) -> int:
    """Number of open holds whose time is over."""
    return int((await tx.fetch(_due_count, {"now": to_micros(now)}))[0].due)


async def due_holds(tx: Tx, now: datetime, count: int) -> list[tuple[ProgramId, HoldId]]:
    """Open holds whose time is over, those that ended first first, at most `count`."""
    found = await tx.fetch(_due_holds, {"now": to_micros(now), "count": count})
    return [(row.program_id, row.hold_id) for row in found]


async def due_wallet_count(tx: Tx, now: datetime, count: int) -> int:
    """Number of wallets of which the clock has made something due, at most `count`."""
    found = await tx.fetch(_due_wallet_count, {"now": to_micros(now), "count": count})
    return int(found[0].due)


async def due_wallets(
    tx: Tx, now: datetime, after: DueWallet | None, count: int
) -> list[DueWallet]:
    """Wallets of which the clock has made something due, the earliest first, beyond `after`."""
    place = (
        (to_micros(after.next_time), after.program_id, after.member_key, after.currency_id)
        if after
        else (-(2**62), "", "", "")
    )
    names = ("after_time", "after_program", "after_member", "after_currency")
    found = await tx.fetch(
        _due_wallets,
        {"now": to_micros(now), "count": count, **dict(zip(names, place, strict=True))},
    )
    return [
        DueWallet(
            program_id=row.program_id,
            member_key=row.member_key,
            currency_id=row.currency_id,
            next_time=row.next_time,
            entries=row.sequence,
        )
        for row in found
    ]


async def summary(tx: Tx, program_id: str, currency_id: str) -> LedgerSummary:
    """Totals of a program, summed from the entries."""
    key = {"program_id": program_id}
    by_type = {
        EntryType(row.type): row
        for row in await tx.fetch(_by_type, {**key, "currency_id": currency_id})
    }

    def program(*types: EntryType) -> int:
        return sum(int(by_type[each].program) for each in types if each in by_type)

    def total(name: str) -> int:
        return sum(int(getattr(row, name)) for row in by_type.values())

    return LedgerSummary(
        members=(await tx.fetch(_member_count, key))[0].number,
        activities=tuple(
            (row.type, row.activities) for row in await tx.fetch(_by_activity_type, key)
        ),
        reversals=(await tx.fetch(_reversal_count, key))[0].number,
        earned=-program(EntryType.EARN),
        credited=-program(EntryType.CREDIT),
        reversed=program(EntryType.REVERSE),
        spent=program(EntryType.CAPTURE, EntryType.REFUND),
        expired=program(EntryType.EXPIRE, EntryType.REINSTATE),
        available=total("available"),
        pending=total("pending"),
        held=total("held"),
        debt=-total("debt"),
        adjusted=-program(EntryType.ADJUST),
        referred=-program(EntryType.REFERRAL),
        converted=-program(EntryType.CONVERT_IN, EntryType.CONVERT_OUT),
    )
