"""What batches need of households; one that is about none, or holds points of none, needs nothing.

Who is in a household changes behind the locks of the wallets of all its members, and of whoever
comes. So they are read twice: before the locks are taken, to know whose, and again behind them.
When somebody came or went in between, the batch starts again.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from services.earning import loading_members, store_households, store_members
from services.earning.commands import Command, HoldPoints
from services.earning.commands_households import (
    AboutHousehold,
    AcceptInvitation,
    DissolveHousehold,
    InviteMember,
    OfMember,
    RemoveMember,
)
from services.earning.commands_members import ChangeMember, ClaimCard, EraseMember, MergeMembers
from services.earning.domain import CurrencyId, HouseholdId, MemberKey, ProgramId
from services.earning.households_world import Households
from services.earning.world import Identifier, MemberPlace, WalletKey, World
from shared.database import TryAgain, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What commands of a batch need: `members` may be in households.

    `currencies` are those of which points of households are held, by program.
    """

    about: list[AboutHousehold]
    members: set[MemberPlace]
    currencies: dict[ProgramId, set[CurrencyId]]


def names(commands: Iterable[Command]) -> list[Identifier]:
    """Identifiers that commands about households speak of."""
    return [
        name
        for each in commands
        if isinstance(each, AboutHousehold) and (name := _name(each)) is not None
    ]


def _name(command: AboutHousehold) -> Identifier | None:
    if not isinstance(command, OfMember) or not command.member_id:
        return None
    return command.program_id, command.member_id


async def wanted(
    tx: Tx, world: World, commands: Sequence[Command], changing: Iterable[ChangeMember]
) -> Wanted | None:
    """What a batch needs; None when that is nothing. `changing` are its commands about members.

    A program that never had a policy has no households.
    """
    having = {
        key
        for key, program in world.programs.items()
        if program.households is not None or program.rules.version > 1
    }
    if not having:
        return None
    about = [
        each for each in commands if isinstance(each, AboutHousehold) and each.program_id in having
    ]
    pooling = [
        each
        for each in commands
        if isinstance(each, HoldPoints) and each.from_household and each.program_id in having
    ]
    named = [name for each in about if (name := _name(each)) is not None]
    named += [
        name
        for each in changing
        if isinstance(each, MergeMembers | ClaimCard | EraseMember) and each.program_id in having
        for name in loading_members.names(each)
    ]
    named += [(each.program_id, each.member.member_id) for each in pooling]
    members = {(name[0], key) for name in named if (key := _known(world, name)) is not None}
    by_key = {
        (each.program_id, each.member.member_key) for each in pooling if each.member.member_key
    }
    if not (about or members or by_key):
        return None
    merged = await store_members.merged_into(tx, sorted(by_key))
    members |= {(place[0], merged.get(place, place[1])) for place in by_key}
    currencies: dict[ProgramId, set[CurrencyId]] = {}
    for each in pooling:
        program = world.programs[each.program_id]
        if not each.currency_id or each.currency_id in program.currencies:
            asked = currencies.setdefault(each.program_id, set())
            asked.add(each.currency_id or program.currency_id)
    return Wanted(about=about, members=members, currencies=currencies)


def _known(world: World, name: Identifier) -> MemberKey | None:
    """Key of a member who is there already."""
    return None if name in world.claimed else world.keys.get(name)


# Before the locks, and again behind them ----------------------------------------------------------


async def wallets(tx: Tx, world: World, asked: Wanted) -> set[WalletKey]:
    """The wallets that keep households as they are, or whose points may be held."""
    return (await _read(tx, world, asked))[1]


async def load(tx: Tx, world: World, asked: Wanted) -> None:
    """Load what households are decided over; their members' wallets are locked.

    Raises TryAgain when others would have to be locked than were.
    """
    found, keys = await _read(tx, world, asked)
    if not keys <= world.wallets.keys():
        raise TryAgain("somebody joined a household while wallets were waited for")
    world.households = found


def pooled(world: World, asked: Wanted) -> set[WalletKey]:
    """Those of the locked wallets whose points may be held for a household."""
    return {key for key in world.wallets if key[2] in asked.currencies.get(key[0], ())}


async def _read(tx: Tx, world: World, asked: Wanted) -> tuple[Households, set[WalletKey]]:
    found = Households()
    found.memberships = await store_households.memberships(tx, asked.members)
    codes = {
        (each.program_id, each.code) for each in asked.about if isinstance(each, AcceptInvitation)
    }
    found.invitations = await store_households.invitations(tx, codes, _invited(world, asked.about))
    ids: set[tuple[ProgramId, HouseholdId]] = {
        (each.program_id, each.household_id)
        for each in asked.about
        if isinstance(each, InviteMember | RemoveMember | DissolveHousehold)
    }
    ids.update((each.program_id, each.household_id) for each in found.invitations.values())
    ids.update((each.program_id, each.household_id) for each in found.memberships.values())
    found.by_id = await store_households.by_ids(tx, ids)
    members = asked.members | {
        (each.program_id, joined.member_key)
        for each in found.by_id.values()
        for joined in each.members
    }
    missing = members - found.memberships.keys()
    found.memberships |= await store_households.memberships(tx, missing)
    return found, {
        (place[0], place[1], currency_id)
        for place in members
        for currency_id in {
            world.programs[place[0]].currency_id,
            *asked.currencies.get(place[0], ()),
        }
    }


def _invited(
    world: World, about: Collection[AboutHousehold]
) -> set[tuple[ProgramId, HouseholdId, MemberKey]]:
    return {
        (each.program_id, each.household_id, key)
        for each in about
        if isinstance(each, InviteMember)
        and (key := _known(world, (each.program_id, each.member_id))) is not None
    }
