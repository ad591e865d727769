"""Requests as commands, and events as the feed has them; nothing is decided here.

Digests are over what the caller sent, so a repeated key is recognized by its whole contents.
"""

from datetime import datetime, timedelta
from hashlib import sha256

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.earning.v1 import activity_pb2, events_pb2, member_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from services.earning import (
    answers,
    rules,
    wire_households,
    wire_members,
    wire_points,
    wire_referrals,
)
from services.earning.commands import (
    CaptureHold,
    CreditPoints,
    EnrollMember,
    HoldPoints,
    MemberName,
    RecordActivity,
    RefundCapture,
    ReverseActivity,
    VoidHold,
)
from services.earning.commands_ledger import ConfirmActivity
from services.earning.domain import (
    ActivityId,
    BoughtLine,
    CurrencyId,
    HoldId,
    MemberId,
    MemberKey,
    ProgramId,
    ReversalId,
)
from services.earning.events import (
    ActivityRecorded,
    ActivityReversed,
    HoldChanged,
    MemberChanged,
    MemberEnrolled,
    PointsActivated,
    PointsCredited,
    PointsExpired,
    PointsExpiring,
)
from services.earning.household_records import HouseholdMembershipChanged
from services.earning.ledger import EPOCH
from services.earning.member_records import MEMBER_ID
from services.earning.points_records import (
    AdjustmentChanged,
    PointsConverted,
    PointsExtended,
    PointsReinstated,
    PointsTransferred,
)
from services.earning.referral_records import ReferralChanged
from services.earning.reversals import Amount, Lines, ReturnedUnits, Whole
from shared import errors
from shared.decision import Event
from shared.errors import Violation
from shared.feed_log import FeedRecord

HOLD_DURATION = timedelta(minutes=15)

# Instants ----------------------------------------------------------------------------------------


def instant(stamp: Timestamp) -> datetime:
    """Aware UTC instant of a Timestamp, to the microsecond; the edge has checked its range."""
    return EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)


def digest(message: Message) -> str:
    """SHA-256 of a request's canonical contents, in hex."""
    return sha256(message.SerializeToString(deterministic=True)).hexdigest()


# Commands ----------------------------------------------------------------------------------------


def enroll_from_proto(request: pb.EnrollMemberRequest) -> EnrollMember:
    """Command of an EnrollMember call."""
    return EnrollMember(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        member_id=MemberId(request.member_id),
        profile=wire_members.profile_from_proto(request.profile, "profile"),
        digest=digest(request),
    )


def record_from_proto(
    program_id: str, activity: activity_pb2.Activity, path: str = "activity."
) -> RecordActivity:
    """Command of an activity; what is stored of it, and read by conditions, has no member_id.

    `path` is where the request has it.
    Refuses FieldViolations when more than the whole was paid in points: asking that of every
    payment by a rule in the proto costs a third of what all its other rules do.
    """
    view = activity_pb2.Activity()
    view.CopyFrom(activity)
    view.ClearField("member_id")
    content = view.SerializeToString(deterministic=True)
    member_id = activity.member_id
    has_payment = activity.HasField("payment")
    payment = activity.payment
    if payment.paid_in_points_minor > payment.amount_minor:
        violation = Violation(
            field=f"{path}payment.paid_in_points_minor",
            description=f"must be at most amount_minor, which is {payment.amount_minor}",
        )
        raise errors.FieldViolations(violations=(violation,))
    lines = view.lines
    return RecordActivity(
        program_id=ProgramId(program_id),
        activity_id=ActivityId(activity.activity_id),
        member_id=MemberId(member_id),
        type=activity.type,
        occurred_time=instant(activity.occurred_time),
        source=activity.source,
        external_reference=activity.external_reference,
        amount=payment.amount_minor if has_payment else None,
        currency_code=payment.currency_code if has_payment else "",
        paid_in_points=payment.paid_in_points_minor if has_payment else 0,
        points_hold_id=HoldId(payment.points_hold_id if has_payment else ""),
        lines=tuple(
            [BoughtLine(quantity=line.quantity, amount=line.amount_minor) for line in lines]
        ),
        content=content,
        digest=sha256(content + b"\0" + member_id.encode()).hexdigest(),
        view=view,
        line_views=lines,
    )


