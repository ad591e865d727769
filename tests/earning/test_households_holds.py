"""What members of a household spend together: whose points go first, and where they come back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from guerdon.clock.v1 import clock_service_pb2 as clock_pb
from guerdon.clock.v1.clock_service_pb2_grpc import ClockServiceStub
from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import ledger_pb2
from guerdon.earning.v1 import points_service_pb2 as points_pb
from guerdon.feed.v1 import feed_service_pb2 as feed_pb
from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceStub
from tests.earning.callers import Caller, calling, refused
from tests.earning.nodes import PROGRAM, START, purchase, stamp

POLICY: dict[str, object] = {"max_members": 4, "cool_off_days": 30}
DATED: dict[str, object] = {
    "currency_id": "points",
    "expiry": {"after_days": 10},
    "reminder_days": [0],
}
STATE = ledger_pb2.Hold.State


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(database_url, tmp_path, households=POLICY) as made:
        for name in ("ann", "bob", "cy"):
            await made.enroll(name)
        yield made


@asynccontextmanager
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    """Points end on the tenth day."""
    async with calling(database_url, tmp_path, households=POLICY, currencies=[DATED]) as made:
        for name in ("ann", "bob", "cy"):
            await made.enroll(name)
        yield made


async def advance(caller: Caller, days: float) -> None:
    later = stamp(START + timedelta(days=days))
    await ClockServiceStub(caller.channel).AdvanceClock(clock_pb.AdvanceClockRequest(to=later))


async def quiet(caller: Caller) -> None:
    """Until no job is due."""
    feed = FeedServiceStub(caller.channel)
    while (await feed.GetHeads(feed_pb.GetHeadsRequest())).jobs_due:
        pass


async def available(caller: Caller, *members: str) -> list[int]:
    return [(await caller.wallet(each)).points_available for each in members]


def shares(hold: ledger_pb2.Hold) -> dict[str, tuple[int, int, int]]:
    return {
        each.member_id: (each.points, each.points_captured, each.points_refunded)
        for each in hold.shares
    }


async def test_a_household_spends_what_no_member_has_alone(caller: Caller) -> None:
    await caller.credit(60, "bob")
    await caller.credit(50, "ann")
    household_id = await caller.house("ann", "bob")
    assert await refused(caller.hold(100)) == ("FAILED_PRECONDITION", "INSUFFICIENT_POINTS")
    hold = await caller.pool(100)
    assert hold.household_id == household_id
    assert (hold.member_id, hold.points) == ("ann", 100)
    assert shares(hold) == {"ann": (50, 0, 0), "bob": (50, 0, 0)}
    assert await available(caller, "ann", "bob") == [0, 10]
    spent = await caller.capture(hold)
    assert (spent.state, spent.points_captured) == (STATE.STATE_CAPTURED, 100)
    assert shares(spent) == {"ann": (50, 50, 0), "bob": (50, 50, 0)}
    assert (await caller.wallet("bob")).points_spent == 50
    assert await caller.verified() == []


async def test_what_is_voided_or_not_captured_goes_back_to_whom_it_came_from(
    caller: Caller,
) -> None:
    await caller.credit(60, "bob")
    await caller.credit(50, "ann")
    await caller.house("ann", "bob")
    hold = await caller.pool(100)
    assert (await caller.void(hold)).state == STATE.STATE_VOIDED
    assert await available(caller, "ann", "bob") == [50, 60]
    hold = await caller.capture(await caller.pool(100, "bob"), 70)
    assert shares(hold) == {"ann": (40, 10, 0), "bob": (60, 60, 0)}
    hold = await caller.capture(await caller.pool(30, "ann"), 30)
    assert shares(hold) == {"ann": (30, 30, 0)}
    assert await caller.verified() == []


async def test_what_is_refunded_goes_back_to_whom_it_came_from(caller: Caller) -> None:
    await caller.credit(60, "bob")
    await caller.credit(50, "ann")
    await caller.house("ann", "bob")
    hold = await caller.capture(await caller.pool(100))
    hold = await caller.refund(hold, 70)
    assert shares(hold) == {"ann": (50, 50, 20), "bob": (50, 50, 50)}
    assert await available(caller, "ann", "bob") == [20, 60]
    hold = await caller.refund(hold)
    assert shares(hold) == {"ann": (50, 50, 50), "bob": (50, 50, 50)}
    assert await refused(caller.refund(hold)) == ("FAILED_PRECONDITION", "REFUND_EXCEEDS_CAPTURE")
    assert await available(caller, "ann", "bob") == [50, 60]
    assert await caller.verified() == []


# Whose points ------------------------------------------------------------------------------------


async def test_what_ends_first_goes_first_whoever_has_it(database_url: str, tmp_path: Path) -> None:
    async with shop(database_url, tmp_path) as caller:
        await caller.credit(10, "bob")  # ends on day 10
        await advance(caller, 1)
        await caller.credit(10, "ann")  # ends on day 11
        await advance(caller, 2)
        await caller.credit(10, "cy")  # ends on day 12
        await caller.house("ann", "bob", "cy")
        assert shares(await caller.pool(15)) == {"bob": (10, 0, 0), "ann": (5, 0, 0)}
        assert shares(await caller.pool(10, "cy")) == {"ann": (5, 0, 0), "cy": (5, 0, 0)}
        assert await refused(caller.pool(6)) == ("FAILED_PRECONDITION", "INSUFFICIENT_POINTS")
        assert await caller.verified() == []


async def test_of_points_that_end_together_the_spender_s_own_go_first(caller: Caller) -> None:
    await caller.credit(10, "ann")
    await caller.credit(10, "bob")
    await caller.house("ann", "bob")
    assert shares(await caller.pool(5, "bob")) == {"bob": (5, 0, 0)}
    assert shares(await caller.pool(5, "ann")) == {"ann": (5, 0, 0)}


async def test_points_that_end_while_they_are_held_end_where_they_came_from(
    database_url: str, tmp_path: Path
) -> None:
    async with shop(database_url, tmp_path) as caller:
        await caller.credit(10, "bob")  # ends on day 10
        await advance(caller, 5)
        await caller.credit(10, "ann")  # ends on day 15
        await caller.house("ann", "bob")
        hold = await caller.pool(20, days=10)
        await advance(caller, 11)
        await caller.void(hold)
        assert await available(caller, "ann", "bob") == [10, 0]
        assert (await caller.wallet("bob")).points_expired == 10
        assert await caller.verified() == []


async def test_a_hold_whose_time_is_over_goes_back_to_all(caller: Caller) -> None:
    await caller.credit(10, "ann")
    await caller.credit(10, "bob")
    await caller.house("ann", "bob")
    hold = await caller.pool(20)
    await advance(caller, 1)
    await quiet(caller)
    assert await refused(caller.capture(hold)) == ("FAILED_PRECONDITION", "HOLD_CLOSED")
    assert await available(caller, "ann", "bob") == [10, 10]
    assert await caller.verified() == []


async def test_points_of_a_frozen_member_are_not_taken_and_it_spends_none(caller: Caller) -> None:
    await caller.credit(10, "ann")
    await caller.credit(10, "bob")
    await caller.credit(10, "cy")
    await caller.house("ann", "bob", "cy")
    held = await caller.pool(25, "cy")
    assert shares(held) == {"cy": (10, 0, 0), "ann": (10, 0, 0), "bob": (5, 0, 0)}
    await caller.freeze("bob")
    assert await refused(caller.pool(1)) == ("FAILED_PRECONDITION", "INSUFFICIENT_POINTS")
    assert await refused(caller.pool(1, "bob")) == ("FAILED_PRECONDITION", "MEMBER_FROZEN")
    await caller.capture(held)  # what was held before goes on
    await caller.unfreeze("bob")
    assert shares(await caller.pool(5)) == {"bob": (5, 0, 0)}
    assert await caller.verified() == []


async def test_only_the_head_spends_where_the_program_says_so(
    database_url: str, tmp_path: Path
) -> None:
    policy = {**POLICY, "who_may_spend": "HOUSEHOLD_SPENDER_HEAD"}
    async with calling(database_url, tmp_path, households=policy) as caller:
        for name in ("ann", "bob", "cy"):
            await caller.enroll(name)
            await caller.credit(10, name)
        await caller.house("ann", "bob")
        only_head = ("FAILED_PRECONDITION", "NOT_HEAD_OF_HOUSEHOLD")
        assert await refused(caller.pool(5, "bob")) == only_head
        assert await refused(caller.pool(5, "cy")) == ("FAILED_PRECONDITION", "NOT_IN_HOUSEHOLD")
        await caller.hold(5, "bob")
        await caller.leave("ann")
        assert shares(await caller.pool(5, "bob")) == {"bob": (5, 0, 0)}


async def test_an_entry_says_that_a_hold_was_captured_without_a_member_s_points(
    caller: Caller,
) -> None:
    await caller.credit(10, "ann")
    await caller.credit(10, "bob")
    await caller.house("ann", "bob")
    hold = await caller.capture(await caller.pool(15), 10)
    assert shares(hold) == {"ann": (10, 10, 0), "bob": (5, 0, 0)}
    request = pb.ExplainEntryRequest(program_id=PROGRAM, member_id="bob", sequence=3)
    story = await caller.earning.ExplainEntry(request)
    told = f"Hold {hold.hold_id} was captured without these points: 5 points went back."
    assert told in story.lines
    assert shares(story.hold) == shares(hold)
    assert await caller.verified() == []


async def test_an_export_tells_what_a_hold_has_of_whom_and_names_only_its_member(
    caller: Caller,
) -> None:
    await caller.credit(10, "ann")
    await caller.credit(10, "bob")
    await caller.house("ann", "bob")
    await caller.pool(15)
    (told,) = [each for piece in await caller.export("ann") for each in piece.holds]
    assert shares(told) == {"ann": (10, 0, 0), "": (5, 0, 0)}


# Members who come and go -------------------------------------------------------------------------


async def test_whoever_leaves_takes_its_points_along_but_for_those_that_are_held(
    caller: Caller,
) -> None:
    await caller.credit(10, "ann")
    await caller.credit(10, "bob")
    await caller.house("ann", "bob")
    hold = await caller.pool(15)
    await caller.leave("bob")
    assert await available(caller, "ann", "bob") == [0, 5]
    assert await refused(caller.pool(1)) == ("FAILED_PRECONDITION", "INSUFFICIENT_POINTS")
    assert shares(await caller.capture(hold, 12)) == {"ann": (10, 10, 0), "bob": (5, 2, 0)}
    assert await available(caller, "ann", "bob") == [0, 8]
    await caller.refund(hold)
    assert await available(caller, "ann", "bob") == [10, 10]
    assert await caller.verified() == []


async def test_a_member_whose_points_a_household_holds_is_not_merged(caller: Caller) -> None:
    await caller.credit(10, "bob")
    await caller.house("ann", "bob")
    hold = await caller.pool(10)
    assert await refused(caller.merge("bob", "cy")) == ("FAILED_PRECONDITION", "HOLDS_OPEN")
    await caller.void(hold)
    await caller.merge("bob", "cy")
    assert await available(caller, "cy") == [10]


async def test_what_is_refunded_finds_the_member_that_it_was_merged_into(caller: Caller) -> None:
    await caller.credit(10, "ann")
    await caller.credit(10, "bob")
    await caller.house("ann", "bob")
    hold = await caller.capture(await caller.pool(20))
    await caller.merge("bob", "cy")
    await caller.merge("ann", "cy")
    await caller.refund(hold, 15)
    assert (await caller.wallet("cy")).points_available == 15
    await caller.refund(hold)
    assert (await caller.wallet("cy")).points_available == 20
    assert await caller.verified() == []


async def test_what_is_held_of_a_member_that_is_erased_is_spent_and_comes_back(
    caller: Caller,
) -> None:
    await caller.credit(10, "ann")
    await caller.credit(10, "bob")
    await caller.house("ann", "bob")
    hold = await caller.pool(15)
    await caller.erase("bob")
    assert shares(await caller.capture(hold)) == {"ann": (10, 10, 0), "": (5, 5, 0)}
    assert shares(await caller.refund(hold, 7)) == {"ann": (10, 10, 2), "": (5, 5, 5)}
    assert await refused(caller.pool(3)) == ("FAILED_PRECONDITION", "INSUFFICIENT_POINTS")
    assert await caller.verified() == []


async def test_whoever_comes_with_the_key_of_a_merged_member_spends_as_the_other_one(
    caller: Caller,
) -> None:
    await caller.credit(10, "ann")
    await caller.credit(10, "bob")
    await caller.house("ann", "bob")
    old_key = (await caller.get("bob")).member_key
    await caller.merge("bob", "cy")
    request = pb.HoldPointsRequest(
        **caller.key(), member_key=old_key, points=15, from_household=True
    )
    hold = (await caller.earning.HoldPoints(request)).hold
    assert sorted(each.points for each in hold.shares) == [5, 10]
    assert await available(caller, "ann", "cy") == [5, 0]
    assert await caller.verified() == []


async def test_points_of_a_further_currency_are_pooled_too(
    database_url: str, tmp_path: Path
) -> None:
    currencies = [{"currency_id": "points"}, {"currency_id": "miles"}]
    async with calling(database_url, tmp_path, households=POLICY, currencies=currencies) as caller:
        for name in ("ann", "bob"):
            await caller.enroll(name)
            await caller.earning.CreditPoints(
                pb.CreditPointsRequest(
                    **caller.key(),
                    member_id=name,
                    currency_id="miles",
                    points=10,
                    reason="a gift",
                )
            )
        await caller.house("ann", "bob")
        request = pb.HoldPointsRequest(
            **caller.key(), member_id="ann", currency_id="miles", points=15, from_household=True
        )
        hold = (await caller.earning.HoldPoints(request)).hold
        assert (hold.currency_id, shares(hold)) == (
            "miles",
            {"ann": (10, 0, 0), "bob": (5, 0, 0)},
        )
        balances = (await caller.home("bob")).balances
        assert [(each.currency_id, each.points_available) for each in balances] == [
            ("points", 0),
            ("miles", 5),
        ]
        assert await refused(caller.pool(1)) == ("FAILED_PRECONDITION", "INSUFFICIENT_POINTS")
        assert await caller.verified() == []


async def test_points_that_are_held_live_longer_with_their_lot(
    database_url: str, tmp_path: Path
) -> None:
    async with shop(database_url, tmp_path) as caller:
        await caller.credit(10, "bob")  # ends on day 10
        await caller.house("ann", "bob")
        hold = await caller.pool(10, days=20)
        await caller.points.ExtendPoints(
            points_pb.ExtendPointsRequest(
                **caller.key(),
                member_id="bob",
                lot_sequence=1,
                expire_time=stamp(START + timedelta(days=30)),
                actor="cara",
                reason="a late parcel",
            )
        )
        await advance(caller, 15)
        await caller.void(hold)
        assert await available(caller, "bob") == [10]
        assert await caller.verified() == []


# Purchases that a household paid -----------------------------------------------------------------


async def test_a_return_gives_points_back_to_all_who_paid(caller: Caller) -> None:
    await caller.credit(30, "ann")
    await caller.credit(10, "bob")
    await caller.house("ann", "bob")
    hold = await caller.capture(await caller.pool(40, "bob"))
    bought = purchase("a-1", "bob", amount=4_000)
    bought.payment.paid_in_points_minor = 4_000
    bought.payment.points_hold_id = hold.hold_id
    await caller.record(bought)
    await caller.give_back("a-1", 3_000)
    assert await available(caller, "ann", "bob") == [30, 0]
    await caller.give_back("a-1", 1_000)
    assert await available(caller, "ann", "bob") == [30, 10]
    assert await caller.verified() == []
