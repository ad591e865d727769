"""Sentences of the specification that no other test shows, through the API.

Equal ids of two programs never meet; a refusal is repeated as well; the window for `occurred_time`
is asked after the key; the calendar is the program's; an entry names the level and the version
that decided; pending points are of no use before their time.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from guerdon.clock.v1 import clock_service_pb2 as clock_pb
from guerdon.clock.v1.clock_service_pb2_grpc import ClockServiceStub
from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from tests.earning.callers import Caller, calling, refused
from tests.earning.nodes import PROGRAM, START, document, purchase, stamp

BASE: dict[str, object] = {"rule_id": "base", "base": {"points": 1, "per_amount_minor": 100}}


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
    async with shop() as made:
        yield made


async def advance(caller: Caller, later: timedelta) -> None:
    request = clock_pb.AdvanceClockRequest(to=stamp(START + later))
    await ClockServiceStub(caller.channel).AdvanceClock(request)


async def earned(caller: Caller, *activities: activity_pb2.Activity) -> list[int]:
    return [(await caller.record(each)).record.points for each in activities]


def paid(activity_id: str, amount: int, when: datetime = START) -> activity_pb2.Activity:
    return purchase(activity_id, amount=amount, occurred=when)


# Programs ----------------------------------------------------------------------------------------


async def test_equal_ids_in_two_programs_never_meet(caller: Caller) -> None:
    other = document(
        program_id="other", rules=[{**BASE, "base": {"points": 3, "per_amount_minor": 100}}]
    )
    await caller.earning.ApplyEarningProgram(pb.ApplyEarningProgramRequest(program=other))
    made = purchase("a-1", amount=1_000, receipt="r-1")
    answers = [
        await caller.earning.RecordActivity(
            pb.RecordActivityRequest(program_id=each, activity=made)
        )
        for each in (PROGRAM, "other")
    ]
    assert [each.record.points for each in answers] == [10, 30]
    keys = set()
    for program_id, points in ((PROGRAM, 10), ("other", 30)):
        ann = pb.GetWalletRequest(program_id=program_id, member_id="ann")
        assert (await caller.earning.GetWallet(ann)).wallet.points_available == points
        credit = pb.CreditPointsRequest(
            request_id="same", program_id=program_id, member_id="ann", points=points, reason="x"
        )
        await caller.earning.CreditPoints(credit)
        assert (await caller.earning.GetWallet(ann)).wallet.points_available == 2 * points
        keys.add(
            (
                await caller.earning.EnrollMember(
                    pb.EnrollMemberRequest(request_id="e", program_id=program_id, member_id="bob")
                )
            ).member.member_key
        )
    assert len(keys) == 2
    assert await caller.verified() == []


# Keys ---------------------------------------------------------------------------------------------


async def test_a_refusal_is_answered_again_though_the_same_would_be_taken_by_now(
    caller: Caller,
) -> None:
    await caller.enroll()
    asked = pb.HoldPointsRequest(request_id="h-1", program_id=PROGRAM, member_id="ann", points=10)
    first = await refused(caller.earning.HoldPoints(asked))
    assert first[1] == "INSUFFICIENT_POINTS"
    await caller.credit(50)
    assert await refused(caller.earning.HoldPoints(asked)) == first
    assert (await caller.wallet()).points_held == 0
    await caller.hold(10)


async def test_the_window_of_occurred_time_is_asked_after_the_key(caller: Caller) -> None:
    made = paid("a-1", 1_000)
    first = await caller.record(made)
    await advance(caller, timedelta(days=500))
    assert await caller.record(made) == first
    late = await refused(caller.record(paid("a-2", 1_000)))
    assert late[1] == "OCCURRED_TIME_NOT_ACCEPTED"
    assert (await caller.wallet()).points_available == 10


# Calendars ----------------------------------------------------------------------------------------

HAPPY: dict[str, object] = {
    "rule_id": "eighth",
    "schedule": {"recurrence": "FREQ=MONTHLY;BYMONTHDAY=8"},
    "multiplier": {"numerator": 2, "denominator": 1},
}


@pytest.mark.parametrize(
    ("zone", "points"),
    # Seven in the evening of 7 June in UTC is the 8th in Shanghai, and noon in Los Angeles.
    [("Asia/Shanghai", [20, 20, 10]), ("UTC", [10, 20, 20]), ("America/Los_Angeles", [10, 10, 20])],
)
async def test_the_8th_is_that_of_the_programs_zone_at_occurred_time(
    shop: Calling, zone: str, points: list[int]
) -> None:
    async with shop(time_zone=zone, rules=[BASE, HAPPY]) as caller:
        await advance(caller, timedelta(days=30))
        instants = [
            datetime(2025, 6, 7, 19, tzinfo=UTC),
            datetime(2025, 6, 8, 1, tzinfo=UTC),
            datetime(2025, 6, 8, 19, tzinfo=UTC),
        ]
        bought = [paid(f"a-{at}", 1_000, when) for at, when in enumerate(instants)]
        assert await earned(caller, *bought) == points


async def test_occurred_time_decides_calendars_and_the_server_orders_the_ledger(
    shop: Calling,
) -> None:
    async with shop(rules=[BASE, HAPPY]) as caller:
        await advance(caller, timedelta(days=20))
        late = paid("late", 1_000, datetime(2025, 6, 15, tzinfo=UTC))
        early = paid("early", 1_000, datetime(2025, 6, 8, 12, tzinfo=UTC))
        assert await earned(caller, late, early) == [10, 20]
        newest, oldest = await caller.entries()
        assert [newest.activity_id, oldest.activity_id] == ["early", "late"]
        now = (START + timedelta(days=20)).replace(tzinfo=UTC)
        assert newest.create_time.ToDatetime(tzinfo=UTC) == now


# What decided ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "points"),
    [
        ("MULTIPLIER_POLICY_MULTIPLY", 1_000),
        ("MULTIPLIER_POLICY_ADD", 600),
        ("MULTIPLIER_POLICY_BEST", 500),
    ],
)
async def test_a_first_purchase_at_5x_on_a_2x_day_is_booked_by_the_policy_and_explained(
    shop: Calling, policy: str, points: int
) -> None:
    first = {
        "rule_id": "first",
        "nth": {"number": 1},
        "multiplier": {"numerator": 5, "denominator": 1},
    }
    day = {"rule_id": "day", "multiplier": {"numerator": 2, "denominator": 1}}
    async with shop(multiplier_policy=policy, rules=[BASE, first, day]) as caller:
        assert await earned(caller, paid("a-1", 10_000)) == [points]
        request = pb.ExplainEntryRequest(program_id=PROGRAM, member_id="ann", sequence=1)
        entry = (await caller.earning.ExplainEntry(request)).entry
        explanation = entry.explanation
        assert explanation.program_version == 1
        assert [each.matched for each in explanation.rules] == [True, True, True]
        assert sum(each.points_granted for each in explanation.rules) == points
        assert await earned(caller, paid("a-2", 10_000)) == [200]


@pytest.mark.parametrize(
    ("rounding", "points"),
    [
        ("ROUNDING_UNSPECIFIED", [0, 1, 2, 2]),
        ("ROUNDING_FLOOR", [0, 1, 2, 2]),
        ("ROUNDING_HALF_EVEN", [0, 2, 2, 3]),
        ("ROUNDING_HALF_UP", [1, 2, 3, 3]),
        ("ROUNDING_CEIL", [1, 2, 3, 3]),
    ],
)
async def test_a_half_point_is_rounded_as_the_program_says(
    shop: Calling, rounding: str, points: list[int]
) -> None:
    # Half a point, one and a half, two and a half, and a little more than that.
    async with shop(rules=[BASE], rounding=rounding) as caller:
        bought = [paid(f"a-{at}", amount) for at, amount in enumerate((50, 150, 250, 251))]
        assert await earned(caller, *bought) == points


async def test_unknown_members_are_enrolled_by_their_first_activity_or_refused(
    shop: Calling,
) -> None:
    async with shop(enroll_unknown_members=False) as caller:
        unknown = await refused(caller.record(paid("a-1", 1_000)))
        assert unknown[1] == "MEMBER_NOT_FOUND"
        await caller.enroll()
        assert await earned(caller, paid("a-2", 1_000)) == [10]


async def test_pending_points_are_not_spent_not_given_and_not_shown_as_there(
    shop: Calling,
) -> None:
    currency = {
        "currency_id": "points",
        "pending_duration": "86400s",
        "expiry": {"after_days": 10},
    }
    async with shop(currencies=[currency]) as caller:
        await caller.enroll("bob")
        assert await earned(caller, paid("a-1", 1_000)) == [10]
        wallet = await caller.wallet()
        assert (wallet.points_available, wallet.points_pending) == (0, 10)
        assert (await refused(caller.hold(1)))[1] == "INSUFFICIENT_POINTS"
        assert (await refused(caller.transfer(1)))[1] == "INSUFFICIENT_POINTS"
        await advance(caller, timedelta(days=1))
        wallet = await caller.wallet()
        assert (wallet.points_available, wallet.points_pending) == (10, 0)
        # Ten days from when they became available, to the end of the day in London.
        (end,) = wallet.expiring
        assert end.expire_time.ToDatetime(tzinfo=UTC) == datetime(2025, 6, 12, 23, tzinfo=UTC)
        await caller.hold(10)


async def test_a_wallet_shows_what_was_earned_spent_ended_and_what_ends_when(
    shop: Calling,
) -> None:
    currency = {"currency_id": "points", "expiry": {"after_days": 10}, "reminder_days": [0]}
    async with shop(currencies=[currency]) as caller:
        await earned(caller, paid("a-1", 10_000))
        await caller.capture(await caller.hold(30))
        await advance(caller, timedelta(days=5))
        await earned(caller, paid("a-2", 5_000, START + timedelta(days=5)))
        held = await caller.hold(20)
        wallet = await caller.wallet()
        assert (wallet.points_available, wallet.points_held) == (100, 20)
        assert [each.points for each in wallet.expiring] == [50, 50]
        await caller.void(held)
        await advance(caller, timedelta(days=11))
        wallet = await caller.wallet()
        assert (wallet.points_available, wallet.points_earned) == (50, 150)
        assert (wallet.points_spent, wallet.points_expired) == (30, 70)
        assert await caller.verified() == []
