"""What the bench writes straight into databases is what the services themselves would have."""

from contextlib import ExitStack

from bench import boards, large, programs
from bench.scenarios import serve
from guerdon.earning.v1 import earning_service_pb2 as earning_pb
from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceStub
from guerdon.gamification.v1 import leaderboard_service_pb2 as leaderboard_pb
from guerdon.gamification.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub
from shared.rpc import client

MEMBERS, ENTRIES_EACH = 40, 3


async def test_a_board_that_is_filled_is_served(postgres_url: str, valkey: str) -> None:
    await boards.fill(postgres_url, MEMBERS)
    with ExitStack() as stack:
        server = serve(stack, "gamification", postgres_url, {"GUERDON_REDIS_URL": valkey})
        async with client.channel(server.address) as channel:
            await boards.until_ready(channel)
            best = max(range(MEMBERS), key=boards.score)
            answer = await LeaderboardServiceStub(channel).GetStanding(
                leaderboard_pb.GetStandingRequest(
                    program_id=boards.PROGRAM_ID,
                    board_id=boards.BOARD_ID,
                    member_id=boards.member_id(best),
                )
            )
    assert (answer.standing.row.rank, answer.standing.row.score) == (1, boards.score(best))


async def test_a_history_that_is_filled_verifies(postgres_url: str) -> None:
    with ExitStack() as stack:
        server = serve(stack, "earning", postgres_url, {})
        async with client.channel(server.address) as channel:
            await programs.apply(channel, programs.plain(large.PROGRAM_ID))
            await large.fill(postgres_url, MEMBERS, ENTRIES_EACH)
            told = [
                each
                async for each in EarningServiceStub(channel).VerifyLedger(
                    earning_pb.VerifyLedgerRequest(program_id=large.PROGRAM_ID)
                )
            ]
    assert told
    assert not [violation for each in told for violation in each.progress.violations]
