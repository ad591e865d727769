"""A verification says what is wrong with what it cannot read, and goes on."""

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from services.earning import tables
from shared.database import Database
from tests.earning.nodes import Node, opened, purchase

OTHER = {
    "content": b"\x0a",
    "program_version": 99,
    "explanation": "[1",
}


@pytest.fixture
async def node(database: Database) -> AsyncIterator[Node]:
    async with opened(database) as made:
        for number in (1, 2):
            await made.record(purchase(f"p-{number}", lines=[(1, 1_000)]))
        yield made


@pytest.mark.parametrize("name", OTHER)
async def test_an_activity_that_cannot_be_decided_again_is_named(node: Node, name: str) -> None:
    where = tables.activities.c.activity_id == "p-1"
    async with node.database.transaction() as tx:
        await tx.core.execute(sa.update(tables.activities).where(where).values({name: OTHER[name]}))
    found = await node.verify()
    assert {each.subject for each in found} == {"shop/p-1"}
    assert "activity_recomputed" in {each.rule for each in found}


async def test_amounts_that_the_rules_would_refuse_are_named(node: Node) -> None:
    view = purchase("p-1", lines=[(1, 10**18)])
    view.payment.currency_code = "USD"
    view.ClearField("member_id")
    where = tables.activities.c.activity_id == "p-1"
    change = sa.update(tables.activities).where(where).values(content=view.SerializeToString())
    async with node.database.transaction() as tx:
        await tx.core.execute(change)
    found = await node.verify()
    assert {(each.rule, each.subject) for each in found} == {("activity_recomputed", "shop/p-1")}
