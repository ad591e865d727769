"""How fast a ledger is verified, and whether callers wait for it.

The ledger is made by calls: purchases of one to three lines, redemptions and returns.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import sqlalchemy as sa

from bench.load import Load, Prepared, closed_loop
from bench.report import Figure
from bench.scenarios import NOW, activity, apply_giftshop, middle, serve
from bench.servers import Server, postgres
from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceStub
from services.earning import tables
from shared.clock import monotonic
from shared.database import Database
from shared.rpc import client

if TYPE_CHECKING:
    from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceAsyncStub

ACTIVITIES, BATCH, FILLERS = 340_000, 100, 16
RETURNED_OF, HELD_OF = 17, 17
"""One of so many activities is returned, and for one of so many points are spent."""
MEMBERS = 10_000
ROUNDS = 3
CALLERS, CALLERS_SECONDS, CALLS_MAX = 8, 4.0, 20_000
_SOURCE = "bench_verify"
_READ = (
    tables.wallets,
    tables.entries,
    tables.lot_uses,
    tables.lots,
    tables.holds,
    tables.activities,
    tables.activity_lines,
    tables.reversals,
)
_READ_PAGE = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """One verification: how long it took, the CPU of the service, and the floor's time."""

    seconds: float
    server_cpu_seconds: float
    floor_seconds: float

    @property
    def ratio(self) -> float:
        """The speed as a share of the floor's."""
        return self.floor_seconds / self.seconds


