"""What rules cost: a program with twenty of them, of every kind, and purchases of three lines."""

import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from datetime import date
from pathlib import Path

import grpc

from bench import floors, programs
from bench.load import Load, Prepared, closed_loop
from bench.report import Figure
from bench.scenarios import (
    BATCH,
    BATCH_CALLERS,
    CALLERS,
    LANES,
    MEMBERS,
    NOW,
    WORKERS,
    middle,
    serve,
)
from bench.servers import Server, postgres
from cli import documents
from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import earning_service_pb2 as earning_pb
from guerdon.earning.v1.program_pb2 import EarningProgram
from services.earning import evaluation, program, wire
from services.earning.domain import LevelId
from services.earning.rules import Deed, Facts, Program

FOLDER = Path(__file__).parent / "program"
ROUNDS, ROUND_SECONDS = 3, 15.0
_BATCHES_MAX, _PREVIEWS_MAX = 600, 40_000
_DECIDED, _REPEATS = 2_000, 5
_CALLS_EACH_MIN = 4
_SERVICE = "/guerdon.earning.v1.EarningService/"


def document() -> EarningProgram:
    """The program, as its file says."""
    return next(
        each.message for each in documents.load(FOLDER) if isinstance(each.message, EarningProgram)
    )


def activity(number: int) -> activity_pb2.Activity:
    """A purchase of three lines at noon on a Thursday the 15th, about which every rule is asked."""
    made = activity_pb2.Activity(
        activity_id=f"rules-{number}",
        member_id=f"member-{number * 7919 % MEMBERS}",
        type="purchase",
        source="app" if number % 2 else "shop",
        payment=activity_pb2.Payment(
            amount_minor=4_250, currency_code="GBP", paid_in_points_minor=250
        ),
        lines=[
            activity_pb2.LineItem(
                sku=f"{10000 + number % 500}",
                category=category,
                merchant=merchant,
                quantity=2,
                amount_minor=amount,
            )
            for category, merchant, amount in (
                ("fresh", "", 1_250),
                ("wine", "", 2_000),
                ("garden", "partner-2", 1_000),
            )
        ],
    )
    made.occurred_time.FromDatetime(NOW)
    return made


async def rules_figures() -> list[Figure]:
    """Batches and previews on PostgreSQL, each with its floor in turns, and evaluation alone."""
    batches: list[tuple[Load, float]] = []
    previews: list[tuple[Load, Load]] = []
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        url = database.create("bench_rules")
        server = serve(stack, "earning", url, {}, workers=WORKERS)
        direct: floors.DirectWrites | None = None
        async with AsyncExitStack() as closing, floors.empty_calls(WORKERS) as empty:
            channels = await floors.channels(closing, server, WORKERS)
            await programs.apply(channels[0], document())
            for number in range(ROUNDS):
                batched = await _batched(channels, server, number)
                direct = direct or await floors.DirectWrites.of(database, url, batch=BATCH)
                lanes = LANES * WORKERS
                batches.append((batched, await direct.activities_per_second(lanes=lanes)))
                floor = await empty(CALLERS, ROUND_SECONDS)
                previews.append((await _previewed(channels, server, number), floor))
    many, direct_floor = middle(batches, lambda pair: pair[0].per_second / pair[1])
    shown, empty_floor = middle(previews, lambda pair: pair[0].per_second / pair[1].per_second)
    return [
        Figure(
            scenario="batch_record_20_rules",
            value=many.per_second * BATCH,
            unit="activities/s",
            floor=direct_floor,
            floor_is="direct writes/s",
            server_cpu_us_per_call=many.server_cpu_us_per_call,
            target="≥ 0.2",
            notes=f"median of {ROUNDS} rounds; {BATCH_CALLERS} callers of {BATCH}",
        ),
        Figure(
            scenario="preview_activity",
            value=shown.per_second,
            unit="calls/s",
            floor=empty_floor.per_second,
            floor_is="empty calls/s",
            server_cpu_us_per_call=shown.server_cpu_us_per_call,
            target="≥ 0.4",
            notes=f"median of {ROUNDS} rounds; {CALLERS} callers, 20 rules, "
            f"p50 {shown.percentile(0.5) * 1000:.1f} ms, "
            f"p99 {shown.percentile(0.99) * 1000:.1f} ms",
        ),
        _evaluation(),
    ]


