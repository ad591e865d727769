"""Budgets that all members share: never passed, and no batch waits for one that has plenty left."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from services.earning import counts, explanations, store_budgets, tables, wire
from services.earning.commands import RecordActivity
from services.earning.domain import ProgramId
from services.earning.store_budgets import BudgetsShort
from services.earning.world import World
from shared.database import Database, Tx
from tests.earning.nodes import PROGRAM, START, Node, beside, opened, order, purchase

LAUNCH = {"rule_id": "launch", "bonus": {"points": 7}, "budget_points": 1_000}
VISIT = {
    "rule_id": "visit",
    "base": {"points": 1, "per_amount_minor": 100},
    "budget_points": 2_000,
}
KEY = (ProgramId(PROGRAM), "launch")
CALLERS = 64


@pytest.fixture
async def postgres_node(postgres_database: Database) -> AsyncIterator[Node]:
    """A process on PostgreSQL, where batches run side by side."""
    async with opened(postgres_database) as made:
        yield made


@pytest.fixture
async def second(postgres_node: Node, postgres_database: Database) -> AsyncIterator[Node]:
    """Another process on the same PostgreSQL."""
    async with beside(postgres_database) as made:
        yield made


async def given(node: Node, name: str, member_id: str = "ann", pounds: int = 1) -> int:
    return (await node.record(purchase(name, member_id, amount=pounds * 100))).points


async def spent(node: Node) -> dict[str, int]:
    async with node.database.reading() as tx:
        return {row.rule_id: row.points for row in await tx.fetch(tables.budgets.select())}


async def counted(node: Node) -> dict[str, int]:
    """What the activities that are stored took of each budget and have not given back."""
    total: Counter[str] = Counter()
    async with node.database.reading() as tx:
        for row in await tx.fetch(tables.activities.select()):
            for cap in explanations.read(row.explanation).caps:
                back = explanations.given_back(cap, row.points, row.points_reversed)
                total[cap.cap_id] += cap.counted - back
    return dict(total)


async def loaded(node: Node, tx: Tx, name: str, member_id: str) -> tuple[World, RecordActivity]:
    command = wire.record_from_proto(PROGRAM, purchase(name, member_id, amount=100))
    return await node.work.load(tx, [command], START), command


async def saved(node: Node, meanwhile: Callable[[], Awaitable[object]]) -> None:
    """Decide a purchase and save what it took of budgets, with something else in between."""
    async with node.database.transaction() as tx:
        world, command = await loaded(node, tx, "b-1", "bob")
        world.put(node.work.decide(world, command, START).state)
        await meanwhile()
        await store_budgets.save(tx, world.counts, world.budgets())


async def nothing() -> None:
    """What happens meanwhile when nothing does."""


async def test_a_batch_is_decided_while_another_adds_to_the_budget(
    postgres_node: Node, second: Node
) -> None:
    await postgres_node.apply(rules=[LAUNCH])
    await given(postgres_node, "a-1")
    async with postgres_node.database.transaction() as adding:
        await adding.select(tables.budgets, [KEY], key=("program_id", "rule_id"), lock=True)
        async with second.database.transaction() as tx:
            world, command = await loaded(second, tx, "b-1", "bob")
            decision = second.work.decide(world, command, START)
    assert world.counts.budgets[KEY] == 7
    assert decision.state.counted is not None
    assert decision.state.counted.budgets == (("launch", 7),)


async def test_a_batch_that_was_decided_with_points_that_others_took_is_undone(
    postgres_node: Node, second: Node
) -> None:
    await postgres_node.apply(rules=[{**LAUNCH, "budget_points": 10}])
    with pytest.raises(BudgetsShort) as short:
        await saved(second, lambda: given(postgres_node, "a-1"))
    assert short.value.budgets == {KEY: 10}
    assert await given(second, "b-1", "bob") == 3
    assert await spent(second) == {"launch": 10}


async def test_a_batch_that_a_budget_cut_is_decided_again_behind_its_lock(
    postgres_node: Node, second: Node
) -> None:
    await postgres_node.apply(rules=[{**LAUNCH, "budget_points": 10}])
    assert await given(postgres_node, "a-1") == 7
    with pytest.raises(BudgetsShort):
        await saved(second, nothing)
    async with second.database.transaction() as tx:
        world, _ = await loaded(second, tx, "b-1", "bob")
        limits = world.budgets()
        behind = counts.Counts()
        await store_budgets.load(tx, behind, [KEY], limits=limits, short=limits, lock=True)
        assert behind.locked_budgets == {KEY}


@pytest.mark.parametrize(
    ("points", "limit", "before", "locked"),
    [
        (1, 1_000, {}, False),
        (1, 1_000, {KEY: 1_000}, True),
        (1, 1_000, {KEY: 500}, False),
        (1_000, 1_000, {KEY: 1_000}, False),
    ],
    ids=["plenty left", "known to be short", "was given more since", "used up"],
)
async def test_a_budget_is_locked_first_only_when_it_is_about_to_end(
    node: Node, points: int, limit: int, before: store_budgets.Limits, *, locked: bool
) -> None:
    async with node.database.transaction() as tx:
        await tx.insert(
            tables.budgets, [{"program_id": PROGRAM, "rule_id": "launch", "points": points}]
        )
        found = counts.Counts()
        await store_budgets.load(tx, found, [KEY], limits={KEY: limit}, short=before, lock=True)
    assert found.budgets == {KEY: points}
    assert found.locked_budgets == ({KEY} if locked else set())


async def test_64_callers_who_buy_and_return_leave_budgets_as_what_was_given(
    node: Node,
) -> None:
    await node.apply(rules=[LAUNCH, VISIT])

    async def buys_and_returns(at: int) -> None:
        for turn in range(3):
            await given(node, f"a-{at}-{turn}", f"m-{at}", pounds=at)
            if at % 3 == 0:
                await node.reverse(order(f"r-{at}-{turn}", f"a-{at}-{turn}"))

    await asyncio.gather(*[buys_and_returns(at) for at in range(1, CALLERS + 1)])
    assert await spent(node) == await counted(node)
    assert (await spent(node))["launch"] <= 1_000
    assert 1_900 < (await spent(node))["visit"] <= 2_000
    assert await node.verify() == []
