"""What a batch of commands does: whom it locks, how it is decided, what it saves.

A batch finds out who is meant, claims the identifiers and receipts that nobody had, locks the
wallets, loads what hangs on them, folds the commands with the pure decisions, and saves what they
changed. A preview loads the same without claims and locks, and saves nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar, cast

from services.earning import decisions, holds, store, wire
from services.earning.commands import (
    CaptureHold,
    Command,
    CreditPoints,
    Done,
    EnrollMember,
    ExpireHold,
    HoldCommand,
    HoldPoints,
    KeepLevel,
    MemberCommand,
    RecordActivity,
    Recorded,
    RefundCapture,
    ReverseActivity,
    VoidHold,
)
from services.earning.decisions import Changes
from services.earning.documents import EarningPrograms
from services.earning.domain import (
    ActivityRecord,
    Entry,
    Hold,
    LevelId,
    LineRecord,
    Lot,
    Member,
    MemberKey,
    Reversal,
    Wallet,
)
from services.earning.refusals import ActivityNotFound, HoldNotFound, MemberAlreadyExists
from services.earning.rules import Program
from services.earning.world import Identifier, WalletKey, World
from shared import errors
from shared.batches import Run
from shared.database import Tx
from shared.decision import Decision, Event
from shared.feed_log import FeedRecord
from shared.ids import Ids, member_key

_C = TypeVar("_C", bound=Command)

_ANSWERS: Mapping[type[Command], type[object]] = {
    EnrollMember: Member,
    RecordActivity: Recorded,
    ReverseActivity: Reversal,
    CreditPoints: Entry,
    HoldPoints: Hold,
    CaptureHold: Hold,
    VoidHold: Hold,
    RefundCapture: Hold,
    ExpireHold: Done,
    KeepLevel: Done,
}


class EarningWork:
    """What the executor of batches needs to know of earning; `ids` makes the keys of members."""

    def __init__(self, programs: EarningPrograms, ids: Ids) -> None:
        self._programs = programs
        self._ids = ids

    async def load(self, tx: Tx, commands: Sequence[Command], now: datetime) -> World:
        """Claim, lock and load what the commands are about."""
        return await self._load(tx, commands, now, claim=True)

    async def preview(self, tx: Tx, command: RecordActivity, now: datetime) -> Recorded:
        """Decide an activity as it would be decided now, in a transaction that only reads."""
        world = await self._load(tx, [command], now, claim=False)
        return cast("Recorded", self.decide(world, command, now).answer)

    def decide(self, world: World, command: Command, now: datetime) -> Decision[Changes, object]:
        """Decide one command over the world as it is; pure, and raises its refusal."""
        return _DECIDE[type(command)](world, command, now)

    async def save(self, tx: Tx, world: World, run: Run[Command]) -> None:
        """Write what the commands changed."""
        del run  # the world has noted everything
        await store.save(tx, world)

    def answer_type(self, command: Command) -> type[object]:
        """Type of the command's answer."""
        return _ANSWERS[type(command)]

    def event_to_feed(self, event: Event) -> FeedRecord:
        """Event as the feed keeps it."""
        return wire.event_to_feed(event)

    # Loading -------------------------------------------------------------------------------------

    async def _load(
        self, tx: Tx, commands: Sequence[Command], now: datetime, *, claim: bool
    ) -> World:
        world = World()
        wanted = {each.program_id for each in commands if not isinstance(each, KeepLevel)}
        found = await self._programs.current(tx, sorted(wanted))
        world.programs = {each.program.program_id: each.program for each in found.values()}
        asked = [each for each in commands if each.program_id in world.programs]
        records = _only(RecordActivity, asked)
        await self._find_members(tx, world, asked, now, claim=claim)
        if claim:
            world.receipts, world.receipts_used = await store.claim_receipts(tx, records)
        else:
            world.receipts_used = await store.used_receipts(tx, records)
        await _load_ledger(tx, world, asked, lock=claim)
        await _load_levels(tx, world, records)
        return world

    async def _find_members(
        self,
        tx: Tx,
        world: World,
        commands: Sequence[Command],
        now: datetime,
        *,
        claim: bool,
    ) -> None:
        """Fill `keys`, and `claimed` with who would be enrolled."""
        names = {name for each in commands if (name := _identifier(each)) is not None}
        world.keys = await store.find_members(tx, names)
        newcomers = sorted(
            {
                name
                for each in commands
                if _may_enroll(world, each)
                and (name := _identifier(each)) is not None
                and name not in world.keys
            }
        )
        candidates = [
            Member(
                program_id=program_id,
                member_key=MemberKey(member_key(self._ids, program_id, member_id)),
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


async def _load_ledger(tx: Tx, world: World, commands: Sequence[Command], *, lock: bool) -> None:
    """Lock the wallets of members and of what is reversed or held, then load what hangs on them."""
    reversals = {(each.program_id, each.activity_id) for each in _only(ReverseActivity, commands)}
    held = {
        (each.program_id, each.hold_id)
        for each in commands
        if isinstance(each, CaptureHold | VoidHold | RefundCapture | ExpireHold)
    }
    activity_owners = await store.owners_of_activities(tx, reversals)
    hold_owners = await store.owners_of_holds(tx, held)
    using_lots = {*activity_owners.values(), *hold_owners.values()}
    keys: set[WalletKey] = set(using_lots)
    for each in commands:
        key = _wallet_of_member(world, each)
        if key is None:
            continue
        keys.add(key)
        made_here = (
            isinstance(each, RecordActivity) and (each.program_id, each.activity_id) in reversals
        )
        if made_here or isinstance(each, HoldPoints):
            using_lots.add(key)
    world.wallets = await store.lock_wallets(tx, keys, lock=lock)
    world.lots = await store.load_open_lots(tx, using_lots)
    world.holds = await store.load_holds(tx, held, world.lots)
    await store.load_activities(tx, world, reversals)


def _wallet_of_member(world: World, command: Command) -> WalletKey | None:
    """Wallet of the member that a command names; None for one who is about to be enrolled."""
    program = world.programs[command.program_id]
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


# Deciding ----------------------------------------------------------------------------------------


def _enroll(world: World, command: EnrollMember, now: datetime) -> Decision[Changes, Member]:
    del now
    _program(world, command)
    member = world.claimed.get((command.program_id, command.member_id))
    if member is None:
        raise MemberAlreadyExists(member_id=command.member_id)
    return decisions.enroll(command, member)


def _record(world: World, command: RecordActivity, now: datetime) -> Decision[Changes, Recorded]:
    program = _program(world, command)
    name = (command.program_id, command.member_id)
    newcomer = world.claimed.get(name)
    if newcomer is not None and program.enroll_unknown_members:
        wallet = Wallet(
            program_id=program.program_id,
            member_key=newcomer.member_key,
            currency_id=program.currency_id,
        )
        level_id = LevelId("")
    else:
        newcomer = None
        wallet = _wallet(world, program, world.keys.get(name), command.member_id)
        timeline = world.timelines.get((program.program_id, wallet.member_key), ())
        level_id = decisions.level_at(timeline, command.occurred_time)
    receipt = (command.program_id, command.source, command.external_reference)
    return decisions.record(
        command,
        program,
        newcomer,
        wallet,
        level_id,
        receipt_used=bool(command.external_reference) and receipt in world.receipts_used,
        now=now,
    )


def _reverse(world: World, command: ReverseActivity, now: datetime) -> Decision[Changes, Reversal]:
    program = _program(world, command)
    activity = world.activities.get((command.program_id, command.activity_id))
    if activity is None:
        raise ActivityNotFound(activity_id=command.activity_id)
    key = (activity.program_id, activity.member_key, activity.currency_id)
    return decisions.reverse(
        command, program, _with_items(activity), world.wallets[key], world.lots[key], now
    )


def _with_items(activity: ActivityRecord) -> ActivityRecord:
    """The record with its lines as they were bought, which the reversal tells on."""
    if not activity.lines:
        return activity
    items = wire.line_items(activity.content)
    lines: tuple[LineRecord, ...] = tuple(
        replace(line, item=item) for line, item in zip(activity.lines, items, strict=True)
    )
    return replace(activity, lines=lines)


def _credit(world: World, command: CreditPoints, now: datetime) -> Decision[Changes, Entry]:
    return decisions.credit(command, _named_wallet(world, command), now)


def _place(world: World, command: HoldPoints, now: datetime) -> Decision[Changes, Hold]:
    wallet = _named_wallet(world, command)
    return holds.place(command, wallet, _lots(world, wallet), now)


def _end(
    world: World, command: HoldCommand, now: datetime
) -> Decision[Changes, Hold] | Decision[Changes, Done]:
    _program(world, command)
    held = world.holds.get((command.program_id, command.hold_id))
    if held is None:
        raise HoldNotFound(hold_id=command.hold_id)
    wallet = world.wallets[held.program_id, held.member_key, held.currency_id]
    lots = _lots(world, wallet)
    match command:
        case CaptureHold():
            return holds.capture(command, held, wallet, lots, now)
        case VoidHold():
            return holds.void(command, held, wallet, lots, now)
        case RefundCapture():
            return holds.refund(command, held, wallet, lots, now)
        case ExpireHold():
            return holds.expire(command, held, wallet, lots, now)


def _keep_level(world: World, command: KeepLevel, now: datetime) -> Decision[Changes, Done]:
    del world, now
    return decisions.keep_level(command)


_DECIDE = cast(
    "Mapping[type[Command], Callable[[World, Command, datetime], Decision[Changes, object]]]",
    {
        EnrollMember: _enroll,
        RecordActivity: _record,
        ReverseActivity: _reverse,
        CreditPoints: _credit,
        HoldPoints: _place,
        CaptureHold: _end,
        VoidHold: _end,
        RefundCapture: _end,
        ExpireHold: _end,
        KeepLevel: _keep_level,
    },
)


def _program(world: World, command: Command) -> Program:
    program = world.programs.get(command.program_id)
    if program is None:
        raise errors.ProgramNotFound(program_id=command.program_id)
    return program


def _named_wallet(world: World, command: MemberCommand) -> Wallet:
    program = _program(world, command)
    key = command.member.member_key or world.keys.get(
        (command.program_id, command.member.member_id)
    )
    wallet = _wallet(world, program, key, command.member.text)
    decisions.currency_of(program, command.currency_id)
    return wallet


def _wallet(world: World, program: Program, key: MemberKey | None, name: str) -> Wallet:
    """A member's wallet; one who is only about to be enrolled, or is unknown, has none."""
    wallet = None
    if key is not None:
        wallet = world.wallets.get((program.program_id, key, program.currency_id))
    if wallet is None:
        raise errors.MemberNotFound(member_id=name)
    return wallet


def _lots(world: World, wallet: Wallet) -> dict[int, Lot]:
    return world.lots.setdefault((wallet.program_id, wallet.member_key, wallet.currency_id), {})
