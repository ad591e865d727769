"""Purchases that were paid with points: what may pay, and what a return gives back of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import grpc
import pytest

from guerdon.clock.v1 import clock_service_pb2 as clock_pb
from guerdon.clock.v1.clock_service_pb2_grpc import ClockServiceStub
from guerdon.earning.v1 import activity_pb2, events_pb2, ledger_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from shared.rpc.client import refusal_of
from tests.earning.callers import Caller, calling, refused
from tests.earning.nodes import PROGRAM, START, order, purchase, stamp

CALLERS = 64
TYPE = ledger_pb2.EntryType
POINTS: dict[str, object] = {"currency_id": "points"}
DATED = {**POINTS, "expiry": {"after_days": 10}, "reminder_days": [0]}


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


async def spent(
    caller: Caller, points: int, *, captured: int = 0, member_id: str = "ann", currency_id: str = ""
) -> str:
    """A hold that was captured, in whole or in part."""
    request = pb.HoldPointsRequest(
        **caller.key(), member_id=member_id, points=points, currency_id=currency_id
    )
    held = (await caller.earning.HoldPoints(request)).hold
    capture = pb.CaptureHoldRequest(**caller.key(), hold_id=held.hold_id, points=captured)
    return (await caller.earning.CaptureHold(capture)).hold.hold_id


def paid(
    activity_id: str,
    hold_id: str,
    amount: int = 20_000,
    in_points: int = 4_000,
    *,
    member_id: str = "ann",
    lines: Sequence[tuple[int, int]] = (),
) -> activity_pb2.Activity:
    made = purchase(activity_id, member_id, lines, amount=amount)
    made.payment.paid_in_points_minor = in_points
    made.payment.points_hold_id = hold_id
    return made


async def back(
    caller: Caller,
    reversal_id: str,
    activity_id: str = "a-1",
    *,
    amount: int = 0,
    lines: Sequence[tuple[int, int]] = (),
) -> activity_pb2.Reversal:
    made = order(reversal_id, activity_id, amount=amount, lines=lines)
    request = pb.ReverseActivityRequest(program_id=PROGRAM, order=made)
    return (await caller.earning.ReverseActivity(request)).reversal


async def refund(caller: Caller, hold_id: str, points: int = 0) -> ledger_pb2.Hold:
    request = pb.RefundCaptureRequest(**caller.key(), hold_id=hold_id, points=points)
    return (await caller.earning.RefundCapture(request)).hold


async def advance(caller: Caller, days: float) -> None:
    later = stamp(START + timedelta(days=days))
    request = clock_pb.AdvanceClockRequest(to=later)
    await ClockServiceStub(caller.channel).AdvanceClock(request)


async def ends(caller: Caller, member_id: str = "ann") -> list[tuple[int, int]]:
    """Points that are available, with the days from the beginning until they end."""
    expiring = (await caller.wallet(member_id)).expiring
    instants = [each.expire_time.ToDatetime(tzinfo=START.tzinfo) for each in expiring]
    days = [(instant - START) // timedelta(days=1) for instant in instants]
    return [(each.points, day) for each, day in zip(expiring, days, strict=True)]


async def told(call: Awaitable[object]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return refusal_of(error).reason
    return ""


# Giving back -------------------------------------------------------------------------------------


async def test_points_that_paid_go_back_to_their_lots_with_their_original_ends(
    shop: Calling,
) -> None:
    async with shop(currencies=[DATED], rules=[]) as caller:
        await caller.enroll()
        await caller.credit(30)
        await advance(caller, 3)
        await caller.credit(50)
        before = await ends(caller)
        held = await spent(caller, 60)
        assert await ends(caller) == [(20, 13)]
        await caller.record(paid("a-1", held))
        await advance(caller, 5)
        reversal = await back(caller, "v-1")
        given = reversal.given_back
        assert (given.hold_id, given.currency_id, given.points) == (held, "points", 60)
        assert await ends(caller) == before == [(30, 10), (50, 13)]
        assert (await caller.wallet()).points_spent == 0
        [entry, *_] = await caller.entries()
        assert (entry.type, entry.activity_id, entry.reference) == (
            TYPE.ENTRY_TYPE_REFUND,
            "a-1",
            held,
        )
        assert await caller.verified() == []


@pytest.mark.parametrize(
    ("amounts", "given"),
    [
        ([0], [100]),
        ([5_000, 5_000, 5_000, 5_000], [25, 25, 25, 25]),
        ([1, 199, 19_800], [0, 1, 99]),
        ([6_667, 6_667, 6_666], [33, 33, 34]),
    ],
)
async def test_any_split_of_the_amount_gives_back_what_paid_in_proportion(
    caller: Caller, amounts: list[int], given: list[int]
) -> None:
    await caller.enroll()
    await caller.credit(100)
    await caller.record(paid("a-1", await spent(caller, 100)))
    returned = [await back(caller, f"v-{at}", amount=each) for at, each in enumerate(amounts)]
    assert [each.given_back.points for each in returned] == given
    wallet = await caller.wallet()
    assert (wallet.points_available, wallet.points_debt, wallet.points_spent) == (100, 0, 0)
    assert await caller.verified() == []


async def test_returned_lines_give_back_what_paid_by_their_amounts(caller: Caller) -> None:
    await caller.enroll()
    await caller.credit(100)
    lines = [(3, 3_000), (1, 7_000)]
    await caller.record(paid("a-1", await spent(caller, 100), 12_000, 3_000, lines=lines))
    returned = [
        await back(caller, "v-1", lines=[(1, 1)]),
        await back(caller, "v-2", lines=[(2, 1)]),
        await back(caller, "v-3"),
    ]
    assert [each.given_back.points for each in returned] == [10, 70, 20]
    assert (await caller.wallet()).points_available == 100
    assert await caller.verified() == []


@pytest.mark.parametrize(("grace", "left"), [(0, []), (4, [(60, 19)])])
async def test_what_came_back_to_a_lot_that_has_ended_stays_ended_or_lives_for_a_grace(
    shop: Calling, grace: int, left: list[tuple[int, int]]
) -> None:
    dated = {**DATED, "expired_refund_grace_days": grace}
    async with shop(currencies=[dated], rules=[]) as caller:
        await caller.enroll()
        await caller.credit(60)
        await caller.record(paid("a-1", await spent(caller, 60)))
        await advance(caller, 15)
        assert (await back(caller, "v-1")).given_back.points == 60
        assert await ends(caller) == left
        wallet = await caller.wallet()
        assert (wallet.points_spent, wallet.points_expired) == (0, 0 if grace else 60)
        assert await caller.verified() == []


async def test_what_a_hold_gave_back_when_it_was_captured_in_part_is_not_given_again(
    caller: Caller,
) -> None:
    await caller.enroll()
    await caller.credit(100)
    await caller.record(paid("a-1", await spent(caller, 80, captured=50)))
    assert (await back(caller, "v-1", amount=10_000)).given_back.points == 25
    assert (await back(caller, "v-2")).given_back.points == 25
    assert (await caller.wallet()).points_available == 100


async def test_refunds_and_returns_together_never_give_back_more_than_was_captured(
    caller: Caller,
) -> None:
    await caller.enroll()
    await caller.credit(100)
    held = await spent(caller, 100)
    await caller.record(paid("a-1", held))
    await refund(caller, held, 30)
    assert (await back(caller, "v-1", amount=10_000)).given_back.points == 50
    assert await refused(refund(caller, held, 21)) == (
        "FAILED_PRECONDITION",
        "REFUND_EXCEEDS_CAPTURE",
    )
    assert (await refund(caller, held, 15)).points_refunded == 95
    assert (await back(caller, "v-2", amount=5_000)).given_back.points == 5
    assert not (await back(caller, "v-3")).HasField("given_back")
    assert (await caller.wallet()).points_available == 100
    assert await caller.verified() == []


async def test_of_64_refunds_and_returns_at_once_exactly_what_was_captured_comes_back(
    caller: Caller,
) -> None:
    await caller.enroll()
    await caller.credit(100)
    held = await spent(caller, 100)
    await caller.record(paid("a-1", held, 32_000, 32_000))

    async def act(at: int) -> str:
        if at % 2:
            return await told(refund(caller, held, 3))
        return await told(back(caller, f"v-{at}", amount=1_000))

    reasons = await asyncio.gather(*(act(at) for at in range(CALLERS)))
    assert {each for each in reasons if each} == {"REFUND_EXCEEDS_CAPTURE"}
    wallet = await caller.wallet()
    assert (wallet.points_available, wallet.points_spent) == (100, 0)
    assert await caller.verified() == []


async def test_what_comes_back_counts_before_what_was_earned_is_taken(shop: Calling) -> None:
    async with shop(reversal_policy="REVERSAL_POLICY_WITHIN_BALANCE") as caller:
        await caller.enroll()
        await caller.credit(100)
        await caller.record(paid("a-1", await spent(caller, 100)))
        await spent(caller, 160)
        reversal = await back(caller, "v-1")
        assert (reversal.given_back.points, reversal.points, reversal.points_owed) == (100, 100, 0)
        wallet = await caller.wallet()
        assert (wallet.points_available, wallet.points_debt) == (0, 0)
        assert await caller.verified() == []


async def test_what_comes_back_repays_debt_first(caller: Caller) -> None:
    await caller.enroll()
    await caller.credit(100)
    await caller.buy("a-0", amount=3_000)
    held = await spent(caller, 130)
    await caller.record(paid("a-1", held, 10_000, 10_000))
    assert (await back(caller, "v-0", "a-0")).points_owed == 30
    await back(caller, "v-1")
    wallet = await caller.wallet()
    assert (wallet.points_available, wallet.points_debt) == (100, 0)
    assert await caller.verified() == []


async def test_points_of_another_currency_go_back_to_their_own_wallet(shop: Calling) -> None:
    base = {"rule_id": "base", "base": {"points": 1, "per_amount_minor": 100}}
    mile = {**base, "rule_id": "mile", "currency_id": "miles"}
    currencies = [POINTS, {"currency_id": "miles"}]
    async with shop(currencies=currencies, rules=[base, mile]) as caller:
        await caller.record(purchase("a-0", amount=10_000))
        held = await spent(caller, 80, currency_id="miles")
        await caller.record(paid("a-1", held))
        reversal = await back(caller, "v-1", amount=10_000)
        given = reversal.given_back
        assert (given.currency_id, given.points) == ("miles", 40)
        assert [(each.currency_id, each.points) for each in reversal.further_reversals] == [
            ("miles", 80)
        ]
        await back(caller, "v-2")
        request = pb.GetWalletRequest(program_id=PROGRAM, member_id="ann", currency_id="miles")
        miles = (await caller.earning.GetWallet(request)).wallet
        assert (miles.points_available, miles.points_debt) == (100, 0)
        assert (await caller.wallet()).points_available == 100
        assert await caller.verified() == []


async def test_points_of_a_member_who_was_merged_go_to_the_one_who_took_over(
    shop: Calling,
) -> None:
    async with shop(currencies=[DATED], rules=[]) as caller:
        await caller.enroll("ann")
        await caller.enroll("bob")
        await caller.credit(60)
        held = await spent(caller, 60)
        await caller.record(paid("a-1", held))
        await advance(caller, 2)
        await caller.merge("ann", "bob")
        assert (await back(caller, "v-1")).given_back.points == 60
        assert await ends(caller, "bob") == [(60, 10)]
        assert await caller.verified() == []


async def test_a_hold_of_before_a_merge_pays_for_an_activity_after_it(caller: Caller) -> None:
    await caller.enroll("ann")
    await caller.enroll("bob")
    await caller.credit(60)
    held = await spent(caller, 60)
    await caller.merge("ann", "bob")
    await caller.record(paid("a-1", held, member_id="bob"))
    assert (await back(caller, "v-1")).given_back.points == 60
    assert (await caller.wallet("bob")).points_available == 60
    assert await caller.verified() == []


async def test_a_frozen_member_gets_back_what_paid(caller: Caller) -> None:
    await caller.enroll()
    await caller.credit(60)
    await caller.record(paid("a-1", await spent(caller, 60)))
    await caller.freeze()
    assert (await back(caller, "v-1")).given_back.points == 60
    assert (await caller.wallet()).points_available == 60


# What may pay ------------------------------------------------------------------------------------


async def test_the_feed_and_the_hold_say_what_was_paid_for_and_given_back(caller: Caller) -> None:
    member = await caller.enroll()
    await caller.credit(60)
    held = await spent(caller, 60)
    recorded = await caller.record(paid("a-1", held))
    assert recorded.record.activity.payment.points_hold_id == held
    reversal = await back(caller, "v-1", amount=10_000)
    *_, changed, last = await caller.events(member.member_key)
    hold_changed, reversed_ = events_pb2.HoldChanged(), events_pb2.ActivityReversed()
    assert changed.payload.Unpack(hold_changed)
    assert last.payload.Unpack(reversed_)
    assert (hold_changed.hold.activity_id, hold_changed.hold.points_refunded) == ("a-1", 30)
    assert reversed_.reversal == reversal
    request = pb.ExplainEntryRequest(program_id=PROGRAM, member_id="ann", sequence=5)
    lines = (await caller.earning.ExplainEntry(request)).lines
    assert lines[0].startswith(f"30 points that hold {held} had captured were refunded with a")


async def test_what_cannot_have_paid_is_refused_and_nothing_is_recorded(caller: Caller) -> None:
    await caller.enroll("ann")
    await caller.enroll("bob")
    await caller.credit(200)
    await caller.credit(50, "bob")
    used, other = await spent(caller, 20), await spent(caller, 50, member_id="bob")
    open_, voided = await caller.hold(10), await caller.hold(10)
    await caller.earning.VoidHold(pb.VoidHoldRequest(**caller.key(), hold_id=voided.hold_id))
    await caller.record(paid("a-1", used))
    for activity_id, hold_id, code, reason in (
        ("b-1", "nothing", "NOT_FOUND", "HOLD_NOT_FOUND"),
        ("b-2", other, "FAILED_PRECONDITION", "HOLD_OF_ANOTHER_MEMBER"),
        ("b-3", open_.hold_id, "FAILED_PRECONDITION", "HOLD_NOT_CAPTURED"),
        ("b-4", voided.hold_id, "FAILED_PRECONDITION", "HOLD_NOT_CAPTURED"),
        ("b-5", used, "ALREADY_EXISTS", "HOLD_USED"),
    ):
        activity = paid(activity_id, hold_id)
        activity.external_reference = activity_id
        assert await refused(caller.record(activity)) == (code, reason)
        preview = pb.PreviewActivityRequest(program_id=PROGRAM, activity=activity)
        assert await refused(caller.earning.PreviewActivity(preview)) == (code, reason)
        again = paid(f"{activity_id}-again", "")
        again.external_reference = activity_id
        assert (await caller.record(again)).record.points == 160
    assert await caller.verified() == []


async def test_a_retry_is_answered_alike_though_its_hold_is_used(caller: Caller) -> None:
    await caller.enroll()
    await caller.credit(60)
    activity = paid("a-1", await spent(caller, 60))
    preview = pb.PreviewActivityRequest(program_id=PROGRAM, activity=activity)
    await caller.earning.PreviewActivity(preview)
    first = await caller.record(activity)
    assert await caller.record(activity) == first
    assert await back(caller, "v-1") == await back(caller, "v-1")
    assert (await caller.wallet()).points_available == 60


async def test_a_receipt_that_was_credited_is_what_is_refused_first(caller: Caller) -> None:
    await caller.enroll()
    await caller.credit(60)
    activity = paid("a-1", await spent(caller, 60))
    activity.external_reference = "0815"
    await caller.record(activity)
    activity.activity_id = "a-2"
    assert (await refused(caller.record(activity)))[1] == "EXTERNAL_REFERENCE_REUSED"


async def test_of_64_activities_at_once_a_hold_pays_for_one(caller: Caller) -> None:
    await caller.enroll()
    await caller.credit(60)
    held = await spent(caller, 60)
    reasons = await asyncio.gather(
        *(told(caller.record(paid(f"a-{at}", held))) for at in range(CALLERS))
    )
    assert sorted(reasons) == ["", *["HOLD_USED"] * (CALLERS - 1)]
    (paid_for,) = [f"a-{at}" for at, reason in enumerate(reasons) if not reason]
    assert (await back(caller, "v-1", paid_for)).given_back.points == 60
    assert await caller.verified() == []
