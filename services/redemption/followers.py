"""What events of other services mean here: event in, commands out.

Earning tells who is a member, tiers what level a member has from an instant on.
"""

from guerdon.earning.v1 import events_pb2 as earning
from guerdon.feed.v1 import feed_service_pb2 as feed
from guerdon.tiers.v1 import events_pb2 as tiers
from services.redemption import wire
from services.redemption.commands import Command


def commands_of_earning(event: feed.Event) -> tuple[Command, ...]:
    """Commands that an event of earning means here, none for all but members.

    Raises google.protobuf.message.DecodeError for a payload that is not what its type says.
    """
    if event.payload.Is(earning.MemberChanged.DESCRIPTOR):
        changed = earning.MemberChanged.FromString(event.payload.value)
        return (wire.names_from_proto(event.program_id, changed),)
    if not event.payload.Is(earning.MemberEnrolled.DESCRIPTOR):
        return ()
    enrolled = earning.MemberEnrolled.FromString(event.payload.value)
    return (wire.join_from_proto(event.program_id, enrolled),)


def commands_of_tiers(event: feed.Event) -> tuple[Command, ...]:
    """Commands that an event of tiers means here, none for all but changes of level.

    Raises google.protobuf.message.DecodeError for a payload that is not what its type says.
    """
    if not event.payload.Is(tiers.MembershipChanged.DESCRIPTOR):
        return ()
    changed = tiers.MembershipChanged.FromString(event.payload.value)
    return (wire.level_from_proto(event.program_id, changed),)
