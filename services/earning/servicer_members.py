"""Members as callers see them: protobuf in, protobuf out; decides nothing."""

from collections.abc import AsyncIterator
from typing import cast

from guerdon.earning.v1 import member_pb2, referral_pb2
from guerdon.earning.v1 import member_service_pb2 as pb
from guerdon.earning.v1 import member_service_pb2_grpc as pb_grpc
from services.earning import answers, wire_members
from services.earning.domain import NO_HOUSEHOLD, MemberId, ProgramId
from services.earning.member_records import MemberRecord
from services.earning.queries_members import MemberQueries, OneSided
from services.earning.referral_records import Side
from services.earning.wire_members import Request, member_to_proto
from services.earning.wire_referrals import referral_to_proto
from services.earning.wire_statements import statement_to_proto
from shared.group_commit import GroupCommit
from shared.rpc.interceptors import Context

NAME = "guerdon.earning.v1.MemberService"


class MemberServicer(pb_grpc.MemberServiceServicer):
    """Serves members."""

    def __init__(self, group_commit: GroupCommit, queries: MemberQueries) -> None:
        self._group_commit = group_commit
        self._queries = queries

    # Reads ---------------------------------------------------------------------------------------

    async def GetMember(
        self, request: pb.GetMemberRequest, context: Context
    ) -> pb.GetMemberResponse:
        """Give a member."""
        del context
        member, household_id = await self._queries.member(
            ProgramId(request.program_id), MemberId(request.member_id)
        )
        return pb.GetMemberResponse(member=member_to_proto(member, household_id))

    async def ListMembers(
        self, request: pb.ListMembersRequest, context: Context
    ) -> pb.ListMembersResponse:
        """List the members of a program."""
        del context
        page = await self._queries.members(
            ProgramId(request.program_id),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListMembersResponse(
            members=[
                member_to_proto(each, page.households.get(each.member_key, NO_HOUSEHOLD))
                for each in page.members
            ],
            next_page_token=page.next_page_token,
        )

    async def ExportMember(
        self, request: pb.ExportMemberRequest, context: Context
    ) -> AsyncIterator[pb.ExportMemberResponse]:
        """Tell everything that is stored of a member."""
        del context
        name = request.member_id
        async for piece in self._queries.export(ProgramId(request.program_id), MemberId(name)):
            # Of a household's hold the others stay nameless: the export is this member's.
            own = dict.fromkeys(piece.keys, MemberId(name))
            response = pb.ExportMemberResponse(
                wallets=[answers.wallet_to_proto(each, name) for each in piece.wallets],
                entries=[answers.entry_to_proto(each) for each in piece.entries],
                records=[answers.activity_to_proto(each, name) for each in piece.records],
                holds=[answers.hold_to_proto(each, name, own) for each in piece.holds],
                referral_codes=piece.codes,
                referrals=[_one_sided(each, name) for each in piece.referrals],
                statements=[statement_to_proto(each) for each in piece.statements],
                household_id=piece.household_id,
            )
            if piece.member is not None:
                response.member.CopyFrom(member_to_proto(piece.member, piece.household_id))
            yield response

    # Changes -------------------------------------------------------------------------------------

    async def UpdateMember(
        self, request: pb.UpdateMemberRequest, context: Context
    ) -> pb.UpdateMemberResponse:
        """Change what is told of a member."""
        del context
        member, token = await self._changed(request)
        return pb.UpdateMemberResponse(member=member, feed_token=token)

    async def AddIdentifier(
        self, request: pb.AddIdentifierRequest, context: Context
    ) -> pb.AddIdentifierResponse:
        """Give a member one more identifier."""
        del context
        member, token = await self._changed(request)
        return pb.AddIdentifierResponse(member=member, feed_token=token)

    async def RemoveIdentifier(
        self, request: pb.RemoveIdentifierRequest, context: Context
    ) -> pb.RemoveIdentifierResponse:
        """Take an identifier from a member."""
        del context
        member, token = await self._changed(request)
        return pb.RemoveIdentifierResponse(member=member, feed_token=token)

    async def ClaimCard(
        self, request: pb.ClaimCardRequest, context: Context
    ) -> pb.ClaimCardResponse:
        """Give a member a card, with what it has earned."""
        del context
        member, token = await self._changed(request)
        return pb.ClaimCardResponse(member=member, feed_token=token)

    async def MergeMembers(
        self, request: pb.MergeMembersRequest, context: Context
    ) -> pb.MergeMembersResponse:
        """Make one member of two."""
        del context
        member, token = await self._changed(request)
        return pb.MergeMembersResponse(member=member, feed_token=token)

    async def FreezeMember(
        self, request: pb.FreezeMemberRequest, context: Context
    ) -> pb.FreezeMemberResponse:
        """Stop a member from earning and spending."""
        del context
        member, token = await self._changed(request)
        return pb.FreezeMemberResponse(member=member, feed_token=token)

    async def UnfreezeMember(
        self, request: pb.UnfreezeMemberRequest, context: Context
    ) -> pb.UnfreezeMemberResponse:
        """Let a frozen member earn and spend again."""
        del context
        member, token = await self._changed(request)
        return pb.UnfreezeMemberResponse(member=member, feed_token=token)

    async def EraseMember(
        self, request: pb.EraseMemberRequest, context: Context
    ) -> pb.EraseMemberResponse:
        """Remove identifiers and personal data of a member for good."""
        del context
        member, token = await self._changed(request)
        return pb.EraseMemberResponse(member=member, feed_token=token)

    async def _changed(self, request: Request) -> tuple[member_pb2.Member, str]:
        outcome = await self._group_commit.submit(wire_members.command_from_proto(request))
        return member_to_proto(cast("MemberRecord", outcome.answer)), outcome.token


def _one_sided(of: OneSided, member_id: str) -> referral_pb2.Referral:
    """A referral that names the member it is told to, and nobody else."""
    return referral_to_proto(
        of.referral,
        member_id if Side.FRIEND in of.sides else "",
        member_id if Side.REFERRER in of.sides else "",
    )
