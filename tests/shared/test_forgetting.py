"""Old idempotency keys are forgotten, piece by piece, and young ones kept; on both databases."""

import asyncio
from datetime import timedelta

import pytest

from shared.database import Database
from shared.forgetting import ForgetKeys
from shared.jobs import JobRunner
from tests.shared import counter
from tests.shared.counter import Add, kernel, member

KEPT = timedelta(days=30)
KEYS = kernel.request_keys


@pytest.fixture
async def db(database: Database) -> Database:
    await counter.prepare(database)
    return database


async def claimed(db: Database, count: int, *, age: timedelta, prefix: str) -> None:
    """Make keys that were claimed so long ago."""
    batch = [Add(member_key=member(1), request_id=f"{prefix}{each}") for each in range(count)]
    await counter.executor(db).execute(batch)
    async with db.transaction() as tx:
        at = await tx.now_micros() - age // timedelta(microseconds=1)
        made = KEYS.c.request_id.startswith(prefix)
        await tx.execute(KEYS.update().where(made).values(create_time_micros=at))


def forget(db: Database, piece: int = 2) -> ForgetKeys:
    return ForgetKeys(db, KEYS, KEPT, piece=piece)


async def test_keys_are_kept_for_their_time_and_then_forgotten_piece_by_piece(
    db: Database,
) -> None:
    await claimed(db, 5, age=KEPT + timedelta(minutes=1), prefix="old")
    await claimed(db, 3, age=KEPT - timedelta(minutes=1), prefix="young")
    job = forget(db)
    pieces = []
    while await job.due():
        pieces.append(await job.run())
    assert pieces == [2, 2, 1]
    async with db.reading() as tx:
        left = {row.request_id for row in await tx.fetch(KEYS.select())}
    assert left == {"young0", "young1", "young2"}


async def test_copies_of_the_job_forget_each_key_once(db: Database) -> None:
    await claimed(db, 40, age=KEPT + timedelta(days=1), prefix="old")

    async def all_of_it() -> int:
        job, done = forget(db, piece=3), 0
        while await job.due():
            done += await job.run()
        return done

    assert sum(await asyncio.gather(*(all_of_it() for _ in range(4)))) == 40
    assert await counter.count(db, KEYS) == 0


async def test_a_forgotten_request_is_decided_anew_and_a_young_one_answered(db: Database) -> None:
    await claimed(db, 1, age=KEPT + timedelta(days=1), prefix="old")
    await claimed(db, 1, age=timedelta(), prefix="young")
    assert await forget(db).run() == 1
    again = [Add(member_key=member(1), request_id=each) for each in ("old0", "young0")]
    results = await counter.executor(db).execute(again)
    assert [getattr(each, "repeated", None) for each in results] == [False, True]
    assert await counter.value_of(db, 1) == 3


async def test_nobody_waits_for_keys_to_be_forgotten(db: Database) -> None:
    await claimed(db, 1, age=KEPT + timedelta(days=1), prefix="old")
    job = forget(db)
    assert await job.due() == 1
    assert await JobRunner([job.job()]).due_count() == 0
