"""What a batch needs: who is meant, what is claimed and locked, and what hangs on it.

Locks are taken in one order (`store.py`); nothing that a program does not use is loaded.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from services.earning import (
    loading_counts,
    loading_further,
    loading_households,
    loading_members,
    loading_points,
    loading_referrals,
    loading_waiting,
    store,
    store_shares,
)
from services.earning.commands import (
    CaptureHold,
    Command,
    CreditPoints,
    EnrollMember,
    ExpireHold,
    HoldPoints,
    KeepLevel,
    RecordActivity,
    RefundCapture,
    ReverseActivity,
    VoidHold,
)
from services.earning.commands_ledger import ConfirmActivity, SettleWallet
from services.earning.counts import BudgetKey
from services.earning.documents import EarningPrograms
from services.earning.domain import (
    Member,
    MemberKey,
)
from services.earning.settlement import is_due
from services.earning.world import ActivityKey, HoldKey, Identifier, WalletKey, World
from shared.database import Tx
from shared.ids import Ids, member_key

_C = TypeVar("_C", bound=Command)
NO_BUDGETS: Mapping[BudgetKey, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Owned:
    """Activities that are reversed or confirmed, also later; of those that are there the wallets.

    `paid` are the holds that paid for them.
    """

    activities: set[ActivityKey]
    owners: dict[ActivityKey, WalletKey]
    paid: set[HoldKey]


async def load(
    tx: Tx,
    programs: EarningPrograms,
    ids: Ids,
    commands: Sequence[Command],
    now: datetime,
    *,
    claim: bool,
    short: Mapping[BudgetKey, int] = NO_BUDGETS,
) -> World:
    """Load what commands are decided over; `claim` also claims and locks what they may change.

    `short` are budgets, with their points, that a batch before found to be about to end.
    """
    world = World()
    wanted = {each.program_id for each in commands if not isinstance(each, KeepLevel)}
    found = await programs.current(tx, sorted(wanted), now)
    world.programs = {each.program.program_id: each.program for each in found.values()}
    asked = [each for each in commands if each.program_id in world.programs]
    records = _only(RecordActivity, asked)
    owned = await _find_activities(tx, world, asked, records)
    await _find_members(tx, ids, world, asked, now, claim=claim)
    if claim:
        world.receipts, world.receipts_used = await store.claim_receipts(tx, records)
    else:
        world.receipts_used = await store.used_receipts(tx, records)
    await loading_members.lock(tx, world, loading_members.only(asked))
    await _load_ledger(tx, world, asked, records, owned, now, lock=claim)
    await _load_levels(tx, world, records)
    merging = loading_members.merged_wallets(world, loading_members.only(asked))
    await loading_counts.load(
        tx,
        world,
        records,
        _only(ReverseActivity, asked),
        {(program_id, member_key) for program_id, member_key, _ in merging},
        short=short,
        lock=claim,
    )
    return world


async def _find_activities(
    tx: Tx, world: World, commands: Sequence[Command], records: Sequence[RecordActivity]
) -> _Owned:
    """Find the activities that commands are about, and what waits for activities."""
    reversals = {
        (each.program_id, each.activity_id)
        for each in commands
        if isinstance(each, ReverseActivity | ConfirmActivity)
    }
    awaited = loading_waiting.awaited(records)
    if not reversals and not awaited:
        return _Owned(activities=reversals, owners={}, paid=set())
    owners, paid = await store.owners_of_activities(tx, reversals)
    missed = await loading_waiting.load(tx, world, commands, owners, awaited)
    late, paid_late = await store.owners_of_activities(tx, missed)
    return _Owned(activities=reversals | awaited, owners=owners | late, paid=paid | paid_late)


async def _find_members(
    tx: Tx,
    ids: Ids,
    world: World,
    commands: Sequence[Command],
    now: datetime,
    *,
    claim: bool,
) -> None:
    """Fill `keys`, and `claimed` with who would be enrolled."""
    names = {name for each in commands if (name := _identifier(each)) is not None}
    changing = loading_members.only(commands)
    names.update(*[loading_members.names(each) for each in changing])
    names.update(*[loading_points.names(each) for each in loading_points.only(commands)])
    names.update(loading_referrals.names(world, commands))
    names.update(loading_households.names(commands))
    world.keys = await store.find_members(tx, names)
    free = {
        name
        for each in commands
        if _may_enroll(world, each) and (name := _identifier(each)) is not None
    }
    free.update(*[loading_members.claims(each) for each in changing])
    newcomers = sorted(name for name in free if name not in world.keys)
    candidates = [
        Member(
            program_id=program_id,
            member_key=MemberKey(member_key(ids, program_id, member_id)),
            member_id=member_id,
            enroll_time=now,
        )
        for program_id, member_id in newcomers
    ]
    world.claimed = {(each.program_id, each.member_id): each for each in candidates}
    if claim and candidates:
        world.claimed, others = await store.claim_identifiers(tx, candidates)
        world.keys |= others
    world.keys |= {name: each.member_key for name, each in world.claimed.items()}


def _identifier(command: Command) -> Identifier | None:
    """Identifier by which a command names its member, if it does."""
    if isinstance(command, RecordActivity | EnrollMember):
        return command.program_id, command.member_id
    if isinstance(command, CreditPoints | HoldPoints) and command.member.member_id:
        return command.program_id, command.member.member_id
    return None


def _may_enroll(world: World, command: Command) -> bool:
    if isinstance(command, RecordActivity):
        return world.programs[command.program_id].enroll_unknown_members
    return isinstance(command, EnrollMember)


async def _load_ledger(
    tx: Tx,
    world: World,
    commands: Sequence[Command],
    records: Sequence[RecordActivity],
    owned: _Owned,
    now: datetime,
    *,
    lock: bool,
) -> None:
    """Lock the wallets of members and of what is reversed or held, then load what hangs on them."""
    reversals, activity_owners = owned.activities, owned.owners
    held = {
        (each.program_id, each.hold_id)
        for each in commands
        if isinstance(each, CaptureHold | VoidHold | RefundCapture | ExpireHold)
    }
    held.update([(each.program_id, each.points_hold_id) for each in records if each.points_hold_id])
    changing, moving = loading_members.only(commands), loading_points.only(commands)
    several = loading_further.programs(world)
    held |= owned.paid
    hold_owners, pooled = await store.owners_of_holds(tx, held)
    using_lots = {*activity_owners.values(), *hold_owners.values()}
    if pooled:
        using_lots |= await store_shares.wallets(tx, pooled)
    using_lots |= loading_members.merged_wallets(world, changing)
    if several:
        using_lots |= await loading_further.owned(tx, activity_owners, several)
    using_lots |= await loading_points.wallets(tx, world, moving)
    keys: set[WalletKey] = using_lots | loading_members.wallets(world, changing)
    for each in commands:
        key = _wallet_of_member(world, each)
        if key is None:
            continue
        own = {key}
        if several:
            own |= loading_further.wallets(world, each, key)
        keys |= own
        made_here = (
            isinstance(each, RecordActivity) and (each.program_id, each.activity_id) in reversals
        )
        if made_here or isinstance(each, HoldPoints):
            using_lots |= own
    referring = loading_referrals.wanted(world, commands, changing, reversals) if lock else None
    if referring is not None:
        using_lots |= await loading_referrals.wallets(tx, world, referring)
        keys |= using_lots
    housing = await loading_households.wanted(tx, world, commands, changing) if lock else None
    if housing is not None:
        keys |= await loading_households.wallets(tx, world, housing)
    world.wallets = await store.lock_wallets(tx, keys, lock=lock)
    loading_members.check_still_there(world)
    using_lots |= await loading_members.follow_merged(tx, world, lock=lock)
    using_lots.update([key for key, each in world.wallets.items() if is_due(each, now)])
    if housing is not None:
        await loading_households.load(tx, world, housing)
        using_lots |= loading_households.pooled(world, housing)
    world.lots = await store.load_open_lots(tx, using_lots)
    world.holds = await store.load_holds(tx, held, world.lots)
    await store.load_activities(tx, world, reversals)
    if several:
        await loading_further.load(tx, world, reversals, several)
    await loading_points.load(tx, world, moving)
    if referring is not None:
        await loading_referrals.load(tx, world, referring, now)


def _wallet_of_member(world: World, command: Command) -> WalletKey | None:
    """Wallet of the member that a command names; None for one who is about to be enrolled."""
    program = world.programs[command.program_id]
    if isinstance(command, SettleWallet):
        return program.program_id, command.member_key, command.currency_id
    if isinstance(command, CreditPoints | HoldPoints) and command.member.member_key:
        return program.program_id, command.member.member_key, program.currency_id
    name = _identifier(command)
    if name is None or name in world.claimed or name not in world.keys:
        return None
    return program.program_id, world.keys[name], program.currency_id


async def _load_levels(tx: Tx, world: World, records: Iterable[RecordActivity]) -> None:
    places = {
        (each.program_id, world.keys[name], ladder_id)
        for each in records
        if (ladder_id := world.programs[each.program_id].tier_ladder_id)
        and (name := (each.program_id, each.member_id)) in world.keys
        and name not in world.claimed
    }
    await store.load_timelines(tx, world, places)


def _only(kind: type[_C], commands: Iterable[Command]) -> list[_C]:
    return [each for each in commands if isinstance(each, kind)]
