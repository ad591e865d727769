"""What is done about households over the world that was loaded: commands, mergers, erasures."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TypeVar, cast

from services.earning import households
from services.earning.commands import Command
from services.earning.commands_households import (
    AboutHousehold,
    AcceptInvitation,
    CreateHousehold,
    DissolveHousehold,
    InviteMember,
    LeaveHousehold,
    OfHousehold,
    RemoveMember,
)
from services.earning.decisions import Changes
from services.earning.domain import MemberId, MemberKey, Wallet
from services.earning.household_records import (
    NOBODY,
    Household,
    HouseholdPolicy,
    Invitation,
    Membership,
)
from services.earning.households_world import Households
from services.earning.member_records import Frozen, MemberRecord, MemberState
from services.earning.refusals import MemberFrozen
from services.earning.refusals_households import (
    HouseholdNotFound,
    HouseholdsNotOffered,
    NotInHousehold,
)
from services.earning.rules import Program
from services.earning.world import World
from shared import errors
from shared.decision import Decision

_A = TypeVar("_A")


def _create(world: World, command: CreateHousehold, now: datetime) -> Decision[Changes, Household]:
    program, policy = _offered(world, command)
    head = _member(world, program, command.member_id)
    _check_active(head, command.member_id)
    before = _known(world).memberships.get((program.program_id, head.member_key))
    return households.create(command, head.member_key, before, policy, now)


def _invite(world: World, command: InviteMember, now: datetime) -> Decision[Changes, Invitation]:
    program, policy = _offered(world, command)
    household = _household(world, command)
    invited, membership, known = NOBODY, None, None
    if command.member_id:
        invited = _member(world, program, command.member_id).member_key
        membership = _known(world).memberships.get((program.program_id, invited))
        known = _known(world).invited(program.program_id, household.household_id, invited)
    return households.invite(command, household, invited, membership, known, policy, now)


def _accept(world: World, command: AcceptInvitation, now: datetime) -> Decision[Changes, Household]:
    program, policy = _offered(world, command)
    joining = _member(world, program, command.member_id)
    known = _known(world)
    invitation = known.invitations.get((program.program_id, command.code))
    household = None
    if invitation is not None:
        household = known.by_id.get((program.program_id, invitation.household_id))
    opened = households.open_to(invitation, household, joining.member_key, command.code)
    _check_active(joining, command.member_id)
    before = known.memberships.get((program.program_id, joining.member_key))
    return households.accept(command, joining.member_key, before, *opened, policy, now)


def _remove(world: World, command: RemoveMember, now: datetime) -> Decision[Changes, Household]:
    program = _program(world, command)
    household = _household(world, command)
    member = _member(world, program, command.member_id)
    return households.remove(command, household, member.member_key, now)


def _leave(world: World, command: LeaveHousehold, now: datetime) -> Decision[Changes, Household]:
    program = _program(world, command)
    name = (program.program_id, command.member_id)
    if name not in world.keys or name in world.claimed:
        raise errors.MemberNotFound(member_id=command.member_id)
    household = None
    if world.households is not None:
        household = world.households.of(program.program_id, world.keys[name])
    if household is None:
        raise NotInHousehold(member_id=command.member_id)
    return households.leave(household, [world.keys[name]], now)


def _dissolve(
    world: World, command: DissolveHousehold, now: datetime
) -> Decision[Changes, Household]:
    _program(world, command)
    household = _household(world, command)
    return households.leave(household, [each.member_key for each in household.members], now)


DECIDERS = cast(
    "Mapping[type[Command], Callable[[World, Command, datetime], Decision[Changes, object]]]",
    {
        CreateHousehold: _create,
        InviteMember: _invite,
        AcceptInvitation: _accept,
        RemoveMember: _remove,
        LeaveHousehold: _leave,
        DissolveHousehold: _dissolve,
    },
)
ANSWERS: Mapping[type[Command], type[object]] = {
    **dict.fromkeys(DECIDERS, Household),
    InviteMember: Invitation,
}

# Members -----------------------------------------------------------------------------------------


def followed(
    world: World,
    decided: Decision[Changes, _A],
    names: tuple[MemberId, MemberId],
    now: datetime,
) -> Decision[Changes, _A]:
    """A decided end of a member, with what becomes of its household.

    `names` are what the request calls the member that ends and the one it goes to, if to any.
    Refuses HouseholdsDiffer.
    """
    known = world.households
    if known is None:
        return decided
    for member in decided.state.members:
        housed = _ended(known, member, names, now)
        if housed is not None:
            decided = replace(
                decided,
                state=replace(decided.state, housed=housed.state.housed),
                events=(*decided.events, *housed.events),
            )
    return decided


def _ended(
    known: Households, member: MemberRecord, names: tuple[MemberId, MemberId], now: datetime
) -> Decision[Changes, Household] | None:
    place = (member.program_id, member.member_key)
    household = known.of(*place)
    if member.state is MemberState.MERGED:
        source = known.memberships.get(place)
        target: Membership | None = known.memberships.get((place[0], member.merged_into))
        return households.merge(source, target, household, names, member.merged_into, now)
    if member.state is MemberState.ERASED and household is not None:
        return households.leave(household, [member.member_key], now)
    return None


# What they have in common ------------------------------------------------------------------------


def _program(world: World, command: AboutHousehold) -> Program:
    program = world.programs.get(command.program_id)
    if program is None:
        raise errors.ProgramNotFound(program_id=command.program_id)
    return program


def _offered(world: World, command: AboutHousehold) -> tuple[Program, HouseholdPolicy]:
    program = _program(world, command)
    if program.households is None:
        raise HouseholdsNotOffered(program_id=command.program_id)
    return program, program.households


def _household(world: World, command: OfHousehold) -> Household:
    found = None
    if world.households is not None:
        found = world.households.active(command.program_id, command.household_id)
    if found is None:
        raise HouseholdNotFound(household_id=command.household_id)
    return found


def _member(world: World, program: Program, name: MemberId) -> Wallet:
    """A member's first wallet; one who is only about to be enrolled, or is unknown, has none."""
    key: MemberKey | None = world.keys.get((program.program_id, name))
    wallet = None
    if key is not None:
        wallet = world.wallets.get((program.program_id, key, program.currency_id))
    if wallet is None or wallet.frozen == Frozen.ERASED:
        raise errors.MemberNotFound(member_id=name)
    return wallet


def _check_active(wallet: Wallet, name: MemberId) -> None:
    if wallet.frozen:
        raise MemberFrozen(member_id=name)


def _known(world: World) -> Households:
    if world.households is None:
        raise AssertionError("what is decided about households was loaded")
    return world.households
