"""Referrals: pure decisions about claims, rewards, and rewards that are taken back.

A friend claims once, before anything of it that qualifies. The rewards are part of the decision of
its first activity that qualifies, and are taken back as part of the decision of the reversal that
completes that activity's return: neither can be without the other, nor twice.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias, TypeVar
from zoneinfo import ZoneInfo

from services.earning import ledger
from services.earning.commands_referrals import ClaimReferral
from services.earning.decisions import Changes
from services.earning.domain import (
    EARNED_MAX,
    ActivityRecord,
    EntryType,
    Lot,
    MemberKey,
    ReversalPolicy,
    ReversalWay,
    Wallet,
)
from services.earning.events import PointsCredited
from services.earning.further import Purse
from services.earning.ledger import Cause
from services.earning.matching import Scene
from services.earning.referral_records import (
    REASON,
    Booking,
    Referral,
    ReferralChanged,
    ReferralId,
    ReferralState,
    Referred,
    Side,
)
from services.earning.refusals_referrals import (
    AlreadyReferred,
    NotANewcomer,
    ReferralCycle,
    SelfReferral,
)
from services.earning.rules import Deed, Facts, ReferralPolicy
from services.earning.settlement import clock_events, settled
from shared.decision import Decision, Event

ABOVE_MAX = 1_000
"""How far the chain above a member is followed; nobody comes by a code below a longer one."""
DEEDS_MAX = 100
"""How many earlier activities of qualifying types a newcomer may have that do not qualify."""

_A = TypeVar("_A")
Sides: TypeAlias = Mapping[Side, Purse]


def qualifies(policy: ReferralPolicy, deed: Deed, zone: ZoneInfo) -> bool:
    """Whether an activity qualifies: by its type, and the condition holds; one that fails fails."""
    if policy.activity_types and deed.type not in policy.activity_types:
        return False
    return policy.condition is None or not policy.condition(Scene(deed, Facts(), zone))


def above(referrers: Mapping[MemberKey, MemberKey], member: MemberKey) -> list[MemberKey]:
    """A member and whoever brought it, and so on up; at most `ABOVE_MAX` + 1."""
    chain = [member]
    seen = {member}
    while (up := referrers.get(chain[-1])) is not None and len(chain) <= ABOVE_MAX:
        if up in seen:
            break  # members that were merged may have closed a circle
        chain.append(up)
        seen.add(up)
    return chain


def claim(
    command: ClaimReferral,
    friend: MemberKey,
    chain: Sequence[MemberKey],
    *,
    is_referred: bool,
    has_qualified: bool,
    now: datetime,
) -> Decision[Changes, Referral]:
    """Note a claim; `chain` is the owner of the code and who is `above` it.

    Refuses AlreadyReferred, SelfReferral, ReferralCycle, NotANewcomer.
    """
    if is_referred:
        raise AlreadyReferred(member_id=command.member_id)
    if friend == chain[0]:
        raise SelfReferral(member_id=command.member_id)
    if friend in chain or len(chain) > ABOVE_MAX:
        raise ReferralCycle(member_id=command.member_id, limit=ABOVE_MAX)
    if has_qualified:
        raise NotANewcomer(member_id=command.member_id)
    claimed = Referral(
        program_id=command.program_id,
        referral_id=ReferralId(command.unique),
        friend_key=friend,
        referrer_key=chain[0],
        state=ReferralState.CLAIMED,
        claim_time=now,
    )
    return Decision(
        state=Changes(referred=Referred(referral=claimed)), answer=claimed, events=_told(claimed)
    )


def reward(
    decided: Decision[Changes, _A],
    claimed: Referral,
    policy: ReferralPolicy,
    purses: Sides,
    made: ActivityRecord,
    *,
    is_capped: bool,
) -> Decision[Changes, _A]:
    """A decided activity that qualifies, with the rewards of both sides.

    Purses are those of the policy's currency before the activity; there is none of a side that is
    gone. Whoever could not have more points gets none: no reward refuses the activity.
    """
    wanted = {Side.FRIEND: policy.friend_points, Side.REFERRER: policy.referrer_points}
    if is_capped:
        wanted[Side.REFERRER] = 0
    cause = Cause(
        now=made.create_time,
        occurred_time=made.occurred_time,
        reference=claimed.referral_id,
        reason=REASON,
    )
    going = _Going.of(decided)
    given = dict.fromkeys(Side, 0)
    for side, purse in purses.items():
        points = wanted[side]
        current = going.purse(purse)
        if not points or current.wallet.earned + points > EARNED_MAX:
            continue
        books, told = settled(current.wallet, current.lots, current.policy, made.create_time)
        entry = books.book(
            ledger.credit(books.wallet, points, EntryType.REFERRAL, cause, current.policy)
        )
        going.take(
            Changes(movements=tuple(books.movements), wallets=books.rewritten),
            [*told, *clock_events(books), _credited(claimed, books.wallet, points)],
        )
        given[side] = points
        going.bookings.append(_booking(claimed, side, entry.type, books.wallet, points))
    rewarded = replace(
        claimed,
        state=ReferralState.CAPPED if is_capped else ReferralState.REWARDED,
        currency_id=policy.currency_id,
        friend_points=given[Side.FRIEND],
        referrer_points=given[Side.REFERRER],
        activity_id=made.activity_id,
        reward_time=made.create_time,
    )
    return going.done(decided, rewarded)


def is_returned(record: ActivityRecord) -> bool:
    """Whether all of an activity was reversed."""
    match record.reversal_way:
        case ReversalWay.NONE:
            return False
        case ReversalWay.LINES:
            return all(line.quantity_returned == line.quantity for line in record.lines)
        case ReversalWay.AMOUNT:
            return record.amount_reversed == record.amount


def take_back(
    decided: Decision[Changes, _A],
    rewarded: Referral,
    purses: Sides,
    own_lots: Mapping[Side, Collection[int]],
    bookings: Iterable[Booking],
    policy: ReversalPolicy,
    now: datetime,
) -> Decision[Changes, _A]:
    """A decided reversal that completes a return, with what both sides got taken back.

    Purses are those of the referral's currency before the reversal, of whoever has the points now;
    `own_lots` are the lots in them that have what is left of the rewards.
    """
    given = {each.side: each for each in bookings if each.type is EntryType.REFERRAL}
    cause = Cause(now=now, occurred_time=now, reference=rewarded.referral_id, reason=REASON)
    going = _Going.of(decided)
    taken = dict.fromkeys(Side, 0)
    for side, booking in given.items():
        current = going.purse(purses[side])
        books, told = settled(current.wallet, current.lots, current.policy, now)
        movement = ledger.take_back(
            books.wallet, books.lots, own_lots[side], booking.points, policy, cause
        )
        if movement is not None:
            taken[side] = books.book(movement).program_delta
            going.bookings.append(
                _booking(rewarded, side, EntryType.REVERSE, books.wallet, taken[side])
            )
        going.take(
            Changes(movements=tuple(books.movements), wallets=books.rewritten),
            [*told, *clock_events(books)],
        )
    reversed_ = replace(
        rewarded,
        state=ReferralState.REVERSED,
        friend_points_reversed=taken[Side.FRIEND],
        referrer_points_reversed=taken[Side.REFERRER],
        reverse_time=now,
    )
    return going.done(decided, reversed_)


@dataclass(slots=True, kw_only=True)
class _Going:
    """A decision that is being added to: its wallets may move again."""

    state: Changes
    events: list[Event]
    bookings: list[Booking]

    @classmethod
    def of(cls, decided: Decision[Changes, _A]) -> "_Going":
        return cls(state=decided.state, events=[], bookings=[])

    def purse(self, before: Purse) -> Purse:
        """A purse as the decision leaves it so far."""
        wallet, lots = before.wallet, dict[int, Lot](before.lots)
        for movement in self.state.movements:
            if _key(movement.wallet) == _key(wallet):
                wallet = movement.wallet
                lots |= {lot.lot_sequence: lot for lot in movement.changed}
                if movement.made is not None:
                    lots[movement.made.lot_sequence] = movement.made
        for written in self.state.wallets:
            if _key(written) == _key(wallet):
                wallet = written
        return replace(before, wallet=wallet, lots=lots)

    def take(self, more: Changes, events: Iterable[Event]) -> None:
        """Go on; wallets are written after movements, so those that moved again are left out."""
        moved = {_key(each.wallet) for each in more.movements}
        kept = [each for each in self.state.wallets if _key(each) not in moved]
        self.state = replace(
            self.state,
            movements=(*self.state.movements, *more.movements),
            wallets=(*kept, *more.wallets),
        )
        self.events += events

    def done(self, decided: Decision[Changes, _A], referral: Referral) -> Decision[Changes, _A]:
        referred = Referred(referral=referral, bookings=tuple(self.bookings))
        return replace(
            decided,
            state=replace(self.state, referred=referred),
            events=(*decided.events, *self.events, *_told(referral)),
        )


def _key(wallet: Wallet) -> tuple[str, str]:
    return wallet.member_key, wallet.currency_id


def _booking(
    referral: Referral, side: Side, type_: EntryType, wallet: Wallet, points: int
) -> Booking:
    return Booking(
        program_id=referral.program_id,
        referral_id=referral.referral_id,
        side=side,
        type=type_,
        member_key=wallet.member_key,
        currency_id=wallet.currency_id,
        sequence=wallet.sequence,
        points=points,
    )


def _credited(referral: Referral, wallet: Wallet, points: int) -> PointsCredited:
    return PointsCredited(
        program_id=wallet.program_id,
        member_key=wallet.member_key,
        currency_id=wallet.currency_id,
        points=points,
        reason=REASON,
        request_id=referral.referral_id,
    )


def _told(referral: Referral) -> tuple[ReferralChanged, ...]:
    return tuple([ReferralChanged(referral=referral, side=side) for side in Side])
