"""Values and decisions of redemption.

A redemption goes PENDING → COMPLETED or FAILED; a completed one may be cancelled within its window.
What has to be called in between (hold the points, capture them, give them back) is an intention;
each answer of earning comes back as a command. Stock is what a shelf holds; a member's limit is a
set of numbered slots, each taken by at most one redemption.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import NewType

from services.redemption import refusals
from shared import errors
from shared.decision import Decision, Intention

ProgramId = NewType("ProgramId", str)
MemberKey = NewType("MemberKey", str)
RewardId = NewType("RewardId", str)
RedemptionId = NewType("RedemptionId", str)

REDEEM = "redeem"
"""Kind of the intention that drives a pending redemption to its end."""
CANCEL = "cancel"
"""Kind of the intention that gives the points of a cancelled redemption back."""


# Values ------------------------------------------------------------------------------------------


class RewardKind(Enum):
    """What is handed out."""

    VOUCHER = "voucher"
    PRODUCT = "product"


@dataclass(frozen=True, slots=True, kw_only=True)
class TierGate:
    """The levels of a ladder that may redeem."""

    ladder_id: str
    level_ids: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """A reward of the catalogue; `None` means without limit, or always."""

    reward_id: RewardId
    kind: RewardKind
    price_points: int
    currency_id: str
    stock_total: int | None
    member_limit: int | None
    tier_gate: TierGate | None
    redeemable_from: datetime | None
    redeemable_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """One compiled version of a program's rewards."""

    program_id: ProgramId
    version: int
    cancel_window: timedelta
    rewards: Mapping[str, Reward]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The stock of one reward: how many there are, and how many are reserved or gone."""

    program_id: ProgramId
    reward_id: RewardId
    stock_total: int | None
    taken: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left."""
        return self.stock_total is not None and self.taken >= self.stock_total

    @property
    def left(self) -> int | None:
        """How many are left; None without a limit."""
        return None if self.stock_total is None else self.stock_total - self.taken


class State(Enum):
    """The states of a redemption."""

    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Redemption:
    """One attempt of one member to have one reward.

    `slot` is the member's numbered slot (from 1; 0: the reward has no limit per member); `refusal`
    is what the caller is told again about a failed attempt (`errors.dump`), empty otherwise.
    With `from_household` the points are those of all members of the member's household.
    """

    program_id: ProgramId
    redemption_id: RedemptionId
    member_key: MemberKey
    reward_id: RewardId
    kind: RewardKind
    points: int
    currency_id: str
    state: State
    failure_reason: str
    refusal: str
    slot: int
    hold_id: str
    voucher_hint: str
    program_version: int
    create_time: datetime
    update_time: datetime
    from_household: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher:
    """An issued code as it is stored: its hash, and the last characters, for people."""

    code_hash: str
    hint: str


# Events ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RedemptionChanged:
    """A redemption was asked for, completed, refused or cancelled."""

    redemption: Redemption


# Decisions ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a decision to redeem looks at, and what it changes.

    `level_id` is the member's level in the reward's ladder now ("" when it has none); `slots` are
    the numbers of the member's slots that are taken; `redemption` is the attempt, once there is
    one.
    """

    shelf: Shelf
    slots: frozenset[int]
    level_id: str = ""
    redemption: Redemption | None = None


def redeem(
    attempt: Attempt,
    reward: Reward,
    *,
    redemption_id: RedemptionId,
    member_key: MemberKey,
    program_version: int,
    now: datetime,
    from_household: bool = False,
) -> Decision[Attempt, Redemption]:
    """Reserve stock and a slot, and intend the rest.

    A refused attempt is kept as failed with its reason.
    """
    asked = Redemption(
        program_id=attempt.shelf.program_id,
        redemption_id=redemption_id,
        member_key=member_key,
        reward_id=reward.reward_id,
        kind=reward.kind,
        points=reward.price_points,
        currency_id=reward.currency_id,
        state=State.PENDING,
        failure_reason="",
        refusal="",
        slot=0,
        hold_id="",
        voucher_hint="",
        program_version=program_version,
        create_time=now,
        update_time=now,
        from_household=from_household,
    )
    refusal = _refusal(attempt, reward, now)
    if refusal is not None:
        failed = _failed(asked, refusal, now)
        return Decision(
            state=replace(attempt, redemption=failed),
            answer=failed,
            events=(RedemptionChanged(redemption=failed),),
        )
    slot = 0
    if reward.member_limit is not None:
        slot = next(n for n in range(1, reward.member_limit + 1) if n not in attempt.slots)
    pending = replace(asked, slot=slot)
    return Decision(
        state=replace(
            attempt,
            shelf=replace(attempt.shelf, taken=attempt.shelf.taken + 1),
            slots=attempt.slots | {slot} if slot else attempt.slots,
            redemption=pending,
        ),
        answer=pending,
        events=(RedemptionChanged(redemption=pending),),
        intentions=(_intention(pending, REDEEM),),
    )


def _refusal(attempt: Attempt, reward: Reward, now: datetime) -> errors.Refusal | None:
    """Why a reward cannot be redeemed now, in the order of the API; None when it can."""
    begins, ends = reward.redeemable_from, reward.redeemable_until
    if (begins is not None and now < begins) or (ends is not None and now >= ends):
        return refusals.RewardNotRedeemable(
            reward_id=reward.reward_id, redeemable_from=begins, redeemable_until=ends
        )
    gate = reward.tier_gate
    if gate is not None and attempt.level_id not in gate.level_ids:
        return refusals.TierNotEligible(
            reward_id=reward.reward_id,
            ladder_id=gate.ladder_id,
            level_id=attempt.level_id or "without a level",
            level_ids=", ".join(sorted(gate.level_ids)),
        )
    limit = reward.member_limit
    if limit is not None and all(number in attempt.slots for number in range(1, limit + 1)):
        return refusals.MemberLimitReached(reward_id=reward.reward_id, member_limit=limit)
    if attempt.shelf.is_empty:
        return refusals.SoldOut(
            reward_id=reward.reward_id, stock_total=attempt.shelf.stock_total or 0
        )
    return None


def issue(
    attempt: Attempt, hold_id: str, voucher: Voucher | None, now: datetime
) -> Decision[Attempt, Redemption]:
    """Note the hold and the issued voucher; a redemption that has them already stays as it is."""
    present = _present(attempt)
    if present.state is not State.PENDING or present.hold_id:
        return Decision(state=attempt, answer=present)
    issued = replace(
        present,
        hold_id=hold_id,
        voucher_hint=voucher.hint if voucher else "",
        update_time=now,
    )
    return Decision(state=replace(attempt, redemption=issued), answer=issued)


def complete(attempt: Attempt, now: datetime) -> Decision[Attempt, Redemption]:
    """The points are captured: the reward is the member's."""
    present = _present(attempt)
    if present.state is not State.PENDING:
        return Decision(state=attempt, answer=present, closes=(intention_id(present, REDEEM),))
    completed = replace(present, state=State.COMPLETED, update_time=now)
    return Decision(
        state=replace(attempt, redemption=completed),
        answer=completed,
        events=(RedemptionChanged(redemption=completed),),
        closes=(intention_id(completed, REDEEM),),
    )


