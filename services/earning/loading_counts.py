"""Loads what the rules of a batch's activities, and its reversals, look up across activities.

Programs whose rules look up nothing cost no statement.
"""

from collections.abc import Collection, Iterable

from services.earning import counts, store_budgets, store_counts
from services.earning.commands import RecordActivity, ReverseActivity
from services.earning.domain import MemberKey, ProgramId
from services.earning.world import World
from shared.database import Tx


async def load(
    tx: Tx,
    world: World,
    records: Iterable[RecordActivity],
    reversals: Iterable[ReverseActivity],
    merging: Collection[counts.Place],
    *,
    short: store_budgets.Limits,
    lock: bool,
) -> None:
    """Fill `world.counts`; wallets are locked already, budgets are last (`store_budgets.py`).

    Of members who may become one everything is loaded that ever counted.
    """
    caps: set[counts.CountKey] = set()
    budgets: set[counts.BudgetKey] = set()
    carries: set[counts.CarryKey] = set()
    profiles: set[counts.Place] = set()
    kinds: dict[ProgramId, tuple[set[MemberKey], set[str]]] = {}
    for each in records:
        program = world.programs[each.program_id]
        key = world.keys.get((each.program_id, each.member_id))
        if program.is_plain or key is None:
            continue
        needs = program.needs(each.type, each.occurred_time)
        place = (each.program_id, key)
        caps.update([(*place, *cap) for cap in needs.caps])
        budgets.update([(each.program_id, rule) for rule in needs.budgets])
        carries.update([(*place, currency_id) for currency_id in needs.carried])
        if needs.profile:
            profiles.add(place)
        members, types = kinds.setdefault(each.program_id, (set(), set()))
        members.add(key)
        types |= needs.types
    for reversal in reversals:
        activity = world.activities.get((reversal.program_id, reversal.activity_id))
        if activity is None:
            continue
        for cap in counts.caps_of(activity):
            if cap.period:
                owner = world.owner(activity.program_id, activity.member_key)
                caps.add((activity.program_id, activity.member_key, cap.cap_id, cap.period))
                caps.add((activity.program_id, owner, cap.cap_id, cap.period))
            else:
                budgets.add((activity.program_id, cap.cap_id))
    found = world.counts
    for place in merging:
        if place[0] in kinds:
            kinds[place[0]][0].add(place[1])
    await store_counts.load_caps(tx, found, caps)
    await store_counts.load_remainders(tx, found, carries)
    await store_counts.load_all(tx, found, merging)
    await store_counts.load_profiles(tx, found, profiles)
    for program_id, (members, types) in kinds.items():
        await store_counts.load_types(tx, found, program_id, members, types)
    if budgets:
        await store_budgets.load(tx, found, budgets, limits=world.budgets(), short=short, lock=lock)
