"""Returns before, between and after: whatever comes when, it comes out as if in order."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.earning.v1 import earning_service_pb2 as pb
from services.earning import wire
from services.earning.commands import Command
from services.earning.domain import ActivityId, ProgramId, Reversal
from services.earning.queries_reversals import ReversalQueries
from shared import errors
from tests.conftest import open_database
from tests.databases import EARNING
from tests.earning.nodes import PROGRAM, Node, order, prepared, purchase

Scope = tuple[list[tuple[int, int]], int]
"""Units of lines, or an amount; the whole without either."""
LINES = [(3, 1_000), (1, 550), (2, 0)]
TOTAL = 1_550

units = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 3)),
    min_size=1,
    max_size=3,
    unique_by=lambda x: x[0],
)
scopes: st.SearchStrategy[Scope] = st.one_of(
    units.map(lambda lines: (lines, 0)),
    st.integers(1, TOTAL).map(lambda amount: ([], amount)),
    st.just(([], 0)),
)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def shop(runner: asyncio.Runner) -> Iterator[Node]:
    with TemporaryDirectory() as folder:
        url = runner.run(EARNING.sqlite(Path(folder) / "earning.db"))
        database = runner.run(open_database(url))
        node = runner.run(prepared(database))
        yield node
        runner.run(node.group_commit.close())
        runner.run(database.dispose())


@pytest.fixture(scope="module")
def numbers() -> "count[int]":
    return count()


async def tell(
    node: Node, story: str, returns: Sequence[Scope], batches: list[int]
) -> list[tuple[object, ...]]:
    """Send everything in batches, the activity at the place that is named last; what came of it."""
    commands: list[Command] = [
        wire.reverse_from_proto(PROGRAM, ordered(story, number, each))
        for number, each in enumerate(returns)
    ]
    *sizes, place = batches
    bought = purchase(f"{story}-a", story, LINES)
    commands.insert(place, wire.record_from_proto(PROGRAM, bought))
    refused: dict[str, str] = {}
    while commands:
        size = sizes.pop(0) if sizes else len(commands)
        batch, commands = commands[:size], commands[size:]
        for command, result in zip(batch, await node.results(batch), strict=True):
            if isinstance(result, errors.Refusal):
                refused[getattr(command, "reversal_id", "")] = result.reason
    queries = ReversalQueries(node.database, node.queries._programs)
    page = await queries.reversals(
        ProgramId(PROGRAM), ActivityId(f"{story}-a"), page_size=1_000, page_token=""
    )
    shown = {str(each.reversal_id): each for each in page.reversals}
    return [
        outcome(shown.get(f"{story}-{number}"), refused.get(f"{story}-{number}", ""))
        for number in range(len(returns))
    ]


def ordered(story: str, number: int, scope: Scope) -> pb.ReversalOrder:
    return order(f"{story}-{number}", f"{story}-a", lines=scope[0], amount=scope[1])


def outcome(shown: Reversal | None, refused: str) -> tuple[object, ...]:
    """What a return took, or why it took nothing."""
    if shown is None:
        return (refused,)
    lines = [(each.line_number, each.quantity, each.points) for each in shown.lines]
    return (shown.rejected_reason, shown.points, shown.owed, shown.amount, lines)


@settings(max_examples=60, deadline=None)
@given(
    returns=st.lists(scopes, min_size=1, max_size=5),
    sizes=st.lists(st.integers(1, 3), max_size=5),
    data=st.data(),
)
def test_any_interleaving_of_an_activity_and_its_returns_comes_out_as_if_in_order(
    runner: asyncio.Runner,
    shop: Node,
    numbers: "count[int]",
    returns: list[Scope],
    sizes: list[int],
    data: st.DataObject,
) -> None:
    number = next(numbers)
    place = data.draw(st.integers(1, len(returns)))
    in_order = runner.run(tell(shop, f"x{number}", returns, [0]))
    mixed = runner.run(tell(shop, f"y{number}", returns, [*sizes, place]))
    # What a call that comes later is refused with, one that had waited is rejected with.
    assert [each if each[0] == "" else each[0] for each in mixed] == [
        each if each[0] == "" else each[0] for each in in_order
    ]
    books = [runner.run(shop.entries(f"{name}{number}")) for name in "xy"]
    deltas = [
        [(each.type, each.available_delta, each.debt_delta, each.lot_uses) for each in entries]
        for entries in books
    ]
    assert deltas[0] == deltas[1]
    assert runner.run(shop.verify()) == []


def test_the_story_is_told_in_batches(runner: asyncio.Runner, shop: Node) -> None:
    """The comparison above would say nothing if nothing ever waited."""
    waits = runner.run(shop.answer(wire.reverse_from_proto(PROGRAM, ordered("z", 0, ([], 5)))))
    assert isinstance(waits, Reversal)
    assert waits.state == "waiting"
