"""Versions of program documents, on both databases."""

import asyncio
from datetime import UTC, datetime

import pytest

from shared import errors
from shared.database import Database
from shared.programs import Programs, ProgramVersionNotFound, Versioned
from shared.tables import KernelTables
from tests.shared.feeds import TABLES, prepared

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PARTITIONS = 4


class CannotCompileError(Exception):
    """What the compiler of these tests says of the content b"bad"."""


def _compile(program_id: str, version: int, content: bytes) -> str:
    if content == b"bad":
        raise CannotCompileError
    return f"{program_id} {version} {content.decode()}"


@pytest.fixture
async def database(database: Database) -> Database:
    return await prepared(database)


@pytest.fixture
def tables() -> KernelTables:
    return TABLES


@pytest.fixture
def programs(tables: KernelTables) -> Programs[str]:
    return Programs(tables, _compile, partitions=PARTITIONS, sources=("tiers", "earning"))


async def _apply(
    database: Database,
    programs: Programs[str],
    content: str,
    *,
    program_id: str = "classic",
    etag: str = "",
) -> Versioned[str]:
    async with database.transaction() as tx:
        return await programs.apply(
            tx,
            program_id=program_id,
            content=content.encode(),
            author="ann",
            etag=etag,
            now=NOW,
        )


async def _move_cursor(
    database: Database, tables: KernelTables, *, source: str, partition: int, position: int
) -> None:
    async with database.transaction() as tx:
        await tx.upsert(
            tables.feed_cursors,
            [
                {
                    "source": source,
                    "partition": partition,
                    "position": position,
                    "incarnation": "",
                }
            ],
            key=("source", "partition"),
            update=("position",),
        )


async def test_a_first_apply_makes_version_one(database: Database, programs: Programs[str]) -> None:
    made = await _apply(database, programs, "a")
    assert (made.version.version, made.version.author, made.version.create_time) == (1, "ann", NOW)
    assert made.program == "classic 1 a"


async def test_a_change_makes_the_next_version_and_leaves_the_old_one(
    database: Database, programs: Programs[str]
) -> None:
    first = await _apply(database, programs, "a")
    second = await _apply(database, programs, "b", etag=first.version.etag)
    assert second.version.version == 2
    async with database.reading() as tx:
        assert (await programs.at_version(tx, "classic", 1)).program == "classic 1 a"
        assert (await programs.require(tx, "classic")).program == "classic 2 b"
        history = await programs.history(tx, "classic")
    assert [(each.version, each.content) for each in history] == [(2, b"b"), (1, b"a")]


async def test_the_same_content_makes_no_version(
    database: Database, programs: Programs[str]
) -> None:
    first = await _apply(database, programs, "a")
    assert await _apply(database, programs, "a") == first


async def test_a_change_made_meanwhile_is_refused_by_etag(
    database: Database, programs: Programs[str]
) -> None:
    first = await _apply(database, programs, "a")
    second = await _apply(database, programs, "b")
    with pytest.raises(errors.EtagMismatch) as refused:
        await _apply(database, programs, "c", etag=first.version.etag)
    assert refused.value == errors.EtagMismatch(
        expected=first.version.etag, actual=second.version.etag
    )


async def test_an_etag_for_a_program_that_does_not_exist_is_refused(
    database: Database, programs: Programs[str]
) -> None:
    with pytest.raises(errors.EtagMismatch):
        await _apply(database, programs, "a", etag="1-abc")


async def test_of_two_who_apply_at_once_from_one_etag_one_is_refused(
    database: Database, programs: Programs[str]
) -> None:
    first = await _apply(database, programs, "a")
    done = await asyncio.gather(
        *(_apply(database, programs, each, etag=first.version.etag) for each in "bcd"),
        return_exceptions=True,
    )
    assert sum(isinstance(each, errors.EtagMismatch) for each in done) == 2
    async with database.reading() as tx:
        assert (await programs.require(tx, "classic")).version.version == 2


async def test_first_applies_at_once_make_one_version_after_the_other(
    database: Database, programs: Programs[str]
) -> None:
    done = await asyncio.gather(*(_apply(database, programs, each) for each in "abc"))
    assert sorted(each.version.version for each in done) == [1, 2, 3]


