"""Points that go from member to member, and corrections by hand, all behind real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import events_pb2, ledger_pb2, points_pb2
from guerdon.earning.v1 import points_service_pb2 as points_pb
from tests.earning.callers import Caller, calling, go_on, refused, told
from tests.earning.nodes import PROGRAM, order

STATE = points_pb2.Adjustment.State
TYPE = ledger_pb2.EntryType
LIMIT = 100
DATED = [{"currency_id": "points", "expiry": {"after_days": 10}}]


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(database_url, tmp_path, adjustment_approval_above_points=LIMIT) as made:
        yield made


@pytest.fixture
async def dated(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    """A caller whose points end ten days after they were earned."""
    async with calling(database_url, tmp_path, currencies=DATED) as made:
        yield made


async def two(caller: Caller, points: int = 100) -> None:
    """Ann has points, bob has none."""
    await caller.enroll("ann")
    await caller.enroll("bob")
    await caller.credit(points)


async def available(caller: Caller, *members: str) -> list[int]:
    return [(await caller.wallet(each)).points_available for each in members]


# Transfers ---------------------------------------------------------------------------------------


async def test_points_go_from_one_member_to_another_and_both_can_read_why(caller: Caller) -> None:
    await two(caller)
    transfer = await caller.transfer(30)
    assert (transfer.from_member_id, transfer.to_member_id) == ("ann", "bob")
    assert [(lot.points, lot.from_sequence, lot.to_sequence) for lot in transfer.lots] == [
        (30, 2, 1)
    ]
    assert await available(caller, "ann", "bob") == [70, 30]
    [out, *_], [into] = await caller.entries("ann"), await caller.entries("bob")
    assert (out.type, into.type) == (
        TYPE.ENTRY_TYPE_TRANSFER_OUT,
        TYPE.ENTRY_TYPE_TRANSFER_IN,
    )
    assert out.reason == into.reason == "happy birthday"
    assert out.reference == into.reference
    assert await caller.verified() == []


async def test_points_that_change_hands_end_when_they_would_have_ended(dated: Caller) -> None:
    await two(dated, 20)
    await go_on(dated, days=3)
    await dated.credit(50)
    transfer = await dated.transfer(30)
    ends = [lot.expire_time.ToDatetime(UTC) for lot in transfer.lots]
    assert [lot.points for lot in transfer.lots] == [20, 10]
    assert ends == [datetime(2025, 6, 11, 23, tzinfo=UTC), datetime(2025, 6, 14, 23, tzinfo=UTC)]
    expiring = (await dated.wallet("bob")).expiring
    assert [each.expire_time.ToDatetime(UTC) for each in expiring] == ends
    await go_on(dated, days=8)
    assert await available(dated, "ann", "bob") == [40, 10]
    await go_on(dated, days=3)
    assert await available(dated, "ann", "bob") == [0, 0]
    assert await dated.verified() == []


async def test_points_that_have_ended_by_the_clock_are_not_transferred(dated: Caller) -> None:
    await two(dated, 20)
    await go_on(dated, days=11)
    assert await refused(dated.transfer(1)) == ("FAILED_PRECONDITION", "INSUFFICIENT_POINTS")


async def test_what_the_other_owes_is_repaid_first(caller: Caller) -> None:
    await two(caller)
    await caller.buy("b-1", "bob", 4_000)
    await caller.transfer(40, "ann", "bob")
    await caller.earning.ReverseActivity(
        pb.ReverseActivityRequest(program_id=PROGRAM, order=order("r-1", "b-1"))
    )
    assert (await caller.wallet("bob")).points_debt == 40
    await caller.transfer(50)
    bob = await caller.wallet("bob")
    assert (bob.points_debt, bob.points_available) == (0, 10)
    assert await caller.verified() == []


async def test_both_members_events_tell_of_a_transfer(caller: Caller) -> None:
    await two(caller)
    await caller.transfer(30)
    ann, bob = await caller.get("ann"), await caller.get("bob")
    seen = []
    for member, other in ((ann, bob), (bob, ann)):
        event = (await caller.events(member.member_key))[-1]
        found = events_pb2.PointsTransferred.FromString(event.payload.value)
        assert found.other_member_key == other.member_key
        seen.append(found.points)
    assert seen == [-30, 30]


async def test_a_transfer_is_refused_in_the_order_in_which_it_is_mended(caller: Caller) -> None:
    assert await refused(caller.transfer(1)) == ("NOT_FOUND", "MEMBER_NOT_FOUND")
    await two(caller)
    assert await refused(caller.transfer(1, "zoe")) == ("NOT_FOUND", "MEMBER_NOT_FOUND")
    assert await refused(caller.transfer(1, "ann")) == ("FAILED_PRECONDITION", "SAME_MEMBER")
    await caller.add("card-1", "ann")
    assert await refused(caller.transfer(1, "card-1")) == ("FAILED_PRECONDITION", "SAME_MEMBER")
    assert await refused(caller.transfer(101)) == ("FAILED_PRECONDITION", "INSUFFICIENT_POINTS")
    for frozen in ("ann", "bob"):
        await caller.freeze(frozen)
        assert await refused(caller.transfer(101)) == ("FAILED_PRECONDITION", "MEMBER_FROZEN")
        await caller.unfreeze(frozen)
    assert await available(caller, "ann", "bob") == [100, 0]
    assert len(await caller.entries("ann")) == 1


async def test_points_that_only_count_are_not_transferred(
    database_url: str, tmp_path: Path
) -> None:
    only_count = [{"currency_id": "points", "not_spendable": True}]
    async with calling(database_url, tmp_path, currencies=only_count) as caller:
        await two(caller)
        assert await refused(caller.transfer(1)) == (
            "FAILED_PRECONDITION",
            "CURRENCY_NOT_SPENDABLE",
        )
        assert (await caller.adjust(-40)).state == STATE.STATE_BOOKED  # corrections go on


async def test_the_same_transfer_again_is_answered_alike_and_done_once(caller: Caller) -> None:
    await two(caller)
    request = points_pb.TransferPointsRequest(
        **caller.key(), from_member_id="ann", to_member_id="bob", points=60
    )
    first = await caller.points.TransferPoints(request)
    again = await asyncio.gather(*(caller.points.TransferPoints(request) for _ in range(16)))
    assert all(each == first for each in again)
    request.points = 61
    assert await refused(caller.points.TransferPoints(request)) == (
        "ALREADY_EXISTS",
        "IDEMPOTENCY_KEY_REUSED",
    )
    assert await available(caller, "ann", "bob") == [40, 60]


async def test_of_64_transfers_out_of_a_wallet_with_enough_for_10_exactly_10_go(
    caller: Caller,
) -> None:
    await two(caller, 109)
    answers = await asyncio.gather(*(told(caller.transfer(10)) for _ in range(64)))
    assert sorted(answers) == [""] * 10 + ["INSUFFICIENT_POINTS"] * 54
    assert await available(caller, "ann", "bob") == [9, 100]
    assert await caller.verified() == []


async def test_two_wallets_that_give_each_other_points_from_64_callers_wait_for_nobody_for_ever(
    caller: Caller,
) -> None:
    await two(caller, 1_000)
    await caller.credit(1_000, "bob")
    pairs = [("ann", "bob"), ("bob", "ann")]
    answers = await asyncio.wait_for(
        asyncio.gather(
            *(told(caller.transfer(number, *pairs[number % 2])) for number in range(1, 65))
        ),
        timeout=60,
    )
    assert answers == [""] * 64
    assert await available(caller, "ann", "bob") == [1_000 + 32, 1_000 - 32]
    assert await caller.verified() == []


async def test_points_of_a_merged_member_s_transfer_stay_where_they_came_to(
    caller: Caller,
) -> None:
    await two(caller)
    await caller.transfer(30)
    await caller.merge("bob", "ann")
    assert await available(caller, "ann") == [100]
    assert await refused(caller.transfer(1)) == ("FAILED_PRECONDITION", "SAME_MEMBER")
    assert await caller.verified() == []


async def test_points_of_a_further_currency_are_given_and_corrected_alike(
    database_url: str, tmp_path: Path
) -> None:
    currencies = [{"currency_id": "points"}, {"currency_id": "stars"}]
    async with calling(database_url, tmp_path, currencies=currencies) as caller:
        await two(caller)
        adjust = points_pb.AdjustPointsRequest(
            **caller.key(), member_id="ann", currency_id="stars", points=9, actor="c", reason="r"
        )
        await caller.points.AdjustPoints(adjust)
        transfer = points_pb.TransferPointsRequest(
            **caller.key(), from_member_id="ann", to_member_id="bob", currency_id="stars", points=4
        )
        done = await caller.points.TransferPoints(transfer)
        assert done.transfer.currency_id == "stars"
        found = []
        for member in ("ann", "bob"):
            request = pb.GetWalletRequest(program_id=PROGRAM, member_id=member, currency_id="stars")
            found.append((await caller.earning.GetWallet(request)).wallet.points_available)
        assert found == [5, 4]
        assert await available(caller, "ann", "bob") == [100, 0]
        assert await caller.verified() == []


# Adjustments -------------------------------------------------------------------------------------


async def test_a_small_adjustment_is_booked_at_once_with_actor_and_reason(caller: Caller) -> None:
    await two(caller)
    given = await caller.adjust(LIMIT)
    taken = await caller.adjust(-30)
    assert (given.state, given.entry_sequence) == (STATE.STATE_BOOKED, 2)
    assert (given.actor, given.reason, given.decider) == ("cara", "a late parcel", "")
    assert await available(caller, "ann") == [170]
    minus, plus, _ = await caller.entries()
    assert [each.type for each in (minus, plus)] == [TYPE.ENTRY_TYPE_ADJUST] * 2
    assert [each.reference for each in (minus, plus)] == [
        taken.adjustment_id,
        given.adjustment_id,
    ]
    assert (plus.actor, plus.approver, plus.reason) == ("cara", "", "a late parcel")
    summary = await caller.earning.GetLedgerSummary(pb.GetLedgerSummaryRequest(program_id=PROGRAM))
    assert summary.points_adjusted == 70
    assert await caller.verified() == []


async def test_a_large_adjustment_waits_for_another_actor(caller: Caller) -> None:
    await two(caller)
    asked = await caller.adjust(LIMIT + 1)
    assert (asked.state, asked.entry_sequence) == (STATE.STATE_AWAITING_APPROVAL, 0)
    assert await available(caller, "ann") == [100]
    for same in ("cara", " Cara "):
        assert await refused(caller.approve(asked.adjustment_id, same)) == (
            "FAILED_PRECONDITION",
            "SAME_ACTOR",
        )
    booked = await caller.approve(asked.adjustment_id)
    assert (booked.state, booked.decider, booked.member_id) == (STATE.STATE_BOOKED, "dan", "ann")
    assert await available(caller, "ann") == [201]
    assert await caller_gets(caller, asked.adjustment_id) == booked
    entry = (await caller.entries())[0]
    assert (entry.actor, entry.approver, entry.reference) == ("cara", "dan", asked.adjustment_id)
    for again in (caller.approve(asked.adjustment_id, "eve"), caller.reject(asked.adjustment_id)):
        assert await refused(again) == ("FAILED_PRECONDITION", "ADJUSTMENT_CLOSED")
    event = (await caller.events((await caller.get()).member_key))[-1]
    changed = events_pb2.AdjustmentChanged.FromString(event.payload.value)
    assert (changed.adjustment.state, changed.adjustment.member_id) == (STATE.STATE_BOOKED, "")
    assert await caller.verified() == []


async def caller_gets(caller: Caller, adjustment_id: str) -> points_pb2.Adjustment:
    request = points_pb.GetAdjustmentRequest(program_id=PROGRAM, adjustment_id=adjustment_id)
    return (await caller.points.GetAdjustment(request)).adjustment


async def test_a_rejected_adjustment_books_nothing_and_says_why(caller: Caller) -> None:
    await two(caller)
    asked = await caller.adjust(LIMIT * 2)
    rejected = await caller.reject(asked.adjustment_id, "cara")  # whoever asked may take it back
    assert (rejected.state, rejected.decider) == (STATE.STATE_REJECTED, "cara")
    assert rejected.rejection_reason == "no parcel was late"
    assert await refused(caller.approve(asked.adjustment_id)) == (
        "FAILED_PRECONDITION",
        "ADJUSTMENT_CLOSED",
    )
    assert len(await caller.entries()) == 1
    assert await caller.verified() == []


async def test_funds_are_checked_when_asked_and_again_when_approved(caller: Caller) -> None:
    await two(caller, 150)
    assert await refused(caller.adjust(-151)) == ("FAILED_PRECONDITION", "INSUFFICIENT_POINTS")
    asked = await caller.adjust(-150)
    assert asked.state == STATE.STATE_AWAITING_APPROVAL
    await caller.transfer(1)
    assert await refused(caller.approve(asked.adjustment_id)) == (
        "FAILED_PRECONDITION",
        "INSUFFICIENT_POINTS",
    )
    still = await caller_gets(caller, asked.adjustment_id)
    assert still.state == STATE.STATE_AWAITING_APPROVAL
    await caller.credit(1)
    assert (await caller.approve(asked.adjustment_id)).state == STATE.STATE_BOOKED
    assert await available(caller, "ann") == [0]


async def test_an_adjustment_repays_debt_and_goes_on_for_a_frozen_member(caller: Caller) -> None:
    await two(caller)
    await caller.buy("a-1", "ann", 4_000)
    await caller.transfer(140)
    await caller.earning.ReverseActivity(
        pb.ReverseActivityRequest(program_id=PROGRAM, order=order("r-1", "a-1"))
    )
    await caller.freeze()
    await caller.adjust(50)
    ann = await caller.wallet()
    assert (ann.points_debt, ann.points_available) == (0, 10)
    assert await caller.verified() == []


async def test_of_approvals_and_rejections_at_once_one_decides(caller: Caller) -> None:
    await two(caller)
    for _ in range(4):
        before = (await available(caller, "ann"))[0]
        asked = await caller.adjust(LIMIT * 2)
        calls = [
            (caller.approve if number % 2 else caller.reject)(asked.adjustment_id, f"d-{number}")
            for number in range(64)
        ]
        answers = await asyncio.gather(*(told(each) for each in calls))
        assert sorted(answers) == [""] + ["ADJUSTMENT_CLOSED"] * 63
        decided = await caller_gets(caller, asked.adjustment_id)
        booked = decided.state == STATE.STATE_BOOKED
        assert decided.decider == f"d-{answers.index('')}"
        assert (await available(caller, "ann"))[0] == before + booked * LIMIT * 2
    assert await caller.verified() == []


async def test_the_same_adjustment_again_is_answered_alike_and_done_once(caller: Caller) -> None:
    await two(caller)
    request = points_pb.AdjustPointsRequest(
        **caller.key(), member_id="ann", points=500, actor="cara", reason="why"
    )
    asked = await caller.points.AdjustPoints(request)
    assert await caller.points.AdjustPoints(request) == asked
    approve = points_pb.ApproveAdjustmentRequest(
        **caller.key(), adjustment_id=asked.adjustment.adjustment_id, actor="dan"
    )
    booked = await caller.points.ApproveAdjustment(approve)
    assert await caller.points.ApproveAdjustment(approve) == booked
    assert await caller.points.AdjustPoints(request) == asked  # as it was answered
    assert await available(caller, "ann") == [600]


async def test_adjustments_are_listed_by_state_page_by_page_the_newest_first(
    caller: Caller,
) -> None:
    await two(caller, 1_000)
    waiting = [(await caller.adjust(LIMIT + number)).adjustment_id for number in range(1, 6)]
    booked = [(await caller.adjust(number)).adjustment_id for number in range(1, 4)]
    rejected = (await caller.reject(waiting.pop())).adjustment_id
    for state, expected in (
        (STATE.STATE_AWAITING_APPROVAL, waiting),
        (STATE.STATE_BOOKED, booked),
        (STATE.STATE_REJECTED, [rejected]),
        (STATE.STATE_UNSPECIFIED, [*waiting, *booked, rejected]),
    ):
        request = points_pb.ListAdjustmentsRequest(program_id=PROGRAM, state=state, page_size=2)
        found: list[str] = []
        while True:
            page = await caller.points.ListAdjustments(request)
            found += [each.adjustment_id for each in page.adjustments]
            assert all(each.member_id == "ann" for each in page.adjustments)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        assert sorted(found) == sorted(expected)
    request.page_token = "e30"
    assert await refused(caller.points.ListAdjustments(request)) == (
        "INVALID_ARGUMENT",
        "INVALID_PAGE_TOKEN",
    )


async def test_an_adjustment_of_a_member_who_was_merged_is_booked_on_the_one_who_stays(
    caller: Caller,
) -> None:
    await two(caller)
    asked = await caller.adjust(LIMIT * 2, "bob")
    await caller.merge("bob", "ann")
    assert (await caller_gets(caller, asked.adjustment_id)).member_id == "ann"
    booked = await caller.approve(asked.adjustment_id)
    assert (booked.member_id, booked.state) == ("ann", STATE.STATE_BOOKED)
    assert await available(caller, "ann") == [300]
    assert await caller.verified() == []


async def test_an_adjustment_of_a_member_who_was_erased_cannot_be_booked_but_ended(
    caller: Caller,
) -> None:
    await two(caller)
    asked = await caller.adjust(LIMIT * 2, "bob")
    await caller.erase("bob")
    assert await refused(caller.approve(asked.adjustment_id)) == ("NOT_FOUND", "MEMBER_NOT_FOUND")
    rejected = await caller.reject(asked.adjustment_id)
    assert (rejected.state, rejected.member_id) == (STATE.STATE_REJECTED, "")
    assert await caller.verified() == []
