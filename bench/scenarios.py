"""The scenarios: each gives a figure, with its floor measured in the same run."""

import asyncio
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import psutil

from bench import boards, floors
from bench.load import Load, Prepared, closed_loop
from bench.report import Figure
from bench.servers import ROOT, Postgres, Server, free_address, postgres, redis, serving
from cli import documents
from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import earning_service_pb2 as earning_pb
from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceStub
from guerdon.earning.v1.program_pb2 import EarningProgram
from guerdon.feed.v1 import program_document_pb2 as document_pb
from guerdon.gamification.v1 import leaderboard_service_pb2 as leaderboard_pb
from shared.clock import monotonic
from shared.rpc import client

PROGRAM_ID = "giftshop"
CALLERS = 64
BATCH_CALLERS = 16
BATCH = 100
MEMBERS = 10_000
SECONDS = 10.0
UNARY_CALLS_MAX, BATCH_CALLS_MAX = 40_000, 1_500
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
    """RecordActivity one by one, and in batches of 100, on PostgreSQL."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        empty = await floors.empty_call(CALLERS, SECONDS)
        unary, batches, url = await _record(stack, database)
        direct = await floors.direct_writes(database, url, batch=BATCH, lanes=3)
        reference = floors.tpc_b(database, clients=16, seconds=5)
    return [
        Figure(
            scenario="record_activity_unary",
            value=unary.per_second,
            unit="calls/s",
            floor=empty.per_second,
            floor_is="empty calls/s",
            server_cpu_us_per_call=unary.server_cpu_us_per_call,
            target="≥ 0.35",
            notes=f"{CALLERS} callers, p50 {unary.percentile(0.5) * 1000:.1f} ms, "
            f"p99 {unary.percentile(0.99) * 1000:.1f} ms; an empty call costs the server "
            f"{empty.server_cpu_us_per_call:.0f} µs",
        ),
        Figure(
            scenario="batch_record_activities",
            value=batches.per_second * BATCH,
            unit="activities/s",
            floor=direct,
            floor_is="direct writes/s",
            server_cpu_us_per_call=batches.server_cpu_us_per_call,
            target="≥ 0.3",
            notes=f"{BATCH_CALLERS} callers of {BATCH}; pgbench TPC-B, 16 clients: "
            f"{reference:,.0f}/s",
        ),
    ]


async def _record(stack: ExitStack, database: Postgres) -> tuple[Load, Load, str]:
    url = database.create("bench_earning")
    server = _serve(stack, "earning", url, {})
    async with client.channel(server.address) as channel:
        stub = EarningServiceStub(channel)
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
        calls = Prepared(
            channel,
            "/guerdon.earning.v1.EarningService/RecordActivity",
            [
                earning_pb.RecordActivityRequest(program_id=PROGRAM_ID, activity=activity(number))
                for number in range(UNARY_CALLS_MAX)
            ],
        )
        unary = await closed_loop(
            calls.send, callers=CALLERS, seconds=SECONDS, server_pid=server.pid
        )
        for answer in calls.answers:
            earning_pb.RecordActivityResponse.FromString(answer)
        calls = Prepared(
            channel,
            "/guerdon.earning.v1.EarningService/BatchRecordActivities",
            [
                earning_pb.BatchRecordActivitiesRequest(
                    program_id=PROGRAM_ID,
                    activities=[
                        activity(UNARY_CALLS_MAX + number * BATCH + each) for each in range(BATCH)
                    ],
                )
                for number in range(BATCH_CALLS_MAX)
            ],
        )
        batches = await closed_loop(
            calls.send, callers=BATCH_CALLERS, seconds=SECONDS, server_pid=server.pid
        )
        for answer in calls.answers:
            _check_recorded(earning_pb.BatchRecordActivitiesResponse.FromString(answer))
    return unary, batches, url


def _check_recorded(response: earning_pb.BatchRecordActivitiesResponse) -> None:
    refused = [each.refused for each in response.results if each.HasField("refused")]
    if refused or len(response.results) != BATCH:
        raise RuntimeError(f"{len(refused)} of {len(response.results)} were refused: {refused[:1]}")


async def standing_figures() -> list[Figure]:
    """GetStanding on a board of a million members, on PostgreSQL and Valkey."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        redis_url = stack.enter_context(redis())
        empty = await floors.empty_call(CALLERS, SECONDS)
        url = database.create("bench_gamification")
        await boards.fill(url, MILLION)
        server = _serve(stack, "gamification", url, {"GUERDON_REDIS_URL": redis_url})
        async with client.channel(server.address) as channel:
            rebuild_seconds = await boards.until_ready(channel)
            calls = Prepared(
                channel,
                "/guerdon.gamification.v1.LeaderboardService/GetStanding",
                [
                    leaderboard_pb.GetStandingRequest(
                        program_id=boards.PROGRAM_ID,
                        board_id=boards.BOARD_ID,
                        member_id=boards.member_id(number * 7919 % MILLION),
                    )
                    for number in range(UNARY_CALLS_MAX)
                ],
            )
            load = await closed_loop(
                calls.send, callers=CALLERS, seconds=SECONDS, server_pid=server.pid
            )
        for answer in calls.answers:
            leaderboard_pb.GetStandingResponse.FromString(answer)
        straight = await boards.straight_ranks(redis_url)
    return [
        Figure(
            scenario="get_standing_1m",
            value=load.per_second,
            unit="calls/s",
            floor=empty.per_second,
            floor_is="empty calls/s",
            server_cpu_us_per_call=load.server_cpu_us_per_call,
            target="≥ 0.6",
            notes=f"{CALLERS} callers; ZREVRANK straight at the server: {straight:,.0f}/s; "
            f"the index of a million members was built in {rebuild_seconds:.0f} s",
        )
    ]


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


def _serve(stack: ExitStack, service: str, url: str, extra: dict[str, str]) -> Server:
    address = free_address()
    environment = {
        "GUERDON_LOG_LEVEL": "warning",
        f"GUERDON_{service.upper()}_DATABASE_URL": url,
        f"GUERDON_{service.upper()}_LISTEN": address,
        **_CLOCK,
        **extra,
    }
    log = floors.results_folder() / f"{service}.log"
    return stack.enter_context(serving(["cli.main", "serve", service], environment, address, log))