def fail(attempt: Attempt, refusal: errors.Refusal, now: datetime) -> Decision[Attempt, Redemption]:
    """Earning refused: stock and slot go back, the attempt is kept with its reason."""
    present = _present(attempt)
    closes = (intention_id(present, REDEEM),)
    if present.state is not State.PENDING:
        return Decision(state=attempt, answer=present, closes=closes)
    failed = _failed(present, refusal, now)
    return Decision(
        state=_given_back(attempt, failed),
        answer=failed,
        events=(RedemptionChanged(redemption=failed),),
        closes=closes,
    )


def cancel(
    attempt: Attempt, cancel_window: timedelta, now: datetime
) -> Decision[Attempt, Redemption]:
    """Intend to give the points back; stock and slot follow when they are back."""
    present = _present(attempt)
    if present.state is not State.COMPLETED:
        raise refusals.RedemptionNotCompleted(
            redemption_id=present.redemption_id, state=present.state.value
        )
    cancellable_until = present.update_time + cancel_window
    if now >= cancellable_until:
        raise refusals.CancelWindowClosed(
            redemption_id=present.redemption_id, cancellable_until=cancellable_until
        )
    cancelling = replace(present, state=State.CANCELLING, update_time=now)
    return Decision(
        state=replace(attempt, redemption=cancelling),
        answer=cancelling,
        events=(RedemptionChanged(redemption=cancelling),),
        intentions=(_intention(cancelling, CANCEL),),
    )


def finish_cancel(attempt: Attempt, now: datetime) -> Decision[Attempt, Redemption]:
    """The points are back in their lots: stock and slot go back as well, the code never."""
    present = _present(attempt)
    closes = (intention_id(present, CANCEL),)
    if present.state is not State.CANCELLING:
        return Decision(state=attempt, answer=present, closes=closes)
    cancelled = replace(present, state=State.CANCELLED, update_time=now)
    return Decision(
        state=_given_back(attempt, cancelled),
        answer=cancelled,
        events=(RedemptionChanged(redemption=cancelled),),
        closes=closes,
    )


def intention_id(redemption: Redemption, kind: str) -> str:
    """The identifier of a redemption's intention."""
    return f"{kind}:{redemption.redemption_id}"


def _intention(redemption: Redemption, kind: str) -> Intention:
    return Intention(
        intention_id=intention_id(redemption, kind),
        kind=kind,
        payload=json.dumps({"redemption_id": redemption.redemption_id}),
        program_id=redemption.program_id,
        member_key=redemption.member_key,
    )


def _failed(redemption: Redemption, refusal: errors.Refusal, now: datetime) -> Redemption:
    return replace(
        redemption,
        state=State.FAILED,
        failure_reason=refusal.reason,
        refusal=errors.dump(refusal),
        update_time=now,
    )


def _given_back(attempt: Attempt, redemption: Redemption) -> Attempt:
    """The attempt with stock and slot back; the redemption keeps its slot's number as history."""
    return replace(
        attempt,
        shelf=replace(attempt.shelf, taken=attempt.shelf.taken - 1),
        slots=attempt.slots - {redemption.slot},
        redemption=redemption,
    )


def _present(attempt: Attempt) -> Redemption:
    if attempt.redemption is None:
        raise ValueError("the attempt was loaded without its redemption")
    return attempt.redemption
