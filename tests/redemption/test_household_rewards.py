"""Rewards that members of a household pay together, with the real earning behind it."""

import asyncio

import pytest

from guerdon.earning.v1 import earning_service_pb2 as earning_pb
from guerdon.earning.v1 import household_service_pb2 as households_pb
from guerdon.earning.v1.household_service_pb2_grpc import HouseholdServiceStub
from guerdon.redemption.v1 import redemption_service_pb2 as pb
from guerdon.redemption.v1 import reward_pb2
from tests.earning.nodes import document
from tests.redemption.shops import PROGRAM, Shop, refused, reward

COMPLETED = reward_pb2.Redemption.STATE_COMPLETED


@pytest.fixture
async def home(shop: Shop) -> Shop:
    """Ann has 300 points, bob 400, and both are of a household; cy has 900, alone."""
    await shop.earning.ApplyEarningProgram(
        earning_pb.ApplyEarningProgramRequest(program=document(households={"max_members": 2}))
    )
    await shop.apply(reward())  # a mug for 500 points
    for name, points in (("ann", 300), ("bob", 400), ("cy", 900)):
        await shop.enroll(name, points)
    stub = HouseholdServiceStub(shop.to_earning)
    create = households_pb.CreateHouseholdRequest(
        request_id="c-1", program_id=PROGRAM, member_id="ann"
    )
    made = (await stub.CreateHousehold(create)).household
    invite = households_pb.InviteMemberRequest(
        request_id="i-1", program_id=PROGRAM, household_id=made.household_id
    )
    code = (await stub.InviteMember(invite)).invitation.code
    accept = households_pb.AcceptInvitationRequest(
        request_id="a-1", program_id=PROGRAM, member_id="bob", code=code
    )
    token = (await stub.AcceptInvitation(accept)).feed_token
    # What redemption knows of members has come with what came before this.
    listed = pb.RedeemRewardRequest(
        request_id="r-0",
        program_id=PROGRAM,
        member_id="zoe",
        reward_id="mug",
        wait_for_token=token,
    )
    assert (await refused(shop.stub.RedeemReward(listed))).reason == "MEMBER_NOT_FOUND"
    return shop


def asked(member_id: str, request_id: str = "r-1") -> pb.RedeemRewardRequest:
    return pb.RedeemRewardRequest(
        request_id=request_id,
        program_id=PROGRAM,
        member_id=member_id,
        reward_id="mug",
        from_household=True,
    )


async def test_a_household_has_a_reward_that_no_member_has_the_points_for(home: Shop) -> None:
    assert (await refused(home.redeem("ann"))).reason == "INSUFFICIENT_POINTS"
    told = await home.stub.RedeemReward(asked("ann"), timeout=20)
    assert (told.redemption.state, told.redemption.from_household) == (COMPLETED, True)
    assert [await home.points(name) for name in ("ann", "bob")] == [(0, 0), (200, 0)]
    assert await home.violations() == []
    await home.cancel(told.redemption.redemption_id)
    assert [await home.points(name) for name in ("ann", "bob")] == [(300, 0), (400, 0)]
    assert await home.violations() == []


async def test_the_same_request_for_the_member_alone_is_another_one(home: Shop) -> None:
    first = await home.stub.RedeemReward(asked("ann"), timeout=20)
    assert await home.stub.RedeemReward(asked("ann"), timeout=20) == first
    alone = asked("ann")
    alone.from_household = False
    assert (await refused(home.stub.RedeemReward(alone))).reason == "IDEMPOTENCY_KEY_REUSED"


async def test_whoever_is_in_no_household_is_told_so(home: Shop) -> None:
    refusal = await refused(home.stub.RedeemReward(asked("cy"), timeout=20))
    assert refusal.reason == "POINTS_REFUSED"
    assert refusal.metadata()["earning_reason"] == "NOT_IN_HOUSEHOLD"
    assert await home.points("cy") == (900, 0)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("method", ["HoldPoints", "CaptureHold"])
async def test_a_process_that_dies_spends_the_household_s_points_once(
    home: Shop, when: str, method: str
) -> None:
    home.gate.stop_at(when, method)
    call = asyncio.ensure_future(home.stub.RedeemReward(asked("bob"), timeout=20))
    await home.gate.reached.wait()
    await home.restart()
    await asyncio.gather(call, return_exceptions=True)
    home.gate.go_on.set()
    told = await home.stub.RedeemReward(asked("bob"), timeout=20)
    assert told.redemption.state == COMPLETED
    # Of points that end together bob's own go first.
    assert [await home.points(name) for name in ("ann", "bob")] == [(200, 0), (0, 0)]
    assert await home.violations() == []
