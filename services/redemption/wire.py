"""Protobuf in, protobuf out: the API's messages as the domain's values and back."""

import hashlib
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.earning.v1 import events_pb2 as earning_pb
from guerdon.redemption.v1 import events_pb2
from guerdon.redemption.v1 import reward_pb2 as pb
from guerdon.tiers.v1 import events_pb2 as tiers_pb
from services.redemption import domain
from services.redemption.commands import JoinMember, NoteLevel
from services.redemption.domain import (
    Catalogue,
    MemberKey,
    ProgramId,
    Redemption,
    Reward,
    RewardId,
    RewardKind,
    Shelf,
    State,
    TierGate,
)
from shared import errors
from shared.names import Name, NameMember

_KINDS = {
    pb.Reward.KIND_VOUCHER: RewardKind.VOUCHER,
    pb.Reward.KIND_PRODUCT: RewardKind.PRODUCT,
}
_STATES = {
    State.PENDING: pb.Redemption.STATE_PENDING,
    State.COMPLETED: pb.Redemption.STATE_COMPLETED,
    State.CANCELLING: pb.Redemption.STATE_CANCELLING,
    State.CANCELLED: pb.Redemption.STATE_CANCELLED,
    State.FAILED: pb.Redemption.STATE_FAILED,
}


def catalogue_from_bytes(program_id: str, version: int, content: bytes) -> Catalogue:
    """Compile a stored document."""
    document = pb.RedemptionProgram.FromString(content)
    return Catalogue(
        program_id=ProgramId(program_id),
        version=version,
        cancel_window=timedelta(seconds=document.cancel_window_seconds),
        rewards={reward.reward_id: reward_from_proto(reward) for reward in document.rewards},
    )


def reward_from_proto(reward: pb.Reward) -> Reward:
    """A reward of a document that was found to be valid."""
    gate = reward.tier_gate
    return Reward(
        reward_id=RewardId(reward.reward_id),
        kind=_KINDS[reward.kind],
        price_points=reward.price_points,
        currency_id=reward.currency_id,
        stock_total=reward.stock_total if reward.HasField("stock_total") else None,
        member_limit=reward.member_limit if reward.HasField("member_limit") else None,
        tier_gate=TierGate(ladder_id=gate.ladder_id, level_ids=frozenset(gate.level_ids))
        if reward.HasField("tier_gate")
        else None,
        redeemable_from=_instant(reward, "redeemable_from_time"),
        redeemable_until=_instant(reward, "redeemable_until_time"),
    )


def program_complaints(document: pb.RedemptionProgram) -> list[errors.Violation]:
    """What is wrong with a document beyond the shape of its fields."""
    found: list[errors.Violation] = []
    seen: dict[str, int] = {}
    for index, reward in enumerate(document.rewards):
        path = f"rewards[{index}]"
        first = seen.setdefault(reward.reward_id, index)
        if first != index:
            text = f"{reward.reward_id} is the identifier of rewards[{first}] already"
            found.append(errors.Violation(field=f"{path}.reward_id", description=text))
        # Compared as they were sent: one that is no instant has a complaint of its own.
        begins, ends = reward.redeemable_from_time, reward.redeemable_until_time
        both = reward.HasField("redeemable_from_time") and reward.HasField("redeemable_until_time")
        if both and (ends.seconds, ends.nanos) <= (begins.seconds, begins.nanos):
            text = "must be later than redeemable_from_time"
            found.append(errors.Violation(field=f"{path}.redeemable_until_time", description=text))
        if reward.HasField("stock_left") or reward.etag:
            field = "stock_left" if reward.HasField("stock_left") else "etag"
            text = "is output only: leave it out"
            found.append(errors.Violation(field=f"{path}.{field}", description=text))
    return found


def reward_to_proto(reward: pb.Reward, shelf: Shelf | None, etag: str) -> pb.Reward:
    """A reward of a document as the API shows it: with what is left of it."""
    shown = pb.Reward()
    shown.CopyFrom(reward)
    shown.etag = etag
    left = shelf.left if shelf is not None else None
    if left is not None:
        shown.stock_left = left
    return shown


def etag_of(reward: pb.Reward) -> str:
    """The etag of a reward of a document: of what it says, not of the version it came with."""
    return hashlib.sha256(reward.SerializeToString(deterministic=True)).hexdigest()[:24]


def redemption_to_proto(redemption: Redemption, member_id: str) -> pb.Redemption:
    """A redemption as the API shows it; `member_id` is empty in events."""
    return pb.Redemption(
        redemption_id=redemption.redemption_id,
        member_id=member_id,
        reward_id=redemption.reward_id,
        points=redemption.points,
        state=_STATES[redemption.state],
        failure_reason=redemption.failure_reason,
        create_time=timestamp(redemption.create_time),
        update_time=timestamp(redemption.update_time),
        voucher_hint=redemption.voucher_hint,
        from_household=redemption.from_household,
    )


def event_to_proto(event: domain.RedemptionChanged) -> events_pb2.RedemptionChanged:
    """An event as followers read it."""
    redemption = event.redemption
    return events_pb2.RedemptionChanged(
        member_key=redemption.member_key, redemption=redemption_to_proto(redemption, "")
    )


def names_from_proto(program_id: str, event: earning_pb.MemberChanged) -> NameMember:
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


def join_from_proto(program_id: str, enrolled: earning_pb.MemberEnrolled) -> JoinMember:
    """A member who joined."""
    return JoinMember(
        program_id=program_id,
        member_key=MemberKey(enrolled.member_key),
        identifiers=tuple((each.kind, each.identifier) for each in enrolled.identifiers),
        enroll_time=instant(enrolled.enroll_time),
    )


def level_from_proto(program_id: str, changed: tiers_pb.MembershipChanged) -> NoteLevel:
    """A level that a member has from an instant on."""
    return NoteLevel(
        program_id=program_id,
        member_key=MemberKey(changed.member_key),
        ladder_id=changed.ladder_id,
        level_id=changed.level_id,
        effective_time=instant(changed.effective_time),
    )


def timestamp(instant: datetime) -> Timestamp:
    """An aware instant as protobuf writes it."""
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    return stamp


def instant(stamp: Timestamp) -> datetime:
    """A protobuf timestamp as an aware instant."""
    return stamp.ToDatetime(tzinfo=UTC)


def _instant(reward: pb.Reward, name: str) -> datetime | None:
    return instant(getattr(reward, name)) if reward.HasField(name) else None  # type: ignore[arg-type]
