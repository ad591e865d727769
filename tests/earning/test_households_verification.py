"""Whoever tampers with a household, or with what a hold has of its members, is found out."""

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from services.earning import tables
from services.earning.commands import Command
from services.earning.domain import Hold
from shared.database import Database
from tests.earning.nodes import Node, opened, order, purchase
from tests.earning.tampering import found_after, tampering
from tests.earning.test_households_races import house, leaving, pooling
from tests.earning.test_referrals_races import enroll

SHARES, HOLDS = tables.hold_shares, tables.holds
HOMES, MEMBERS = tables.households, tables.household_members
REFUSED = "refused by the database"


@pytest.fixture
async def node(database: Database) -> AsyncIterator[Node]:
    """Ann and bob spent 15, of which a return gave a part back, and hold 15; cy has left."""
    async with opened(database) as made:
        await made.apply(households={"max_members": 4})
        await enroll(made, "ann", "bob", "cy")
        for name in ("ann", "bob", "cy"):
            await made.credit(20, name)
        await house(made, "ann", "bob", "cy")
        await made.answer(leaving(made, "cy"))
        spent = await pool(made, 30)
        await made.capture(spent.hold_id, 25)
        bought = purchase("a-1", "ann", amount=5_000)
        bought.payment.paid_in_points_minor = 1_000
        bought.payment.points_hold_id = spent.hold_id
        await made.record(bought)
        await made.reverse(order("back-1", "a-1", amount=4_000))
        await pool(made, 15)
        assert await made.verify() == []
        yield made


async def pool(node: Node, points: int) -> Hold:
    command: Command = pooling(node, "ann", points)
    made = await node.answer(command)
    assert isinstance(made, Hold)
    return made


@pytest.mark.parametrize(
    "name",
    [
        *("hold_id", "member_key", "currency_id"),
        *("points", "captured", "refunded", "entry_sequence", "lots"),
    ],
)
async def test_a_change_of_what_a_hold_has_of_a_member_is_found(node: Node, name: str) -> None:
    other = {"lots": "[[1, -3]]", "points": 77, "captured": 1, "refunded": 1, "entry_sequence": 77}
    first = sa.select(sa.func.min(SHARES.c.hold_id)).scalar_subquery()
    change = (
        sa.update(SHARES).where(SHARES.c.hold_id == first).values({name: other.get(name, "other")})
    )
    assert await found_after(node, change)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("points", 77),
        ("captured", 24),
        ("refunded", 19),
        ("lots", "[[1, -3]]"),
        ("entry_sequence", 1),
        ("household_id", ""),
        ("activity_id", "other"),
    ],
)
async def test_a_change_of_a_hold_that_its_shares_do_not_make_up_is_found(
    node: Node, name: str, value: int | str
) -> None:
    change = sa.update(HOLDS).where(HOLDS.c.captured == 25).values({name: value})
    assert await found_after(node, change)


@pytest.mark.parametrize("captured", [25, 0], ids=["spent", "open"])
async def test_a_hold_that_was_given_to_another_household_is_named(
    node: Node, captured: int
) -> None:
    """To one that is there as well: the entries say for which it was."""
    await enroll(node, "dee", "eve")
    other = await house(node, "dee", "eve")
    ours = HOLDS.c.captured == captured
    async with tampering(node.database) as execute:
        await execute(sa.update(HOLDS).where(ours).values(household_id=other))
    found = await node.verify()
    assert {each.rule for each in found} == {"holds_equal_entries"}
    assert all(other in each.detail for each in found)


async def test_a_return_that_says_it_gave_back_more_or_less_is_found(node: Node) -> None:
    change = sa.update(tables.reversals).values(points_given_back=19)
    assert "activity_paid" in await found_after(node, change)


@pytest.mark.parametrize("table", [SHARES, HOLDS], ids=lambda table: str(table.name))
async def test_holds_or_shares_that_were_removed_are_found(node: Node, table: sa.Table) -> None:
    assert "holds_equal_entries" in await found_after(node, sa.delete(table))


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (HOMES, {"head_key": "other"}),
        (HOMES, {"joined": 1}),
        (HOMES, {"dissolve_time": 1}),
        (MEMBERS, {"household_id": "other"}),
        (MEMBERS, {"number": 7}),
        (MEMBERS, {"leave_time": 1}),
    ],
    ids=str,
)
async def test_a_household_whose_members_do_not_agree_is_found(
    node: Node, table: sa.Table, values: dict[str, object]
) -> None:
    literal: dict[str, object] = {
        name: sa.literal_column(repr(value)) for name, value in values.items()
    }
    assert await found_after(node, sa.update(table).values(literal)) == {"household_members"}


async def test_a_household_that_was_removed_is_found(node: Node) -> None:
    assert await found_after(node, sa.delete(HOMES)) == {"household_members"}


async def test_a_member_of_a_household_that_is_no_more_is_found(node: Node) -> None:
    change = sa.update(tables.members).values(state="erased")
    assert "household_members" in await found_after(node, change)
