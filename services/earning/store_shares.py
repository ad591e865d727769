"""What holds of households have of their members: loaded and saved."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from services.earning import rows, tables
from services.earning.domain import CurrencyId, Hold, HoldShare, HoldState, MemberKey
from services.earning.world import HoldKey, WalletKey
from shared import record
from shared.database import Row, Tx

_HOLD = ("program_id", "hold_id")
_WALLET = ("program_id", "member_key", "currency_id")

_wallets = [tables.hold_shares.c[name] for name in ("program_id", "member_key", "currency_id")]
_holds = [tables.hold_shares.c[name] for name in _HOLD]
_open = [tables.holds.c[name] for name in _HOLD]


async def wallets(tx: Tx, holds: Collection[HoldKey]) -> set[WalletKey]:
    """Wallets that holds of households have points of; they stay the same."""
    found = await tx.select(_wallets, sorted(holds), key=_HOLD)
    return {
        (row.program_id, MemberKey(row.member_key), CurrencyId(row.currency_id)) for row in found
    }


async def with_shares(tx: Tx, holds: Mapping[HoldKey, Hold]) -> dict[HoldKey, Hold]:
    """Holds, with their shares in the order of the members' keys."""
    pooled = [key for key, hold in holds.items() if hold.household_id]
    if not pooled:
        return dict(holds)
    shares: dict[HoldKey, list[HoldShare]] = {key: [] for key in pooled}
    for row in await tx.select(
        tables.hold_shares, sorted(pooled), key=_HOLD, order_by=(*_HOLD, "member_key")
    ):
        shares[row.program_id, row.hold_id].append(share_of(row))
    whole = {key: replace(holds[key], shares=tuple(shares[key])) for key in pooled}
    return {**holds, **whole}


async def open_holds(tx: Tx, keys: Collection[WalletKey]) -> list[HoldKey]:
    """Open holds of households that have points of locked wallets."""
    found = await tx.select(_holds, sorted(keys), key=_WALLET)
    wanted = sorted({(row.program_id, row.hold_id, HoldState.OPEN.value) for row in found})
    opened = await tx.select(_open, wanted, key=(*_HOLD, "state"))
    return [(row.program_id, row.hold_id) for row in opened]


async def save(tx: Tx, placed: Iterable[Hold], changed: Iterable[Hold]) -> None:
    """Write the shares of holds that commands placed or changed."""
    await tx.insert(tables.hold_shares, _rows(placed))
    updated = [
        {name: each for name, each in row.items() if name not in {"points", "entry_sequence"}}
        for row in _rows(changed)
    ]
    await tx.update(tables.hold_shares, updated, key=(*_HOLD, "member_key", "currency_id"))


def share_of(row: Row) -> HoldShare:
    """The share of a row."""
    return HoldShare(
        member_key=row.member_key,
        points=row.points,
        captured=row.captured,
        refunded=row.refunded,
        entry_sequence=row.entry_sequence,
        lots=rows.held_lots(row.lots),
    )


def _rows(holds: Iterable[Hold]) -> Sequence[dict[str, object]]:
    return [
        {
            "program_id": hold.program_id,
            "hold_id": hold.hold_id,
            "member_key": share.member_key,
            "currency_id": hold.currency_id,
            "points": share.points,
            "captured": share.captured,
            "refunded": share.refunded,
            "entry_sequence": share.entry_sequence,
            "lots": record.dumps([(use.lot_sequence, use.points) for use in share.lots]),
        }
        for hold in holds
        for share in hold.shares
    ]
