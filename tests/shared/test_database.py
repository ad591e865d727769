"""Transactions, array statements, types and the classification of errors, on both databases."""

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa

from shared.clock import SystemClock
from shared.database import (
    Database,
    Day,
    Instant,
    LostUpdate,
    from_micros,
    is_data_error,
    is_transient,
    new_metadata,
    now_micros,
)
from shared.migrate import create_all

metadata = new_metadata()
things = sa.Table(
    "things",
    metadata,
    sa.Column("program_id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("points", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("note", sa.String(5)),
    sa.Column("open", sa.Boolean),
    sa.Column("content", sa.LargeBinary),
    sa.Column("at", Instant),
    sa.Column("day", Day),
    sa.Column("created", sa.BigInteger, nullable=False, server_default=now_micros()),
    sa.CheckConstraint("points >= 0", name="points"),
)
KEY = ["program_id", "number"]
MOMENT = datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC)


@pytest.fixture
async def db(database: Database) -> Database:
    await create_all(database.url, schema=database.schema, metadata=metadata)
    return database


def row(number: int, points: int = 0, **more: object) -> dict[str, object]:
    return {"program_id": "p", "number": number, "points": points, **more}


async def fill(db: Database, count: int, points: int = 0) -> None:
    async with db.transaction() as tx:
        await tx.insert(things, [row(number, points) for number in range(count)])


async def until_done(work: Callable[[], Awaitable[None]]) -> None:
    """Does a unit of work again after transient errors, which SERIALIZABLE is full of."""
    while True:
        try:
            return await work()
        except Exception as error:
            if not is_transient(error):
                raise
            await asyncio.sleep(0.001)


async def points_of(db: Database, number: int) -> int:
    async with db.reading() as tx:
        return int((await tx.select(things, [("p", number)], key=KEY))[0].points)


async def test_every_type_comes_back_as_it_went_in(db: Database) -> None:
    full = row(
        1, 2**62, note="äöü", open=True, content=b"\x00\xff", at=MOMENT, day=date(2026, 2, 28)
    )
    empty = row(2, 0, note=None, open=None, content=None, at=None, day=None)
    async with db.transaction() as tx:
        await tx.insert(things, [full, empty])
    async with db.reading() as tx:
        rows = await tx.select(things, [("p", 1), ("p", 2)], key=KEY, order_by=["number"])
        fetched = await tx.fetch(sa.select(things).order_by(things.c.number))
    for found in (rows, fetched):
        for given, read in zip((full, empty), found, strict=True):
            assert {name: getattr(read, name) for name in given} == given


async def test_a_text_that_is_too_long_is_refused_and_not_cut(db: Database) -> None:
    if db.dialect == "sqlite":
        pytest.skip("SQLite does not limit texts")
    with pytest.raises(asyncpg.StringDataRightTruncationError) as raised:
        async with db.transaction() as tx:
            await tx.insert(things, [row(1, note="too long")])
    assert is_data_error(raised.value)


async def test_an_insert_leaves_out_taken_keys_and_tells_the_new_ones(db: Database) -> None:
    await fill(db, 2)
    async with db.transaction() as tx:
        rows = [row(number, 7) for number in (3, 1, 2)]
        new = await tx.insert(things, rows, ignore_conflicts=True, returning=["number", "points"])
    assert sorted(tuple(each) for each in new) == [(2, 7), (3, 7)]
    assert await points_of(db, 1) == 0


async def test_an_upsert_inserts_or_sets_the_named_columns(db: Database) -> None:
    await fill(db, 2, points=5)
    async with db.transaction() as tx:
        rows = [row(number, 9, note="new") for number in (2, 1)]
        await tx.upsert(things, rows, key=KEY, update=["points"])
    async with db.reading() as tx:
        found = await tx.select(things, [("p", 1), ("p", 2)], key=KEY, order_by=KEY)
    assert [(each.points, each.note) for each in found] == [(9, None), (9, "new")]


