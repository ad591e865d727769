"""What each command about points that are moved by hand does over the world that was loaded."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import cast

from services.earning import (
    adjustments,
    conversions,
    decisions,
    extensions,
    household_holds,
    transfers,
)
from services.earning.commands import Command
from services.earning.commands_points import (
    AdjustPoints,
    ApproveAdjustment,
    ConvertPoints,
    DecideAdjustment,
    ExtendPoints,
    MovePoints,
    ReinstatePoints,
    RejectAdjustment,
    TransferPoints,
)
from services.earning.decisions import Changes
from services.earning.domain import CurrencyId, Entry, HoldState, Lot, MemberId, Wallet
from services.earning.member_records import Frozen
from services.earning.points_records import Adjustment, Converted, Extended, Transferred
from services.earning.refusals import MemberFrozen, SameMember
from services.earning.refusals_points import AdjustmentNotFound, ConversionNotOffered
from services.earning.rules import Program
from services.earning.world import World
from shared import errors
from shared.decision import Decision


def _transfer(
    world: World, command: TransferPoints, now: datetime
) -> Decision[Changes, Transferred]:
    program = _program(world, command)
    names = (command.from_member_id, command.to_member_id)
    for name in names:
        _wallet(world, program, name, program.currency_id)
    currency_id = decisions.currency_of(program, command.currency_id)
    source, target = (_wallet(world, program, name, currency_id) for name in names)
    if source.member_key == target.member_key:
        raise SameMember(member_id=command.to_member_id)
    for name, wallet in zip(names, (source, target), strict=True):
        if wallet.frozen:
            raise MemberFrozen(member_id=name)
    policy = decisions.policy_of(program, currency_id)
    return transfers.transfer(
        command, (source, _lots(world, source)), (target, _lots(world, target)), policy, now
    )


def _convert(world: World, command: ConvertPoints, now: datetime) -> Decision[Changes, Converted]:
    program = _program(world, command)
    first = _wallet(world, program, command.member_id, program.currency_id)
    pair = command.from_currency_id, command.to_currency_id
    source, target = (_named(world, program, command.member_id, each) for each in pair)
    rate = program.conversions.get(pair)
    if rate is None:
        raise ConversionNotOffered(from_currency_id=pair[0], to_currency_id=pair[1])
    if first.frozen:
        raise MemberFrozen(member_id=command.member_id)
    return conversions.convert(
        command,
        rate,
        (source, _lots(world, source)),
        (target, _lots(world, target)),
        program.currencies,
        now,
    )


def _adjust(world: World, command: AdjustPoints, now: datetime) -> Decision[Changes, Adjustment]:
    program = _program(world, command)
    wallet = _named(world, program, command.member_id, command.currency_id)
    policy = decisions.policy_of(program, wallet.currency_id)
    limit = program.adjustment_approval_above
    return adjustments.ask(command, wallet, _lots(world, wallet), policy, limit, now)


def _decide(
    world: World, command: DecideAdjustment, now: datetime
) -> Decision[Changes, Adjustment]:
    program = _program(world, command)
    asked = world.adjustments.get((command.program_id, command.adjustment_id))
    if asked is None:
        raise AdjustmentNotFound(adjustment_id=command.adjustment_id)
    if isinstance(command, RejectAdjustment):
        return adjustments.reject(command, asked, now)
    owner = world.owner(asked.program_id, asked.member_key)
    wallet = world.wallets[asked.program_id, owner, asked.currency_id]
    if wallet.frozen == Frozen.ERASED:
        raise errors.MemberNotFound(member_id=wallet.member_key)
    policy = decisions.policy_of(program, asked.currency_id)
    return adjustments.approve(command, asked, wallet, _lots(world, wallet), policy, now)


def _extend(world: World, command: ExtendPoints, now: datetime) -> Decision[Changes, Extended]:
    program = _program(world, command)
    wallet = _named(world, program, command.member_id, command.currency_id)
    policy = decisions.policy_of(program, wallet.currency_id)
    key = (wallet.program_id, wallet.member_key, wallet.currency_id)
    held = [
        use
        for each in world.holds.values()
        if each.state is HoldState.OPEN
        for part in (each, *household_holds.parts_of(each))
        if (part.program_id, part.member_key, part.currency_id) == key
        for use in part.lots
    ]
    return extensions.extend(command, wallet, _lots(world, wallet), held, policy, now)


def _reinstate(world: World, command: ReinstatePoints, now: datetime) -> Decision[Changes, Entry]:
    program = _program(world, command)
    wallet = _named(world, program, command.member_id, command.currency_id)
    policy = decisions.policy_of(program, wallet.currency_id)
    key = (wallet.program_id, wallet.member_key, wallet.currency_id)
    booked = [
        each
        for each in world.entries
        if (each.program_id, each.member_key, each.currency_id) == key
    ]
    expired = world.expired.get((key, command.lot_sequence), 0)
    expired += extensions.ended(booked, command.lot_sequence)
    return extensions.reinstate(command, wallet, _lots(world, wallet), expired, policy, now)


def _program(world: World, command: MovePoints) -> Program:
    program = world.programs.get(command.program_id)
    if program is None:
        raise errors.ProgramNotFound(program_id=command.program_id)
    return program


def _named(world: World, program: Program, name: MemberId, asked: CurrencyId) -> Wallet:
    """The wallet that a request means; the member must be there before the currency is asked."""
    _wallet(world, program, name, program.currency_id)
    return _wallet(world, program, name, decisions.currency_of(program, asked))


def _wallet(world: World, program: Program, name: MemberId, currency_id: CurrencyId) -> Wallet:
    """A member's wallet; one who is only about to be enrolled, or is unknown, has none."""
    key = world.keys.get((program.program_id, name))
    if key is None:
        raise errors.MemberNotFound(member_id=name)
    first = world.wallets.get((program.program_id, key, program.currency_id))
    if first is None or first.frozen == Frozen.ERASED:
        raise errors.MemberNotFound(member_id=name)
    if currency_id == program.currency_id:
        return first
    return world.opened((program.program_id, key, currency_id))


def _lots(world: World, wallet: Wallet) -> dict[int, Lot]:
    return world.lots.setdefault((wallet.program_id, wallet.member_key, wallet.currency_id), {})


DECIDERS = cast(
    "Mapping[type[Command], Callable[[World, Command, datetime], Decision[Changes, object]]]",
    {
        TransferPoints: _transfer,
        ConvertPoints: _convert,
        AdjustPoints: _adjust,
        ApproveAdjustment: _decide,
        RejectAdjustment: _decide,
        ExtendPoints: _extend,
        ReinstatePoints: _reinstate,
    },
)
ANSWERS: Mapping[type[Command], type[object]] = {
    TransferPoints: Transferred,
    ConvertPoints: Converted,
    AdjustPoints: Adjustment,
    ApproveAdjustment: Adjustment,
    RejectAdjustment: Adjustment,
    ExtendPoints: Extended,
    ReinstatePoints: Entry,
}
