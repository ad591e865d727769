"""Redemption dies at every step of a redemption, and begins again on what it left behind."""

import asyncio
from collections.abc import Awaitable

import grpc
import pytest

from guerdon.earning.v1 import earning_service_pb2 as earning_pb
from guerdon.earning.v1 import ledger_pb2
from guerdon.redemption.v1 import reward_pb2
from shared.rpc.client import refusal_of
from tests.redemption.shops import PROGRAM, Shop, refused, reward

STEPS = [(when, method) for method in ("HoldPoints", "CaptureHold") for when in ("before", "after")]


async def entries(shop: Shop, kind: "ledger_pb2.EntryType.ValueType") -> int:
    """How many entries of a kind are in the member's ledger."""
    request = earning_pb.ListEntriesRequest(program_id=PROGRAM, member_id="ann")
    return [each.type for each in (await shop.earning.ListEntries(request)).entries].count(kind)


async def cut_off(call: Awaitable[object]) -> bool:
    """Whether a caller got no answer."""
    [ended] = await asyncio.gather(call, return_exceptions=True)
    return isinstance(ended, grpc.aio.AioRpcError | asyncio.CancelledError)


@pytest.mark.parametrize(("when", "method"), STEPS)
async def test_a_redemption_that_was_cut_off_is_completed_once(
    shop: Shop, when: str, method: str
) -> None:
    await shop.apply(reward())
    token = await shop.enroll("ann", 1_200)
    shop.gate.stop_at(when, method)
    call = asyncio.ensure_future(shop.redeem("ann", request_id="one", token=token))
    await shop.gate.reached.wait()
    await shop.restart()
    assert await cut_off(call)
    shop.gate.go_on.set()
    told = await shop.redeem("ann", request_id="one")
    assert told.redemption.state == reward_pb2.Redemption.STATE_COMPLETED
    assert len(await shop.redemptions()) == 1
    assert await entries(shop, ledger_pb2.ENTRY_TYPE_CAPTURE) == 1
    assert await entries(shop, ledger_pb2.ENTRY_TYPE_HOLD) == 1
    assert (await shop.points("ann"), await shop.stock_left()) == ((700, 0), 1)
    assert await shop.violations() == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_refusal_that_was_cut_off_is_found_again(shop: Shop, when: str) -> None:
    await shop.apply(reward())
    token = await shop.enroll("ann", 20)
    shop.gate.stop_at(when, "HoldPoints")
    call = asyncio.ensure_future(shop.redeem("ann", request_id="one", token=token))
    await shop.gate.reached.wait()
    await shop.restart()
    assert await cut_off(call)
    shop.gate.go_on.set()
    told = await refused(shop.redeem("ann", request_id="one"))
    assert told.reason == "INSUFFICIENT_POINTS"
    assert (await shop.points("ann"), await shop.stock_left()) == ((20, 0), 2)
    assert await shop.violations() == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_cancellation_that_was_cut_off_gives_the_points_back_once(
    shop: Shop, when: str
) -> None:
    await shop.apply(reward())
    told = await shop.redeem("ann", token=await shop.enroll("ann", 500))
    id_ = told.redemption.redemption_id
    shop.gate.stop_at(when, "RefundCapture")
    call = asyncio.ensure_future(shop.cancel(id_, request_id="back"))
    await shop.gate.reached.wait()
    await shop.restart()
    assert await cut_off(call)
    shop.gate.go_on.set()
    done = await shop.cancel(id_, request_id="back")
    assert done.redemption.state == reward_pb2.Redemption.STATE_CANCELLED
    assert (await shop.points("ann"), await shop.stock_left()) == ((500, 0), 2)
    assert await shop.violations() == []


async def test_many_that_were_cut_off_anywhere_all_come_to_one_end(shop: Shop) -> None:
    await shop.apply(reward(stock=10))
    names = [f"m{number}" for number in range(30)]
    tokens = await asyncio.gather(*[shop.enroll(name, 500) for name in names])
    for pause in (0.01, 0.05, 0.1):
        calls = [
            asyncio.ensure_future(shop.redeem(name, request_id=name, token=token))
            for name, token in zip(names, tokens, strict=True)
        ]
        await asyncio.sleep(pause)
        await shop.restart()
        await asyncio.gather(*calls, return_exceptions=True)
    states = [await state(shop, name) for name in names]
    assert states.count("COMPLETED") == 10
    assert states.count("SOLD_OUT") == 20
    assert len(await shop.redemptions()) == 30
    spent = [await shop.points(name) for name in names]
    assert spent.count((0, 0)) == 10
    assert spent.count((500, 0)) == 20
    assert await shop.violations() == []


async def state(shop: Shop, name: str) -> str:
    """How a member's request ended: what is answered is what is kept."""
    [told] = await asyncio.gather(shop.redeem(name, request_id=name), return_exceptions=True)
    [kept] = await shop.redemptions(name)
    if isinstance(told, grpc.aio.AioRpcError):
        assert kept.failure_reason == refusal_of(told).reason
        return kept.failure_reason
    assert not isinstance(told, BaseException)
    assert kept == told.redemption
    return "COMPLETED"
