"""Points that end together: how fast the job books it, in what memory, and whether callers wait."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b

import grpc
import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp

from bench import programs
from bench.load import Load, Prepared, closed_loop, cpu_seconds
from bench.report import Figure
from bench.scenarios import NOW, middle, serve
from bench.servers import Postgres, Server, postgres
from guerdon.clock.v1 import clock_service_pb2 as clock_pb
from guerdon.clock.v1.clock_service_pb2_grpc import ClockServiceStub
from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import earning_service_pb2 as earning_pb
from guerdon.earning.v1.program_pb2 import EarningProgram
from services.earning import ledger, rows, tables
from services.earning.domain import CurrencyId, EntryType, MemberKey, ProgramId, Wallet
from services.earning.expiry import UTC_ZONE, AfterDays, CurrencyPolicy
from services.earning.ledger import Cause
from shared.clock import monotonic
from shared.database import Database, Tx
from shared.rpc import client

PROGRAM_ID = ProgramId("sweep")
POINTS = CurrencyId("points")
WALLETS, LOTS_EACH = 20_000, 10
MANY_WALLETS = 100_000
DAYS = 10
ROUNDS = 3
CALLERS, CALLERS_SECONDS, CALLS_MAX = 8, 4.0, 20_000
_CHUNK = 1_000
_BATCH, _LANES = 128, 3
_SWEPT = NOW + timedelta(days=DAYS + 2)
_SECONDS_MAX = 600.0

Rows = Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """One sweep: how long it took, the CPU that the service used for it and its most memory."""

    seconds: float
    server_cpu_seconds: float
    peak_megabytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """A sweep, and its floor."""

    swept: Swept
    floor_seconds: float

    @property
    def ratio(self) -> float:
        """The speed as a share of the floor's."""
        return self.floor_seconds / self.swept.seconds


def program() -> EarningProgram:
    """A point for each pound, which lives for ten days; nobody is told ahead."""
    made = programs.plain(PROGRAM_ID)
    made.currencies[0].expiry.after_days = DAYS
    made.currencies[0].reminder_days.append(0)
    return made


