"""Batches form by themselves, poison stands alone, transient errors are tried again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
import sqlalchemy as sa

from shared import errors
from shared.batches import Followed, Item, Outcome, Result
from shared.database import Database
from shared.faults import TryAgain
from shared.group_commit import ATTEMPTS_MAX, DatabaseUnavailable, GroupCommit, TooContended
from tests.shared import counter
from tests.shared.counter import Add, Answer, followed, kernel, member, value_of


@pytest.fixture
async def db(database: Database) -> Database:
    await counter.prepare(database)
    return database


class Recorder:
    """An executor that remembers its batches and takes as long as the test wants."""

    def __init__(self, held: asyncio.Event | None = None) -> None:
        self.batches: list[list[Item]] = []
        self.running = 0
        self.running_max = 0
        self.held = held

    async def execute(self, batch: Sequence[Item]) -> list[Result]:
        self.batches.append(list(batch))
        self.running += 1
        self.running_max = max(self.running, self.running_max)
        await (self.held.wait() if self.held else asyncio.sleep(0.001))
        self.running -= 1
        return [Outcome(answer=each) for each in batch]

    def group(
        self,
        *,
        lanes_max: int = 1,
        batch_max: int = 10,
        queue_max: int = 1_000,
        gives_way_to: GroupCommit | None = None,
    ) -> GroupCommit:
        return GroupCommit(
            self.execute,
            route=lambda item: int(item.member_key[-2:], 16),  # type: ignore[union-attr]
            lanes_max=lanes_max,
            batch_max=batch_max,
            queue_max=queue_max,
            gives_way_to=gives_way_to,
        )


def adds(count: int, *, first: int = 0) -> list[Add]:
    return [Add(member_key=member(number)) for number in range(first, first + count)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the loop turns only while it is waited for
            await asyncio.sleep(0)


# Forming batches ---------------------------------------------------------------------------------


async def test_what_arrives_during_a_commit_forms_the_next_batch() -> None:
    held = asyncio.Event()
    recorder = Recorder(held)
    group = recorder.group()
    first = asyncio.create_task(group.submit(adds(1)[0]))
    await until(lambda: group.lanes == 1)
    others = [asyncio.create_task(group.submit(each)) for each in adds(15, first=1)]
    await until(lambda: group.waiting == 15)
    held.set()
    await asyncio.gather(first, *others)
    assert [len(batch) for batch in recorder.batches] == [1, 10, 5]
    assert [item for batch in recorder.batches for item in batch] == adds(16)


async def test_callers_of_one_turn_of_the_loop_share_a_batch() -> None:
    recorder = Recorder()
    group = recorder.group()
    outcomes = await asyncio.gather(*(group.submit(each) for each in adds(8)))
    assert [each.answer for each in outcomes] == adds(8)
    assert len(recorder.batches) == 1


async def test_a_second_lane_opens_only_while_full_batches_wait() -> None:
    held = asyncio.Event()
    recorder = Recorder(held)
    group = recorder.group(lanes_max=2)
    light = asyncio.create_task(group.submit_many(adds(10)))
    await until(lambda: group.lanes == 1)
    more = asyncio.create_task(group.submit_many(adds(9)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert group.lanes == 1
    held.set()
    await asyncio.gather(light, more)

    held.clear()
    heavy = asyncio.create_task(group.submit_many(adds(200)))
    await until(lambda: recorder.running == 2)
    held.set()
    await heavy


async def test_the_items_of_a_partition_keep_their_order_in_many_lanes() -> None:
    recorder = Recorder()
    group = recorder.group(lanes_max=4, batch_max=5)
    commands = [Add(member_key=member(number % 8), amount=number) for number in range(400)]
    await asyncio.gather(*(group.submit_many(commands[at : at + 20]) for at in range(0, 400, 20)))
    executed = [item for batch in recorder.batches for item in batch if isinstance(item, Add)]
    assert sorted(each.amount for each in executed) == list(range(400))
    for number in range(8):
        own = [each.amount for each in executed if each.member_key == member(number)]
        assert own == sorted(own)
    assert recorder.running_max > 1


async def test_a_batch_counts_the_commands_of_followed_events() -> None:
    recorder = Recorder()
    group = recorder.group(batch_max=10)
    heavy = [
        Followed(
            source="s",
            partition=0,
            position=at,
            member_key=member(0),
            event=b"",
            commands=tuple(adds(6)),
        )
        for at in range(3)
    ]
    await group.submit_many(heavy, wait=True)
    assert [len(batch) for batch in recorder.batches] == [1, 1, 1]


class Bundle(Add):
    """One command that asks for six decisions."""

    weight = 6


async def test_a_batch_counts_what_a_command_weighs() -> None:
    held = asyncio.Event()
    recorder = Recorder(held)
    group = recorder.group(batch_max=12)
    first = asyncio.create_task(group.submit(adds(1)[0]))
    await until(lambda: group.lanes == 1)
    commands = [*(Bundle(member_key=member(0)) for _ in range(3)), *adds(7)]
    others = asyncio.create_task(group.submit_many(commands))
    await until(lambda: group.waiting == 10)
    held.set()
    await asyncio.gather(first, others)
    assert [len(batch) for batch in recorder.batches] == [1, 2, 7, 1]


# Giving way ---------------------------------------------------------------------------------------


async def test_alone_one_that_gives_way_works_in_full_batches_and_all_lanes() -> None:
    callers, jobs = Recorder(), Recorder()
    group = jobs.group(lanes_max=2, batch_max=50, gives_way_to=callers.group())
    await group.submit_many(adds(200))
    assert [len(batch) for batch in jobs.batches] == [50, 50, 50, 50]
    assert jobs.running_max == 2


async def test_while_callers_are_at_work_jobs_take_small_batches_one_at_a_time() -> None:
    held = asyncio.Event()
    callers, jobs = Recorder(held), Recorder()
    first = callers.group()
    group = jobs.group(lanes_max=2, batch_max=50, gives_way_to=first)
    calling = asyncio.create_task(first.submit(adds(1)[0]))
    await until(lambda: first.is_at_work)
    working = asyncio.create_task(group.submit_many(adds(40)))
    await until(lambda: len(jobs.batches) == 1 and not jobs.running)
    await until(lambda: group.lanes == 0)
    assert group.waiting == 32  # the machine is the callers' for as long as the batch took
    await working
    assert [len(batch) for batch in jobs.batches] == [8, 8, 8, 8, 8]
    assert jobs.running_max == 1
    held.set()
    await calling


async def test_callers_are_at_work_for_a_moment_after_their_last_call() -> None:
    callers, jobs = Recorder(), Recorder()
    first = callers.group()
    group = jobs.group(batch_max=50, gives_way_to=first)
    assert not first.is_at_work
    await first.submit(adds(1)[0])
    await group.submit_many(adds(50))
    assert len(jobs.batches[0]) == 8
    await until(lambda: not first.is_at_work)
    await group.submit_many(adds(50))
    assert len(jobs.batches[-1]) == 50


async def test_one_that_gives_way_and_is_closed_pauses_no_more() -> None:
    held = asyncio.Event()
    callers, jobs = Recorder(held), Recorder()
    first = callers.group()
    group = jobs.group(batch_max=50, gives_way_to=first)
    calling = asyncio.create_task(first.submit(adds(1)[0]))
    await until(lambda: first.is_at_work)
    working = asyncio.create_task(group.submit_many(adds(40)))
    await until(lambda: group.lanes == 1)
    await group.close()
    assert sum(map(len, jobs.batches)) == 40
    assert len(await working) == 40
    held.set()
    await calling


# Overload, cancellation, closing -----------------------------------------------------------------


async def test_callers_are_refused_at_once_when_the_queue_is_full() -> None:
    held = asyncio.Event()
    recorder = Recorder(held)
    group = recorder.group(queue_max=20)
    running = asyncio.create_task(group.submit_many(adds(10)))
    await until(lambda: group.lanes == 1)
    waiting = asyncio.create_task(group.submit_many(adds(20)))
    await until(lambda: group.waiting == 20)
    with pytest.raises(errors.Overloaded) as raised:
        await group.submit(adds(1)[0])
    assert raised.value.limit == 20
    held.set()
    await asyncio.gather(running, waiting)
    assert sum(map(len, recorder.batches)) == 30


async def test_followers_wait_for_room_and_leave_half_the_queue_to_callers() -> None:
    held = asyncio.Event()
    recorder = Recorder(held)
    group = recorder.group(queue_max=40)
    follower = asyncio.create_task(group.submit_many(adds(100), wait=True))
    others = [asyncio.create_task(group.submit_many(adds(10), wait=True)) for _ in range(10)]
    for _ in range(50):
        await asyncio.sleep(0)
    assert group.waiting <= 30
    caller = asyncio.create_task(group.submit(adds(1)[0]))
    held.set()
    await asyncio.gather(follower, caller, *others)
    assert sum(map(len, recorder.batches)) == 201


async def test_a_caller_cancelled_in_the_queue_has_no_effect() -> None:
    held = asyncio.Event()
    recorder = Recorder(held)
    group = recorder.group()
    first = asyncio.create_task(group.submit(adds(1)[0]))
    await until(lambda: group.lanes == 1)
    second = asyncio.create_task(group.submit(adds(1, first=1)[0]))
    third = asyncio.create_task(group.submit(adds(1, first=2)[0]))
    await until(lambda: group.waiting == 2)
    second.cancel()
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(first, third)
    assert recorder.batches[1:] == [adds(1, first=2)]


async def test_a_caller_cancelled_during_the_commit_breaks_no_batch(db: Database) -> None:
    """The cancelled ones may have happened; asked again, they say so and happen once."""
    group = counter.group_commit(db)
    commands = [Add(member_key=member(1), request_id=f"r{number}") for number in range(200)]
    tasks = [asyncio.create_task(group.submit(each)) for each in commands]
    for at, task in enumerate(tasks):
        if at % 3 == 0:
            await asyncio.sleep(0.0005)
            task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(each, Outcome) for each in results) >= 133
    await group.drain()
    await asyncio.gather(*(group.submit(each) for each in commands))
    assert await value_of(db, 1) == 200


async def test_closing_finishes_what_was_taken_and_takes_nothing_more() -> None:
    recorder = Recorder()
    group = recorder.group()
    running = asyncio.create_task(group.submit_many(adds(25)))
    await until(lambda: group.lanes == 1)
    await group.close()
    assert len(await running) == 25
    with pytest.raises(errors.NotReady):
        await group.submit(adds(1)[0])


# Errors ------------------------------------------------------------------------------------------


def reasons(results: Sequence[Result]) -> list[str]:
    return [each.reason if isinstance(each, errors.Refusal) else "" for each in results]


async def test_poison_is_refused_alone(db: Database) -> None:
    group = counter.group_commit(db)
    batch = [Add(member_key=member(number % 5), request_id=f"r{number}") for number in range(20)]
    batch[7] = Add(member_key=member(1), amount=counter.POISON, request_id="r7")
    results = await group.submit_many(batch)
    assert reasons(results) == ["INTERNAL" if at == 7 else "" for at in range(20)]
    assert isinstance(results[7], errors.Internal)
    assert "thirteen" not in str(results[7])
    assert sum([await value_of(db, number) for number in range(5)]) == 19
    assert await counter.count(db, kernel.request_keys) == 19


async def test_a_violated_constraint_is_poison_too(db: Database) -> None:
    group = counter.group_commit(db)
    too_much = Add(member_key=member(1), amount=2_000_000)
    results = await group.submit_many([*adds(3), too_much, *adds(3)])
    assert reasons(results) == ["", "", "", "INTERNAL", "", "", ""]
    assert [await value_of(db, number) for number in range(3)] == [2, 2, 2]


async def test_a_poisonous_event_parks_its_member_and_nobody_else(db: Database) -> None:
    group = counter.group_commit(db)
    feed = [followed(position, position % 3 * 4) for position in range(1, 31)]
    feed[9] = followed(10, 4, amount=counter.POISON)
    results = await group.submit_many(feed, wait=True)
    assert reasons(results) == [""] * 30
    assert [await value_of(db, number) for number in (0, 4, 8)] == [10, 3, 10]
    assert await counter.count(db, kernel.parked_events) == 7


async def test_after_a_transient_refusal_the_rest_of_the_feed_is_refused_too(db: Database) -> None:
    group = counter.group_commit(db)
    feed = [followed(position, 1) for position in range(1, 9)]
    feed[3] = followed(4, 1, amount=counter.BUSY)
    results = await group.submit_many(feed, wait=True)
    assert reasons(results) == ["", "", "", "BUSY", *["FOLLOWED_OUT_OF_ORDER"] * 4]
    feed[3] = followed(4, 1)
    assert reasons(await group.submit_many(feed, wait=True)) == [""] * 8
    assert await value_of(db, 1) == 8


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_what_the_database_calls_off_is_done_again(
    postgres_database: Database, state: str
) -> None:
    db = postgres_database
    await counter.prepare(db)
    async with db.transaction() as tx:
        for statement in (
            "CREATE SEQUENCE turns",
            # A sequence is not rolled back: two of three transactions fail.
            f"""CREATE FUNCTION call_off() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF nextval('turns') % 3 <> 0 THEN
                    RAISE EXCEPTION 'not now' USING ERRCODE = '{state}';
                END IF;
                RETURN NULL; END $$""",
            """CREATE TRIGGER call_off AFTER INSERT ON feed_events
                FOR EACH STATEMENT EXECUTE FUNCTION call_off()""",
        ):
            await tx.execute(sa.text(statement))
    group = counter.group_commit(db)
    outcomes = await asyncio.gather(
        *(group.submit(Add(member_key=member(1), request_id=f"r{at}")) for at in range(20))
    )
    numbers = [each.answer.value for each in outcomes if isinstance(each.answer, Answer)]
    assert sorted(numbers) == list(range(1, 21))
    assert await counter.positions(db) == {1: list(range(1, 21))}


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (TryAgain("again"), TooContended(attempts=ATTEMPTS_MAX)),
        (ConnectionResetError("gone"), DatabaseUnavailable()),
    ],
)
async def test_after_the_last_attempt_callers_are_told(
    error: Exception, refusal: errors.Refusal
) -> None:
    attempts: list[int] = []

    async def execute(batch: Sequence[Item]) -> list[Result]:
        attempts.append(len(batch))
        raise error

    group = GroupCommit(execute, route=lambda _: 0)
    results = await group.submit_many(adds(3))
    assert results == [refusal] * 3
    assert attempts == [3] * ATTEMPTS_MAX


async def test_connections_cut_while_commits_run_lose_and_double_nothing(
    postgres_database: Database,
) -> None:
    db = postgres_database
    await counter.prepare(db)
    group = counter.group_commit(db)
    admin = await Database.open(db.url, schema="public")

    async def cut() -> None:
        for _ in range(10):
            await asyncio.sleep(0.02)
            async with admin.reading() as tx:
                await tx.fetch(
                    sa.text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE application_name = 'guerdon guerdon_test'"
                    )
                )

    async def submit(number: int) -> None:
        for turn in range(20):
            command = Add(member_key=member(number % 3), request_id=f"r{number}-{turn}")
            await until_taken(lambda command=command: group.submit(command))  # type: ignore[misc]

    await asyncio.gather(cut(), *(submit(number) for number in range(20)))
    assert sum([await value_of(db, number) for number in range(3)]) == 400
    await admin.dispose()


async def until_taken(submit: Callable[[], Awaitable[Outcome]]) -> Outcome:
    while True:
        try:
            return await submit()
        except errors.Refusal as refusal:
            if not refusal.transient:
                raise
