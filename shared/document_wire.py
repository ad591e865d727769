"""Program documents on the wire: what all services are asked and answer about them alike."""

from datetime import UTC, datetime
from typing import TypedDict

from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.feed.v1 import program_document_pb2 as pb
from shared import differences
from shared.documents import Applied, VersionPage
from shared.schedules import Scheduled
from shared.versions import Listed, listed_of

_FAILURE_MAX = 1_000


class RollbackArguments(TypedDict):
    """What `ProgramDocuments.rollback` takes of the options."""

    author: str
    etag: str
    validate_only: bool
    publish_time: datetime | None
    cancel_scheduled: bool


class ApplyArguments(RollbackArguments):
    """What `ProgramDocuments.apply` takes of the options."""

    prune: bool


def apply_arguments(options: pb.ApplyOptions) -> ApplyArguments:
    """How to apply a document."""
    return {**rollback_arguments(options), "prune": options.prune}


def rollback_arguments(options: pb.ApplyOptions) -> RollbackArguments:
    """How to apply an earlier version, which is never merged with what is in force."""
    is_later = options.HasField("publish_time")
    return {
        "author": options.author,
        "etag": options.etag,
        "validate_only": options.validate_only,
        "publish_time": options.publish_time.ToDatetime(tzinfo=UTC) if is_later else None,
        "cancel_scheduled": options.cancel_scheduled,
    }


def applied_to_proto(applied: Applied) -> pb.AppliedDocument:
    """What an apply did, or would do."""
    return pb.AppliedDocument(
        version=applied.version,
        etag=applied.etag,
        differences=differences.to_proto(applied.differences),
        scheduled=_scheduled(applied.scheduled),
    )


def versions_to_proto(page: VersionPage) -> list[pb.ProgramVersion]:
    """The versions of a page."""
    return [_version(each, page.in_force) for each in page.versions]


def _scheduled(scheduled: Scheduled | None) -> pb.ProgramVersion | None:
    return _version(listed_of(scheduled), 0) if scheduled is not None else None


def _version(listed: Listed, in_force: int) -> pb.ProgramVersion:
    return pb.ProgramVersion(
        version=listed.version,
        etag=listed.etag,
        author=listed.author,
        create_time=_timestamp(listed.create_time),
        publish_time=_timestamp(listed.publish_time),
        state=_state(listed, in_force),
        failure=listed.failure[:_FAILURE_MAX],
    )


def _state(listed: Listed, in_force: int) -> "pb.ProgramVersion.State.ValueType":
    if listed.failure:
        return pb.ProgramVersion.STATE_REFUSED
    if listed.is_scheduled:
        return pb.ProgramVersion.STATE_SCHEDULED
    is_in_force = listed.version == in_force
    return pb.ProgramVersion.STATE_IN_FORCE if is_in_force else pb.ProgramVersion.STATE_PAST


def _timestamp(instant: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    return stamp
