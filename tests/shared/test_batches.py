"""The one transaction: keys, refusals, events, followed feeds; on both databases."""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime

import pytest
import sqlalchemy as sa

from shared import errors, keys
from shared.batches import Followed, Item, Outcome, Result
from shared.database import Database
from shared.decision import Decision
from shared.faults import is_transient
from shared.feed_log import FollowedOutOfOrder, PartitionsChanged, open_feed, park
from shared.ids import SeededIds
from tests.shared import counter
from tests.shared.counter import (
    Add,
    Answer,
    Counter,
    NotEnough,
    World,
    followed,
    kernel,
    member,
    value_of,
)


@pytest.fixture
async def db(database: Database) -> Database:
    await counter.prepare(database)
    return database


async def run(db: Database, *items: Item) -> list[Result]:
    return await counter.executor(db).execute(items)


async def run_until_done(db: Database, items: Sequence[Item]) -> list[Result]:
    """Executes as the group commit would, which tries transient errors again."""
    while True:
        try:
            return await counter.executor(db).execute(items)
        except Exception as error:
            if not is_transient(error):
                raise
            await asyncio.sleep(0.001)


def values(results: Sequence[Result]) -> list[int | str]:
    """Value of each answer, reason of each refusal."""
    return [
        each.reason if isinstance(each, errors.Refusal) else answer_of(each).value
        for each in results
    ]


def answer_of(result: Result) -> Answer:
    assert isinstance(result, Outcome)
    assert isinstance(result.answer, Answer)
    return result.answer


async def test_commands_of_a_batch_see_each_other_and_are_answered_in_order(db: Database) -> None:
    batch = [
        Add(member_key=member(1), amount=5),
        Add(member_key=member(2), amount=1),
        Add(member_key=member(1), amount=-3),
        Add(member_key=member(1), amount=-3),
        Add(member_key=member(1), amount=1),
    ]
    assert values(await run(db, *batch)) == [5, 1, 2, "NOT_ENOUGH", 3]
    assert [await value_of(db, number) for number in (1, 2)] == [3, 1]


async def test_a_token_names_the_last_event_of_the_command(db: Database) -> None:
    results = await run(
        db,
        Add(member_key=member(1)),
        Add(member_key=member(1)),
        Add(member_key=member(2)),
        Add(member_key=member(2), amount=-9),
    )
    tokens = [each.token for each in results if isinstance(each, Outcome)]
    assert tokens == ["counter:1:1", "counter:1:2", "counter:2:1"]
    assert await counter.positions(db) == {1: [1, 2], 2: [1]}


async def test_others_have_their_turn_while_a_long_batch_is_decided(
    sqlite_database: Database,
) -> None:
    await counter.prepare(sqlite_database)
    turns, seen = 0, set[int]()

    class Slow(counter.Counting):
        def decide(self, world: World, command: Add, now: datetime) -> Decision[Counter, Answer]:
            seen.add(turns)
            time.sleep(0.004)
            return super().decide(world, command, now)

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    batch = [Add(member_key=member(number)) for number in range(20)]
    results = await counter.executor(sqlite_database, work=Slow()).execute(batch)
    other.cancel()
    assert values(results) == [1] * 20
    assert len(seen) > 3


# Idempotency -------------------------------------------------------------------------------------


async def test_copies_within_a_batch_have_one_effect_and_equal_answers(db: Database) -> None:
    command = Add(member_key=member(1), amount=5, request_id="r")
    results = await run(db, command, Add(member_key=member(1)), command, command)
    assert values(results) == [5, 6, 5, 5]
    assert [each.repeated for each in results if isinstance(each, Outcome)] == [
        False,
        False,
        True,
        True,
    ]
    assert await value_of(db, 1) == 6


async def test_a_copy_in_a_later_batch_gets_the_stored_answer(db: Database) -> None:
    command = Add(member_key=member(1), amount=5, request_id="r")
    first = (await run(db, command))[0]
    await run(db, Add(member_key=member(1)))
    again = (await run(db, command))[0]
    assert isinstance(first, Outcome)
    assert isinstance(again, Outcome)
    assert (again.answer, again.token, again.repeated) == (first.answer, first.token, True)
    assert await value_of(db, 1) == 6


