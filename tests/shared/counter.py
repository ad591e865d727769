"""A service as small as one can be: members have a counter, and it never goes below zero.

It shows how a service plugs into `shared.batches`: values, refusals and a pure decision
(`domain.py` of a real service), a table and how it is loaded and saved (`tables.py`, `store.py`),
and the Work that joins them (`operations.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import cast

import sqlalchemy as sa

from shared import errors, feed_log, record
from shared.batches import Executor, Followed, RequestKey, Run, partition_of_item
from shared.clock import SimulatedClock
from shared.database import Database, Tx, new_metadata
from shared.decision import Decision, Event, Intention
from shared.feed_log import FeedRecord
from shared.group_commit import GroupCommit
from shared.migrate import create_all
from shared.tables import kernel_tables

PARTITIONS = 4
POISON = 13
BUSY = 99
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def member(number: int) -> str:
    """Key of the n-th member of the tests; four in a row are in four partitions."""
    return f"{(number % PARTITIONS) * (65_536 // PARTITIONS):04x}{number:028x}"


# domain.py ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """How many somebody has."""

    program_id: str
    member_key: str
    value: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A counter has changed."""

    program_id: str
    member_key: str
    amount: int
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The counter as it was then."""

    value: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """Adds to a counter, or takes from it. Without a request id it comes from an event."""

    program_id: str = "p"
    member_key: str
    amount: int = 1
    request_id: str = ""
    opens: str = ""
    closes: str = ""

    @property
    def request_key(self) -> RequestKey | None:
        if not self.request_id:
            return None
        return RequestKey(
            program_id=self.program_id,
            scope="Add",
            request_id=self.request_id,
            digest=record.digest(self),
        )

    @property
    def routing(self) -> str:
        return self.member_key


@dataclass(eq=False, repr=False, kw_only=True)
class NotEnough(errors.FailedPrecondition):
    message = "needs {needed}, {available} available"
    needed: int
    available: int


@dataclass(eq=False, repr=False, kw_only=True)
class Busy(errors.Unavailable):
    message = "not now"


def add(counter: Counter, command: Add, now: datetime) -> Decision[Counter, Answer]:
    """Decides one command, purely; 13 stands for a mistake in this code, 99 for a bad moment."""
    if command.amount == POISON:
        raise ValueError("this code cannot count to thirteen")
    if command.amount == BUSY:
        raise Busy
    value = counter.value + command.amount
    if value < 0:
        raise NotEnough(needed=-command.amount, available=counter.value)
    event = Added(
        program_id=command.program_id,
        member_key=command.member_key,
        amount=command.amount,
        value=value,
    )
    return Decision(
        state=replace(counter, value=value),
        answer=Answer(value=value, at=now),
        events=(event,),
        intentions=(_tell(command, value),) if command.opens else (),
        closes=(command.closes,) if command.closes else (),
    )


def _tell(command: Add, value: int) -> Intention:
    """What somebody has to be told after the commit."""
    return Intention(
        intention_id=command.opens,
        kind="tell",
        payload=record.dumps(value),
        program_id=command.program_id,
        member_key=command.member_key,
    )


# tables.py ---------------------------------------------------------------------------------------

metadata = new_metadata()
kernel = kernel_tables(metadata)
counters = sa.Table(
    "counters",
    metadata,
    sa.Column("program_id", sa.Text, primary_key=True),
    sa.Column("member_key", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
    sa.CheckConstraint("value BETWEEN 0 AND 1000000", name="value"),
)
KEY = ("program_id", "member_key")


# operations.py -----------------------------------------------------------------------------------


@dataclass(slots=True)
class World:
    """Every counter that the batch touches."""

    counters: dict[tuple[str, str], Counter] = field(default_factory=dict)

    def put(self, counter: Counter, /) -> None:
        self.counters[counter.program_id, counter.member_key] = counter


class Counting:
    """What `Executor` needs of the service (`shared.batches.Work`)."""

    async def load(self, tx: Tx, commands: Sequence[Add], now: datetime) -> World:
        keys = sorted({(each.program_id, each.member_key) for each in commands})
        rows = await tx.select(counters, keys, key=KEY, lock=True)
        if len(rows) < len(keys):
            empty = [dict(zip((*KEY, "value"), (*key, 0), strict=True)) for key in keys]
            await tx.insert(counters, empty, ignore_conflicts=True)
            rows = await tx.select(counters, keys, key=KEY, lock=True)
        world = World()
        for row in rows:
            world.put(
                Counter(program_id=row.program_id, member_key=row.member_key, value=row.value)
            )
        return world

    def decide(self, world: World, command: Add, now: datetime) -> Decision[Counter, Answer]:
        return add(world.counters[command.program_id, command.member_key], command, now)

    async def save(self, tx: Tx, world: World, run: Run[Add]) -> None:
        changed = {(command.program_id, command.member_key) for command, _ in run.decided}
        rows: list[dict[str, object]] = [
            {"program_id": program, "member_key": key, "value": world.counters[program, key].value}
            for program, key in sorted(changed)
        ]
        await tx.update(counters, rows, key=KEY)

    def answer_type(self, command: Add) -> type[Answer]:
        return Answer

    def event_to_feed(self, event: Event) -> FeedRecord:
        added = cast("Added", event)
        return FeedRecord(
            program_id=added.program_id,
            member_key=added.member_key,
            type="counter.Added",
            payload=record.dumps(added).encode(),
        )


# service.py --------------------------------------------------------------------------------------


async def prepare(database: Database) -> None:
    """Create the tables and an empty feed."""
    await create_all(database.url, schema=database.schema, metadata=metadata)
    await feed_log.open_feed(database, kernel, partitions=PARTITIONS, incarnation="first")


def executor(database: Database, work: Counting | None = None) -> Executor[Add, World]:
    return Executor(
        database=database,
        work=work or Counting(),
        clock=SimulatedClock(NOW),
        service="counter",
        partitions=PARTITIONS,
        tables=kernel,
    )


def group_commit(
    database: Database, *, lanes_max: int = 1, batch_max: int = 128, queue_max: int = 10_000
) -> GroupCommit:
    async def park(followed: Followed, error: Exception) -> None:
        await feed_log.park(database, kernel, followed, error)

    return GroupCommit(
        executor(database).execute,
        route=lambda item: partition_of_item(item, PARTITIONS),
        park=park,
        lanes_max=lanes_max,
        batch_max=batch_max,
        queue_max=queue_max,
        service="counter",
    )


# What the tests look at --------------------------------------------------------------------------


async def value_of(database: Database, number: int) -> int:
    """Counter of a member; 0 if there is none."""
    async with database.reading() as tx:
        rows = await tx.select(counters, [("p", member(number))], key=KEY)
    return int(rows[0].value) if rows else 0


async def positions(database: Database) -> dict[int, list[int]]:
    """Positions of the feed by partition, in ascending order."""
    found: dict[int, list[int]] = {}
    table = kernel.feed_events
    async with database.reading() as tx:
        for row in await tx.fetch(
            sa.select(table.c.partition, table.c.position).order_by(*table.primary_key)
        ):
            found.setdefault(row.partition, []).append(row.position)
    return found


async def count(database: Database, table: sa.Table) -> int:
    """Rows of a table."""
    async with database.reading() as tx:
        return int((await tx.fetch(sa.select(sa.func.count().label("n")).select_from(table)))[0].n)


def followed(position: int, number: int, *, amount: int = 1, **more: int | bool) -> Followed:
    """Event of another service about a member, which adds to the counter here."""
    return Followed(
        source="earning",
        partition=number % PARTITIONS,
        position=position,
        member_key=member(number),
        event=f"event {position}".encode(),
        commands=(Add(member_key=member(number), amount=amount),),
        skipped=int(more.get("skipped", 0)),
        retry=bool(more.get("retry", False)),
    )
