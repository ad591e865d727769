"""What is refused of points that are moved by hand."""

from dataclasses import dataclass
from datetime import datetime

from shared import errors


@dataclass(eq=False, repr=False, kw_only=True)
class AdjustmentNotFound(errors.NotFound):
    """No adjustment of the program has this identifier."""

    message = "no adjustment {adjustment_id}"
    adjustment_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class AdjustmentClosed(errors.FailedPrecondition):
    """The adjustment has come to its end."""

    message = "adjustment {adjustment_id} is {state}"
    adjustment_id: str
    state: str


@dataclass(eq=False, repr=False, kw_only=True)
class SameActor(errors.FailedPrecondition):
    """Whoever asked for an adjustment does not approve it."""

    message = "{actor} asked for the adjustment, and another actor has to approve it"
    actor: str


@dataclass(eq=False, repr=False, kw_only=True)
class LotNotFound(errors.NotFound):
    """The wallet has no such lot, or nothing is left in it to be extended."""

    message = "the wallet has no lot {lot_sequence} with points left"
    lot_sequence: int


@dataclass(eq=False, repr=False, kw_only=True)
class ExpiryNotLater(errors.FailedPrecondition):
    """Points would not end later than they do, or than now."""

    message = "expire_time {expire_time} is not later than {later_than}"
    expire_time: datetime
    later_than: str


@dataclass(eq=False, repr=False, kw_only=True)
class ReinstateExceedsExpired(errors.FailedPrecondition):
    """More points than have ended of the lot and not come back yet."""

    message = "{points_expired} points of the lot have ended, not {points}"
    points: int
    points_expired: int


@dataclass(eq=False, repr=False, kw_only=True)
class ConversionNotOffered(errors.FailedPrecondition):
    """The program turns no points of the one currency into points of the other."""

    message = "points of currency {from_currency_id} are not converted to {to_currency_id}"
    from_currency_id: str
    to_currency_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class BelowConversionMinimum(errors.FailedPrecondition):
    """Fewer points than the program converts at once."""

    message = "at least {points_min} points are converted at once, not {points}"
    points: int
    points_min: int


@dataclass(eq=False, repr=False, kw_only=True)
class ConversionNotWhole(errors.FailedPrecondition):
    """The points would not come out whole, and no part of a point is lost."""

    message = "points are converted in multiples of {points_multiple}, and {points} is none"
    points: int
    points_multiple: int


@dataclass(eq=False, repr=False, kw_only=True)
class EntryNotFound(errors.NotFound):
    """The wallet has no entry of this number, or the activity has none."""

    message = "there is no entry {sequence}"
    sequence: int