async def test_a_document_that_does_not_compile_is_not_stored(
    database: Database, programs: Programs[str]
) -> None:
    with pytest.raises(CannotCompileError):
        await _apply(database, programs, "bad")
    async with database.reading() as tx:
        assert await programs.current(tx, ["classic"]) == {}


async def test_programs_that_do_not_exist_are_left_out_or_refused(
    database: Database, programs: Programs[str]
) -> None:
    await _apply(database, programs, "a")
    await _apply(database, programs, "z", program_id="stay")
    async with database.reading() as tx:
        found = await programs.current(tx, ["stay", "none", "classic", "stay"])
        assert {key: each.program for key, each in found.items()} == {
            "classic": "classic 1 a",
            "stay": "stay 1 z",
        }
        with pytest.raises(errors.ProgramNotFound):
            await programs.require(tx, "none")
        with pytest.raises(ProgramVersionNotFound):
            await programs.at_version(tx, "classic", 2)


async def test_a_document_is_compiled_once(database: Database, tables: KernelTables) -> None:
    compiled: list[int] = []

    def compile_program(program_id: str, version: int, content: bytes) -> str:
        compiled.append(version)
        return _compile(program_id, version, content)

    programs = Programs(tables, compile_program, partitions=PARTITIONS)
    await _apply(database, programs, "a")
    compiled.clear()
    for _ in range(3):
        async with database.reading() as tx:
            await programs.require(tx, "classic")
    assert compiled == [1]


async def test_a_version_that_was_rolled_back_is_forgotten(
    database: Database, programs: Programs[str]
) -> None:
    async def apply_and_fail() -> None:
        async with database.transaction() as tx:
            await programs.apply(
                tx, program_id="classic", content=b"a", author="ann", etag="", now=NOW
            )
            assert (await programs.require(tx, "classic")).program == "classic 1 a"
            raise CannotCompileError

    with pytest.raises(CannotCompileError):
        await apply_and_fail()
    await _apply(database, programs, "b")
    async with database.reading() as tx:
        assert (await programs.require(tx, "classic")).program == "classic 1 b"


async def test_more_programs_than_the_cache_holds_are_all_found(
    database: Database, tables: KernelTables
) -> None:
    programs = Programs(tables, _compile, partitions=PARTITIONS, cache_max=2)
    names = [f"program-{number}" for number in range(5)]
    for name in names:
        await _apply(database, programs, "a", program_id=name)
    async with database.reading() as tx:
        for _ in range(2):
            assert sorted(await programs.current(tx, names)) == names


async def test_an_event_meets_the_version_whose_place_is_before_it(
    database: Database, programs: Programs[str], tables: KernelTables
) -> None:
    for position, content in ((3, "a"), (5, "b"), (5, "c")):
        await _move_cursor(database, tables, source="earning", partition=1, position=position)
        await _apply(database, programs, content)

    async with database.reading() as tx:
        met = [
            await programs.version_for(
                tx, "classic", source="earning", partition=1, position=position
            )
            for position in (3, 4, 5, 6)
        ]
        elsewhere = await programs.version_for(
            tx, "classic", source="tiers", partition=3, position=1
        )
    assert met == [0, 1, 1, 3]
    assert elsewhere == 3


async def test_an_apply_waits_for_a_follower_that_holds_its_cursor(
    database: Database, programs: Programs[str], tables: KernelTables
) -> None:
    await _move_cursor(database, tables, source="earning", partition=0, position=7)
    async with database.transaction() as tx:
        await tx.select(
            tables.feed_cursors, [("earning", 0)], key=("source", "partition"), lock=True
        )
        applying = asyncio.create_task(_apply(database, programs, "a"))
        await asyncio.sleep(0.05)
        await tx.update(
            tables.feed_cursors,
            [{"source": "earning", "partition": 0, "position": 8}],
            key=("source", "partition"),
        )
        assert not applying.done()
    made = await applying
    assert made.version.cursors["earning"][0] == 8
