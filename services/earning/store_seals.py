"""Reads what seals are made of, and reads and writes seals and their chunks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import cast

import sqlalchemy as sa

from services.earning import tables
from services.earning.domain import CurrencyId, MemberKey, ProgramId
from services.earning.seals import Chunk, Leaf, Seal, totals_from, totals_text
from shared.database import Row, Tx, to_micros

_entries, _seals, _chunks = tables.entries.c, tables.seals.c, tables.seal_chunks.c
_wallets = tables.wallets.c
_versions = tables.kernel.program_versions.c
_OWNER = ("member_key", "currency_id")
# SQLite's LIMIT is given an OFFSET, which must not be a parameter of its own.
_NONE: sa.ColumnClause[int] = sa.literal_column("0", sa.Integer)


def _param(name: str) -> sa.BindParameter[str]:
    return sa.bindparam(name, type_=sa.Text)


def _number(name: str) -> sa.BindParameter[int]:
    return sa.bindparam(name, type_=sa.BigInteger)


# Wallets at an instant ---------------------------------------------------------------------------

# The newest entries are looked at first: soon after the instant it is one of them.
_last = (
    sa.select(_entries.sequence)
    .where(
        _entries.program_id == _wallets.program_id,
        _entries.member_key == _wallets.member_key,
        _entries.currency_id == _wallets.currency_id,
        _entries.create_time < _number("end"),
    )
    .order_by(_entries.sequence.desc())
    .limit(sa.literal_column("1"))
    .offset(_NONE)
    .correlate(tables.wallets)
    .scalar_subquery()
)
_page = (
    sa.select(
        *(_wallets[name] for name in (*_OWNER, "sequence", "available", "pending", "held", "debt")),
        _last.label("last"),
    )
    .where(
        _wallets.program_id == _param("program_id"),
        sa.tuple_(_wallets.member_key, _wallets.currency_id)
        > sa.tuple_(_param("after_member"), _param("after_currency")),
    )
    .order_by(_wallets.member_key, _wallets.currency_id)
    .limit(_number("count"))
    .offset(_NONE)
    .subquery("page")
)


def _of_page(*more: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.and_(
        _entries.program_id == _param("program_id"),
        _entries.member_key == _page.c.member_key,
        _entries.currency_id == _page.c.currency_id,
        *more,
    )


_places = (
    sa.select(_page, _entries.chain_hash)
    .select_from(
        _page.outerjoin(tables.entries, _of_page(_entries.sequence == _page.c.last)),
    )
    .order_by(_page.c.member_key, _page.c.currency_id)
)
_SUMMED = ("available_delta", "pending_delta", "held_delta", "debt_delta")
_since = (
    sa.select(
        _page.c.member_key,
        _page.c.currency_id,
        *(sa.cast(sa.func.sum(_entries[name]), sa.BigInteger) for name in _SUMMED),
    )
    .select_from(_page.join(tables.entries, _of_page(_entries.sequence > _page.c.last)))
    .where(_page.c.last < _page.c.sequence)
    .group_by(_page.c.member_key, _page.c.currency_id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Leaves of wallets that follow each other; `after` is where the next page begins, or None."""

    leaves: Sequence[Leaf]
    after: tuple[str, str] | None


async def leaves(
    tx: Tx, program_id: ProgramId, end: datetime, after: tuple[str, str], count: int
) -> Page:
    """The next `count` wallets as they were before an instant, less those without an entry then.

    What was booked since is taken off what the wallets have now, in the same snapshot.
    """
    keys = {
        "program_id": program_id,
        "end": to_micros(end),
        "after_member": after[0],
        "after_currency": after[1],
        "count": count,
    }
    rows = cast(
        "Sequence[tuple[str, str, int, int, int, int, int, int | None, bytes]]",
        await tx.plain(_places, keys),
    )
    since: dict[tuple[str, str], tuple[int, ...]] = {}
    if any(row[7] is not None and row[7] < row[2] for row in rows):
        moved = cast("Sequence[tuple[str, str, int, int, int, int]]", await tx.plain(_since, keys))
        since = {(row[0], row[1]): tuple(row[2:]) for row in moved}
    found: list[Leaf] = []
    for member_key, currency_id, _, available, pending, held, debt, last, chain_hash in rows:
        if last is None:
            continue
        later = since.get((member_key, currency_id), (0, 0, 0, 0))
        found.append(
            Leaf(
                member_key=MemberKey(member_key),
                currency_id=CurrencyId(currency_id),
                sequence=last,
                chain_hash=bytes(chain_hash),
                available=available - later[0],
                pending=pending - later[1],
                held=held - later[2],
                debt=debt + later[3],
            )
        )
    return Page(leaves=found, after=(rows[-1][0], rows[-1][1]) if len(rows) == count else None)


# What is due -------------------------------------------------------------------------------------

_latest_days = (
    sa.select(_seals.program_id, sa.func.max(_seals.day).label("day"))
    .group_by(_seals.program_id)
    .subquery()
)
_programs = (
    sa.select(_versions.program_id, _latest_days.c.day)
    .select_from(
        tables.kernel.program_versions.outerjoin(
            _latest_days, _latest_days.c.program_id == _versions.program_id
        )
    )
    .where(_versions.version == 1)
    .order_by(_versions.program_id)
)
_since_when = sa.func.coalesce(_versions.publish_time, _versions.create_time)
_version_at = sa.select(sa.func.max(_versions.version).label("version")).where(
    _versions.program_id == _param("program_id"), _since_when <= _number("at")
)
# Transactions of others that were begun before an instant of the database's own clock.
_begun_before = sa.text(
    "SELECT count(*) AS begun FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    " AND (EXTRACT(EPOCH FROM xact_start) * 1000000)::BIGINT <= :micros"
)


