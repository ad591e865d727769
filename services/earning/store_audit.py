"""Reads what a verification compares of wallets, a range of members at a time.

Rows come as the database has them (`audit_columns.py`), but for those that are rare.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias, cast

import sqlalchemy as sa

from services.earning import rows, store_audit_households, store_points, tables
from services.earning.audit_columns import (
    EntryColumns,
    LotColumns,
    Micros,
    Owner,
    Use,
    WalletColumns,
)
from services.earning.domain import (
    Account,
    ActivityId,
    CurrencyId,
    Entry,
    EntryType,
    Hold,
    MemberKey,
    ProgramId,
)
from services.earning.member_records import FROZEN_OF, MemberState
from services.earning.points_records import Adjustment
from shared.database import Row, Tx, from_micros

_OWNER = itemgetter(0, 1)
Select: TypeAlias = sa.Select[*tuple[object, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Keys of a program above `after` and at most `upto`; None has no end."""

    program_id: ProgramId
    after: str
    upto: str | None

    @property
    def keys(self) -> dict[str, object]:
        """Parameters of a statement over the range."""
        return {"program_id": self.program_id, "after": self.after, "upto": self.upto}


class Ranged:
    """A statement over a range of keys, in the order of `order_by`."""

    def __init__(
        self,
        statement: Select,
        program_id: sa.Column[object],
        key: sa.Column[object],
        *order_by: sa.Column[object],
        made: Callable[[Select], Select] = lambda ranged: ranged,
    ) -> None:
        """`made` is what is asked in the end of the rows of a range."""
        begun = statement.where(
            program_id == sa.bindparam("program_id"), key > sa.bindparam("after")
        ).order_by(*order_by)
        self._open = made(begun)
        self._closed = made(begun.where(key <= sa.bindparam("upto")))

    def of(self, range_: Range) -> Select:
        """The statement for a range, whose `keys` are its parameters."""
        return self._open if range_.upto is None else self._closed


def _of_members(table: sa.Table, names: Sequence[str] = (), *order_by: str) -> Ranged:
    """Columns of a table by these names, or else all but the program."""
    columns = [table.c[name] for name in names] or [
        each for each in table.c if each.name != "program_id"
    ]
    order = [table.c[name] for name in order_by]
    return Ranged(sa.select(*columns), table.c.program_id, table.c.member_key, *order)


_PLACE = ("member_key", "currency_id", "sequence")
_entries = _of_members(tables.entries, (), *_PLACE)
_uses = _of_members(tables.lot_uses, (), *_PLACE, "lot_sequence")
_wallets = _of_members(tables.wallets)
_lots = _of_members(
    tables.lots,
    (
        *("member_key", "currency_id", "lot_sequence", "remaining", "amount"),
        *("available_time", "expire_time", "activity_id", "is_pending", "is_sliding"),
    ),
)
_states = _of_members(tables.members, ("member_key", "state"))
_holds, _shares, _adjustments = (
    Ranged(sa.select(table), table.c.program_id, table.c.member_key)
    for table in (tables.holds, tables.hold_shares, tables.adjustments)
)
_OWNED = (tables.wallets, tables.entries, tables.lots, tables.holds, tables.adjustments)
_programs = sa.union(
    *(sa.select(table.c.program_id) for table in (*_OWNED, tables.activities)),
).order_by("program_id")
_counts = {
    table: sa.select(sa.func.count().label("number")).where(
        table.c.program_id == sa.bindparam("program_id")
    )
    for table in (tables.wallets, tables.activities)
}
_bounds = {
    key: sa.select(key.label("key"))
    .where(key.table.c.program_id == sa.bindparam("program_id"), key > sa.bindparam("after"))
    .order_by(key)
    .offset(sa.bindparam("step", type_=sa.Integer))
    .limit(1)
    for key in (tables.wallets.c.member_key, tables.activities.c.activity_id)
}
_transferred = (
    sa.select(
        tables.entries.c.currency_id,
        sa.cast(sa.func.sum(tables.entries.c.program_delta), sa.BigInteger).label("points"),
    )
    .where(
        tables.entries.c.program_id == sa.bindparam("program_id"),
        tables.entries.c.program_account == sa.literal_column("'transfer'"),
    )
    .group_by(tables.entries.c.currency_id)
    .order_by(tables.entries.c.currency_id)
)

