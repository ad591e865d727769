"""Points that are let live longer, and points that come back, all behind real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import events_pb2, ledger_pb2
from guerdon.earning.v1 import points_service_pb2 as points_pb
from shared.rpc.client import refusal_of
from tests.earning.callers import Caller, calling, go_on, refused, told
from tests.earning.nodes import PROGRAM, START, order, stamp
from tests.earning.test_points import DATED, available

TYPE = ledger_pb2.EntryType
ENDS = datetime(2025, 6, 11, 23, tzinfo=UTC)  # ten days, and London is an hour ahead
LATER = datetime(2025, 8, 1, tzinfo=UTC)


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    """Ann has 20 points in lot 1, which live for ten days."""
    async with calling(database_url, tmp_path, currencies=DATED) as made:
        await made.enroll()
        await made.credit(20)
        yield made


def extension(
    caller: Caller, until: datetime, lot: int = 0, before: datetime | None = None
) -> points_pb.ExtendPointsRequest:
    request = points_pb.ExtendPointsRequest(
        **caller.key(), member_id="ann", expire_time=stamp(until), actor="cara", reason="ill"
    )
    if before is None:
        request.lot_sequence = lot
    else:
        request.expiring_before_time.CopyFrom(stamp(before))
    return request


async def extend(
    caller: Caller, until: datetime, lot: int = 0, before: datetime | None = None
) -> points_pb.ExtendPointsResponse:
    return await caller.points.ExtendPoints(extension(caller, until, lot, before))


async def reinstate(
    caller: Caller, points: int = 0, until: datetime = LATER, lot: int = 1
) -> ledger_pb2.Entry:
    request = points_pb.ReinstatePointsRequest(
        **caller.key(),
        member_id="ann",
        lot_sequence=lot,
        points=points,
        expire_time=stamp(until),
        actor="cara",
        reason="ill",
    )
    return (await caller.points.ReinstatePoints(request)).entry


async def ends(caller: Caller) -> list[tuple[int, datetime]]:
    wallet = await caller.wallet()
    return [(each.points, each.expire_time.ToDatetime(UTC)) for each in wallet.expiring]


async def test_a_lot_that_is_extended_lives_until_then_and_says_by_whom(caller: Caller) -> None:
    assert await ends(caller) == [(20, ENDS)]
    [entry] = (await extend(caller, LATER, 1)).entries
    assert (entry.type, entry.actor, entry.reason) == (TYPE.ENTRY_TYPE_EXTEND, "cara", "ill")
    assert await ends(caller) == [(20, LATER)]
    await go_on(caller, days=20)
    assert await available(caller, "ann") == [20]
    await go_on(caller, days=60)
    assert await available(caller, "ann") == [0]
    assert await caller.verified() == []


async def test_all_lots_that_end_before_an_instant_are_extended_and_no_others(
    caller: Caller,
) -> None:
    await go_on(caller, days=3)
    await caller.credit(30)
    await go_on(caller, days=3)
    await caller.credit(40)
    third = datetime(2025, 6, 17, 23, tzinfo=UTC)
    extended = await extend(caller, LATER, before=third)
    assert ([each.lot_sequence for each in extended.entries], extended.has_more) == ([1, 2], False)
    assert await ends(caller) == [(40, third), (50, LATER)]
    assert not (await extend(caller, LATER, before=third)).entries
    assert await caller.verified() == []


async def test_what_cannot_be_extended_is_refused(caller: Caller) -> None:
    later = ("FAILED_PRECONDITION", "EXPIRY_NOT_LATER")
    lot = ("NOT_FOUND", "LOT_NOT_FOUND")
    assert await refused(extend(caller, ENDS, 1)) == later
    assert await refused(extend(caller, START, 1)) == later
    assert await refused(extend(caller, START, before=LATER)) == later
    assert await refused(extend(caller, LATER, 2)) == lot
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await extend(caller, datetime(9000, 1, 1, tzinfo=UTC), 1)
    assert [each.field for each in refusal_of(failed.value).violations] == ["expire_time"]
    await go_on(caller, days=11)
    assert await refused(extend(caller, LATER, 1)) == lot  # it has ended
    assert await caller.verified() == []


async def test_points_that_never_end_are_not_extended(database_url: str, tmp_path: Path) -> None:
    async with calling(database_url, tmp_path) as caller:
        await caller.enroll()
        await caller.credit(20)
        assert await refused(extend(caller, LATER, 1)) == (
            "FAILED_PRECONDITION",
            "EXPIRY_NOT_LATER",
        )


async def test_points_that_have_ended_come_back_and_never_more_than_have_ended(
    caller: Caller,
) -> None:
    exceeds = ("FAILED_PRECONDITION", "REINSTATE_EXCEEDS_EXPIRED")
    assert await refused(reinstate(caller)) == exceeds  # nothing has ended yet
    await go_on(caller, days=11)
    assert await refused(reinstate(caller, 21)) == exceeds
    entry = await reinstate(caller, 15)
    assert (entry.type, entry.actor, entry.reason) == (TYPE.ENTRY_TYPE_REINSTATE, "cara", "ill")
    assert await refused(reinstate(caller, 6)) == exceeds
    await reinstate(caller)  # the rest
    assert await refused(reinstate(caller)) == exceeds
    wallet = await caller.wallet()
    assert (wallet.points_available, wallet.points_expired) == (20, 0)
    assert await ends(caller) == [(20, LATER)]
    await go_on(caller, days=60)
    assert (await caller.wallet()).points_expired == 20
    await reinstate(caller, 20, LATER + timedelta(days=90))
    assert await available(caller, "ann") == [20]
    assert await caller.verified() == []


async def test_what_comes_back_ends_no_earlier_than_what_is_there(caller: Caller) -> None:
    await go_on(caller, days=11)
    await reinstate(caller, 5)
    later = ("FAILED_PRECONDITION", "EXPIRY_NOT_LATER")
    assert await refused(reinstate(caller, 5, LATER - timedelta(days=1))) == later
    assert await refused(reinstate(caller, 5, START)) == later
    assert await refused(reinstate(caller, 5, lot=9)) == ("NOT_FOUND", "LOT_NOT_FOUND")


async def test_what_comes_back_repays_debt_first(caller: Caller) -> None:
    await go_on(caller, days=11)
    await caller.buy("a-1", "ann", 1_500)
    hold = await caller.hold(15)
    await caller.earning.CaptureHold(pb.CaptureHoldRequest(**caller.key(), hold_id=hold.hold_id))
    await caller.earning.ReverseActivity(
        pb.ReverseActivityRequest(program_id=PROGRAM, order=order("r-1", "a-1"))
    )
    await reinstate(caller)
    wallet = await caller.wallet()
    assert (wallet.points_available, wallet.points_debt) == (5, 0)
    assert await caller.verified() == []


async def test_of_64_callers_who_bring_points_back_none_brings_more_than_ended(
    caller: Caller,
) -> None:
    await go_on(caller, days=11)
    answers = await asyncio.gather(*(told(reinstate(caller, 2)) for _ in range(64)))
    assert sorted(answers) == [""] * 10 + ["REINSTATE_EXCEEDS_EXPIRED"] * 54
    assert await available(caller, "ann") == [20]
    assert await caller.verified() == []


async def test_the_same_extension_again_is_answered_alike_and_done_once(caller: Caller) -> None:
    request = extension(caller, LATER, 1)
    first = await caller.points.ExtendPoints(request)
    assert await caller.points.ExtendPoints(request) == first
    assert len(await caller.entries()) == 2
    request.reason = "well again"
    assert await refused(caller.points.ExtendPoints(request)) == (
        "ALREADY_EXISTS",
        "IDEMPOTENCY_KEY_REUSED",
    )


async def test_events_tell_of_points_that_live_on(caller: Caller) -> None:
    await extend(caller, LATER, 1)
    await go_on(caller, days=80)
    await reinstate(caller, 7, LATER + timedelta(days=90))
    told_ = await caller.events((await caller.get()).member_key)
    kinds = [each.payload.TypeName().rsplit(".", 1)[-1] for each in told_]
    assert [each for each in kinds if each in {"PointsExtended", "PointsReinstated"}] == [
        "PointsExtended",
        "PointsReinstated",
    ]
    back = events_pb2.PointsReinstated.FromString(told_[-1].payload.value)
    assert (back.points, back.reason) == (7, "ill")
