"""A peer that is what earning would be here: a real feed, and CreditPoints, over real gRPC."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import yaml
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.earning.v1 import (
    activity_pb2,
    earning_service_pb2,
    earning_service_pb2_grpc,
    events_pb2,
    member_pb2,
)
from guerdon.feed.v1 import feed_service_pb2 as feed_pb
from guerdon.feed.v1.feed_service_pb2_grpc import add_FeedServiceServicer_to_server
from guerdon.gamification.v1 import program_pb2 as pb
from shared import errors, feed_log, migrate
from shared.clock import SimulatedClock
from shared.database import Database, new_metadata
from shared.feed import FeedServicer, Progress
from shared.feed_log import FeedRecord
from shared.ids import SeededIds, SystemIds, member_key, partition_of
from shared.rpc.interceptors import Context
from shared.rpc.server import RpcServer
from shared.tables import kernel_tables

PROGRAM = "giftshop"
PARTITIONS = 16
METADATA = new_metadata()
TABLES = kernel_tables(METADATA)
ids = SeededIds(11)


def at(text: str) -> datetime:
    """Instant of London's winter, or UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def giftshop() -> pb.GamificationProgram:
    """The gift shop's own document, from its file."""
    path = Path(__file__).parents[2] / "programs" / "giftshop" / "gamification.yaml"
    return json_format.ParseDict(
        yaml.safe_load(path.read_text(encoding="utf-8")), pb.GamificationProgram()
    )


def with_games(document: pb.GamificationProgram) -> pb.GamificationProgram:
    """The document with a board for each way to submit scores."""
    for name, aggregation, order in (
        ("best", pb.SubmittedSource.AGGREGATION_BEST, pb.Leaderboard.ORDER_UNSPECIFIED),
        ("last", pb.SubmittedSource.AGGREGATION_LAST, pb.Leaderboard.ORDER_UNSPECIFIED),
        ("total", pb.SubmittedSource.AGGREGATION_SUM, pb.Leaderboard.ORDER_UNSPECIFIED),
        ("fastest", pb.SubmittedSource.AGGREGATION_BEST, pb.Leaderboard.ORDER_ASCENDING),
    ):
        document.leaderboards.add(
            board_id=name,
            period=pb.Leaderboard.PERIOD_ALL_TIME,
            order=order,
            submitted=pb.SubmittedSource(aggregation=aggregation),
        )
    return document


def stamp(instant: datetime) -> Timestamp:
    """Timestamp of an instant."""
    made = Timestamp()
    made.FromDatetime(instant)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An event, and the instant at which earning records it."""

    member_key: str
    message: Message
    at: datetime

    def record(self) -> FeedRecord:
        """The event as earning's feed keeps it."""
        return FeedRecord(
            program_id=PROGRAM,
            member_key=self.member_key,
            type=self.message.DESCRIPTOR.full_name,
            payload=self.message.SerializeToString(),
        )


@dataclass(frozen=True, slots=True)
class Customer:
    """A member of the shop."""

    member_id: str
    key: str = field(default="")

    @classmethod
    def of(cls, member_id: str) -> "Customer":
        """Give a customer a key of its own."""
        return cls(member_id, member_key(ids, PROGRAM, member_id))

    def joins(self, when: datetime) -> Published:
        """The enrolment, with a card besides the number."""
        identifiers = [
            member_pb2.MemberIdentifier(kind="card", identifier=f"card-{self.member_id}"),
            member_pb2.MemberIdentifier(kind="member_id", identifier=self.member_id),
        ]
        message = events_pb2.MemberEnrolled(
            member_key=self.key, identifiers=identifiers, enroll_time=stamp(when)
        )
        return Published(member_key=self.key, message=message, at=when)

    def buys(
        self,
        activity_id: str,
        when: datetime,
        *skus: str,
        points: int = 10,
        pence: int = 100,
        category: str = "product",
    ) -> Published:
        """A purchase of one unit of each sku, each for so many pence."""
        activity = activity_pb2.Activity(
            activity_id=activity_id,
            type="purchase",
            occurred_time=stamp(when),
            payment=activity_pb2.Payment(amount_minor=pence * len(skus), currency_code="GBP"),
            lines=[
                activity_pb2.LineItem(sku=sku, category=category, quantity=1, amount_minor=pence)
                for sku in skus
            ],
        )
        record = activity_pb2.ActivityRecord(
            activity=activity, create_time=stamp(when), points=points
        )
        message = events_pb2.ActivityRecorded(member_key=self.key, record=record)
        return Published(member_key=self.key, message=message, at=when)

    def returns(self, activity_id: str, when: datetime) -> Published:
        """A return of a whole purchase."""
        reversal = activity_pb2.Reversal(
            reversal_id=f"C{activity_id}", activity_id=activity_id, points=10, amount_minor=100
        )
        message = events_pb2.ActivityReversed(
            member_key=self.key, reversal=reversal, activity_type="purchase"
        )
        return Published(member_key=self.key, message=message, at=when)


