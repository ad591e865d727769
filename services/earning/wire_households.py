"""Requests about households as commands, and households as messages."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.earning.v1 import events_pb2, household_pb2
from guerdon.earning.v1 import household_service_pb2 as pb
from services.earning.commands_households import (
    AcceptInvitation,
    CreateHousehold,
    DissolveHousehold,
    InviteMember,
    LeaveHousehold,
    RemoveMember,
)
from services.earning.domain import HouseholdId, MemberId, MemberKey, ProgramId
from services.earning.household_records import (
    Household,
    HouseholdMembershipChanged,
    Invitation,
)
from services.earning.referral_records import read_code

# Commands ----------------------------------------------------------------------------------------


def create_from_proto(request: pb.CreateHouseholdRequest, unique: str) -> CreateHousehold:
    """Command of a CreateHousehold call; `unique` identifies the household."""
    return CreateHousehold(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        member_id=MemberId(request.member_id),
        unique=unique,
        digest=_digest(request),
    )


def invite_from_proto(request: pb.InviteMemberRequest, chance: bytes) -> InviteMember:
    """Command of an InviteMember call; a new code comes out of `chance`."""
    return InviteMember(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        household_id=HouseholdId(request.household_id),
        member_id=MemberId(request.member_id),
        chance=chance,
        digest=_digest(request),
    )


def accept_from_proto(request: pb.AcceptInvitationRequest) -> AcceptInvitation:
    """Command of an AcceptInvitation call."""
    return AcceptInvitation(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        member_id=MemberId(request.member_id),
        code=read_code(request.code),
        digest=_digest(request),
    )


def remove_from_proto(request: pb.RemoveMemberRequest) -> RemoveMember:
    """Command of a RemoveMember call."""
    return RemoveMember(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        household_id=HouseholdId(request.household_id),
        member_id=MemberId(request.member_id),
        digest=_digest(request),
    )


def leave_from_proto(request: pb.LeaveHouseholdRequest) -> LeaveHousehold:
    """Command of a LeaveHousehold call."""
    return LeaveHousehold(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        member_id=MemberId(request.member_id),
        digest=_digest(request),
    )


def dissolve_from_proto(request: pb.DissolveHouseholdRequest) -> DissolveHousehold:
    """Command of a DissolveHousehold call."""
    return DissolveHousehold(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        household_id=HouseholdId(request.household_id),
        digest=_digest(request),
    )


def _digest(request: Message) -> str:
    return sha256(request.SerializeToString(deterministic=True)).hexdigest()


# Answers and events ------------------------------------------------------------------------------


def household_to_proto(
    household: Household, names: Mapping[MemberKey, MemberId]
) -> household_pb2.Household:
    """A household; members whom nothing names have an empty name."""
    message = household_pb2.Household(household_id=household.household_id)
    _stamp(message.create_time, household.create_time)
    if household.members:
        message.head_member_id = names.get(household.head_key, "")
    for each in household.members:
        joined = message.members.add(member_id=names.get(each.member_key, ""))
        _stamp(joined.join_time, each.join_time)
    if household.dissolve_time is not None:
        _stamp(message.dissolve_time, household.dissolve_time)
    return message


def invitation_to_proto(
    invitation: Invitation, names: Mapping[MemberKey, MemberId]
) -> household_pb2.HouseholdInvitation:
    """An invitation."""
    message = household_pb2.HouseholdInvitation(
        code=invitation.code,
        household_id=invitation.household_id,
        member_id=names.get(invitation.member_key, ""),
    )
    _stamp(message.create_time, invitation.create_time)
    return message


def event_message(event: HouseholdMembershipChanged) -> events_pb2.HouseholdMembershipChanged:
    """An event as the feed has it."""
    return events_pb2.HouseholdMembershipChanged(
        member_key=event.member_key,
        household_id=event.household_id,
        is_member=event.is_member,
        is_head=event.is_head,
    )


def _stamp(stamp: Timestamp, value: datetime) -> None:
    stamp.FromDatetime(value)
