"""Batches of followed events on SQLite and PostgreSQL: what is stored, published, answered."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from guerdon.tiers.v1 import events_pb2
from services.tiers import tables
from services.tiers.domain import InvalidProgram, LadderNotFound
from services.tiers.jobs import FillLadders
from shared import errors, migrate
from shared.database import Database
from shared.differences import Kind
from shared.feed import FeedReader
from tests.tiers.cases import at
from tests.tiers.conftest import Tiers, followed_of, write_path
from tests.tiers.documents import giftshop, with_stamps
from tests.tiers.publisher import Customer, Item, Published

NOON = at("2010-12-01 12:00")
MIDNIGHT = at("2010-12-02 00:00")
DAY = timedelta(days=1)
KEPT = {"program_versions", "feed_heads", "feed_identity", "ladder_starts"}


async def published_changes(database: Database) -> list[events_pb2.MembershipChanged]:
    """Everything that tiers has published, by partition and position."""
    reader = FeedReader(tables.kernel)
    async with database.reading() as tx:
        heads = await reader.heads(tx)
        ranges = {each: (0, head) for each, head in heads.items() if head}
        events = await reader.events(tx, ranges)
    return [events_pb2.MembershipChanged.FromString(each.payload.value) for each in events]


async def everything(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """All rows of the service's own tables and of its feed, but for what time it was."""
    found = {}
    async with database.reading() as tx:
        for table in (*tables.metadata.sorted_tables,):
            if table.name in {"program_versions", "feed_cursors"}:
                continue
            rows = await tx.fetch(table.select())
            found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found


def a_life(customer: Customer) -> list[Published]:
    """A customer's year: silver, gold, a return, a window that moves on."""
    return [
        customer.joins(NOON),
        customer.buys(f"{customer.key}-1", NOON, 30_000, Item(99_999, "postage")),
        customer.buys(f"{customer.key}-2", NOON + DAY, 20_000),
        customer.buys(f"{customer.key}-3", NOON + 2 * DAY, 150_000),
        customer.returns(f"{customer.key}-3", NOON + 3 * DAY, (1, 50_000)),
        customer.buys(f"{customer.key}-4", NOON + 366 * DAY, 10),
        customer.returns(f"{customer.key}-1", NOON + 367 * DAY, (1, 30_000), (2, 99_999)),
    ]


async def test_a_customers_year(tiers: Tiers) -> None:
    await tiers.apply()
    ann = Customer.of("ann")
    await tiers.follow(a_life(ann))
    said = await published_changes(tiers.database)
    assert [(each.previous_level_id, each.level_id, each.level_rank) for each in said] == [
        ("", "member", 0),
        ("member", "silver", 1),
        ("silver", "gold", 2),
        ("gold", "silver", 1),
        ("silver", "member", 0),
    ]
    assert [each.effective_time.ToDatetime(tzinfo=UTC) for each in said] == [
        NOON,
        at("2010-12-03 00:00"),
        at("2010-12-04 00:00"),
        at("2010-12-05 00:00"),
        at("2011-12-04 00:00"),
    ]
    reason = events_pb2.MembershipChanged
    assert [each.reason for each in said] == [
        reason.REASON_ENROLLED,
        reason.REASON_EARNED,
        reason.REASON_EARNED,
        reason.REASON_REVERSED,
        reason.REASON_REVERSED,
    ]
    assert all(each.member_key == ann.key and each.ladder_id == "main" for each in said)


async def test_the_level_that_is_told_follows_the_clock(tiers: Tiers) -> None:
    await tiers.apply()
    life = a_life(Customer.of("ann"))
    told = []
    for number, event in enumerate(life):
        await tiers.follow(life[: number + 1], first=number)
        told.append(await tiers.level("ann", max(event.at, tiers.clock.now())))
    assert told == ["member", "member", "member", "silver", "gold", "silver", "silver"]
    assert await tiers.level("ann", at("2011-12-03 23:59")) == "silver"
    assert await tiers.level("ann", at("2011-12-04 00:00")) == "member"


