"""Catalogues that come into force at a set time: shelves, events, and what was sold meanwhile."""

from datetime import datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.feed.v1 import program_document_pb2 as document_pb
from guerdon.redemption.v1 import redemption_service_pb2 as pb
from guerdon.redemption.v1 import reward_pb2
from tests.redemption.shops import NOW, PROGRAM, Shop, refused, reward
from tests.redemption.test_catalogue import create, listed, told

OPENING = NOW + timedelta(days=1)


async def schedule(
    shop: Shop, *rewards: reward_pb2.Reward, at: datetime = OPENING
) -> document_pb.AppliedDocument:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    program = reward_pb2.RedemptionProgram(
        program_id=PROGRAM, cancel_window_seconds=3600, rewards=rewards
    )
    options = document_pb.ApplyOptions(publish_time=stamp, prune=True)
    request = pb.ApplyRedemptionProgramRequest(program=program, options=options)
    return (await shop.stub.ApplyRedemptionProgram(request)).applied


async def states(shop: Shop) -> list[tuple[int, str, str]]:
    request = pb.ListRedemptionProgramVersionsRequest(program_id=PROGRAM)
    answer = await shop.stub.ListRedemptionProgramVersions(request)
    name = document_pb.ProgramVersion.State.Name
    return [(each.version, name(each.state), each.failure) for each in answer.versions]


async def test_a_reward_is_sold_and_told_of_from_the_set_instant_on(shop: Shop) -> None:
    await shop.apply(reward("mug"))
    await schedule(shop, reward("mug"), reward("cup"))
    token = await shop.enroll("ann", 2_000)
    early = await refused(shop.redeem("ann", "cup", token=token))
    assert (early.reason, await told(shop)) == ("REWARD_NOT_FOUND", ["mug"])
    await shop.advance(OPENING)
    await shop.redeem("ann", "cup")
    assert set(await listed(shop)) == {"cup", "mug"}
    assert sorted(await told(shop)) == ["cup", "mug"]
    assert await shop.violations() == []


async def test_a_publication_survives_a_restart_and_days_without_the_service(shop: Shop) -> None:
    await shop.apply(reward("mug"))
    await schedule(shop, reward("cup"))
    await shop.advance(OPENING + timedelta(days=5))
    await shop.restart()
    assert [state for _, state, _ in await states(shop)] == ["STATE_IN_FORCE", "STATE_PAST"]
    assert set(await listed(shop)) == {"cup"}


async def test_a_stock_that_is_sold_by_then_refuses_the_publication_and_sells_on(
    shop: Shop,
) -> None:
    await shop.apply(reward("mug", stock=3))
    await schedule(shop, reward("mug", stock=1))
    for name in ("ann", "bob"):
        await shop.redeem(name, token=await shop.enroll(name, 500))
    await shop.advance(OPENING)
    await shop.redeem("cid", token=await shop.enroll("cid", 500))
    newest, before = await states(shop)
    assert newest[:2] == (2, "STATE_REFUSED")
    assert newest[2].startswith("STOCK_BELOW_SOLD: ")
    assert before[:2] == (1, "STATE_IN_FORCE")
    assert await shop.violations() == []


async def test_a_single_reward_is_not_changed_past_what_is_scheduled(shop: Shop) -> None:
    await shop.apply(reward("mug"))
    await schedule(shop, reward("cup"))
    wrong = await refused(shop.stub.CreateReward(create(reward("pen"))))
    assert (wrong.reason, wrong.metadata()["version"]) == ("PUBLICATION_SCHEDULED", "2")


async def test_a_rollback_brings_a_reward_back_with_its_shelf(shop: Shop) -> None:
    await shop.apply(reward("mug", stock=5), reward("cup"))
    await shop.redeem("ann", token=await shop.enroll("ann", 500))
    await shop.apply(reward("cup"), prune=True)
    request = pb.RollbackRedemptionProgramRequest(program_id=PROGRAM, version=1)
    answer = await shop.stub.RollbackRedemptionProgram(request)
    assert answer.applied.version == 3
    assert (await listed(shop))["mug"].stock_left == 4