def reverse_from_proto(program_id: str, order: pb.ReversalOrder) -> ReverseActivity:
    """Command of a reversal order. Refuses FieldViolations for a line that is named twice."""
    return ReverseActivity(
        program_id=ProgramId(program_id),
        reversal_id=ReversalId(order.reversal_id),
        activity_id=ActivityId(order.activity_id),
        occurred_time=instant(order.occurred_time),
        scope=_scope(order),
        reason=order.reason,
        digest=digest(order),
    )


def _scope(order: pb.ReversalOrder) -> Whole | Lines | Amount:
    which = order.WhichOneof("scope")
    if which == "amount":
        return Amount(amount=order.amount.amount_minor)
    if which == "whole":
        return Whole()
    seen: set[int] = set()
    for at, line in enumerate(order.lines.lines):
        if line.line_number in seen:
            violation = Violation(
                field=f"order.lines.lines[{at}].line_number",
                description=f"line {line.line_number} is named twice",
            )
            raise errors.FieldViolations(violations=(violation,))
        seen.add(line.line_number)
    return Lines(
        lines=tuple(
            ReturnedUnits(line_number=line.line_number, quantity=line.quantity)
            for line in order.lines.lines
        )
    )


def credit_from_proto(request: pb.CreditPointsRequest) -> CreditPoints:
    """Command of a CreditPoints call."""
    occurred = None
    if request.HasField("occurred_time"):
        occurred = instant(request.occurred_time)
    return CreditPoints(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        member=_name(request),
        currency_id=CurrencyId(request.currency_id),
        points=request.points,
        occurred_time=occurred,
        reason=request.reason,
        digest=digest(request),
    )


def hold_from_proto(request: pb.HoldPointsRequest, unique: str) -> HoldPoints:
    """Command of a HoldPoints call; `unique` makes the identifier of the new hold."""
    duration = HOLD_DURATION
    if request.HasField("hold_duration"):
        duration = request.hold_duration.ToTimedelta()
    return HoldPoints(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        member=_name(request),
        currency_id=CurrencyId(request.currency_id),
        points=request.points,
        duration=duration,
        reference=request.reference,
        unique=unique,
        digest=digest(request),
        from_household=request.from_household,
    )


def confirm_from_proto(request: pb.ConfirmActivityRequest) -> ConfirmActivity:
    """Command of a ConfirmActivity call."""
    return ConfirmActivity(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        activity_id=ActivityId(request.activity_id),
        digest=digest(request),
    )


def _name(request: pb.HoldPointsRequest | pb.CreditPointsRequest) -> MemberName:
    return MemberName(
        member_id=MemberId(request.member_id), member_key=MemberKey(request.member_key)
    )


def capture_from_proto(request: pb.CaptureHoldRequest) -> CaptureHold:
    """Command of a CaptureHold call."""
    return CaptureHold(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        hold_id=HoldId(request.hold_id),
        points=request.points,
        digest=digest(request),
    )


def void_from_proto(request: pb.VoidHoldRequest) -> VoidHold:
    """Command of a VoidHold call."""
    return VoidHold(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        hold_id=HoldId(request.hold_id),
        digest=digest(request),
    )


def refund_from_proto(request: pb.RefundCaptureRequest) -> RefundCapture:
    """Command of a RefundCapture call."""
    return RefundCapture(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        hold_id=HoldId(request.hold_id),
        points=request.points,
        digest=digest(request),
    )


def deed_of(content: bytes) -> rules.Deed:
    """What rules look at, of a stored activity."""
    view = activity_pb2.Activity.FromString(content)
    lines = list(view.lines)
    return rules.Deed(
        type=view.type,
        amount=view.payment.amount_minor if view.HasField("payment") else None,
        lines=[BoughtLine(quantity=line.quantity, amount=line.amount_minor) for line in lines],
        view=view,
        line_views=lines,
        occurred_time=instant(view.occurred_time),
        source=view.source,
        currency_code=view.payment.currency_code,
        paid_in_points=view.payment.paid_in_points_minor,
    )


