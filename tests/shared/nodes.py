"""A small service that follows a log: what it hears of members, it says in a log of its own.

Its log is therefore the record of what was applied, how often and in which order.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import grpc
from google.protobuf.wrappers_pb2 import StringValue
from sqlalchemy.schema import CreateSchema

from guerdon.feed.v1 import feed_service_pb2 as pb
from shared import errors
from shared.batches import Command, Executor, FeedRecord, Followed, Run
from shared.clock import SimulatedClock
from shared.database import Database, Tx
from shared.decision import Decision, Event
from shared.feed_log import park
from shared.followers import Follower
from shared.group_commit import GroupCommit
from shared.ids import SeededIds
from shared.keys import RequestKey
from shared.parked import Parked
from tests.shared.feeds import NOW, PARTITIONS, TABLES, prepared, said

SOURCE = "talking"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hear:
    """Command of these tests: a member was heard."""

    program_id: str
    member_key: str
    text: str

    @property
    def request_key(self) -> RequestKey | None:
        """Followed commands have none."""
        return None

    @property
    def routing(self) -> str:
        """The member's key."""
        return self.member_key


@dataclass(eq=False, kw_only=True)
class Unheard(errors.FailedPrecondition):
    """What was said is refused: an outcome like any other."""

    message = "{text} is not listened to"
    text: str


class World:
    """Nothing has a state here."""

    def put(self, state: None) -> None:
        """Nothing to keep."""


@dataclass(slots=True)
class Hearing:
    """What the service can take: `poison` breaks it, `refused` it refuses, `later` it puts off."""

    poison: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)

    async def load(self, tx: Tx, commands: Sequence[Hear], now: datetime) -> World:
        return World()

    def decide(self, world: World, command: Hear, now: datetime) -> Decision[object, object]:
        if command.text in self.poison:
            raise ZeroDivisionError(command.text)
        if command.text in self.refused:
            raise Unheard(text=command.text)
        if command.text in self.later:
            raise errors.NotReady(what=command.text)
        return Decision(state=None, answer=None, events=(command,))

    async def save(self, tx: Tx, world: World, run: Run[Hear]) -> None:
        return None

    def answer_type(self, command: Hear) -> type[object]:
        return object

    def event_to_feed(self, event: Event) -> FeedRecord:
        assert isinstance(event, Hear)
        return said(event.member_key, event.text)


def translate(event: pb.Event) -> tuple[Command, ...]:
    """What an event means here: silence means nothing, "garbled" cannot be understood at all."""
    value = StringValue()
    assert event.payload.Unpack(value)
    if value.value == "silence":
        return ()
    if value.value == "garbled":
        raise UnicodeError(value.value)
    return (Hear(program_id=event.program_id, member_key=event.member_key, text=value.value),)


class Node:
    """One process of the service; several may share a database."""

    def __init__(self, database: Database, *, seed: int = 1, batch_max: int = 8) -> None:
        self.database = database
        self.hearing = Hearing()
        self.ids = SeededIds(seed)
        executor = Executor(
            database=database,
            work=self.hearing,
            clock=SimulatedClock(NOW),
            service="hearing",
            partitions=PARTITIONS,
            tables=TABLES,
        )
        self.commit = GroupCommit(
            executor.execute,
            route=lambda item: item.partition if isinstance(item, Followed) else 0,
            park=self.park,
            batch_max=batch_max,
            ids=self.ids,
        )
        self.parked = Parked(database, TABLES, self.commit, {SOURCE: translate})

    async def park(self, followed: Followed, error: Exception) -> None:
        await park(self.database, TABLES, followed, error)

    def follower(self, channel: grpc.aio.Channel, *, page_size: int = 500) -> Follower:
        return Follower(
            source=SOURCE,
            channel=channel,
            database=self.database,
            tables=TABLES,
            sink=self.commit,
            translate=translate,
            park=self.park,
            partitions=PARTITIONS,
            jitter=self.ids.fraction,
            page_size=page_size,
        )

    async def heard(self) -> list[tuple[str, str]]:
        """Member and text of everything that was applied, in order within each partition."""
        table = TABLES.feed_events
        async with self.database.reading() as tx:
            rows = await tx.fetch(table.select().order_by(table.c.partition, table.c.position))
        return [(row.member_key, StringValue.FromString(row.payload).value) for row in rows]

    async def texts(self) -> list[str]:
        """Texts alone, in order within each partition."""
        return [text for _, text in await self.heard()]

    async def cursors(self) -> dict[int, int]:
        """How far each partition has been applied, by the database."""
        async with self.database.reading() as tx:
            rows = await tx.fetch(TABLES.feed_cursors.select())
        return {row.partition: row.position for row in rows}

    async def kill(self) -> None:
        """End the process's transactions wherever they are."""
        tasks = list(self.commit._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def open_node_database(beside: Database, folder: Path) -> Database:
    """Another empty database of the same kind, with the kernel's tables."""
    if beside.dialect == "sqlite":
        url = f"sqlite:///{folder}/node.db"
        return await prepared(await Database.open(url, schema="node"))
    async with beside.transaction() as tx:
        await tx.execute(CreateSchema("node"))
    return await prepared(await Database.open(beside.url, schema="node", lanes=4))


@asynccontextmanager
async def following(*followers: Follower) -> AsyncIterator[None]:
    """Run followers meanwhile."""
    tasks = [asyncio.create_task(each.run()) for each in followers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
