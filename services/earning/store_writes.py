"""Saves what a batch changed, one statement for each table and kind.

What was claimed for a command that was refused is given back.
"""

from services.earning import (
    failures,
    refusals_keys,
    rows,
    rows_reversals,
    store_budgets,
    store_counts,
    store_further,
    store_households,
    store_members,
    store_points,
    store_referrals,
    store_shares,
    store_waiting,
    tables,
)
from services.earning.world import (
    World,
)
from shared import faults
from shared.database import Tx

_WALLET = ("program_id", "member_key", "currency_id")
_LOT = (*_WALLET, "lot_sequence")
_ENTRY = (*_WALLET, "sequence")
_IDENTIFIER = ("program_id", "identifier")
_MEMBER = ("program_id", "member_key")
_ACTIVITY = ("program_id", "activity_id")
_HOLD = ("program_id", "hold_id")
_RECEIPT = ("program_id", "source", "external_reference")
_LEVEL = (*_MEMBER, "ladder_id", "effective_time")


async def save(tx: Tx, world: World) -> None:
    """Write what a batch changed, one statement for each table and kind. Raises BudgetsShort."""
    await _save_members(tx, world)
    await store_members.save(tx, world)
    await _save_wallets(tx, world)
    try:
        await _save_activities(tx, world)
    except Exception as error:
        # The transaction ends here. Only whoever sends again what is older than its key comes here,
        # so that no activity pays for a look ahead.
        raise _used_before(world, error) from error
    await _save_holds(tx, world)
    await _save_levels(tx, world)
    await store_counts.save(tx, world.counts)
    await store_points.save(tx, world)
    if world.referrals is not None:
        await store_referrals.save(tx, world.referrals)
    if world.households is not None:
        await store_households.save(tx, world.households)
    if world.counts.changed_budgets:
        await store_budgets.save(tx, world.counts, world.budgets())
    # Last, for a batch that is undone above is done again, in parts or with other budgets.
    failures.count(world.activities[key] for key in world.made_activities)


async def _save_members(tx: Tx, world: World) -> None:
    await tx.insert(
        tables.members,
        [
            store_members.member_row(world.members[each.program_id, each.member_key])
            for each in world.enrolled
        ],
    )
    # Identifiers and receipts whose command was refused are given back.
    await tx.delete(tables.member_identifiers, list(world.claimed), key=_IDENTIFIER)
    unused = [receipt for receipt in world.receipts if receipt not in world.receipts_used]
    await tx.delete(tables.receipts, unused, key=_RECEIPT)
    renamed = [
        {
            "program_id": receipt[0],
            "source": receipt[1],
            "external_reference": receipt[2],
            "activity_id": world.receipts_used[receipt],
        }
        for receipt, claimed_for in world.receipts.items()
        if world.receipts_used.get(receipt, claimed_for) != claimed_for
    ]
    await tx.update(tables.receipts, renamed, key=_RECEIPT)


async def _save_wallets(tx: Tx, world: World) -> None:
    made = [rows.wallet_row(world.wallets[key]) for key in sorted(world.new_wallets)]
    await tx.insert(tables.wallets, made)
    changed = sorted(world.changed_wallets - world.new_wallets)
    await tx.update(
        tables.wallets, [rows.wallet_row(world.wallets[key]) for key in changed], key=_WALLET
    )
    await tx.insert(tables.entries, [rows.entry_row(entry) for entry in world.entries])
    await tx.insert(
        tables.lot_uses, [row for entry in world.entries for row in rows.use_rows(entry)]
    )
    await tx.insert(
        tables.lots, [rows.lot_row(key, world.lots[key][lot]) for key, lot in world.made_lots]
    )
    await _save_ended(tx, world)
    used = world.changed_lots - world.made_lots
    dated = world.dated_lots - world.made_lots
    await tx.update(
        tables.lots,
        [rows.lot_change_row(key, world.lots[key][lot]) for key, lot in sorted(used - dated)],
        key=_LOT,
    )
    await tx.update(
        tables.lots,
        [rows.lot_row(key, world.lots[key][lot]) for key, lot in sorted(dated)],
        key=_LOT,
    )


async def _save_ended(tx: Tx, world: World) -> None:
    """Close lots that ended: many of one wallet do so at once.

    What became of one after that, in the same batch, is saved with the lots that were used.
    """
    ended = [
        {
            "program_id": key[0],
            "member_key": key[1],
            "currency_id": key[2],
            "lot_sequence": sorted(number for number in numbers if not lots[number].remaining),
            "remaining": 0,
            "is_open": 0,
        }
        for key, numbers in sorted(world.ended_lots.items())
        for lots in (world.lots[key],)
    ]
    await tx.update_several(tables.lots, ended, key=_WALLET, several="lot_sequence")


def _used_before(world: World, error: Exception) -> Exception:
    """The refusal of an activity or a reversal that was recorded before, or else the error.

    A batch of several is undone and done again in parts, until it has one alone.
    """
    taken = faults.table_of_taken_key(error)
    if taken == tables.activities.name:
        return refusals_keys.ActivityRecordedBefore(
            activity_id=next(iter(world.made_activities))[1]
        )
    if taken == tables.reversals.name:
        return refusals_keys.ReversalRecordedBefore(reversal_id=world.reversals[0].reversal_id)
    return error


async def _save_activities(tx: Tx, world: World) -> None:
    made = [world.activities[key] for key in world.made_activities]
    await tx.insert(tables.activities, [rows.activity_row(each) for each in made])
    await tx.insert(tables.activity_lines, [row for each in made for row in rows.line_rows(each)])
    changed = {
        key: lines
        for key, lines in world.reversed_activities.items()
        if key not in world.made_activities
    }
    await tx.update(
        tables.activities,
        [rows.activity_change_row(world.activities[key]) for key in changed],
        key=_ACTIVITY,
    )
    await tx.update(
        tables.activity_lines,
        [
            rows.line_change_row(record, line)
            for key, numbers in changed.items()
            for record in (world.activities[key],)
            for line in record.lines
            if line.line_number in numbers
        ],
        key=(*_ACTIVITY, "line_number"),
    )
    await tx.insert(
        tables.reversals, [rows_reversals.reversal_row(each) for each in world.reversals]
    )
    await store_further.save(tx, world)
    await store_waiting.save(tx, world)


async def _save_holds(tx: Tx, world: World) -> None:
    placed = [rows.hold_row(world.holds[key]) for key in world.placed_holds]
    await tx.insert(tables.holds, placed)
    changed = sorted(world.changed_holds - world.placed_holds)
    await tx.update(
        tables.holds, [rows.hold_change_row(world.holds[key]) for key in changed], key=_HOLD
    )
    if placed or changed:
        await store_shares.save(
            tx,
            [world.holds[key] for key in world.placed_holds],
            [world.holds[key] for key in changed],
        )


async def _save_levels(tx: Tx, world: World) -> None:
    """Keep levels; of two for one instant in a batch the last one stands, as between batches."""
    latest = {
        (each.program_id, each.member_key, each.ladder_id, each.level.effective_time): each
        for each in world.levels
    }
    await tx.upsert(
        tables.tier_timeline,
        [
            {
                "program_id": each.program_id,
                "member_key": each.member_key,
                "ladder_id": each.ladder_id,
                "effective_time": each.level.effective_time,
                "level_id": each.level.level_id,
                "level_rank": each.level_rank,
            }
            for each in latest.values()
        ],
        key=_LEVEL,
        update=("level_id", "level_rank"),
    )
