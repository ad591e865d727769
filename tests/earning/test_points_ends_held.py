"""Points that a hold has out of their lot belong to it still: they end when the lot ends."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import events_pb2
from tests.earning.callers import Caller, calling, go_on, refused, told
from tests.earning.nodes import Node
from tests.earning.test_points import DATED, available
from tests.earning.test_points_ends import LATER, ends, extend

LOT_NOT_FOUND = ("NOT_FOUND", "LOT_NOT_FOUND")


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    """Ann has 20 points in lot 1, which live for ten days."""
    async with calling(database_url, tmp_path, currencies=DATED) as made:
        await made.enroll()
        await made.credit(20)
        yield made


async def hold(caller: Caller, points: int, days: int = 1) -> str:
    request = pb.HoldPointsRequest(**caller.key(), member_id="ann", points=points)
    request.hold_duration.FromTimedelta(timedelta(days=days))
    return (await caller.earning.HoldPoints(request)).hold.hold_id


async def void(caller: Caller, hold_id: str) -> None:
    await caller.earning.VoidHold(pb.VoidHoldRequest(**caller.key(), hold_id=hold_id))


async def capture(caller: Caller, hold_id: str) -> None:
    await caller.earning.CaptureHold(pb.CaptureHoldRequest(**caller.key(), hold_id=hold_id))


@pytest.mark.parametrize("held", [1, 13, 20])
@pytest.mark.parametrize("by_instant", [False, True], ids=["one-lot", "by-instant"])
async def test_a_lot_is_extended_whole_whatever_a_hold_has_out_of_it(
    caller: Caller, held: int, *, by_instant: bool
) -> None:
    hold_id = await hold(caller, held)
    if by_instant:
        extended = await extend(caller, LATER, before=LATER)
    else:
        extended = await extend(caller, LATER, 1)
    assert [each.lot_sequence for each in extended.entries] == [1]
    assert await ends(caller) == ([] if held == 20 else [(20 - held, LATER)])
    await void(caller, hold_id)
    assert await ends(caller) == [(20, LATER)]
    await go_on(caller, days=20)
    assert await available(caller, "ann") == [20]
    await go_on(caller, days=70)
    assert await available(caller, "ann") == [0]
    assert await caller.verified() == []


async def test_the_event_tells_of_held_points_as_well(caller: Caller) -> None:
    await hold(caller, 13)
    await extend(caller, LATER, 1)
    event = (await caller.events((await caller.get()).member_key))[-1]
    assert events_pb2.PointsExtended.FromString(event.payload.value).points == 20


async def test_a_hold_that_comes_to_its_end_gives_back_to_a_lot_that_was_extended(
    node: Node,
) -> None:
    await node.apply(currencies=DATED)
    await node.enroll("ann")
    await node.credit(20)
    await node.hold(20, seconds=6 * 86_400)
    await node.extend(1, LATER)
    await node.advance(days=12)
    assert await node.expire_holds.run() == 1
    assert (await node.wallet()).available == 20
    assert await node.verify() == []


async def test_a_lot_that_has_ended_is_not_extended_though_points_of_it_are_held(
    caller: Caller,
) -> None:
    hold_id = await hold(caller, 20, days=20)
    await go_on(caller, days=11)
    assert await refused(extend(caller, LATER, 1)) == LOT_NOT_FOUND
    assert not (await extend(caller, LATER, before=LATER)).entries
    await void(caller, hold_id)
    assert await available(caller, "ann") == [0]
    assert await caller.verified() == []


async def test_points_that_were_spent_are_held_no_longer(caller: Caller) -> None:
    await capture(caller, await hold(caller, 20))
    assert await refused(extend(caller, LATER, 1)) == LOT_NOT_FOUND
    assert not (await extend(caller, LATER, before=LATER)).entries


async def test_a_refund_goes_back_to_a_lot_that_was_extended_while_it_was_held(
    caller: Caller,
) -> None:
    hold_id = await hold(caller, 20)
    await extend(caller, LATER, 1)
    await capture(caller, hold_id)
    await go_on(caller, days=20)
    await caller.earning.RefundCapture(
        pb.RefundCaptureRequest(**caller.key(), hold_id=hold_id, points=8)
    )
    assert await ends(caller) == [(8, LATER)]
    assert await caller.verified() == []


async def test_held_points_that_would_never_end_are_not_extended(
    database_url: str, tmp_path: Path
) -> None:
    async with calling(database_url, tmp_path) as caller:
        await caller.enroll()
        await caller.credit(20)
        await hold(caller, 20)
        assert (await refused(extend(caller, LATER, 1)))[1] == "EXPIRY_NOT_LATER"


async def test_of_63_extensions_and_the_end_of_a_hold_at_once_the_latest_stands(
    caller: Caller,
) -> None:
    hold_id = await hold(caller, 20)
    last = [LATER + timedelta(days=number) for number in range(63)]
    calls = [told(extend(caller, last[number * 26 % 63], 1)) for number in range(63)]
    calls.insert(40, told(void(caller, hold_id)))
    assert set(await asyncio.gather(*calls)) <= {"", "EXPIRY_NOT_LATER"}
    assert await ends(caller) == [(20, last[-1])]
    assert await caller.verified() == []