# A range is small beside its table, and read in the order of an index.
_WALKED = sa.text(
    "SELECT set_config('enable_sort', 'off', true),"
    " set_config('max_parallel_workers_per_gather', '0', true)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """What is stored of the wallets of some members, beside their entries.

    `holds` are also what holds of households have of a wallet; `pooled` are those of them that are
    of these members, `shared` those that have points of these. `frozen` is how the states of
    members close their wallets.
    """

    wallets: Mapping[Owner, WalletColumns]
    lots: Mapping[Owner, Sequence[LotColumns]]
    holds: Mapping[Owner, Sequence[Hold]]
    pooled: Sequence[Hold]
    shared: Collection[str]
    adjustments: Mapping[Owner, Sequence[Adjustment]]
    frozen: Mapping[str, int]


async def programs(tx: Tx) -> list[ProgramId]:
    """Programs of which anything is stored."""
    return [ProgramId(row.program_id) for row in await tx.fetch(_programs)]


async def walk_indexes(tx: Tx) -> None:
    """Have PostgreSQL read ranges from indexes that have their order, for the transaction.

    Left to itself it sorts them by texts of a locale, which costs more than all the rest, and
    starts processes for a range.
    """
    if tx.dialect == "postgresql":
        await tx.fetch(_WALKED)


async def count(tx: Tx, table: sa.Table, program_id: ProgramId) -> int:
    """Number of wallets or activities."""
    return int((await tx.fetch(_counts[table], {"program_id": program_id}))[0].number)


async def bound(
    tx: Tx, key: sa.Column[str], program_id: ProgramId, after: str, step: int
) -> str | None:
    """The key so many rows above `after`, of a member with a wallet or of an activity."""
    values = {"program_id": program_id, "after": after, "step": step - 1}
    found = await tx.fetch(_bounds[key], values)
    return str(found[0].key) if found else None


async def lost_in_transfer(tx: Tx, program_id: ProgramId) -> dict[str, int]:
    """Points by currency that left wallets for others and never came, or came from nowhere."""
    found = await tx.fetch(_transferred, {"program_id": program_id})
    return {row.currency_id: int(row.points) for row in found if row.points}


async def owned(tx: Tx, range_: Range) -> Owned:
    """What is stored of a range of members."""
    keys = range_.keys
    wallets = cast("Sequence[WalletColumns]", await tx.plain(_wallets.of(range_), keys))
    lots: dict[Owner, list[LotColumns]] = {}
    for lot in cast("Sequence[LotColumns]", await tx.plain(_lots.of(range_), keys)):
        lots.setdefault(_OWNER(lot), []).append(lot)
    holds: dict[Owner, list[Hold]] = {}
    pooled: list[Hold] = []
    for row in await tx.fetch(_holds.of(range_), keys):
        held = rows.hold_of(row)
        (pooled if held.household_id else holds.setdefault(_owner(row), [])).append(held)
    shares = await tx.fetch(_shares.of(range_), keys)
    for owner, part in await store_audit_households.parts(tx, range_.program_id, shares):
        holds.setdefault(owner, []).append(part)
    adjustments: dict[Owner, list[Adjustment]] = {}
    for row in await tx.fetch(_adjustments.of(range_), keys):
        adjustments.setdefault(_owner(row), []).append(store_points.adjustment_of(row))
    states = cast("Sequence[tuple[str, str]]", await tx.plain(_states.of(range_), keys))
    return Owned(
        wallets={_OWNER(wallet): wallet for wallet in wallets},
        lots=lots,
        holds=holds,
        pooled=await store_audit_households.whole(tx, pooled),
        shared={row.hold_id for row in shares},
        adjustments=adjustments,
        frozen={member_key: FROZEN_OF[MemberState(state)] for member_key, state in states},
    )


async def uses(tx: Tx, range_: Range) -> Mapping[Owner, Mapping[int, Sequence[Use]]]:
    """What entries used of lots, by wallet and number, in the order of the lots."""
    found: dict[Owner, dict[int, list[Use]]] = {}
    plain = await tx.plain(_uses.of(range_), range_.keys)
    for member_key, currency_id, sequence, lot, points in cast(
        "Sequence[tuple[str, str, int, int, int]]", plain
    ):
        by_number = found.setdefault((member_key, currency_id), {})
        by_number.setdefault(sequence, []).append((lot, points))
    return found


async def entry_pages(
    tx: Tx, range_: Range, size: int
) -> AsyncIterator[list[tuple[Owner, list[EntryColumns]]]]:
    """Entries of a range of members, `size` at a time, in runs of one wallet."""
    async for page in tx.pages(_entries.of(range_), range_.keys, size):
        entries = cast("Sequence[EntryColumns]", page)
        yield [(owner, list(run)) for owner, run in groupby(entries, key=_OWNER)]


def entry_of(program_id: ProgramId, columns: EntryColumns) -> Entry:
    """The entry of columns, without its uses; raises ValueError for an odd type or account."""
    return Entry(
        program_id=program_id,
        member_key=MemberKey(columns[0]),
        currency_id=CurrencyId(columns[1]),
        sequence=columns[2],
        type=EntryType(columns[3]),
        available_delta=columns[4],
        pending_delta=columns[5],
        held_delta=columns[6],
        debt_delta=columns[7],
        program_account=Account(columns[8]),
        program_delta=columns[9],
        available_after=columns[10],
        activity_id=ActivityId(columns[11]),
        reference=columns[12],
        reason=columns[13],
        occurred_time=from_micros(columns[14]),
        create_time=from_micros(columns[15]),
        explanation=columns[16],
        lot_uses=(),
        chain_hash=columns[17],
        lot_sequence=columns[18],
        lot_available_time=_instant(columns[19]),
        lot_expire_time=_instant(columns[20]),
        slide_time=_instant(columns[21]),
    )


def _instant(micros: Micros) -> datetime | None:
    return None if micros is None else from_micros(micros)


def _owner(row: Row) -> Owner:
    return (row.member_key, row.currency_id)
