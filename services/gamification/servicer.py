"""Protobuf in, protobuf out; decides nothing."""

from collections.abc import AsyncIterator

from guerdon.gamification.v1 import gamification_service_pb2 as pb
from guerdon.gamification.v1 import gamification_service_pb2_grpc as pb_grpc
from guerdon.gamification.v1 import leaderboard_service_pb2 as boards_pb
from guerdon.gamification.v1 import leaderboard_service_pb2_grpc as boards_pb_grpc
from services.gamification import answers, wire
from services.gamification.achievements import Achievements
from services.gamification.documents import Documents
from services.gamification.leaderboards import Leaderboards
from services.gamification.verification import Verification
from shared import document_wire, errors
from shared.rpc.interceptors import Context

NAME = "guerdon.gamification.v1.GamificationService"
BOARDS_NAME = "guerdon.gamification.v1.LeaderboardService"


class GamificationServicer(pb_grpc.GamificationServiceServicer):
    """Serves challenges, badges, documents, counts and verification."""

    def __init__(
        self, achievements: Achievements, documents: Documents, verification: Verification
    ) -> None:
        self._achievements = achievements
        self._documents = documents
        self._verification = verification

    async def ListChallenges(
        self, request: pb.ListChallengesRequest, context: Context
    ) -> pb.ListChallengesResponse:
        """List the challenges of a program."""
        del context
        page = await self._achievements.list_challenges(
            request.program_id, page_size=request.page_size, page_token=request.page_token
        )
        return pb.ListChallengesResponse(
            challenges=page.challenges, next_page_token=page.next_page_token
        )

    async def GetProgress(
        self, request: pb.GetProgressRequest, context: Context
    ) -> pb.GetProgressResponse:
        """Tell how far a member is with every challenge."""
        del context
        found = await self._achievements.progress(
            request.program_id, request.member_id, wait_for=request.wait_for_token
        )
        return pb.GetProgressResponse(progress=[answers.progress_to_proto(each) for each in found])

    async def ListMemberBadges(
        self, request: pb.ListMemberBadgesRequest, context: Context
    ) -> pb.ListMemberBadgesResponse:
        """List the badges of a member."""
        del context
        page = await self._achievements.badges(
            request.program_id,
            request.member_id,
            page_size=request.page_size,
            page_token=request.page_token,
            wait_for=request.wait_for_token,
        )
        return pb.ListMemberBadgesResponse(
            badges=answers.badges_to_proto(page), next_page_token=page.next_page_token
        )

    async def BatchGetMemberBadges(
        self, request: pb.BatchGetMemberBadgesRequest, context: Context
    ) -> pb.BatchGetMemberBadgesResponse:
        """Tell the badges of many members."""
        del context
        found = await self._achievements.badges_of_many(
            request.program_id, request.member_ids, wait_for=request.wait_for_token
        )
        return pb.BatchGetMemberBadgesResponse(
            results=[
                pb.MemberBadgesResult(refused=wire.refused(each))
                if isinstance(each, errors.Refusal)
                else pb.MemberBadgesResult(
                    found=pb.MemberBadges(member_id=member_id, badges=answers.badges_to_proto(each))
                )
                for member_id, each in zip(request.member_ids, found, strict=True)
            ]
        )

    async def GetGamificationProgram(
        self, request: pb.GetGamificationProgramRequest, context: Context
    ) -> pb.GetGamificationProgramResponse:
        """Give a version of the program's document."""
        del context
        version = await self._documents.get(request.program_id, request.version)
        return pb.GetGamificationProgramResponse(version=answers.version_to_proto(version))

    async def ApplyGamificationProgram(
        self, request: pb.ApplyGamificationProgramRequest, context: Context
    ) -> pb.ApplyGamificationProgramResponse:
        """Put a document in force, or tell what would change."""
        del context
        applied = await self._documents.apply(
            request.program, **document_wire.apply_arguments(request.options)
        )
        return pb.ApplyGamificationProgramResponse(applied=document_wire.applied_to_proto(applied))

    async def ListGamificationProgramVersions(
        self, request: pb.ListGamificationProgramVersionsRequest, context: Context
    ) -> pb.ListGamificationProgramVersionsResponse:
        """List the versions of the program's document, newest first."""
        del context
        page = await self._documents.versions(
            request.program_id, page_size=request.page_size, page_token=request.page_token
        )
        return pb.ListGamificationProgramVersionsResponse(
            versions=document_wire.versions_to_proto(page), next_page_token=page.next_page_token
        )

    async def RollbackGamificationProgram(
        self, request: pb.RollbackGamificationProgramRequest, context: Context
    ) -> pb.RollbackGamificationProgramResponse:
        """Apply an earlier version anew, or tell what would change."""
        del context
        applied = await self._documents.rollback(
            request.program_id,
            request.version,
            **document_wire.rollback_arguments(request.options),
        )
        return pb.RollbackGamificationProgramResponse(
            applied=document_wire.applied_to_proto(applied)
        )

    async def GetGamificationSummary(
        self, request: pb.GetGamificationSummaryRequest, context: Context
    ) -> pb.GetGamificationSummaryResponse:
        """Count members, badges and completions."""
        del context
        program, found = await self._achievements.summary(request.program_id)
        return answers.summary_to_proto(program, found)

    async def VerifyGamification(
        self, request: pb.VerifyGamificationRequest, context: Context
    ) -> AsyncIterator[pb.VerifyGamificationResponse]:
        """Recompute everything, and tell what differs."""
        del context
        async for progress in self._verification.run(request.program_id):
            yield answers.verified_to_proto(progress)


