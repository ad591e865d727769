"""What every service is built of, wired in one place.

Storage, the write path, feeds, workers, the server.

A service's `service.py` says what is its own (`Parts`), top to bottom, and `start` brings it to
life in the order in which each thing needs the one before; `stop` takes it down the other way
round.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

import grpc
import structlog
from sqlalchemy import MetaData

from guerdon.clock.v1 import clock_service_pb2_grpc
from guerdon.feed.v1 import feed_service_pb2 as feed_pb
from guerdon.feed.v1 import feed_service_pb2_grpc, parked_service_pb2_grpc
from guerdon.feed.v1 import parked_service_pb2 as parked_pb
from shared import background, faults, feed_log, logs, migrate
from shared.batches import Executor
from shared.clock import Clock, ClockStore, SystemClock
from shared.database import Database
from shared.feed import FeedServicer, Place, Progress
from shared.followers import Follower, Translate
from shared.forgetting import ForgetKeys
from shared.group_commit import GroupCommit
from shared.ids import Ids, SystemIds
from shared.intentions import Handler, IntentionWorker
from shared.jobs import Job, JobRunner
from shared.parked import Parked
from shared.parked_servicer import ParkedServicer
from shared.rpc import client
from shared.rpc.clock_servicer import SERVICE_NAME as CLOCK_SERVICE
from shared.rpc.clock_servicer import ClockServicer
from shared.rpc.server import RpcServer, Running
from shared.settings import ServiceSettings
from shared.tables import KernelTables
from shared.wakeups import Wakeups
from shared.work import Followed, Work, partition_of_item

_log = structlog.get_logger(__name__)
_PARKED_SERVICE = parked_pb.DESCRIPTOR.services_by_name["ParkedService"].full_name
_FEED_SERVICE = feed_pb.DESCRIPTOR.services_by_name["FeedService"].full_name
_RETRY_SECONDS = 1.0
# One is decided while the database writes the other.
_JOBS_LANES = 2
# Callers wait for what a batch does in one go.
_JOBS_BATCH_MAX = 64
# Jobs hand over a piece at a time, whatever the number of callers who may wait.
_JOBS_QUEUE_MAX = 10_000

S = TypeVar("S", bound=ServiceSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Base(Generic[S]):
    """What a service stands on.

    Its open, migrated database, its clock, its source of identifiers.
    """

    service: str
    settings: S
    database: Database
    tables: KernelTables
    clock: Clock
    clock_store: ClockStore
    ids: Ids
    channels: Mapping[str, grpc.aio.Channel]


@dataclass(slots=True, kw_only=True)
class Parts:
    """What is a service's own.

    `servicers` are (adder, servicer, full name); `translates` say what an event of each followed
    service means here; `handlers` drive intentions by kind; `tasks` run until the service stops;
    `projections` tell how far derived stores are, and how far they have to go; `on_commit` is
    called after every commit.
    """

    servicers: list[tuple[Callable[[Any, grpc.aio.Server], None], object, str]] = field(
        default_factory=list
    )
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    jobs: Sequence[Job] = ()
    tasks: Sequence[Callable[[], Awaitable[None]]] = ()
    projections: Callable[[], Awaitable[tuple[Sequence[Place], Sequence[Place]]]] | None = None
    on_commit: Sequence[Callable[[], None]] = ()
    on_advance: Sequence[Callable[[], None]] = ()
    on_stop: Sequence[Callable[[], None]] = ()
    closers: Sequence[Callable[[], Awaitable[None]]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """The write path of a service, and the followers that feed it.

    What jobs do in bulk goes through `jobs_commit`, which has a queue and transactions of its own.
    Callers are not queued behind it, but share the event loop, the processor and row locks with it,
    so it gives way to them.
    """

    group_commit: GroupCommit
    jobs_commit: GroupCommit
    followers: Mapping[str, Follower]
    on_intentions: list[Callable[[], None]]


async def open_base(
    settings: S,
    *,
    service: str,
    metadata: MetaData,
    tables: KernelTables,
    peers: Sequence[str] = (),
    clock: Clock | None = None,
    ids: Ids | None = None,
) -> Base[S]:
    """Open and migrate a service's database, waiting until it is there, and load its clock.

    `peers` are the services that it calls or follows.
    """
    logs.configure(settings.log_level, settings.log_format)
    ids = ids or SystemIds()
    database = await _opened(settings, service, metadata)
    await feed_log.open_feed(
        database, tables, partitions=settings.partitions, incarnation=ids.new()
    )
    clock_store = ClockStore(database, tables)
    if clock is None:
        clock = (
            await clock_store.load(settings.clock_start_time)
            if settings.clock == "simulated"
            else SystemClock()
        )
    return Base(
        service=service,
        settings=settings,
        database=database,
        tables=tables,
        clock=clock,
        clock_store=clock_store,
        ids=ids,
        channels={
            peer: client.channel(str(getattr(settings, f"{peer}_address"))) for peer in peers
        },
    )


def write_path(
    base: Base[S],
    work: Work[Any, Any],
    translates: Mapping[str, Translate] | None = None,
    *,
    publish: Callable[[], Awaitable[object]] | None = None,
) -> Writing:
    """The group commit of a service and one follower for each feed that it translates.

    `publish` puts in force the versions of program documents that a batch finds due.
    """
    settings, database = base.settings, base.database
    on_intentions: list[Callable[[], None]] = []

    def intended() -> None:
        for callback in on_intentions:
            callback()

    executor = Executor(
        database=database,
        work=work,
        clock=base.clock,
        service=base.service,
        partitions=settings.partitions,
        tables=base.tables,
        on_intentions=intended,
        publish=publish,
    )

    async def park(followed: Followed, error: Exception) -> None:
        await feed_log.park(database, base.tables, followed, error)

    def commit(
        service: str, lanes: int, batch_max: int, callers: GroupCommit | None = None
    ) -> GroupCommit:
        return GroupCommit(
            executor.execute,
            route=lambda item: partition_of_item(item, settings.partitions),
            park=park,
            lanes_max=1 if database.dialect == "sqlite" else lanes,
            batch_max=batch_max,
            queue_max=settings.queue_max if callers is None else _JOBS_QUEUE_MAX,
            service=service,
            ids=base.ids,
            gives_way_to=callers,
        )

    group_commit = commit(base.service, settings.lanes, settings.batch_max)
    jobs_batch_max = min(settings.batch_max, _JOBS_BATCH_MAX)
    jobs_commit = commit(f"{base.service}-jobs", _JOBS_LANES, jobs_batch_max, group_commit)
    followers = {
        source: Follower(
            source=source,
            channel=base.channels[source],
            database=database,
            tables=base.tables,
            sink=group_commit,
            translate=translate,
            park=park,
            partitions=settings.partitions,
            jitter=base.ids.fraction,
        )
        for source, translate in (translates or {}).items()
    }
    return Writing(
        group_commit=group_commit,
        jobs_commit=jobs_commit,
        followers=followers,
        on_intentions=on_intentions,
    )


async def start(base: Base[S], writing: Writing, parts: Parts) -> Running:
    """Bring a service to life; gives where it listens and how to stop it."""
    settings, database = base.settings, base.database
    worker = IntentionWorker(
        database,
        base.tables,
        parts.handlers,
        owner_id=base.ids.new(),
        jitter=base.ids.fraction,
    )
    kept = timedelta(days=settings.key_days)
    forget = ForgetKeys(database, base.tables.request_keys, kept)
    runner = JobRunner((*parts.jobs, forget.job()))
    wakeups = Wakeups()
    feed = FeedServicer(
        database, base.tables, base.clock, _progress(worker, runner, parts), wakeups=wakeups
    )
    writing.on_intentions.append(worker.wake)
    for callback in parts.on_commit:
        database.on_commit(callback)

    def advanced() -> None:
        runner.wake()
        for callback in parts.on_advance:
            callback()

    server = RpcServer(
        base.service,
        settings.listen,
        concurrency_max=settings.concurrency_max,
        ids=base.ids,
        metrics_port=settings.metrics_port,
        reuse_port=settings.reuse_port,
    )
    for each in (*parts.servicers, _parked(base, writing)):
        server.add(*each)
    server.add(feed_service_pb2_grpc.add_FeedServiceServicer_to_server, feed, _FEED_SERVICE)
    server.add(
        clock_service_pb2_grpc.add_ClockServiceServicer_to_server,
        ClockServicer(base.clock, base.clock_store, advanced),
        CLOCK_SERVICE,
    )
    try:
        await server.start()
    except BaseException:
        await _release(base, writing, parts)
        raise
    works: list[Callable[[], Awaitable[None]]] = [
        *(follower.run for follower in writing.followers.values()),
        *parts.tasks,
        runner.run,
    ]
    if parts.handlers:
        works.append(worker.run)
    if database.dialect == "postgresql":
        works.append(lambda: wakeups.exchange_hints(settings.database_url, base.service))
    tasks = [asyncio.ensure_future(background.supervised(base.service, work)) for work in works]

    async def stop() -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(_release, base, writing, parts)
            stack.push_async_callback(background.end, tasks)
            stack.push_async_callback(
                server.stop, settings.stop_grace, drain=database.dialect == "postgresql"
            )
            stack.callback(feed.close)
            for callback in parts.on_stop:
                stack.callback(callback)

    return Running(name=base.service, address=server.address, port=server.port, stop=stop)


def _parked(
    base: Base[S], writing: Writing
) -> tuple[Callable[[Any, grpc.aio.Server], None], object, str]:
    """The adder, servicer and name of what shows and retries the members that wait."""
    translates = {source: each.translate for source, each in writing.followers.items()}
    parked = Parked(base.database, base.tables, writing.group_commit, translates)
    adder = parked_service_pb2_grpc.add_ParkedServiceServicer_to_server
    return adder, ParkedServicer(base.database, parked), _PARKED_SERVICE


async def _release(base: Base[S], writing: Writing, parts: Parts) -> None:
    """Close what was opened for a service, the last first."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(base.database.dispose)
        for channel in base.channels.values():
            stack.push_async_callback(channel.close)
        for closer in parts.closers:
            stack.push_async_callback(closer)
        stack.push_async_callback(writing.group_commit.close)
        stack.push_async_callback(writing.jobs_commit.close)


async def _opened(settings: ServiceSettings, service: str, metadata: MetaData) -> Database:
    """The service's database, migrated; one that is not there yet is waited for."""
    package = f"services.{service}.migrations"
    while True:
        try:
            await migrate.migrate(
                settings.database_url, schema=service, package=package, metadata=metadata
            )
            return await Database.open(settings.database_url, schema=service, lanes=settings.lanes)
        except Exception as error:
            if not (isinstance(error, OSError) or faults.is_connection_lost(error)):
                raise
            _log.warning("database_not_there", service=service, error=str(error)[:200])
            await asyncio.sleep(_RETRY_SECONDS)


def _progress(
    worker: IntentionWorker, runner: JobRunner, parts: Parts
) -> Callable[[], Awaitable[Progress]]:
    async def progress() -> Progress:
        places: tuple[Sequence[Place], Sequence[Place]] = ((), ())
        if parts.projections is not None:
            places = await parts.projections()
        return Progress(
            projections=tuple(places[0]),
            projection_heads=tuple(places[1]),
            intentions_open=await worker.open_count() if parts.handlers else 0,
            jobs_due=await runner.due_count(),
        )

    return progress
