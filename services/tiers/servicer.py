"""Protobuf in, protobuf out; decides nothing."""

from collections.abc import AsyncIterator, Mapping

from guerdon.tiers.v1 import tiers_service_pb2 as pb
from guerdon.tiers.v1 import tiers_service_pb2_grpc as pb_grpc
from services.tiers import answers
from services.tiers.documents import Documents
from services.tiers.operations import Memberships
from services.tiers.verification import Verification
from shared import document_wire, errors
from shared.followers import Follower, wait_for_token
from shared.rpc.interceptors import Context
from shared.rpc.status import status_of

NAME = "guerdon.tiers.v1.TiersService"


class TiersServicer(pb_grpc.TiersServiceServicer):
    """Serves tiers. `followers` are those whose tokens reads wait for, by source."""

    def __init__(
        self,
        memberships: Memberships,
        documents: Documents,
        verification: Verification,
        followers: Mapping[str, Follower],
    ) -> None:
        self._memberships = memberships
        self._documents = documents
        self._verification = verification
        self._followers = followers

    async def GetMembership(
        self, request: pb.GetMembershipRequest, context: Context
    ) -> pb.GetMembershipResponse:
        """Tell where a member stands."""
        del context
        await self._wait(request.wait_for_token)
        [found] = await self._memberships.get(
            request.program_id, [request.member_id], request.ladder_id
        )
        if isinstance(found, errors.Refusal):
            raise found
        return pb.GetMembershipResponse(membership=answers.membership_to_proto(found))

    async def BatchGetMemberships(
        self, request: pb.BatchGetMembershipsRequest, context: Context
    ) -> pb.BatchGetMembershipsResponse:
        """Tell where each of many members stands."""
        del context
        await self._wait(request.wait_for_token)
        found = await self._memberships.get(
            request.program_id, request.member_ids, request.ladder_id
        )
        return pb.BatchGetMembershipsResponse(
            results=[
                pb.GetMembershipResult(refused=status_of(each))
                if isinstance(each, errors.Refusal)
                else pb.GetMembershipResult(membership=answers.membership_to_proto(each))
                for each in found
            ]
        )

    async def ListMembershipChanges(
        self, request: pb.ListMembershipChangesRequest, context: Context
    ) -> pb.ListMembershipChangesResponse:
        """List the decisions on a member's level, newest first."""
        del context
        await self._wait(request.wait_for_token)
        page = await self._memberships.changes(
            request.program_id,
            request.member_id,
            request.ladder_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListMembershipChangesResponse(
            changes=[
                answers.change_to_proto(each.change, superseded=each.superseded)
                for each in page.changes
            ],
            next_page_token=page.next_page_token,
        )

    async def GetTiersProgram(
        self, request: pb.GetTiersProgramRequest, context: Context
    ) -> pb.GetTiersProgramResponse:
        """Give a version of the program's ladders."""
        del context
        version = await self._documents.get(request.program_id, request.version)
        return pb.GetTiersProgramResponse(version=answers.version_to_proto(version))

    async def ApplyTiersProgram(
        self, request: pb.ApplyTiersProgramRequest, context: Context
    ) -> pb.ApplyTiersProgramResponse:
        """Put a document in force, or tell what would change."""
        del context
        applied = await self._documents.apply(
            request.program, **document_wire.apply_arguments(request.options)
        )
        return pb.ApplyTiersProgramResponse(applied=document_wire.applied_to_proto(applied))

    async def ListTiersProgramVersions(
        self, request: pb.ListTiersProgramVersionsRequest, context: Context
    ) -> pb.ListTiersProgramVersionsResponse:
        """List the versions of the program's ladders, newest first."""
        del context
        page = await self._documents.versions(
            request.program_id, page_size=request.page_size, page_token=request.page_token
        )
        return pb.ListTiersProgramVersionsResponse(
            versions=document_wire.versions_to_proto(page), next_page_token=page.next_page_token
        )

    async def RollbackTiersProgram(
        self, request: pb.RollbackTiersProgramRequest, context: Context
    ) -> pb.RollbackTiersProgramResponse:
        """Apply an earlier version anew, or tell what would change."""
        del context
        applied = await self._documents.rollback(
            request.program_id,
            request.version,
            **document_wire.rollback_arguments(request.options),
        )
        return pb.RollbackTiersProgramResponse(applied=document_wire.applied_to_proto(applied))

    async def GetTiersSummary(
        self, request: pb.GetTiersSummaryRequest, context: Context
    ) -> pb.GetTiersSummaryResponse:
        """Tell how many members each level has."""
        del context
        await self._wait(request.wait_for_token)
        return answers.summary_to_proto(await self._memberships.summary(request.program_id))

    async def VerifyTiers(
        self, request: pb.VerifyTiersRequest, context: Context
    ) -> AsyncIterator[pb.VerifyTiersResponse]:
        """Recompute everything from the feed of earning."""
        del context
        async for progress in self._verification.run(request.program_id):
            yield answers.progress_to_proto(progress)

    async def _wait(self, token: str) -> None:
        await wait_for_token(self._followers, token, own="tiers")
