"""Reads and saves what activities earned of further currencies, and what reversals took of it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from services.earning import tables
from services.earning.domain import ActivityRecord, CurrencyId, FurtherEarning
from services.earning.world import ActivityKey, World
from shared import record
from shared.database import Row, Tx

_ACTIVITY = ("program_id", "activity_id")
_EARNING = (*_ACTIVITY, "currency_id")


async def earnings(
    tx: Tx, keys: Collection[ActivityKey]
) -> Mapping[ActivityKey, tuple[FurtherEarning, ...]]:
    """Further earnings of activities, by currency; activities without any are left out."""
    found = await tx.select(tables.activity_earnings, list(keys), key=_ACTIVITY, order_by=_EARNING)
    return {
        key: tuple([_earning_of(row) for row in group])
        for key, group in groupby(found, lambda row: (row.program_id, row.activity_id))
    }


async def with_earnings(tx: Tx, records: Sequence[ActivityRecord]) -> list[ActivityRecord]:
    """Records with their further earnings."""
    found = await earnings(tx, [(each.program_id, each.activity_id) for each in records])
    return [
        replace(each, further=found[each.program_id, each.activity_id])
        if (each.program_id, each.activity_id) in found
        else each
        for each in records
    ]


async def save(tx: Tx, world: World) -> None:
    """Write what a batch recorded and took back of further currencies."""
    if not world.further_activities:
        return
    made = world.further_activities & world.made_activities
    await tx.insert(
        tables.activity_earnings, [row for key in sorted(made) for row in _made_rows(world, key)]
    )
    changed = sorted(world.further_activities - made)
    await tx.update(
        tables.activity_earnings,
        [
            {**_key(world.activities[key], each), "points_reversed": each.points_reversed}
            for key in changed
            for each in world.activities[key].further
        ],
        key=_EARNING,
    )
    await tx.insert(tables.reversal_earnings, list(_reversal_rows(world)))


def _made_rows(world: World, key: ActivityKey) -> list[dict[str, object]]:
    made = world.activities[key]
    return [
        {
            **_key(made, each),
            "points": each.points,
            "points_reversed": each.points_reversed,
            "entry_sequence": each.entry_sequence,
            "available_time": each.available_time,
            "explanation": each.explanation,
        }
        for each in made.further
    ]


def _key(made: ActivityRecord, each: FurtherEarning) -> dict[str, object]:
    return {
        "program_id": made.program_id,
        "activity_id": made.activity_id,
        "currency_id": each.currency_id,
    }


def _reversal_rows(world: World) -> Iterable[dict[str, object]]:
    """Rows of what was given back, also where nothing could be taken."""
    for reversal in world.reversals:
        for each in reversal.further:
            if each.points or any(each.line_points):
                yield {
                    "program_id": reversal.program_id,
                    "reversal_id": reversal.reversal_id,
                    "currency_id": each.currency_id,
                    "activity_id": reversal.activity_id,
                    "points": each.points,
                    "owed": each.owed,
                    "line_points": record.dumps(each.line_points),
                }


def _earning_of(row: Row) -> FurtherEarning:
    return FurtherEarning(
        currency_id=CurrencyId(row.currency_id),
        points=row.points,
        explanation=row.explanation,
        entry_sequence=row.entry_sequence,
        available_time=row.available_time,
        points_reversed=row.points_reversed,
    )
