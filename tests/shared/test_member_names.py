"""The copy of members' names: in whatever order they come, a name ends where it belongs."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
import sqlalchemy as sa

from shared import member_names, migrate
from shared.database import Database, Instant, new_metadata
from shared.names import Name, NameMember

START = datetime(2025, 6, 1, tzinfo=UTC)
metadata = new_metadata()
table = sa.Table(
    "member_identifiers",
    metadata,
    sa.Column("program_id", sa.Text, nullable=False),
    sa.Column("identifier", sa.Text, nullable=False),
    sa.Column("member_key", sa.Text, nullable=False),
    sa.Column("assign_time", Instant, nullable=False),
    sa.PrimaryKeyConstraint("program_id", "identifier"),
)


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def named(member_key: str, **names: int) -> NameMember:
    """A member with names, and the minutes from which they count."""
    return NameMember(
        program_id="shop",
        member_key=member_key,
        names=tuple(
            Name(kind="card", identifier=name, assign_time=at(minutes))
            for name, minutes in names.items()
        ),
    )


async def joined(database: Database, member_key: str, identifier: str, minutes: int) -> None:
    row = {
        "program_id": "shop",
        "identifier": identifier,
        "member_key": member_key,
        "assign_time": at(minutes),
    }
    async with database.transaction() as tx:
        await member_names.note(tx, table, [row])


async def renamed(database: Database, *commands: NameMember) -> None:
    async with database.transaction() as tx:
        await member_names.rename(tx, table, commands)


async def owners(database: Database) -> dict[str, str]:
    async with database.reading() as tx:
        return {row.identifier: row.member_key for row in await tx.fetch(sa.select(table))}


@pytest.fixture(autouse=True)
async def tables(database: Database) -> None:
    await migrate.create_all(database.url, schema=database.schema, metadata=metadata)


# What happened to the name "x": a had it from minute 1 to 2, b from minute 3, c takes it at 5 when
# b ends; each member's own events come in their order, and those of different members in any.
STORY = [
    [named("a", a=0, x=1), named("a", a=0)],
    [named("b", b=0, x=3), named("b")],
    [named("c", c=0), named("c", c=0, x=5, b=5)],
]
ORDERS = sorted(set(permutations([0, 0, 1, 1, 2, 2])))


async def test_a_name_that_changed_hands_ends_with_the_last_in_every_order(
    database: Database,
) -> None:
    for order in ORDERS:
        async with database.transaction() as tx:
            await tx.execute(sa.delete(table))
        told = [0, 0, 0]
        for member in order:
            await renamed(database, STORY[member][told[member]])
            told[member] += 1
        assert await owners(database) == {"a": "a", "x": "c", "b": "c", "c": "c"}, order


async def test_many_changes_in_one_batch_come_to_the_same(database: Database) -> None:
    for order in ORDERS[::7]:
        async with database.transaction() as tx:
            await tx.execute(sa.delete(table))
        told = [iter(each) for each in STORY]
        await renamed(database, *(next(told[member]) for member in order))
        assert await owners(database) == {"a": "a", "x": "c", "b": "c", "c": "c"}, order


async def test_who_joins_under_a_name_that_became_free_gets_it(database: Database) -> None:
    await joined(database, "a", "x", 1)
    await joined(database, "b", "x", 3)
    assert await owners(database) == {"x": "b"}
    await renamed(database, named("a"))
    await joined(database, "a", "x", 1)
    assert await owners(database) == {"x": "b"}


async def test_a_member_without_names_is_found_by_none(database: Database) -> None:
    await joined(database, "a", "x", 1)
    await renamed(database, named("a"))
    assert await owners(database) == {}
