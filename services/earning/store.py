"""Loads what a batch is decided over, locked in one order.

Locks are taken in the order of architecture's idea 1: identifiers and receipts (business keys),
then wallets, each sorted by its key; everything else hangs on a wallet and is read after its lock.
Every statement takes all rows of the batch at once.
What it changed is saved by `store_writes.py`; reads are in `store_reads.py` and `store_audit.py`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import cast

from services.earning import rows, store_shares, tables
from services.earning.commands import RecordActivity
from services.earning.domain import (
    ActivityId,
    CurrencyId,
    Hold,
    HoldShare,
    Lot,
    Member,
    MemberKey,
    Wallet,
)
from services.earning.member_records import FROZEN_OF, MEMBER_ID, MemberState
from services.earning.world import (
    ActivityKey,
    HoldKey,
    Identifier,
    MemberPlace,
    Receipt,
    WalletKey,
    World,
)
from shared.database import Row, Tx

_WALLET = ("program_id", "member_key", "currency_id")
_LOT = (*_WALLET, "lot_sequence")
_IDENTIFIER = ("program_id", "identifier")
_MEMBER = ("program_id", "member_key")
_ACTIVITY = ("program_id", "activity_id")
_HOLD = ("program_id", "hold_id")
_RECEIPT = ("program_id", "source", "external_reference")
_LEVEL = (*_MEMBER, "ladder_id", "effective_time")

_identifier_columns = [
    tables.member_identifiers.c[name] for name in ("program_id", "identifier", "member_key")
]
_activity_owner = [
    tables.activities.c[name]
    for name in ("program_id", "activity_id", "member_key", "currency_id", "points_hold_id")
]
_hold_owner = [
    tables.holds.c[name]
    for name in ("program_id", "hold_id", "member_key", "currency_id", "household_id")
]


# Who is meant ------------------------------------------------------------------------------------


async def find_members(tx: Tx, identifiers: Collection[Identifier]) -> dict[Identifier, MemberKey]:
    """Keys of the members that identifiers name; unknown ones are left out."""
    found = await tx.select(_identifier_columns, list(identifiers), key=_IDENTIFIER)
    return {(row.program_id, row.identifier): row.member_key for row in found}


async def claim_identifiers(
    tx: Tx, candidates: Sequence[Member]
) -> tuple[dict[Identifier, Member], dict[Identifier, MemberKey]]:
    """Claim identifiers that nobody had; give those claimed, and the keys of those that are taken.

    Waits for another transaction that is about to enrol one of them.
    """
    claims = [
        {
            "program_id": each.program_id,
            "identifier": each.member_id,
            "kind": MEMBER_ID,
            "member_key": each.member_key,
            "assign_time": each.enroll_time,
        }
        for each in candidates
    ]
    inserted = await tx.insert(
        tables.member_identifiers, claims, ignore_conflicts=True, returning=_IDENTIFIER
    )
    ours = {(row.program_id, row.identifier) for row in inserted}
    claimed = {
        (each.program_id, each.member_id): each
        for each in candidates
        if (each.program_id, each.member_id) in ours
    }
    others = [
        (each.program_id, each.member_id)
        for each in candidates
        if (each.program_id, each.member_id) not in ours
    ]
    return claimed, await find_members(tx, others)


async def owners_of_activities(
    tx: Tx, activities: Collection[ActivityKey]
) -> tuple[dict[ActivityKey, WalletKey], set[HoldKey]]:
    """Wallets of activities, and the holds that paid for them; unknown ones are left out.

    An activity never changes hands.
    """
    found = await tx.select(_activity_owner, list(activities), key=_ACTIVITY)
    owners = {(row.program_id, row.activity_id): _wallet_key(row) for row in found}
    return owners, {(row.program_id, row.points_hold_id) for row in found if row.points_hold_id}


async def owners_of_holds(
    tx: Tx, holds: Collection[HoldKey]
) -> tuple[dict[HoldKey, WalletKey], set[HoldKey]]:
    """Wallets of holds, and which are of households; unknown ones are left out.

    A hold never changes hands.
    """
    found = await tx.select(_hold_owner, list(holds), key=_HOLD)
    owners = {(row.program_id, row.hold_id): _wallet_key(row) for row in found}
    return owners, {(row.program_id, row.hold_id) for row in found if row.household_id}


async def claim_receipts(
    tx: Tx, commands: Sequence[RecordActivity]
) -> tuple[dict[Receipt, ActivityId], dict[Receipt, ActivityId]]:
    """Claim the receipts that were never credited; give those claimed, and those that were.

    Of several commands with one receipt the claim names the first.
    """
    wanted = _receipts(commands)
    rows_ = [
        {
            "program_id": receipt[0],
            "source": receipt[1],
            "external_reference": receipt[2],
            "activity_id": activity_id,
        }
        for receipt, activity_id in wanted.items()
    ]
    inserted = await tx.insert(tables.receipts, rows_, ignore_conflicts=True, returning=_RECEIPT)
    ours: set[Receipt] = {(row.program_id, row.source, row.external_reference) for row in inserted}
    return (
        {receipt: wanted[receipt] for receipt in ours},
        {receipt: wanted[receipt] for receipt in wanted if receipt not in ours},
    )


async def used_receipts(tx: Tx, commands: Sequence[RecordActivity]) -> dict[Receipt, ActivityId]:
    """Receipts of the commands that were credited, without claiming any."""
    found = await tx.select(tables.receipts, list(_receipts(commands)), key=_RECEIPT)
    return {(row.program_id, row.source, row.external_reference): row.activity_id for row in found}


def _receipts(commands: Iterable[RecordActivity]) -> dict[Receipt, ActivityId]:
    wanted: dict[Receipt, ActivityId] = {}
    for each in commands:
        if each.external_reference:
            receipt = (each.program_id, each.source, each.external_reference)
            wanted.setdefault(receipt, each.activity_id)
    return wanted


# What hangs on them ------------------------------------------------------------------------------


async def lock_wallets(
    tx: Tx, keys: Collection[WalletKey], *, lock: bool = True
) -> dict[WalletKey, Wallet]:
    """Wallets of members, locked in the order of their keys; those that do not exist are left out.

    A member whose wallet of the program's currency is missing gets an empty one first, because what
    is not there cannot be locked; `lock=False` reads only, and shows it as empty.
    """
    found = await _wallets(tx, sorted(keys), lock=lock)
    missing = [key for key in keys if key not in found]
    if not missing:
        return found
    owners: dict[MemberPlace, MemberState] = {
        (row.program_id, row.member_key): MemberState(row.state)
        for row in await tx.select(tables.members, [key[:2] for key in missing], key=_MEMBER)
    }
    empty = {
        key: Wallet(
            program_id=key[0],
            member_key=key[1],
            currency_id=key[2],
            frozen=FROZEN_OF[owners[key[:2]]],
        )
        for key in missing
        if key[:2] in owners
    }
    if not empty or not lock:
        return found | empty
    await tx.insert(
        tables.wallets, [rows.wallet_row(each) for each in empty.values()], ignore_conflicts=True
    )
    return await _wallets(tx, sorted(keys), lock=True)


async def _wallets(tx: Tx, keys: Sequence[WalletKey], *, lock: bool) -> dict[WalletKey, Wallet]:
    found = await tx.select(tables.wallets, keys, key=_WALLET, lock=lock)
    return {_wallet_key(row): rows.wallet_of(row) for row in found}


async def load_open_lots(tx: Tx, keys: Collection[WalletKey]) -> dict[WalletKey, dict[int, Lot]]:
    """Lots of locked wallets in which something remains, by their sequence."""
    found = await tx.select(tables.lots, [(*key, 1) for key in keys], key=(*_WALLET, "is_open"))
    lots: dict[WalletKey, dict[int, Lot]] = {key: {} for key in keys}
    for row in found:
        lot = rows.lot_of(row)
        lots[cast("WalletKey", row[:3])][lot.lot_sequence] = lot
    return lots


async def load_holds(
    tx: Tx, keys: Collection[HoldKey], lots: Mapping[WalletKey, dict[int, Lot]]
) -> dict[HoldKey, Hold]:
    """Holds of locked wallets; the lots that they took are added to `lots`, also used-up ones."""
    found = await tx.select(tables.holds, list(keys), key=_HOLD)
    plain: dict[HoldKey, Hold] = {(row.program_id, row.hold_id): rows.hold_of(row) for row in found}
    holds = await store_shares.with_shares(tx, plain)
    missing: set[tuple[str, str, str, int]] = set()
    for hold in holds.values():
        parts: tuple[Hold | HoldShare, ...] = (hold, *hold.shares)
        for part in parts:
            key = (hold.program_id, part.member_key, hold.currency_id)
            here = lots.get(key)
            if here is not None:
                missing.update(
                    (*key, use.lot_sequence) for use in part.lots if use.lot_sequence not in here
                )
    for row in await tx.select(tables.lots, sorted(missing), key=_LOT):
        lots[_wallet_key(row)][row.lot_sequence] = rows.lot_of(row)
    return holds


async def load_activities(tx: Tx, world: World, keys: Collection[ActivityKey]) -> None:
    """Records of activities of locked wallets, with their lines."""
    found = await tx.select(tables.activities, list(keys), key=_ACTIVITY)
    lines = await tx.select(
        tables.activity_lines,
        list(keys),
        key=_ACTIVITY,
        order_by=(*_ACTIVITY, "line_number"),
    )
    by_activity = {key: list(group) for key, group in groupby(lines, lambda row: (row[0], row[1]))}
    for row in found:
        key = (row.program_id, row.activity_id)
        world.activities[key] = rows.activity_of(row, rows.lines_of(by_activity.get(key, ())))


async def load_timelines(tx: Tx, world: World, places: Collection[tuple[str, str, str]]) -> None:
    """Levels of members on ladders; `places` are program, member and ladder."""
    found = await tx.select(tables.tier_timeline, list(places), key=(*_MEMBER, "ladder_id"))
    for row in found:
        place = (row.program_id, row.member_key)
        world.timelines.setdefault(place, []).append(rows.level_of(row))


def _wallet_key(row: Row) -> WalletKey:
    return (row.program_id, MemberKey(row.member_key), CurrencyId(row.currency_id))
