"""What each command about members does over the world that was loaded."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import cast

from services.earning import members
from services.earning.commands import Command
from services.earning.commands_members import (
    AddIdentifier,
    ChangeMember,
    EraseMember,
    FreezeMember,
    RemoveIdentifier,
    UnfreezeMember,
    UpdateMember,
)
from services.earning.decisions import Changes
from services.earning.domain import MemberId, Wallet
from services.earning.member_records import MemberRecord
from services.earning.world import Identifier, World
from shared import errors
from shared.decision import Decision


def check_not_released(world: World, name: Identifier) -> None:
    """Refuse, for now, a name that this very batch took away: the next batch claims it."""
    if name in world.released:
        raise errors.Interrupted


def _update(world: World, command: UpdateMember, now: datetime) -> Decision[Changes, MemberRecord]:
    del now
    return members.update(command, _member(world, command))


def _add(world: World, command: AddIdentifier, now: datetime) -> Decision[Changes, MemberRecord]:
    name = (command.program_id, command.identifier)
    is_free = name in world.claimed or name in world.released
    return members.add_identifier(command, _member(world, command), now, is_free=is_free)


def _remove(
    world: World, command: RemoveIdentifier, now: datetime
) -> Decision[Changes, MemberRecord]:
    del now
    return members.remove_identifier(command, _member(world, command))


def _freeze(
    world: World, command: FreezeMember | UnfreezeMember, now: datetime
) -> Decision[Changes, MemberRecord]:
    del now
    member = _member(world, command)
    return members.freeze(command, member, _wallets(world, member))


def _erase(world: World, command: EraseMember, now: datetime) -> Decision[Changes, MemberRecord]:
    del now
    member = _member(world, command)
    return members.erase(command, member, _wallets(world, member))


def _member(world: World, command: ChangeMember, name: MemberId | None = None) -> MemberRecord:
    """The member that a command, or one of its names, means. Refuses as existence goes."""
    if command.program_id not in world.programs:
        raise errors.ProgramNotFound(program_id=command.program_id)
    identifier = (command.program_id, name or command.member_id)
    key = None if identifier in world.claimed else world.keys.get(identifier)
    if key is None:
        raise errors.MemberNotFound(member_id=identifier[1])
    return world.members[command.program_id, key]


def _wallets(world: World, member: MemberRecord) -> list[Wallet]:
    """All wallets of a member."""
    return [
        wallet
        for key, wallet in world.wallets.items()
        if key[:2] == (member.program_id, member.member_key)
    ]


DECIDERS = cast(
    "Mapping[type[Command], Callable[[World, Command, datetime], Decision[Changes, object]]]",
    {
        UpdateMember: _update,
        AddIdentifier: _add,
        RemoveIdentifier: _remove,
        FreezeMember: _freeze,
        UnfreezeMember: _freeze,
        EraseMember: _erase,
    },
)
ANSWERS: Mapping[type[Command], type[object]] = dict.fromkeys(DECIDERS, MemberRecord)