async def test_an_update_must_find_every_row(db: Database) -> None:
    await fill(db, 2)
    async with db.transaction() as tx:
        await tx.update(things, [row(0, 4), row(1, 5)], key=KEY)
    assert [await points_of(db, number) for number in (0, 1)] == [4, 5]
    with pytest.raises(LostUpdate):
        async with db.transaction() as tx:
            await tx.update(things, [row(0, 6), row(77, 6)], key=KEY)
    assert await points_of(db, 0) == 4


async def test_an_update_of_several_rows_for_each_key_changes_those_and_no_others(
    db: Database,
) -> None:
    await fill(db, 5)
    async with db.transaction() as tx:
        await tx.insert(things, [{"program_id": "q", "number": 1}])
        p, q, none = (
            {"program_id": name, "number": numbers, "points": points, "open": True}
            for name, numbers, points in (("p", [3, 1], 7), ("q", [1], 8), ("r", [], 9))
        )
        several = {"key": ["program_id"], "several": "number"}
        await tx.update_several(things, [p, q, none], **several)  # type: ignore[arg-type]
        await tx.update_several(things, [], **several)  # type: ignore[arg-type]
    assert [await points_of(db, number) for number in range(5)] == [0, 7, 0, 7, 0]
    async with db.reading() as tx:
        found = await tx.select(things, [("q", 1), ("p", 2)], key=KEY, order_by=KEY)
    assert [(each.points, each.open) for each in found] == [(0, None), (8, True)]
    with pytest.raises(LostUpdate):
        async with db.transaction() as tx:
            await tx.update_several(things, [p, {**q, "number": [1, 2]}], **several)  # type: ignore[arg-type]


async def test_an_increment_adds_and_gives_back_the_new_values(db: Database) -> None:
    await fill(db, 3, points=10)
    async with db.transaction() as tx:
        amounts = {("p", 2): 5, ("p", 0): 1, ("p", 99): 1}
        rows = await tx.increment(things, amounts, key=KEY, column="points")
    assert sorted((each.number, each.points) for each in rows) == [(0, 11), (2, 15)]


async def test_a_delete_counts_what_was_there(db: Database) -> None:
    await fill(db, 3)
    async with db.transaction() as tx:
        assert await tx.delete(things, [("p", 0), ("p", 2), ("p", 9)], key=KEY) == 2
    async with db.reading() as tx:
        assert [each.number for each in await tx.fetch(sa.select(things))] == [1]


async def test_a_key_asked_for_twice_counts_once(db: Database) -> None:
    await fill(db, 1)
    async with db.reading() as tx:
        columns = [things.c.number]
        rows = await tx.select(columns, [("p", 0), ("p", 0), ("p", 1)], key=KEY)
    assert [tuple(each) for each in rows] == [(0,)]


async def test_nothing_is_done_for_no_rows(db: Database) -> None:
    async with db.transaction() as tx:
        assert await tx.insert(things, []) == []
        await tx.upsert(things, [], key=KEY, update=["points"])
        await tx.update(things, [], key=KEY)
        assert await tx.delete(things, [], key=KEY) == 0
        assert await tx.select(things, [], key=KEY) == []


async def test_an_error_undoes_the_whole_transaction(db: Database) -> None:
    await fill(db, 1)
    with pytest.raises((sqlite3.IntegrityError, asyncpg.CheckViolationError)) as raised:  # noqa: PT012
        async with db.transaction() as tx:
            await tx.insert(things, [row(5)])
            await tx.update(things, [row(0, -1)], key=KEY)
    assert is_data_error(raised.value)
    assert not is_transient(raised.value)
    async with db.transaction() as tx:
        assert await tx.select(things, [("p", 5)], key=KEY, lock=True) == []


async def test_64_tasks_that_read_and_then_write_lose_no_update(db: Database) -> None:
    await fill(db, 1)

    async def add() -> None:
        async with db.transaction() as tx:
            found = (await tx.select(things, [("p", 0)], key=KEY, lock=True))[0]
            await tx.update(things, [row(0, found.points + 1)], key=KEY)

    async def add_five() -> None:
        for _ in range(5):
            await until_done(add)

    await asyncio.gather(*(add_five() for _ in range(64)))
    assert await points_of(db, 0) == 320


