"""Points in time, down to the database: pending, confirmed, expired, told ahead, refunded."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from guerdon.earning.v1 import events_pb2
from services.earning import tables
from services.earning.commands import Command
from services.earning.commands_points import ReinstatePoints
from services.earning.domain import CurrencyId, EntryType, Hold, MemberId, ProgramId
from services.earning.expiry import (
    AfterDays,
    CurrencyPolicy,
    Expiry,
    Pending,
    PendingFor,
    Sliding,
    UntilConfirmed,
)
from services.earning.jobs import SettleWallets, Sink
from services.earning.refusals import (
    ActivityNotFound,
    ActivityNotPending,
    HoldClosed,
    InsufficientPoints,
)
from shared import errors
from shared.clock import SimulatedClock
from shared.database import Database
from shared.work import weight_of_item
from tests.conftest import open_database
from tests.earning.nodes import PROGRAM, START, Node, opened, order, purchase

POINTS = CurrencyId("points")
LONDON = ZoneInfo("Europe/London")
END = datetime(2025, 6, 11, 23, tzinfo=UTC)
"""When points end that live ten days from START on."""


def policy(
    expiry: Expiry | None = None,
    pending: Pending | None = None,
    *,
    reminder_days: tuple[int, ...] = (),
    grace_days: int = 0,
) -> CurrencyPolicy:
    return CurrencyPolicy(
        currency_id=POINTS,
        zone=LONDON,
        expiry=expiry,
        pending=pending,
        reminder_days=reminder_days,
        grace_days=grace_days,
    )


TEN_DAYS = policy(AfterDays(days=10))


@pytest.fixture
async def dated(database: Database) -> AsyncIterator[Node]:
    """Earning with points that live for ten days; tests put other policies in its place."""
    async with opened(database, {POINTS: TEN_DAYS}) as node:
        yield node


def use(node: Node, how: CurrencyPolicy) -> None:
    assert node.policies is not None
    node.policies[POINTS] = how


async def bought(node: Node, activity_id: str, points: int, member: str = "ann") -> None:
    """A purchase now, at a point for each pound."""
    await node.record(purchase(activity_id, member, [(1, points * 100)], occurred=node.clock.now()))


async def types(node: Node) -> list[EntryType]:
    return [entry.type for entry in reversed(await node.entries())]


async def told(node: Node, kind: type[events_pb2.PointsExpiring]) -> list[tuple[int, int]]:
    """Points and days of the reminders that were published."""
    async with node.database.reading() as tx:
        rows = await tx.fetch(
            sa.select(tables.kernel.feed_events).where(
                tables.kernel.feed_events.c.type == kind.DESCRIPTOR.full_name
            )
        )
    events = [kind.FromString(row.payload) for row in rows]
    return sorted((each.points, each.days) for each in events)


async def second(node: Node, stack: AsyncExitStack, seed: int) -> Node:
    """Another process on the same database; on SQLite there is one, so it is the same."""
    if node.database.dialect == "sqlite":
        return node
    database = await open_database(node.database.url)
    stack.push_async_callback(database.dispose)
    made = Node(database, SimulatedClock(node.clock.now()), seed, node.policies)
    stack.push_async_callback(made.group_commit.close)
    return made


# Spending -----------------------------------------------------------------------------------------


async def test_expiry_is_honoured_at_the_moment_of_spending(dated: Node) -> None:
    await bought(dated, "a-1", 100)
    dated.clock.advance(END - timedelta(microseconds=1))
    held = await dated.hold(40)
    dated.clock.advance(END)
    with pytest.raises(InsufficientPoints, match="0 available"):
        await dated.hold(1)
    assert (await dated.wallet()).available == 0
    await dated.capture(held.hold_id)  # held in time: it may be captured until the hold ends
    wallet = await dated.wallet()
    assert (wallet.spent, wallet.expired, wallet.held) == (40, 60, 0)
    assert await types(dated) == [
        EntryType.EARN,
        EntryType.HOLD,
        EntryType.EXPIRE,
        EntryType.CAPTURE,
    ]
    assert await dated.verify() == []


async def test_a_read_shows_the_balance_as_if_everything_due_were_booked(dated: Node) -> None:
    await bought(dated, "a-1", 100)
    await dated.advance(days=1)
    await bought(dated, "a-2", 7)
    now = await dated.wallet_now()
    assert [(each.points, each.expire_time) for each in now.expiring] == [
        (100, END),
        (7, END + timedelta(days=1)),
    ]
    dated.clock.advance(END)
    now = await dated.wallet_now()
    assert (now.wallet.available, now.wallet.expired, now.wallet.sequence) == (7, 100, 2)
    assert [each.points for each in now.expiring] == [7]
    assert len(await dated.entries()) == 2  # a read books nothing


async def test_the_earliest_end_is_spent_first(dated: Node) -> None:
    use(dated, policy())
    await bought(dated, "for-ever", 10)
    use(dated, policy(AfterDays(days=30)))
    await bought(dated, "later", 10)
    use(dated, TEN_DAYS)
    await bought(dated, "sooner", 10)
    hold = await dated.hold(25)
    assert {use_.lot_sequence: use_.points for use_ in hold.lots} == {1: -5, 2: -10, 3: -10}
    assert await dated.verify() == []


async def test_voided_points_whose_lot_has_ended_go_back_to_it_and_end(dated: Node) -> None:
    await bought(dated, "a-1", 100)
    dated.clock.advance(END - timedelta(minutes=5))
    held = await dated.hold(40)
    await dated.advance(minutes=10)
    await dated.void(held.hold_id)
    wallet = await dated.wallet()
    assert (wallet.available, wallet.held, wallet.expired) == (0, 0, 100)
    assert await dated.verify() == []


async def test_the_end_of_a_hold_gives_points_back_to_a_lot_that_has_ended(dated: Node) -> None:
    await bought(dated, "a-1", 100)
    dated.clock.advance(END - timedelta(minutes=5))
    held = await dated.hold(40)
    await dated.advance(minutes=20)
    with pytest.raises(HoldClosed):
        await dated.capture(held.hold_id)
    await dated.expire_holds.run()
    assert (await dated.wallet()).expired == 100
    assert await dated.verify() == []


@pytest.mark.parametrize(("grace", "available", "expired"), [(0, 0, 60), (14, 25, 60)])
async def test_a_refund_to_a_lot_that_has_ended_stays_expired_or_lives_for_a_grace(
    dated: Node, grace: int, available: int, expired: int
) -> None:
    await bought(dated, "a-1", 100)
    held = await dated.hold(40)
    await dated.capture(held.hold_id)
    use(dated, policy(AfterDays(days=10), grace_days=grace))
    await dated.advance(days=20)
    await dated.settle()
    await dated.refund(held.hold_id, 25)
    wallet = await dated.wallet()
    assert (wallet.available, wallet.expired) == (available, expired + 25 - available)
    assert wallet.spent == 15
    await dated.refund(held.hold_id)  # the rest goes back to what was taken, in any split
    wallet = await dated.wallet()
    assert (wallet.available, wallet.spent) == (40 if grace else 0, 0)
    await dated.advance(days=15)
    await dated.settle()
    assert (await dated.wallet()).expired == 100
    assert await dated.verify() == []


async def test_part_refunds_stay_right_when_a_lot_was_extended_between_them(dated: Node) -> None:
    use(dated, policy(AfterDays(days=10), grace_days=50))
    await bought(dated, "a-1", 30)
    await dated.advance(days=5)
    await bought(dated, "a-2", 30)
    held = await dated.hold(60)
    await dated.capture(held.hold_id)
    for points in (7, 30, 5, 18):
        await dated.advance(days=4)
        await dated.refund(held.hold_id, points)
    # All of it came back; what came back to the second lot before that ended, ended with it.
    wallet = await dated.wallet()
    assert (wallet.available, wallet.spent, wallet.expired) == (30, 0, 30)
    assert await dated.verify() == []


# Pending ------------------------------------------------------------------------------------------


async def test_pending_points_cannot_be_spent_until_their_instant(dated: Node) -> None:
    use(dated, policy(None, PendingFor(duration=timedelta(days=14))))
    await bought(dated, "a-1", 100)
    wallet = await dated.wallet()
    assert (wallet.available, wallet.pending, wallet.earned) == (0, 100, 100)
    with pytest.raises(InsufficientPoints):
        await dated.hold(1)
    await dated.advance(days=14)
    await dated.hold(100)
    assert await types(dated) == [EntryType.EARN, EntryType.ACTIVATE, EntryType.HOLD]
    assert await dated.verify() == []


async def test_a_confirmed_activity_s_points_become_available_once(dated: Node) -> None:
    use(dated, policy(AfterDays(days=10), UntilConfirmed()))
    await bought(dated, "a-1", 100)
    await dated.credit(5)  # no activity behind it: there is nothing to confirm
    assert (await dated.wallet()).available == 5
    with pytest.raises(ActivityNotFound):
        await dated.confirm("a-2")
    await dated.advance(days=100)
    first = await dated.confirm("a-1", "r-1")
    assert (first.type, first.available_delta) == (EntryType.ACTIVATE, 100)
    assert await dated.confirm("a-1", "r-1") == first
    with pytest.raises(ActivityNotPending):
        await dated.confirm("a-1", "r-2")
    with pytest.raises(errors.IdempotencyKeyReused):
        await dated.confirm("a-2", "r-1")
    wallet = await dated.wallet()
    assert (wallet.available, wallet.pending, wallet.expired) == (100, 0, 5)
    await dated.advance(days=11)
    await dated.settle()
    assert (await dated.wallet()).expired == 105
    assert await dated.verify() == []


async def test_a_returned_activity_that_waits_loses_its_pending_points(dated: Node) -> None:
    use(dated, policy(None, UntilConfirmed()))
    await dated.record(purchase("a-1", lines=[(1, 10_000), (1, 5_000)]))
    await dated.reverse(order("v-1", "a-1", lines=[(2, 1)]))
    assert (await dated.wallet()).pending == 100
    await dated.confirm("a-1")
    await dated.reverse(order("v-2", "a-1"))
    wallet = await dated.wallet()
    assert (wallet.available, wallet.pending, wallet.reversed, wallet.debt) == (0, 0, 150, 0)
    assert await dated.verify() == []


async def test_an_earn_comes_after_what_the_clock_had_made_due(dated: Node) -> None:
    """Debt is repaid by what became available first, whether or not the job has been there."""
    use(dated, policy(None, PendingFor(duration=timedelta(days=1))))
    await bought(dated, "a-1", 30)
    await dated.advance(days=1)
    held = await dated.hold(30)
    await dated.capture(held.hold_id)
    await dated.reverse(order("v-1", "a-1"))
    await bought(dated, "a-2", 50)
    await dated.advance(days=1)
    use(dated, policy())
    await bought(dated, "a-3", 10)
    entries = {entry.activity_id: entry for entry in await dated.entries() if entry.debt_delta > 0}
    assert {name: each.debt_delta for name, each in entries.items()} == {"a-2": 30}
    assert (await dated.wallet()).available == 30
    assert await dated.verify() == []


async def test_a_spend_keeps_sliding_points_alive(dated: Node) -> None:
    use(dated, policy(Sliding(months=1)))
    await bought(dated, "a-1", 100)
    for _ in range(5):
        await dated.advance(days=25)
        held = await dated.hold(10)
        await dated.capture(held.hold_id)
    assert (await dated.wallet()).available == 50
    await dated.advance(days=40)
    assert (await dated.wallet()).available == 0
    await bought(dated, "a-2", 1)
    wallet = await dated.wallet()
    assert (wallet.available, wallet.expired) == (1, 50)
    assert await dated.verify() == []


# The job ------------------------------------------------------------------------------------------


async def test_after_days_of_downtime_two_jobs_book_everything_once(dated: Node) -> None:
    use(dated, policy(AfterDays(days=10), PendingFor(duration=timedelta(days=2))))
    for number in range(40):
        await bought(dated, f"a-{number}", 10 + number % 3, f"m-{number % 8}")
        await dated.advance(hours=1)
    await dated.advance(days=30)
    async with AsyncExitStack() as stack:
        nodes = [dated, await second(dated, stack, 2), await second(dated, stack, 3)]
        await asyncio.gather(*(node.settle() for node in nodes for _ in range(2)))
    assert await dated.settle_wallets.due() == 0
    for member in range(8):
        wallet = await dated.wallet(f"m-{member}")
        entries = await dated.entries(f"m-{member}")
        kinds = [entry.type for entry in entries]
        assert (wallet.available, wallet.pending, wallet.expired) == (0, 0, wallet.earned)
        assert kinds.count(EntryType.ACTIVATE) == 5
        assert sum(each.program_delta for each in entries if each.type is EntryType.EXPIRE) == (
            wallet.earned
        )
    assert await dated.verify() == []


async def test_spending_races_with_the_job_and_nothing_is_spent_that_had_ended(
    dated: Node,
) -> None:
    await bought(dated, "old", 100)
    await dated.advance(days=5)
    await bought(dated, "new", 60)
    dated.clock.advance(END)
    async with AsyncExitStack() as stack:
        other = await second(dated, stack, 2)
        results: Sequence[object] = await asyncio.gather(
            *(dated.hold(10, request_id=f"h-{at}") for at in range(10)),
            *(other.settle() for _ in range(3)),
            *(other.hold(10, request_id=f"k-{at}") for at in range(10)),
            return_exceptions=True,
        )
    assert sum(isinstance(each, Hold) for each in results) == 6
    assert sum(isinstance(each, InsufficientPoints) for each in results) == 14
    wallet = await dated.wallet()
    assert (wallet.available, wallet.held, wallet.expired) == (0, 60, 100)
    expired = [each for each in await dated.entries() if each.type is EntryType.EXPIRE]
    assert [each.program_delta for each in expired] == [100]
    assert await dated.verify() == []


async def test_reminders_are_published_once_however_many_jobs_look(dated: Node) -> None:
    use(dated, policy(AfterDays(days=60), reminder_days=(30, 7)))
    await bought(dated, "a-1", 100)
    await bought(dated, "b-1", 20, "bob")
    async with AsyncExitStack() as stack:
        nodes = [dated, await second(dated, stack, 2)]
        for _ in range(12):
            for node in nodes:
                node.clock.advance(node.clock.now() + timedelta(days=5))
                if dated.database.dialect == "sqlite":
                    break
            await asyncio.gather(*(node.settle() for node in nodes for _ in range(2)))
            await bought(dated, f"c-{dated.clock.now():%m%d}", 1, "bob")
    assert await told(dated, events_pb2.PointsExpiring) == sorted(
        [(100, 30), (100, 7), (20, 30), (20, 7)]
        # Bob's later points are told of on their own days, as far as these have come.
        + [(1, 30)] * 5
        + [(1, 7)]
    )


async def test_a_lot_that_ends_and_comes_back_in_one_batch_is_saved_as_it_is_then(
    dated: Node,
) -> None:
    for number in (1, 2, 3):
        await bought(dated, f"a-{number}", number * 100)
    dated.clock.advance(END)
    back = ReinstatePoints(
        program_id=ProgramId(PROGRAM),
        request_id="r-1",
        digest="",
        member_id=MemberId("ann"),
        currency_id=POINTS,
        lot_sequence=2,
        expire_time=END + timedelta(days=5),
        actor="bea",
        reason="late",
        points=150,
    )
    await dated.group_commit.submit(back)
    async with dated.database.reading() as tx:
        rows = await tx.fetch(sa.select(tables.lots).order_by(tables.lots.c.lot_sequence))
    assert [(row.remaining, row.is_open) for row in rows] == [(0, 0), (150, 1), (0, 0)]
    assert await dated.verify() == []


async def test_a_wallet_whose_currency_never_ends_is_never_looked_at(node: Node) -> None:
    await node.record(purchase("a-1", lines=[(1, 10_000)]))
    held = await node.hold(40)
    await node.capture(held.hold_id, 30)
    await node.advance(days=10_000)
    assert await node.settle_wallets.due() == 0
    async with node.database.reading() as tx:
        assert (await tx.fetch(sa.select(tables.wallets)))[0].next_time is None


@pytest.mark.parametrize(
    ("table", "values", "rule"),
    [
        ("wallets", {"next_time": None}, "wallet_next_time"),
        ("wallets", {"next_time": END + timedelta(days=1)}, "wallet_next_time"),
        ("wallets", {"slide_time": START}, "wallet_equals_entries"),
        ("lots", {"expire_time": None}, "lots_equal_entries"),
        ("lots", {"expire_time": END + timedelta(days=90)}, "lots_equal_entries"),
        ("lots", {"available_time": None}, "lots_equal_entries"),
        ("lots", {"is_pending": 1}, "lots_equal_entries"),
        ("lots", {"is_sliding": 1}, "lots_equal_entries"),
    ],
)
async def test_a_lot_that_somebody_dated_otherwise_is_found(
    dated: Node, table: str, values: dict[str, object], rule: str
) -> None:
    await bought(dated, "a-1", 100)
    assert await dated.verify() == []
    async with dated.database.transaction() as tx:
        await tx.core.execute(sa.update(tables.metadata.tables[table]).values(values))
    assert rule in {each.rule for each in await dated.verify()}


class Recording:
    """A sink that notes what it is handed, and passes it on."""

    def __init__(self, inner: Sink) -> None:
        self.inner = inner
        self.commands: list[Command] = []

    async def submit_many(self, commands: Sequence[Command], *, wait: bool) -> Sequence[object]:
        self.commands += commands
        return await self.inner.submit_many(commands, wait=wait)


async def test_a_wallet_with_many_entries_takes_the_room_of_several_in_a_batch_of_the_sweep(
    dated: Node,
) -> None:
    for number in range(33):
        await bought(dated, f"a-{number}", 1)
    await bought(dated, "b-1", 1, "bob")
    dated.clock.advance(END)
    sink = Recording(dated.group_commit)
    await SettleWallets(dated.database, sink, dated.clock).run()
    assert sorted(weight_of_item(each) for each in sink.commands) == [1, 2]
    assert (await dated.wallet()).expired == 33
    assert await dated.verify() == []