class LeaderboardServicer(boards_pb_grpc.LeaderboardServiceServicer):
    """Serves leaderboards."""

    def __init__(self, leaderboards: Leaderboards) -> None:
        self._leaderboards = leaderboards

    async def GetLeaderboard(
        self, request: boards_pb.GetLeaderboardRequest, context: Context
    ) -> boards_pb.GetLeaderboardResponse:
        """Give a page of a board."""
        del context
        page = await self._leaderboards.page(
            request.program_id,
            request.board_id,
            request.period,
            page_size=request.page_size,
            page_token=request.page_token,
            wait_for=request.wait_for_token,
        )
        return boards_pb.GetLeaderboardResponse(
            rows=wire.rows_to_proto(page.view.rows, page.view.names),
            next_page_token=page.next_page_token,
            member_count=page.view.member_count,
            period=page.period,
        )

    async def GetStanding(
        self, request: boards_pb.GetStandingRequest, context: Context
    ) -> boards_pb.GetStandingResponse:
        """Give a member's rank and the rows around it."""
        del context
        page = await self._leaderboards.standing(
            request.program_id,
            request.board_id,
            request.period,
            member_id=request.member_id,
            neighbours=request.neighbour_count,
            wait_for=request.wait_for_token,
        )
        return answers.standing_to_proto(page)

    async def WatchLeaderboard(
        self, request: boards_pb.WatchLeaderboardRequest, context: Context
    ) -> AsyncIterator[boards_pb.WatchLeaderboardResponse]:
        """Send the top of a board now and whenever it changes."""
        del context
        async for page in self._leaderboards.watch(
            request.program_id, request.board_id, request.period, top_count=request.top_count
        ):
            yield boards_pb.WatchLeaderboardResponse(
                rows=wire.rows_to_proto(page.view.rows, page.view.names),
                member_count=page.view.member_count,
                period=page.period,
            )

    async def SubmitScores(
        self, request: boards_pb.SubmitScoresRequest, context: Context
    ) -> boards_pb.SubmitScoresResponse:
        """Take scores that games submit."""
        del context
        submitted, token = await self._leaderboards.submit(wire.submissions_from_proto(request))
        return wire.submitted_to_proto(submitted, token)

    async def RebuildLeaderboard(
        self, request: boards_pb.RebuildLeaderboardRequest, context: Context
    ) -> boards_pb.RebuildLeaderboardResponse:
        """Make the index of a board anew."""
        del context
        rebuilt = await self._leaderboards.rebuild(
            request.program_id,
            request.board_id,
            request.period,
            wait_until_ready=request.wait_until_ready,
        )
        return boards_pb.RebuildLeaderboardResponse(
            leaderboards=[
                boards_pb.RebuiltLeaderboard(
                    board_id=each.place.board_id,
                    period=each.place.period,
                    row_count=each.row_count,
                )
                for each in rebuilt
            ]
        )