async def _batched(channels: Sequence[grpc.aio.Channel], server: Server, number: int) -> Load:
    first = number * _BATCHES_MAX * BATCH
    calls = Prepared(
        channels,
        f"{_SERVICE}BatchRecordActivities",
        [
            earning_pb.BatchRecordActivitiesRequest(
                program_id="rules20",
                activities=[activity(each) for each in range(start, start + BATCH)],
            )
            for start in range(first, first + _BATCHES_MAX * BATCH, BATCH)
        ],
    )
    load = await _measured(calls, BATCH_CALLERS, server)
    for answer in calls.answers:
        for result in earning_pb.BatchRecordActivitiesResponse.FromString(answer).results:
            if result.HasField("refused"):
                raise RuntimeError(f"an activity was refused: {result.refused}")
    return load


async def _previewed(channels: Sequence[grpc.aio.Channel], server: Server, number: int) -> Load:
    first = (ROUNDS * BATCH + number) * 1_000_000
    calls = Prepared(
        channels,
        f"{_SERVICE}PreviewActivity",
        [
            earning_pb.PreviewActivityRequest(program_id="rules20", activity=activity(first + each))
            for each in range(_PREVIEWS_MAX)
        ],
    )
    load = await _measured(calls, CALLERS, server)
    for answer in calls.answers:
        earning_pb.PreviewActivityResponse.FromString(answer)
    return load


async def _measured(calls: Prepared, callers: int, server: Server) -> Load:
    load = await closed_loop(calls.send, callers=callers, seconds=ROUND_SECONDS, server=server)
    if load.calls < _CALLS_EACH_MIN * callers:
        # What is in flight when a round begins or ends would be most of what it measures.
        raise RuntimeError(f"only {load.calls} calls of {callers} callers: the machine is too busy")
    return load


# Evaluation alone ---------------------------------------------------------------------------------


def _evaluation() -> Figure:
    """CPU of `evaluation.decide`, the best of several repeats: what else runs only ever adds."""
    compiled = program.parse("rules20", 1, document().SerializeToString())
    usual, most = facts(compiled), facts(compiled, every=True)
    plain, full = (_microseconds(compiled, each) for each in (usual, most))
    return Figure(
        scenario="rule_evaluation_us",
        value=plain,
        unit="µs",
        target="≤ 150 µs",
        notes=f"CPU, best of {_REPEATS}; of 20 rules "
        f"{_applied(compiled, usual)} apply; {full:.0f} µs when {_applied(compiled, most)} do",
    )


def deed(number: int = 1) -> Deed:
    """What the rules look at, of the activity as the service reads it."""
    return wire.deed_of(activity(number).SerializeToString())


def facts(compiled: Program, *, every: bool = False) -> Facts:
    """A member with a few purchases; with `every` one whom most rules concern."""
    needs = compiled.needs("purchase", NOW)
    return Facts(
        level_id=LevelId("gold" if every else ""),
        segments=frozenset({"students"} if every else ()),
        birth_date=date(1990, 1, 14) if every else None,
        enroll_time=NOW.replace(year=NOW.year - 1),
        counts={"purchase": 9 if every else 4},
        used=dict.fromkeys(needs.caps, 100),
        spent=dict.fromkeys(needs.budgets, 1_000),
    )


def _applied(compiled: Program, known: Facts) -> int:
    earning = evaluation.decide(compiled.rules, deed(), known)
    return sum(outcome.matched for outcome in earning.explanation.rules)


def _microseconds(compiled: Program, known: Facts) -> float:
    def once(deeds: Sequence[Deed], decide: Callable[..., object]) -> float:
        began = time.process_time()
        for each in deeds:
            decide(compiled.rules, each, known)
        return (time.process_time() - began) / len(deeds) * 1e6

    # A deed of its own for each: what a condition binds is kept with the activity.
    return min(
        once([deed(each) for each in range(_DECIDED)], evaluation.decide) for _ in range(_REPEATS)
    )