async def test_copies_in_competing_executors_have_one_effect(postgres_database: Database) -> None:
    db = postgres_database
    await counter.prepare(db)
    other = await Database.open(db.url, schema=db.schema, lanes=4)
    commands = [Add(member_key=member(number % 7), request_id=f"r{number}") for number in range(40)]
    chance = SeededIds(1)

    async def copy(database: Database) -> list[Result]:
        mine = sorted(commands, key=lambda _: chance.fraction())
        found: dict[str, Result] = {}
        for start in range(0, len(mine), 10):
            part = mine[start : start + 10]
            found |= zip(
                (each.request_id for each in part),
                await run_until_done(database, part),
                strict=True,
            )
        return [found[each.request_id] for each in commands]

    copies = await asyncio.gather(*(copy(each) for each in (db, other) * 5))
    assert sum([await value_of(db, number) for number in range(7)]) == 40
    assert all(values(each) == values(copies[0]) for each in copies)
    fresh = [
        sum(not each.repeated for each in found if isinstance(each, Outcome))
        for found in zip(*copies, strict=True)
    ]
    assert fresh == [1] * 40
    await other.dispose()


async def test_a_refusal_is_stored_and_repeated_equal(db: Database) -> None:
    command = Add(member_key=member(1), amount=-2, request_id="r")
    first = (await run(db, command))[0]
    assert first == NotEnough(needed=2, available=0)
    await run(db, Add(member_key=member(1), amount=100))
    again = (await run(db, command))[0]
    assert again == first
    assert str(again) == "needs 2, 0 available"
    assert await value_of(db, 1) == 100


async def test_a_key_with_other_contents_is_refused_without_effect(db: Database) -> None:
    first = Add(member_key=member(1), amount=5, request_id="r")
    other = Add(member_key=member(2), amount=6, request_id="r")
    assert values(await run(db, first, other)) == [5, "IDEMPOTENCY_KEY_REUSED"]
    assert values(await run(db, other)) == ["IDEMPOTENCY_KEY_REUSED"]
    assert values(await run(db, first)) == [5]
    assert await value_of(db, 2) == 0


async def test_the_same_key_in_another_program_is_another_key(db: Database) -> None:
    batch = [
        Add(program_id=program, member_key=member(1), request_id="r") for program in ("p", "q")
    ]
    assert values(await run(db, *batch)) == [1, 1]


async def test_a_transient_refusal_gives_its_key_back(db: Database) -> None:
    busy = Add(member_key=member(1), amount=counter.BUSY, request_id="r")
    assert values(await run(db, busy, busy)) == ["BUSY", "BUSY"]
    assert await counter.count(db, kernel.request_keys) == 0
    assert values(await run(db, Add(member_key=member(1), request_id="r"))) == [1]


async def test_old_keys_are_forgotten_and_young_ones_kept(db: Database) -> None:
    await run(db, *(Add(member_key=member(1), request_id=f"r{number}") for number in range(5)))
    async with db.transaction() as tx:
        now = await tx.now_micros()
        assert await keys.forget(tx, kernel.request_keys, before_micros=now - 10**9) == 0
        assert await keys.forget(tx, kernel.request_keys, before_micros=now + 10**6, limit=3) == 3
    assert await counter.count(db, kernel.request_keys) == 2


async def reserve(db: Database, *request_ids: str) -> set[str]:
    names = [("p", "Add", each) for each in request_ids]
    while True:
        try:
            async with db.transaction() as tx:
                return {each[2] for each in await keys.reserve(tx, kernel.request_keys, names)}
        except Exception as error:
            if not is_transient(error):
                raise
            await asyncio.sleep(0.001)


async def test_a_reserved_key_is_claimed_by_the_first_who_sends_it(db: Database) -> None:
    await run(db, Add(member_key=member(1), request_id="before"))
    assert await reserve(db, "before", "r", "r") == {"r"}
    assert await reserve(db, "r") == {"r"}
    first, copy = Add(member_key=member(1), request_id="r"), Add(member_key=member(1), amount=7)
    assert values(await run(db, first, first)) == [2, 2]
    assert values(await run(db, first, copy)) == [2, 9]
    other = Add(member_key=member(1), amount=5, request_id="r")
    assert values(await run(db, other)) == ["IDEMPOTENCY_KEY_REUSED"]
    assert await reserve(db, "r") == set()


async def test_of_16_who_claim_a_reserved_key_at_once_one_decides(db: Database) -> None:
    for number in range(5):
        await reserve(db, f"r{number}")
        copies = [[Add(member_key=member(1), request_id=f"r{number}")] for _ in range(16)]
        found = await asyncio.gather(*[run_until_done(db, each) for each in copies])
        assert [values(each) for each in found] == [[number + 1]] * 16


