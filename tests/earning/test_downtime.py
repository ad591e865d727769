"""Jobs that begin again in several copies, after days in which none ran, over both clock changes.

Each thing is due by the state alone, behind the lock of its wallet: whoever runs the jobs, and
however often, books it once, at the instant at which it was due.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from google.protobuf.message import Message
from prometheus_client import REGISTRY

from guerdon.earning.v1 import events_pb2
from services.earning import tables
from services.earning.commands import Command
from services.earning.commands_ledger import SettleWallet
from services.earning.domain import EntryType
from services.earning.jobs import SettleWallets
from shared import errors
from shared.clock import SimulatedClock
from shared.database import Database
from tests.conftest import open_database
from tests.earning.nodes import Node, opened, purchase

MEMBERS = 6
# The day before each of the two changes of a year.
CHANGES = [
    ("Europe/London", "2025-10-25"),
    ("Europe/London", "2026-03-28"),
    ("America/New_York", "2025-11-01"),
    ("America/New_York", "2026-03-07"),
    ("Australia/Lord_Howe", "2025-10-04"),
    ("Australia/Lord_Howe", "2026-04-04"),
]
CURRENCY: dict[str, object] = {
    "currency_id": "points",
    "pending_duration": "86400s",
    "expiry": {"after_days": 3},
    "reminder_days": [1],
}


@pytest.fixture
async def copies(database: Database) -> AsyncIterator[list[Node]]:
    """Three processes on one database; on SQLite there is one process, so it is the same one."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(opened(database))
        made = [first]
        for seed in (2, 3):
            if database.dialect == "sqlite":
                made.append(first)
                continue
            other = await open_database(database.url)
            stack.push_async_callback(other.dispose)
            made.append(Node(other, SimulatedClock(first.clock.now()), seed))
            stack.push_async_callback(made[-1].group_commit.close)
        yield made


async def jobs(copies: list[Node], now: datetime) -> None:
    """All copies run all jobs at once, twice each."""
    for node in copies:
        if node.clock.now() < now:
            node.clock.advance(now)
    await asyncio.gather(
        *(job for node in copies for _ in range(2) for job in (_holds(node), node.settle()))
    )


async def _holds(node: Node) -> None:
    while await node.expire_holds.due():
        await node.expire_holds.run()


async def told(node: Node, kind: type[Message]) -> int:
    events = tables.kernel.feed_events
    async with node.database.reading() as tx:
        rows = await tx.fetch(sa.select(events).where(events.c.type == kind.DESCRIPTOR.full_name))
    return len(rows)


@pytest.mark.parametrize(("zone", "day"), CHANGES)
async def test_all_jobs_of_three_copies_book_everything_once_after_days_over_a_clock_change(
    copies: list[Node], zone: str, day: str
) -> None:
    node, where = copies[0], ZoneInfo(zone)
    await node.apply(time_zone=zone, currencies=[CURRENCY])
    noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=where).astimezone(UTC)
    node.clock.advance(noon)
    for number in range(MEMBERS):
        made = purchase(f"a-{number}", f"m-{number}", [(1, 5_000)], occurred=noon)
        await node.record(made)
    node.clock.advance(noon + timedelta(hours=24))
    for number in range(0, MEMBERS, 2):
        await node.hold(20, f"m-{number}", seconds=3_600)
    # Usable three days after the day on which they became available, to its end on the wall.
    start = (noon + timedelta(hours=24)).astimezone(where).date()
    ends = datetime.combine(start + timedelta(days=4), datetime.min.time(), where)
    await jobs(copies, ends - timedelta(hours=12))
    assert await told(node, events_pb2.PointsExpiring) == MEMBERS
    await jobs(copies, noon + timedelta(days=30))
    for number in range(MEMBERS):
        entries = await node.entries(f"m-{number}")
        kinds = [each.type for each in entries]
        assert kinds.count(EntryType.ACTIVATE) == 1
        assert kinds.count(EntryType.VOID) == (number % 2 == 0)
        expired = -sum(each.available_delta for each in entries if each.type is EntryType.EXPIRE)
        wallet = await node.wallet(f"m-{number}")
        assert (wallet.available, wallet.held, wallet.pending) == (0, 0, 0)
        assert (expired, wallet.expired) == (50, 50)
        (lot,) = {each.lot_expire_time for each in entries if each.type is EntryType.ACTIVATE}
        assert lot == ends
    assert await told(node, events_pb2.PointsExpiring) == MEMBERS
    assert await told(node, events_pb2.PointsExpired) == MEMBERS
    before = {at: len(await node.entries(f"m-{at}")) for at in range(MEMBERS)}
    await jobs(copies, noon + timedelta(days=31))
    assert {at: len(await node.entries(f"m-{at}")) for at in range(MEMBERS)} == before
    assert await node.verify() == []


async def test_holds_that_ended_while_no_job_ran_are_ended_once_by_three_copies(
    copies: list[Node],
) -> None:
    node = copies[0]
    for number in range(8):
        await node.enroll(f"m-{number}")
    for number in range(40):
        member = f"m-{number % 8}"
        await node.credit(10, member)
        await node.hold(10, member, seconds=60 + number)
    await jobs(copies, node.clock.now() + timedelta(days=9))
    assert await node.expire_holds.due() == 0
    for number in range(8):
        wallet = await node.wallet(f"m-{number}")
        kinds = [each.type for each in await node.entries(f"m-{number}")]
        assert (wallet.available, wallet.held) == (50, 0)
        assert kinds.count(EntryType.VOID) == 5
    assert await node.verify() == []


class Crowded:
    """The way to the group commit; what is settled of one wallet never gets through."""

    def __init__(self, node: Node, member_key: str) -> None:
        self.node = node
        self.member_key = member_key
        self.pieces: list[int] = []

    async def submit_many(self, commands: Sequence[Command], *, wait: bool) -> Sequence[object]:
        self.pieces.append(len(commands))
        free = [each for each in commands if key_of(each) != self.member_key]
        settled = iter(await self.node.group_commit.submit_many(free, wait=wait))
        busy = errors.Overloaded(limit=1)
        return [busy if key_of(each) == self.member_key else next(settled) for each in commands]


def key_of(command: Command) -> str:
    assert isinstance(command, SettleWallet)
    return command.member_key


def worked_off(outcome: str) -> float:
    labels = {"job": "settle_wallets", "outcome": outcome}
    return REGISTRY.get_sample_value("guerdon_earning_job_items_total", labels) or 0.0


async def test_the_job_goes_by_pieces_and_a_wallet_in_the_way_does_not_stop_it(
    copies: list[Node],
) -> None:
    node, members = copies[0], [f"m-{number}" for number in range(30)]
    await node.apply(currencies=[{"currency_id": "points", "expiry": {"after_days": 3}}])
    for member in members:
        made = purchase(f"a-{member}", member, [(1, 1_000)], occurred=node.clock.now())
        await node.record(made)
    node.clock.advance(node.clock.now() + timedelta(days=60))
    in_the_way = (await node.wallet("m-3")).member_key
    crowded = Crowded(node, in_the_way)
    job = SettleWallets(node.database, crowded, node.clock, piece=7)
    before = worked_off("done"), worked_off("refused")
    while await job.run():
        pass
    assert crowded.pieces == [7, 7, 7, 7, 2]
    assert (worked_off("done") - before[0], worked_off("refused") - before[1]) == (29, 1)
    assert await job.due() == 1
    crowded.member_key = ""
    assert [await job.run(), await job.run(), await job.due()] == [1, 0, 0]
    assert [(await node.wallet(each)).expired for each in members] == [10] * 30
    assert await node.verify() == []
