"""Whoever tampers with a referral, or with what was booked for it, is found out."""

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from services.earning import tables
from shared.database import Database
from tests.earning.nodes import Node, opened, order, purchase
from tests.earning.tampering import found_after
from tests.earning.test_referrals_races import claim, code, enroll

RULES = {"referral_entries", "refused by the database"}
MADE, BOOKED = tables.referrals, tables.referral_entries
# Nothing is booked at the instant of a claim.
COLUMNS = [
    (table.name, column.name)
    for table in (MADE, BOOKED)
    for column in table.columns
    if column.name not in {"claim_time", "program_id"}
]


@pytest.fixture
async def node(database: Database) -> AsyncIterator[Node]:
    """Ann brought bob, whose purchase was returned since, and cid."""
    async with opened(database) as made:
        await made.apply(referral={"referrer_points": 100, "friend_points": 50})
        await enroll(made, "ann", "bob", "cid")
        given = await code(made, "ann")
        for name in ("bob", "cid"):
            await claim(made, name, given)
            await made.record(purchase(f"first-{name}", name, lines=[(1, 1_000)]))
        await made.reverse(order("back-1", "first-bob"))
        assert await made.verify() == []
        yield made


@pytest.mark.parametrize(("table_name", "name"), COLUMNS)
async def test_a_change_of_any_column_of_a_referral_or_of_its_bookings_is_found(
    node: Node, table_name: str, name: str
) -> None:
    table = tables.metadata.tables[table_name]
    column = table.columns[name]
    other = 7 if isinstance(column.type, sa.BigInteger) or name.endswith("_time") else "other"
    first = sa.select(sa.func.min(MADE.c.referral_id)).scalar_subquery()
    change = (
        sa.update(table)
        .where(table.c.referral_id == first)
        .values({name: sa.literal_column(repr(other))})
    )
    assert await found_after(node, change) & RULES


@pytest.mark.parametrize("state", ["claimed", "rewarded", "capped"])
async def test_a_referral_that_says_it_is_in_another_state_is_found(node: Node, state: str) -> None:
    first = sa.select(sa.func.min(MADE.c.referral_id)).scalar_subquery()
    values: dict[str, object] = {"state": state, "reverse_time": None}
    if state == "claimed":
        values["reward_time"] = None
    change = sa.update(MADE).where(MADE.c.referral_id == first).values(values)
    assert await found_after(node, change) & RULES


@pytest.mark.parametrize("table", [MADE, BOOKED], ids=lambda table: str(table.name))
async def test_referrals_or_bookings_that_were_removed_are_found(
    node: Node, table: sa.Table
) -> None:
    assert await found_after(node, sa.delete(table)) == {"referral_entries"}