async def verify_figures() -> list[Figure]:
    """A ledger of some 400,000 entries is verified, on PostgreSQL."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        url = database.create(_SOURCE)
        await fill(url)
        entries = await _count(url)
        server = serve(stack, "earning", url, {})
        async with client.channel(server.address) as channel:
            rounds = [await _round(channel, server, url) for _ in range(ROUNDS)]
            calm, meanwhile = await _callers(channel, server)
    verified = middle(rounds, lambda each: each.ratio)
    return [
        Figure(
            scenario="verify_ledger",
            value=entries / verified.seconds,
            unit="entries/s",
            floor=entries / verified.floor_seconds,
            floor_is="rows read raw",
            server_cpu_us_per_call=verified.server_cpu_seconds / entries * 1e6,
            target="≥ 50,000 entries/s",
            notes=f"median of {ROUNDS} rounds; {entries:,} entries of {ACTIVITIES:,} activities, "
            f"redemptions and returns; {CALLERS} callers of RecordActivity meanwhile: "
            f"p50 {meanwhile.percentile(0.5) * 1000:.0f} ms, "
            f"p99 {meanwhile.percentile(0.99) * 1000:.0f} ms "
            f"(without it {calm.percentile(0.5) * 1000:.0f} and "
            f"{calm.percentile(0.99) * 1000:.0f} ms)",
        )
    ]


# The ledger ---------------------------------------------------------------------------------------


async def fill(url: str) -> None:
    """Apply the program and make the ledger, by calls to a server of its own."""
    with ExitStack() as stack:
        server = serve(stack, "earning", url, {})
        async with client.channel(server.address) as channel:
            stub: EarningServiceAsyncStub = EarningServiceStub(channel)
            await apply_giftshop(stub)
            batches = iter(range(0, ACTIVITIES, BATCH))
            await asyncio.gather(*(_filler(stub, batches) for _ in range(FILLERS)))
            held = iter(range(0, ACTIVITIES, HELD_OF))
            await asyncio.gather(*(_spender(stub, held) for _ in range(4 * FILLERS)))
    database = await Database.open(url, schema="earning")
    try:
        async with database.transaction() as tx:
            await tx.execute(sa.text("ANALYZE"))
    finally:
        await database.dispose()


async def _filler(stub: "EarningServiceAsyncStub", batches: Iterator[int]) -> None:
    for start in batches:
        numbers = range(start, start + BATCH)
        recorded = await stub.BatchRecordActivities(
            pb.BatchRecordActivitiesRequest(
                program_id="giftshop", activities=[purchase(each) for each in numbers]
            )
        )
        orders = [_order(each) for each in numbers if each % RETURNED_OF == 1]
        returned = await stub.BatchReverseActivities(
            pb.BatchReverseActivitiesRequest(program_id="giftshop", orders=orders)
        )
        refused = [each.refused for each in recorded.results if each.HasField("refused")]
        refused += [each.refused for each in returned.results if each.HasField("refused")]
        if refused:
            raise RuntimeError(f"refused: {refused[0]}")


def purchase(number: int) -> activity_pb2.Activity:
    """A purchase of one to three lines, each one to three pieces of one of 500 goods."""
    made = activity(number)
    del made.lines[1 + number % 3 :]
    for at, line in enumerate(made.lines):
        goods = (number * 7_919 + at * 104_729) % 500
        line.sku, line.quantity = f"{10_000 + goods}", 1 + (number // 3 + at) % 3
        line.amount_minor = line.quantity * (99 + goods * 37 % 4_900)
    made.payment.amount_minor = sum([line.amount_minor for line in made.lines])
    return made


def _order(number: int) -> pb.ReversalOrder:
    order = pb.ReversalOrder(reversal_id=f"back-{number}", activity_id=f"bench-{number}")
    order.occurred_time.FromDatetime(NOW)
    order.lines.lines.add(line_number=1, quantity=1)
    return order


async def _spender(stub: "EarningServiceAsyncStub", numbers: Iterator[int]) -> None:
    for number in numbers:
        held = await stub.HoldPoints(
            pb.HoldPointsRequest(
                request_id=f"hold-{number}",
                program_id="giftshop",
                member_id=activity(number).member_id,
                points=10,
            )
        )
        await stub.CaptureHold(
            pb.CaptureHoldRequest(
                request_id=f"capture-{number}",
                program_id="giftshop",
                hold_id=held.hold.hold_id,
                points=5 + number % 6,
            )
        )


async def _count(url: str) -> int:
    database = await Database.open(url, schema="earning")
    try:
        async with database.reading() as tx:
            counted = sa.select(sa.func.count().label("number")).select_from(tables.entries)
            return int((await tx.fetch(counted))[0].number)
    finally:
        await database.dispose()


# Verifying, and its floor -------------------------------------------------------------------------


async def _round(channel: grpc.aio.Channel, server: Server, url: str) -> Verified:
    before, began = _cpu(server), monotonic()
    await _verify(channel)
    seconds, after = monotonic() - began, _cpu(server)
    return Verified(
        seconds=seconds, server_cpu_seconds=after - before, floor_seconds=await _raw(url)
    )


def _cpu(server: Server) -> float:
    """Seconds that the service has used, with helpers of it that have ended."""
    times = [each.cpu_times() for each in server.processes()]
    ended = sum([each.children_user + each.children_system for each in times])
    return float(ended + sum([each.user + each.system for each in times]))


async def _verify(channel: grpc.aio.Channel) -> None:
    request = pb.VerifyLedgerRequest(program_id="giftshop")
    async for message in EarningServiceStub(channel).VerifyLedger(request):
        if message.progress.violations:
            raise RuntimeError(f"the ledger does not verify: {message.progress.violations[0]}")


async def _raw(url: str) -> float:
    """Seconds for reading every row of the tables once, as the driver gives them."""
    database = await Database.open(url, schema="earning")
    try:
        async with database.reading() as tx:
            raw = (await tx.core.get_raw_connection()).driver_connection
            if raw is None:
                raise RuntimeError("the database has gone away")
            began = monotonic()
            for table in _READ:
                async for _ in raw.cursor(f"SELECT * FROM {table.name}", prefetch=_READ_PAGE):  # noqa: S608
                    pass
            return monotonic() - began
    finally:
        await database.dispose()


# Callers ------------------------------------------------------------------------------------------


async def _callers(channel: grpc.aio.Channel, server: Server) -> tuple[Load, Load]:
    """Calls of a few callers: without a verification, and while one after the other goes on."""
    calm = await _load(channel, server, range(ACTIVITIES, ACTIVITIES + CALLS_MAX))
    verifying = asyncio.ensure_future(_again_and_again(channel))
    first = ACTIVITIES + CALLS_MAX
    meanwhile = await _load(channel, server, range(first, first + CALLS_MAX))
    verifying.cancel()
    await asyncio.gather(verifying, return_exceptions=True)
    return calm, meanwhile


async def _again_and_again(channel: grpc.aio.Channel) -> None:
    while True:
        await _verify(channel)


async def _load(channel: grpc.aio.Channel, server: Server, numbers: Sequence[int]) -> Load:
    calls = Prepared(
        [channel],
        "/guerdon.earning.v1.EarningService/RecordActivity",
        [
            pb.RecordActivityRequest(program_id="giftshop", activity=purchase(each))
            for each in numbers
        ],
    )
    return await closed_loop(
        calls.send, callers=CALLERS, seconds=CALLERS_SECONDS, server=server, warm_up=0.5
    )
