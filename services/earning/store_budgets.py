"""Loads and saves what rules with a budget have given to all members together.

All members of a program share a budget, so that a lock on it would let one batch be decided at a
time. Therefore batches read budgets as they are, and lock them only to add what they gave, after
everything else. A budget that is about to end is another matter: a batch that was cut by one, or
gave more than there still was, is undone (`BudgetsShort`) and decided again behind its lock.
"""

from collections.abc import Collection, Mapping

from services.earning import tables
from services.earning.counts import BudgetKey, Counts
from shared.database import TryAgain, Tx

Limits = Mapping[BudgetKey, int]
"""The points of each budget."""
_BUDGET = ("program_id", "rule_id")


class BudgetsShort(TryAgain):
    """Budgets do not have what a batch was decided with; it has to lock them first."""

    def __init__(self, budgets: Collection[BudgetKey], limits: Limits) -> None:
        super().__init__(f"budgets run short: {sorted(budgets)}")
        self.budgets: Limits = {key: limits[key] for key in budgets}


async def load(
    tx: Tx,
    counts: Counts,
    keys: Collection[BudgetKey],
    *,
    limits: Limits,
    short: Limits,
    lock: bool,
) -> None:
    """Fill `counts.budgets`; with `lock` all are locked if one of `short` is about to end.

    Locks are taken last of all aggregates, in the order of the keys. One that is used up is none
    to wait for, and one that has other points by now than in `short` was given more.
    """
    for row in await tx.select(tables.budgets, list(keys), key=_BUDGET):
        counts.budgets[row.program_id, row.rule_id] = row.points
    if lock and any(
        key in limits and counts.budgets.get(key, 0) < limits[key] == short.get(key) for key in keys
    ):
        counts.locked_budgets = set(keys)
        counts.budgets |= await _locked(tx, keys)
    counts.budgets_before = dict(counts.budgets)


async def save(tx: Tx, counts: Counts, limits: Limits) -> None:
    """Add what a batch counted. Raises BudgetsShort."""
    before, locked = counts.budgets_before, counts.locked_budgets
    given = {
        key: points
        for key in sorted(counts.changed_budgets)
        if (points := counts.budgets[key] - before.get(key, 0))
    }
    # One that was used up when the batch began, and still is, cut what it had to cut.
    stale = {
        key
        for key in counts.cut_budgets - locked
        if key in given or before.get(key, 0) < limits[key]
    }
    if stale:
        raise BudgetsShort(stale, limits)
    now = {key: before.get(key, 0) for key in locked} | await _locked(
        tx, [key for key in given if key not in locked]
    )
    over = {key for key, points in given.items() if points > 0 and now[key] + points > limits[key]}
    if over:
        raise BudgetsShort(over, limits)
    await tx.update(
        tables.budgets,
        [
            {"program_id": key[0], "rule_id": key[1], "points": max(0, now[key] + points)}
            for key, points in given.items()
        ],
        key=_BUDGET,
    )


async def _locked(tx: Tx, keys: Collection[BudgetKey]) -> dict[BudgetKey, int]:
    """What budgets have given, behind their locks; those that nobody has used get a row."""
    ordered = sorted(keys)
    found = await _select_locked(tx, ordered)
    missing = [key for key in ordered if key not in found]
    if missing:
        await tx.insert(
            tables.budgets,
            [{"program_id": key[0], "rule_id": key[1], "points": 0} for key in missing],
            ignore_conflicts=True,
        )
        found |= await _select_locked(tx, missing)
    return found


async def _select_locked(tx: Tx, keys: list[BudgetKey]) -> dict[BudgetKey, int]:
    rows = await tx.select(tables.budgets, keys, key=_BUDGET, lock=True)
    return {(row.program_id, row.rule_id): row.points for row in rows}