def line_items(content: bytes) -> tuple[bytes, ...]:
    """Serialized lines of a stored activity, in their order."""
    lines = activity_pb2.Activity.FromString(content).lines
    return tuple(line.SerializeToString(deterministic=True) for line in lines)


# Events ------------------------------------------------------------------------------------------


def event_to_feed(event: Event) -> FeedRecord:
    """The event as the feed keeps it. Raises TypeError for what is no event of earning."""
    match event:
        case ActivityRecorded(record=record):
            recorded = events_pb2.ActivityRecorded(
                member_key=record.member_key, record=answers.activity_to_proto(record)
            )
            return _fed(record.program_id, record.member_key, recorded)
        case ActivityReversed(reversal=reversal):
            reversed_ = events_pb2.ActivityReversed(
                member_key=reversal.member_key,
                reversal=answers.reversal_to_proto(reversal),
                activity_type=event.activity_type,
            )
            answers.stamped(reversed_.activity_occurred_time, event.activity_occurred_time)
            return _fed(reversal.program_id, reversal.member_key, reversed_)
        case MemberEnrolled():
            enrolled = events_pb2.MemberEnrolled(
                member_key=event.member_key,
                identifiers=[
                    member_pb2.MemberIdentifier(kind=MEMBER_ID, identifier=event.member_id)
                ],
            )
            answers.stamped(enrolled.enroll_time, event.enroll_time)
            answers.stamped(enrolled.identifiers[0].assign_time, event.enroll_time)
            return _fed(event.program_id, event.member_key, enrolled)
        case MemberChanged(member=member):
            changed_member = wire_members.changed_to_proto(member)
            return _fed(member.program_id, member.member_key, changed_member)
        case PointsCredited():
            credited = events_pb2.PointsCredited(
                member_key=event.member_key,
                points=event.points,
                currency_id=event.currency_id,
                reason=event.reason,
                request_id=event.request_id,
            )
            return _fed(event.program_id, event.member_key, credited)
        case PointsActivated() | PointsExpiring() | PointsExpired():
            return _fed(event.program_id, event.member_key, _of_clock(event))
        case HoldChanged(hold=hold):
            changed = events_pb2.HoldChanged(
                member_key=hold.member_key, hold=answers.hold_to_proto(hold)
            )
            return _fed(hold.program_id, hold.member_key, changed)
        case PointsTransferred() | PointsConverted() | PointsExtended() | PointsReinstated():
            return _fed(event.program_id, event.member_key, wire_points.event_message(event))
        case AdjustmentChanged(adjustment=made):
            return _fed(made.program_id, made.member_key, wire_points.event_message(event))
        case ReferralChanged(referral=referral):
            told = wire_referrals.event_message(event)
            return _fed(referral.program_id, MemberKey(told.member_key), told)
        case HouseholdMembershipChanged():
            changed_household = wire_households.event_message(event)
            return _fed(event.program_id, event.member_key, changed_household)
        case _:
            raise TypeError(f"{type(event).__name__} is no event of earning")


def _of_clock(event: PointsActivated | PointsExpiring | PointsExpired) -> Message:
    """What the clock brought, as the feed has it."""
    match event:
        case PointsActivated():
            activated = events_pb2.PointsActivated(
                member_key=event.member_key,
                points=event.points,
                currency_id=event.currency_id,
                activity_id=event.activity_id,
            )
            answers.stamped(activated.available_time, event.available_time)
            return activated
        case PointsExpiring():
            expiring = events_pb2.PointsExpiring(
                member_key=event.member_key,
                points=event.points,
                currency_id=event.currency_id,
                days=event.days,
            )
            answers.stamped(expiring.expire_time, event.expire_time)
            return expiring
        case PointsExpired():
            expired = events_pb2.PointsExpired(
                member_key=event.member_key,
                points=event.points,
                currency_id=event.currency_id,
            )
            answers.stamped(expired.expire_time, event.expire_time)
            return expired


def _fed(program_id: str, member_key: str, message: Message) -> FeedRecord:
    return FeedRecord(
        program_id=program_id,
        member_key=member_key,
        type=message.DESCRIPTOR.full_name,
        payload=message.SerializeToString(),
    )