async def test_whoever_reserves_a_key_waits_for_whom_claims_it(db: Database) -> None:
    claims = [
        run_until_done(db, [Add(member_key=member(1), request_id=f"r{number}")])
        for number in range(16)
    ]
    reserving = [reserve(db, f"r{number}") for number in range(16)]
    await asyncio.gather(*[each for pair in zip(claims, reserving, strict=True) for each in pair])
    assert await value_of(db, 1) == 16
    assert await reserve(db, *[f"r{number}" for number in range(16)]) == set()


async def test_reserved_keys_are_not_forgotten_and_claimed_ones_are_as_young_as_others(
    db: Database,
) -> None:
    await reserve(db, "r1", "r2")
    async with db.transaction() as tx:
        await tx.execute(kernel.request_keys.update().values(create_time_micros=1))
    await run(db, Add(member_key=member(1), request_id="r1"))
    async with db.transaction() as tx:
        assert await keys.forget(tx, kernel.request_keys, before_micros=2) == 0
    assert await counter.count(db, kernel.request_keys) == 2


# Intentions --------------------------------------------------------------------------------------


async def test_intentions_open_and_close_with_the_effects(db: Database) -> None:
    await run(db, Add(member_key=member(1), opens="a"), Add(member_key=member(1), opens="b"))
    await run(db, Add(member_key=member(1), closes="a"))
    table = kernel.intentions
    async with db.reading() as tx:
        rows = await tx.fetch(sa.select(table).order_by(table.c.intention_id))
    assert [(each.intention_id, each.payload, each.close_time) for each in rows] == [
        ("a", "1", counter.NOW),
        ("b", "2", None),
    ]


async def test_a_refused_command_opens_no_intention(db: Database) -> None:
    await run(db, Add(member_key=member(1), amount=-1, opens="a"))
    assert await counter.count(db, kernel.intentions) == 0


# Updates and positions under load ----------------------------------------------------------------


async def test_64_tasks_lose_no_update(db: Database) -> None:
    async def add() -> None:
        for _ in range(5):
            await run_until_done(db, [Add(member_key=member(1))])

    await asyncio.gather(*(add() for _ in range(64)))
    assert await value_of(db, 1) == 320
    assert await counter.positions(db) == {1: list(range(1, 321))}


async def test_positions_have_no_gap_and_a_reader_misses_none(db: Database) -> None:
    """32 writers, a fifth of whose transactions are rolled back, and a reader all the while."""
    seen: dict[int, list[int]] = {}
    done = asyncio.Event()
    table = kernel.feed_events

    async def read() -> None:
        last = dict.fromkeys(range(counter.PARTITIONS), 0)
        while True:
            finished = done.is_set()
            async with db.reading() as tx:
                rows = await tx.fetch(
                    sa.select(table.c.partition, table.c.position)
                    .where(
                        sa.or_(
                            *(
                                sa.and_(table.c.partition == each, table.c.position > position)
                                for each, position in last.items()
                            )
                        )
                    )
                    .order_by(table.c.partition, table.c.position)
                )
            for row in rows:
                seen.setdefault(row.partition, []).append(row.position)
                last[row.partition] = row.position
            if finished:
                return

    async def write(number: int) -> int:
        chance = SeededIds(number)
        added = 0
        for _ in range(10):
            batch = [Add(member_key=member(int(8 * chance.fraction()))) for _ in range(3)]
            if chance.fraction() < 0.2:
                batch.append(Add(member_key=member(1), amount=counter.POISON))
                with pytest.raises(ValueError, match="thirteen"):
                    await run_until_done(db, batch)
            else:
                await run_until_done(db, batch)
                added += len(batch)
        return added

    reader = asyncio.create_task(read())
    added = sum(await asyncio.gather(*(write(number) for number in range(32))))
    done.set()
    await reader
    assert seen == await counter.positions(db)
    assert all(found == list(range(1, len(found) + 1)) for found in seen.values())
    assert sum(map(len, seen.values())) == added


# Followed feeds ----------------------------------------------------------------------------------


async def test_a_followed_event_is_applied_once(db: Database) -> None:
    await run(db, followed(1, 1), followed(2, 1))
    again = await run(db, followed(1, 1), followed(2, 1), followed(3, 1), followed(3, 1))
    assert [each.repeated for each in again if isinstance(each, Outcome)] == [
        True,
        True,
        False,
        True,
    ]
    assert await value_of(db, 1) == 3


