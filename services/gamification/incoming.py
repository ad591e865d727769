"""What an event of the earning service means here: event in, commands out.

Returns change neither progress nor scores (*policy* `on_reversal`), so they mean nothing here.
"""

from guerdon.earning.v1 import events_pb2 as earning
from guerdon.feed.v1 import feed_service_pb2 as feed
from services.gamification import wire
from services.gamification.commands import Command

SOURCE = "earning"


def commands_of(event: feed.Event) -> tuple[Command, ...]:
    """Commands that an event of earning means here, none for what gamification ignores.

    Raises google.protobuf.message.DecodeError for a payload that is not what its type says.
    """
    payload = event.payload
    if payload.Is(earning.ActivityRecorded.DESCRIPTOR):
        recorded = earning.ActivityRecorded.FromString(payload.value)
        return (wire.recorded_from_proto(event.program_id, recorded, event.create_time),)
    if payload.Is(earning.MemberEnrolled.DESCRIPTOR):
        enrolled = earning.MemberEnrolled.FromString(payload.value)
        return (wire.enrolled_from_proto(event.program_id, enrolled),)
    if payload.Is(earning.MemberChanged.DESCRIPTOR):
        changed = earning.MemberChanged.FromString(payload.value)
        return (wire.names_from_proto(event.program_id, changed),)
    return ()
