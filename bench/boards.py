"""A board of a million members for the bench, and its floor straight at Redis."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import cast

import grpc
import redis.asyncio

from bench import floors
from guerdon.gamification.v1 import gamification_service_pb2 as pb
from guerdon.gamification.v1 import leaderboard_service_pb2 as leaderboard_pb
from guerdon.gamification.v1 import program_pb2
from guerdon.gamification.v1.gamification_service_pb2_grpc import GamificationServiceStub
from guerdon.gamification.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub
from services.gamification import tables
from shared import feed_log, migrate
from shared.clock import monotonic
from shared.database import Database
from shared.ids import SystemIds, partition_of

PROGRAM_ID = "bench"
BOARD_ID = "scores"
PERIOD = "all"
PARTITIONS = 16
_CHUNK = 20_000
_READY_SECONDS_MAX = 600.0
_SCORES = 250_000
"""Different scores: about four members share each, so that ties are everywhere."""
_NOW = datetime(2026, 1, 1, tzinfo=UTC)

Row = Mapping[str, object]


def member_id(number: int) -> str:
    """The identifier of a member."""
    return f"member-{number}"


def member_key(number: int) -> str:
    """The key of a member, spread over all partitions."""
    return blake2b(member_id(number).encode(), digest_size=16).hexdigest()


def score(number: int) -> int:
    """The score of a member."""
    return number * 7919 % _SCORES


async def fill(url: str, members: int) -> None:
    """Write members and their scores straight into an empty database of the service."""
    await migrate.migrate(
        url,
        schema="gamification",
        package="services.gamification.migrations",
        metadata=tables.metadata,
    )
    database = await Database.open(url, schema="gamification")
    try:
        await feed_log.open_feed(
            database, tables.kernel, partitions=PARTITIONS, incarnation=SystemIds().new()
        )
        heads = dict.fromkeys(range(PARTITIONS), 0)
        for start in range(0, members, _CHUNK):
            await _fill_chunk(database, range(start, min(start + _CHUNK, members)), heads)
        async with database.transaction() as tx:
            await tx.insert(
                tables.board_heads,
                [
                    {
                        "program_id": PROGRAM_ID,
                        "board_id": BOARD_ID,
                        "period": PERIOD,
                        "partition": partition,
                        "position": position,
                    }
                    for partition, position in heads.items()
                ],
            )
    finally:
        await database.dispose()


async def _fill_chunk(database: Database, numbers: range, heads: dict[int, int]) -> None:
    async with database.transaction() as tx:
        await tx.insert(tables.members, list(_members(numbers)))
        await tx.insert(tables.member_identifiers, list(_identifiers(numbers)))
        await tx.insert(tables.scores, list(_scores(numbers, heads)))


def _members(numbers: range) -> Iterator[Row]:
    for number in numbers:
        yield {
            "program_id": PROGRAM_ID,
            "member_key": member_key(number),
            "member_id": member_id(number),
            "enroll_time": _NOW,
        }


def _identifiers(numbers: range) -> Iterator[Row]:
    for number in numbers:
        yield {
            "program_id": PROGRAM_ID,
            "identifier": member_id(number),
            "kind": "member_id",
            "member_key": member_key(number),
            "assign_time": _NOW,
        }


def _scores(numbers: range, heads: dict[int, int]) -> Iterator[Row]:
    for number in numbers:
        key = member_key(number)
        partition = partition_of(key, PARTITIONS)
        heads[partition] += 1
        yield {
            "program_id": PROGRAM_ID,
            "member_key": key,
            "board_id": BOARD_ID,
            "period": PERIOD,
            "partition": partition,
            "score": score(number),
            "reached_time": _NOW + timedelta(seconds=number),
            "changed_position": heads[partition],
        }


async def until_ready(channel: grpc.aio.Channel) -> float:
    """Apply the board's program and wait until the board answers; the seconds that took."""
    program = program_pb2.GamificationProgram(program_id=PROGRAM_ID, time_zone="UTC")
    program.leaderboards.add(
        board_id=BOARD_ID,
        display_name="Scores",
        period=program_pb2.Leaderboard.PERIOD_ALL_TIME,
        submitted=program_pb2.SubmittedSource(
            aggregation=program_pb2.SubmittedSource.AGGREGATION_BEST
        ),
    )
    await GamificationServiceStub(channel).ApplyGamificationProgram(
        pb.ApplyGamificationProgramRequest(program=program)
    )
    stub = LeaderboardServiceStub(channel)
    began = monotonic()
    while True:
        try:
            await stub.GetStanding(
                leaderboard_pb.GetStandingRequest(
                    program_id=PROGRAM_ID, board_id=BOARD_ID, member_id=member_id(0)
                )
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            if monotonic() - began > _READY_SECONDS_MAX:
                raise
            await asyncio.sleep(0.5)
        else:
            return monotonic() - began


async def straight_ranks(url: str) -> float:
    """`ZREVRANK`s a second on the very board, straight at the server."""
    async with redis.asyncio.from_url(url) as server:
        key = f"{{guerdon:{PROGRAM_ID}:{BOARD_ID}:{PERIOD}}}:z"
        elements = cast("list[bytes]", await server.zrange(key, 0, 20_000))
    return await floors.redis_rank(url, key, elements, seconds=3.0)