async def test_locks_taken_in_any_order_of_keys_never_deadlock(postgres_database: Database) -> None:
    db = postgres_database
    await create_all(db.url, schema=db.schema, metadata=metadata)
    await fill(db, 20)

    def keys(turn: int) -> list[tuple[str, int]]:
        numbers = [(turn * 7 + step * 3) % 20 for step in range(10)]
        return [("p", number) for number in (reversed(numbers) if turn % 2 else numbers)]

    async def update(turn: int) -> None:
        async with db.transaction() as tx:
            rows = await tx.select(things, keys(turn), key=KEY, lock=True)
            await tx.update(things, [row(each.number, each.points + 1) for each in rows], key=KEY)

    async def increment(turn: int) -> None:
        async with db.transaction() as tx:
            await tx.increment(things, dict.fromkeys(keys(turn), 1), key=KEY, column="points")

    if "GUERDON_TEST_ISOLATION" in os.environ:
        pytest.skip("conflicts are told there instead of waited for")
    await asyncio.gather(*(work(turn) for turn in range(60) for work in (update, increment)))
    async with db.reading() as tx:
        assert sum(each.points for each in await tx.fetch(sa.select(things))) == 60 * 10 * 2


async def test_a_reader_sees_one_snapshot(db: Database) -> None:
    await fill(db, 1)
    async with db.reading() as tx:
        before = await tx.select(things, [("p", 0)], key=KEY)
        async with db.transaction() as writing:
            await writing.update(things, [row(0, 9)], key=KEY)
        assert await tx.select(things, [("p", 0)], key=KEY) == before
    assert await points_of(db, 0) == 9


async def test_a_reader_cannot_write(db: Database) -> None:
    with pytest.raises((sqlite3.OperationalError, asyncpg.ReadOnlySQLTransactionError)):
        async with db.reading() as tx:
            await tx.insert(things, [row(1)])


async def test_a_cancelled_transaction_is_undone_and_leaks_no_connection(db: Database) -> None:
    await fill(db, 1)

    async def hang() -> None:
        async with db.transaction() as tx:
            await tx.update(things, [row(0, 5)], key=KEY)
            await asyncio.sleep(60)

    for _ in range(8):
        task = asyncio.create_task(hang())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with db.transaction() as tx:
        assert (await tx.select(things, [("p", 0)], key=KEY, lock=True))[0].points == 0


async def test_a_file_is_free_again_though_a_statement_of_a_dead_transaction_lives(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'things.db'}"
    await create_all(url, schema="things", metadata=metadata)
    dead = await Database.open(url, schema="things")
    kept: list[object] = []

    async def hang() -> None:
        async with dead.transaction() as tx:
            driver = (await tx.core.get_raw_connection()).driver_connection
            assert driver is not None
            kept.append(
                await driver.execute(
                    "INSERT INTO things (program_id, number) VALUES "
                    "('p', 1), ('p', 2) RETURNING number"
                )
            )
            await asyncio.sleep(60)

    task = asyncio.create_task(hang())
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await dead.dispose()
    other = await Database.open(url, schema="things")
    async with other.transaction() as tx:
        await tx.insert(things, [row(1)])
    await other.dispose()
    assert len(kept) == 1


async def test_a_file_is_free_again_though_somebody_keeps_what_cancelled_a_statement(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'things.db'}"
    await create_all(url, schema="things", metadata=metadata)
    dead = await Database.open(url, schema="things")
    long = sa.text(
        "INSERT INTO things (program_id, number) WITH RECURSIVE n(i) AS "
        "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT 'p', i FROM n "
        "RETURNING number"
    )

    async def hang() -> None:
        async with dead.transaction() as tx:
            await tx.fetch(long)

    task = asyncio.create_task(hang())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as kept:
        await task
    await dead.dispose()
    other = await Database.open(url, schema="things")
    async with other.transaction() as tx:
        await tx.insert(things, [row(1)])
    await other.dispose()
    assert kept.tb is not None