async def test_competing_followers_apply_every_event_once(db: Database) -> None:
    other = await Database.open(db.url, schema=db.schema, lanes=4)
    feeds = {number: [followed(position, number) for position in range(1, 41)] for number in (1, 2)}

    async def follow(database: Database, size: int) -> None:
        for start in range(0, 40, size):
            batch = [each for feed in feeds.values() for each in feed[start : start + size]]
            await run_until_done(database, batch)

    await asyncio.gather(*(follow(each, size) for each in (db, other) for size in (1, 3, 7)))
    assert [await value_of(db, number) for number in (1, 2)] == [40, 40]
    await other.dispose()


async def test_an_event_that_does_not_follow_is_refused_and_moves_nothing(db: Database) -> None:
    results = await run(db, followed(1, 1), followed(3, 1), followed(4, 1))
    assert results[1:] == [
        FollowedOutOfOrder(source="earning", partition=1, position=position, cursor=1)
        for position in (3, 4)
    ]
    assert await value_of(db, 1) == 1
    await run(db, followed(2, 1), followed(3, 1))
    assert await value_of(db, 1) == 3


async def test_an_event_may_cover_those_before_it_that_mean_nothing(db: Database) -> None:
    await run(db, followed(5, 1, skipped=4))
    assert values(await run(db, followed(9, 1, skipped=2))) == ["FOLLOWED_OUT_OF_ORDER"]
    await run(db, followed(7, 1, skipped=4))
    assert await value_of(db, 1) == 2


async def test_a_refused_event_is_an_outcome_and_the_cursor_moves(db: Database) -> None:
    results = await run(db, followed(1, 1, amount=-5), followed(2, 1))
    assert results == [Outcome(answer=None), Outcome(answer=None)]
    assert await value_of(db, 1) == 1


async def test_a_transient_refusal_of_an_event_undoes_the_batch(db: Database) -> None:
    with pytest.raises(counter.Busy):
        await run(db, followed(1, 1), followed(2, 1, amount=counter.BUSY))
    assert await value_of(db, 1) == 0
    await run(db, followed(1, 1))


async def test_a_parked_member_waits_and_the_others_go_on(db: Database) -> None:
    await park(db, kernel, followed(1, 1), ValueError("cannot"))
    await park(db, kernel, followed(1, 1), ValueError("told twice"))
    await run(db, followed(2, 5), followed(3, 1), followed(4, 5))
    assert [await value_of(db, number) for number in (1, 5)] == [0, 2]
    assert await parked(db) == [(1, "ValueError: cannot", 1), (3, "", 0)]


async def test_parked_events_are_applied_once_oldest_first(db: Database) -> None:
    await park(db, kernel, followed(1, 1), ValueError("cannot"))
    await run(db, followed(2, 1, amount=10), followed(3, 1, amount=100))
    younger = await run(db, followed(2, 1, amount=10, retry=True))
    assert younger == [Outcome(answer=None, repeated=True)]
    await park(db, kernel, followed(1, 1, retry=True), ValueError("again"))
    assert await parked(db) == [(1, "ValueError: again", 2), (2, "", 0), (3, "", 0)]
    oldest = followed(1, 1, retry=True)
    await run(db, oldest, oldest, followed(2, 1, amount=10, retry=True))
    assert await value_of(db, 1) == 11
    assert await parked(db) == [(3, "", 0)]
    await run(db, followed(4, 1, amount=1_000))
    assert await value_of(db, 1) == 11
    await run(db, *(followed(each, 1, amount=100, retry=True) for each in (3, 4)))
    assert await parked(db) == []
    assert await counter.count(db, kernel.parked_members) == 0
    await run(db, followed(5, 1, amount=1))
    assert await value_of(db, 1) == 212


async def test_an_event_out_of_order_cannot_be_parked(db: Database) -> None:
    with pytest.raises(FollowedOutOfOrder):
        await park(db, kernel, followed(2, 1), ValueError("cannot"))
    assert await parked(db) == []


async def test_a_database_keeps_its_number_of_partitions(db: Database) -> None:
    kept = await open_feed(db, kernel, partitions=counter.PARTITIONS, incarnation="second")
    assert kept == "first"
    with pytest.raises(PartitionsChanged):
        await open_feed(db, kernel, partitions=8, incarnation="second")


async def parked(db: Database) -> list[tuple[int, str, int]]:
    """Position, error and attempts of every parked event, in order."""
    table = kernel.parked_events
    async with db.reading() as tx:
        rows = await tx.fetch(sa.select(table).order_by(table.c.position))
    assert all(each.event == f"event {each.position}".encode() for each in rows)
    return [(each.position, each.error, each.attempts) for each in rows]


def test_a_followed_event_is_a_value() -> None:
    assert followed(1, 1) == followed(1, 1)
    assert isinstance(followed(1, 1), Followed)
