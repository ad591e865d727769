"""Events and instants as protobuf and as domain values; nothing is decided here.

What callers are answered is in `answers.py`.
"""

from datetime import UTC, date, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from google.type import date_pb2

from guerdon.earning.v1 import events_pb2 as earning_events
from guerdon.tiers.v1 import events_pb2
from services.tiers.domain import CountActivity, JoinMember, TakeBack
from services.tiers.ladders import Line, MembershipChanged, Reason, ReturnedLine
from shared.names import Name, NameMember

REASONS = {
    Reason.ENROLLED: events_pb2.MembershipChanged.REASON_ENROLLED,
    Reason.EARNED: events_pb2.MembershipChanged.REASON_EARNED,
    Reason.REVERSED: events_pb2.MembershipChanged.REASON_REVERSED,
    Reason.REVIEWED: events_pb2.MembershipChanged.REASON_REVIEWED,
}


def instant(stamp: Timestamp) -> datetime:
    """Aware UTC instant of a Timestamp, to the microsecond."""
    return stamp.ToDatetime(tzinfo=UTC)


def timestamp(value: datetime) -> Timestamp:
    """Timestamp of an aware instant."""
    stamp = Timestamp()
    stamp.FromDatetime(value)
    return stamp


def calendar_date(day: date) -> date_pb2.Date:
    """Calendar day as the API says it."""
    return date_pb2.Date(year=day.year, month=day.month, day=day.day)


# Events in ---------------------------------------------------------------------------------------


def join_from_proto(
    program_id: str, event: earning_events.MemberEnrolled, create_time: datetime
) -> JoinMember:
    """Command that an enrolment means here."""
    return JoinMember(
        program_id=program_id,
        member_key=event.member_key,
        identifiers=tuple(each.identifier for each in event.identifiers),
        enroll_time=instant(event.enroll_time),
        decide_time=create_time,
    )


def names_from_proto(program_id: str, event: earning_events.MemberChanged) -> NameMember:
    """Command that a change of a member means here: what names it from now on."""
    return NameMember(
        program_id=program_id,
        member_key=event.member_key,
        names=tuple(
            Name(
                kind=each.kind,
                identifier=each.identifier,
                assign_time=instant(each.assign_time),
            )
            for each in event.identifiers
        ),
    )


def activity_from_proto(
    program_id: str, event: earning_events.ActivityRecorded, create_time: datetime
) -> CountActivity:
    """Command that an activity means here."""
    activity = event.record.activity
    return CountActivity(
        program_id=program_id,
        member_key=event.member_key,
        activity_id=activity.activity_id,
        activity_type=activity.type,
        occurred_time=instant(activity.occurred_time),
        decide_time=create_time,
        amount_minor=activity.payment.amount_minor,
        lines=tuple(
            Line(line_number=number, item=item)
            for number, item in enumerate(activity.lines, start=1)
        ),
    )


def reversal_from_proto(
    program_id: str, event: earning_events.ActivityReversed, create_time: datetime
) -> TakeBack:
    """Command that a reversal means here."""
    reversal = event.reversal
    return TakeBack(
        program_id=program_id,
        member_key=event.member_key,
        activity_id=reversal.activity_id,
        activity_type=event.activity_type,
        decide_time=create_time,
        amount_minor=reversal.amount_minor,
        lines=tuple(
            ReturnedLine(line_number=line.line_number, amount_minor=line.amount_minor)
            for line in reversal.lines
        ),
    )


# Events out --------------------------------------------------------------------------------------


def changed_to_proto(changed: MembershipChanged) -> events_pb2.MembershipChanged:
    """Event as other services read it."""
    return events_pb2.MembershipChanged(
        member_key=changed.member_key,
        ladder_id=changed.ladder_id,
        level_id=changed.level_id,
        level_rank=changed.level_rank,
        effective_time=timestamp(changed.effective_time),
        decide_time=timestamp(changed.decide_time),
        previous_level_id=changed.previous_level_id,
        reason=REASONS[changed.reason],
        program_version=changed.program_version,
    )