async def sweep_figures() -> list[Figure]:
    """200,000 lots of 20,000 wallets end at one instant, then a million, on PostgreSQL."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        source = database.create("bench_sweep")
        await _fill(source, WALLETS)
        rounds = [await _round(database, number) for number in range(ROUNDS)]
        calm, sweeping = await _callers(database)
        many = database.create("bench_sweep_many")
        await _fill(many, MANY_WALLETS)
        million = await _swept(many)
    middle_one = middle(rounds, lambda each: each.ratio)
    swept, lots = middle_one.swept, WALLETS * LOTS_EACH
    return [
        Figure(
            scenario="expiry_sweep",
            value=lots / swept.seconds,
            unit="lots/s",
            floor=lots / middle_one.floor_seconds,
            floor_is="direct writes/s",
            server_cpu_us_per_call=swept.server_cpu_seconds / lots * 1e6,
            target="≥ 20,000 lots/s",
            notes=f"median of {ROUNDS} rounds; {lots:,} lots of {WALLETS:,} wallets; "
            f"{CALLERS} callers of RecordActivity meanwhile: "
            f"p50 {sweeping.percentile(0.5) * 1000:.0f} ms, "
            f"p99 {sweeping.percentile(0.99) * 1000:.0f} ms "
            f"(without a sweep {calm.percentile(0.5) * 1000:.0f} and "
            f"{calm.percentile(0.99) * 1000:.0f} ms)",
        ),
        Figure(
            scenario="sweep_memory",
            value=million.peak_megabytes,
            unit="MB",
            floor=min(each.swept.peak_megabytes for each in rounds),
            floor_is=f"MB for {lots:,} lots",
            target="≤ 1.2",
            notes=f"the service's most memory while {MANY_WALLETS * LOTS_EACH:,} lots end, "
            f"{MANY_WALLETS * LOTS_EACH / million.seconds:,.0f} a second",
        ),
    ]


# What is swept ------------------------------------------------------------------------------------


async def _fill(url: str, wallets: int) -> None:
    """Apply the program, and write wallets whose lots all end together, as credits made them."""
    with ExitStack() as stack:
        server = serve(stack, "earning", url, {})
        async with client.channel(server.address) as channel:
            await programs.apply(channel, program())
    database = await Database.open(url, schema="earning")
    try:
        for start in range(0, wallets, _CHUNK):
            await _fill_chunk(database, range(start, start + _CHUNK))
        async with database.transaction() as tx:
            await tx.execute(sa.text("ANALYZE"))
    finally:
        await database.dispose()


async def _fill_chunk(database: Database, numbers: range) -> None:
    made = [_credited(number) for number in numbers]
    async with database.transaction() as tx:
        await tx.insert(
            tables.members,
            [
                {
                    "program_id": PROGRAM_ID,
                    "member_key": _key(number),
                    "enroll_time": NOW,
                    "state": "active",
                    "is_anonymous": 0,
                    "merged_into": "",
                    "version": 1,
                    "is_scrub_due": 0,
                }
                for number in numbers
            ],
        )
        await tx.insert(tables.member_identifiers, [_identifier(number) for number in numbers])
        await tx.insert(tables.wallets, [rows.wallet_row(wallet) for wallet, _ in made])
        movements = [each for _, moved in made for each in moved]
        await tx.insert(tables.entries, [rows.entry_row(each.entry) for each in movements])
        await tx.insert(tables.lots, list(_lot_rows(movements)))


def _lot_rows(movements: Sequence[ledger.Movement]) -> Iterator[Mapping[str, object]]:
    for each in movements:
        wallet = each.wallet
        if each.made is not None:
            key = (wallet.program_id, wallet.member_key, wallet.currency_id)
            yield rows.lot_row(key, each.made)


def _key(number: int) -> MemberKey:
    return MemberKey(blake2b(f"member-{number}".encode(), digest_size=16).hexdigest())


def _identifier(number: int) -> Mapping[str, object]:
    return {
        "program_id": PROGRAM_ID,
        "identifier": f"member-{number}",
        "kind": "member_id",
        "member_key": _key(number),
        "assign_time": NOW,
    }


def _credited(number: int) -> tuple[Wallet, list[ledger.Movement]]:
    policy = CurrencyPolicy(
        currency_id=POINTS, zone=UTC_ZONE, expiry=AfterDays(days=DAYS), reminder_days=()
    )
    wallet = Wallet(program_id=PROGRAM_ID, member_key=_key(number), currency_id=POINTS)
    movements = []
    for each in range(LOTS_EACH):
        cause = Cause(now=NOW, occurred_time=NOW, reference=f"{number}-{each}", reason="bench")
        movements.append(ledger.credit(wallet, 10 + each, EntryType.CREDIT, cause, policy))
        wallet = movements[-1].wallet
    return wallet, movements


# The sweep, and its floor -------------------------------------------------------------------------


async def _round(database: Postgres, number: int) -> _Round:
    url = database.create(f"bench_sweep_{number}", template="bench_sweep")
    target = database.create(f"bench_sweep_floor_{number}", template="bench_sweep")
    swept = await _swept(url)
    watched = await Database.open(url, schema="earning")
    try:
        batches = await _written(watched)
    finally:
        await watched.dispose()
    return _Round(swept=swept, floor_seconds=await _directly(target, batches))


async def _swept(url: str) -> Swept:
    """Serve a database, and let the clock of its program go on until everything has ended."""
    with ExitStack() as stack:
        server = serve(stack, "earning", url, {})
        async with client.channel(server.address) as channel, AsyncExitStack() as closing:
            watched = await Database.open(url, schema="earning")
            closing.push_async_callback(watched.dispose)
            processes = server.processes()
            before, began = cpu_seconds(processes), monotonic()
            await ClockServiceStub(channel).AdvanceClock(_advance())
            peak = await _until_swept(watched, server)
            seconds, after = monotonic() - began, cpu_seconds(processes)
    return Swept(seconds=seconds, server_cpu_seconds=after - before, peak_megabytes=peak)


def _advance() -> clock_pb.AdvanceClockRequest:
    to = Timestamp()
    to.FromDatetime(_SWEPT)
    return clock_pb.AdvanceClockRequest(to=to)


async def _until_swept(database: Database, server: Server) -> float:
    """Wait for the last lot; gives the most memory that the service had meanwhile, in megabytes."""
    due = (
        sa.select(tables.wallets.c.member_key).where(tables.wallets.c.next_time <= _SWEPT).limit(1)
    )
    began, peak = monotonic(), server.megabytes()
    while True:
        async with database.reading() as tx:
            if not await tx.fetch(due):
                return peak
        if monotonic() - began > _SECONDS_MAX:
            raise TimeoutError(f"not swept after {_SECONDS_MAX:.0f} s")
        await asyncio.sleep(0.2)
        peak = max(peak, server.megabytes())


async def _written(database: Database) -> list[dict[sa.Table, Rows]]:
    """The rows that the sweep wrote or changed, in batches of wallets."""
    async with database.reading() as tx:
        expired = tables.entries.c.type == EntryType.EXPIRE.value
        found = {
            tables.entries: await _rows_of(tx, tables.entries.select().where(expired)),
            **{
                table: await _rows_of(tx, table.select())
                for table in (tables.wallets, tables.lot_uses, tables.kernel.feed_events)
            },
        }
        changed = [
            tables.lots.c[name] for name in (*_WALLET, "lot_sequence", "remaining", "is_open")
        ]
        found[tables.lots] = await _rows_of(tx, sa.select(*changed))
    if len(found[tables.entries]) != WALLETS or len(found[tables.lot_uses]) != len(
        found[tables.lots]
    ):
        raise RuntimeError("not every lot has ended once")
    by_member: dict[object, dict[sa.Table, list[Mapping[str, object]]]] = {}
    for table, all_rows in found.items():
        for row in all_rows:
            by_member.setdefault(row["member_key"], {}).setdefault(table, []).append(row)
    members = sorted(by_member, key=str)
    return [
        {
            table: [row for member in members[at : at + _BATCH] for row in by_member[member][table]]
            for table in found
        }
        for at in range(0, len(members), _BATCH)
    ]


_WALLET = ("program_id", "member_key", "currency_id")


async def _rows_of(tx: Tx, statement: sa.Select[tuple[object, ...]]) -> Rows:
    return [dict(row._mapping) for row in await tx.fetch(statement)]  # noqa: SLF001


async def _directly(url: str, batches: Sequence[Mapping[sa.Table, Rows]]) -> float:
    """Seconds for writing the same rows straight to a copy of the database."""
    target = await Database.open(url, schema="earning", lanes=_LANES)
    queue = list(reversed(batches))

    async def lane() -> None:
        while queue:
            batch = queue.pop()
            async with target.transaction() as tx:
                await tx.update(tables.wallets, batch[tables.wallets], key=_WALLET)
                for table in (tables.entries, tables.lot_uses, tables.kernel.feed_events):
                    await tx.insert(table, batch[table])
                lots = batch[tables.lots]
                await tx.update(tables.lots, lots, key=(*_WALLET, "lot_sequence"))

    try:
        began = monotonic()
        await asyncio.gather(*(lane() for _ in range(_LANES)))
        return monotonic() - began
    finally:
        await target.dispose()


# Callers ------------------------------------------------------------------------------------------


async def _callers(database: Postgres) -> tuple[Load, Load]:
    """Calls of a few callers who do not wait for the sweep: before it, and while it goes on."""
    url = database.create("bench_sweep_callers", template="bench_sweep")
    with ExitStack() as stack:
        server = serve(stack, "earning", url, {})
        async with client.channel(server.address) as channel:
            calm = await _load(channel, server, "calm")
            await ClockServiceStub(channel).AdvanceClock(_advance())
            return calm, await _load(channel, server, "sweeping")


async def _load(channel: grpc.aio.Channel, server: Server, name: str) -> Load:
    calls = Prepared(
        [channel],
        "/guerdon.earning.v1.EarningService/RecordActivity",
        [
            earning_pb.RecordActivityRequest(
                program_id=PROGRAM_ID, activity=_activity(f"{name}-{number}", number)
            )
            for number in range(CALLS_MAX)
        ],
    )
    return await closed_loop(
        calls.send,
        callers=CALLERS,
        seconds=CALLERS_SECONDS,
        server=server,
        warm_up=0.5,
    )


def _activity(activity_id: str, number: int) -> activity_pb2.Activity:
    made = activity_pb2.Activity(
        activity_id=activity_id,
        member_id=f"member-{number * 7919 % WALLETS}",
        type="purchase",
        payment=activity_pb2.Payment(amount_minor=4_250, currency_code="GBP"),
    )
    made.occurred_time.FromDatetime(NOW)
    return made
