"""Waiting for quiet: what is behind is waited for, what is parked is told by name."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import pytest

from cli import cluster, quiescence
from cli.peers import Peers, connected
from guerdon.feed.v1 import feed_service_pb2 as pb
from guerdon.feed.v1.feed_service_pb2_grpc import (
    FeedServiceServicer,
    add_FeedServiceServicer_to_server,
)
from shared.jobs import Job, JobRunner
from shared.rpc.interceptors import Context

SOON = 0.3


class Scripted(FeedServiceServicer):
    """A service whose heads are those of a script; the last answer stays."""

    def __init__(self, *answers: pb.GetHeadsResponse) -> None:
        self.answers: Sequence[pb.GetHeadsResponse] = answers or (pb.GetHeadsResponse(),)
        self.looks = 0

    async def GetHeads(self, request: pb.GetHeadsRequest, context: Context) -> pb.GetHeadsResponse:
        answer = self.answers[min(self.looks, len(self.answers) - 1)]
        self.looks += 1
        return answer

    async def ReadEvents(
        self, request: pb.ReadEventsRequest, context: Context
    ) -> pb.ReadEventsResponse:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED)

    async def FollowEvents(
        self, request: pb.FollowEventsRequest, context: Context
    ) -> AsyncIterator[pb.FollowEventsResponse]:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED)
        yield pb.FollowEventsResponse()


@asynccontextmanager
async def serving(**scripts: Scripted) -> AsyncIterator[Peers]:
    """Four real servers; those without a script are idle."""
    async with AsyncExitStack() as stack:
        addresses = {}
        for service in cluster.SERVICES:
            server = grpc.aio.server()
            add_FeedServiceServicer_to_server(scripts.get(service, Scripted()), server)
            addresses[service] = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            await server.start()
            stack.push_async_callback(server.stop, None)
        yield await stack.enter_async_context(connected(addresses))


def places(source: str, *positions: int) -> list[pb.Cursor]:
    return [
        pb.Cursor(source=source, partition=number, position=position)
        for number, position in enumerate(positions)
    ]


async def test_an_idle_cluster_is_quiet_at_the_second_look() -> None:
    earning = Scripted()
    async with serving(earning=earning) as peers:
        await quiescence.wait(peers, seconds_max=5)
    assert earning.looks == 2


async def test_heads_that_never_stand_still_are_not_waited_for_beyond_the_deadline() -> None:
    earning = Scripted(
        *(pb.GetHeadsResponse(heads=places("earning", position)) for position in range(5_000))
    )
    async with serving(earning=earning) as peers, asyncio.timeout(SOON * 5):
        with pytest.raises(quiescence.NotQuiet) as moving:
            await quiescence.wait(peers, seconds_max=SOON)
    assert "earning" in str(moving.value)


async def test_a_follower_that_is_behind_is_waited_for() -> None:
    earning = Scripted(pb.GetHeadsResponse(heads=places("earning", 3, 5)))
    tiers = Scripted(
        pb.GetHeadsResponse(cursors=places("earning", 3, 0)),
        pb.GetHeadsResponse(cursors=places("earning", 3, 4)),
        pb.GetHeadsResponse(cursors=places("earning", 3, 5)),
    )
    async with serving(earning=earning, tiers=tiers) as peers:
        await quiescence.wait(peers, seconds_max=5)
    assert tiers.looks == 4


async def test_heads_that_moved_between_two_looks_are_looked_at_again() -> None:
    earning = Scripted(
        pb.GetHeadsResponse(heads=places("earning", 1)),
        pb.GetHeadsResponse(heads=places("earning", 2)),
        pb.GetHeadsResponse(heads=places("earning", 2)),
    )
    async with serving(earning=earning) as peers:
        await quiescence.wait(peers, seconds_max=5)
    assert earning.looks == 3


MOVING = [
    (
        {
            "earning": pb.GetHeadsResponse(heads=places("earning", 7, 2)),
            "redemption": pb.GetHeadsResponse(cursors=places("earning", 1, 1)),
        },
        "redemption is 7 events behind earning",
    ),
    (
        {
            "earning": pb.GetHeadsResponse(heads=places("earning", 7, 2)),
            "redemption": pb.GetHeadsResponse(cursors=places("earning", 7)),
        },
        "redemption is 2 events behind earning",
    ),
    (
        {
            "gamification": pb.GetHeadsResponse(
                projections=places("scores", 3, 3), projection_heads=places("scores", 3, 4)
            )
        },
        "gamification projects 1 board partitions",
    ),
    ({"tiers": pb.GetHeadsResponse(intentions_open=2)}, "tiers has 2 open intentions"),
    ({"earning": pb.GetHeadsResponse(jobs_due=1)}, "earning has 1 jobs due"),
]


@pytest.mark.parametrize(("answers", "words"), MOVING, ids=[each[1] for each in MOVING])
async def test_what_is_still_moving_when_time_is_over_is_told(
    answers: dict[str, pb.GetHeadsResponse], words: str
) -> None:
    async with serving(**{name: Scripted(answer) for name, answer in answers.items()}) as peers:
        with pytest.raises(quiescence.NotQuiet) as moving:
            await quiescence.wait(peers, seconds_max=SOON)
    assert words in str(moving.value)
    assert "not quiet after" in str(moving.value)


async def test_a_parked_member_is_told_by_name_at_once() -> None:
    tiers = Scripted(pb.GetHeadsResponse(parked_members=["a1b2", "c3d4"], intentions_open=1))
    async with serving(tiers=tiers) as peers:
        with pytest.raises(quiescence.NotQuiet) as stuck:
            async with asyncio.timeout(10):
                await quiescence.wait(peers, seconds_max=600)
    assert str(stuck.value) == "tiers has parked member a1b2; tiers has parked member c3d4"
    assert tiers.looks == 1


class Working(Scripted):
    """A service that tells of its jobs as every service does."""

    def __init__(self, runner: JobRunner) -> None:
        super().__init__()
        self._runner = runner

    async def GetHeads(self, request: pb.GetHeadsRequest, context: Context) -> pb.GetHeadsResponse:
        return pb.GetHeadsResponse(jobs_due=await self._runner.due_count())


@asynccontextmanager
async def busy(*, awaited: bool) -> AsyncIterator[JobRunner]:
    """A job that is in the middle of its work until the context ends."""
    begun = asyncio.Event()

    async def due() -> int:
        return 1

    async def run() -> int:
        begun.set()
        await asyncio.Event().wait()
        return 1

    runner = JobRunner([Job(name="seals", due=due, run=run, awaited=awaited)])
    task = asyncio.create_task(runner.run())
    try:
        await begun.wait()
        yield runner
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_job_that_nobody_waits_for_does_not_delay_quiet() -> None:
    async with busy(awaited=False) as runner, serving(earning=Working(runner)) as peers:
        await quiescence.wait(peers, seconds_max=SOON)
        assert await runner.due_count() == 0


async def test_a_job_that_is_waited_for_keeps_the_cluster_from_being_quiet() -> None:
    async with busy(awaited=True) as runner, serving(earning=Working(runner)) as peers:
        with pytest.raises(quiescence.NotQuiet, match="earning has 1 jobs due"):
            await quiescence.wait(peers, seconds_max=SOON)
