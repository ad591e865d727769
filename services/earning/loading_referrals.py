"""What batches need of referrals; one whose programs have none, now or before, needs nothing.

Whose wallets have to be locked is read twice: before the locks are taken, to know which, and again
behind them. When somebody claimed, or was merged, in between, the batch starts again.
A claim locks the friend, the owner of the code, and whoever stands at the top of the chain above
that one. A friend who has no referrer can close a circle only from the top; of claims that would
close one together each needs a wallet of the next, so the last of them sees the others.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.earning import (
    loading_members,
    referrals,
    store_members,
    store_pieces,
    store_referrals,
)
from services.earning.commands import Command, RecordActivity
from services.earning.commands_members import ChangeMember, ClaimCard, MergeMembers
from services.earning.commands_referrals import AboutReferral, ClaimReferral, MakeReferralCode
from services.earning.domain import CurrencyId, EntryType, MemberKey, ProgramId
from services.earning.member_records import Frozen
from services.earning.referral_records import Referral, ReferralState, lot_of
from services.earning.referrals_world import Referrals
from services.earning.world import ActivityKey, Identifier, MemberPlace, WalletKey, World
from shared.database import TryAgain, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What commands of a batch may need: `friends` may have come by somebody."""

    about: list[AboutReferral]
    friends: set[MemberPlace]
    merging: set[MemberPlace]
    activities: set[ActivityKey]


def names(world: World, commands: Iterable[Command]) -> list[Identifier]:
    """Identifiers that commands about referrals speak of, if a program has any."""
    if not _offering(world):
        return []
    return [_name(each) for each in commands if isinstance(each, AboutReferral)]


def _offering(world: World) -> set[ProgramId]:
    """Programs that have a referral policy now."""
    return {key for key, program in world.programs.items() if program.referral is not None}


def _name(command: AboutReferral) -> Identifier:
    return command.program_id, command.member_id


def wanted(
    world: World,
    commands: Sequence[Command],
    changing: Iterable[ChangeMember],
    reversed_: Collection[ActivityKey],
) -> Wanted | None:
    """What a batch needs; None when that is nothing. `changing` are its commands about members.

    What an older version rewarded is taken back whatever the current one says.
    """
    offering = _offering(world)
    activities = {
        key for key in reversed_ if key[0] in offering or world.programs[key[0]].rules.version > 1
    }
    merging = {
        (name_[0], member_key)
        for command in changing
        if isinstance(command, MergeMembers | ClaimCard)
        for name_ in loading_members.names(command)
        if (member_key := _known(world, name_)) is not None
    }
    if not (offering or activities or merging):
        return None
    friends: set[MemberPlace] = set()
    about: list[AboutReferral] = []
    for each in commands:
        if each.program_id not in offering:
            continue
        if isinstance(each, AboutReferral):
            about.append(each)
        elif isinstance(each, RecordActivity) and _may_qualify(world, each):
            member_key = _known(world, (each.program_id, each.member_id))
            if member_key is not None:
                friends.add((each.program_id, member_key))
    if not (about or friends or activities or merging):
        return None
    return Wanted(about=about, friends=friends, merging=merging, activities=activities)


def _may_qualify(world: World, command: RecordActivity) -> bool:
    policy = world.programs[command.program_id].referral
    return policy is not None and (
        not policy.activity_types or command.type in policy.activity_types
    )


def _known(world: World, name_: Identifier) -> MemberKey | None:
    """Key of a member who is there already."""
    return None if name_ in world.claimed else world.keys.get(name_)


# Before the locks, and again behind them ----------------------------------------------------------


async def wallets(tx: Tx, world: World, asked: Wanted) -> set[WalletKey]:
    """The wallets that referrals may move, or that keep them as they are."""
    return (await _read(tx, world, asked))[1]


async def load(tx: Tx, world: World, asked: Wanted, now: datetime) -> None:
    """Load what referrals are decided over; their wallets are locked.

    Raises TryAgain when others would have to be locked than were.
    """
    found, keys = await _read(tx, world, asked)
    if not keys <= world.wallets.keys():
        raise TryAgain("somebody claimed a referral while wallets were waited for")
    for owner in found.owners.items():
        place = (owner[0][0], owner[1])
        wallet = world.wallets[_first(world, place)]
        if wallet.frozen == Frozen.MERGED:
            raise TryAgain("the owner of a code was merged while its wallet was waited for")
    back = [each for each in found.by_id.values() if each.activity_id]
    returned = {
        (each.program_id, each.referral_id)
        for each in back
        if (each.program_id, each.activity_id) in asked.activities
    }
    for booking in await store_referrals.bookings(tx, back):
        id_ = (booking.program_id, booking.referral_id)
        found.bookings.setdefault(id_, []).append(booking)
        if id_ in returned and booking.type is EntryType.REFERRAL:
            found.pieces[lot_of(booking)] = await store_pieces.came_of(tx, lot_of(booking))
    await _count_rewarded(tx, world, found, asked)
    await _load_claims(tx, world, found, asked)
    await _make_codes(tx, world, found, asked, now)
    world.referrals = found


