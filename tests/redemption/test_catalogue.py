"""Catalogues: applied whole, changed reward by reward, listed; what is wrong is told by field."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
import yaml
from google.protobuf import json_format
from google.protobuf.message import Message

from guerdon.feed.v1 import feed_service_pb2 as feed_pb
from guerdon.feed.v1 import program_document_pb2
from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceStub
from guerdon.redemption.v1 import events_pb2, reward_pb2
from guerdon.redemption.v1 import redemption_service_pb2 as pb
from services.redemption import documents
from shared import paging
from tests.redemption.shops import PROGRAM, Shop, refused, reward


def create(made: reward_pb2.Reward, request_id: str = "create") -> pb.CreateRewardRequest:
    return pb.CreateRewardRequest(request_id=request_id, program_id=PROGRAM, reward=made)


def update(
    made: reward_pb2.Reward, *paths: str, request_id: str = "update"
) -> pb.UpdateRewardRequest:
    request = pb.UpdateRewardRequest(request_id=request_id, program_id=PROGRAM, reward=made)
    request.update_mask.paths.extend(paths)
    return request


async def listed(shop: Shop) -> dict[str, reward_pb2.Reward]:
    answer = await shop.stub.ListRewards(pb.ListRewardsRequest(program_id=PROGRAM))
    return {each.reward_id: each for each in answer.rewards}


async def told(shop: Shop) -> list[str]:
    """The rewards that the feed tells of, in no particular order."""
    stub, found = FeedServiceStub(shop.opened), []
    for partition in range(16):
        page = await stub.ReadEvents(feed_pb.ReadEventsRequest(partition=partition))
        for event in page.events:
            if event.payload.Is(events_pb2.RewardChanged.DESCRIPTOR):
                changed = events_pb2.RewardChanged.FromString(event.payload.value)
                found.append(changed.reward.reward_id)
    return found


def test_the_gift_shops_catalogue_means_something() -> None:
    path = Path(__file__).parents[2] / "programs" / "giftshop" / "redemption.yaml"
    document = json_format.ParseDict(
        yaml.safe_load(path.read_text(encoding="utf-8")), reward_pb2.RedemptionProgram()
    )
    documents.check(document)
    assert [each.price_points for each in document.rewards] == [500, 1000]


async def test_what_an_apply_leaves_out_is_kept_unless_it_is_pruned(shop: Shop) -> None:
    first = (await shop.apply(reward("mug"), reward("cup"))).applied
    again = (await shop.apply(reward("mug"), reward("cup"))).applied
    assert (first.version, again.version, len(again.differences)) == (1, 1, 0)
    kept = (await shop.apply(reward("mug", points=600))).applied
    changes = {each.path: each.change for each in kept.differences}
    assert changes == {
        "rewards[mug].price_points": program_document_pb2.Difference.CHANGE_CHANGED,
        "rewards[cup]": program_document_pb2.Difference.CHANGE_KEPT,
    }
    assert set(await listed(shop)) == {"cup", "mug"}
    await shop.apply(reward("mug", points=600), prune=True)
    assert set(await listed(shop)) == {"mug"}
    old = await shop.stub.GetRedemptionProgram(
        pb.GetRedemptionProgramRequest(program_id=PROGRAM, version=1)
    )
    assert [each.reward_id for each in old.version.program.rewards] == ["mug", "cup"]


async def test_a_reward_that_comes_back_has_its_shelf_as_it_was(shop: Shop) -> None:
    await shop.apply(reward("mug", stock=5), reward("cup"))
    await shop.redeem("ann", token=await shop.enroll("ann", 500))
    await shop.apply(reward("cup"), prune=True)
    gone = await refused(shop.redeem("ann"))
    assert gone.reason == "REWARD_NOT_FOUND"
    below = await refused(shop.stub.CreateReward(create(reward("mug", stock=0), "a")))
    assert below.metadata() == {"reward_id": "mug", "stock_total": "0", "taken": "1"}
    made = await shop.stub.CreateReward(create(reward("mug", stock=5), "b"))
    assert made.reward.stock_left == 4
    assert await shop.violations() == []


async def test_an_apply_tells_stock_that_is_less_than_what_was_sold(shop: Shop) -> None:
    await shop.apply(reward("mug", stock=5))
    await shop.redeem("ann", token=await shop.enroll("ann", 500))
    wrong = await refused(shop.apply(reward("mug", stock=0)))
    assert wrong.reason == "INVALID_PROGRAM"
    assert [(each.field, each.description) for each in wrong.violations] == [
        ("rewards[0].stock_total", "must be at least 1: so many are reserved or gone")
    ]
    assert await shop.stock_left() == 4


async def test_every_complaint_about_a_document_is_told_and_nothing_is_changed(
    shop: Shop,
) -> None:
    first, second = reward("mug"), reward("mug", points=0)
    first.redeemable_from_time.seconds = 100
    first.redeemable_until_time.seconds = 100
    second.etag = "x"
    wrong = await refused(shop.apply(first, second))
    assert (wrong.code, wrong.reason) == ("INVALID_ARGUMENT", "INVALID_PROGRAM")
    assert {each.field for each in wrong.violations} == {
        "rewards[1].price_points",
        "rewards[1].reward_id",
        "rewards[0].redeemable_until_time",
        "rewards[1].etag",
    }
    unknown = await refused(shop.stub.ListRewards(pb.ListRewardsRequest(program_id=PROGRAM)))
    assert unknown.reason == "PROGRAM_NOT_FOUND"


async def test_validating_alone_changes_nothing_and_an_old_etag_is_refused(shop: Shop) -> None:
    await shop.apply(reward("mug"))
    request = pb.ApplyRedemptionProgramRequest(
        program=reward_pb2.RedemptionProgram(program_id=PROGRAM, rewards=[reward("cup")])
    )
    request.options.validate_only = True
    shown = (await shop.stub.ApplyRedemptionProgram(request)).applied
    assert (shown.version, "rewards[cup]" in {each.path for each in shown.differences}) == (1, True)
    assert set(await listed(shop)) == {"mug"}
    for validate_only in (True, False):
        request.options.validate_only = validate_only
        request.options.etag = "old"
        stale = await refused(shop.stub.ApplyRedemptionProgram(request))
        assert (stale.reason, stale.metadata()["actual"]) == ("ETAG_MISMATCH", shown.etag)


async def test_a_reward_is_created_once_per_request(shop: Shop) -> None:
    await shop.apply(reward("mug"))
    first = await shop.stub.CreateReward(create(reward("cup", stock=7)))
    assert (first.reward.stock_left, bool(first.reward.etag)) == (7, True)
    assert first.feed_token.startswith("redemption:")
    assert await shop.stub.CreateReward(create(reward("cup", stock=7))) == first
    reused = await refused(shop.stub.CreateReward(create(reward("cup", stock=8))))
    assert reused.reason == "IDEMPOTENCY_KEY_REUSED"
    for _ in range(2):
        there = await refused(shop.stub.CreateReward(create(reward("cup"), "other")))
        assert (there.code, there.reason) == ("ALREADY_EXISTS", "REWARD_ALREADY_EXISTS")
    assert (await listed(shop))["cup"] == first.reward
    assert sorted(await told(shop)) == ["cup", "mug"]


async def test_editors_at_once_lose_nothing(shop: Shop) -> None:
    await shop.apply(reward("mug"))
    names = [f"r{number}" for number in range(8)]
    await asyncio.gather(
        *[shop.stub.CreateReward(create(reward(name), name)) for name in names for _ in range(2)]
    )
    assert set(await listed(shop)) == {"mug", *names}
    answer = await shop.stub.GetRedemptionProgram(
        pb.GetRedemptionProgramRequest(program_id=PROGRAM)
    )
    assert answer.version.version == 9
    assert sorted(await told(shop)) == sorted(["mug", *names])


async def test_an_update_changes_the_fields_it_names(shop: Shop) -> None:
    await shop.apply(reward("mug", stock=5))
    present = (await listed(shop))["mug"]
    new = reward_pb2.Reward(reward_id="mug", display_name="Big mug", stock_total=9)
    new.etag = present.etag
    request = update(new, "display_name", "stock_total", "member_limit")
    changed = (await shop.stub.UpdateReward(request)).reward
    assert (changed.display_name, changed.stock_left, changed.price_points) == ("Big mug", 9, 500)
    assert not changed.HasField("member_limit")
    assert changed.etag != present.etag
    assert (await shop.stub.UpdateReward(request)).reward == changed
    stale = await refused(shop.stub.UpdateReward(update(new, "display_name", request_id="stale")))
    assert (stale.reason, stale.metadata()["actual"]) == ("ETAG_MISMATCH", changed.etag)


UPDATES: list[tuple[reward_pb2.Reward, tuple[str, ...], str, str]] = [
    (reward_pb2.Reward(reward_id="cup"), ("display_name",), "REWARD_NOT_FOUND", ""),
    (reward_pb2.Reward(reward_id="mug"), ("kind",), "FIELD_NOT_CHANGEABLE", ""),
    (reward_pb2.Reward(reward_id="mug"), ("reward_id",), "FIELD_NOT_CHANGEABLE", ""),
    (reward_pb2.Reward(reward_id="mug"), ("stock_left",), "FIELD_NOT_CHANGEABLE", ""),
    (reward_pb2.Reward(reward_id="mug"), ("prize",), "FIELD_NOT_CHANGEABLE", ""),
    (reward_pb2.Reward(reward_id="mug"), (), "FIELD_VIOLATIONS", "update_mask"),
    (reward_pb2.Reward(), ("display_name",), "FIELD_VIOLATIONS", "reward.reward_id"),
    (
        reward_pb2.Reward(reward_id="mug"),
        ("price_points",),
        "FIELD_VIOLATIONS",
        "reward.price_points",
    ),
    (
        reward_pb2.Reward(reward_id="mug", stock_total=0),
        ("stock_total",),
        "STOCK_BELOW_SOLD",
        "",
    ),
]


async def test_an_update_that_is_wrong_is_refused_and_changes_nothing(shop: Shop) -> None:
    await shop.apply(reward("mug"))
    await shop.redeem("ann", token=await shop.enroll("ann", 500))
    before = await listed(shop)
    for number, (made, paths, reason, field) in enumerate(UPDATES):
        for _ in range(2):
            request = update(made, *paths, request_id=f"u{number}")
            wrong = await refused(shop.stub.UpdateReward(request))
            assert (wrong.reason, reason) == (reason, wrong.reason)
            assert [each.field for each in wrong.violations] == ([field] if field else [])
    assert await listed(shop) == before


async def test_rewards_and_redemptions_are_listed_page_by_page(shop: Shop) -> None:
    await shop.apply(*[reward(f"r{number}", limit=None, stock=None) for number in range(5)])
    pages, token = [], ""
    while True:
        answer = await shop.stub.ListRewards(
            pb.ListRewardsRequest(program_id=PROGRAM, page_size=2, page_token=token)
        )
        pages.append([each.reward_id for each in answer.rewards])
        token = answer.next_page_token
        if not token:
            break
    assert pages == [["r0", "r1"], ["r2", "r3"], ["r4"]]
    place = await shop.enroll("ann", 5_000)
    made = [(await shop.redeem("ann", "r1", token=place)).redemption for _ in range(3)]
    first = await shop.stub.ListRedemptions(
        pb.ListRedemptionsRequest(program_id=PROGRAM, member_id="ann", page_size=2)
    )
    rest = await shop.stub.ListRedemptions(
        pb.ListRedemptionsRequest(
            program_id=PROGRAM, member_id="ann", page_size=2, page_token=first.next_page_token
        )
    )
    assert [*first.redemptions, *rest.redemptions] == made[::-1]
    foreign = pb.ListRedemptionsRequest(program_id=PROGRAM, page_token=first.next_page_token)
    assert (await refused(shop.stub.ListRedemptions(foreign))).reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize(
    "position", [("2011-01-01T00:00:00", "x"), ("2011-01-01T00:00:00+00:00", "\0"), (1, "x")]
)
async def test_a_page_token_that_somebody_made_up_is_refused(
    shop: Shop, position: tuple[str | int, ...]
) -> None:
    await shop.apply(reward("mug"))
    token = paging.encode(paging.digest_of("redemptions", PROGRAM, ""), position)
    asked = pb.ListRedemptionsRequest(program_id=PROGRAM, page_token=token)
    assert (await refused(shop.stub.ListRedemptions(asked))).reason == "INVALID_PAGE_TOKEN"


def redeem(**fields: str) -> pb.RedeemRewardRequest:
    base = {"request_id": "x", "program_id": PROGRAM, "member_id": "ann", "reward_id": "mug"}
    return pb.RedeemRewardRequest(**{**base, **fields})  # type: ignore[arg-type]


def unknown_kind() -> pb.CreateRewardRequest:
    made = reward("cup")
    made.kind = 9  # type: ignore[assignment]
    return create(made)


BAD: list[tuple[str, Callable[[], Message], str, str, str]] = [
    # the method, the request, the code, the reason, the field
    ("RedeemReward", lambda: redeem(program_id="no"), "NOT_FOUND", "PROGRAM_NOT_FOUND", ""),
    ("RedeemReward", lambda: redeem(member_id="bob"), "NOT_FOUND", "MEMBER_NOT_FOUND", ""),
    ("RedeemReward", lambda: redeem(reward_id="cup"), "NOT_FOUND", "REWARD_NOT_FOUND", ""),
    (
        "RedeemReward",
        lambda: redeem(request_id=""),
        "INVALID_ARGUMENT",
        "FIELD_VIOLATIONS",
        "request_id",
    ),
    (
        "RedeemReward",
        lambda: redeem(member_id="m" * 129),
        "INVALID_ARGUMENT",
        "FIELD_VIOLATIONS",
        "member_id",
    ),
    (
        "RedeemReward",
        lambda: redeem(wait_for_token="nonsense"),
        "INVALID_ARGUMENT",
        "MALFORMED_FEED_TOKEN",
        "wait_for_token",
    ),
    (
        "CancelRedemption",
        lambda: pb.CancelRedemptionRequest(request_id="c", program_id="no", redemption_id="x"),
        "NOT_FOUND",
        "PROGRAM_NOT_FOUND",
        "",
    ),
    (
        "CancelRedemption",
        lambda: pb.CancelRedemptionRequest(request_id="d", program_id=PROGRAM, redemption_id="x"),
        "NOT_FOUND",
        "REDEMPTION_NOT_FOUND",
        "",
    ),
    (
        "GetRedemption",
        lambda: pb.GetRedemptionRequest(program_id=PROGRAM, redemption_id="x"),
        "NOT_FOUND",
        "REDEMPTION_NOT_FOUND",
        "",
    ),
    (
        "ListRedemptions",
        lambda: pb.ListRedemptionsRequest(program_id=PROGRAM, member_id="bob"),
        "NOT_FOUND",
        "MEMBER_NOT_FOUND",
        "",
    ),
    (
        "ListRedemptions",
        lambda: pb.ListRedemptionsRequest(program_id=PROGRAM, page_size=2**31 - 1),
        "INVALID_ARGUMENT",
        "FIELD_VIOLATIONS",
        "page_size",
    ),
    (
        "ListRewards",
        lambda: pb.ListRewardsRequest(program_id=PROGRAM, page_size=-1),
        "INVALID_ARGUMENT",
        "FIELD_VIOLATIONS",
        "page_size",
    ),
    (
        "ListRewards",
        lambda: pb.ListRewardsRequest(program_id=PROGRAM, page_token="WzFd"),
        "INVALID_ARGUMENT",
        "INVALID_PAGE_TOKEN",
        "page_token",
    ),
    (
        "GetRedemptionProgram",
        lambda: pb.GetRedemptionProgramRequest(program_id=PROGRAM, version=9),
        "NOT_FOUND",
        "PROGRAM_VERSION_NOT_FOUND",
        "",
    ),
    ("CreateReward", unknown_kind, "INVALID_ARGUMENT", "FIELD_VIOLATIONS", "reward.kind"),
    (
        "CreateReward",
        lambda: create(reward("cup", points=-5)),
        "INVALID_ARGUMENT",
        "FIELD_VIOLATIONS",
        "reward.price_points",
    ),
    (
        "CreateReward",
        lambda: create(reward("cup", stock=2**62)),
        "INVALID_ARGUMENT",
        "FIELD_VIOLATIONS",
        "reward.stock_total",
    ),
]


async def test_bad_input_is_told_by_field_and_changes_nothing(shop: Shop) -> None:
    await shop.apply(reward("mug"))
    token = await shop.enroll("ann", 500)
    for number, (method, request, code, reason, field) in enumerate(BAD):
        made = request()
        if isinstance(made, pb.RedeemRewardRequest) and made.request_id:
            made.request_id = f"x{number}"
            made.wait_for_token = made.wait_for_token or token
        wrong = await refused(getattr(shop.stub, method)(made))
        assert (method, wrong.code, wrong.reason) == (method, code, reason)
        assert [each.field for each in wrong.violations] == ([field] if field else []), method
    assert set(await listed(shop)) == {"mug"}
    assert await shop.redemptions() == []
    assert await shop.points("ann") == (500, 0)


@pytest.mark.parametrize("sent", [b"\xff\xff\xff", b"\x0a\x02\xc3\x28"])
async def test_bytes_that_are_no_message_are_refused(shop: Shop, sent: bytes) -> None:
    raw: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
    raw = shop.opened.unary_unary("/guerdon.redemption.v1.RedemptionService/RedeemReward")
    wrong = await refused(raw(sent))
    assert (wrong.code, wrong.reason) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
