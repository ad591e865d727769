"""Protobuf in, protobuf out; decides nothing."""

from collections.abc import AsyncIterator, Mapping

from guerdon.redemption.v1 import redemption_service_pb2 as pb
from guerdon.redemption.v1 import redemption_service_pb2_grpc as pb_grpc
from services.redemption import answers, wire
from services.redemption.catalogue import Rewards
from services.redemption.documents import Documents
from services.redemption.queries import Redemptions
from services.redemption.redeeming import Redeeming
from services.redemption.verification import Verification
from shared import document_wire
from shared.followers import Follower, wait_for_token
from shared.rpc.interceptors import Context

NAME = "guerdon.redemption.v1.RedemptionService"


class RedemptionServicer(pb_grpc.RedemptionServiceServicer):
    """Serves redemption. `followers` are those whose tokens are waited for, by source."""

    def __init__(
        self,
        redeeming: Redeeming,
        redemptions: Redemptions,
        rewards: Rewards,
        documents: Documents,
        verification: Verification,
        followers: Mapping[str, Follower],
    ) -> None:
        self._redeeming = redeeming
        self._redemptions = redemptions
        self._rewards = rewards
        self._documents = documents
        self._verification = verification
        self._followers = followers

    async def CreateReward(
        self, request: pb.CreateRewardRequest, context: Context
    ) -> pb.CreateRewardResponse:
        """Put a new reward into the catalogue."""
        del context
        made = await self._rewards.create(request.program_id, request.request_id, request.reward)
        return pb.CreateRewardResponse(reward=made.reward, feed_token=made.token)

    async def UpdateReward(
        self, request: pb.UpdateRewardRequest, context: Context
    ) -> pb.UpdateRewardResponse:
        """Change fields of a reward."""
        del context
        changed = await self._rewards.update(
            request.program_id,
            request.request_id,
            request.reward,
            tuple(request.update_mask.paths),
        )
        return pb.UpdateRewardResponse(reward=changed.reward, feed_token=changed.token)

    async def ListRewards(
        self, request: pb.ListRewardsRequest, context: Context
    ) -> pb.ListRewardsResponse:
        """List the rewards of a program."""
        del context
        page = await self._rewards.page(
            request.program_id, page_size=request.page_size, page_token=request.page_token
        )
        return pb.ListRewardsResponse(rewards=page.rewards, next_page_token=page.next_page_token)

    async def RedeemReward(
        self, request: pb.RedeemRewardRequest, context: Context
    ) -> pb.RedeemRewardResponse:
        """Redeem a reward, and answer when that is finished."""
        await wait_for_token(self._followers, request.wait_for_token, own="redemption")
        redeemed = await self._redeeming.redeem(
            request.program_id,
            request.request_id,
            request.member_id,
            request.reward_id,
            from_household=request.from_household,
            seconds=context.time_remaining(),
        )
        return pb.RedeemRewardResponse(
            redemption=wire.redemption_to_proto(redeemed.redemption, request.member_id),
            voucher_code=redeemed.voucher_code,
            feed_token=redeemed.token,
        )

    async def CancelRedemption(
        self, request: pb.CancelRedemptionRequest, context: Context
    ) -> pb.CancelRedemptionResponse:
        """Cancel a completed redemption, and answer when its points are back."""
        cancelled = await self._redeeming.cancel(
            request.program_id,
            request.request_id,
            request.redemption_id,
            seconds=context.time_remaining(),
        )
        named = await self._redemptions.name(cancelled.redemption)
        return pb.CancelRedemptionResponse(
            redemption=answers.named_to_proto(named), feed_token=cancelled.token
        )

    async def GetRedemption(
        self, request: pb.GetRedemptionRequest, context: Context
    ) -> pb.GetRedemptionResponse:
        """Give a redemption."""
        del context
        named = await self._redemptions.get(request.program_id, request.redemption_id)
        return pb.GetRedemptionResponse(redemption=answers.named_to_proto(named))

    async def ListRedemptions(
        self, request: pb.ListRedemptionsRequest, context: Context
    ) -> pb.ListRedemptionsResponse:
        """List redemptions, newest first."""
        del context
        page = await self._redemptions.page(
            request.program_id,
            request.member_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListRedemptionsResponse(
            redemptions=[answers.named_to_proto(each) for each in page.redemptions],
            next_page_token=page.next_page_token,
        )

    async def GetRedemptionProgram(
        self, request: pb.GetRedemptionProgramRequest, context: Context
    ) -> pb.GetRedemptionProgramResponse:
        """Give a version of the program's catalogue."""
        del context
        version = await self._documents.get(request.program_id, request.version)
        return pb.GetRedemptionProgramResponse(version=answers.version_to_proto(version))

    async def ApplyRedemptionProgram(
        self, request: pb.ApplyRedemptionProgramRequest, context: Context
    ) -> pb.ApplyRedemptionProgramResponse:
        """Put a document in force, or tell what would change."""
        del context
        applied = await self._documents.apply(
            request.program, **document_wire.apply_arguments(request.options)
        )
        return pb.ApplyRedemptionProgramResponse(applied=document_wire.applied_to_proto(applied))

    async def ListRedemptionProgramVersions(
        self, request: pb.ListRedemptionProgramVersionsRequest, context: Context
    ) -> pb.ListRedemptionProgramVersionsResponse:
        """List the versions of the program's catalogue, newest first."""
        del context
        page = await self._documents.versions(
            request.program_id, page_size=request.page_size, page_token=request.page_token
        )
        return pb.ListRedemptionProgramVersionsResponse(
            versions=document_wire.versions_to_proto(page), next_page_token=page.next_page_token
        )

    async def RollbackRedemptionProgram(
        self, request: pb.RollbackRedemptionProgramRequest, context: Context
    ) -> pb.RollbackRedemptionProgramResponse:
        """Apply an earlier version anew, or tell what would change."""
        del context
        applied = await self._documents.rollback(
            request.program_id,
            request.version,
            **document_wire.rollback_arguments(request.options),
        )
        return pb.RollbackRedemptionProgramResponse(applied=document_wire.applied_to_proto(applied))

    async def GetRedemptionSummary(
        self, request: pb.GetRedemptionSummaryRequest, context: Context
    ) -> pb.GetRedemptionSummaryResponse:
        """Tell the totals of every reward."""
        del context
        return answers.summary_to_proto(await self._redemptions.summary(request.program_id))

    async def VerifyRedemptions(
        self, request: pb.VerifyRedemptionsRequest, context: Context
    ) -> AsyncIterator[pb.VerifyRedemptionsResponse]:
        """Recompute stock, limits and states, and compare with the holds of earning."""
        del context
        async for progress in self._verification.run(request.program_id):
            yield answers.progress_to_proto(progress)
