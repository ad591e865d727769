"""What events of the earning service mean here: event in, commands out.

Levels are decided as of the instant at which earning recorded the event (its `create_time`), not
as of the instant at which it arrives here, so that a late follower decides the same.
"""

from guerdon.earning.v1 import events_pb2 as earning
from guerdon.feed.v1 import feed_service_pb2 as feed
from services.tiers import wire
from services.tiers.domain import Command


def commands_of(event: feed.Event) -> tuple[Command, ...]:
    """Commands that an event of earning means here, none for a type that tiers ignores.

    Raises google.protobuf.message.DecodeError for a payload that is not what its type says.
    """
    payload, at = event.payload, wire.instant(event.create_time)
    if payload.Is(earning.ActivityRecorded.DESCRIPTOR):
        activity = earning.ActivityRecorded.FromString(payload.value)
        return (wire.activity_from_proto(event.program_id, activity, at),)
    if payload.Is(earning.ActivityReversed.DESCRIPTOR):
        reversal = earning.ActivityReversed.FromString(payload.value)
        return (wire.reversal_from_proto(event.program_id, reversal, at),)
    if payload.Is(earning.MemberEnrolled.DESCRIPTOR):
        enrolled = earning.MemberEnrolled.FromString(payload.value)
        return (wire.join_from_proto(event.program_id, enrolled, at),)
    if payload.Is(earning.MemberChanged.DESCRIPTOR):
        renamed = earning.MemberChanged.FromString(payload.value)
        return (wire.names_from_proto(event.program_id, renamed),)
    return ()
