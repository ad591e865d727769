"""The classic program over a year, through the public API: friends, levels, validity, anniversary.

The clock only goes forward, so each test begins where the one before ended.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cli import quiescence, replay, verify
from cli.peers import Peers
from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import referral_service_pb2 as referrals
from guerdon.tiers.v1 import tiers_service_pb2 as tiers
from tests.programs.driving import SHANGHAI, activity, at, available, earned, running

CLASSIC = "classic"
JUNE = at("2026-06-30T11:30")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def peers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Peers]:
    async with running(tmp_path_factory.mktemp("classic"), CLASSIC) as reached:
        yield reached


async def on(peers: Peers, text: str) -> None:
    """Let everything come to rest, and go on at an instant."""
    await quiescence.wait(peers)
    await replay.advance_clocks(peers, at(text))
    await quiescence.wait(peers)


async def enroll(peers: Peers, *members: str) -> None:
    for member in members:
        request = pb.EnrollMemberRequest(
            request_id=f"e-{member}", program_id=CLASSIC, member_id=member
        )
        await peers.earning.EnrollMember(request)


async def give_back(peers: Peers, name: str) -> None:
    order = pb.ReversalOrder(reversal_id=f"r-{name}", activity_id=name)
    order.whole.SetInParent()
    order.occurred_time.FromDatetime(JUNE)
    await peers.earning.ReverseActivity(pb.ReverseActivityRequest(program_id=CLASSIC, order=order))


async def level(peers: Peers, member: str) -> str:
    request = tiers.GetMembershipRequest(program_id=CLASSIC, member_id=member)
    return (await peers.tiers.GetMembership(request)).membership.level.level_id


async def test_a_friend_brings_100_points_to_both_with_the_first_order_and_takes_them_back(
    peers: Peers,
) -> None:
    await enroll(peers, "lea", "max")
    mine = referrals.GetReferralCodeRequest(program_id=CLASSIC, member_id="lea")
    code = (await peers.referrals.GetReferralCode(mine)).code
    await peers.referrals.ClaimReferral(
        referrals.ClaimReferralRequest(
            request_id="c-1", program_id=CLASSIC, member_id="max", code=code
        )
    )
    registered = activity("max", 0, when=JUNE, kind="registration")
    assert await earned(peers, CLASSIC, registered) == [100]
    assert await available(peers, CLASSIC, "lea") == 0
    assert await earned(peers, CLASSIC, activity("max", 50, when=JUNE, name="max-1")) == [250]
    assert await available(peers, CLASSIC, "lea") == 100
    assert await available(peers, CLASSIC, "max") == 100 + 250 + 100
    await give_back(peers, "max-1")
    assert await available(peers, CLASSIC, "lea") == 0
    assert await available(peers, CLASSIC, "max") == 100


async def test_p13_spending_every_point_never_takes_a_level_away(peers: Peers) -> None:
    assert await earned(peers, CLASSIC, activity("kim", 350, when=JUNE)) == [1_750]
    await on(peers, "2026-07-01T12:00")
    assert await level(peers, "kim") == "silver"
    hold = pb.HoldPointsRequest(request_id="h-1", program_id=CLASSIC, member_id="kim", points=1_750)
    held = (await peers.earning.HoldPoints(hold)).hold
    await peers.earning.CaptureHold(
        pb.CaptureHoldRequest(request_id="c-2", program_id=CLASSIC, hold_id=held.hold_id)
    )
    await on(peers, "2026-07-05T12:00")
    assert await available(peers, CLASSIC, "kim") == 0
    assert await level(peers, "kim") == "silver"
    orders = [activity("kim", 200, when=at("2026-07-05T11:00"))]
    assert await earned(peers, CLASSIC, *orders) == [300]


async def test_gold_gets_twice_as_many_and_an_order_no_more_than_2000(peers: Peers) -> None:
    large = activity("nil", 1_000, when=at("2026-07-05T11:00"))
    assert await earned(peers, CLASSIC, large) == [2_000]
    await on(peers, "2026-07-06T12:00")
    assert await level(peers, "nil") == "gold"
    orders = [
        activity("nil", 200, when=at("2026-07-06T11:00")),
        activity("nil", 1_500, when=at("2026-07-06T11:01")),
    ]
    assert await earned(peers, CLASSIC, *orders) == [400, 2_000]


async def test_points_of_31_august_are_usable_until_the_last_of_february(peers: Peers) -> None:
    await on(peers, "2026-08-31T10:00")
    await earned(peers, CLASSIC, activity("oda", 20, when=at("2026-08-31T09:00")))
    request = pb.GetWalletRequest(program_id=CLASSIC, member_id="oda")
    (end,) = (await peers.earning.GetWallet(request)).wallet.expiring
    moment = end.expire_time.ToDatetime(tzinfo=SHANGHAI)
    assert moment.astimezone(SHANGHAI).isoformat() == "2027-03-01T00:00:00+08:00"
    await on(peers, "2027-02-28T23:59")
    assert await available(peers, CLASSIC, "oda") == 100
    await on(peers, "2027-03-01T00:00")
    assert await available(peers, CLASSIC, "oda") == 0


async def test_the_day_of_enrolment_doubles_a_year_later(peers: Peers) -> None:
    # Lea enrolled on 30 June; her first order is hers alone to be multiplied by five.
    await on(peers, "2027-07-01T12:00")
    orders = [
        activity("lea", 100, when=at("2027-06-29T12:00")),
        activity("lea", 100, when=at("2027-06-30T00:00")),
        activity("lea", 100, when=at("2027-06-30T23:59")),
        activity("lea", 100, when=at("2027-07-01T00:00")),
    ]
    assert await earned(peers, CLASSIC, *orders) == [500, 200, 200, 100]


async def test_everything_verifies(peers: Peers) -> None:
    await quiescence.wait(peers)
    assert await verify.verify(peers) == []
