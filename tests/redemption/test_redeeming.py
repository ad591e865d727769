"""Redeeming and cancelling, as callers meet it, with the real earning behind it."""

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from guerdon.redemption.v1 import redemption_service_pb2 as pb
from guerdon.redemption.v1 import reward_pb2
from guerdon.redemption.v1.redemption_service_pb2_grpc import RedemptionServiceStub
from guerdon.tiers.v1 import events_pb2 as tiers_pb
from services.redemption import service, tables, vouchers
from shared.database import Database
from shared.errors import RemoteRefusal
from shared.ids import partition_of
from shared.rpc.client import channel, refusal_of
from tests.redemption.shops import NOW, PROGRAM, Shop, refused, reward, shop_of
from tests.tiers.publisher import Published, publishing, stamp

COMPLETED = reward_pb2.Redemption.STATE_COMPLETED
FAILED = reward_pb2.Redemption.STATE_FAILED
CANCELLED = reward_pb2.Redemption.STATE_CANCELLED


async def outcome(call: "asyncio.Task[pb.RedeemRewardResponse]") -> str:
    """ "COMPLETED", or the reason of the refusal."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return refusal_of(error).reason
    return "COMPLETED"


async def test_a_reward_is_redeemed_and_its_points_are_spent(shop: Shop) -> None:
    await shop.apply(reward())
    token = await shop.enroll("ann", 700)
    told = await shop.redeem("ann", token=token)
    assert (told.redemption.state, told.redemption.points) == (COMPLETED, 500)
    assert told.redemption.member_id == "ann"
    assert vouchers.is_well_formed(told.voucher_code)
    assert told.feed_token.startswith("redemption:")
    assert await shop.points("ann") == (200, 0)
    assert await shop.stock_left() == 1
    assert await shop.redemptions("ann") == [told.redemption]
    assert await shop.violations() == []


async def test_a_product_has_no_code(shop: Shop) -> None:
    await shop.apply(reward(kind=reward_pb2.Reward.KIND_PRODUCT, limit=None, stock=None))
    told = await shop.redeem("ann", token=await shop.enroll("ann", 500))
    assert (told.voucher_code, told.redemption.voucher_hint) == ("", "")
    assert await shop.violations() == []


async def test_a_code_is_shown_by_redeem_reward_alone(shop: Shop) -> None:
    await shop.apply(reward())
    told = await shop.redeem("ann", token=await shop.enroll("ann", 500))
    code = told.voucher_code
    request = pb.GetRedemptionRequest(
        program_id=PROGRAM, redemption_id=told.redemption.redemption_id
    )
    got = await shop.stub.GetRedemption(request)
    assert got.redemption.voucher_hint == code[-4:]
    assert code not in str(got)
    assert code not in str(await shop.redemptions())
    database = await Database.open(shop.settings.database_url, schema="redemption")
    async with database.reading() as tx:
        for table in tables.metadata.sorted_tables:
            assert code not in str(await tx.fetch(table.select())), table.name
    await database.dispose()


async def test_twenty_copies_of_a_request_are_one_redemption_with_equal_answers(
    shop: Shop,
) -> None:
    await shop.apply(reward(stock=50, limit=None))
    token = await shop.enroll("ann", 5_000)
    calls = [shop.redeem("ann", request_id="one", token=token) for _ in range(20)]
    answers = await asyncio.gather(*calls)
    assert all(answer == answers[0] for answer in answers)
    assert await shop.redeem("ann", request_id="one") == answers[0]
    assert len(await shop.redemptions()) == 1
    assert await shop.points("ann") == (4_500, 0)
    other = await refused(shop.redeem("bob", request_id="one"))
    assert other.reason == "IDEMPOTENCY_KEY_REUSED"


async def test_a_repeat_is_answered_as_the_first_time_also_after_cancelling(shop: Shop) -> None:
    await shop.apply(reward())
    first = await shop.redeem("ann", request_id="one", token=await shop.enroll("ann", 500))
    shop.clock.advance(NOW + timedelta(minutes=5))
    await shop.cancel(first.redemption.redemption_id)
    await shop.restart()
    assert await shop.redeem("ann", request_id="one") == first


async def test_a_refused_attempt_is_listed_with_its_reason_and_refused_again(shop: Shop) -> None:
    await shop.apply(reward())
    token = await shop.enroll("ann", 120)
    for _ in range(2):
        told = await refused(shop.redeem("ann", request_id="one", token=token))
        assert (told.code, told.reason) == ("FAILED_PRECONDITION", "INSUFFICIENT_POINTS")
        assert told.metadata() == {"points_needed": "500", "points_available": "120"}
    [kept] = await shop.redemptions("ann")
    assert (kept.state, kept.failure_reason) == (FAILED, "INSUFFICIENT_POINTS")
    assert (await shop.points("ann"), await shop.stock_left()) == ((120, 0), 2)
    assert await shop.violations() == []


async def test_sold_out_is_told_before_insufficient_points(shop: Shop) -> None:
    await shop.apply(reward(stock=0))
    told = await refused(shop.redeem("ann", token=await shop.enroll("ann")))
    assert (told.reason, told.metadata()) == ("SOLD_OUT", {"reward_id": "mug", "stock_total": "0"})
    [kept] = await shop.redemptions("ann")
    assert (kept.state, kept.failure_reason) == (FAILED, "SOLD_OUT")
    summary = await shop.stub.GetRedemptionSummary(
        pb.GetRedemptionSummaryRequest(program_id=PROGRAM)
    )
    assert dict(summary.rewards[0].failed_counts) == {"SOLD_OUT": 1}


async def test_of_200_callers_exactly_20_get_one_of_20(shop: Shop) -> None:
    await shop.apply(reward(stock=20))
    names = [f"m{number}" for number in range(200)]
    tokens = await asyncio.gather(*[shop.enroll(name, 500) for name in names])
    calls = [
        asyncio.ensure_future(shop.redeem(name, token=token))
        for name, token in zip(names, tokens, strict=True)
    ]
    outcomes = Counter([await outcome(call) for call in calls])
    assert outcomes == {"COMPLETED": 20, "SOLD_OUT": 180}
    assert await shop.stock_left() == 0
    assert Counter(each.state for each in await shop.redemptions()) == {COMPLETED: 20, FAILED: 180}
    assert await shop.violations() == []


async def test_a_member_never_has_more_than_the_limit(shop: Shop) -> None:
    await shop.apply(reward(stock=100, limit=2))
    token = await shop.enroll("ann", 50_000)
    calls = [asyncio.ensure_future(shop.redeem("ann", token=token)) for _ in range(32)]
    outcomes = Counter([await outcome(call) for call in calls])
    assert outcomes == {"COMPLETED": 2, "MEMBER_LIMIT_REACHED": 30}
    assert await shop.points("ann") == (49_000, 0)
    assert await shop.violations() == []


async def test_cancelling_gives_points_stock_and_slot_back(shop: Shop) -> None:
    await shop.apply(reward(stock=1))
    first = await shop.redeem("ann", token=await shop.enroll("ann", 600))
    id_ = first.redemption.redemption_id
    done = await shop.cancel(id_, request_id="back")
    assert (done.redemption.state, done.redemption.member_id) == (CANCELLED, "ann")
    assert await shop.cancel(id_, request_id="back") == done
    assert (await shop.points("ann"), await shop.stock_left()) == ((600, 0), 1)
    again = await refused(shop.cancel(id_))
    assert (again.reason, again.metadata()["state"]) == ("REDEMPTION_NOT_COMPLETED", "cancelled")
    second = await shop.redeem("ann")
    assert second.voucher_code != first.voucher_code
    assert await shop.violations() == []


async def test_the_window_for_cancelling_closes(shop: Shop) -> None:
    await shop.apply(reward(), window=3600)
    told = await shop.redeem("ann", token=await shop.enroll("ann", 500))
    shop.clock.advance(NOW + timedelta(hours=1))
    late = await refused(shop.cancel(told.redemption.redemption_id))
    assert late.reason == "CANCEL_WINDOW_CLOSED"
    assert await shop.points("ann") == (0, 0)


async def test_a_caller_with_little_time_is_told_to_come_back_and_finds_the_end(
    shop: Shop,
) -> None:
    await shop.apply(reward())
    token = await shop.enroll("ann", 500)
    shop.gate.stop_at("before", "HoldPoints")
    told = await refused(shop.redeem("ann", request_id="one", token=token, seconds=1.5))
    assert told.code in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
    shop.gate.go_on.set()
    again = await shop.redeem("ann", request_id="one")
    assert again.redemption.state == COMPLETED
    assert len(await shop.redemptions()) == 1


async def test_a_hold_that_ends_before_the_capture_undoes_the_attempt(shop: Shop) -> None:
    await shop.apply(reward())
    token = await shop.enroll("ann", 500)
    shop.gate.stop_at("before", "CaptureHold")
    call = asyncio.ensure_future(shop.redeem("ann", token=token))
    await shop.gate.reached.wait()
    await shop.advance(NOW + timedelta(days=2))
    shop.gate.go_on.set()
    told = await refused(call)
    assert told.reason == "HOLD_LOST"
    for _ in range(100):  # until earning's job has booked it
        if await shop.points("ann") == (500, 0):
            break
        await asyncio.sleep(0.05)
    assert await shop.points("ann") == (500, 0)
    assert await shop.stock_left() == 2
    assert await shop.violations() == []
    [kept] = await shop.redemptions("ann")
    assert (kept.state, kept.failure_reason) == (FAILED, "HOLD_LOST")


async def test_a_gate_opens_with_the_level_that_tiers_tells(
    database_url: str, tmp_path: Path
) -> None:
    async with (
        publishing(f"sqlite:///{tmp_path}/tiers.db") as tiers,
        shop_of(database_url, tmp_path, tiers_address=tiers.address) as shop,
    ):
        gated = reward()
        gated.tier_gate.ladder_id = "main"
        gated.tier_gate.level_ids.append("gold")
        await shop.apply(gated)
        token = await shop.enroll("ann", 500)
        told = await refused(shop.redeem("ann", token=token))
        assert (told.reason, told.metadata()["level_id"]) == (
            "TIER_NOT_ELIGIBLE",
            "without a level",
        )
        key = await member_key(shop)
        changed = tiers_pb.MembershipChanged(
            member_key=key, ladder_id="main", level_id="gold", effective_time=stamp(NOW)
        )
        published = Published(member_key=key, message=changed, at=NOW, program_id=PROGRAM)
        place = (await tiers.publish(published)).replace("earning", "tiers")
        assert int(place.split(":")[1]) == partition_of(key, 16)
        assert (await shop.redeem("ann", token=place)).redemption.state == COMPLETED


async def member_key(shop: Shop) -> str:
    """The key of the one member that redemption knows."""
    database = await Database.open(shop.settings.database_url, schema="redemption")
    async with database.reading() as tx:
        [row] = await tx.fetch(tables.members.select())
    await database.dispose()
    return str(row.member_key)


@pytest.mark.parametrize("asked_first", [0, 1])
async def test_two_processes_answer_one_request_alike(
    postgres_url: str, tmp_path: Path, asked_first: int
) -> None:
    async with shop_of(postgres_url, tmp_path) as shop:
        await shop.apply(reward())
        token = await shop.enroll("ann", 500)
        other = await service.start(shop.settings, clock=shop.clock)
        async with channel(other.address) as opened:
            stubs = [shop.stub, RedemptionServiceStub(opened)]
            stubs = stubs[asked_first:] + stubs[:asked_first]
            request = pb.RedeemRewardRequest(
                request_id="one",
                program_id=PROGRAM,
                member_id="ann",
                reward_id="mug",
                wait_for_token=token,
            )
            answers = await asyncio.gather(
                *[stub.RedeemReward(request, timeout=20) for stub in stubs * 4]
            )
        await other.stop()
        assert all(answer == answers[0] for answer in answers)
        assert answers[0].redemption.state == COMPLETED
        assert await shop.points("ann") == (0, 0)


async def test_a_member_who_is_not_known_yet_is_waited_for_by_token(shop: Shop) -> None:
    await shop.apply(reward())
    told: RemoteRefusal = await refused(shop.redeem("ann"))
    assert told.reason == "MEMBER_NOT_FOUND"
    assert await shop.redemptions() == []
    token = await shop.enroll("ann", 500)
    assert (await shop.redeem("ann", token=token)).redemption.state == COMPLETED
