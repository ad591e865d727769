"""What users of other platforms suffer from, and must not here."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from services.earning.domain import EntryType
from services.earning.refusals import QuantityNotReturnable
from tests.earning.nodes import START, Node, order, purchase

BASE: dict[str, object] = {"rule_id": "base", "base": {"points": 1, "per_amount_minor": 100}}
TWICE: dict[str, object] = {"rule_id": "base", "base": {"points": 2, "per_amount_minor": 100}}
VISIT: dict[str, object] = {"rule_id": "visit", "activity_types": ["visit"], "flat": {"points": 1}}


@pytest.mark.parametrize(
    "rules_now", [[TWICE], [VISIT]], ids=["the rule gives twice as much now", "it was deleted"]
)
async def test_a_return_goes_by_the_rule_of_its_day(
    node: Node, rules_now: list[dict[str, object]]
) -> None:
    await node.apply(rules=[BASE])
    await node.record(purchase("a-1", lines=[(2, 5_000)]))
    await node.apply(rules=rules_now)
    half = await node.reverse(order("r-1", "a-1", lines=[(1, 1)]))
    rest = await node.reverse(order("r-2", "a-1", lines=[(1, 1)]))
    assert (half.points, rest.points) == (25, 25)
    assert (await node.wallet()).available == 0
    assert await node.verify() == []


async def test_what_was_returned_is_charged_once(node: Node) -> None:
    await node.record(purchase("a-1", lines=[(1, 5_000)]))
    first = await node.reverse(order("r-1", "a-1", lines=[(1, 1)]))
    assert await node.reverse(order("r-1", "a-1", lines=[(1, 1)])) == first
    with pytest.raises(QuantityNotReturnable):
        await node.reverse(order("r-2", "a-1", lines=[(1, 1)]))
    wallet = await node.wallet()
    assert (wallet.available, wallet.debt, wallet.reversed) == (0, 0, 50)


async def test_points_that_were_bought_with_a_return_are_owed(node: Node) -> None:
    await node.record(purchase("a-1", lines=[(1, 50_000)]))
    held = await node.hold(500)
    await node.capture(held.hold_id)
    returned = await node.reverse(order("r-1", "a-1"))
    wallet = await node.wallet()
    assert (returned.owed, wallet.available, wallet.debt) == (500, 0, 500)
    await node.record(purchase("a-2", lines=[(1, 60_000)]))
    wallet = await node.wallet()
    assert (wallet.available, wallet.debt) == (100, 0)


@pytest.mark.parametrize(
    ("before", "after", "ends"),
    [({}, {"after_months": 6}, [False, True]), ({"after_months": 6}, {}, [True, False])],
    ids=["for ever, then six months", "six months, then for ever"],
)
async def test_a_new_policy_dates_new_points_and_leaves_the_old_ones(
    node: Node, before: dict[str, object], after: dict[str, object], ends: Sequence[bool]
) -> None:
    def currency(expiry: dict[str, object]) -> list[dict[str, object]]:
        return [{"currency_id": "points", **({"expiry": expiry} if expiry else {})}]

    await node.apply(rules=[BASE], currencies=currency(before))
    await node.record(purchase("a-1", lines=[(1, 1_000)]))
    await node.apply(rules=[BASE], currencies=currency(after))
    await node.record(purchase("a-2", lines=[(1, 1_000)]))
    earned = [entry for entry in reversed(await node.entries()) if entry.type is EntryType.EARN]
    assert [entry.lot_expire_time is not None for entry in earned] == ends
    await node.advance(days=300)
    await node.settle()
    assert (await node.wallet()).available == 10
    assert await node.verify() == []


@pytest.mark.parametrize(
    ("prices", "points"),
    [([26_828], 268), ([10, 20], 0), ([33, 33, 34], 1), ([1] * 99, 0), ([1] * 100, 1)],
)
async def test_points_are_whole_whatever_the_prices(
    node: Node, prices: list[int], points: int
) -> None:
    await node.apply(rules=[BASE])
    await node.record(purchase("a-1", lines=[(1, price) for price in prices]))
    wallet = await node.wallet()
    assert (wallet.available, type(wallet.available)) == (points, int)


async def test_what_was_spent_and_then_ended_never_takes_the_balance_below_what_is_left(
    node: Node,
) -> None:
    currency = {"currency_id": "points", "expiry": {"after_days": 10}, "reminder_days": [0]}
    await node.apply(rules=[BASE], currencies=[currency])
    await node.record(purchase("a-1", lines=[(1, 10_000)]))
    held = await node.hold(70)
    await node.capture(held.hold_id)
    await node.advance(days=5)
    later = START + timedelta(days=5)
    await node.record(purchase("a-2", lines=[(1, 4_000)], occurred=later))
    await node.advance(days=7)
    await node.settle()
    wallet = await node.wallet()
    assert (wallet.available, wallet.expired, wallet.spent) == (40, 30, 70)
    await node.advance(days=30)
    await node.settle()
    wallet = await node.wallet()
    assert (wallet.available, wallet.expired) == (0, 70)
    assert await node.verify() == []
