"""A large ledger is verified by processes of their own, which find what one process finds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import psutil
import pytest
import sqlalchemy as sa

from services.earning import documents, tables
from services.earning.audit_helpers import Helpers
from services.earning.auditing import Stage
from services.earning.domain import ProgramId
from services.earning.store_audit import Range
from services.earning.verification import Verification
from shared.database import Database
from shared.faults import ConnectionLost
from shared.rpc import loop
from tests.conftest import open_database
from tests.earning.nodes import PARTITIONS, PROGRAM, Node, opened, order, purchase

MEMBERS = [f"member-{number}" for number in range(7)]


@asynccontextmanager
async def spent(database: Database) -> AsyncIterator[Node]:
    """Seven members with two purchases each, some of which was spent or returned."""
    async with opened(database) as made:
        for name in MEMBERS:
            for number in (1, 2):
                await made.record(purchase(f"{name}-{number}", name, [(2, 2_000), (1, 999)]))
            hold = await made.hold(5, name)
            await made.capture(hold.hold_id, 3)
        await made.reverse(order("back", "member-1-1", lines=[(1, 1)]))
        yield made


@pytest.fixture
async def node(database: Database) -> AsyncIterator[Node]:
    async with spent(database) as made:
        yield made


@pytest.fixture
async def sqlite_node(sqlite_database: Database) -> AsyncIterator[Node]:
    async with spent(sqlite_database) as made:
        yield made


def helped(node: Node, step: int = 2) -> Verification:
    """A verification that leaves every range to helpers."""
    programs = documents.programs(PARTITIONS)
    steps = {Stage.WALLETS: step, Stage.ACTIVITIES: step}
    return Verification(node.database, programs, steps=steps, alone_max=0)


def helpers_running() -> list[psutil.Process]:
    return [
        each
        for each in psutil.Process().children()
        if each.status() != psutil.STATUS_ZOMBIE and "audit_helpers" in " ".join(each.cmdline())
    ]


async def test_helpers_verify_every_range_in_order_while_the_service_goes_on(node: Node) -> None:
    """Purchases are recorded between the first word of the verification and its last."""
    told: list[tuple[str, int, int]] = []
    async with aclosing(helped(node).run("")) as progress:
        async for each in progress:
            assert each.violations == ()
            told.append((each.stage, each.done, each.total))
            await node.record(purchase(f"meanwhile-{len(told)}", "member-3", [(1, 500)]))
    wallets = [each[1:] for each in told if each[0] == "wallets"]
    assert wallets == [(2, 7), (4, 7), (6, 7), (7, 7)]
    activities = [each[1:] for each in told if each[0] == "activities"]
    assert activities == sorted(activities)
    assert activities[-1][0] == activities[-1][1] >= 2 * len(MEMBERS)
    assert helpers_running() == []
    assert await node.verify() == []


async def test_helpers_find_what_one_process_finds(node: Node) -> None:
    async with node.database.transaction() as tx:
        await tx.core.execute(sa.update(tables.wallets).values(debt=tables.wallets.c.debt + 1))
        await tx.core.execute(sa.update(tables.activities).values(level_id="gold"))
    alone = await node.verify()
    assert {each.rule for each in alone} >= {"wallet_equals_entries", "activity_recomputed"}
    found = [each async for progress in helped(node, 3).run("") for each in progress.violations]
    assert sorted(found, key=str) == sorted(alone, key=str)


async def test_helpers_end_when_nobody_asks_any_more(sqlite_node: Node) -> None:
    async with aclosing(helped(sqlite_node).run("")) as progress:
        async for _ in progress:
            assert helpers_running()
            break
    assert helpers_running() == []


async def test_a_helper_that_was_killed_is_told(sqlite_node: Node) -> None:
    helpers = Helpers(sqlite_node.database)
    everything = Range(program_id=ProgramId(PROGRAM), after="", upto=None)
    try:
        assert (await helpers.audit(Stage.WALLETS, everything)).count == len(MEMBERS)
        for each in helpers_running():
            each.kill()
        with pytest.raises(ConnectionLost):
            await helpers.audit(Stage.WALLETS, everything)
    finally:
        await helpers.close()


def test_a_helper_that_ended_unasked_is_told_on_the_loop_of_a_service(sqlite_url: str) -> None:
    """On uvloop, where its closed input raises RuntimeError, which was INTERNAL to a caller."""

    async def ask() -> None:
        database = await open_database(sqlite_url)
        async with spent(database) as node:
            helpers = Helpers(node.database)
            helpers.count = 1
            everything = Range(program_id=ProgramId(PROGRAM), after="", upto=None)
            try:
                await helpers.audit(Stage.WALLETS, everything)
                for each in helpers_running():
                    each.kill()
                for _ in range(100):  # until the loop has seen it as well
                    await asyncio.sleep(0.01)
                with pytest.raises(ConnectionLost):
                    await helpers.audit(Stage.WALLETS, everything)
            finally:
                await helpers.close()
        await database.dispose()

    loop.run(ask())
