"""Earning behind real gRPC, as callers of members meet it."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from guerdon.clock.v1 import clock_service_pb2
from guerdon.clock.v1.clock_service_pb2_grpc import ClockServiceStub
from guerdon.earning.v1 import (
    activity_pb2,
    household_pb2,
    ledger_pb2,
    member_pb2,
    referral_pb2,
    seal_pb2,
)
from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import household_service_pb2 as households_pb
from guerdon.earning.v1 import member_service_pb2 as members_pb
from guerdon.earning.v1 import points_pb2 as points_types
from guerdon.earning.v1 import points_service_pb2 as points_pb
from guerdon.earning.v1 import referral_service_pb2 as referrals_pb
from guerdon.earning.v1 import seal_service_pb2 as seals_pb
from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceStub
from guerdon.earning.v1.household_service_pb2_grpc import HouseholdServiceStub
from guerdon.earning.v1.member_service_pb2_grpc import MemberServiceStub
from guerdon.earning.v1.points_service_pb2_grpc import PointsServiceStub
from guerdon.earning.v1.referral_service_pb2_grpc import ReferralServiceStub
from guerdon.earning.v1.seal_service_pb2_grpc import SealServiceStub
from guerdon.feed.v1 import feed_service_pb2 as feed_pb
from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceStub
from services.earning import service
from services.earning.settings import Settings
from shared.ids import partition_of
from shared.rpc.client import channel, refusal_of
from tests.earning.nodes import PROGRAM, START, document, order, purchase
from tests.tiers.publisher import publishing

if TYPE_CHECKING:
    from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceAsyncStub
    from guerdon.earning.v1.household_service_pb2_grpc import HouseholdServiceAsyncStub
    from guerdon.earning.v1.member_service_pb2_grpc import MemberServiceAsyncStub
    from guerdon.earning.v1.points_service_pb2_grpc import PointsServiceAsyncStub
    from guerdon.earning.v1.referral_service_pb2_grpc import ReferralServiceAsyncStub
    from guerdon.earning.v1.seal_service_pb2_grpc import SealServiceAsyncStub

PARTITIONS = 16


class Key(TypedDict):
    """What every request that changes something begins with."""

    request_id: str
    program_id: str


@dataclass(slots=True)
class Caller:
    """A caller of earning; every request gets a key of its own unless one is given."""

    channel: grpc.aio.Channel
    numbers: "count[int]" = field(default_factory=count)

    @property
    def earning(self) -> "EarningServiceAsyncStub":
        return EarningServiceStub(self.channel)

    @property
    def members(self) -> "MemberServiceAsyncStub":
        return MemberServiceStub(self.channel)

    @property
    def households(self) -> "HouseholdServiceAsyncStub":
        return HouseholdServiceStub(self.channel)

    @property
    def points(self) -> "PointsServiceAsyncStub":
        return PointsServiceStub(self.channel)

    @property
    def referrals(self) -> "ReferralServiceAsyncStub":
        return ReferralServiceStub(self.channel)

    @property
    def seals(self) -> "SealServiceAsyncStub":
        return SealServiceStub(self.channel)

    def key(self) -> Key:
        return Key(request_id=f"q-{next(self.numbers)}", program_id=PROGRAM)

    async def enroll(
        self, member_id: str = "ann", profile: member_pb2.MemberProfile | None = None
    ) -> member_pb2.Member:
        request = pb.EnrollMemberRequest(**self.key(), member_id=member_id, profile=profile)
        return (await self.earning.EnrollMember(request)).member

    async def get(self, member_id: str = "ann") -> member_pb2.Member:
        request = members_pb.GetMemberRequest(program_id=PROGRAM, member_id=member_id)
        return (await self.members.GetMember(request)).member

    async def record(self, activity: activity_pb2.Activity) -> pb.RecordActivityResponse:
        return await self.earning.RecordActivity(
            pb.RecordActivityRequest(program_id=PROGRAM, activity=activity)
        )

    async def buy(self, activity_id: str, member_id: str = "ann", amount: int = 1_000) -> int:
        """The points of a purchase."""
        response = await self.record(purchase(activity_id, member_id, lines=[(1, amount)]))
        return response.record.points

    async def add(
        self, identifier: str, member_id: str = "ann", kind: str = "card"
    ) -> member_pb2.Member:
        request = members_pb.AddIdentifierRequest(
            **self.key(),
            member_id=member_id,
            identifier=member_pb2.MemberIdentifier(kind=kind, identifier=identifier),
        )
        return (await self.members.AddIdentifier(request)).member

    async def remove(self, identifier: str, member_id: str = "ann") -> member_pb2.Member:
        request = members_pb.RemoveIdentifierRequest(
            **self.key(), member_id=member_id, identifier=identifier
        )
        return (await self.members.RemoveIdentifier(request)).member

    async def claim(self, card_id: str, member_id: str = "ann") -> member_pb2.Member:
        request = members_pb.ClaimCardRequest(**self.key(), member_id=member_id, card_id=card_id)
        return (await self.members.ClaimCard(request)).member

    async def merge(self, source: str, target: str) -> member_pb2.Member:
        request = members_pb.MergeMembersRequest(
            **self.key(), source_member_id=source, target_member_id=target
        )
        return (await self.members.MergeMembers(request)).member

    async def freeze(self, member_id: str = "ann") -> member_pb2.Member:
        request = members_pb.FreezeMemberRequest(**self.key(), member_id=member_id)
        return (await self.members.FreezeMember(request)).member

    async def unfreeze(self, member_id: str = "ann") -> member_pb2.Member:
        request = members_pb.UnfreezeMemberRequest(**self.key(), member_id=member_id)
        return (await self.members.UnfreezeMember(request)).member

    async def erase(self, member_id: str = "ann") -> member_pb2.Member:
        request = members_pb.EraseMemberRequest(**self.key(), member_id=member_id)
        return (await self.members.EraseMember(request)).member

    async def export(self, member_id: str = "ann") -> list[members_pb.ExportMemberResponse]:
        request = members_pb.ExportMemberRequest(program_id=PROGRAM, member_id=member_id)
        return [each async for each in self.members.ExportMember(request)]

    async def wallet(self, member_id: str = "ann") -> ledger_pb2.Wallet:
        request = pb.GetWalletRequest(program_id=PROGRAM, member_id=member_id)
        return (await self.earning.GetWallet(request)).wallet

    async def hold(self, points: int, member_id: str = "ann") -> ledger_pb2.Hold:
        request = pb.HoldPointsRequest(**self.key(), member_id=member_id, points=points)
        return (await self.earning.HoldPoints(request)).hold

    async def transfer(
        self, points: int, to: str = "bob", member_id: str = "ann"
    ) -> points_types.Transfer:
        request = points_pb.TransferPointsRequest(
            **self.key(),
            from_member_id=member_id,
            to_member_id=to,
            points=points,
            reason="happy birthday",
        )
        return (await self.points.TransferPoints(request)).transfer

    async def adjust(
        self, points: int, member_id: str = "ann", actor: str = "cara"
    ) -> points_types.Adjustment:
        request = points_pb.AdjustPointsRequest(
            **self.key(), member_id=member_id, points=points, actor=actor, reason="a late parcel"
        )
        return (await self.points.AdjustPoints(request)).adjustment

    async def approve(self, adjustment_id: str, actor: str = "dan") -> points_types.Adjustment:
        request = points_pb.ApproveAdjustmentRequest(
            **self.key(), adjustment_id=adjustment_id, actor=actor
        )
        return (await self.points.ApproveAdjustment(request)).adjustment

    async def reject(self, adjustment_id: str, actor: str = "dan") -> points_types.Adjustment:
        request = points_pb.RejectAdjustmentRequest(
            **self.key(), adjustment_id=adjustment_id, actor=actor, reason="no parcel was late"
        )
        return (await self.points.RejectAdjustment(request)).adjustment

    async def code(self, member_id: str = "ann") -> str:
        request = referrals_pb.GetReferralCodeRequest(program_id=PROGRAM, member_id=member_id)
        return (await self.referrals.GetReferralCode(request)).code

    async def claim_code(self, code: str, member_id: str) -> referral_pb2.Referral:
        request = referrals_pb.ClaimReferralRequest(**self.key(), member_id=member_id, code=code)
        return (await self.referrals.ClaimReferral(request)).referral

    async def come_by(self, referrer: str, member_id: str) -> referral_pb2.Referral:
        """A friend claims the code of a member."""
        return await self.claim_code(await self.code(referrer), member_id)

    async def referral(self, member_id: str) -> referral_pb2.Referral:
        request = referrals_pb.GetReferralRequest(program_id=PROGRAM, member_id=member_id)
        return (await self.referrals.GetReferral(request)).referral

    async def found(self, head: str = "ann") -> str:
        """A new household."""
        request = households_pb.CreateHouseholdRequest(**self.key(), member_id=head)
        return (await self.households.CreateHousehold(request)).household.household_id

    async def invite(self, household_id: str, member_id: str = "") -> str:
        """The code of an invitation."""
        request = households_pb.InviteMemberRequest(
            **self.key(), household_id=household_id, member_id=member_id
        )
        return (await self.households.InviteMember(request)).invitation.code

    async def accept(self, code: str, member_id: str) -> household_pb2.Household:
        request = households_pb.AcceptInvitationRequest(
            **self.key(), member_id=member_id, code=code
        )
        return (await self.households.AcceptInvitation(request)).household

    async def house(self, head: str, *others: str) -> str:
        """A new household of several members."""
        household_id = await self.found(head)
        for each in others:
            await self.accept(await self.invite(household_id, each), each)
        return household_id

    async def leave(self, member_id: str) -> household_pb2.Household:
        request = households_pb.LeaveHouseholdRequest(**self.key(), member_id=member_id)
        return (await self.households.LeaveHousehold(request)).household

    async def put_out(self, household_id: str, member_id: str) -> household_pb2.Household:
        request = households_pb.RemoveMemberRequest(
            **self.key(), household_id=household_id, member_id=member_id
        )
        return (await self.households.RemoveMember(request)).household

    async def dissolve(self, household_id: str) -> household_pb2.Household:
        request = households_pb.DissolveHouseholdRequest(**self.key(), household_id=household_id)
        return (await self.households.DissolveHousehold(request)).household

    async def home(self, member_id: str) -> households_pb.GetHouseholdResponse:
        """The household of a member, and what it has."""
        request = households_pb.GetHouseholdRequest(program_id=PROGRAM, member_id=member_id)
        return await self.households.GetHousehold(request)

    async def pool(self, points: int, member_id: str = "ann", *, days: int = 0) -> ledger_pb2.Hold:
        """A hold of the household's points, for some days or for a quarter of an hour."""
        request = pb.HoldPointsRequest(
            **self.key(),
            member_id=member_id,
            points=points,
            from_household=True,
            hold_duration=Duration(seconds=86_400 * days) if days else None,
        )
        return (await self.earning.HoldPoints(request)).hold

    async def capture(self, hold: ledger_pb2.Hold, points: int = 0) -> ledger_pb2.Hold:
        request = pb.CaptureHoldRequest(**self.key(), hold_id=hold.hold_id, points=points)
        return (await self.earning.CaptureHold(request)).hold

    async def void(self, hold: ledger_pb2.Hold) -> ledger_pb2.Hold:
        request = pb.VoidHoldRequest(**self.key(), hold_id=hold.hold_id)
        return (await self.earning.VoidHold(request)).hold

    async def refund(self, hold: ledger_pb2.Hold, points: int = 0) -> ledger_pb2.Hold:
        request = pb.RefundCaptureRequest(**self.key(), hold_id=hold.hold_id, points=points)
        return (await self.earning.RefundCapture(request)).hold

    async def listed_seals(self) -> list[seal_pb2.Seal]:
        """All seals, the latest day first."""
        request = seals_pb.ListSealsRequest(program_id=PROGRAM, page_size=1_000)
        return list((await self.seals.ListSeals(request)).seals)

    async def proof(self, member_id: str = "ann", day: str = "") -> seal_pb2.WalletProof:
        request = seals_pb.ProveWalletRequest(program_id=PROGRAM, member_id=member_id, day=day)
        return (await self.seals.ProveWallet(request)).proof

    async def give_back(self, activity_id: str, amount: int = 0) -> None:
        """Reverse an activity, or an amount of it."""
        made = order(f"back-{next(self.numbers)}", activity_id, amount=amount)
        await self.earning.ReverseActivity(
            pb.ReverseActivityRequest(program_id=PROGRAM, order=made)
        )

    async def entries(self, member_id: str = "ann") -> list[ledger_pb2.Entry]:
        """Entries, the newest first."""
        request = pb.ListEntriesRequest(program_id=PROGRAM, member_id=member_id, page_size=1_000)
        return list((await self.earning.ListEntries(request)).entries)

    async def credit(self, points: int, member_id: str = "ann") -> None:
        await self.earning.CreditPoints(
            pb.CreditPointsRequest(
                **self.key(), member_id=member_id, points=points, reason="a gift"
            )
        )

    async def verified(self) -> list[str]:
        """What VerifyLedger finds wrong."""
        found: list[str] = []
        async for progress in self.earning.VerifyLedger(pb.VerifyLedgerRequest()):
            found += [f"{each.rule} {each.detail}" for each in progress.progress.violations]
        return found

    async def events(self, member_key: str) -> list[feed_pb.Event]:
        """Events about a member, in order."""
        partition = partition_of(member_key, PARTITIONS)
        request = feed_pb.ReadEventsRequest(partition=partition, page_size=1_000)
        found = await FeedServiceStub(self.channel).ReadEvents(request)
        return [each for each in found.events if each.member_key == member_key]


