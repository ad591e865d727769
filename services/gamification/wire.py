"""Protobuf and domain values, both ways; nothing is decided here."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.status_pb2 import Status

from guerdon.earning.v1 import events_pb2 as earning
from guerdon.gamification.v1 import challenge_pb2, events_pb2
from guerdon.gamification.v1 import leaderboard_pb2 as board_pb
from guerdon.gamification.v1 import leaderboard_service_pb2 as boards_pb
from guerdon.gamification.v1 import program_pb2 as program_pb
from services.gamification.commands import SubmitScores
from services.gamification.domain import (
    BadgeAwarded,
    BadgeId,
    BoardId,
    ChallengeCompleted,
    CountActivity,
    EnrollMember,
    MemberId,
    MemberKey,
    ProgramId,
    Progress,
    RewardFailed,
    RewardPaid,
    RewardState,
    ScoreSubmitted,
    Submission,
    SubmittedScores,
)
from services.gamification.ranking import RankedRow
from shared import errors
from shared.batches import FeedRecord
from shared.decision import Event
from shared.names import Name, NameMember
from shared.rpc import validation
from shared.rpc.status import status_of

_MICROS = 1_000_000
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_REWARD_STATES = {
    RewardState.NOTHING_OWED: challenge_pb2.Reward.STATE_NOTHING_OWED,
    RewardState.OWED: challenge_pb2.Reward.STATE_OWED,
    RewardState.PAID: challenge_pb2.Reward.STATE_PAID,
    RewardState.FAILED: challenge_pb2.Reward.STATE_FAILED,
}


def instant(stamp: Timestamp) -> datetime:
    """Aware UTC instant of a Timestamp, to the microsecond."""
    return stamp.ToDatetime(tzinfo=UTC)


def timestamp(value: datetime) -> Timestamp:
    """Timestamp of an aware instant."""
    stamp = Timestamp()
    stamp.FromDatetime(value)
    return stamp


# Events in ---------------------------------------------------------------------------------------


def enrolled_from_proto(program_id: str, event: earning.MemberEnrolled) -> EnrollMember:
    """Command that an enrolment means here; the caller's own identifier comes first."""
    identifiers = [(each.kind, each.identifier) for each in event.identifiers]
    identifiers.sort(key=lambda each: each[0] != "member_id")
    return EnrollMember(
        program_id=ProgramId(program_id),
        member_key=MemberKey(event.member_key),
        identifiers=tuple(identifiers),
        enroll_time=instant(event.enroll_time),
    )


def names_from_proto(program_id: str, event: earning.MemberChanged) -> NameMember:
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


def recorded_from_proto(
    program_id: str, event: earning.ActivityRecorded, create_time: Timestamp
) -> CountActivity:
    """Command that a recorded activity means here."""
    activity = event.record.activity
    return CountActivity(
        program_id=ProgramId(program_id),
        member_key=MemberKey(event.member_key),
        activity=activity,
        points=event.record.points,
        occurred_time=instant(activity.occurred_time),
        decide_time=instant(create_time),
    )


# Events out --------------------------------------------------------------------------------------


def event_to_feed(event: Event) -> FeedRecord:
    """Event as others will read it. Raises TypeError for what is no event of ours."""
    match event:
        case ChallengeCompleted():
            message: Message = events_pb2.ChallengeCompleted(
                member_key=event.member_key,
                challenge_id=event.challenge_id,
                program_version=event.program_version,
                complete_time=timestamp(event.complete_time),
                occurred_time=timestamp(event.occurred_time),
                points=event.points,
                badge_id=event.badge_id,
            )
        case BadgeAwarded():
            message = events_pb2.BadgeAwarded(
                member_key=event.member_key,
                badge_id=event.badge_id,
                challenge_id=event.challenge_id,
                award_time=timestamp(event.award_time),
            )
        case RewardPaid():
            message = events_pb2.RewardPaid(
                member_key=event.member_key,
                challenge_id=event.challenge_id,
                points=event.points,
                request_id=event.request_id,
            )
        case RewardFailed():
            message = events_pb2.RewardFailed(
                member_key=event.member_key,
                challenge_id=event.challenge_id,
                points=event.points,
                request_id=event.request_id,
                reason=event.reason,
            )
        case ScoreSubmitted():
            message = events_pb2.ScoreSubmitted(
                member_key=event.member_key,
                board_id=event.board_id,
                period=event.period,
                score=event.score,
                occurred_time=timestamp(event.occurred_time),
                score_after=event.score_after,
            )
        case _:
            raise TypeError(f"{type(event).__name__} is no event of gamification")
    return FeedRecord(
        program_id=event.program_id,
        member_key=event.member_key,
        type=message.DESCRIPTOR.full_name,
        payload=message.SerializeToString(deterministic=True),
    )


