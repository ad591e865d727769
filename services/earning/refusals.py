"""What earning refuses, in the order in which it is checked: existence, state, balance."""

from dataclasses import dataclass
from datetime import datetime

from shared import errors


@dataclass(eq=False, repr=False, kw_only=True)
class MemberAlreadyExists(errors.AlreadyExists):
    """The identifier belongs to a member already."""

    message = "member {member_id} exists already"
    member_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class CurrencyNotFound(errors.NotFound):
    """The program has no such points currency."""

    message = "the program has no points currency {currency_id}"
    currency_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class ActivityNotFound(errors.NotFound):
    """No activity of the program has this identifier."""

    message = "no activity {activity_id}"
    activity_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class HoldNotFound(errors.NotFound):
    """No hold of the program has this identifier."""

    message = "no hold {hold_id}"
    hold_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class CurrencyNotAccepted(errors.FailedPrecondition):
    """The activity was paid in money that the program has no rate for."""

    message = "payments in {currency_code} are not accepted, only in {accepted_currency_code}"
    currency_code: str
    accepted_currency_code: str


@dataclass(eq=False, repr=False, kw_only=True)
class OccurredTimeNotAccepted(errors.OutOfRange):
    """The activity occurred outside the window in which the program accepts it."""

    message = "occurred_time {occurred_time} is not between {earliest_time} and {latest_time}"
    occurred_time: datetime
    earliest_time: datetime
    latest_time: datetime


@dataclass(eq=False, repr=False, kw_only=True)
class MonthNotBegun(errors.OutOfRange):
    """A statement is asked for of a month that is still to come."""

    message = "month {month} begins at {begin_time}: ask for one that has begun"
    month: str
    begin_time: datetime


@dataclass(eq=False, repr=False, kw_only=True)
class ExternalReferenceReused(errors.AlreadyExists):
    """The receipt was credited before, under another activity."""

    message = "{external_reference} of {source} was recorded before"
    source: str
    external_reference: str


@dataclass(eq=False, repr=False, kw_only=True)
class LineNotFound(errors.NotFound):
    """The activity has no line of this number."""

    message = "the activity has {line_count} lines, not a line {line_number}"
    line_number: int
    line_count: int


@dataclass(eq=False, repr=False, kw_only=True)
class ReversalWayChanged(errors.FailedPrecondition):
    """One activity is reversed by lines or by amount, not both ways."""

    message = "the activity has been reversed by {way}"
    way: str


@dataclass(eq=False, repr=False, kw_only=True)
class NothingLeftToReverse(errors.FailedPrecondition):
    """Everything of the activity has been reversed already."""

    message = "everything of activity {activity_id} has been reversed"
    activity_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class ActivityNotPending(errors.FailedPrecondition):
    """No points of the activity wait to become available."""

    message = "no points of activity {activity_id} are pending"
    activity_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class QuantityNotReturnable(errors.FailedPrecondition):
    """More units of a line than have not been returned yet."""

    message = "line {line_number} has {quantity_returnable} units left to return, not {quantity}"
    line_number: int
    quantity: int
    quantity_returnable: int


@dataclass(eq=False, repr=False, kw_only=True)
class AmountNotReturnable(errors.FailedPrecondition):
    """More money than has not been given back yet."""

    message = "{amount_minor_returnable} are left to give back, not {amount_minor}"
    amount_minor: int
    amount_minor_returnable: int


@dataclass(eq=False, repr=False, kw_only=True)
class HoldClosed(errors.FailedPrecondition):
    """The hold has come to its end."""

    message = "hold {hold_id} is {state}"
    hold_id: str
    state: str


@dataclass(eq=False, repr=False, kw_only=True)
class HoldNotCaptured(errors.FailedPrecondition):
    """Only what was captured can be refunded."""

    message = "hold {hold_id} is {state}, not captured"
    hold_id: str
    state: str


@dataclass(eq=False, repr=False, kw_only=True)
class HoldOfAnotherMember(errors.FailedPrecondition):
    """The hold that is said to have paid is of another member's points."""

    message = "hold {hold_id} is of another member's points"
    hold_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class HoldUsed(errors.AlreadyExists):
    """The hold paid for another activity."""

    message = "hold {hold_id} paid for activity {activity_id}"
    hold_id: str
    activity_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class CaptureExceedsHold(errors.FailedPrecondition):
    """More points than the hold set aside."""

    message = "the hold is of {points_held} points, not {points}"
    points: int
    points_held: int


@dataclass(eq=False, repr=False, kw_only=True)
class RefundExceedsCapture(errors.FailedPrecondition):
    """More points than were captured and not refunded yet."""

    message = "{points_refundable} points can be refunded, not {points}"
    points: int
    points_refundable: int


@dataclass(eq=False, repr=False, kw_only=True)
class InsufficientPoints(errors.FailedPrecondition):
    """The wallet has fewer points than are asked for."""

    message = "needs {points_needed} points, {points_available} available"
    points_needed: int
    points_available: int


@dataclass(eq=False, repr=False, kw_only=True)
class CurrencyNotSpendable(errors.FailedPrecondition):
    """Points of this currency only count; they can be neither held nor spent."""

    message = "points of currency {currency_id} cannot be spent"
    currency_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class CapExceeded(errors.FailedPrecondition):
    """A cap that refuses has too few points left in its period."""

    message = "cap {cap_id} has {points_left} points left, {points_wanted} are wanted"
    cap_id: str
    points_left: int
    points_wanted: int


@dataclass(eq=False, repr=False, kw_only=True)
class PointsOutOfRange(errors.OutOfRange):
    """The points, or what a wallet ever earned with them, would be more than can be held."""

    message = "the limit of {what} is {limit}"
    what: str
    limit: int


@dataclass(eq=False, repr=False, kw_only=True)
class MemberFrozen(errors.FailedPrecondition):
    """The member is frozen: nothing is earned, credited, held or merged."""

    message = "member {member_id} is frozen"
    member_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class IdentifierTaken(errors.AlreadyExists):
    """The identifier names another member."""

    message = "{identifier} names another member"
    identifier: str


@dataclass(eq=False, repr=False, kw_only=True)
class IdentifierNotFound(errors.NotFound):
    """The member has no such identifier."""

    message = "the member has no identifier {identifier}"
    identifier: str


@dataclass(eq=False, repr=False, kw_only=True)
class LastIdentifier(errors.FailedPrecondition):
    """Nothing would name the member without this identifier."""

    message = "{identifier} is the only identifier of the member"
    identifier: str


@dataclass(eq=False, repr=False, kw_only=True)
class TooManyIdentifiers(errors.FailedPrecondition):
    """The member would have more identifiers than a member may have."""

    message = "a member has at most {limit} identifiers"
    limit: int


@dataclass(eq=False, repr=False, kw_only=True)
class HoldsOpen(errors.FailedPrecondition):
    """Points of the member that would end are held."""

    message = "{points_held} points of the member are held"
    points_held: int


@dataclass(eq=False, repr=False, kw_only=True)
class SameMember(errors.FailedPrecondition):
    """Both identifiers name one member."""

    message = "{member_id} names the same member"
    member_id: str
