"""What is done about referrals over the world that was loaded: codes, claims, rewards, returns."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TypeVar, cast

from services.earning import decisions, pieces, referrals, wire
from services.earning.commands import Command, RecordActivity, ReverseActivity
from services.earning.commands_referrals import AboutReferral, ClaimReferral, MakeReferralCode
from services.earning.decisions import Changes
from services.earning.domain import ActivityRecord, CurrencyId, EntryType, MemberKey, Wallet
from services.earning.further import Purse
from services.earning.member_records import Frozen
from services.earning.pieces import Piece
from services.earning.referral_records import (
    Booking,
    Referral,
    ReferralCode,
    ReferralState,
    Side,
    lot_of,
)
from services.earning.referrals_world import Referrals
from services.earning.refusals import MemberFrozen
from services.earning.refusals_referrals import ReferralCodeNotFound, ReferralsNotOffered
from services.earning.rules import Program, ReferralPolicy
from services.earning.world import World
from shared import errors
from shared.decision import Decision

_A = TypeVar("_A")

# Commands ----------------------------------------------------------------------------------------


def _make_code(
    world: World, command: MakeReferralCode, now: datetime
) -> Decision[Changes, ReferralCode]:
    del now
    program, _ = _offered(world, command)
    wallet = _member(world, program, command)
    known = world.referrals
    code = None
    if known is not None:
        code = known.own.get((program.program_id, wallet.member_key))
    if code is None and wallet.frozen:
        raise MemberFrozen(member_id=command.member_id)
    if code is None:
        raise errors.Interrupted  # enrolled only just now: sent again, the call finds the member
    return Decision(state=Changes(), answer=ReferralCode(code=code))


def _claim(world: World, command: ClaimReferral, now: datetime) -> Decision[Changes, Referral]:
    program, policy = _offered(world, command)
    friend = _member(world, program, command)
    known = _known(world)
    owner = known.owners.get((program.program_id, command.code))
    if owner is not None:
        owner = world.owner(program.program_id, owner)
        if world.wallets[program.program_id, owner, program.currency_id].frozen:
            owner = None
    if owner is None:
        raise ReferralCodeNotFound(referral_code=command.code)
    if friend.frozen:
        raise MemberFrozen(member_id=command.member_id)
    chains = known.referrers.get(program.program_id, {})
    referred = known.by_friend(program.program_id, friend.member_key) is not None
    return referrals.claim(
        command,
        friend.member_key,
        referrals.above(chains, owner),
        is_referred=referred,
        has_qualified=not referred
        and _has_qualified(world, known, program, policy, friend.member_key),
        now=now,
    )


def _has_qualified(
    world: World,
    known: Referrals,
    program: Program,
    policy: ReferralPolicy,
    friend: MemberKey,
) -> bool:
    """Whether a member has done before what a newcomer has not, stored or in this batch."""
    stored = known.contents.get((program.program_id, friend), [])
    if len(stored) > referrals.DEEDS_MAX:
        return True
    made = [world.activities[key] for key in world.made_activities if key[0] == program.program_id]
    contents = [*stored, *[each.content for each in made if _is_of(world, each, friend)]]
    return any(
        referrals.qualifies(policy, wire.deed_of(content), program.rules.zone)
        for content in contents
    )


def _is_of(world: World, record: ActivityRecord, member: MemberKey) -> bool:
    return world.owner(record.program_id, record.member_key) == member


def _offered(world: World, command: AboutReferral) -> tuple[Program, ReferralPolicy]:
    program = world.programs.get(command.program_id)
    if program is None:
        raise errors.ProgramNotFound(program_id=command.program_id)
    if program.referral is None:
        raise ReferralsNotOffered(program_id=command.program_id)
    return program, program.referral


def _member(world: World, program: Program, command: AboutReferral) -> Wallet:
    """A member's first wallet; one who is only about to be enrolled, or is unknown, has none."""
    key = world.keys.get((program.program_id, command.member_id))
    wallet = None
    if key is not None:
        wallet = world.wallets.get((program.program_id, key, program.currency_id))
    if wallet is None or wallet.frozen == Frozen.ERASED:
        raise errors.MemberNotFound(member_id=command.member_id)
    return wallet


