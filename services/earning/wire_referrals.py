"""Requests about referrals as commands, and referrals as messages."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.earning.v1 import events_pb2, referral_pb2
from guerdon.earning.v1 import referral_service_pb2 as pb
from services.earning.commands_referrals import ClaimReferral, MakeReferralCode
from services.earning.domain import MemberId, ProgramId
from services.earning.referral_records import (
    Referral,
    ReferralChanged,
    ReferralState,
    Side,
    read_code,
)

_State: TypeAlias = referral_pb2.Referral.State.ValueType
_STATES: Mapping[ReferralState, _State] = {
    each: referral_pb2.Referral.State.Value(f"STATE_{each.name}") for each in ReferralState
}

# Commands ----------------------------------------------------------------------------------------


def code_from_proto(request: pb.GetReferralCodeRequest, chance: bytes) -> MakeReferralCode:
    """Command of a GetReferralCode call; a new code comes out of `chance`."""
    return MakeReferralCode(
        program_id=ProgramId(request.program_id),
        member_id=MemberId(request.member_id),
        chance=chance,
    )


def claim_from_proto(request: pb.ClaimReferralRequest, unique: str) -> ClaimReferral:
    """Command of a ClaimReferral call; `unique` identifies the referral."""
    return ClaimReferral(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        member_id=MemberId(request.member_id),
        code=read_code(request.code),
        unique=unique,
        digest=sha256(request.SerializeToString(deterministic=True)).hexdigest(),
    )


def states_from_proto(state: _State) -> tuple[ReferralState, ...]:
    """States that a list is asked for: all of them when it names none."""
    named = tuple(each for each, number in _STATES.items() if number == state)
    return named or tuple(_STATES)


# Answers and events ------------------------------------------------------------------------------


def referral_to_proto(
    referral: Referral, friend: str = "", referrer: str = ""
) -> referral_pb2.Referral:
    """A referral; events carry no identifiers of the members."""
    message = referral_pb2.Referral(
        referral_id=referral.referral_id,
        friend_member_id=friend,
        referrer_member_id=referrer,
        state=_STATES[referral.state],
        currency_id=referral.currency_id,
        friend_points=referral.friend_points,
        referrer_points=referral.referrer_points,
        friend_points_reversed=referral.friend_points_reversed,
        referrer_points_reversed=referral.referrer_points_reversed,
        activity_id=referral.activity_id,
    )
    _stamp(message.claim_time, referral.claim_time)
    if referral.reward_time is not None:
        _stamp(message.reward_time, referral.reward_time)
    if referral.reverse_time is not None:
        _stamp(message.reverse_time, referral.reverse_time)
    return message


def event_message(event: ReferralChanged) -> events_pb2.ReferralChanged:
    """An event as the feed has it."""
    keys = (event.referral.friend_key, event.referral.referrer_key)
    is_friend = event.side is Side.FRIEND
    return events_pb2.ReferralChanged(
        member_key=keys[0] if is_friend else keys[1],
        other_member_key=keys[1] if is_friend else keys[0],
        is_friend=is_friend,
        referral=referral_to_proto(event.referral),
    )


def _stamp(stamp: Timestamp, value: datetime) -> None:
    stamp.FromDatetime(value)
