"""A transaction runs as many statements for a hundred activities as for one; reads as well.

A statement is what goes to the driver once: with an array, or with a list of rows.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
from sqlalchemy.ext.asyncio import AsyncConnection

from guerdon.earning.v1 import activity_pb2
from services.earning import wire
from services.earning.commands import Command
from services.earning.domain import CurrencyId, MemberId, ProgramId
from shared.connections import Connection, Connections
from shared.database import Database
from shared.statements import Plan, Text, Values
from shared.work import Outcome
from tests.earning.nodes import PROGRAM, Node, opened, order, purchase

GIFTSHOP = Path(__file__).resolve().parents[2] / "programs" / "giftshop" / "earning.yaml"
MANY = 100
LINES = [(2, 1_000), (1, 550)]


class Counted:
    """A connection that notes what is run on it, and runs it."""

    def __init__(self, inner: Connection, said: list[str]) -> None:
        self._inner = inner
        self._said = said
        self.core: AsyncConnection = inner.core

        # What SQLAlchemy itself runs does not come through this connection.
        @sa.event.listens_for(inner.core.sync_connection, "before_cursor_execute")
        def noted(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
            said.append(statement)

    async def run(self, sql: str) -> None:
        self._said.append(sql)
        await self._inner.run(sql)

    async def fetch(self, plan: Plan, values: Values) -> list[tuple[object, ...]]:
        self._said.append(plan.sql)
        return await self._inner.fetch(plan, values)

    async def plain(self, text: Text, values: Sequence[object]) -> Sequence[Sequence[object]]:
        self._said.append(text.sql)
        return await self._inner.plain(text, values)

    def pages(
        self, text: Text, values: Sequence[object], size: int
    ) -> AsyncIterator[Sequence[Sequence[object]]]:
        self._said.append(text.sql)
        return self._inner.pages(text, values, size)

    async def change(self, plan: Plan, values: Values) -> int:
        self._said.append(plan.sql)
        return await self._inner.change(plan, values)

    def broken(self) -> bool:
        return self._inner.broken()

    async def discard(self) -> None:
        await self._inner.discard()


class CountedConnections(Connections):
    """Connections to the same database that note what is run on them."""

    def __init__(self, database: Database, said: list[str], *, writer: bool) -> None:
        known = database._writers if writer else database._readers
        super().__init__(known.engine, database.dialect, known._size, writer=writer)
        self._said = said

    async def _open(self) -> Connection:
        return Counted(await super()._open(), self._said)


@pytest.fixture
def said() -> list[str]:
    """What is run on the connections of the test's node, in order."""
    return []


@pytest.fixture
async def shop(database: Database, said: list[str]) -> AsyncIterator[Node]:
    """The gift shop's rules; the program has been looked up, as in a service that has served."""
    counted = Database(
        database.url,
        schema=database.schema,
        writers=CountedConnections(database, said, writer=True),
        readers=CountedConnections(database, said, writer=False),
    )
    async with opened(counted) as node:
        document = yaml.safe_load(GIFTSHOP.read_text())
        await node.apply(**{**document, "program_id": PROGRAM})
        await node.record(purchase("first", "first", lines=LINES))
        yield node
    await counted.dispose()


def bought(prefix: str, count: int, *, receipts: bool = False) -> list[Command]:
    """Activities of as many members."""
    return [
        wire.record_from_proto(
            PROGRAM,
            purchase(
                f"{prefix}-{each}",
                f"{prefix.rstrip('0123456789')}-{each}",
                lines=LINES,
                receipt=f"{prefix}-{each}" if receipts else "",
            ),
        )
        for each in range(count)
    ]


async def transacted(node: Node, said: list[str], commands: Sequence[Command]) -> Counter[str]:
    """What one transaction with these commands runs."""
    said.clear()
    results = await node.executor.execute(commands)
    assert all(isinstance(each, Outcome) for each in results)
    assert [said.count(each) for each in ("COMMIT",)] == [1]
    return Counter(_kind(each) for each in said)