@asynccontextmanager
async def calling(database_url: str, tmp_path: Path, **changes: object) -> AsyncIterator[Caller]:
    """A caller of a running service with the program `shop`.

    Changes are the program's, but for `queue_max`.
    """
    queue_max = cast("int", changes.pop("queue_max", 10_000))
    async with publishing(f"sqlite:///{tmp_path}/tiers.db") as publisher:
        running = await service.start(
            Settings(
                database_url=database_url,
                listen="127.0.0.1:0",
                tiers_address=publisher.address,
                partitions=PARTITIONS,
                clock="simulated",
                clock_start=START.isoformat(),
                log_level="error",
                queue_max=queue_max,
            )
        )
        try:
            async with channel(running.address) as opened:
                caller = Caller(opened)
                request = pb.ApplyEarningProgramRequest(program=document(**changes))
                request.options.prune = True
                await caller.earning.ApplyEarningProgram(request)
                yield caller
        finally:
            await running.stop()


async def refused(call: Awaitable[object]) -> tuple[str, str]:
    """Code and reason of a call that must be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    refusal = refusal_of(failed.value)
    return refusal.code, refusal.reason


async def told(call: Awaitable[object]) -> str:
    """The reason of a call's refusal, "" when it was taken."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return refusal_of(error).reason
    return ""


async def go_on(caller: Caller, **parts: float) -> None:
    clock = ClockServiceStub(caller.channel)
    now = (await clock.GetClock(clock_service_pb2.GetClockRequest())).now.ToDatetime(UTC)
    request = clock_service_pb2.AdvanceClockRequest()
    request.to.FromDatetime(now + timedelta(**parts))
    await clock.AdvanceClock(request)
