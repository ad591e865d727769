"""What VerifyTiers finds, through real gRPC on both sides."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import grpc
import pytest
import sqlalchemy as sa

from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceStub
from services.tiers import tables
from services.tiers.followers import commands_of
from services.tiers.jobs import FillLadders
from services.tiers.verification import Verification
from shared.followers import Follower
from shared.rpc.client import channel
from tests.tiers.cases import at
from tests.tiers.conftest import PARTITIONS, Tiers
from tests.tiers.documents import giftshop, with_stamps
from tests.tiers.publisher import Customer, Item, Published, Publisher, publishing

NOON = at("2010-12-01 12:00")
DAY = timedelta(days=1)


@dataclass(slots=True)
class Cluster:
    """Tiers that follow a publisher."""

    tiers: Tiers
    publisher: Publisher
    follower: Follower
    verification: Verification

    async def publish(self, *events: Published) -> None:
        """Publish, and wait until it is applied."""
        await self.publisher.publish(*events)
        for partition, position in (await self.publisher.heads()).items():
            await self.follower.wait_for(partition, position)

    async def violations(self, program_id: str = "") -> list[tuple[str, str]]:
        """Rules violated, and the subject without program and member."""
        found = []
        async for progress in self.verification.run(program_id):
            assert progress.done <= progress.total
            found += [
                (each.rule, "/".join(each.subject.split("/")[2:])) for each in progress.violations
            ]
        return found


@pytest.fixture
async def cluster(tiers: Tiers, tmp_path: object) -> AsyncIterator[Cluster]:
    """Tiers on both databases, following a publisher on SQLite."""
    async with (
        publishing(f"sqlite:///{tmp_path}/earning.db") as publisher,
        channel(publisher.address) as opened,
        following(tiers, opened) as follower,
    ):
        stub = FeedServiceStub(opened)
        verification = Verification(
            tiers.database, tiers.programs, stub, commands_of, partitions=PARTITIONS
        )
        yield Cluster(tiers, publisher, follower, verification)


@asynccontextmanager
async def following(tiers: Tiers, opened: grpc.aio.Channel) -> AsyncIterator[Follower]:
    """Follow until the context ends."""

    async def park(item: object, error: Exception) -> None:
        raise error

    follower = Follower(
        source="earning",
        channel=opened,
        database=tiers.database,
        tables=tables.kernel,
        sink=tiers.group_commit,
        translate=commands_of,
        park=park,
        partitions=PARTITIONS,
        jitter=lambda: 0.0,
    )
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def a_history(cluster: Cluster) -> Customer:
    """Members before a ladder, versions between events, returns across versions."""
    ann, bob, cid = (Customer.of(name) for name in ("ann", "bob", "cid"))
    tiers = cluster.tiers
    await cluster.publish(ann.joins(NOON), bob.joins(NOON), ann.buys("0", NOON, 90_000))
    tiers.clock.advance(NOON + DAY)
    await tiers.apply()
    at_once = NOON + 2 * DAY
    await cluster.publish(
        ann.buys("1", at_once, 60_000, Item(70_000, "postage")), cid.joins(at_once)
    )
    tiers.clock.advance(NOON + 3 * DAY)
    everything = with_stamps()
    everything.ladders[0].net_spend.line_condition = 'line.category != "book"'
    everything.ladders[0].levels[1].net_spend_minor = 55_000
    await tiers.apply(everything)
    await cluster.publish(
        ann.returns("1", NOON + 4 * DAY, (1, 10_000), (2, 70_000)),
        cid.buys("2", NOON + 4 * DAY, Item(300_000, "postage")),
        cid.returns("2", NOON + 4 * DAY, (1, 300_000)),
        ann.returns("0", NOON + 5 * DAY, (1, 90_000)),
    )
    return ann


async def test_what_was_followed_verifies(cluster: Cluster) -> None:
    await a_history(cluster)
    assert await cluster.violations() == []
    assert await cluster.violations("giftshop") == []
    job = FillLadders(cluster.tiers.database, cluster.tiers.group_commit)
    while await job.run():
        pass
    assert await cluster.violations() == []


async def test_a_pruned_ladder_verifies(cluster: Cluster) -> None:
    ann = await a_history(cluster)
    await cluster.tiers.apply(giftshop(), prune=True)
    await cluster.publish(ann.buys("9", NOON + 6 * DAY, 1_000))
    assert await cluster.violations() == []


@pytest.mark.parametrize("late", [timedelta(0), timedelta(days=3)], ids=["on time", "after days"])
async def test_events_meet_the_version_that_was_scheduled_where_it_comes_into_force(
    cluster: Cluster, late: timedelta
) -> None:
    ann, cid = Customer.of("ann"), Customer.of("cid")
    tiers, opening = cluster.tiers, NOON + 3 * DAY
    tiers.clock.advance(NOON)
    await tiers.apply()
    await tiers.documents.apply(
        with_stamps(),
        author="test",
        etag="",
        validate_only=False,
        prune=False,
        publish_time=opening,
    )
    await cluster.publish(ann.joins(NOON), ann.buys("0", NOON + DAY, 90_000))
    before = (await tiers.documents.get("giftshop", 0)).version
    [place] = [each for each, head in (await cluster.publisher.heads()).items() if head]
    tiers.clock.advance(opening + late)
    await cluster.publish(cid.joins(opening + late), cid.buys("1", opening + late, 90_000))
    async with tiers.database.reading() as tx:
        now = await tiers.programs.require(tx, "giftshop")
        met = await tiers.programs.version_for(
            tx, "giftshop", source="earning", partition=place, position=2
        )
    assert (before, now.version.version, now.version.publish_time, met) == (1, 2, opening, 1)
    assert await cluster.violations() == []
    job = FillLadders(tiers.database, tiers.group_commit)
    while await job.run():
        pass
    assert await cluster.violations() == []


Change = Callable[[], sa.UpdateBase]


@pytest.mark.parametrize(
    ("change", "violated"),
    [
        (
            lambda: (
                tables.spend_days.update()
                .where(tables.spend_days.c.day == (NOON + 2 * DAY).date())
                .values(amount_minor=tables.spend_days.c.amount_minor + 1)
            ),
            {("spend_day_equals_feed", "main/2010-12-03")},
        ),
        (
            tables.spend_days.delete,
            {("spend_day_equals_feed", "main/2010-12-03")},
        ),
        (
            lambda: tables.qualified_activities.update().values(lines="[2]"),
            {("qualified_activity_equals_feed", "main/1")},
        ),
        (
            lambda: (
                tables.memberships.update()
                .where(tables.memberships.c.level_id == "silver")
                .values(level_id="gold")
            ),
            {("membership_equals_feed", "main")},
        ),
        (
            lambda: (
                tables.membership_changes.update()
                .where(tables.membership_changes.c.level_id == "silver")
                .values(level_id="gold")
            ),
            {("change_equals_feed", "main/2"), ("change_published", "main")},
        ),
        (
            lambda: tables.membership_changes.delete().where(
                tables.membership_changes.c.sequence == 2
            ),
            {("change_equals_feed", "main/2"), ("change_published", "main")},
        ),
        (
            lambda: tables.kernel.feed_events.update().values(type="guerdon.tiers.v1.Other"),
            {("change_published", "main")},
        ),
        (
            lambda: tables.members.update().values(
                enroll_time=tables.members.c.enroll_time + sa.literal(1, sa.BigInteger)
            ),
            {("member_equals_feed", "")},
        ),
    ],
    ids=lambda value: "" if callable(value) else min(rule for rule, _ in value),
)
async def test_what_was_tampered_with_is_found(
    cluster: Cluster, change: Change, violated: set[tuple[str, str]]
) -> None:
    ann = Customer.of("ann")
    cluster.tiers.clock.advance(NOON)
    await cluster.tiers.apply()
    await cluster.publish(ann.joins(NOON), ann.buys("1", NOON + 2 * DAY, 60_000))
    assert await cluster.violations() == []
    async with cluster.tiers.database.transaction() as tx:
        await tx.execute(change())
    assert set(await cluster.violations()) == violated


async def test_a_member_that_is_on_no_ladder_is_found_once_the_ladder_is_filled(
    cluster: Cluster,
) -> None:
    await cluster.publish(Customer.of("ann").joins(NOON))
    cluster.tiers.clock.advance(NOON + DAY)
    await cluster.tiers.apply()
    assert await cluster.violations() == []
    async with cluster.tiers.database.transaction() as tx:
        await tx.execute(tables.ladder_starts.update().values(filled=True))
    assert await cluster.violations() == [("member_has_level", "main")]