async def _read(tx: Tx, world: World, asked: Wanted) -> tuple[Referrals, set[WalletKey]]:
    found, keys = Referrals(), set[WalletKey]()
    claims = [each for each in asked.about if isinstance(each, ClaimReferral)]
    members = {
        (each.program_id, key)
        for each in asked.about
        if (key := _known(world, _name(each))) is not None
    }
    claimers = {
        (each.program_id, key) for each in claims if (key := _known(world, _name(each))) is not None
    }
    referred = await store_referrals.of_friends(tx, asked.friends | asked.merging | claimers)
    returned = await store_referrals.of_activities(tx, asked.activities)
    found.take([*referred, *returned])
    for each in referred:
        place = (each.program_id, each.friend_key)
        if each.state is ReferralState.CLAIMED and place in asked.friends:
            keys |= _of_both(world, each, _currency(world, each.program_id))
    for each in returned:
        keys |= _of_both(world, each, each.currency_id)
    found.owners = await store_referrals.owners(
        tx, {(each.program_id, each.code) for each in claims}
    )
    owners = {(code[0], key) for code, key in found.owners.items()}
    for place in members | owners:
        keys |= _of_one(world, place, _currency(world, place[0]))
    for program_id in sorted({place[0] for place in owners}):
        mine = {key for program, key in owners if program == program_id}
        chains = found.referrers.setdefault(program_id, {})
        chains |= await store_referrals.above(tx, program_id, mine)
        keys |= {_first(world, (program_id, referrals.above(chains, key)[-1])) for key in mine}
    return found, keys


def _first(world: World, place: MemberPlace) -> WalletKey:
    return (place[0], place[1], world.programs[place[0]].currency_id)


def _of_one(world: World, place: MemberPlace, currency_id: CurrencyId) -> set[WalletKey]:
    """The first wallet, which says what has become of a member, and that of the rewards."""
    return {_first(world, place), (place[0], place[1], currency_id)}


def _of_both(world: World, referral: Referral, currency_id: CurrencyId) -> set[WalletKey]:
    return {
        wallet
        for key in (referral.friend_key, referral.referrer_key)
        for wallet in _of_one(world, (referral.program_id, key), currency_id)
    }


def _currency(world: World, program_id: ProgramId) -> CurrencyId:
    program = world.programs[program_id]
    return program.currency_id if program.referral is None else program.referral.currency_id


# Behind the locks --------------------------------------------------------------------------------


async def _count_rewarded(tx: Tx, world: World, found: Referrals, asked: Wanted) -> None:
    """Count for whom a cap may come to matter: referrers, owners of codes, those who are merged."""
    for program_id, program in world.programs.items():
        if program.referral is None or not program.referral.max_per_referrer:
            continue
        members = {
            world.owner(program_id, each.referrer_key)
            for each in found.by_id.values()
            if each.program_id == program_id
        }
        members |= {key for code, key in found.owners.items() if code[0] == program_id}
        members |= {place[1] for place in asked.merging if place[0] == program_id}
        if members:
            found.rewarded |= await store_referrals.rewarded(tx, program_id, members)


async def _load_claims(tx: Tx, world: World, found: Referrals, asked: Wanted) -> None:
    """Load what those who claim have done before, they and whoever was merged into them."""
    for each in asked.about:
        key = _known(world, _name(each))
        policy = world.programs[each.program_id].referral
        if not isinstance(each, ClaimReferral) or key is None or policy is None:
            continue
        place = (each.program_id, key)
        if place in found.of_friend or place in found.contents:
            continue
        family = await store_members.family(tx, *place)
        count = 1 if policy.condition is None else referrals.DEEDS_MAX + 1
        found.contents[place] = await store_referrals.contents(
            tx, each.program_id, family, policy.activity_types, count
        )


async def _make_codes(tx: Tx, world: World, found: Referrals, asked: Wanted, now: datetime) -> None:
    """Find the codes that are asked for, and make those that are not there."""
    makers = {
        (each.program_id, key): each
        for each in asked.about
        if isinstance(each, MakeReferralCode) and (key := _known(world, _name(each))) is not None
    }
    found.own = await store_referrals.codes_of(tx, makers.keys())
    for place, command in sorted(makers.items(), key=lambda each: each[0]):
        if place not in found.own and not world.wallets[_first(world, place)].frozen:
            found.own[place] = await store_referrals.make_code(tx, place, command.chance, now)
