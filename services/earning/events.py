"""What earning answers and publishes, as far as it is no value of the domain already."""

from datetime import datetime

from services.earning.domain import (
    ActivityId,
    ActivityRecord,
    CurrencyId,
    FurtherEarning,
    Hold,
    MemberId,
    MemberKey,
    ProgramId,
    Reversal,
)
from services.earning.member_records import MemberRecord
from shared.values import value

# Answers that are not values of the domain already -----------------------------------------------


@value
class Recorded:
    """The record of an activity as it was made; the request has the rest of it.

    `further` are the earnings of further currencies, in a preview also those without points.
    """

    create_time: datetime
    currency_id: CurrencyId
    points: int
    explanation: str
    further: tuple[FurtherEarning, ...] = ()
    available_time: datetime | None = None


@value
class Done:
    """Nothing to tell."""


# Events ------------------------------------------------------------------------------------------


@value
class MemberEnrolled:
    """A member joined the program."""

    program_id: ProgramId
    member_key: MemberKey
    member_id: MemberId
    enroll_time: datetime


@value
class MemberChanged:
    """A member's identifiers or state changed; what is told of it stays here."""

    member: MemberRecord


@value
class ActivityRecorded:
    """An activity was recorded and its points were booked."""

    record: ActivityRecord


@value
class ActivityReversed:
    """An activity was reversed in whole or in part."""

    reversal: Reversal
    activity_type: str
    activity_occurred_time: datetime


@value
class PointsCredited:
    """Points were credited by another service."""

    program_id: ProgramId
    member_key: MemberKey
    currency_id: CurrencyId
    points: int
    reason: str
    request_id: str


@value
class HoldChanged:
    """A hold was placed, captured, voided, refunded, or it expired."""

    hold: Hold


@value
class PointsActivated:
    """Pending points of an activity became available."""

    program_id: ProgramId
    member_key: MemberKey
    currency_id: CurrencyId
    points: int
    activity_id: ActivityId
    available_time: datetime


@value
class PointsExpiring:
    """Points will end in `days` days."""

    program_id: ProgramId
    member_key: MemberKey
    currency_id: CurrencyId
    points: int
    expire_time: datetime
    days: int


@value
class PointsExpired:
    """Points came to their end."""

    program_id: ProgramId
    member_key: MemberKey
    currency_id: CurrencyId
    points: int
    expire_time: datetime
