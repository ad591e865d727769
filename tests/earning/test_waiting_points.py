"""Points that wait to be confirmed and points that end, as callers meet them, behind real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from guerdon.clock.v1 import clock_service_pb2 as clock_pb
from guerdon.clock.v1.clock_service_pb2_grpc import ClockServiceStub
from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import events_pb2
from guerdon.feed.v1 import feed_service_pb2 as feed_pb
from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceStub
from shared.rpc.client import refusal_of
from tests.earning.callers import Caller, calling, refused
from tests.earning.nodes import PROGRAM, START, order, stamp

CALLERS = 64


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    """A shop whose points wait to be confirmed, and live for ten days from then on."""
    currency = {
        "currency_id": "points",
        "pending_until_confirmed": True,
        "expiry": {"after_days": 10},
        "reminder_days": [3],
    }
    async with calling(database_url, tmp_path, currencies=[currency]) as made:
        yield made


async def confirm(caller: Caller, activity_id: str = "a-1", request_id: str = "") -> int:
    """The points that are available afterwards."""
    key = caller.key()
    request = pb.ConfirmActivityRequest(
        request_id=request_id or key["request_id"], program_id=PROGRAM, activity_id=activity_id
    )
    return (await caller.earning.ConfirmActivity(request)).entry.points_available_after


async def balance(caller: Caller) -> tuple[int, int]:
    """Points available and pending."""
    wallet = await caller.wallet()
    return wallet.points_available, wallet.points_pending


async def advance(caller: Caller, days: float) -> None:
    clock = ClockServiceStub(caller.channel)
    later = stamp(START + timedelta(days=days))
    await clock.AdvanceClock(clock_pb.AdvanceClockRequest(to=later))


async def test_points_wait_until_they_are_confirmed_and_live_from_then_on(caller: Caller) -> None:
    assert await caller.buy("a-1", amount=5_000) == 50
    assert await balance(caller) == (0, 50)
    assert (await refused(caller.hold(1)))[1] == "INSUFFICIENT_POINTS"
    await advance(caller, 30)
    assert await confirm(caller) == 50
    assert await balance(caller) == (50, 0)
    (expiring,) = (await caller.wallet()).expiring
    ends = expiring.expire_time.ToDatetime(tzinfo=START.tzinfo)
    assert (expiring.points, ends.isoformat()) == (50, "2025-07-11T23:00:00+00:00")
    assert await caller.verified() == []


async def test_a_confirmation_is_answered_alike_again_and_done_once(caller: Caller) -> None:
    await caller.buy("a-1", amount=5_000)
    assert await confirm(caller, request_id="c-1") == 50
    assert await confirm(caller, request_id="c-1") == 50
    assert await refused(confirm(caller)) == ("FAILED_PRECONDITION", "ACTIVITY_NOT_PENDING")
    assert await refused(confirm(caller, "a-2")) == ("NOT_FOUND", "ACTIVITY_NOT_FOUND")
    assert await balance(caller) == (50, 0)


async def test_of_64_confirmations_one_is_done(caller: Caller) -> None:
    await caller.buy("a-1", amount=5_000)

    async def once() -> str:
        try:
            await confirm(caller)
        except grpc.aio.AioRpcError as error:
            return refusal_of(error).reason
        return "done"

    told = await asyncio.gather(*(once() for _ in range(CALLERS)))
    assert sorted(told) == sorted(["done", *["ACTIVITY_NOT_PENDING"] * (CALLERS - 1)])
    assert await balance(caller) == (50, 0)
    assert await caller.verified() == []


async def test_a_return_takes_points_that_wait_and_only_the_rest_is_confirmed(
    caller: Caller,
) -> None:
    await caller.buy("a-1", amount=5_000)
    back = order("r-1", "a-1", amount=2_000)
    request = pb.ReverseActivityRequest(program_id=PROGRAM, order=back)
    assert (await caller.earning.ReverseActivity(request)).reversal.points == 20
    assert await balance(caller) == (0, 30)
    assert await confirm(caller) == 30
    assert await caller.verified() == []


async def test_members_are_told_ahead_and_when_points_have_ended(caller: Caller) -> None:
    key = (await caller.enroll()).member_key
    await caller.buy("a-1", amount=5_000)
    await confirm(caller)
    await advance(caller, 60)
    for _ in range(100):
        events = [each.payload for each in await caller.events(key)]
        expired = [each for each in events if each.Is(events_pb2.PointsExpired.DESCRIPTOR)]
        if expired:
            break
        await asyncio.sleep(0.05)
    kinds = [each.type_url.rpartition(".")[2] for each in events]
    assert kinds.count("PointsExpired") == 1
    assert kinds.count("PointsActivated") == 1
    assert events_pb2.PointsExpired.FromString(expired[0].value).points == 50
    wallet = await caller.wallet()
    assert (wallet.points_available, wallet.points_expired) == (0, 50)
    assert await caller.verified() == []


async def test_more_wallets_end_at_once_than_callers_may_wait(
    database_url: str, tmp_path: Path
) -> None:
    currency = {"currency_id": "points", "expiry": {"after_days": 10}, "reminder_days": []}
    async with calling(database_url, tmp_path, queue_max=2, currencies=[currency]) as caller:
        for name in ("ann", "bob", "cat"):
            await caller.buy(f"a-{name}", name, amount=5_000)
        await advance(caller, 60)
        feed = FeedServiceStub(caller.channel)
        async with asyncio.timeout(30):
            while (await feed.GetHeads(feed_pb.GetHeadsRequest())).jobs_due:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        expired = [(await caller.wallet(name)).points_expired for name in ("ann", "bob", "cat")]
        assert expired == [50, 50, 50]
        assert await caller.verified() == []
