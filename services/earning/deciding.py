"""What each command does over the world that was loaded: which decision, with what of it.

Existence is checked here, in the order program, member, thing; everything else by the decisions.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import cast

from services.earning import (
    deciding_further,
    deciding_households,
    deciding_ledger,
    deciding_members,
    deciding_points,
    deciding_pooled,
    deciding_referrals,
    deciding_reversals,
    deciding_waiting,
    decisions,
    further,
    holds,
    members,
    paying,
    wire_members,
)
from services.earning.commands import (
    CaptureHold,
    Command,
    CreditPoints,
    EnrollMember,
    ExpireHold,
    HoldCommand,
    HoldPoints,
    KeepLevel,
    MemberCommand,
    RecordActivity,
    RefundCapture,
    VoidHold,
)
from services.earning.decisions import Changes
from services.earning.domain import (
    Entry,
    Hold,
    HoldId,
    LevelId,
    Lot,
    MemberKey,
    ProgramId,
    Wallet,
)
from services.earning.events import Done, Recorded
from services.earning.member_records import NO_PROFILE, Frozen, MemberRecord
from services.earning.refusals import (
    HoldNotFound,
    MemberAlreadyExists,
    MemberFrozen,
)
from services.earning.rules import Facts, Program
from services.earning.world import World
from shared import errors
from shared.decision import Decision


def _enroll(world: World, command: EnrollMember, now: datetime) -> Decision[Changes, MemberRecord]:
    del now
    _program(world, command)
    name = (command.program_id, command.member_id)
    deciding_members.check_not_released(world, name)
    member = world.claimed.get(name)
    if member is None:
        raise MemberAlreadyExists(member_id=command.member_id)
    return members.enroll(command, member)


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
        world.counts.enrolled[program.program_id, newcomer.member_key] = newcomer.enroll_time
    else:
        newcomer = None
        if program.enroll_unknown_members:
            deciding_members.check_not_released(world, name)
        wallet = _wallet(world, program, world.keys.get(name), command.member_id)
        timeline = world.timelines.get((program.program_id, wallet.member_key), ())
        level_id = decisions.level_at(timeline, command.occurred_time)
    receipt = (command.program_id, command.source, command.external_reference)
    facts = _facts(world, program, command, wallet, level_id)
    decided = decisions.record(
        command,
        program,
        newcomer,
        wallet,
        facts,
        receipt_used=bool(command.external_reference) and receipt in world.receipts_used,
        now=now,
        lots=world.lots.get(
            (program.program_id, wallet.member_key, wallet.currency_id), decisions.NO_LOTS
        ),
    )
    if command.points_hold_id:
        held = _hold(world, command.program_id, command.points_hold_id)
        owner = world.owner(held.program_id, held.member_key)
        decided = paying.paid(decided, held, is_own=owner == wallet.member_key)
    if program.others:
        deed, purses = decisions.deed_of(command), deciding_further.purses(world, program, wallet)
        decided = further.recorded(
            decided, program, deed, facts, purses, shows_all=world.is_preview
        )
    if program.referral is None:
        return decided
    return deciding_referrals.rewarded(world, program, program.referral, command, decided)


def _netted(world: World, command: RecordActivity, now: datetime) -> Decision[Changes, Recorded]:
    decided = _record(world, command, now)
    return deciding_waiting.netted(world, command, decided, now) if world.waiting else decided


def _facts(
    world: World, program: Program, command: RecordActivity, wallet: Wallet, level_id: LevelId
) -> Facts:
    """What the rules look at beyond the activity."""
    if program.is_plain:
        return Facts(level_id=level_id)
    place = (program.program_id, wallet.member_key)
    needs = program.needs(command.type, command.occurred_time)
    profile = world.counts.profiles.get(place, NO_PROFILE)
    # Conditions take None for a member of whom nothing is told.
    member = None if profile is NO_PROFILE else wire_members.profile_to_proto(profile)
    return world.counts.facts(place, needs, level_id, member)


def _credit(world: World, command: CreditPoints, now: datetime) -> Decision[Changes, Entry]:
    wallet = _named_wallet(world, command)
    policy = decisions.policy_of(_program(world, command), wallet.currency_id)
    return decisions.credit(command, wallet, _lots(world, wallet), policy, now)


def _place(world: World, command: HoldPoints, now: datetime) -> Decision[Changes, Hold]:
    wallet = _named_wallet(world, command)
    if command.from_household:
        return deciding_pooled.place(world, command, _program(world, command), wallet, now)
    policy = decisions.policy_of(_program(world, command), wallet.currency_id)
    return holds.place(command, wallet, _lots(world, wallet), policy, now)


def _end(
    world: World, command: HoldCommand, now: datetime
) -> Decision[Changes, Hold] | Decision[Changes, Done]:
    program = _program(world, command)
    held = _hold(world, command.program_id, command.hold_id)
    if held.household_id:
        return deciding_pooled.end(world, command, program, held, now)
    wallet = world.wallets[held.program_id, held.member_key, held.currency_id]
    lots, policy = _lots(world, wallet), decisions.policy_of(program, wallet.currency_id)
    match command:
        case CaptureHold():
            return holds.capture(command, held, wallet, lots, policy, now)
        case VoidHold():
            return holds.void(command, held, wallet, lots, policy, now)
        case RefundCapture():
            refunded = holds.refund(command, held, wallet, lots, policy, now)
            return cast(
                "Decision[Changes, Hold]",
                deciding_members.after_merge(world, refunded, wallet, now),
            )
        case ExpireHold():
            return holds.expire(command, held, wallet, lots, policy, now)


def _hold(world: World, program_id: ProgramId, hold_id: HoldId) -> Hold:
    held = world.holds.get((program_id, hold_id))
    if held is None:
        raise HoldNotFound(hold_id=hold_id)
    return held


def _keep_level(world: World, command: KeepLevel, now: datetime) -> Decision[Changes, Done]:
    del world, now
    return decisions.keep_level(command)


DECIDERS = cast(
    "Mapping[type[Command], Callable[[World, Command, datetime], Decision[Changes, object]]]",
    {
        EnrollMember: _enroll,
        RecordActivity: _netted,
        CreditPoints: _credit,
        HoldPoints: _place,
        CaptureHold: _end,
        VoidHold: _end,
        RefundCapture: _end,
        ExpireHold: _end,
        KeepLevel: _keep_level,
        **deciding_households.DECIDERS,
        **deciding_ledger.DECIDERS,
        **deciding_members.DECIDERS,
        **deciding_points.DECIDERS,
        **deciding_referrals.DECIDERS,
        **deciding_reversals.DECIDERS,
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
    if key is not None and world.merged:
        key = world.owner(program.program_id, key)
    wallet = _wallet(world, program, key, command.member.text)
    currency_id = decisions.currency_of(program, command.currency_id)
    if currency_id == program.currency_id:
        return wallet
    return world.opened((program.program_id, wallet.member_key, currency_id))


def _wallet(world: World, program: Program, key: MemberKey | None, name: str) -> Wallet:
    """A member's first wallet; one who is only about to be enrolled, or is unknown, has none."""
    wallet = None
    if key is not None:
        wallet = world.wallets.get((program.program_id, key, program.currency_id))
    if wallet is None or wallet.frozen == Frozen.ERASED:
        raise errors.MemberNotFound(member_id=name)
    if wallet.frozen:
        raise MemberFrozen(member_id=name)
    return wallet


def _lots(world: World, wallet: Wallet) -> dict[int, Lot]:
    return world.lots.setdefault((wallet.program_id, wallet.member_key, wallet.currency_id), {})


ANSWERS: Mapping[type[Command], type[object]] = {
    EnrollMember: MemberRecord,
    RecordActivity: Recorded,
    CreditPoints: Entry,
    HoldPoints: Hold,
    CaptureHold: Hold,
    VoidHold: Hold,
    RefundCapture: Hold,
    ExpireHold: Done,
    KeepLevel: Done,
    **deciding_households.ANSWERS,
    **deciding_ledger.ANSWERS,
    **deciding_members.ANSWERS,
    **deciding_points.ANSWERS,
    **deciding_referrals.ANSWERS,
    **deciding_reversals.ANSWERS,
}