def _kind(statement: str) -> str:
    """The statement up to where its length may depend on the number of rows."""
    return " ".join(statement.split())[:60]


@pytest.mark.parametrize("receipts", [False, True], ids=["plain", "with receipts"])
async def test_a_hundred_activities_take_as_many_statements_as_one(
    shop: Node, said: list[str], *, receipts: bool
) -> None:
    """First of members that nobody knew, then of the same members again."""
    for turn in (1, 2):
        one = await transacted(shop, said, bought(f"one{turn}", 1, receipts=receipts))
        many = await transacted(shop, said, bought(f"many{turn}", MANY, receipts=receipts))
        assert many == one
        assert 8 <= one.total() <= 30


async def test_a_hundred_returns_take_as_many_statements_as_one(
    shop: Node, said: list[str]
) -> None:
    await shop.executor.execute(bought("one1", 1))
    await shop.executor.execute(bought("many1", MANY))

    def returned(prefix: str, count: int) -> list[Command]:
        orders = [order(f"r-{prefix}-{each}", f"{prefix}-{each}") for each in range(count)]
        return [wire.reverse_from_proto(PROGRAM, each) for each in orders]

    one = await transacted(shop, said, returned("one1", 1))
    many = await transacted(shop, said, returned("many1", MANY))
    assert many == one


async def test_many_activities_of_one_member_take_as_many_statements_as_one(
    shop: Node, said: list[str]
) -> None:
    def of_ann(prefix: str, count: int) -> list[Command]:
        made: list[activity_pb2.Activity] = [
            purchase(f"{prefix}-{each}", "ann", lines=LINES) for each in range(count)
        ]
        return [wire.record_from_proto(PROGRAM, each) for each in made]

    await shop.executor.execute(of_ann("known", 1))
    one = await transacted(shop, said, of_ann("one", 1))
    many = await transacted(shop, said, of_ann("many", MANY))
    assert many == one


async def test_a_repeat_decides_nothing_and_takes_fewer_statements(
    shop: Node, said: list[str]
) -> None:
    first = await transacted(shop, said, bought("many1", MANY))
    again = await transacted(shop, said, bought("many1", MANY))
    assert again.total() < first.total()
    assert again == await transacted(shop, said, bought("many1", 1))


async def test_a_wallet_is_read_with_as_many_statements_whatever_it_has_been_through(
    shop: Node, said: list[str]
) -> None:
    for count in (1, MANY):
        made = [purchase(f"{count}-{each}", f"m-{count}", lines=LINES) for each in range(count)]
        await shop.executor.execute([wire.record_from_proto(PROGRAM, each) for each in made])

    async def read(member_id: str) -> Counter[str]:
        said.clear()
        await wallet(shop, member_id)
        return Counter(map(_kind, said))

    assert await read(f"m-{MANY}") == await read("m-1")


async def test_wallets_that_are_read_together_take_no_more_statements_each_than_one_alone(
    shop: Node, said: list[str]
) -> None:
    await shop.executor.execute(bought("many1", MANY))
    said.clear()
    await wallet(shop, "many-0")
    alone = len(said)
    said.clear()
    found = await asyncio.gather(*(wallet(shop, f"many-{each}") for each in range(MANY)))
    assert found == [15] * MANY
    assert len(said) <= alone * MANY


async def test_previews_that_arrive_together_take_as_many_statements_as_one(
    shop: Node, said: list[str]
) -> None:
    async def previewed(count: int) -> Counter[str]:
        said.clear()
        commands = [
            wire.record_from_proto(PROGRAM, purchase(f"p-{each}", f"m-{each}", lines=LINES))
            for each in range(count)
        ]
        seen = await asyncio.gather(*[shop.queries.preview(each) for each in commands])
        assert [each.points for each in seen] == [15] * count
        return Counter(map(_kind, said))

    assert await previewed(32) == await previewed(1)


async def wallet(node: Node, member_id: str) -> int:
    """Points that a member has."""
    now = await node.queries.wallet(ProgramId(PROGRAM), MemberId(member_id), CurrencyId(""))
    return now.wallet.available
