"""Of any entry ever booked it is said why, from what was stored, behind real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import ledger_pb2
from guerdon.feed.v1 import feed_service_pb2 as feed_pb
from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceStub
from tests.earning.callers import Caller, calling, go_on, refused
from tests.earning.nodes import PROGRAM, order, purchase
from tests.earning.test_points import DATED
from tests.earning.test_points_ends import LATER, extend, reinstate

TYPE = ledger_pb2.EntryType


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    """Points live for ten days, and adjustments above 100 need a second actor."""
    async with calling(
        database_url, tmp_path, currencies=DATED, adjustment_approval_above_points=100
    ) as made:
        yield made


async def why(caller: Caller, sequence: int, member_id: str = "ann") -> pb.ExplainEntryResponse:
    request = pb.ExplainEntryRequest(program_id=PROGRAM, member_id=member_id, sequence=sequence)
    return await caller.earning.ExplainEntry(request)


async def lines(caller: Caller, sequence: int, member_id: str = "ann") -> list[str]:
    return list((await why(caller, sequence, member_id)).lines)


async def lived(caller: Caller) -> None:
    """A story of what callers do; the clock and friends have tests of their own."""
    await caller.enroll("ann")
    await caller.enroll("bob")
    await caller.buy("a-1", "ann", 2_000)  # 1: 20
    await caller.credit(10)  # 2
    hold = await caller.hold(25)  # 3
    await caller.earning.CaptureHold(  # 4
        pb.CaptureHoldRequest(**caller.key(), hold_id=hold.hold_id, points=15)
    )
    await caller.earning.RefundCapture(  # 5
        pb.RefundCaptureRequest(**caller.key(), hold_id=hold.hold_id, points=5)
    )
    held = await caller.hold(4)  # 6
    await caller.earning.VoidHold(pb.VoidHoldRequest(**caller.key(), hold_id=held.hold_id))  # 7
    await caller.transfer(8)  # 8: 12 left
    adjustment = await caller.adjust(150)  # waits
    await caller.approve(adjustment.adjustment_id)  # 9
    await caller.adjust(-2)  # 10
    await extend(caller, LATER, 9)  # 11
    await caller.earning.ReverseActivity(  # 12
        pb.ReverseActivityRequest(program_id=PROGRAM, order=order("r-1", "a-1"))
    )
    await caller.credit(6)  # 13
    await go_on(caller, days=12)
    await caller.adjust(1)  # 14 the end of 6, 15
    await reinstate(caller, 3, lot=13)  # 16


async def test_every_entry_of_a_life_says_why_it_was_booked(caller: Caller) -> None:
    await lived(caller)
    entries = {each.sequence: each for each in await caller.entries()}
    assert len(entries) == 16
    stories = {each: await why(caller, each) for each in entries}
    assert all(stories[each].entry == entries[each] for each in entries)
    first = {each: stories[each].lines[0] for each in stories}
    expected = {
        1: "Activity a-1 of 2025-06-01 12:00:00 UTC earned 20 points.",
        2: f"Request {entries[2].reference} credited 10 points: a gift.",
        3: f"Hold {entries[3].reference} set 25 points aside.",
        4: f"Hold {entries[3].reference} was captured: 15 points were spent, "
        "and 10 points went back.",
        5: f"5 points that hold {entries[3].reference} had captured were refunded.",
        6: f"Hold {entries[6].reference} set 4 points aside.",
        7: f"Hold {entries[6].reference} was voided: 4 points went back.",
        8: "8 points went to member bob, entry 1: happy birthday.",
        9: f"cara gave 150 points by adjustment {entries[9].reference}, approved by dan: "
        "a late parcel.",
        10: f"cara took 2 points by adjustment {entries[10].reference}: a late parcel.",
        11: "cara let lot 9 live until 2025-08-01 00:00:00 UTC: ill.",
        12: "Reversal r-1 of activity a-1 took 20 points back.",
        13: f"Request {entries[13].reference} credited 6 points: a gift.",
        14: "6 points came to their end at 2025-06-11 23:00:00 UTC.",
        15: f"cara gave 1 points by adjustment {entries[15].reference}: a late parcel.",
        16: "cara brought 3 points of lot 13 back, until 2025-08-01 00:00:00 UTC: ill.",
    }
    assert first == expected
    [came, *_] = await lines(caller, 1, "bob")
    assert came == "8 points came from member ann, entry 8: happy birthday."
    assert await caller.verified() == []


async def test_what_the_clock_books_says_when_it_was_due(database_url: str, tmp_path: Path) -> None:
    currency = {
        "currency_id": "points",
        "pending_duration": "86400s",
        "expiry": {"after_days": 20},
        "reminder_days": [0],
    }
    async with calling(database_url, tmp_path, currencies=[currency]) as caller:
        await caller.buy("a-1", "ann", 2_000)  # 1
        await go_on(caller, days=2)
        held = await caller.hold(15)  # 2 they become available, 3
        await go_on(caller, days=9)
        await at_rest(caller)  # 4 the hold ends
        await go_on(caller, days=90)
        await at_rest(caller)  # 5 the points end
        entries = {each.sequence: each for each in await caller.entries()}
        stories = [await why(caller, each) for each in sorted(entries)]
        assert [each.lines[0] for each in stories] == [
            "Activity a-1 of 2025-06-01 12:00:00 UTC earned 20 points.",
            "20 points of activity a-1 became available at 2025-06-02 12:00:00 UTC.",
            f"Hold {held.hold_id} set 15 points aside.",
            f"Hold {held.hold_id} came to its end: 15 points went back.",
            "20 points came to their end at 2025-06-22 23:00:00 UTC.",
        ]
        assert all(each.entry == entries[each.entry.sequence] for each in stories)
        assert await caller.verified() == []


async def at_rest(caller: Caller) -> None:
    feed = FeedServiceStub(caller.channel)
    async with asyncio.timeout(30):
        while (await feed.GetHeads(feed_pb.GetHeadsRequest())).jobs_due:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_an_explanation_has_the_structure_beside_the_sentences(caller: Caller) -> None:
    await lived(caller)
    earned = await why(caller, 1)
    assert [each.rule_id for each in earned.entry.explanation.rules if each.matched] == ["base"]
    assert "Rule base brought 20 points." in earned.lines
    assert "Rule silver did not apply: the condition is false." in earned.lines
    assert "They live until 2025-06-11 23:00:00 UTC." in earned.lines
    gone = await why(caller, 14)
    [lot] = gone.lots
    assert (lot.lot_sequence, lot.points, lot.made_by) == (13, -6, TYPE.ENTRY_TYPE_CREDIT)
    assert "6 points came out of lot 13, credited at 2025-06-01 12:00:00 UTC." in gone.lines
    assert (await why(caller, 4)).hold.points_captured == 15
    adjusted = (await why(caller, 9)).adjustment
    assert (adjusted.actor, adjusted.decider, adjusted.points) == ("cara", "dan", 150)
    moved = await why(caller, 8)
    assert (moved.other_member_id, moved.other_sequence) == ("bob", 1)
    assert [(each.activity_id, each.points) for each in moved.lots] == [("a-1", -8)]


async def test_an_activity_s_entry_is_found_by_the_activity(caller: Caller) -> None:
    await lived(caller)
    request = pb.ExplainEntryRequest(program_id=PROGRAM, activity_id="a-1")
    assert await caller.earning.ExplainEntry(request) == await why(caller, 1)
    request.activity_id = "no"
    assert await refused(caller.earning.ExplainEntry(request)) == (
        "NOT_FOUND",
        "ACTIVITY_NOT_FOUND",
    )
    late = datetime(2025, 6, 13, tzinfo=UTC)
    await caller.record(purchase("nothing", "ann", [(1, 1)], occurred=late))
    request.activity_id = "nothing"
    assert await refused(caller.earning.ExplainEntry(request)) == ("NOT_FOUND", "ENTRY_NOT_FOUND")


async def test_what_is_not_there_is_refused(caller: Caller) -> None:
    await caller.enroll("ann")
    assert await refused(why(caller, 1, "zoe")) == ("NOT_FOUND", "MEMBER_NOT_FOUND")
    assert await refused(why(caller, 1)) == ("NOT_FOUND", "ENTRY_NOT_FOUND")
    assert await refused(why(caller, 0)) == ("NOT_FOUND", "ENTRY_NOT_FOUND")


async def test_debt_is_told_when_it_is_made_repaid_and_handed_over(caller: Caller) -> None:
    await caller.enroll("ann")
    await caller.enroll("bob")
    await caller.buy("b-1", "bob", 3_000)
    await caller.transfer(30, "ann", "bob")
    await caller.earning.ReverseActivity(
        pb.ReverseActivityRequest(program_id=PROGRAM, order=order("r-1", "b-1"))
    )
    assert "30 points of them were not there and became debt." in await lines(caller, 3, "bob")
    await caller.merge("bob", "ann")
    [entry, *_] = await caller.entries()
    told = await lines(caller, entry.sequence)
    assert told[0] == "A debt of 30 points came from another member, entry 4: members merged."