def events_of(published: Sequence[Published]) -> list[feed_pb.Event]:
    """The events as a follower would read them from an otherwise empty log."""
    heads: dict[int, int] = {}
    events = []
    for each in published:
        partition = partition_of(each.member_key, PARTITIONS)
        heads[partition] = heads.get(partition, 0) + 1
        event = feed_pb.Event(
            partition=partition,
            position=heads[partition],
            program_id=PROGRAM,
            member_key=each.member_key,
            create_time=stamp(each.at),
        )
        event.payload.Pack(each.message)
        events.append(event)
    return events


class _Earning(earning_service_pb2_grpc.EarningServiceServicer):
    """Credits points once per request id, and misbehaves when told to."""

    def __init__(self) -> None:
        self.credits: dict[str, earning_service_pb2.CreditPointsRequest] = {}
        self.calls = 0
        self.lose_answers = 0
        self.refusal: errors.Refusal | None = None

    async def CreditPoints(
        self, request: earning_service_pb2.CreditPointsRequest, context: Context
    ) -> earning_service_pb2.CreditPointsResponse:
        """Credit points, or refuse, or credit them and lose the answer."""
        del context
        self.calls += 1
        if self.refusal is not None:
            raise self.refusal
        known = self.credits.setdefault(request.request_id, request)
        if known != request:
            raise errors.IdempotencyKeyReused(request_id=request.request_id)
        if self.lose_answers:
            self.lose_answers -= 1
            raise errors.NotReady(what="the answer")
        return earning_service_pb2.CreditPointsResponse()


@dataclass(slots=True, kw_only=True)
class Peer:
    """The log of earning and its credits, and where they are served; `stop` and `serve` again."""

    database: Database
    earning: _Earning
    port: int = 0
    _server: RpcServer | None = None
    _feed: FeedServicer | None = None

    @property
    def address(self) -> str:
        """Where it is served."""
        return f"127.0.0.1:{self.port}"

    async def publish(self, *events: Published) -> str:
        """Commit events one by one, each at its instant; the token of the last."""
        token = ""
        for event in events:
            async with self.database.transaction() as tx:
                [(partition, position)] = await feed_log.append_events(
                    tx, TABLES, [event.record()], partitions=PARTITIONS, now=event.at
                )
            token = f"earning:{partition}:{position}"
        return token

    async def serve(self) -> None:
        """Listen, on the port of before if there was one."""

        async def progress() -> Progress:
            return Progress()

        clock = SimulatedClock(at("2010-01-01"))
        self._feed = FeedServicer(self.database, TABLES, clock, progress)
        listen = f"127.0.0.1:{self.port}"
        server = RpcServer("earning", listen, concurrency_max=100, ids=SystemIds())
        name = feed_pb.DESCRIPTOR.services_by_name["FeedService"].full_name
        server.add(add_FeedServiceServicer_to_server, self._feed, name)
        server.add(
            earning_service_pb2_grpc.add_EarningServiceServicer_to_server,
            self.earning,
            "guerdon.earning.v1.EarningService",
        )
        self.port = await server.start()
        self._server = server

    async def stop(self) -> None:
        """Be away."""
        if self._server is not None and self._feed is not None:
            self._feed.close()
            await self._server.stop(1, drain=False)
            self._server = None


@asynccontextmanager
async def earning_peer(url: str) -> AsyncIterator[Peer]:
    """Serve an empty log in the database of the URL."""
    await migrate.create_all(url, schema="earning", metadata=METADATA)
    database = await Database.open(url, schema="earning")
    await feed_log.open_feed(database, TABLES, partitions=PARTITIONS, incarnation=ids.new())
    peer = Peer(database=database, earning=_Earning())  # type: ignore[abstract]
    await peer.serve()
    try:
        yield peer
    finally:
        await peer.stop()
        await database.dispose()