async def test_what_is_told_of_a_membership(tiers: Tiers) -> None:
    await tiers.apply()
    ann = Customer.of("ann")
    await tiers.follow([ann.joins(NOON), ann.buys("1", NOON, 60_000)])
    tiers.clock.advance(NOON + timedelta(hours=1))
    [view] = await tiers.memberships.get("giftshop", ["ann"], "")
    assert not isinstance(view, errors.Refusal)
    assert (view.member_key, view.ladder.ladder_id, view.level_id) == (ann.key, "main", "member")
    assert (view.since_time, view.upcoming_level_id, view.upcoming_time) == (
        NOON,
        "silver",
        MIDNIGHT,
    )
    assert (view.window_start.isoformat(), view.window_end.isoformat()) == (
        "2009-12-02",
        "2010-12-01",
    )
    assert view.net_spend_minor == 60_000
    assert view.next_level is not None
    assert view.next_level.level_id == "gold"


async def test_one_batch_and_many_store_the_same(tiers: Tiers, sqlite_url: str) -> None:
    await tiers.apply(with_stamps())
    events = [event for name in ("ann", "bob", "cid") for event in a_life(Customer.of(name))]
    await tiers.follow(events[:1])
    for first in range(1, len(events)):
        await tiers.follow(events[: first + 1], first=first)
    one_by_one = await everything(tiers.database)
    async with tiers.database.transaction() as tx:
        for table in reversed(tables.metadata.sorted_tables):
            if table.name not in KEPT:
                await tx.execute(table.delete())
        await tx.execute(tables.kernel.feed_heads.update().values(position=0))
        await tx.execute(tables.kernel.program_versions.update().values(cursors='{"earning":{}}'))
    await tiers.follow(events)
    assert await everything(tiers.database) == one_by_one


async def test_two_followers_of_one_log_apply_each_event_once(tiers: Tiers) -> None:
    await tiers.apply()
    events = [event for number in range(20) for event in a_life(Customer.of(f"c{number}"))]
    items = followed_of(events)
    other = write_path(tiers.database, tiers.clock, tiers.programs)

    async def follow(path: object, step: int) -> None:
        group_commit = tiers.group_commit if path is None else other
        by_partition: dict[int, list[object]] = {}
        for item in items:
            by_partition.setdefault(item.partition, []).append(item)
        for part in by_partition.values():
            for start in range(0, len(part), step):
                chunk: Sequence[object] = part[start : start + step]
                await group_commit.submit_many(chunk, wait=True)  # type: ignore[arg-type]

    await asyncio.gather(follow(None, 3), follow(other, 5))
    await other.close()
    said = await published_changes(tiers.database)
    assert len(said) == 20 * 5
    summary = await tiers.memberships.summary("giftshop")
    assert summary.member_count == 20
    async with tiers.database.reading() as tx:
        spend = await tx.fetch(tables.spend_days.select())
    assert len(spend) == 20 * 4
    assert {row.amount_minor for row in spend} == {0, 20_000, 100_000, 10}


async def test_the_summary_counts_the_levels_that_are_effective(tiers: Tiers) -> None:
    await tiers.apply(with_stamps())
    ann, bob = Customer.of("ann"), Customer.of("bob")
    await tiers.follow(
        [ann.joins(NOON), bob.joins(NOON), ann.buys("1", NOON, 60_000), bob.buys("2", NOON, 1)]
    )
    tiers.clock.advance(NOON + timedelta(hours=1))
    today = await tiers.memberships.summary("giftshop")
    assert [(each.ladder_id, each.levels) for each in today.ladders] == [
        ("main", (("member", 2), ("silver", 0), ("gold", 0))),
        ("stamps", (("none", 1), ("stamp", 1))),
    ]
    tiers.clock.advance(MIDNIGHT)
    tomorrow = await tiers.memberships.summary("giftshop")
    assert tomorrow.member_count == 2
    assert tomorrow.ladders[0].levels == (("member", 1), ("silver", 1), ("gold", 0))


