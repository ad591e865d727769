"""Requests about points that are moved by hand as commands, and what came of them as messages."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TypeAlias

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.earning.v1 import events_pb2, points_pb2
from guerdon.earning.v1 import points_service_pb2 as pb
from services.earning.commands_points import (
    AdjustPoints,
    ApproveAdjustment,
    ConvertPoints,
    DecideAdjustment,
    ExtendPoints,
    ReinstatePoints,
    RejectAdjustment,
    TransferPoints,
)
from services.earning.domain import CurrencyId, MemberId, ProgramId
from services.earning.points_records import (
    Adjustment,
    AdjustmentChanged,
    AdjustmentId,
    AdjustmentState,
    Converted,
    PointsConverted,
    PointsExtended,
    PointsReinstated,
    PointsTransferred,
    Transferred,
)
from shared import errors
from shared.errors import Violation

Deciding: TypeAlias = pb.ApproveAdjustmentRequest | pb.RejectAdjustmentRequest
Event: TypeAlias = (
    PointsTransferred | PointsConverted | AdjustmentChanged | PointsExtended | PointsReinstated
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9000, 1, 1, tzinfo=UTC)
_State: TypeAlias = points_pb2.Adjustment.State.ValueType
_STATES: Mapping[AdjustmentState, _State] = {
    each: points_pb2.Adjustment.State.Value(f"STATE_{each.name}") for each in AdjustmentState
}

# Commands ----------------------------------------------------------------------------------------


def transfer_from_proto(request: pb.TransferPointsRequest) -> TransferPoints:
    """Command of a TransferPoints call."""
    return TransferPoints(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        digest=_digest(request),
        from_member_id=MemberId(request.from_member_id),
        to_member_id=MemberId(request.to_member_id),
        currency_id=CurrencyId(request.currency_id),
        points=request.points,
        reason=request.reason,
    )


def convert_from_proto(request: pb.ConvertPointsRequest) -> ConvertPoints:
    """Command of a ConvertPoints call."""
    return ConvertPoints(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        digest=_digest(request),
        member_id=MemberId(request.member_id),
        from_currency_id=CurrencyId(request.from_currency_id),
        to_currency_id=CurrencyId(request.to_currency_id),
        points=request.points,
        reason=request.reason,
    )


def adjust_from_proto(request: pb.AdjustPointsRequest, unique: str) -> AdjustPoints:
    """Command of an AdjustPoints call; `unique` makes the identifier of the adjustment."""
    return AdjustPoints(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        digest=_digest(request),
        member_id=MemberId(request.member_id),
        currency_id=CurrencyId(request.currency_id),
        points=request.points,
        actor=request.actor,
        reason=request.reason,
        unique=unique,
    )


def decide_from_proto(request: Deciding) -> DecideAdjustment:
    """Command of an ApproveAdjustment or RejectAdjustment call."""
    program_id, adjustment_id = ProgramId(request.program_id), AdjustmentId(request.adjustment_id)
    if isinstance(request, pb.ApproveAdjustmentRequest):
        return ApproveAdjustment(
            program_id=program_id,
            request_id=request.request_id,
            digest=_digest(request),
            adjustment_id=adjustment_id,
            actor=request.actor,
        )
    return RejectAdjustment(
        program_id=program_id,
        request_id=request.request_id,
        digest=_digest(request),
        adjustment_id=adjustment_id,
        actor=request.actor,
        reason=request.reason,
    )


def extend_from_proto(request: pb.ExtendPointsRequest) -> ExtendPoints:
    """Command of an ExtendPoints call. Refuses FieldViolations for an end that is too far off."""
    before = None
    if request.HasField("expiring_before_time"):
        before = _instant(request.expiring_before_time)
    return ExtendPoints(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        digest=_digest(request),
        member_id=MemberId(request.member_id),
        currency_id=CurrencyId(request.currency_id),
        lot_sequence=request.lot_sequence,
        expire_time=_end(request.expire_time),
        actor=request.actor,
        reason=request.reason,
        expiring_before=before,
    )


def reinstate_from_proto(request: pb.ReinstatePointsRequest) -> ReinstatePoints:
    """Command of a ReinstatePoints call. Refuses FieldViolations as `extend_from_proto`."""
    return ReinstatePoints(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        digest=_digest(request),
        member_id=MemberId(request.member_id),
        currency_id=CurrencyId(request.currency_id),
        lot_sequence=request.lot_sequence,
        points=request.points,
        expire_time=_end(request.expire_time),
        actor=request.actor,
        reason=request.reason,
    )


def _end(stamp: Timestamp) -> datetime:
    """An instant at which points end; calendars go on behind it."""
    end = _instant(stamp)
    if end >= _LAST:
        violation = Violation(field="expire_time", description=f"must be before {_LAST.date()}")
        raise errors.FieldViolations(violations=(violation,))
    return end


def _instant(stamp: Timestamp) -> datetime:
    return _EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)


def states_from_proto(state: _State) -> tuple[AdjustmentState, ...]:
    """States that a list is asked for: all of them when it names none."""
    named = tuple(each for each, number in _STATES.items() if number == state)
    return named or tuple(_STATES)


def _digest(message: Message) -> str:
    return sha256(message.SerializeToString(deterministic=True)).hexdigest()


# Answers and events ------------------------------------------------------------------------------


def transfer_to_proto(
    request: pb.TransferPointsRequest, transferred: Transferred
) -> points_pb2.Transfer:
    """A transfer, with the members as the request names them."""
    message = points_pb2.Transfer(
        from_member_id=request.from_member_id,
        to_member_id=request.to_member_id,
        currency_id=transferred.currency_id,
        points=transferred.points,
        reason=request.reason,
    )
    _stamp(message.create_time, transferred.create_time)
    for lot in transferred.lots:
        added = message.lots.add(
            points=lot.points, from_sequence=lot.from_sequence, to_sequence=lot.to_sequence
        )
        if lot.expire_time is not None:
            _stamp(added.expire_time, lot.expire_time)
    return message


def conversion_to_proto(
    request: pb.ConvertPointsRequest, converted: Converted
) -> points_pb2.Conversion:
    """A conversion, with the member as the request names it."""
    message = points_pb2.Conversion(
        member_id=request.member_id,
        from_currency_id=converted.from_currency_id,
        to_currency_id=converted.to_currency_id,
        points_taken=converted.taken,
        points_given=converted.given,
        points_repaid=converted.repaid,
        numerator=converted.numerator,
        denominator=converted.denominator,
        reason=request.reason,
        from_sequence=converted.from_sequence,
        to_sequence=converted.to_sequence,
    )
    _stamp(message.create_time, converted.create_time)
    if converted.expire_time is not None:
        _stamp(message.expire_time, converted.expire_time)
    return message


def adjustment_to_proto(adjustment: Adjustment, member_id: str = "") -> points_pb2.Adjustment:
    """An adjustment; events carry no identifier of the member."""
    message = points_pb2.Adjustment(
        adjustment_id=adjustment.adjustment_id,
        member_id=member_id,
        currency_id=adjustment.currency_id,
        points=adjustment.points,
        actor=adjustment.actor,
        reason=adjustment.reason,
        state=_STATES[adjustment.state],
        decider=adjustment.decider,
        rejection_reason=adjustment.rejection_reason,
        entry_sequence=adjustment.entry_sequence,
    )
    _stamp(message.create_time, adjustment.create_time)
    if adjustment.decide_time is not None:
        _stamp(message.decide_time, adjustment.decide_time)
    return message


def event_message(event: Event) -> Message:
    """An event as the feed has it."""
    if isinstance(event, PointsExtended | PointsReinstated):
        kind = (
            events_pb2.PointsExtended
            if isinstance(event, PointsExtended)
            else events_pb2.PointsReinstated
        )
        dated = kind(
            member_key=event.member_key,
            points=event.points,
            currency_id=event.currency_id,
            reason=event.reason,
        )
        _stamp(dated.expire_time, event.expire_time)
        return dated
    if isinstance(event, AdjustmentChanged):
        return events_pb2.AdjustmentChanged(
            member_key=event.adjustment.member_key,
            adjustment=adjustment_to_proto(event.adjustment),
        )
    if isinstance(event, PointsConverted):
        return events_pb2.PointsConverted(
            member_key=event.member_key,
            from_currency_id=event.from_currency_id,
            to_currency_id=event.to_currency_id,
            points_taken=event.taken,
            points_given=event.given,
            reason=event.reason,
            request_id=event.request_id,
        )
    return events_pb2.PointsTransferred(
        member_key=event.member_key,
        points=event.points,
        currency_id=event.currency_id,
        other_member_key=event.other_member_key,
        reason=event.reason,
        request_id=event.request_id,
    )


def _stamp(stamp: Timestamp, value: datetime) -> None:
    stamp.FromDatetime(value)
