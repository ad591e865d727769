"""Members who become one: what caps, rules and remainders counted of both counts for one."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from guerdon.earning.v1 import earning_service_pb2 as pb
from tests.earning.callers import Caller, calling
from tests.earning.nodes import PROGRAM, order

BASE = {"rule_id": "base", "base": {"points": 1, "per_amount_minor": 100}}
DAY = {"cap_id": "day", "period": "PERIOD_DAY", "points": 100}
FOURTH = {"rule_id": "fourth", "nth": {"number": 4}, "bonus": {"points": 500}}
POINTS = {"currency_id": "points", "display_name": "Points"}

Shop = Callable[..., AbstractAsyncContextManager[Caller]]


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Shop:
    def made(**changes: object) -> AbstractAsyncContextManager[Caller]:
        return calling(database_url, tmp_path, **changes)

    return made


async def give_back(caller: Caller, activity_id: str) -> None:
    request = pb.ReverseActivityRequest(
        program_id=PROGRAM, order=order(f"r-{activity_id}", activity_id)
    )
    await caller.earning.ReverseActivity(request)


@pytest.mark.parametrize("way", ["claim", "merge"])
async def test_a_cap_of_the_day_is_not_there_twice_for_two_cards(shop: Shop, way: str) -> None:
    async with shop(rules=[BASE], caps=[DAY]) as caller:
        assert await caller.buy("a-1", "ann", 3_000) == 30
        assert await caller.buy("c-1", "card", 5_000) == 50
        await (caller.claim("card") if way == "claim" else caller.merge("card", "ann"))
        assert await caller.buy("a-2", "card", 4_000) == 20
        assert await caller.buy("a-3", "ann", 1_000) == 0
        assert await caller.verified() == []


async def test_what_is_returned_after_a_merge_comes_back_to_the_cap_of_who_goes_on(
    shop: Shop,
) -> None:
    async with shop(rules=[BASE], caps=[DAY]) as caller:
        await caller.buy("a-1", "ann", 5_000)
        await caller.buy("c-1", "card", 5_000)
        await caller.merge("card", "ann")
        await give_back(caller, "c-1")
        assert await caller.buy("a-2", "ann", 8_000) == 50
        assert await caller.verified() == []


async def test_a_fourth_purchase_is_the_fourth_of_both(shop: Shop) -> None:
    async with shop(rules=[BASE, FOURTH]) as caller:
        await caller.buy("a-1", "ann")
        await caller.buy("b-1", "bob")
        await caller.buy("c-1", "card")
        await caller.merge("card", "bob")
        await caller.merge("bob", "ann")
        assert await caller.buy("a-2", "ann") == 510
        assert await caller.buy("a-3", "card") == 10
        assert await caller.verified() == []


async def test_remainders_of_both_come_to_a_point(shop: Shop) -> None:
    async with shop(rules=[BASE], currencies=[{**POINTS, "carry_remainder": True}]) as caller:
        assert await caller.buy("a-1", "ann", 160) == 1
        assert await caller.buy("c-1", "card", 160) == 1
        await caller.merge("card", "ann")
        assert await caller.buy("a-2", "ann", 80) == 2
        assert await caller.verified() == []
