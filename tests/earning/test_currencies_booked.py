"""Several currencies on the database: processes that race, rows that were tampered with, jobs."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from prometheus_client import REGISTRY

from guerdon.earning.v1 import earning_service_pb2 as pb
from services.earning import explanations, tables, wire
from services.earning.domain import CurrencyId, MemberId, ProgramId, Wallet
from shared import errors
from shared.database import Database
from tests.earning.nodes import PROGRAM, START, Node, opened, order, purchase
from tests.earning.tampering import found_after

POINTS = {"currency_id": "points"}
MILES = {"currency_id": "miles"}
BASE = {"rule_id": "base", "base": {"points": 1, "per_amount_minor": 100}}
MILE = {"rule_id": "mile", "currency_id": "miles", "base": {"points": 3, "per_amount_minor": 200}}
CALLERS = 64


async def wallet(node: Node, currency_id: str, member_id: str = "ann") -> Wallet:
    found = await node.queries.wallet(
        ProgramId(PROGRAM), MemberId(member_id), CurrencyId(currency_id)
    )
    return found.wallet


async def both(node: Node, *rules: dict[str, object], **changes: object) -> None:
    await node.apply(**{"currencies": [POINTS, MILES], "rules": [BASE, MILE, *rules], **changes})


async def credit(node: Node, points: int, currency_id: str) -> None:
    request = pb.CreditPointsRequest(
        request_id=node.request_id(),
        program_id=PROGRAM,
        member_id="ann",
        points=points,
        currency_id=currency_id,
    )
    await node.answer(wire.credit_from_proto(request))


# Races -------------------------------------------------------------------------------------------


async def test_64_callers_of_two_processes_open_a_new_currency_s_wallet_once(
    node: Node, second: Node
) -> None:
    await node.record(purchase("a-0", amount=1_000))
    await both(node)

    async def act(at: int) -> None:
        process = (node, second)[at % 2]
        if at % 8 == 7:
            await credit(process, 5, "miles")
            return
        await process.record(purchase(f"b-{at}", amount=1_000))
        if at % 8 == 6:
            await process.reverse(order(f"r-{at}", f"b-{at}", amount=500))

    await asyncio.gather(*(act(at) for at in range(CALLERS)))
    assert (await wallet(node, "")).available == 10 + 56 * 10 - 8 * 5
    assert (await wallet(node, "miles")).available == 56 * 15 - 8 * 7 + 8 * 5
    assert await node.verify() == []


async def test_a_newcomer_records_reverses_and_gets_credits_in_one_batch(node: Node) -> None:
    await both(node)
    first = wire.record_from_proto(PROGRAM, purchase("a-1", amount=1_000))
    rest = [wire.record_from_proto(PROGRAM, purchase(f"b-{at}", amount=200)) for at in range(60)]
    reversal = wire.reverse_from_proto(PROGRAM, order("r-1", "a-1", amount=500))
    credited = wire.credit_from_proto(
        pb.CreditPointsRequest(
            request_id="c-1", program_id=PROGRAM, member_id="ann", points=5, currency_id="miles"
        )
    )
    results = await node.results([first, *rest, reversal, credited])
    assert not [each for each in results if isinstance(each, errors.Refusal)]
    assert (await wallet(node, "")).available == 5 + 120
    assert (await wallet(node, "miles")).available == 8 + 180 + 5
    assert await node.verify() == []


async def test_what_earned_nothing_of_the_first_currency_is_reversed_in_its_batch(
    node: Node,
) -> None:
    await both(node, rules=[MILE])
    made = wire.record_from_proto(PROGRAM, purchase("a-1", amount=1_000))
    reversal = wire.reverse_from_proto(PROGRAM, order("r-1", "a-1"))
    results = await node.results([made, reversal])
    assert not [each for each in results if isinstance(each, errors.Refusal)]
    assert (await wallet(node, "miles")).available == 0
    assert await node.verify() == []


# One currency ------------------------------------------------------------------------------------


async def test_a_program_with_one_currency_never_asks_for_further_ones(node: Node) -> None:
    async with node.database.transaction() as tx:
        for table in (tables.activity_earnings, tables.reversal_earnings):
            await tx.core.execute(sa.text(f"DROP TABLE {table.name}"))
    await node.record(purchase("a-1", amount=1_000))
    await node.reverse(order("r-1", "a-1", amount=500))
    await node.queries.preview(wire.record_from_proto(PROGRAM, purchase("a-2", amount=1_000)))
    page = await node.queries.activities(
        ProgramId(PROGRAM), MemberId("ann"), page_size=1, page_token=""
    )
    assert [each.points_reversed for each in page.records] == [5]


# Time --------------------------------------------------------------------------------------------


async def test_the_job_settles_the_wallets_of_every_currency(node: Node) -> None:
    ends = {"expiry": {"after_days": 10}}
    await both(node, currencies=[{**POINTS, "expiry": {"after_days": 20}}, {**MILES, **ends}])
    for member_id in ("ann", "bob"):
        await node.record(purchase(f"{member_id}-1", member_id, amount=1_000))
    await node.advance(days=15)
    await node.settle()
    assert [(await wallet(node, each, "bob")).expired for each in ("", "miles")] == [0, 15]
    await node.advance(days=15)
    await node.settle()
    assert [(await wallet(node, each, "bob")).expired for each in ("", "miles")] == [10, 15]
    assert await node.verify() == []


async def test_sliding_miles_live_on_by_an_earning_of_miles_alone(node: Node) -> None:
    slides = {"expiry": {"sliding_months": 1}}
    await both(
        node,
        currencies=[{**POINTS, **slides}, {**MILES, **slides}],
        rules=[{**BASE, "activity_types": ["purchase"]}, MILE],
    )
    await node.record(purchase("a-1", amount=1_000))
    await node.advance(days=25)
    later = START + timedelta(days=25)
    await node.record(purchase("v-1", amount=1_000, type_="visit", occurred=later))
    await node.advance(days=20)
    assert (await wallet(node, "")).available == 0
    assert (await wallet(node, "miles")).available == 30
    assert await node.verify() == []


# Explanations ------------------------------------------------------------------------------------


def failed(rule_id: str) -> float:
    labels = {"program": PROGRAM, "rule": rule_id}
    return REGISTRY.get_sample_value("guerdon_earning_rule_failures_total", labels) or 0.0


async def test_a_condition_that_goes_wrong_in_a_further_currency_is_kept_and_counted(
    node: Node,
) -> None:
    broken = {
        "rule_id": "broken-mile",
        "currency_id": "miles",
        "condition": 'activity.attributes["none"].integer_value > 1',
        "bonus": {"points": 5},
    }
    await both(node, rules=[BASE, broken])
    before = failed("broken-mile")
    recorded = await node.record(purchase("a-1", amount=1_000))
    assert recorded.further == ()
    assert failed("broken-mile") == before + 1
    page = await node.queries.activities(
        ProgramId(PROGRAM), MemberId("ann"), page_size=1, page_token=""
    )
    (kept,) = page.records[0].further
    assert kept.points == 0
    assert explanations.read(kept.explanation).rules[0].failed
    assert await node.verify() == []


# Verification ------------------------------------------------------------------------------------


@pytest.fixture
async def books(sqlite_node: Node) -> Node:
    """Something of everything, in two currencies, that nobody has tampered with."""
    node = sqlite_node
    await both(
        node,
        currencies=[POINTS, {**MILES, "pending_duration": "3600s"}],
        caps=[{"cap_id": "m", "period": "PERIOD_DAY", "points": 40, "currency_id": "miles"}],
    )
    await node.record(purchase("a-1", lines=[(2, 1_000), (1, 555)]))
    await node.record(purchase("a-2", amount=1_000))
    await node.record(purchase("b-1", "bob", amount=1_000))
    await node.reverse(order("r-1", "a-1", lines=[(1, 1)]))
    await node.reverse(order("r-2", "a-2", amount=500))
    assert await node.verify() == []
    return node


@pytest.fixture
async def sqlite_node(sqlite_database: Database) -> AsyncIterator[Node]:
    async with opened(sqlite_database) as made:
        yield made


TAMPERED = [
    (table, column.name)
    for table in (tables.activity_earnings, tables.reversal_earnings)
    for column in table.columns
    # The name of a reversal and what of it is owed are in its entry.
    if column.name not in {"reversal_id", "owed"}
]


@pytest.mark.parametrize(
    ("table", "name"), TAMPERED, ids=[f"{table.name}-{name}" for table, name in TAMPERED]
)
async def test_a_change_of_what_is_kept_of_further_currencies_is_found(
    books: Node, table: sa.Table, name: str
) -> None:
    async with books.database.reading() as tx:
        rows = await tx.fetch(sa.select(table))
    assert rows
    for row in rows:
        old = getattr(row, name)
        if name == "available_time":
            new: object = old + timedelta(seconds=1)
        else:
            new = old + 1 if isinstance(old, int) else f"{old}x"
        places = [key == getattr(row, key.name) for key in table.primary_key.columns]
        found = await found_after(books, sa.update(table).where(*places).values({name: new}))
        assert found, (row, new)
        if found == {"refused by the database"}:
            continue
        moved = [
            key == (new if key.name == name else getattr(row, key.name))
            for key in table.primary_key.columns
        ]
        back = sa.update(table).where(*moved).values({name: old})
        assert await found_after(books, back) == set()


@pytest.mark.parametrize("table", [tables.activity_earnings, tables.reversal_earnings])
async def test_a_removed_row_of_further_currencies_is_found(books: Node, table: sa.Table) -> None:
    async with books.database.reading() as tx:
        rows = await tx.fetch(sa.select(table))
    for row in rows[:1]:
        places = [key == getattr(row, key.name) for key in table.primary_key.columns]
        assert await found_after(books, sa.delete(table).where(*places))


async def test_progress_counts_each_wallet_once_however_many_a_member_has(node: Node) -> None:
    await both(node)
    for at in range(3):
        await node.record(purchase(f"a-{at}", f"m-{at}", amount=1_000))
    last: dict[str, tuple[int, int]] = {}
    async for progress in node.verification.run(""):
        last[progress.stage] = (progress.done, progress.total)
    assert last == {"wallets": (6, 6), "activities": (3, 3)}
