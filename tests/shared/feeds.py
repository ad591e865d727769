"""What the tests of feeds share: events to append, and a service's log on a loopback port."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import grpc
from google.protobuf.wrappers_pb2 import StringValue

from guerdon.feed.v1 import feed_service_pb2 as pb
from guerdon.feed.v1.feed_service_pb2_grpc import add_FeedServiceServicer_to_server
from shared.clock import SimulatedClock
from shared.database import Database, new_metadata
from shared.feed import FeedServicer, Progress
from shared.feed_log import FeedRecord, append_events, open_feed
from shared.ids import SystemIds
from shared.rpc.client import channel
from shared.rpc.server import RpcServer
from shared.tables import KernelTables, kernel_tables

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PARTITIONS = 4
FAR = 600.0  # seconds: a wait that no test may depend on
TYPE = StringValue.DESCRIPTOR.full_name


METADATA = new_metadata()
TABLES = kernel_tables(METADATA)


async def prepared(database: Database, *, incarnation: str = "one") -> Database:
    """Put the kernel's tables and an empty log into a database."""
    async with database.transaction() as tx:
        await tx.core.run_sync(METADATA.create_all)
    await open_feed(database, TABLES, partitions=PARTITIONS, incarnation=incarnation)
    return database


def member(partition: int, number: int = 0) -> str:
    """Key of a member in a partition."""
    return f"{partition * 0x10000 // PARTITIONS:04x}{number:028x}"


def said(member_key: str, text: str) -> FeedRecord:
    """Event of these tests: a member said something."""
    return FeedRecord(
        program_id="classic",
        member_key=member_key,
        type=TYPE,
        payload=StringValue(value=text).SerializeToString(),
    )


async def append(database: Database, tables: KernelTables, records: Sequence[FeedRecord]) -> None:
    """Commit some events."""
    async with database.transaction() as tx:
        await append_events(tx, tables, records, partitions=PARTITIONS, now=NOW)


def servicer_of(
    database: Database,
    tables: KernelTables,
    *,
    progress: Progress | None = None,
    poll_seconds: float = FAR,
) -> FeedServicer:
    """Servicer whose poll is so rare that only wake-ups can explain what arrives."""

    async def tell() -> Progress:
        return progress or Progress()

    return FeedServicer(database, tables, SimulatedClock(NOW), tell, poll_seconds=poll_seconds)


@asynccontextmanager
async def serving(
    servicer: FeedServicer, *, listen: str = "127.0.0.1:0"
) -> AsyncIterator[grpc.aio.Channel]:
    """Serve on a loopback port, of the system's choice by default; give a channel to it."""
    server = RpcServer("feeds", listen, concurrency_max=1_000, ids=SystemIds())
    service = pb.DESCRIPTOR.services_by_name["FeedService"].full_name
    server.add(add_FeedServiceServicer_to_server, servicer, service)
    await server.start()
    try:
        async with channel(server.address) as opened:
            yield opened
    finally:
        servicer.close()
        await server.stop(1, drain=False)
