"""The scenarios: each gives a figure, with its floor measured in the same run."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import grpc
import psutil

from bench import boards, floors
from bench.load import Load, Prepared, closed_loop
from bench.report import Figure
from bench.servers import ROOT, Server, free_address, postgres, redis, serving
from cli import documents
from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import earning_service_pb2 as earning_pb
from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceStub
from guerdon.earning.v1.program_pb2 import EarningProgram
from guerdon.feed.v1 import program_document_pb2 as document_pb
from guerdon.gamification.v1 import leaderboard_service_pb2 as leaderboard_pb
from shared.clock import monotonic
from shared.rpc import client

if TYPE_CHECKING:
    from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceAsyncStub

_Round = TypeVar("_Round")

PROGRAM_ID = "giftshop"
CALLERS = 64
BATCH_CALLERS = 16
BATCH = 100
MEMBERS = 10_000
WORKERS = len(os.sched_getaffinity(0))
"""Processes that serve, one for each core."""
LANES = 3
ROUNDS, ROUND_SECONDS = 5, 4.0
CALLS_MAX, UNARY_MAX = 40_000, 15_000
MILLION = 1_000_000
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
_CLOCK = {"GUERDON_CLOCK": "simulated", "GUERDON_CLOCK_START": NOW.isoformat()}


def activity(number: int) -> activity_pb2.Activity:
    """A purchase of three lines by one of the members."""
    made = activity_pb2.Activity(
        activity_id=f"bench-{number}",
        member_id=f"member-{number * 7919 % MEMBERS}",
        type="purchase",
        payment=activity_pb2.Payment(amount_minor=4_250, currency_code="GBP"),
        lines=[
            activity_pb2.LineItem(
                sku=f"{10000 + number % 500}", category="product", quantity=2, amount_minor=amount
            )
            for amount in (1_250, 2_000, 1_000)
        ],
    )
    made.occurred_time.FromDatetime(NOW)
    return made


async def earning_figures() -> list[Figure]:
    """RecordActivity one by one, and in batches of 100, on PostgreSQL.

    The machine is shared, so work and floors take turns; the round of the median ratio counts.
    One process serves single calls, whose transactions it can fill; a process for each core serves
    batches, which fill them anyway. An empty call has a server like that of the single calls.
    """
    unary: list[tuple[Load, Load]] = []
    batches: list[tuple[Load, float]] = []
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        url = database.create("bench_earning")
        alone = serve(stack, "earning", database.create("bench_earning_unary"), {})
        server = serve(stack, "earning", url, {}, workers=WORKERS)
        direct: floors.DirectWrites | None = None
        async with AsyncExitStack() as closing, floors.empty_calls() as empty:
            single_channels = await floors.channels(closing, alone, 1)
            channels = await floors.channels(closing, server, WORKERS)
            for each in (single_channels, channels):
                await apply_giftshop(EarningServiceStub(each[0]))
            for number in range(ROUNDS):
                floor = await empty(CALLERS, ROUND_SECONDS)
                unary.append((await _unary(single_channels, alone, number), floor))
                batched = await _batched(channels, server, number)
                direct = direct or await floors.DirectWrites.of(database, url, batch=BATCH)
                lanes = LANES * WORKERS
                batches.append((batched, await direct.activities_per_second(lanes=lanes)))
        reference = floors.tpc_b(database, clients=16, seconds=5)
    single, empty_floor = middle(unary, lambda pair: pair[0].per_second / pair[1].per_second)
    many, direct_floor = middle(batches, lambda pair: pair[0].per_second / pair[1])
    return [
        Figure(
            scenario="record_activity_unary",
            value=single.per_second,
            unit="calls/s",
            floor=empty_floor.per_second,
            floor_is="empty calls/s",
            server_cpu_us_per_call=single.server_cpu_us_per_call,
            target="≥ 0.35",
            notes=f"median of {ROUNDS} rounds; {CALLERS} callers, "
            f"p50 {single.percentile(0.5) * 1000:.1f} ms, "
            f"p99 {single.percentile(0.99) * 1000:.1f} ms; an empty call costs the server "
            f"{empty_floor.server_cpu_us_per_call:.0f} µs; 1 process",
        ),
        Figure(
            scenario="batch_record_activities",
            value=many.per_second * BATCH,
            unit="activities/s",
            floor=direct_floor,
            floor_is="direct writes/s",
            server_cpu_us_per_call=many.server_cpu_us_per_call,
            target="≥ 0.3",
            notes=f"median of {ROUNDS} rounds; {BATCH_CALLERS} callers of {BATCH}, "
            f"{WORKERS} processes of {LANES} lanes; pgbench TPC-B, 16 clients: {reference:,.0f}/s",
        ),
    ]


def middle(rounds: Sequence[_Round], ratio: Callable[[_Round], float]) -> _Round:
    """The round whose ratio is the median one."""
    return sorted(rounds, key=ratio)[len(rounds) // 2]


async def apply_giftshop(stub: "EarningServiceAsyncStub") -> None:
    """Apply the rules of the gift shop."""
    program = next(
        document.message
        for document in documents.load(ROOT / "programs" / PROGRAM_ID)
        if isinstance(document.message, EarningProgram)
    )
    await stub.ApplyEarningProgram(
        earning_pb.ApplyEarningProgramRequest(
            program=program, options=document_pb.ApplyOptions(author="bench")
        )
    )


async def _unary(channels: Sequence[grpc.aio.Channel], server: Server, number: int) -> Load:
    first = number * CALLS_MAX
    calls = Prepared(
        channels,
        "/guerdon.earning.v1.EarningService/RecordActivity",
        [
            earning_pb.RecordActivityRequest(program_id=PROGRAM_ID, activity=activity(first + each))
            for each in range(UNARY_MAX)
        ],
    )
    load = await closed_loop(calls.send, callers=CALLERS, seconds=ROUND_SECONDS, server=server)
    for answer in calls.answers:
        earning_pb.RecordActivityResponse.FromString(answer)
    return load


async def _batched(channels: Sequence[grpc.aio.Channel], server: Server, number: int) -> Load:
    first = (ROUNDS + number) * CALLS_MAX
    calls = Prepared(
        channels,
        "/guerdon.earning.v1.EarningService/BatchRecordActivities",
        [
            earning_pb.BatchRecordActivitiesRequest(
                program_id=PROGRAM_ID,
                activities=[activity(each) for each in range(start, start + BATCH)],
            )
            for start in range(first, first + CALLS_MAX, BATCH)
        ],
    )
    load = await closed_loop(
        calls.send, callers=BATCH_CALLERS, seconds=ROUND_SECONDS, server=server
    )
    for answer in calls.answers:
        _check_recorded(earning_pb.BatchRecordActivitiesResponse.FromString(answer))
    return load


def _check_recorded(response: earning_pb.BatchRecordActivitiesResponse) -> None:
    refused = [each.refused for each in response.results if each.HasField("refused")]
    if refused or len(response.results) != BATCH:
        raise RuntimeError(f"{len(refused)} of {len(response.results)} were refused: {refused[:1]}")


async def standing_figures() -> list[Figure]:
    """GetStanding on a board of a million members, on PostgreSQL and Valkey, in turns with it."""
    rounds: list[tuple[Load, Load]] = []
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        redis_url = stack.enter_context(redis())
        url = database.create("bench_gamification")
        await boards.fill(url, MILLION)
        server = serve(stack, "gamification", url, {"GUERDON_REDIS_URL": redis_url})
        async with client.channel(server.address) as channel, floors.empty_calls() as empty:
            rebuild_seconds = await boards.until_ready(channel)
            for _ in range(ROUNDS):
                floor = await empty(CALLERS, ROUND_SECONDS)
                rounds.append((await _standings(channel, server), floor))
        straight = await boards.straight_ranks(redis_url)
    load, empty_floor = middle(rounds, lambda pair: pair[0].per_second / pair[1].per_second)
    return [
        Figure(
            scenario="get_standing_1m",
            value=load.per_second,
            unit="calls/s",
            floor=empty_floor.per_second,
            floor_is="empty calls/s",
            server_cpu_us_per_call=load.server_cpu_us_per_call,
            target="≥ 0.6",
            notes=f"median of {ROUNDS} rounds; {CALLERS} callers, "
            f"p50 {load.percentile(0.5) * 1000:.1f} ms, p99 {load.percentile(0.99) * 1000:.1f} ms; "
            f"ZREVRANK straight at the server: {straight:,.0f}/s; "
            f"the index of a million members was built in {rebuild_seconds:.0f} s",
        )
    ]


async def _standings(channel: grpc.aio.Channel, server: Server) -> Load:
    calls = Prepared(
        [channel],
        "/guerdon.gamification.v1.LeaderboardService/GetStanding",
        [
            leaderboard_pb.GetStandingRequest(
                program_id=boards.PROGRAM_ID,
                board_id=boards.BOARD_ID,
                member_id=boards.member_id(number * 7919 % MILLION),
            )
            for number in range(CALLS_MAX)
        ],
    )
    load = await closed_loop(calls.send, callers=CALLERS, seconds=ROUND_SECONDS, server=server)
    for answer in calls.answers:
        leaderboard_pb.GetStandingResponse.FromString(answer)
    return load


async def replay_figures() -> list[Figure]:
    """The demo on SQLite, and the memory of a cluster that has replayed the sample."""
    with tempfile.TemporaryDirectory(prefix="guerdon-bench-") as folder:
        demo = await asyncio.to_thread(_demo, Path(folder) / "demo")
        seconds, memory = await asyncio.to_thread(_replayed, Path(folder) / "up")
    return [
        Figure(
            scenario="replay_sample_seconds",
            value=seconds,
            unit="s",
            target="< 60 s",
            notes="guerdon replay to guerdon up on SQLite; "
            f"the whole demo, redemptions and verification included, took {demo:.0f} s",
        ),
        Figure(
            scenario="memory_after_replay_mb",
            value=memory,
            unit="MB",
            target="< 400 MB",
            notes="resident memory of guerdon up after the replay, Valkey not included",
        ),
    ]


def _demo(var: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "demo", "--var", str(var), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout)["seconds"])


def _replayed(var: Path) -> tuple[float, float]:
    """Seconds of a replay to a cluster of its own, and megabytes of that cluster afterwards."""
    command = [sys.executable, "-m", "cli.main"]
    up = subprocess.Popen(
        [
            *(*command, "up", "--var", str(var), "--port", "0", "--json"),
            *("--clock-start", "2010-12-01T00:00:00Z"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    try:
        if up.stdout is not None:
            up.stdout.readline()  # the addresses, when all four serve
        data = ROOT / "programs" / "giftshop" / "data" / "online_retail_sample.csv"
        for arguments in (["apply", "programs/giftshop"], ["replay", str(data)]):
            began = monotonic()
            subprocess.run([*command, *arguments, "--var", str(var)], cwd=ROOT, check=True)
        return monotonic() - began, float(psutil.Process(up.pid).memory_info().rss / 1e6)
    finally:
        up.terminate()
        up.wait()


def serve(
    stack: ExitStack, service: str, url: str, extra: dict[str, str], *, workers: int = 1
) -> Server:
    """A server of one service on a free port.

    Alone it has a simulated clock that begins at `NOW`; several workers have the system's.
    """
    address = free_address()
    environment = {
        "GUERDON_LOG_LEVEL": "warning",
        f"GUERDON_{service.upper()}_DATABASE_URL": url,
        f"GUERDON_{service.upper()}_LISTEN": address,
        **(_CLOCK if workers == 1 else {}),
        **extra,
    }
    log = floors.results_folder() / f"{service}-{workers}.log"
    arguments = ["cli.main", "serve", service, "--workers", str(workers)]
    return stack.enter_context(serving(arguments, environment, address, log, workers=workers))