async def latest_days(tx: Tx) -> list[tuple[ProgramId, date | None]]:
    """Each program, and the last day of it that is sealed."""
    return [(ProgramId(row.program_id), row.day) for row in await tx.fetch(_programs)]


async def version_at(tx: Tx, program_id: ProgramId, at: datetime) -> int:
    """The version that was in force at an instant, and the first one before there was any."""
    found = await tx.fetch(_version_at, {"program_id": program_id, "at": to_micros(at)})
    return int(found[0].version or 1)


async def begun_before(tx: Tx, micros: int) -> int:
    """Number of other transactions of a PostgreSQL database that began before it showed this."""
    return int((await tx.fetch(_begun_before, {"micros": micros}))[0].begun)


# Seals -------------------------------------------------------------------------------------------

_chunk_rows = (
    sa.select(tables.seal_chunks)
    .where(_chunks.program_id == _param("program_id"), _chunks.day == _param("day"))
    .order_by(_chunks.number)
)
_seal_rows = sa.select(tables.seals).where(_seals.program_id == _param("program_id"))
_latest_seal = _seal_rows.order_by(_seals.day.desc()).limit(1)
_seal_page = (
    _seal_rows.where(_seals.day < _param("before"))
    .order_by(_seals.day.desc())
    .limit(_number("count"))
)
_all_seals = _seal_rows.order_by(_seals.day)


_chunk_with = (
    sa.select(_chunks.number)
    .where(
        _chunks.program_id == _param("program_id"),
        _chunks.day == _param("day"),
        sa.tuple_(_chunks.first_member_key, _chunks.first_currency_id)
        <= sa.tuple_(_param("member_key"), _param("currency_id")),
    )
    .order_by(_chunks.number.desc())
    .limit(1)
)


async def chunk_with(tx: Tx, of: Seal, wallet: tuple[str, str]) -> int | None:
    """The number of the chunk that a wallet is in if it is in the seal; None if it is in none."""
    found = await tx.fetch(
        _chunk_with,
        {
            "program_id": of.program_id,
            "day": of.day.isoformat(),
            "member_key": wallet[0],
            "currency_id": wallet[1],
        },
    )
    return int(found[0].number) if found else None


async def chunks(tx: Tx, program_id: ProgramId, day: date) -> list[Chunk]:
    """Chunks of a day, in their order."""
    found = await tx.fetch(_chunk_rows, {"program_id": program_id, "day": day.isoformat()})
    return [_chunk_of(row) for row in found]


async def seal(tx: Tx, program_id: ProgramId, day: date) -> Seal | None:
    """The seal of a day."""
    found = await tx.select(tables.seals, [(program_id, day)], key=("program_id", "day"))
    return _seal_of(found[0]) if found else None


async def latest(tx: Tx, program_id: ProgramId) -> Seal | None:
    """The seal of the last day that has one."""
    found = await tx.fetch(_latest_seal, {"program_id": program_id})
    return _seal_of(found[0]) if found else None


async def page(tx: Tx, program_id: ProgramId, *, before: str, count: int) -> list[Seal]:
    """Seals of days before one (its text), the latest first, at most `count`."""
    found = await tx.fetch(_seal_page, {"program_id": program_id, "before": before, "count": count})
    return [_seal_of(row) for row in found]


async def all_of(tx: Tx, program_id: ProgramId) -> list[Seal]:
    """All seals of a program, the first day first."""
    return [_seal_of(row) for row in await tx.fetch(_all_seals, {"program_id": program_id})]


async def add_chunks(tx: Tx, program_id: ProgramId, day: date, made: Sequence[Chunk]) -> None:
    """Keep chunks; one that another copy of the job made is the same, and stays."""
    rows = [
        {
            "program_id": program_id,
            "day": day,
            "number": each.number,
            "first_member_key": each.first[0],
            "first_currency_id": each.first[1],
            "last_member_key": each.last[0],
            "last_currency_id": each.last[1],
            "leaves": each.leaves,
            "totals": totals_text(each.totals),
            "root": each.root,
        }
        for each in made
    ]
    await tx.insert(tables.seal_chunks, rows, ignore_conflicts=True)


async def add(tx: Tx, made: Seal) -> None:
    """Keep a seal; one that another copy of the job made is the same, and stays."""
    row = {
        "program_id": made.program_id,
        "day": made.day,
        "time_zone": made.time_zone,
        "end_time": made.end_time,
        "root": made.root,
        "totals": totals_text(made.totals),
        "previous_hash": made.previous_hash,
        "seal_hash": made.seal_hash,
        "seal_time": made.seal_time,
    }
    await tx.insert(tables.seals, [row], ignore_conflicts=True)


def _chunk_of(row: Row) -> Chunk:
    return Chunk(
        number=row.number,
        first=(row.first_member_key, row.first_currency_id),
        last=(row.last_member_key, row.last_currency_id),
        leaves=row.leaves,
        totals=totals_from(row.totals),
        root=bytes(row.root),
    )


def _seal_of(row: Row) -> Seal:
    return Seal(
        program_id=ProgramId(row.program_id),
        day=row.day,
        time_zone=row.time_zone,
        end_time=row.end_time,
        root=bytes(row.root),
        totals=totals_from(row.totals),
        previous_hash=bytes(row.previous_hash),
        seal_hash=bytes(row.seal_hash),
        seal_time=row.seal_time,
    )
