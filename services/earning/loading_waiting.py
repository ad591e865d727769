"""Loads the reversals that wait for activities of a batch, and tells which of its own may wait.

A reversal and its activity meet at the idempotency key of the activity: whoever comes first holds
it. A reversal that finds no activity reserves the key; an activity that claims a reserved key knows
that something waits for it, and no other activity looks.
"""

from collections.abc import Iterable, Sequence

from services.earning import store_waiting, tables
from services.earning.commands import (
    Command,
    RecordActivity,
    ReverseActivity,
    activity_key,
)
from services.earning.world import ActivityKey, World
from shared import keys
from shared.database import Tx


def awaited(commands: Iterable[RecordActivity]) -> set[ActivityKey]:
    """Activities of a batch that reversals waited for before it."""
    return {(each.program_id, each.activity_id) for each in commands if each.is_awaited}


async def load(
    tx: Tx,
    world: World,
    commands: Sequence[Command],
    known: Iterable[ActivityKey],
    expected: set[ActivityKey],
) -> set[ActivityKey]:
    """Fill `waiting` and `may_wait`; gives activities that somebody recorded just now.

    `known` are those of the batch's reversals that are recorded, `expected` those that it records
    itself and that something waits for. Keys are reserved here, before identifiers are claimed.
    """
    orders = [
        each
        for each in commands
        if isinstance(each, ReverseActivity)
        and world.programs[each.program_id].early_reversals_wait
    ]
    missing = {(each.program_id, each.activity_id) for each in orders}.difference(known)
    coming: dict[ActivityKey, int] = {}
    if missing:
        for at, each in enumerate(commands):
            if isinstance(each, RecordActivity):
                coming.setdefault((each.program_id, each.activity_id), at)
    asked = missing - coming.keys()
    free: set[ActivityKey] = set()
    if asked:
        reserved = await keys.reserve(
            tx, tables.kernel.request_keys, [activity_key(*each) for each in asked]
        )
        free = {each for each in asked if activity_key(*each) in reserved}
    for at, each in enumerate(commands):
        if isinstance(each, ReverseActivity):
            key = (each.program_id, each.activity_id)
            if key in free or (key in missing and at < coming.get(key, 0)):
                world.may_wait.add((each.program_id, each.reversal_id))
    world.waiting = await store_waiting.load(tx, expected | missing)
    return asked - free
