"""Refusals of redemption, in the order in which a caller should fix them."""

from dataclasses import dataclass
from datetime import datetime

from shared import errors


@dataclass(eq=False, repr=False, kw_only=True)
class RewardNotFound(errors.NotFound):
    """The catalogue has no such reward."""

    message = "program {program_id} has no reward {reward_id}"
    program_id: str
    reward_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class RedemptionNotFound(errors.NotFound):
    """There is no such redemption."""

    message = "program {program_id} has no redemption {redemption_id}"
    program_id: str
    redemption_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class RewardAlreadyExists(errors.AlreadyExists):
    """The catalogue has a reward of this identifier already."""

    message = "reward {reward_id} is in the catalogue already; use UpdateReward"
    reward_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class FieldNotChangeable(errors.InvalidArgument):
    """The mask names a field that no update changes."""

    message = "field {field_name} of a reward cannot be changed; changeable are {changeable}"
    field_name: str
    changeable: str


@dataclass(eq=False, repr=False, kw_only=True)
class RewardNotRedeemable(errors.FailedPrecondition):
    """The reward's time has not come, or is over."""

    message = "reward {reward_id} can be redeemed from {redeemable_from} until {redeemable_until}"
    reward_id: str
    redeemable_from: datetime | None
    redeemable_until: datetime | None


@dataclass(eq=False, repr=False, kw_only=True)
class TierNotEligible(errors.FailedPrecondition):
    """The member's level may not redeem."""

    message = (
        "reward {reward_id} is for {level_ids} of ladder {ladder_id}, the member is {level_id}"
    )
    reward_id: str
    ladder_id: str
    level_id: str
    level_ids: str


@dataclass(eq=False, repr=False, kw_only=True)
class MemberLimitReached(errors.FailedPrecondition):
    """The member has had as many as one may."""

    message = "a member may have reward {reward_id} {member_limit} times"
    reward_id: str
    member_limit: int


@dataclass(eq=False, repr=False, kw_only=True)
class SoldOut(errors.FailedPrecondition):
    """Nothing is left."""

    message = "all {stock_total} of reward {reward_id} are gone"
    reward_id: str
    stock_total: int


@dataclass(eq=False, repr=False, kw_only=True)
class InsufficientPoints(errors.FailedPrecondition):
    """The member cannot afford it."""

    message = "needs {points_needed} points, {points_available} available"
    points_needed: int
    points_available: int


@dataclass(eq=False, repr=False, kw_only=True)
class HoldLost(errors.FailedPrecondition):
    """The held points went back before they were captured; a new attempt may succeed."""

    message = "the hold of redemption {redemption_id} ended before it was captured; redeem again"
    redemption_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class PointsRefused(errors.FailedPrecondition):
    """Earning refused to hold the points for a reason of its own."""

    message = "earning refused to hold the points: {earning_reason}"
    earning_reason: str


@dataclass(eq=False, repr=False, kw_only=True)
class StockBelowSold(errors.FailedPrecondition):
    """The new stock is less than what is reserved or gone."""

    message = (
        "{taken} of reward {reward_id} are reserved or gone: the stock cannot be {stock_total}"
    )
    reward_id: str
    stock_total: int
    taken: int


@dataclass(eq=False, repr=False, kw_only=True)
class RedemptionNotCompleted(errors.FailedPrecondition):
    """Only a completed redemption can be cancelled."""

    message = "redemption {redemption_id} is {state}, not completed"
    redemption_id: str
    state: str


@dataclass(eq=False, repr=False, kw_only=True)
class CancelWindowClosed(errors.FailedPrecondition):
    """The time for cancelling is over."""

    message = "redemption {redemption_id} could be cancelled until {cancellable_until}"
    redemption_id: str
    cancellable_until: datetime


@dataclass(eq=False, repr=False, kw_only=True)
class InvalidProgram(errors.FieldViolations):
    """The document means nothing; the violations name each field."""
