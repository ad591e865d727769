"""Requests about members as commands, and members as messages; nothing is decided here."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from hashlib import sha256
from typing import TypeAlias

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from guerdon.earning.v1 import activity_pb2, events_pb2, member_pb2
from guerdon.earning.v1 import member_service_pb2 as pb
from services.earning.commands_members import (
    AddIdentifier,
    ChangeMember,
    ClaimCard,
    EraseMember,
    FreezeMember,
    MergeMembers,
    RemoveIdentifier,
    UnfreezeMember,
    UpdateMember,
)
from services.earning.domain import NO_HOUSEHOLD, HouseholdId, MemberId, ProgramId
from services.earning.member_records import MemberIdentifier, MemberRecord, MemberState, Profile
from shared import errors, zones
from shared.errors import Violation

OneMember: TypeAlias = (
    pb.UpdateMemberRequest
    | pb.AddIdentifierRequest
    | pb.RemoveIdentifierRequest
    | pb.ClaimCardRequest
    | pb.FreezeMemberRequest
    | pb.UnfreezeMemberRequest
    | pb.EraseMemberRequest
)
Request: TypeAlias = OneMember | pb.MergeMembersRequest
FIELDS = frozenset(("birth_date", "time_zone", "language", "attributes", "segments"))
"""Fields of a profile, which an update may name."""
_STATES = {each: member_pb2.Member.State.Value(f"STATE_{each.name}") for each in MemberState}


# Commands ----------------------------------------------------------------------------------------


def command_from_proto(request: Request) -> ChangeMember:
    """Command of a call. Refuses FieldViolations for a wrong profile or mask."""
    program_id, request_id = ProgramId(request.program_id), request.request_id
    digest = sha256(request.SerializeToString(deterministic=True)).hexdigest()
    if isinstance(request, pb.MergeMembersRequest):
        return MergeMembers(
            program_id=program_id,
            request_id=request_id,
            member_id=MemberId(request.target_member_id),
            source_member_id=MemberId(request.source_member_id),
            digest=digest,
        )
    return _of_one(request, program_id, request_id, digest)


def _of_one(
    request: OneMember, program_id: ProgramId, request_id: str, digest: str
) -> ChangeMember:
    """Command of a call that names its member once."""
    member_id = MemberId(request.member_id)
    match request:
        case pb.UpdateMemberRequest():
            return UpdateMember(
                program_id=program_id,
                request_id=request_id,
                member_id=member_id,
                digest=digest,
                profile=profile_from_proto(request.profile, "profile"),
                fields=_masked(request.update_mask.paths),
                etag=request.etag,
            )
        case pb.AddIdentifierRequest():
            return AddIdentifier(
                program_id=program_id,
                request_id=request_id,
                member_id=member_id,
                digest=digest,
                kind=request.identifier.kind,
                identifier=MemberId(request.identifier.identifier),
            )
        case pb.RemoveIdentifierRequest():
            return RemoveIdentifier(
                program_id=program_id,
                request_id=request_id,
                member_id=member_id,
                digest=digest,
                identifier=MemberId(request.identifier),
            )
        case pb.ClaimCardRequest():
            return ClaimCard(
                program_id=program_id,
                request_id=request_id,
                member_id=member_id,
                digest=digest,
                card_id=MemberId(request.card_id),
            )
        case pb.FreezeMemberRequest():
            kind: type[FreezeMember | UnfreezeMember | EraseMember] = FreezeMember
        case pb.UnfreezeMemberRequest():
            kind = UnfreezeMember
        case pb.EraseMemberRequest():
            kind = EraseMember
    return kind(program_id=program_id, request_id=request_id, member_id=member_id, digest=digest)


def _masked(paths: Sequence[str]) -> frozenset[str]:
    allowed = ", ".join(sorted(FIELDS))
    wrong = [
        Violation(
            field=f"update_mask.paths[{at}]",
            description=f"is none of the fields of a profile: {allowed}",
        )
        for at, path in enumerate(paths)
        if path not in FIELDS
    ]
    if not paths:
        wrong = [Violation(field="update_mask", description=f"names no field; there are {allowed}")]
    if wrong:
        raise errors.FieldViolations(violations=tuple(wrong))
    return frozenset(paths)


def profile_from_proto(profile: member_pb2.MemberProfile, field: str) -> Profile:
    """What is told of a member. Refuses FieldViolations for a day or a zone that does not exist."""
    wrong = tuple(_wrong(profile, field))
    if wrong:
        raise errors.FieldViolations(violations=wrong)
    birth = profile.birth_date
    return Profile(
        birth_date=date(birth.year, birth.month, birth.day)
        if profile.HasField("birth_date")
        else None,
        time_zone=profile.time_zone,
        language=profile.language,
        attributes=tuple(sorted(profile.attributes.items())),
        segments=tuple(profile.segments),
    )


def _wrong(profile: member_pb2.MemberProfile, field: str) -> Iterator[Violation]:
    if profile.HasField("birth_date") and not _is_day(profile.birth_date):
        yield Violation(
            field=f"{field}.birth_date", description="is no day of a calendar, with its year"
        )
    if profile.time_zone and (wrong := zones.complaint(profile.time_zone)):
        yield Violation(field=f"{field}.time_zone", description=wrong)


def _is_day(day: Date) -> bool:
    try:
        date(day.year, day.month, day.day)
    except (ValueError, OverflowError):
        return False
    return True


# Messages ----------------------------------------------------------------------------------------


def member_to_proto(
    member: MemberRecord, household_id: HouseholdId = NO_HOUSEHOLD
) -> member_pb2.Member:
    """A member whole, for its caller; the household is told by reads."""
    message = member_pb2.Member(
        member_id=member.member_id,
        member_key=member.member_key,
        profile=profile_to_proto(member.profile),
        state=_STATES[member.state],
        identifiers=_identifiers(member.identifiers),
        anonymous=member.is_anonymous,
        merged_into=member.merged_into,
        etag=member.etag,
        household_id=household_id,
    )
    _stamp(message.enroll_time, member.enroll_time)
    return message


def changed_to_proto(member: MemberRecord) -> events_pb2.MemberChanged:
    """The event of a change: identifiers and state, and nothing that is told of the member."""
    return events_pb2.MemberChanged(
        member_key=member.member_key,
        identifiers=_identifiers(member.identifiers),
        state=_STATES[member.state],
        merged_into=member.merged_into,
    )


def profile_to_proto(profile: Profile) -> member_pb2.MemberProfile:
    """What is told of a member, for answers and for conditions."""
    message = member_pb2.MemberProfile(
        time_zone=profile.time_zone,
        language=profile.language,
        attributes=dict(profile.attributes),
        segments=profile.segments,
    )
    if profile.birth_date is not None:
        birth = profile.birth_date
        message.birth_date.CopyFrom(Date(year=birth.year, month=birth.month, day=birth.day))
    return message


def _identifiers(identifiers: Sequence[MemberIdentifier]) -> list[member_pb2.MemberIdentifier]:
    told = []
    for each in identifiers:
        message = member_pb2.MemberIdentifier(kind=each.kind, identifier=each.identifier)
        _stamp(message.assign_time, each.assign_time)
        told.append(message)
    return told


def _stamp(stamp: Timestamp, value: datetime) -> None:
    stamp.FromDatetime(value)


def scrubbed(type_: str, payload: bytes) -> tuple[bytes, tuple[str, ...]]:
    """An event without identifiers and free attributes, and the identifiers that it had.

    `type_` is the full name of its message; events of other types come back as they are.
    """
    message: Message
    match type_.removeprefix("guerdon.earning.v1."):
        case "MemberEnrolled":
            message = enrolled = events_pb2.MemberEnrolled.FromString(payload)
            names = tuple(each.identifier for each in enrolled.identifiers)
            del enrolled.identifiers[:]
        case "MemberChanged":
            message = changed = events_pb2.MemberChanged.FromString(payload)
            names = tuple(each.identifier for each in changed.identifiers)
            del changed.identifiers[:]
        case "ActivityRecorded":
            message = recorded = events_pb2.ActivityRecorded.FromString(payload)
            names = ()
            if not recorded.record.activity.attributes:
                return payload, ()
            recorded.record.activity.ClearField("attributes")
        case _:
            return payload, ()
    return message.SerializeToString(), names


def without_attributes(content: bytes) -> bytes:
    """A stored activity without its free attributes; the same bytes when it has none."""
    activity = activity_pb2.Activity.FromString(content)
    if not activity.attributes:
        return content
    activity.ClearField("attributes")
    return activity.SerializeToString(deterministic=True)
