"""What commands about members need: who is meant, which rows are locked, which wallets go along.

Members are locked after identifiers and before wallets. What names a member may have changed while
its lock was waited for, so it is looked at again behind the lock.
"""

from collections.abc import Collection, Iterable, Sequence

from services.earning import store, store_members
from services.earning.commands import Command
from services.earning.commands_members import (
    AddIdentifier,
    ChangeMember,
    ClaimCard,
    MergeMembers,
    UpdateMember,
)
from services.earning.domain import CurrencyId, MemberId, MemberKey, ProgramId
from services.earning.member_records import Frozen
from services.earning.world import Identifier, WalletKey, World
from shared.database import TryAgain, Tx


def only(commands: Iterable[Command]) -> list[ChangeMember]:
    """Those of the commands that are about members."""
    return [each for each in commands if isinstance(each, ChangeMember)]


def names(command: ChangeMember) -> tuple[Identifier, ...]:
    """Identifiers that a command speaks of."""
    return tuple((command.program_id, each) for each in (*_subjects(command), *_claimed(command)))


def claims(command: ChangeMember) -> tuple[Identifier, ...]:
    """Identifiers that a command gives to its member if nobody has them."""
    return tuple((command.program_id, each) for each in _claimed(command))


def _subjects(command: ChangeMember) -> tuple[MemberId, ...]:
    if isinstance(command, MergeMembers):
        return (command.member_id, command.source_member_id)
    return (command.member_id,)


def _claimed(command: ChangeMember) -> tuple[MemberId, ...]:
    match command:
        case AddIdentifier():
            return (command.identifier,)
        case ClaimCard():
            return (command.card_id,)
        case _:
            return ()


def _meant(world: World, command: ChangeMember) -> list[tuple[Identifier, MemberKey]]:
    """Identifiers of members that a command changes, with the keys found; unknown ones left out."""
    card = _claimed(command) if isinstance(command, ClaimCard) else ()
    wanted = [(command.program_id, each) for each in (*_subjects(command), *card)]
    return [
        (name, world.keys[name])
        for name in wanted
        if name in world.keys and name not in world.claimed
    ]


async def lock(tx: Tx, world: World, commands: Sequence[ChangeMember]) -> None:
    """Lock the members that commands change.

    Raises TryAgain when an identifier has come to name another member meanwhile.
    """
    meant = [pair for each in commands for pair in _meant(world, each)]
    if not meant:
        return
    places = sorted({(name[0], key) for name, key in meant})
    world.members = await store_members.lock(tx, places)
    for (program_id, identifier), key in meant:
        member = world.members.get((program_id, key))
        if member is None or identifier not in member.names:
            raise TryAgain("an identifier changed hands while its member was waited for")


def wallets(world: World, commands: Sequence[ChangeMember]) -> set[WalletKey]:
    """All wallets of the members that commands change, whether they are there or not."""
    return {
        (name[0], key, currency_id)
        for command in commands
        if not isinstance(command, UpdateMember)
        for name, key in _meant(world, command)
        for currency_id in _currencies(world, name[0])
    }


def _currencies(world: World, program_id: ProgramId) -> tuple[CurrencyId, ...]:
    program = world.programs[program_id]
    return tuple(dict.fromkeys((program.currency_id, *program.currencies)))


def merged_wallets(world: World, commands: Sequence[ChangeMember]) -> set[WalletKey]:
    """Wallets whose points may move from one member to another."""
    merging = [each for each in commands if isinstance(each, MergeMembers | ClaimCard)]
    return wallets(world, merging)


async def follow_merged(tx: Tx, world: World, *, lock: bool) -> set[WalletKey]:
    """Lock the wallets of those into whom owners of the locked ones were merged; their keys.

    Whoever knows a member by its key, an activity or a hold of before may still come with that.
    """
    merged = [key for key, each in world.wallets.items() if each.frozen == Frozen.MERGED]
    if not merged:
        return set()
    world.merged = await store_members.merged_into(tx, sorted({key[:2] for key in merged}))
    keys = {(key[0], world.merged[key[:2]], key[2]) for key in merged}
    world.wallets |= await store.lock_wallets(tx, keys - set(world.wallets), lock=lock)
    return keys


def check_still_there(world: World) -> None:
    """Raise TryAgain when a member was merged or erased before its wallet was locked."""
    gone: Collection[tuple[str, str]] = {
        key[:2] for key, wallet in world.wallets.items() if wallet.frozen > Frozen.YES
    }
    if gone and any((name[0], key) in gone for name, key in world.keys.items()):
        raise TryAgain("a member came to its end while its wallet was waited for")
