"""Referrals, as callers see them: protobuf in, protobuf out."""

from typing import cast

from guerdon.earning.v1 import referral_pb2
from guerdon.earning.v1 import referral_service_pb2 as pb
from guerdon.earning.v1 import referral_service_pb2_grpc as pb_grpc
from services.earning import wire_referrals
from services.earning.domain import MemberId, ProgramId
from services.earning.queries_referrals import Named, ReferralQueries
from services.earning.referral_records import Referral, ReferralCode
from shared.group_commit import GroupCommit
from shared.ids import Ids
from shared.rpc.interceptors import Context

NAME = "guerdon.earning.v1.ReferralService"
_CHANCE_BYTES = 16


class ReferralServicer(pb_grpc.ReferralServiceServicer):
    """Serves referrals. `ids` makes codes and the identifiers of referrals."""

    def __init__(self, group_commit: GroupCommit, queries: ReferralQueries, ids: Ids) -> None:
        self._group_commit = group_commit
        self._queries = queries
        self._ids = ids

    async def GetReferralCode(
        self, request: pb.GetReferralCodeRequest, context: Context
    ) -> pb.GetReferralCodeResponse:
        """Give the code of a member, and make it at the first call."""
        del context
        known = await self._queries.code(ProgramId(request.program_id), MemberId(request.member_id))
        if known:
            return pb.GetReferralCodeResponse(code=known)
        command = wire_referrals.code_from_proto(request, self._ids.secret(_CHANCE_BYTES))
        outcome = await self._group_commit.submit(command)
        return pb.GetReferralCodeResponse(code=cast("ReferralCode", outcome.answer).code)

    async def ClaimReferral(
        self, request: pb.ClaimReferralRequest, context: Context
    ) -> pb.ClaimReferralResponse:
        """Note that a member came by another's code."""
        del context
        command = wire_referrals.claim_from_proto(request, self._ids.new())
        outcome = await self._group_commit.submit(command)
        named = await self._queries.named(cast("Referral", outcome.answer))
        return pb.ClaimReferralResponse(referral=_named(named), feed_token=outcome.token)

    async def GetReferral(
        self, request: pb.GetReferralRequest, context: Context
    ) -> pb.GetReferralResponse:
        """Give the referral by which a member came."""
        del context
        found = await self._queries.referral(
            ProgramId(request.program_id), MemberId(request.member_id)
        )
        return pb.GetReferralResponse(referral=_named(found))

    async def ListReferrals(
        self, request: pb.ListReferralsRequest, context: Context
    ) -> pb.ListReferralsResponse:
        """List the friends whom a member brought."""
        del context
        page = await self._queries.referrals(
            ProgramId(request.program_id),
            MemberId(request.member_id),
            wire_referrals.states_from_proto(request.state),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListReferralsResponse(
            referrals=[_named(each) for each in page.referrals],
            next_page_token=page.next_page_token,
        )


def _named(found: Named) -> referral_pb2.Referral:
    return wire_referrals.referral_to_proto(found.referral, found.friend, found.referrer)