async def test_changes_are_listed_newest_first_page_by_page(tiers: Tiers) -> None:
    await tiers.apply()
    ann = Customer.of("ann")
    events = [ann.joins(NOON)]
    for number in range(3):
        events += [
            ann.buys(f"{number}", NOON + number * DAY, 50_000),
            ann.returns(f"{number}", NOON + number * DAY, (1, 50_000)),
        ]
    await tiers.follow(events)
    seen, token = [], ""
    while True:
        page = await tiers.memberships.changes("giftshop", "ann", "", page_size=3, page_token=token)
        assert len(page.changes) <= 3
        seen += [
            (each.change.sequence, each.change.level_id, each.superseded) for each in page.changes
        ]
        token = page.next_page_token
        if not token:
            break
    assert seen == [
        (7, "member", False),
        (6, "silver", True),
        (5, "member", False),
        (4, "silver", True),
        (3, "member", False),
        (2, "silver", True),
        (1, "member", False),
    ]


async def test_a_page_token_of_another_list_is_refused(tiers: Tiers) -> None:
    await tiers.apply()
    ann, bob = Customer.of("ann"), Customer.of("bob")
    await tiers.follow(a_life(ann) + a_life(bob))
    page = await tiers.memberships.changes("giftshop", "ann", "", page_size=1, page_token="")
    for member_id, token in (("bob", page.next_page_token), ("ann", "x"), ("ann", "WyJhIiwxXQ")):
        with pytest.raises(errors.InvalidPageToken):
            await tiers.memberships.changes(
                "giftshop", member_id, "", page_size=1, page_token=token
            )


async def test_reads_refuse_in_order(tiers: Tiers) -> None:
    with pytest.raises(errors.ProgramNotFound):
        await tiers.memberships.get("giftshop", ["ann"], "nowhere")
    await tiers.apply()
    with pytest.raises(LadderNotFound):
        await tiers.memberships.get("giftshop", ["ann"], "nowhere")
    assert await tiers.memberships.get("giftshop", ["ann"], "main") == [
        errors.MemberNotFound(member_id="ann")
    ]


async def test_equal_ids_in_two_programs_never_meet(tiers: Tiers) -> None:
    other = giftshop()
    other.program_id = "other"
    await tiers.apply()
    await tiers.apply(other)
    here = Customer.of("ann")
    there = Customer("ann", "other", here.key)
    await tiers.follow(
        [
            here.joins(NOON),
            there.joins(NOON),
            here.buys("1", NOON, 50_000),
            there.buys("1", NOON, 1),
        ]
    )
    tiers.clock.advance(MIDNIGHT)
    levels = []
    for program_id in ("giftshop", "other"):
        [view] = await tiers.memberships.get(program_id, ["ann"], "")
        assert not isinstance(view, errors.Refusal)
        levels.append((view.level_id, view.net_spend_minor))
    assert levels == [("silver", 50_000), ("member", 1)]


async def test_an_event_that_came_before_its_member_parks_that_member_alone(tiers: Tiers) -> None:
    await tiers.apply()
    ann, bob = Customer.of("ann"), Customer.of("bob")
    await tiers.follow(
        [ann.buys("1", NOON, 1), bob.joins(NOON), ann.joins(NOON), bob.buys("2", NOON, 50_000)]
    )
    assert await tiers.level("bob", MIDNIGHT) == "silver"
    async with tiers.database.reading() as tx:
        parked = (await FeedReader(tables.kernel).look(tx)).parked
    assert parked == [f"earning/{ann.key}"]


# Programs ----------------------------------------------------------------------------------------


async def test_a_refused_document_changes_nothing(tiers: Tiers) -> None:
    document = giftshop()
    document.time_zone = "Europe/Nowhere"
    with pytest.raises(InvalidProgram):
        await tiers.apply(document)
    with pytest.raises(errors.ProgramNotFound):
        await tiers.documents.get("giftshop", 0)


async def test_only_validating_tells_the_difference_and_changes_nothing(tiers: Tiers) -> None:
    await tiers.apply()
    changed = giftshop()
    changed.ladders[0].levels[1].net_spend_minor = 40_000
    applied = await tiers.documents.apply(
        changed, author="test", etag="", validate_only=True, prune=False
    )
    [difference] = applied.differences
    assert difference.path == "ladders[main].levels[silver].net_spend_minor"
    assert (applied.version, (await tiers.documents.get("giftshop", 0)).version) == (1, 1)


