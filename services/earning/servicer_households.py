"""Households, as callers see them: protobuf in, protobuf out."""

from typing import cast

from guerdon.earning.v1 import household_pb2
from guerdon.earning.v1 import household_service_pb2 as pb
from guerdon.earning.v1 import household_service_pb2_grpc as pb_grpc
from services.earning import wire_households
from services.earning.domain import HouseholdId, MemberId, ProgramId
from services.earning.household_records import Household, Invitation
from services.earning.queries_households import Balance, HouseholdQueries, Names
from services.earning.wire_households import household_to_proto
from shared.group_commit import GroupCommit
from shared.ids import Ids
from shared.rpc.interceptors import Context
from shared.work import Outcome

NAME = "guerdon.earning.v1.HouseholdService"
_CHANCE_BYTES = 16


class HouseholdServicer(pb_grpc.HouseholdServiceServicer):
    """Serves households. `ids` makes their identifiers, and the codes of invitations."""

    def __init__(self, group_commit: GroupCommit, queries: HouseholdQueries, ids: Ids) -> None:
        self._group_commit = group_commit
        self._queries = queries
        self._ids = ids

    async def CreateHousehold(
        self, request: pb.CreateHouseholdRequest, context: Context
    ) -> pb.CreateHouseholdResponse:
        """Make a household of one."""
        del context
        command = wire_households.create_from_proto(request, self._ids.new())
        outcome = await self._group_commit.submit(command)
        return pb.CreateHouseholdResponse(
            household=await self._household(outcome), feed_token=outcome.token
        )

    async def InviteMember(
        self, request: pb.InviteMemberRequest, context: Context
    ) -> pb.InviteMemberResponse:
        """Invite a member, or whoever gets the code."""
        del context
        command = wire_households.invite_from_proto(request, self._ids.secret(_CHANCE_BYTES))
        outcome = await self._group_commit.submit(command)
        made = cast("Invitation", outcome.answer)
        names = await self._queries.names(made.program_id, {made.member_key} - {""})
        return pb.InviteMemberResponse(
            invitation=wire_households.invitation_to_proto(made, names), feed_token=outcome.token
        )

    async def AcceptInvitation(
        self, request: pb.AcceptInvitationRequest, context: Context
    ) -> pb.AcceptInvitationResponse:
        """Let a member join."""
        del context
        outcome = await self._group_commit.submit(wire_households.accept_from_proto(request))
        return pb.AcceptInvitationResponse(
            household=await self._household(outcome), feed_token=outcome.token
        )

    async def RemoveMember(
        self, request: pb.RemoveMemberRequest, context: Context
    ) -> pb.RemoveMemberResponse:
        """Take a member out."""
        del context
        outcome = await self._group_commit.submit(wire_households.remove_from_proto(request))
        return pb.RemoveMemberResponse(
            household=await self._household(outcome), feed_token=outcome.token
        )

    async def LeaveHousehold(
        self, request: pb.LeaveHouseholdRequest, context: Context
    ) -> pb.LeaveHouseholdResponse:
        """Let a member leave."""
        del context
        outcome = await self._group_commit.submit(wire_households.leave_from_proto(request))
        return pb.LeaveHouseholdResponse(
            household=await self._household(outcome), feed_token=outcome.token
        )

    async def DissolveHousehold(
        self, request: pb.DissolveHouseholdRequest, context: Context
    ) -> pb.DissolveHouseholdResponse:
        """Let all members leave."""
        del context
        outcome = await self._group_commit.submit(wire_households.dissolve_from_proto(request))
        return pb.DissolveHouseholdResponse(
            household=await self._household(outcome), feed_token=outcome.token
        )

    async def GetHousehold(
        self, request: pb.GetHouseholdRequest, context: Context
    ) -> pb.GetHouseholdResponse:
        """Give a household and what its members have."""
        del context
        found = await self._queries.household(
            ProgramId(request.program_id),
            HouseholdId(request.household_id),
            MemberId(request.member_id),
        )
        return pb.GetHouseholdResponse(
            household=household_to_proto(found.household, found.names),
            balances=[_balance(each, found.names) for each in found.balances],
        )

    async def ListHouseholds(
        self, request: pb.ListHouseholdsRequest, context: Context
    ) -> pb.ListHouseholdsResponse:
        """List the households of a program."""
        del context
        page = await self._queries.households(
            ProgramId(request.program_id),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListHouseholdsResponse(
            households=[household_to_proto(each, page.names) for each in page.households],
            next_page_token=page.next_page_token,
        )

    async def _household(self, outcome: Outcome) -> household_pb2.Household:
        """The household that was answered, with names of its members."""
        made = cast("Household", outcome.answer)
        keys = {each.member_key for each in made.members}
        return household_to_proto(made, await self._queries.names(made.program_id, keys))


def _balance(balance: Balance, names: Names) -> household_pb2.HouseholdBalance:
    return household_pb2.HouseholdBalance(
        currency_id=balance.currency_id,
        points_available=sum([each.available for each in balance.wallets if not each.frozen]),
        members=[
            household_pb2.HouseholdMemberBalance(
                member_id=names.get(each.member_key, ""),
                points_available=each.available,
                frozen=bool(each.frozen),
            )
            for each in balance.wallets
        ],
    )
