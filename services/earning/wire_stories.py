"""The story of an entry as a message; nothing is decided here."""

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import ledger_pb2
from services.earning import answers, stories, wire_points, wire_referrals
from services.earning.domain import EntryType
from services.earning.referral_records import Side
from services.earning.stories import Origin, Story

_TYPES = {each: ledger_pb2.EntryType.Value(f"ENTRY_TYPE_{each.name}") for each in EntryType}
_SIDES = {each: pb.ReferralSide.Value(f"REFERRAL_SIDE_{each.name}") for each in Side}


def story_to_proto(story: Story) -> pb.ExplainEntryResponse:
    """An entry, why it was booked, and what else is stored of it."""
    message = pb.ExplainEntryResponse(
        entry=answers.entry_to_proto(story.entry),
        lines=stories.told(story),
        lots=[_lot(each) for each in story.lots],
        other_member_id=story.other_member_id,
        other_sequence=story.note.other_sequence,
    )
    if story.hold is not None:
        message.hold.CopyFrom(answers.hold_to_proto(story.hold, names=story.names))
    if story.adjustment is not None:
        message.adjustment.CopyFrom(wire_points.adjustment_to_proto(story.adjustment))
    if story.referral is not None and story.side is not None:
        names = story.member_id, story.other_member_id
        friend, referrer = names if story.side is Side.FRIEND else names[::-1]
        message.referral.CopyFrom(
            wire_referrals.referral_to_proto(story.referral, friend, referrer)
        )
        message.referral_side = _SIDES[story.side]
    return message


def _lot(lot: Origin) -> pb.ExplainedLot:
    message = pb.ExplainedLot(
        lot_sequence=lot.lot_sequence,
        points=lot.points,
        made_by=_TYPES[lot.made_by],
        activity_id=lot.activity_id,
    )
    answers.stamped(message.made_time, lot.made_time)
    if lot.expire_time is not None:
        answers.stamped(message.expire_time, lot.expire_time)
    return message
