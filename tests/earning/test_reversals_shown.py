"""A return is shown as it was answered, and nothing of what it took can be changed unseen."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from services.earning import tables
from services.earning.domain import ActivityId, ProgramId, ReversalId
from services.earning.queries_reversals import ReversalQueries
from tests.earning.callers import Caller, calling
from tests.earning.nodes import PROGRAM, Node, order, purchase

CURRENCIES = [{"currency_id": "points"}, {"currency_id": "miles"}, {"currency_id": "stars"}]
RULES = [
    {
        "rule_id": f"of-{currency}",
        "currency_id": currency,
        "base": {"points": points, "per_amount_minor": 100},
    }
    for currency, points in (("points", 1), ("miles", 3))
]
CHANGES: dict[str, object] = {"currencies": CURRENCIES, "rules": RULES}
LINES = [(3, 1_000), (2, 550)]


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(database_url, tmp_path, **CHANGES) as made:
        yield made


async def back(
    caller: Caller, reversal_id: str, lines: Sequence[tuple[int, int]] = (), amount: int = 0
) -> activity_pb2.Reversal:
    made = order(reversal_id, "a-1", lines=lines, amount=amount)
    request = pb.ReverseActivityRequest(program_id=PROGRAM, order=made)
    return (await caller.earning.ReverseActivity(request)).reversal


async def shown(caller: Caller) -> list[activity_pb2.Reversal]:
    """What ListReversals shows, which GetReversal shows as well."""
    request = pb.ListReversalsRequest(program_id=PROGRAM, activity_id="a-1")
    found = list((await caller.earning.ListReversals(request)).reversals)
    for each in found:
        one = pb.GetReversalRequest(
            program_id=PROGRAM, activity_id="a-1", reversal_id=each.reversal_id
        )
        assert (await caller.earning.GetReversal(one)).reversal == each
    return found


async def test_a_return_by_lines_is_shown_with_each_line_s_points_of_every_currency(
    caller: Caller,
) -> None:
    """The clock stands still: several returns of one instant are shown each as it was answered."""
    await caller.record(purchase("a-1", lines=LINES))
    answered = [
        await back(caller, name, lines)
        for name, lines in (
            ("v-9", [(1, 1), (2, 1)]),
            ("v-5", [(1, 1)]),
            ("v-1", [(1, 1), (2, 1)]),
        )
    ]
    told = [list(each.further_reversals[0].line_points) for each in answered]
    assert told == [[10, 8], [10], [10, 8]]
    assert sorted(await shown(caller), key=lambda each: each.reversal_id) == answered[::-1]
    assert await caller.verified() == []


async def test_a_return_by_amount_is_shown_without_lines(caller: Caller) -> None:
    await caller.record(purchase("a-1", lines=LINES))
    answered = await back(caller, "v-1", amount=700)
    assert not answered.further_reversals[0].line_points
    assert await shown(caller) == [answered]
    assert await caller.verified() == []


async def test_what_could_not_be_taken_is_shown_though_nothing_was_taken(
    database_url: str, tmp_path: Path
) -> None:
    changes = {**CHANGES, "reversal_policy": "REVERSAL_POLICY_WITHIN_BALANCE"}
    async with calling(database_url, tmp_path, **changes) as caller:
        await caller.record(purchase("a-1", lines=LINES))
        hold = pb.HoldPointsRequest(**caller.key(), member_id="ann", points=46, currency_id="miles")
        held = (await caller.earning.HoldPoints(hold)).hold
        await caller.earning.CaptureHold(
            pb.CaptureHoldRequest(**caller.key(), hold_id=held.hold_id)
        )
        answered = await back(caller, "v-1", [(1, 3), (2, 1)])
        (miles,) = answered.further_reversals
        assert (miles.points, list(miles.line_points)) == (0, [30, 8])
        assert await shown(caller) == [answered]
        assert await caller.verified() == []


# Verification ------------------------------------------------------------------------------------


async def returned(node: Node) -> None:
    await node.apply(**CHANGES)
    for name in ("a-1", "a-2"):
        await node.record(purchase(name, lines=LINES))
        await node.reverse(order(f"v-{name}", name, lines=[(1, 1), (2, 1)]))
        await node.reverse(order(f"w-{name}", name, lines=[(1, 2)]))
    assert await node.verify() == []


async def rules_after(node: Node, *changes: sa.Update | sa.Delete) -> set[str]:
    async with node.database.transaction() as tx:
        for change in changes:
            await tx.core.execute(change)
    return {each.rule for each in await node.verify()}


@pytest.mark.parametrize("text", ["[10,9]", "[10]", "[]", "[10,8,0]", "{", '["x",8]', "[9,9]", "8"])
async def test_shares_of_lines_that_were_changed_are_found(node: Node, text: str) -> None:
    await returned(node)
    taken = tables.reversal_earnings
    change = sa.update(taken).where(taken.c.reversal_id == "v-a-1").values(line_points=text)
    assert await rules_after(node, change) == {"activity_reversals"}


CHILDREN = ("activity_lines", "reversals", "receipts", "activity_earnings", "reversal_earnings")


@pytest.mark.parametrize("is_plain", [True, False], ids=["one-currency", "two-currencies"])
async def test_an_activity_that_was_removed_with_all_that_hangs_on_it_is_found(
    node: Node, *, is_plain: bool
) -> None:
    if is_plain:
        await node.record(purchase("a-1", lines=LINES, receipt="r-1"))
        await node.record(purchase("a-2", lines=LINES))
    else:
        await returned(node)
    found = [tables.metadata.tables[name] for name in (*CHILDREN, "activities")]
    changes = [sa.delete(each).where(each.c.activity_id == "a-1") for each in found]
    assert "activity_entry" in await rules_after(node, *changes)


async def test_what_was_stored_before_lines_were_told_of_is_shown_without_them_and_verifies(
    node: Node,
) -> None:
    await returned(node)
    older = sa.update(tables.reversal_earnings).values(line_points="")
    assert await rules_after(node, older) == set()
    await node.record(purchase("a-3", lines=LINES))
    await node.reverse(order("v-a-3", "a-3", lines=[(1, 1)]))
    assert await node.verify() == []
    queries = ReversalQueries(node.database, node.programs)
    told = {
        name: (
            await queries.reversal(ProgramId(PROGRAM), ActivityId(name), ReversalId(f"v-{name}"))
        ).further[0]
        for name in ("a-1", "a-3")
    }
    assert {name: (each.points, each.line_points) for name, each in told.items()} == {
        "a-1": (18, ()),
        "a-3": (10, (10,)),
    }