async def test_a_cut_connection_is_transient_and_replaced(postgres_database: Database) -> None:
    db = postgres_database
    with pytest.raises(Exception) as raised:
        async with db.transaction() as tx:
            await tx.fetch(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert is_transient(raised.value)
    async with db.transaction() as tx:
        assert (await tx.fetch(sa.text("SELECT 1 AS one")))[0].one == 1


async def test_a_lock_that_is_not_to_be_had_is_transient(postgres_database: Database) -> None:
    db = postgres_database
    await create_all(db.url, schema=db.schema, metadata=metadata)
    await fill(db, 1)
    async with db.transaction() as holding:
        await holding.select(things, [("p", 0)], key=KEY, lock=True)
        with pytest.raises(asyncpg.LockNotAvailableError) as raised:  # noqa: PT012
            async with db.transaction() as tx:
                await tx.execute(sa.text("SET LOCAL lock_timeout = '50ms'"))
                await tx.select(things, [("p", 0)], key=KEY, lock=True)
    assert is_transient(raised.value)


async def test_listeners_hear_of_commits_and_of_nothing_else(db: Database) -> None:
    heard: list[str] = []
    db.on_commit(lambda: heard.append("commit"))
    await fill(db, 1)
    async with db.reading() as tx:
        await tx.fetch(sa.select(things))
    with pytest.raises(RuntimeError):
        async with db.transaction():
            raise RuntimeError
    assert heard == ["commit"]


async def test_a_listener_that_fails_does_not_undo_the_commit(db: Database) -> None:
    db.on_commit(lambda: 1 // 0)  # type: ignore[arg-type]
    await fill(db, 1)
    assert await points_of(db, 0) == 0


async def test_the_clock_of_the_database_runs(db: Database) -> None:
    first = await db.now_micros()
    assert abs(from_micros(first) - SystemClock().now()) < timedelta(seconds=5)
    await asyncio.sleep(0.01)
    assert await db.now_micros() > first


async def test_an_unusable_url_is_refused() -> None:
    for url in ("sqlite://", "sqlite:///:memory:", "mysql://host/db"):
        with pytest.raises(ValueError, match="sqlite:///path"):
            await Database.open(url, schema="x")


# Plain reads --------------------------------------------------------------------------------------

plainly = (
    sa.select(things.c.number, things.c.at, things.c.content, things.c.note)
    .where(things.c.program_id == sa.bindparam("program_id"), things.c.number >= sa.bindparam("n"))
    .order_by(things.c.number)
)


async def test_plain_rows_are_as_the_database_has_them(db: Database) -> None:
    async with db.transaction() as tx:
        await tx.insert(things, [row(1, at=MOMENT, content=b"\x00x"), row(2, at=None, content=b"")])
    async with db.reading() as tx:
        found = await tx.plain(plainly, {"program_id": "p", "n": 1, "other": 0})
    micros = 1_772_323_199_999_999
    assert [tuple(each) for each in found] == [(1, micros, b"\x00x", None), (2, None, b"", None)]


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (5, [2, 2, 1]), (4, [2, 2])])
async def test_plain_rows_come_in_pages(db: Database, count: int, sizes: list[int]) -> None:
    await fill(db, count)
    async with db.reading() as tx:
        pages = [page async for page in tx.pages(plainly, {"program_id": "p", "n": 0}, 2)]
    assert [len(page) for page in pages] == sizes
    assert [each[0] for page in pages for each in page] == list(range(count))


async def test_postgresql_plans_a_statement_of_the_write_path_once(db: Database) -> None:
    if db.dialect == "sqlite":
        pytest.skip("SQLite plans when a statement is prepared")
    await fill(db, 100)
    async with db.transaction() as tx:
        for count in range(1, 21):
            await tx.select(things, [("p", number) for number in range(count)], key=KEY)
            await tx.update(things, [row(number, count) for number in range(count)], key=KEY)
        asked = "SELECT statement, custom_plans, generic_plans FROM pg_prepared_statements"
        plans = {
            each.statement.split()[0]: (each.custom_plans, each.generic_plans)
            for each in await tx.fetch(sa.text(asked))
            if "things" in each.statement and "INSERT" not in each.statement
        }
    assert plans == {"SELECT": (0, 20), "UPDATE": (0, 20)}
