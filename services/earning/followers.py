"""What events of tiers mean here: a level that is effective from an instant on is kept.

The level that counts for an activity is the one that this timeline shows as effective at its
`occurred_time`; a level learned later changes no record.
"""

from guerdon.feed.v1 import feed_service_pb2 as feed
from guerdon.tiers.v1 import events_pb2 as tiers
from services.earning.commands import Command, KeepLevel
from services.earning.domain import LevelFrom, LevelId, MemberKey, ProgramId
from services.earning.wire import instant


def commands_of(event: feed.Event) -> tuple[Command, ...]:
    """Commands that an event of tiers means here, none for a type that earning ignores.

    Raises google.protobuf.message.DecodeError for a payload that is not what its type says.
    """
    if not event.payload.Is(tiers.MembershipChanged.DESCRIPTOR):
        return ()
    changed = tiers.MembershipChanged.FromString(event.payload.value)
    return (
        KeepLevel(
            program_id=ProgramId(event.program_id),
            member_key=MemberKey(changed.member_key),
            ladder_id=changed.ladder_id,
            level=LevelFrom(
                effective_time=instant(changed.effective_time),
                level_id=LevelId(changed.level_id),
            ),
            level_rank=changed.level_rank,
        ),
    )
