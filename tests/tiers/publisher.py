"""A peer that publishes what earning would: a real feed in a real database, served by real gRPC."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.earning.v1 import activity_pb2, events_pb2, member_pb2
from guerdon.feed.v1 import feed_service_pb2 as feed_pb
from guerdon.feed.v1.feed_service_pb2_grpc import add_FeedServiceServicer_to_server
from shared import feed_log, migrate
from shared.clock import SimulatedClock
from shared.database import Database, new_metadata
from shared.feed import FeedReader, FeedServicer, Progress
from shared.feed_log import FeedRecord
from shared.ids import SeededIds, SystemIds, member_key, partition_of
from shared.rpc.server import RpcServer
from shared.tables import kernel_tables

PROGRAM = "giftshop"
METADATA = new_metadata()
TABLES = kernel_tables(METADATA)

ids = SeededIds(7)


@dataclass(frozen=True, slots=True)
class Item:
    """A line of a receipt: pence and category."""

    pence: int
    category: str = "product"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An event, and the instant at which earning records it."""

    member_key: str
    message: Message
    at: datetime
    program_id: str = PROGRAM

    def record(self) -> FeedRecord:
        """The event as earning's feed keeps it."""
        return FeedRecord(
            program_id=self.program_id,
            member_key=self.member_key,
            type=self.message.DESCRIPTOR.full_name,
            payload=self.message.SerializeToString(),
        )


@dataclass(frozen=True, slots=True)
class Customer:
    """A member of the shop."""

    member_id: str
    program_id: str = PROGRAM
    key: str = field(default="")

    @classmethod
    def of(cls, member_id: str, program_id: str = PROGRAM) -> "Customer":
        """Give a customer a key of its own."""
        return cls(member_id, program_id, member_key(ids, program_id, member_id))

    def _published(self, message: Message, at: datetime) -> Published:
        return Published(member_key=self.key, message=message, at=at, program_id=self.program_id)

    def joins(self, at: datetime) -> Published:
        """The enrolment."""
        identifier = member_pb2.MemberIdentifier(kind="member_id", identifier=self.member_id)
        message = events_pb2.MemberEnrolled(
            member_key=self.key, identifiers=[identifier], enroll_time=stamp(at)
        )
        return self._published(message, at)

    def buys(
        self, activity_id: str, at: datetime, *items: Item | int, type_: str = "purchase"
    ) -> Published:
        """A purchase of items, or of products of so many pence."""
        lines = [Item(each) if isinstance(each, int) else each for each in items]
        activity = activity_pb2.Activity(
            activity_id=activity_id,
            type=type_,
            occurred_time=stamp(at),
            payment=activity_pb2.Payment(
                amount_minor=sum(each.pence for each in lines), currency_code="GBP"
            ),
            lines=[
                activity_pb2.LineItem(
                    sku="10002", category=each.category, quantity=10, amount_minor=each.pence
                )
                for each in lines
            ],
        )
        record = activity_pb2.ActivityRecord(activity=activity, create_time=stamp(at))
        return self._published(events_pb2.ActivityRecorded(member_key=self.key, record=record), at)

    def returns(self, activity_id: str, at: datetime, *lines: tuple[int, int]) -> Published:
        """A return of (line number, pence)."""
        reversal = activity_pb2.Reversal(
            reversal_id=f"C{activity_id}-{at.isoformat()}",
            activity_id=activity_id,
            occurred_time=stamp(at),
            create_time=stamp(at),
            amount_minor=sum(pence for _, pence in lines),
            lines=[
                activity_pb2.ReversedLine(line_number=number, quantity=1, amount_minor=pence)
                for number, pence in lines
            ],
        )
        return self._published(
            events_pb2.ActivityReversed(
                member_key=self.key,
                reversal=reversal,
                activity_type="purchase",
                activity_occurred_time=stamp(at),
            ),
            at,
        )


def stamp(at: datetime) -> Timestamp:
    """Timestamp of an instant."""
    made = Timestamp()
    made.FromDatetime(at.astimezone(UTC))
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """The log of earning, and where it is served."""

    database: Database
    address: str
    partitions: int

    async def heads(self) -> dict[int, int]:
        """Last position by partition."""
        async with self.database.reading() as tx:
            return await FeedReader(TABLES).heads(tx)

    async def publish(self, *events: Published) -> str:
        """Commit events one by one, each at its instant; the token of the last."""
        token = ""
        for event in events:
            async with self.database.transaction() as tx:
                [(partition, position)] = await feed_log.append_events(
                    tx, TABLES, [event.record()], partitions=self.partitions, now=event.at
                )
            token = f"earning:{partition}:{position}"
        return token


@asynccontextmanager
async def publishing(url: str, *, partitions: int = 16) -> AsyncIterator[Publisher]:
    """Serve an empty log in the database of the URL."""
    await migrate.create_all(url, schema="earning", metadata=METADATA)
    database = await Database.open(url, schema="earning")
    await feed_log.open_feed(database, TABLES, partitions=partitions, incarnation=ids.new())
    clock = SimulatedClock(datetime(2010, 1, 1, tzinfo=UTC))

    async def progress() -> Progress:
        return Progress()

    servicer = FeedServicer(database, TABLES, clock, progress)
    server = RpcServer("earning", "127.0.0.1:0", concurrency_max=100, ids=SystemIds())
    name = feed_pb.DESCRIPTOR.services_by_name["FeedService"].full_name
    server.add(add_FeedServiceServicer_to_server, servicer, name)
    await server.start()
    try:
        yield Publisher(database=database, address=server.address, partitions=partitions)
    finally:
        servicer.close()
        await server.stop(1, drain=False)
        await database.dispose()


def events_of(published: Sequence[Published], partitions: int = 16) -> list[feed_pb.Event]:
    """The events as a follower would read them from an otherwise empty log."""
    heads: dict[int, int] = {}
    events = []
    for each in published:
        partition = partition_of(each.member_key, partitions)
        heads[partition] = heads.get(partition, 0) + 1
        event = feed_pb.Event(
            partition=partition,
            position=heads[partition],
            program_id=each.program_id,
            member_key=each.member_key,
            create_time=stamp(each.at),
        )
        event.payload.Pack(each.message)
        events.append(event)
    return events
