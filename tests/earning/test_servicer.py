"""The service as callers meet it: started whole, behind real gRPC, following a real feed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from guerdon.clock.v1 import clock_service_pb2 as clock_pb
from guerdon.clock.v1.clock_service_pb2_grpc import ClockServiceStub
from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import ledger_pb2, program_pb2
from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceStub
from guerdon.feed.v1 import feed_service_pb2 as feed_pb
from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceStub
from guerdon.tiers.v1 import events_pb2 as tiers_events
from services.earning import service
from services.earning.settings import Settings
from shared.rpc.client import channel, refusal_of
from shared.rpc.status import refusal_of_status
from tests.earning.nodes import PROGRAM, START, document, order, purchase, stamp
from tests.tiers.publisher import Published, Publisher, publishing

if TYPE_CHECKING:
    from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceAsyncStub

LINES = [(2, 1_000), (1, 550)]


REFUSING: dict[str, object] = {"early_reversal_policy": "EARLY_REVERSAL_POLICY_REFUSE"}


@dataclass(slots=True)
class Peer:
    """A running earning, and the publisher that it follows in the place of tiers."""

    channel: grpc.aio.Channel
    publisher: Publisher

    @property
    def earning(self) -> "EarningServiceAsyncStub":
        return EarningServiceStub(self.channel)

    async def apply(self, document_: program_pb2.EarningProgram | None = None) -> None:
        request = pb.ApplyEarningProgramRequest(program=document_ or document(**REFUSING))
        request.options.prune = True
        await self.earning.ApplyEarningProgram(request)

    async def record(self, activity_id: str = "a-1") -> pb.RecordActivityResponse:
        request = pb.RecordActivityRequest(
            program_id=PROGRAM, activity=purchase(activity_id, lines=LINES)
        )
        return await self.earning.RecordActivity(request)

    async def wallet(self) -> ledger_pb2.Wallet:
        request = pb.GetWalletRequest(program_id=PROGRAM, member_id="ann")
        return (await self.earning.GetWallet(request)).wallet


@pytest.fixture
async def peer(database_url: str, tmp_path: Path) -> AsyncIterator[Peer]:
    """A running service over each kind of database, with the program `shop`."""
    async with publishing(f"sqlite:///{tmp_path}/tiers.db") as publisher:
        running = await service.start(
            Settings(
                database_url=database_url,
                listen="127.0.0.1:0",
                tiers_address=publisher.address,
                clock="simulated",
                clock_start=START.isoformat(),
                log_level="error",
            )
        )
        async with channel(running.address) as opened:
            made = Peer(opened, publisher)
            await made.apply()
            yield made
        await running.stop()


async def refused(call: Awaitable[object]) -> tuple[str, str, dict[str, str]]:
    """Code, reason and violations (or metadata) of a call that must be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    refusal = refusal_of(failed.value)
    told = {each.field: each.description for each in refusal.violations}
    return refusal.code, refusal.reason, told or refusal.metadata()


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for something that another task does."""
    for _ in range(200):
        if await holds():
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"waited in vain for {what}")


async def test_a_purchase_is_recorded_shown_and_returned(peer: Peer) -> None:
    recorded = await peer.record()
    record = recorded.record
    assert record.activity == purchase("a-1", lines=LINES)
    assert (record.points, [line.points for line in record.lines]) == (15, [10, 5])
    assert [rule.rule_id for rule in record.explanation.rules if rule.matched] == ["base"]
    assert recorded.feed_token.startswith("earning:")
    assert await peer.record() == recorded
    reversal = (
        await peer.earning.ReverseActivity(
            pb.ReverseActivityRequest(program_id=PROGRAM, order=order("v-1", "a-1", lines=[(1, 1)]))
        )
    ).reversal
    assert (reversal.points, reversal.amount_minor) == (5, 500)
    assert reversal.lines[0].item == record.activity.lines[0]
    wallet = await peer.wallet()
    assert (wallet.points_available, wallet.points_reversed, wallet.entry_count) == (10, 5, 2)
    listed = await peer.earning.ListActivities(
        pb.ListActivitiesRequest(program_id=PROGRAM, member_id="ann")
    )
    assert listed.records[0].lines[0].quantity_returned == 1
    assert listed.records[0].activity == record.activity
    entries = await peer.earning.ListEntries(
        pb.ListEntriesRequest(program_id=PROGRAM, member_id="ann")
    )
    newest, oldest = entries.entries
    assert newest.chain_hash == wallet.chain_hash
    assert [(use.lot_sequence, use.points) for use in newest.lot_uses] == [(1, -5)]
    assert oldest.explanation == record.explanation
    for entry in entries.entries:
        assert sum(posting.points for posting in entry.postings) == 0


async def test_points_are_credited_held_captured_and_refunded(peer: Peer) -> None:
    enrolled = await peer.earning.EnrollMember(
        pb.EnrollMemberRequest(request_id="e", program_id=PROGRAM, member_id="ann")
    )
    key = enrolled.member.member_key
    credit = pb.CreditPointsRequest(
        request_id="c", program_id=PROGRAM, member_key=key, points=500, reason="welcome"
    )
    first = await peer.earning.CreditPoints(credit)
    assert await peer.earning.CreditPoints(credit) == first
    hold_request = pb.HoldPointsRequest(
        request_id="h", program_id=PROGRAM, member_key=key, points=200, reference="mug"
    )
    hold = (await peer.earning.HoldPoints(hold_request)).hold
    assert (hold.member_id, hold.state, hold.points) == ("ann", ledger_pb2.Hold.STATE_OPEN, 200)
    assert (await peer.earning.HoldPoints(hold_request)).hold == hold
    captured = await peer.earning.CaptureHold(
        pb.CaptureHoldRequest(request_id="k", program_id=PROGRAM, hold_id=hold.hold_id, points=150)
    )
    assert (captured.hold.points_captured, captured.hold.member_id) == (150, "ann")
    refunded = await peer.earning.RefundCapture(
        pb.RefundCaptureRequest(request_id="r", program_id=PROGRAM, hold_id=hold.hold_id)
    )
    assert refunded.hold.points_refunded == 150
    other = (
        await peer.earning.HoldPoints(
            pb.HoldPointsRequest(request_id="h2", program_id=PROGRAM, member_id="ann", points=500)
        )
    ).hold
    voided = await peer.earning.VoidHold(
        pb.VoidHoldRequest(request_id="v", program_id=PROGRAM, hold_id=other.hold_id)
    )
    assert voided.hold.state == ledger_pb2.Hold.STATE_VOIDED
    assert (await peer.wallet()).points_available == 500


async def test_a_batch_answers_each_item_and_a_misshapen_one_refuses_itself_alone(
    peer: Peer,
) -> None:
    activities = [purchase(f"a-{at}", lines=LINES) for at in range(4)]
    activities[1].lines[0].quantity = -1
    activities[2].type = "Not A Type"
    request = pb.BatchRecordActivitiesRequest(program_id=PROGRAM, activities=activities)
    results = (await peer.earning.BatchRecordActivities(request)).results
    assert [each.WhichOneof("outcome") for each in results] == [
        "recorded",
        "refused",
        "refused",
        "recorded",
    ]
    told = refusal_of_status(results[1].refused)
    assert (told.code, told.reason) == ("INVALID_ARGUMENT", "FIELD_VIOLATIONS")
    assert [each.field for each in told.violations] == ["lines[0].quantity"]
    orders = [order("v-1", "a-0"), order("v-2", "a-1"), order("v-3", "a-3")]
    orders[2].lines.lines.add(line_number=1, quantity=1)
    orders[2].lines.lines.add(line_number=1, quantity=1)
    answered = await peer.earning.BatchReverseActivities(
        pb.BatchReverseActivitiesRequest(program_id=PROGRAM, orders=orders)
    )
    assert answered.results[0].reversed.reversal.points == 15
    reasons = [refusal_of_status(each.refused).reason for each in answered.results[1:]]
    assert reasons == ["ACTIVITY_NOT_FOUND", "FIELD_VIOLATIONS"]


async def test_a_stream_of_batches_is_answered_in_order(peer: Peer) -> None:
    async def requests() -> AsyncIterator[pb.StreamActivitiesRequest]:
        for batch in range(3):
            yield pb.StreamActivitiesRequest(
                program_id=PROGRAM,
                activities=[purchase(f"a-{batch}-{at}", lines=LINES) for at in range(5)],
            )

    seen = [
        [each.recorded.record.activity.activity_id for each in response.results]
        async for response in peer.earning.StreamActivities(requests())
    ]
    assert seen == [[f"a-{batch}-{at}" for at in range(5)] for batch in range(3)]
    assert (await peer.wallet()).points_available == 15 * 15


async def test_a_level_of_the_feed_of_tiers_counts_from_its_instant_on(peer: Peer) -> None:
    await peer.record()
    heads = await FeedServiceStub(peer.channel).ReadEvents(
        feed_pb.ReadEventsRequest(partition=_partition_of(await peer.record()))
    )
    member_key = heads.events[0].member_key
    changed = tiers_events.MembershipChanged(
        member_key=member_key,
        ladder_id="main",
        level_id="silver",
        level_rank=1,
        effective_time=stamp(START),
        decide_time=stamp(START),
    )
    await peer.publisher.publish(
        Published(member_key=member_key, message=changed, at=START, program_id=PROGRAM)
    )
    request = pb.PreviewActivityRequest(
        program_id=PROGRAM, activity=purchase("a-2", lines=[(1, 1_000)])
    )

    async def has_arrived() -> bool:
        return (await peer.earning.PreviewActivity(request)).record.points == 15

    await until(has_arrived, "the level of the feed")
    cursors = (await FeedServiceStub(peer.channel).GetHeads(feed_pb.GetHeadsRequest())).cursors
    assert sum(each.position for each in cursors if each.source == "tiers") == 1


def _partition_of(response: pb.RecordActivityResponse) -> int:
    return int(response.feed_token.split(":")[1])


async def test_holds_whose_time_is_over_are_due_until_they_are_booked(peer: Peer) -> None:
    await peer.record()
    request = pb.HoldPointsRequest(request_id="h", program_id=PROGRAM, member_id="ann", points=10)
    request.hold_duration.FromSeconds(5)
    await peer.earning.HoldPoints(request)
    await ClockServiceStub(peer.channel).AdvanceClock(
        clock_pb.AdvanceClockRequest(to=stamp(START + timedelta(seconds=5)))
    )

    async def is_booked() -> bool:
        return (await peer.wallet()).points_held == 0

    await until(is_booked, "the end of the hold")
    heads = await FeedServiceStub(peer.channel).GetHeads(feed_pb.GetHeadsRequest())
    assert heads.jobs_due == 0


async def test_verify_and_summary_speak_of_the_same_ledger(peer: Peer) -> None:
    await peer.record()
    summary = await peer.earning.GetLedgerSummary(pb.GetLedgerSummaryRequest(program_id=PROGRAM))
    assert (summary.member_count, summary.points_earned) == (1, 15)
    assert summary.activities[0] == pb.ActivityCount(type="purchase", count=1)
    stages = {}
    async for each in peer.earning.VerifyLedger(pb.VerifyLedgerRequest(program_id=PROGRAM)):
        stages[each.progress.stage] = (each.progress.done, each.progress.total)
        assert not each.progress.violations
    assert stages == {"wallets": (1, 1), "activities": (1, 1)}


async def test_an_apply_tells_the_difference_and_keeps_what_is_not_pruned(peer: Peer) -> None:
    changed = document()
    del changed.rules[3]
    changed.rules[2].multiplier.numerator = 2
    request = pb.ApplyEarningProgramRequest(program=changed)
    applied = (await peer.earning.ApplyEarningProgram(request)).applied
    assert applied.version == 2
    told = {each.path: each.before + ">" + each.after for each in applied.differences}
    assert told["rules[silver].multiplier.numerator"] in {'"3">"2"', "3>2"}
    got = await peer.earning.GetEarningProgram(pb.GetEarningProgramRequest(program_id=PROGRAM))
    assert [rule.rule_id for rule in got.version.program.rules] == [
        "base",
        "paid",
        "silver",
        "visit",
    ]
    again = (await peer.earning.ApplyEarningProgram(request)).applied
    assert again.version == 2
    request.options.etag = "1-old"
    assert (await refused(peer.earning.ApplyEarningProgram(request)))[1] == "ETAG_MISMATCH"
    old = await peer.earning.GetEarningProgram(
        pb.GetEarningProgramRequest(program_id=PROGRAM, version=1)
    )
    assert old.version.program == document(**REFUSING)


_numbers = count(1)


def _activity(**changes: object) -> pb.RecordActivityRequest:
    name = f"bad-{next(_numbers)}"
    request = pb.RecordActivityRequest(
        program_id=PROGRAM, activity=purchase(name, lines=LINES, amount=100)
    )
    json_format.ParseDict(changes, request.activity)
    return request


def _page(size: int, token: str = "") -> pb.ListEntriesRequest:
    return pb.ListEntriesRequest(
        program_id=PROGRAM, member_id="ann", page_size=size, page_token=token
    )


BAD: list[tuple[str, Message, str, str, str]] = [
    (
        "RecordActivity",
        pb.RecordActivityRequest(program_id="none", activity=purchase("a-1")),
        "NOT_FOUND",
        "PROGRAM_NOT_FOUND",
        "program_id",
    ),
    (
        "GetWallet",
        pb.GetWalletRequest(program_id=PROGRAM, member_id="nobody"),
        "NOT_FOUND",
        "MEMBER_NOT_FOUND",
        "member_id",
    ),
    (
        "GetWallet",
        pb.GetWalletRequest(program_id=PROGRAM, member_id="ann", currency_id="miles"),
        "NOT_FOUND",
        "CURRENCY_NOT_FOUND",
        "currency_id",
    ),
    (
        "RecordActivity",
        _activity(payment={"amount_minor": "-1"}),
        "INVALID_ARGUMENT",
        "FIELD_VIOLATIONS",
        "activity.payment.amount_minor",
    ),
    (
        "RecordActivity",
        _activity(payment={"amount_minor": "9223372036854775807"}),
        "INVALID_ARGUMENT",
        "FIELD_VIOLATIONS",
        "activity.payment.amount_minor",
    ),
    (
        "RecordActivity",
        _activity(lines=[{"quantity": 1, "amount_minor": str(10**15)}] * 200),
        "OUT_OF_RANGE",
        "POINTS_OUT_OF_RANGE",
        "limit",
    ),
    (
        "RecordActivity",
        _activity(payment={"amount_minor": "1", "currency_code": "EUR"}),
        "FAILED_PRECONDITION",
        "CURRENCY_NOT_ACCEPTED",
        "accepted_currency_code",
    ),
    (
        "RecordActivity",
        _activity(occurred_time="2020-01-01T00:00:00Z"),
        "OUT_OF_RANGE",
        "OCCURRED_TIME_NOT_ACCEPTED",
        "earliest_time",
    ),
    (
        "RecordActivity",
        _activity(activity_id="x\0y"),
        "INVALID_ARGUMENT",
        "FIELD_VIOLATIONS",
        "activity.activity_id",
    ),
    (
        "BatchRecordActivities",
        pb.BatchRecordActivitiesRequest(
            program_id=PROGRAM, activities=[purchase(f"a-{at}") for at in range(1_001)]
        ),
        "INVALID_ARGUMENT",
        "FIELD_VIOLATIONS",
        "activities",
    ),
    (
        "RecordActivity",
        pb.RecordActivityRequest(program_id=PROGRAM),
        "INVALID_ARGUMENT",
        "FIELD_VIOLATIONS",
        "activity",
    ),
    ("ListEntries", _page(2**31 - 1), "INVALID_ARGUMENT", "FIELD_VIOLATIONS", "page_size"),
    ("ListEntries", _page(-1), "INVALID_ARGUMENT", "FIELD_VIOLATIONS", "page_size"),
    (
        "ListEntries",
        _page(1, "bm90IG91cnM"),
        "INVALID_ARGUMENT",
        "INVALID_PAGE_TOKEN",
        "page_token",
    ),
    (
        "HoldPoints",
        pb.HoldPointsRequest(request_id="h", program_id=PROGRAM, member_id="ann", points=-5),
        "INVALID_ARGUMENT",
        "FIELD_VIOLATIONS",
        "points",
    ),
    (
        "HoldPoints",
        pb.HoldPointsRequest(request_id="h", program_id=PROGRAM, points=5),
        "INVALID_ARGUMENT",
        "FIELD_VIOLATIONS",
        "member",
    ),
    (
        "HoldPoints",
        pb.HoldPointsRequest(request_id="h", program_id=PROGRAM, member_id="ann", points=16),
        "FAILED_PRECONDITION",
        "INSUFFICIENT_POINTS",
        "points_available",
    ),
    (
        "CaptureHold",
        pb.CaptureHoldRequest(request_id="h", program_id=PROGRAM, hold_id="zz"),
        "NOT_FOUND",
        "HOLD_NOT_FOUND",
        "hold_id",
    ),
    (
        "ReverseActivity",
        pb.ReverseActivityRequest(program_id=PROGRAM, order=order("v", "nothing")),
        "NOT_FOUND",
        "ACTIVITY_NOT_FOUND",
        "activity_id",
    ),
    (
        "ReverseActivity",
        pb.ReverseActivityRequest(program_id=PROGRAM, order=order("v-9", "a-1", lines=[(9, 1)])),
        "NOT_FOUND",
        "LINE_NOT_FOUND",
        "line_count",
    ),
    (
        "ReverseActivity",
        pb.ReverseActivityRequest(program_id=PROGRAM, order=order("v-3", "a-1", lines=[(1, 3)])),
        "FAILED_PRECONDITION",
        "QUANTITY_NOT_RETURNABLE",
        "quantity_returnable",
    ),
    (
        "EnrollMember",
        pb.EnrollMemberRequest(request_id="e", program_id=PROGRAM, member_id="ann"),
        "ALREADY_EXISTS",
        "MEMBER_ALREADY_EXISTS",
        "member_id",
    ),
    (
        "RecordActivity",
        pb.RecordActivityRequest(program_id=PROGRAM, activity=purchase("a-1", lines=[(1, 1)])),
        "ALREADY_EXISTS",
        "IDEMPOTENCY_KEY_REUSED",
        "request_id",
    ),
    (
        "GetEarningProgram",
        pb.GetEarningProgramRequest(program_id=PROGRAM, version=9),
        "NOT_FOUND",
        "PROGRAM_VERSION_NOT_FOUND",
        "version",
    ),
]


async def test_bad_input_is_refused_by_name_and_changes_nothing(peer: Peer) -> None:
    await peer.record()
    before = await peer.wallet()
    for method, request, code, reason, field in BAD:
        call: Callable[[Message], Awaitable[object]] = getattr(peer.earning, method)
        told = await refused(call(request))
        assert told[:2] == (code, reason), (method, told)
        assert field in told[2], (method, told)
    assert await peer.wallet() == before
    page = await peer.earning.ListEntries(_page(1))
    assert page.next_page_token == ""
    summary = await peer.earning.GetLedgerSummary(pb.GetLedgerSummaryRequest(program_id=PROGRAM))
    assert (summary.member_count, summary.points_earned) == (1, 15)


async def test_a_document_is_refused_with_the_path_of_every_complaint(peer: Peer) -> None:
    wrong = document(
        time_zone="Europe/Lundon",
        multiplier_policy=99,
        rules=[
            {"rule_id": "a", "condition": "activity.sauce == 1", "flat": {"points": 1}},
            {"rule_id": "a", "line_condition": "line.categry == ''", "flat": {"points": 1}},
            {"rule_id": "b", "condition": "tier + tier", "flat": {"points": 0}},
            {
                "rule_id": "c",
                "schedule": {"recurrence": "FREQ=HOURLY", "until_date": "2026-02-30"},
                "multiplier": {"numerator": 2, "denominator": 1},
            },
            {"rule_id": "d"},
        ],
    )
    call = peer.earning.ApplyEarningProgram(pb.ApplyEarningProgramRequest(program=wrong))
    code, reason, told = await refused(call)
    assert (code, reason) == ("INVALID_ARGUMENT", "INVALID_PROGRAM")
    assert set(told) == {
        "time_zone",
        "multiplier_policy",
        "rules[0].condition",
        "rules[1].rule_id",
        "rules[1].line_condition",
        "rules[2].condition",
        "rules[2].flat.points",
        "rules[3].schedule.until_date",
        "rules[4].effect",
    }
    assert "sauce" in told["rules[0].condition"]
    got = await peer.earning.GetEarningProgram(pb.GetEarningProgramRequest(program_id=PROGRAM))
    assert got.version.version == 1


async def test_bytes_that_are_no_message_are_refused(peer: Peer) -> None:
    raw: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = peer.channel.unary_unary(
        "/guerdon.earning.v1.EarningService/RecordActivity"
    )
    code, reason, _ = await refused(raw(b"\xff\xff\xff"))
    assert (code, reason) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
