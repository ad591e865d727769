"""Adjustments: loaded, saved, listed; the only SQL about them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TypeAlias

import sqlalchemy as sa

from services.earning import rows, store_shares, tables
from services.earning.domain import CurrencyId, EntryType, HoldState, MemberKey, ProgramId
from services.earning.points_records import Adjustment, AdjustmentId, AdjustmentState
from services.earning.world import AdjustmentKey, HoldKey, WalletKey, World
from shared.database import Row, Tx, to_micros

EndedLot: TypeAlias = tuple[ProgramId, MemberKey, CurrencyId, int]
_ADJUSTMENT = ("program_id", "adjustment_id")
_WALLET = ("program_id", "member_key", "currency_id")

_adjustments = tables.adjustments.c
_owner = [
    _adjustments[name] for name in ("program_id", "adjustment_id", "member_key", "currency_id")
]
_hold = [tables.holds.c[name] for name in ("program_id", "hold_id")]
_page = (
    sa.select(tables.adjustments)
    .where(
        _adjustments.program_id == sa.bindparam("program_id"),
        _adjustments.state.in_(sa.bindparam("states", expanding=True)),
        sa.or_(
            _adjustments.create_time < sa.bindparam("before_time", type_=sa.BigInteger),
            sa.and_(
                _adjustments.create_time == sa.bindparam("before_time", type_=sa.BigInteger),
                _adjustments.adjustment_id < sa.bindparam("before_id"),
            ),
        ),
    )
    .order_by(_adjustments.create_time.desc(), _adjustments.adjustment_id.desc())
    .limit(sa.bindparam("count"))
)


def _sum(column: sa.ColumnElement[int]) -> sa.Label[int]:
    return sa.cast(sa.func.coalesce(sa.func.sum(column), 0), sa.BigInteger).label("points")


_entries, _uses = tables.entries.c, tables.lot_uses.c
_of_wallet = [_entries[name] == sa.bindparam(name) for name in _WALLET]
_ended = (
    sa.select(
        sa.cast(sa.func.coalesce(sa.func.sum(_uses.points), 0), sa.BigInteger).label("points")
    )
    .select_from(
        tables.entries.join(
            tables.lot_uses,
            sa.and_(
                *(_uses[name] == _entries[name] for name in _WALLET),
                _uses.sequence == _entries.sequence,
            ),
        )
    )
    .where(
        *_of_wallet,
        _entries.type == sa.literal_column(f"'{EntryType.EXPIRE.value}'"),
        _uses.lot_sequence == sa.bindparam("lot_sequence", type_=sa.BigInteger),
    )
)
_came_back = sa.select(_sum(_entries.program_delta)).where(
    *_of_wallet,
    _entries.type == sa.literal_column(f"'{EntryType.REINSTATE.value}'"),
    _entries.lot_sequence == sa.bindparam("lot_sequence", type_=sa.BigInteger),
)


# Loading -----------------------------------------------------------------------------------------


async def owners_of_adjustments(
    tx: Tx, keys: Collection[AdjustmentKey]
) -> dict[AdjustmentKey, WalletKey]:
    """Wallets that adjustments were asked for; unknown ones are left out."""
    found = await tx.select(_owner, list(keys), key=_ADJUSTMENT)
    return {
        (row.program_id, row.adjustment_id): (
            row.program_id,
            MemberKey(row.member_key),
            CurrencyId(row.currency_id),
        )
        for row in found
    }


async def load_adjustments(
    tx: Tx, keys: Collection[AdjustmentKey]
) -> dict[AdjustmentKey, Adjustment]:
    """Adjustments; for a decision, behind the lock of their wallets."""
    found = await tx.select(tables.adjustments, list(keys), key=_ADJUSTMENT)
    return {(row.program_id, row.adjustment_id): adjustment_of(row) for row in found}


async def load_ended(tx: Tx, world: World, lots: Sequence[EndedLot]) -> None:
    """Load lots of locked wallets, used-up ones too, and what has ended of them by the entries."""
    found = await tx.select(tables.lots, lots, key=(*_WALLET, "lot_sequence"))
    for row in found:
        key = (row.program_id, MemberKey(row.member_key), CurrencyId(row.currency_id))
        world.lots.setdefault(key, {})[row.lot_sequence] = rows.lot_of(row)
        asked = {**dict(zip(_WALLET, key, strict=True)), "lot_sequence": row.lot_sequence}
        ended = -(await tx.fetch(_ended, asked))[0].points
        came_back = (await tx.fetch(_came_back, asked))[0].points
        world.expired[key, row.lot_sequence] = int(ended) + int(came_back)


async def open_holds(tx: Tx, wallets: Collection[WalletKey]) -> list[HoldKey]:
    """Open holds of locked wallets."""
    keys = [(*each, HoldState.OPEN.value) for each in sorted(wallets)]
    found = await tx.select(_hold, keys, key=(*_WALLET, "state"))
    own: list[HoldKey] = [(row.program_id, row.hold_id) for row in found]
    return [*own, *await store_shares.open_holds(tx, wallets)]


async def page(
    tx: Tx,
    program_id: ProgramId,
    states: Sequence[AdjustmentState],
    *,
    before: tuple[datetime, str],
    count: int,
) -> list[Adjustment]:
    """Adjustments in some states, the newest first, at most `count`."""
    found = await tx.fetch(
        _page,
        {
            "program_id": program_id,
            "states": [each.value for each in states],
            "before_time": to_micros(before[0]),
            "before_id": before[1],
            "count": count,
        },
    )
    return [adjustment_of(row) for row in found]


def adjustment_of(row: Row) -> Adjustment:
    """The adjustment of a row."""
    return Adjustment(
        program_id=row.program_id,
        adjustment_id=AdjustmentId(row.adjustment_id),
        member_key=row.member_key,
        currency_id=row.currency_id,
        points=row.points,
        actor=row.actor,
        reason=row.reason,
        state=AdjustmentState(row.state),
        create_time=row.create_time,
        decider=row.decider,
        rejection_reason=row.rejection_reason,
        decide_time=row.decide_time,
        entry_sequence=row.entry_sequence,
    )


# Saving ------------------------------------------------------------------------------------------


async def save(tx: Tx, world: World) -> None:
    """Write the adjustments that commands made or decided."""
    if not world.changed_adjustments:
        return
    made = sorted(world.made_adjustments)
    await tx.insert(tables.adjustments, [_row(world.adjustments[key]) for key in made])
    changed = sorted(world.changed_adjustments - world.made_adjustments)
    await tx.update(
        tables.adjustments, [_row(world.adjustments[key]) for key in changed], key=_ADJUSTMENT
    )


def _row(adjustment: Adjustment) -> dict[str, object]:
    return {
        "program_id": adjustment.program_id,
        "adjustment_id": adjustment.adjustment_id,
        "member_key": adjustment.member_key,
        "currency_id": adjustment.currency_id,
        "points": adjustment.points,
        "actor": adjustment.actor,
        "reason": adjustment.reason,
        "state": adjustment.state.value,
        "create_time": adjustment.create_time,
        "decider": adjustment.decider,
        "rejection_reason": adjustment.rejection_reason,
        "decide_time": adjustment.decide_time,
        "entry_sequence": adjustment.entry_sequence,
    }