def _known(world: World) -> Referrals:
    if world.referrals is None:
        raise AssertionError("what is decided about referrals was loaded")
    return world.referrals


DECIDERS = cast(
    "Mapping[type[Command], Callable[[World, Command, datetime], Decision[Changes, object]]]",
    {MakeReferralCode: _make_code, ClaimReferral: _claim},
)
ANSWERS: Mapping[type[Command], type[object]] = {
    MakeReferralCode: ReferralCode,
    ClaimReferral: Referral,
}

# Activities and reversals ------------------------------------------------------------------------


def rewarded(
    world: World,
    program: Program,
    policy: ReferralPolicy,
    command: RecordActivity,
    decided: Decision[Changes, _A],
) -> Decision[Changes, _A]:
    """A decided activity with the rewards that it brings, if it is a friend's first to qualify."""
    known, made = world.referrals, decided.state.activity
    if known is None or made is None:
        return decided
    claimed = known.by_friend(program.program_id, made.member_key)
    if claimed is None or claimed.state is not ReferralState.CLAIMED:
        return decided
    referrer = world.owner(program.program_id, claimed.referrer_key)
    if referrer == made.member_key or not referrals.qualifies(
        policy, decisions.deed_of(command), program.rules.zone
    ):
        return decided
    purses = {
        side: _purse(world, program, key, policy.currency_id)
        for side, key in ((Side.FRIEND, made.member_key), (Side.REFERRER, referrer))
    }
    if purses[Side.REFERRER].wallet.frozen == Frozen.ERASED:
        del purses[Side.REFERRER]
    is_capped = False
    if policy.max_per_referrer:
        friends = known.rewarded.get((program.program_id, referrer))
        if friends is None:
            raise errors.Interrupted  # nobody knew this referrer: sent again, the call counts
        is_capped = friends >= policy.max_per_referrer
    return referrals.reward(decided, claimed, policy, purses, made, is_capped=is_capped)


def taken_back(
    world: World,
    program: Program,
    command: ReverseActivity,
    decided: Decision[Changes, _A],
    now: datetime,
) -> Decision[Changes, _A]:
    """A decided reversal; with it goes what the activity brought both sides, once it is whole."""
    known, after = world.referrals, decided.state.reversed_activity
    if known is None or after is None or not referrals.is_returned(after):
        return decided
    given = known.by_activity(program.program_id, command.activity_id)
    if given is None or given.state is ReferralState.REVERSED:
        return decided
    bookings = known.bookings.get((given.program_id, given.referral_id), [])
    purses = {
        side: _purse(world, program, world.owner(given.program_id, key), given.currency_id)
        for side, key in ((Side.FRIEND, given.friend_key), (Side.REFERRER, given.referrer_key))
    }
    own_lots = {side: _own_lots(world, known, bookings, side, purses[side]) for side in purses}
    return referrals.take_back(
        decided, given, purses, own_lots, bookings, program.reversal_policy, now
    )


def _own_lots(
    world: World, known: Referrals, bookings: Iterable[Booking], side: Side, purse: Purse
) -> frozenset[int]:
    """The lots of a purse in which a side's reward is, as stored or as this batch moved it."""
    found: set[Piece] = set()
    for each in bookings:
        if each.side is side and each.type is EntryType.REFERRAL:
            lot = lot_of(each)
            found |= known.pieces.get(lot, {lot})
    pieces.follow(found, world.entries)
    wallet = purse.wallet
    return pieces.within(found, wallet.program_id, wallet.member_key, wallet.currency_id)


def _purse(world: World, program: Program, member: MemberKey, currency_id: CurrencyId) -> Purse:
    key = (program.program_id, member, currency_id)
    return Purse(
        wallet=world.opened(key),
        lots=world.lots.get(key, decisions.NO_LOTS),
        policy=decisions.policy_of(program, currency_id),
    )
