"""The whole service of a test: started as it is in production, with a peer beside it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from guerdon.feed.v1 import feed_service_pb2 as feed_pb
from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceStub
from guerdon.gamification.v1 import challenge_pb2
from guerdon.gamification.v1 import gamification_service_pb2 as pb
from guerdon.gamification.v1.gamification_service_pb2_grpc import GamificationServiceStub
from guerdon.gamification.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub
from services.gamification import service, settings, tables
from shared.rpc.server import Running
from tests.gamification.peers import PROGRAM, Peer, giftshop, with_games

if TYPE_CHECKING:
    # The generated modules have these names for type checkers only.
    from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceAsyncStub
    from guerdon.gamification.v1.gamification_service_pb2_grpc import GamificationServiceAsyncStub
    from guerdon.gamification.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub


@dataclass(slots=True, kw_only=True)
class Shop:
    """A running service, its peer, and stubs."""

    peer: Peer
    running: Running
    game: "GamificationServiceAsyncStub"
    boards: "LeaderboardServiceAsyncStub"
    feed: "FeedServiceAsyncStub"

    async def apply(self) -> None:
        """Put the gift shop's document in force, with games."""
        await self.game.ApplyGamificationProgram(
            pb.ApplyGamificationProgramRequest(program=with_games(giftshop()))
        )

    async def quiet(self) -> None:
        """Wait until everything has been taken in, paid and ranked, and a second look agrees."""
        before = feed_pb.GetHeadsResponse()
        for _ in range(400):
            heads = await self.feed.GetHeads(feed_pb.GetHeadsRequest())
            async with self.peer.database.reading() as tx:
                rows = await tx.fetch(tables.kernel.feed_heads.select())
            wanted = {row.partition: row.position for row in rows}
            taken = {cursor.partition: cursor.position for cursor in heads.cursors}
            projected = list(heads.projections) == list(heads.projection_heads)
            if taken == wanted and projected and not heads.intentions_open:
                if heads == before:
                    return
                before = heads
                continue
            await asyncio.sleep(0.05)
        raise AssertionError(f"not quiet: {heads}")

    async def verify(self) -> list[str]:
        """Rules that are violated."""
        call = self.game.VerifyGamification(pb.VerifyGamificationRequest(program_id=PROGRAM))
        return [each.rule async for told in call for each in told.progress.violations]

    async def progress(self, member_id: str, token: str = "") -> dict[str, challenge_pb2.Progress]:
        """Progress of a member by challenge."""
        answer = await self.game.GetProgress(
            pb.GetProgressRequest(program_id=PROGRAM, member_id=member_id, wait_for_token=token)
        )
        return {each.challenge_id: each for each in answer.progress}


@asynccontextmanager
async def open_shop(peer: Peer, database_url: str, board_url: str) -> AsyncIterator[Shop]:
    """Start the service and stop it again."""
    environ = {
        "GUERDON_GAMIFICATION_DATABASE_URL": database_url,
        "GUERDON_GAMIFICATION_LISTEN": "127.0.0.1:0",
        "GUERDON_GAMIFICATION_STOP_GRACE": "1",
        "GUERDON_REDIS_URL": board_url,
        "GUERDON_EARNING_ADDRESS": peer.address,
        "GUERDON_CLOCK": "simulated",
        "GUERDON_CLOCK_START": "2011-03-15T12:00:00Z",
    }
    running = await service.start(settings.load(environ))
    channel = grpc.aio.insecure_channel(running.address)
    try:
        yield Shop(
            peer=peer,
            running=running,
            game=GamificationServiceStub(channel),
            boards=LeaderboardServiceStub(channel),
            feed=FeedServiceStub(channel),
        )
    finally:
        await channel.close()
        await running.stop()
