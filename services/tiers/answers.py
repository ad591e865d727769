"""What callers are answered, as protobuf; nothing is decided here."""

from guerdon.feed.v1 import verification_pb2
from guerdon.tiers.v1 import membership_pb2, tiers_service_pb2
from guerdon.tiers.v1 import program_pb2 as program_pb
from services.tiers import wire
from services.tiers.domain import MembershipView
from services.tiers.ladders import Ladder, Level, MembershipChanged
from services.tiers.operations import Summary
from services.tiers.verification import Progress
from shared.programs import Scheduled, Version


def change_to_proto(
    changed: MembershipChanged, *, superseded: bool
) -> membership_pb2.MembershipChange:
    """Decision as it is listed."""
    return membership_pb2.MembershipChange(
        sequence=changed.sequence,
        level_id=changed.level_id,
        previous_level_id=changed.previous_level_id,
        effective_time=wire.timestamp(changed.effective_time),
        decide_time=wire.timestamp(changed.decide_time),
        reason=wire.REASONS[changed.reason],
        program_version=changed.program_version,
        superseded=superseded,
    )


def membership_to_proto(view: MembershipView) -> membership_pb2.Membership:
    """Where a member stands."""
    ladder = view.ladder
    message = membership_pb2.Membership(
        member_key=view.member_key,
        ladder_id=ladder.ladder_id,
        level=_level(ladder, view.level_id),
        level_rank=ladder.rank_of(view.level_id) or 0,
        since_time=wire.timestamp(view.since_time),
        window_start_date=wire.calendar_date(view.window_start),
        window_end_date=wire.calendar_date(view.window_end),
        net_spend_minor=view.net_spend_minor,
    )
    if view.upcoming_level_id is not None and view.upcoming_time is not None:
        message.upcoming.level.CopyFrom(_level(ladder, view.upcoming_level_id))
        message.upcoming.level_rank = ladder.rank_of(view.upcoming_level_id) or 0
        message.upcoming.effective_time.CopyFrom(wire.timestamp(view.upcoming_time))
    if view.next_level is not None:
        message.next_level.CopyFrom(level_to_proto(view.next_level))
        message.net_spend_minor_to_next = view.next_level.net_spend_minor - view.net_spend_minor
    return message


def level_to_proto(level: Level) -> program_pb.Level:
    """Level as the document says it."""
    return program_pb.Level(
        level_id=level.level_id,
        display_name=level.display_name,
        net_spend_minor=level.net_spend_minor,
    )


def summary_to_proto(summary: Summary) -> tiers_service_pb2.GetTiersSummaryResponse:
    """How the members are spread."""
    return tiers_service_pb2.GetTiersSummaryResponse(
        member_count=summary.member_count,
        ladders=[
            membership_pb2.LadderSummary(
                ladder_id=ladder.ladder_id,
                levels=[
                    membership_pb2.LevelCount(level_id=level_id, member_count=count)
                    for level_id, count in ladder.levels
                ],
            )
            for ladder in summary.ladders
        ],
    )


def version_to_proto(version: Version | Scheduled) -> program_pb.TiersProgramVersion:
    """A version of the document as it was applied."""
    return program_pb.TiersProgramVersion(
        version=version.version,
        program=program_pb.TiersProgram.FromString(version.content),
        author=version.author,
        etag=version.etag,
    )


def progress_to_proto(progress: Progress) -> tiers_service_pb2.VerifyTiersResponse:
    """How far a verification is."""
    return tiers_service_pb2.VerifyTiersResponse(
        progress=verification_pb2.VerificationProgress(
            stage="feed",
            done=progress.done,
            total=progress.total,
            violations=[
                verification_pb2.Violation(
                    rule=each.rule, subject=each.subject[:256], detail=each.detail
                )
                for each in progress.violations
            ],
        )
    )


def _level(ladder: Ladder, level_id: str) -> program_pb.Level:
    rank = ladder.rank_of(level_id)
    if rank is None:
        return program_pb.Level(level_id=level_id)
    return level_to_proto(ladder.levels[rank])
