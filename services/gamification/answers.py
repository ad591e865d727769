"""What callers are answered, as protobuf; nothing is decided here."""

from guerdon.feed.v1 import verification_pb2
from guerdon.gamification.v1 import challenge_pb2
from guerdon.gamification.v1 import gamification_service_pb2 as pb
from guerdon.gamification.v1 import leaderboard_pb2 as board_pb
from guerdon.gamification.v1 import leaderboard_service_pb2 as boards_pb
from guerdon.gamification.v1 import program_pb2 as program_pb
from services.gamification import wire
from services.gamification.achievements import BadgePage, ChallengeProgress
from services.gamification.document import Program
from services.gamification.leaderboards import Page
from services.gamification.query_store import ChallengeCounts, Summary
from services.gamification.verification import Progress
from shared.programs import Scheduled, Version


def progress_to_proto(found: ChallengeProgress) -> challenge_pb2.Progress:
    """How far a member is with a challenge."""
    return wire.progress_to_proto(
        found.challenge, found.progress, value=found.value, target=found.target
    )


def badges_to_proto(page: BadgePage) -> list[challenge_pb2.MemberBadge]:
    """Badges of a member."""
    return [
        wire.badge_to_proto(
            page.words,
            badge_id=each.badge_id,
            challenge_id=each.challenge_id,
            award_time=each.award_time,
        )
        for each in page.badges
    ]


def standing_to_proto(page: Page) -> boards_pb.GetStandingResponse:
    """A member's row and those around it."""
    view = page.view
    rows = wire.rows_to_proto(view.rows, view.names)
    return boards_pb.GetStandingResponse(
        standing=board_pb.Standing(
            row=rows[view.own],
            above=rows[: view.own],
            below=rows[view.own + 1 :],
            member_count=view.member_count,
        ),
        period=page.period,
    )


def version_to_proto(version: Version | Scheduled) -> program_pb.GamificationProgramVersion:
    """A version of a document."""
    return program_pb.GamificationProgramVersion(
        version=version.version,
        program=program_pb.GamificationProgram.FromString(version.content),
        author=version.author,
        etag=version.etag,
    )


def summary_to_proto(program: Program, summary: Summary) -> pb.GetGamificationSummaryResponse:
    """Counts, for every badge and challenge of the document in force."""
    response = pb.GetGamificationSummaryResponse(
        member_count=summary.members, intentions_open=summary.intentions_open
    )
    for badge in program.document.badges:
        response.badges.add(
            badge_id=badge.badge_id, member_count=summary.badges.get(badge.badge_id, 0)
        )
    for challenge in program.document.challenges:
        counts = summary.challenges.get(challenge.challenge_id, ChallengeCounts())
        response.challenges.add(
            challenge_id=challenge.challenge_id,
            completion_count=counts.completions,
            points_paid=counts.points_paid,
            rewards_owed=counts.rewards_owed,
            rewards_failed=counts.rewards_failed,
        )
    return response


def verified_to_proto(progress: Progress) -> pb.VerifyGamificationResponse:
    """How far a verification is, and what it found."""
    return pb.VerifyGamificationResponse(
        progress=verification_pb2.VerificationProgress(
            stage=progress.stage,
            done=progress.done,
            total=progress.total,
            violations=[
                verification_pb2.Violation(
                    rule=each.rule, subject=each.subject[:256], detail=each.detail[:1024]
                )
                for each in progress.violations
            ],
        )
    )