async def test_what_the_document_leaves_out_is_kept_unless_it_is_pruned(tiers: Tiers) -> None:
    await tiers.apply(with_stamps())
    kept = await tiers.documents.apply(
        giftshop(), author="test", etag="", validate_only=False, prune=False
    )
    assert [(each.kind, each.path) for each in kept.differences] == [(Kind.KEPT, "ladders[stamps]")]
    assert kept.version == 1
    assert await tiers.apply(giftshop(), prune=True) == 2


async def test_an_etag_of_another_version_is_refused(tiers: Tiers) -> None:
    await tiers.apply()
    for validate_only in (True, False):
        with pytest.raises(errors.EtagMismatch):
            await tiers.documents.apply(
                with_stamps(), author="", etag="1-x", validate_only=validate_only, prune=False
            )


async def test_two_applies_at_once_make_two_versions_or_refuse_one(tiers: Tiers) -> None:
    await tiers.apply()
    cheaper = giftshop()
    cheaper.ladders[0].levels[1].net_spend_minor = 40_000
    results = await asyncio.gather(
        tiers.apply(with_stamps()), tiers.apply(cheaper), return_exceptions=True
    )
    for result in results:
        assert isinstance(result, int | errors.EtagMismatch)
    done = sum(isinstance(result, int) for result in results)
    assert (await tiers.documents.get("giftshop", 0)).version == 1 + done


# Members before ladders --------------------------------------------------------------------------


async def test_members_who_joined_before_a_ladder_enter_it_by_the_job(tiers: Tiers) -> None:
    events = [Customer.of(f"c{number}").joins(NOON) for number in range(30)]
    await tiers.follow(events)
    tiers.clock.advance(MIDNIGHT)
    await tiers.apply()
    assert await tiers.memberships.get("giftshop", ["c0"], "") == [
        errors.NotReady(what="ladder main")
    ]
    job = FillLadders(tiers.database, tiers.group_commit)
    assert await job.due() == 1
    while await job.run():
        pass
    assert await job.due() == 0
    [view] = await tiers.memberships.get("giftshop", ["c0"], "")
    assert not isinstance(view, errors.Refusal)
    assert (view.level_id, view.since_time) == ("member", MIDNIGHT)
    assert len(await published_changes(tiers.database)) == 30
    await tiers.apply(with_stamps())
    assert await job.due() == 1
    assert max(await asyncio.gather(job.run(), job.run())) >= 30
    assert len(await published_changes(tiers.database)) == 60


async def test_a_ladder_that_went_and_came_back_takes_in_who_joined_meanwhile(tiers: Tiers) -> None:
    job = FillLadders(tiers.database, tiers.group_commit)
    ann = Customer.of("ann")
    tiers.clock.advance(NOON)
    await tiers.apply(with_stamps())
    await tiers.apply(giftshop(), prune=True)
    await tiers.follow([ann.joins(NOON + DAY)])
    await job.run()
    assert await job.due() == 0
    await tiers.apply(with_stamps())
    await job.run()
    [view] = await tiers.memberships.get("giftshop", ["ann"], "stamps")
    assert not isinstance(view, errors.Refusal)
    assert (view.level_id, view.since_time) == ("none", NOON + DAY)


async def test_the_migrations_make_the_schema_that_the_code_describes(tiers: Tiers) -> None:
    found = await migrate.differences(
        tiers.database.url, schema=tiers.database.schema, metadata=tables.metadata
    )
    assert found == []


async def test_the_database_keeps_every_instant_and_day(tiers: Tiers) -> None:
    await tiers.apply()
    ann = Customer.of("ann")
    odd = datetime(2010, 7, 1, 22, 59, 59, 123456, tzinfo=UTC)
    await tiers.follow([ann.joins(odd), ann.buys("1", odd, 7)])
    async with tiers.database.reading() as tx:
        [member] = await tx.fetch(tables.members.select())
        [spend] = await tx.fetch(tables.spend_days.select())
    assert member.enroll_time == odd
    assert spend.day.isoformat() == "2010-07-01"
