"""What users of other platforms suffer from, P1 to P18, through the API; each by its name.

Further ones of the same kind are in test_regressions.py; what tiers and redemption have to do with
them is in tests/programs/test_pains.py.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import grpc
import pytest

from guerdon.clock.v1 import clock_service_pb2 as clock_pb
from guerdon.clock.v1.clock_service_pb2_grpc import ClockServiceStub
from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from shared.rpc.client import refusal_of
from tests.earning.callers import Caller, calling, refused
from tests.earning.nodes import PROGRAM, START, document, order, purchase, stamp

BASE: dict[str, object] = {"rule_id": "base", "base": {"points": 1, "per_amount_minor": 100}}
DATED: dict[str, object] = {"currency_id": "points", "expiry": {"after_months": 6}}


class Calling(Protocol):
    def __call__(self, **changes: object) -> AbstractAsyncContextManager[Caller]: ...


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Calling:
    """Opens a shop whose program differs from the usual one."""

    def opened(**changes: object) -> AbstractAsyncContextManager[Caller]:
        return calling(database_url, tmp_path, **changes)

    return opened


@pytest.fixture
async def caller(shop: Calling) -> AsyncIterator[Caller]:
    async with shop(rules=[BASE]) as made:
        yield made


def bought(activity_id: str, amount: int, when: datetime = START) -> activity_pb2.Activity:
    return purchase(activity_id, amount=amount, occurred=when)


async def earned(caller: Caller, *activities: activity_pb2.Activity) -> list[int]:
    return [(await caller.record(each)).record.points for each in activities]


async def back(
    caller: Caller, reversal_id: str, activity_id: str = "a-1", *, amount: int = 0
) -> activity_pb2.Reversal:
    made = order(reversal_id, activity_id, amount=amount)
    request = pb.ReverseActivityRequest(program_id=PROGRAM, order=made)
    return (await caller.earning.ReverseActivity(request)).reversal


async def applied(caller: Caller, **changes: object) -> None:
    request = pb.ApplyEarningProgramRequest(program=document(**changes))
    request.options.prune = True
    await caller.earning.ApplyEarningProgram(request)


async def advance(caller: Caller, later: timedelta) -> None:
    request = clock_pb.AdvanceClockRequest(to=stamp(START + later))
    await ClockServiceStub(caller.channel).AdvanceClock(request)


async def balance(caller: Caller) -> int:
    return (await caller.wallet()).points_available


async def test_p1_a_purchase_that_is_sent_again_and_by_two_tabs_at_once_earns_once(
    caller: Caller,
) -> None:
    made = purchase("a-1", amount=1_000, receipt="till 7, 42")
    answers = await asyncio.gather(*(caller.record(made) for _ in range(20)))
    assert all(each == answers[0] for each in answers)
    other_key = purchase("a-2", amount=1_000, receipt="till 7, 42")
    assert (await refused(caller.record(other_key)))[1] == "EXTERNAL_REFERENCE_REUSED"
    assert await balance(caller) == 10


async def test_p2_whoever_buys_spends_and_returns_owes_the_points(caller: Caller) -> None:
    await caller.record(bought("a-1", 10_000))
    await caller.capture(await caller.hold(100))
    assert (await back(caller, "r-1")).points_owed == 100
    wallet = await caller.wallet()
    assert (wallet.points_available, wallet.points_debt) == (0, 100)


async def test_p3_a_return_that_is_sent_again_takes_nothing_more(caller: Caller) -> None:
    await earned(caller, bought("a-1", 10_000), bought("a-2", 10_000))
    first = await back(caller, "r-1")
    assert await back(caller, "r-1") == first
    request = pb.ReverseActivityRequest(program_id=PROGRAM, order=order("r-2", "a-1"))
    await refused(caller.earning.ReverseActivity(request))
    assert await balance(caller) == 100


@pytest.mark.parametrize(
    ("amounts", "points"),
    # An order of 5 pounds of which 176 points paid 88 pence; it earned 4 points.
    [([0], [176]), ([100, 400], [35, 141]), ([500], [176])],
)
async def test_p5_what_was_paid_in_points_comes_back_as_points_and_never_as_more(
    caller: Caller, amounts: list[int], points: list[int]
) -> None:
    await caller.enroll()
    await caller.credit(176)
    held = await caller.capture(await caller.hold(176))
    made = bought("a-1", 500)
    made.payment.paid_in_points_minor = 88
    made.payment.points_hold_id = held.hold_id
    assert await earned(caller, made) == [4]
    returns = [await back(caller, f"r-{at}", amount=each) for at, each in enumerate(amounts)]
    assert [each.given_back.points for each in returns] == points
    wallet = await caller.wallet()
    assert (wallet.points_available, wallet.points_spent, wallet.points_debt) == (176, 0, 0)
    assert await caller.verified() == []


@pytest.mark.parametrize("amount", [1, 99, 3_333, 9_999])
async def test_p6_a_partial_refund_takes_its_part_and_the_last_one_the_rest(
    caller: Caller, amount: int
) -> None:
    await caller.record(bought("a-1", 10_000))
    taken = [(await back(caller, "r-1", amount=amount)).points]
    assert taken == [amount // 100]
    taken.append((await back(caller, "r-2", amount=10_000 - amount)).points)
    assert sum(taken) == 100
    assert await balance(caller) == 0


@pytest.mark.parametrize(
    "now",
    [[{**BASE, "base": {"points": 2, "per_amount_minor": 100}}], []],
    ids=["twice as much now", "no rule any more"],
)
async def test_p7_a_return_takes_what_the_rule_of_the_purchase_gave(
    caller: Caller, now: list[dict[str, object]]
) -> None:
    await caller.record(bought("a-1", 5_000))
    await applied(caller, rules=now)
    assert (await back(caller, "r-1")).points == 50
    assert await balance(caller) == 0


@pytest.mark.parametrize(
    ("amount", "points"),
    [(26_828, 268), (1, 0), (99, 0), (100, 1), (29, 0), (115_000_000_001, 1_150_000_000)],
)
async def test_p8_points_are_whole_and_no_cent_is_lost_or_made_up(
    caller: Caller, amount: int, points: int
) -> None:
    assert await earned(caller, bought("a-1", amount)) == [points]
    thirds = [amount // 3, amount // 3, amount - 2 * (amount // 3)]
    taken = [
        (await back(caller, f"r-{at}", amount=each)).points
        for at, each in enumerate(thirds)
        if each
    ]
    assert sum(taken) == points
    assert await balance(caller) == 0


async def test_p9_points_that_were_spent_do_not_end_a_second_time(shop: Calling) -> None:
    async with shop(rules=[BASE], currencies=[DATED]) as caller:
        await caller.record(bought("a-1", 10_000))
        await caller.credit(50)
        await caller.capture(await caller.hold(80))
        assert await balance(caller) == 70
        await advance(caller, timedelta(days=100))
        await caller.record(bought("a-2", 1_000, START + timedelta(days=100)))
        await advance(caller, timedelta(days=190))
        # Gifts end as well as what was earned; what is left is what came later.
        wallet = await caller.wallet()
        assert (wallet.points_available, wallet.points_expired) == (10, 70)


async def test_p10_points_wait_end_and_are_told_of_ahead(shop: Calling) -> None:
    currency = {**DATED, "pending_duration": "1209600s", "reminder_days": [30]}
    async with shop(rules=[BASE], currencies=[currency]) as caller:
        await caller.record(bought("a-1", 10_000))
        key = (await caller.get()).member_key
        wallet = await caller.wallet()
        assert (wallet.points_available, wallet.points_pending) == (0, 100)
        await advance(caller, timedelta(days=14))
        (end,) = (await caller.wallet()).expiring
        # Six months from 15 June on: usable on 15 December, and no longer.
        assert end.expire_time.ToDatetime(tzinfo=UTC) == datetime(2025, 12, 16, tzinfo=UTC)
        await advance(caller, timedelta(days=170))
        for _ in range(200):
            events = [each.payload for each in await caller.events(key)]
            told = [each.type_url.rpartition(".")[2] for each in events]
            if "PointsExpiring" in told:
                break
            await asyncio.sleep(0.05)
        assert told.count("PointsExpiring") == 1
        await advance(caller, timedelta(days=200))
        assert (await caller.wallet()).points_expired == 100


@pytest.mark.parametrize(
    ("zone", "end"),
    [
        ("Asia/Shanghai", "2025-12-01T16:00:00+00:00"),
        ("Europe/London", "2025-12-02T00:00:00+00:00"),
        ("America/New_York", "2025-12-02T05:00:00+00:00"),
    ],
)
async def test_p11_points_end_at_midnight_of_the_programs_zone(
    shop: Calling, zone: str, end: str
) -> None:
    async with shop(rules=[BASE], currencies=[DATED], time_zone=zone) as caller:
        await caller.record(bought("a-1", 1_000))
        (expiring,) = (await caller.wallet()).expiring
        assert expiring.expire_time.ToDatetime(tzinfo=UTC).isoformat() == end


async def test_p12_a_new_policy_neither_dates_old_points_nor_frees_them(shop: Calling) -> None:
    never = {"currency_id": "points"}
    async with shop(rules=[BASE], currencies=[never]) as caller:
        await caller.record(bought("a-1", 1_000))
        await applied(caller, rules=[BASE], currencies=[DATED])
        await caller.record(bought("a-2", 2_000))
        await applied(caller, rules=[BASE], currencies=[never])
        await caller.record(bought("a-3", 4_000))
        assert [each.points for each in (await caller.wallet()).expiring] == [20]
        await advance(caller, timedelta(days=399))
        assert await balance(caller) == 50


async def test_p14_an_order_paid_with_points_that_is_cancelled_leaves_the_balance_of_before(
    caller: Caller,
) -> None:
    await caller.record(bought("a-0", 5_000))
    assert await balance(caller) == 50
    held = await caller.capture(await caller.hold(40))
    made = bought("a-1", 2_000)
    made.payment.paid_in_points_minor = 400
    made.payment.points_hold_id = held.hold_id
    assert await earned(caller, made) == [16]
    assert await balance(caller) == 26
    cancelled = await back(caller, "r-1")
    assert (cancelled.points, cancelled.given_back.points) == (16, 40)
    assert await balance(caller) == 50


@pytest.mark.parametrize(("earn_on", "points"), [("EARN_ON_NET", 160), ("EARN_ON_GROSS", 200)])
async def test_p15_the_program_says_whether_the_part_paid_in_points_earns(
    shop: Calling, earn_on: str, points: int
) -> None:
    async with shop(rules=[BASE], earn_on=earn_on) as caller:
        made = bought("a-1", 20_000)
        made.payment.paid_in_points_minor = 4_000
        assert await earned(caller, made) == [points]


async def test_p16_the_same_5_points_are_spent_once_whoever_races(caller: Caller) -> None:
    await caller.enroll()
    await caller.credit(5)

    async def spend() -> str:
        try:
            await caller.capture(await caller.hold(5))
        except grpc.aio.AioRpcError as error:
            return refusal_of(error).reason
        return "spent"

    told = await asyncio.gather(*(spend() for _ in range(64)))
    assert told.count("spent") == 1
    assert set(told) == {"spent", "INSUFFICIENT_POINTS"}
    wallet = await caller.wallet()
    assert (wallet.points_available, wallet.points_spent) == (0, 5)


@pytest.mark.parametrize(
    ("stage", "points"), [("STAGE_AFTER_MULTIPLIERS", 500), ("STAGE_BASE", 1_000)]
)
async def test_p17_an_order_of_900_earns_no_more_than_its_cap(
    shop: Calling, stage: str, points: int
) -> None:
    double = {"rule_id": "double", "multiplier": {"numerator": 2, "denominator": 1}}
    cap = {"cap_id": "order", "period": "PERIOD_ACTIVITY", "points": 500, "stage": stage}
    async with shop(rules=[BASE, double], caps=[cap]) as caller:
        answer = (await caller.record(bought("a-1", 90_000))).record
        assert (answer.points, answer.explanation.points_wanted) == (points, 1_800)


@pytest.mark.parametrize(("carries", "points"), [(True, [0, 1, 0, 1]), (False, [0, 0, 0, 0])])
async def test_p18_30_and_20_at_a_point_for_50_are_one_point_where_the_program_says_so(
    shop: Calling, *, carries: bool, points: list[int]
) -> None:
    fifty = {**BASE, "base": {"points": 1, "per_amount_minor": 5_000}}
    currency = {"currency_id": "points", "carry_remainder": carries}
    async with shop(rules=[fifty], currencies=[currency]) as caller:
        amounts = [3_000, 2_000, 4_999, 1]
        bought_all = [bought(f"a-{at}", each) for at, each in enumerate(amounts)]
        assert await earned(caller, *bought_all) == points