# Requests ----------------------------------------------------------------------------------------


def submissions_from_proto(request: boards_pb.SubmitScoresRequest) -> SubmitScores:
    """Command of a request; a score of the wrong shape carries what is wrong with it."""
    return SubmitScores(
        program_id=ProgramId(request.program_id),
        request_id=request.request_id,
        board_id=BoardId(request.board_id),
        submissions=tuple(
            _submission(number, score) for number, score in enumerate(request.scores)
        ),
    )


def _submission(number: int, score: boards_pb.SubmittedScore) -> Submission:
    violations = tuple(
        errors.Violation(field=f"scores[{number}].{each.field}", description=each.description)
        for each in validation.violations(score)
    )
    return Submission(
        member_id=MemberId(score.member_id),
        score=score.score,
        occurred_time=_NEVER if violations else instant(score.occurred_time),
        violations=violations,
    )


# Answers -----------------------------------------------------------------------------------------


def submitted_to_proto(submitted: SubmittedScores, token: str) -> boards_pb.SubmitScoresResponse:
    """Answer to SubmitScores."""
    response = boards_pb.SubmitScoresResponse(feed_token=token)
    for each in submitted.results:
        result = response.results.add()
        if each.refusal:
            result.refused.CopyFrom(refused(errors.load(each.refusal)))
        else:
            result.accepted.member_id = each.member_id
            result.accepted.period = each.period
            result.accepted.score = each.score
    return response


def refused(refusal: errors.Refusal) -> Status:
    """Refusal of one item of a batch, as the unary call would say it."""
    return status_of(refusal)


def progress_to_proto(
    challenge: program_pb.Challenge, progress: Progress, *, value: int, target: int
) -> challenge_pb2.Progress:
    """How far a member is with a challenge."""
    told = challenge_pb2.Progress(
        challenge_id=challenge.challenge_id,
        display_name=challenge.display_name,
        value=value,
        target=target,
    )
    completion = progress.completion
    if completion is not None:
        told.complete_time.FromDatetime(completion.complete_time)
        told.reward.points = completion.points
        told.reward.badge_id = completion.badge_id
        told.reward.state = _REWARD_STATES[completion.reward_state]
        told.reward.failure_reason = completion.failure_reason
    return told


def badge_to_proto(
    badges: Mapping[BadgeId, program_pb.Badge],
    *,
    badge_id: BadgeId,
    challenge_id: str,
    award_time: datetime,
) -> challenge_pb2.MemberBadge:
    """Badge that a member holds, with the words of the document in force, if it still has it."""
    words = badges.get(badge_id, program_pb.Badge(display_name=badge_id))
    return challenge_pb2.MemberBadge(
        badge_id=badge_id,
        display_name=words.display_name,
        description=words.description,
        award_time=timestamp(award_time),
        challenge_id=challenge_id,
    )


def row_to_proto(row: RankedRow, member_id: str) -> board_pb.LeaderboardRow:
    """Row of a board."""
    seconds, micros = divmod(row.reached_micros, _MICROS)
    return board_pb.LeaderboardRow(
        member_id=member_id,
        rank=row.rank,
        score=row.score,
        # Timestamp.FromDatetime takes longer than all the rest.
        reached_time=Timestamp(seconds=seconds, nanos=micros * 1_000),
    )


def rows_to_proto(
    rows: Iterable[RankedRow], names: Mapping[MemberKey, MemberId]
) -> list[board_pb.LeaderboardRow]:
    """Rows of a board, with the members' identifiers."""
    return [row_to_proto(row, names[row.member_key]) for row in rows]
