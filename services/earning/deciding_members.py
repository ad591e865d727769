"""What each command about members does over the world that was loaded."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import cast

from services.earning import deciding_households, members, members_merging
from services.earning.commands import Command
from services.earning.commands_members import (
    AddIdentifier,
    ChangeMember,
    ClaimCard,
    EraseMember,
    FreezeMember,
    MergeMembers,
    RemoveIdentifier,
    UnfreezeMember,
    UpdateMember,
)
from services.earning.decisions import NO_LOTS, Changes, policy_of
from services.earning.domain import MemberId, Wallet
from services.earning.member_records import Frozen, MemberRecord
from services.earning.members_merging import Purses
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
    member = _member(world, command)
    decided = members.erase(command, member, _wallets(world, member))
    return deciding_households.followed(world, decided, (command.member_id, MemberId("")), now)


def _claim(world: World, command: ClaimCard, now: datetime) -> Decision[Changes, MemberRecord]:
    target = _member(world, command)
    name = (command.program_id, command.card_id)
    is_free = name in world.claimed or name in world.released
    owner = None if is_free else world.members.get((name[0], world.keys[name]))
    purses = [] if owner is None else _purses(world, owner, target)
    decided = members_merging.claim(command, target, owner, purses, now, is_free=is_free)
    return deciding_households.followed(world, decided, (command.card_id, command.member_id), now)


def _merge(world: World, command: MergeMembers, now: datetime) -> Decision[Changes, MemberRecord]:
    target = _member(world, command)
    source = _member(world, command, command.source_member_id)
    purses = _purses(world, source, target)
    decided = members_merging.merge(command, target, source, purses, now)
    names = (command.source_member_id, command.member_id)
    return deciding_households.followed(world, decided, names, now)


def _purses(world: World, source: MemberRecord, target: MemberRecord) -> list[Purses]:
    """The wallets of both in every currency that the source has; Interrupted if one is missing."""
    if source.member_key == target.member_key:
        return []
    purses = []
    for wallet in _wallets(world, source):
        own = (wallet.program_id, wallet.member_key, wallet.currency_id)
        other = (wallet.program_id, target.member_key, wallet.currency_id)
        if other not in world.wallets:
            raise errors.Interrupted  # both were enrolled or given a currency just now
        purses.append(
            Purses(
                source=wallet,
                source_lots=world.lots.get(own, NO_LOTS),
                target=world.wallets[other],
                target_lots=world.lots.get(other, NO_LOTS),
                policy=policy_of(world.programs[wallet.program_id], wallet.currency_id),
            )
        )
    return purses


def after_merge(
    world: World, decided: Decision[Changes, object], wallet: Wallet, now: datetime
) -> Decision[Changes, object]:
    """What a decision about a wallet brings, handed on if its member was merged into another."""
    if wallet.frozen != Frozen.MERGED:
        return decided
    own = (wallet.program_id, wallet.member_key, wallet.currency_id)
    other = (own[0], world.merged[own[0], own[1]], own[2])
    purses = Purses(
        source=wallet,
        source_lots=world.lots.get(own, NO_LOTS),
        target=world.wallets[other],
        target_lots=world.lots.get(other, NO_LOTS),
        policy=policy_of(world.programs[own[0]], own[2]),
    )
    return members_merging.handed_on(decided, purses, now)


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
        ClaimCard: _claim,
        MergeMembers: _merge,
    },
)
ANSWERS: Mapping[type[Command], type[object]] = dict.fromkeys(DECIDERS, MemberRecord)
