"""Cards that are claimed, and members that become one: what was earned comes along."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import events_pb2, member_pb2
from tests.earning.callers import Caller, calling, refused
from tests.earning.nodes import PROGRAM, order

STATE = member_pb2.Member.State


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(database_url, tmp_path) as made:
        yield made


def names(member: member_pb2.Member) -> list[tuple[str, str]]:
    return [(each.kind, each.identifier) for each in member.identifiers]


async def activities(caller: Caller, member_id: str) -> list[str]:
    request = pb.ListActivitiesRequest(program_id=PROGRAM, member_id=member_id)
    found = await caller.earning.ListActivities(request)
    return sorted(each.activity.activity_id for each in found.records)


async def reverse(caller: Caller, activity_id: str) -> int:
    """The points that a whole return took, or left as debt."""
    request = pb.ReverseActivityRequest(
        program_id=PROGRAM, order=order(f"r-{activity_id}", activity_id)
    )
    return (await caller.earning.ReverseActivity(request)).reversal.points


async def test_a_card_that_nobody_has_is_added(caller: Caller) -> None:
    await caller.enroll()
    claimed = await caller.claim("card-1")
    assert names(claimed) == [("member_id", "ann"), ("card", "card-1")]
    assert await caller.claim("card-1") == claimed
    assert await caller.get("card-1") == claimed


async def test_a_card_that_earned_brings_its_points_and_its_history(caller: Caller) -> None:
    ann = await caller.enroll()
    await caller.buy("a-1", "ann")
    await caller.buy("c-1", "card-1", 2_000)
    card = await caller.get("card-1")
    claimed = await caller.claim("card-1")
    assert claimed.member_key == ann.member_key
    assert names(claimed) == [("member_id", "ann"), ("card", "card-1")]
    assert (await caller.wallet("ann")).points_available == 30
    assert (await caller.wallet("card-1")).points_available == 30
    assert await activities(caller, "ann") == ["a-1", "c-1"]
    await caller.buy("c-2", "card-1")
    assert (await caller.wallet("ann")).points_available == 40
    told = (await caller.events(card.member_key))[-1]
    event = events_pb2.MemberChanged.FromString(told.payload.value)
    assert (event.state, event.merged_into) == (STATE.STATE_MERGED, ann.member_key)
    assert not event.identifiers
    assert await caller.verified() == []


async def test_a_card_of_a_member_who_is_known_is_refused(caller: Caller) -> None:
    await caller.enroll("ann")
    await caller.enroll("bob")
    await caller.add("card-1", "bob")
    for taken in ("card-1", "bob"):
        assert await refused(caller.claim(taken)) == ("ALREADY_EXISTS", "IDENTIFIER_TAKEN")
    # What earned only, but has been told something of since, is somebody.
    await caller.buy("c-1", "zoe")
    await caller.add("card-2", "zoe")
    assert (await refused(caller.claim("zoe")))[1] == "IDENTIFIER_TAKEN"


async def test_two_members_become_one_with_points_debt_and_names(caller: Caller) -> None:
    await caller.enroll("old")
    ann = await caller.enroll("ann")
    await caller.buy("o-1", "old", 5_000)
    held = await caller.hold(50, "old")
    capture = pb.CaptureHoldRequest(**caller.key(), hold_id=held.hold_id)
    await caller.earning.CaptureHold(capture)
    assert await reverse(caller, "o-1") == 50
    assert (await caller.wallet("old")).points_debt == 50
    await caller.buy("a-1", "ann", 3_000)
    merged = await caller.merge("old", "ann")
    assert (merged.member_key, merged.member_id) == (ann.member_key, "ann")
    assert {name for _, name in names(merged)} == {"ann", "old"}
    wallet = await caller.wallet("old")
    assert (wallet.points_available, wallet.points_debt) == (0, 20)
    await caller.buy("a-2", "old", 3_000)
    assert (await caller.wallet("ann")).points_available == 10
    assert await activities(caller, "old") == ["a-1", "a-2", "o-1"]
    assert await caller.verified() == []


async def test_returns_and_refunds_of_before_the_merge_reach_the_member_who_stays(
    caller: Caller,
) -> None:
    await caller.enroll("old")
    await caller.enroll("ann")
    await caller.buy("o-1", "old", 5_000)
    await caller.buy("o-2", "old", 1_000)
    held = await caller.hold(20, "old")
    capture = pb.CaptureHoldRequest(**caller.key(), hold_id=held.hold_id)
    await caller.earning.CaptureHold(capture)
    await caller.merge("old", "ann")
    assert (await caller.wallet("ann")).points_available == 40
    refund = pb.RefundCaptureRequest(**caller.key(), hold_id=held.hold_id)
    await caller.earning.RefundCapture(refund)
    assert (await caller.wallet("ann")).points_available == 60
    assert await reverse(caller, "o-1") == 50
    assert (await caller.wallet("ann")).points_available == 10
    assert await reverse(caller, "o-2") == 10
    wallet = await caller.wallet("ann")
    assert (wallet.points_available, wallet.points_debt) == (0, 0)
    assert await caller.verified() == []


async def test_whoever_knows_a_merged_member_by_its_key_reaches_the_one_who_stays(
    caller: Caller,
) -> None:
    old = await caller.enroll("old")
    await caller.enroll("mid")
    await caller.enroll("ann")
    await caller.merge("old", "mid")
    await caller.merge("mid", "ann")
    credit = pb.CreditPointsRequest(
        **caller.key(), member_key=old.member_key, points=7, reason="a challenge"
    )
    await caller.earning.CreditPoints(credit)
    assert (await caller.wallet("ann")).points_available == 7
    assert {name for _, name in names(await caller.get("old"))} == {"ann", "mid", "old"}
    assert await caller.verified() == []


async def test_a_merge_that_cannot_be_is_refused_and_changes_nothing(caller: Caller) -> None:
    await caller.enroll("old")
    await caller.enroll("ann")
    await caller.add("card-1", "ann")
    await caller.buy("o-1", "old")
    assert (await refused(caller.merge("ann", "card-1")))[1] == "SAME_MEMBER"
    assert (await refused(caller.merge("nobody", "ann")))[1] == "MEMBER_NOT_FOUND"
    held = await caller.hold(5, "old")
    assert await refused(caller.merge("old", "ann")) == ("FAILED_PRECONDITION", "HOLDS_OPEN")
    await caller.earning.VoidHold(pb.VoidHoldRequest(**caller.key(), hold_id=held.hold_id))
    for frozen in ("old", "ann"):
        await caller.freeze(frozen)
        assert (await refused(caller.merge("old", "ann")))[1] == "MEMBER_FROZEN"
        await caller.unfreeze(frozen)
    await asyncio.gather(*(caller.add(f"c-{number}", "ann") for number in range(98)))
    assert (await refused(caller.merge("old", "ann")))[1] == "TOO_MANY_IDENTIFIERS"
    assert (await caller.wallet("old")).points_available == 10
    assert await caller.verified() == []


async def test_merging_while_both_names_earn_loses_no_point(caller: Caller) -> None:
    await caller.enroll("ann")
    await caller.buy("first", "card", 100)

    async def buyer(number: int) -> int:
        name = ("ann", "card")[number % 2]
        return sum([await caller.buy(f"b-{number}-{step}", name, 100) for step in range(6)])

    earned, _ = await asyncio.gather(
        asyncio.gather(*(buyer(number) for number in range(24))), caller.claim("card")
    )
    assert (await caller.wallet("ann")).points_available == 1 + sum(earned) == 145
    assert len(await activities_of_export(caller)) == 145
    assert await caller.verified() == []


async def activities_of_export(caller: Caller) -> set[str]:
    return {
        each.activity.activity_id for piece in await caller.export("ann") for each in piece.records
    }


async def test_a_card_that_is_claimed_enrolled_and_used_at_once_has_one_owner(
    caller: Caller,
) -> None:
    await caller.enroll("ann")
    for number in range(12):
        card = f"card-{number}"
        claimed, enrolled, _ = await asyncio.gather(
            caller.claim(card),
            caller.enroll(card),
            caller.buy(f"c-{number}", card, 100),
            return_exceptions=True,
        )
        failed = [each for each in (claimed, enrolled) if isinstance(each, grpc.aio.AioRpcError)]
        assert len(failed) == 1, (claimed, enrolled)
        assert (await caller.wallet(card)).points_available >= 1
    assert await caller.verified() == []
