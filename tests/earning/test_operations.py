"""Batches of commands on real databases: what is saved, answered, repeated and refused."""

import asyncio
from datetime import timedelta

import pytest

from guerdon.earning.v1 import activity_pb2, events_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from services.earning import explanations, tables, wire
from services.earning.commands import Command
from services.earning.domain import CurrencyId, EntryType, HoldState, MemberId, ProgramId
from services.earning.events import Recorded
from services.earning.refusals import (
    ActivityNotFound,
    CaptureExceedsHold,
    CurrencyNotAccepted,
    ExternalReferenceReused,
    HoldClosed,
    HoldNotCaptured,
    HoldNotFound,
    InsufficientPoints,
    MemberAlreadyExists,
    OccurredTimeNotAccepted,
    PointsOutOfRange,
    RefundExceedsCapture,
)
from shared import errors
from shared.work import Outcome
from tests.earning.nodes import PROGRAM, START, Node, order, purchase

LINES = [(2, 1_000), (1, 550)]


async def count(node: Node, table: str) -> int:
    async with node.database.reading() as tx:
        return len(await tx.fetch(getattr(tables, table).select()))


async def events(node: Node) -> list[str]:
    async with node.database.reading() as tx:
        rows = await tx.fetch(tables.kernel.feed_events.select())
    return [row.type.rpartition(".")[2] for row in rows]


async def test_the_first_activity_enrols_and_earns(node: Node) -> None:
    recorded = await node.record(purchase("a-1", lines=LINES))
    assert recorded.points == 15
    assert explanations.read(recorded.explanation).line_points == (10, 5)
    wallet = await node.wallet()
    assert (wallet.available, wallet.earned, wallet.sequence) == (15, 15, 1)
    [entry] = await node.entries()
    assert (entry.type, entry.activity_id) == (EntryType.EARN, "a-1")
    assert await events(node) == ["MemberEnrolled", "ActivityRecorded"]
    assert await node.verify() == []


async def test_the_event_carries_the_activity_without_the_member_id(node: Node) -> None:
    await node.record(purchase("a-1", lines=LINES, receipt="r"))
    async with node.database.reading() as tx:
        rows = await tx.fetch(tables.kernel.feed_events.select())
    event = events_pb2.ActivityRecorded.FromString(rows[1].payload)
    expected = purchase("a-1", "", lines=LINES, receipt="r")
    assert event.record.activity == expected
    assert event.record.points == 15
    assert [line.points for line in event.record.lines] == [10, 5]
    enrolled = events_pb2.MemberEnrolled.FromString(rows[0].payload)
    assert [each.identifier for each in enrolled.identifiers] == ["ann"]


async def test_the_same_activity_again_gets_an_equal_answer_and_books_nothing(node: Node) -> None:
    command = wire.record_from_proto(PROGRAM, purchase("a-1", lines=LINES))
    first = await node.group_commit.submit(command)
    await node.advance(days=500)  # the window is not asked again
    again = await node.group_commit.submit(command)
    assert again.repeated
    assert (again.answer, again.token) == (first.answer, first.token)
    assert await count(node, "entries") == 1


async def test_the_same_key_with_other_contents_is_refused(node: Node) -> None:
    await node.record(purchase("a-1", lines=LINES))
    for other in (purchase("a-1", lines=[(1, 1)]), purchase("a-1", "bob", lines=LINES)):
        with pytest.raises(errors.IdempotencyKeyReused):
            await node.record(other)
    assert await count(node, "activities") == 1


@pytest.mark.parametrize(
    ("activity", "refused"),
    [
        (
            purchase("a-1", occurred=START - timedelta(days=400, seconds=1)),
            OccurredTimeNotAccepted,
        ),
        (purchase("a-1", occurred=START + timedelta(minutes=6)), OccurredTimeNotAccepted),
        (purchase("a-1", lines=[(1, 10**15), (1, 10**15)] * 60), PointsOutOfRange),
    ],
)
async def test_a_refused_first_activity_leaves_nothing_behind(
    node: Node, activity: activity_pb2.Activity, refused: type[errors.Refusal]
) -> None:
    for _ in range(2):
        with pytest.raises(refused):
            await node.record(activity)
    for table in ("members", "member_identifiers", "wallets", "activities", "receipts"):
        assert await count(node, table) == 0
    assert await events(node) == []


async def test_an_unknown_program_and_an_unknown_member_are_refused(node: Node) -> None:
    with pytest.raises(errors.ProgramNotFound):
        await node.answer(wire.record_from_proto("nowhere", purchase("a-1")))
    await node.apply(enroll_unknown_members=False)
    with pytest.raises(errors.MemberNotFound):
        await node.record(purchase("a-1"))
    with pytest.raises(errors.MemberNotFound):
        await node.credit(5)
    with pytest.raises(errors.MemberNotFound):
        await node.wallet()


async def test_money_of_another_currency_is_refused(node: Node) -> None:
    activity = purchase("a-1", amount=500)
    activity.payment.currency_code = "EUR"
    with pytest.raises(CurrencyNotAccepted):
        await node.record(activity)


async def test_a_receipt_is_credited_once_whatever_key_it_comes_with(node: Node) -> None:
    await node.record(purchase("a-1", lines=LINES, receipt="0815"))
    with pytest.raises(ExternalReferenceReused):
        await node.record(purchase("a-2", lines=LINES, receipt="0815"))
    assert (await node.wallet()).available == 15


async def test_a_refused_activity_gives_its_receipt_back(node: Node) -> None:
    late = purchase("a-1", lines=LINES, receipt="0815", occurred=START + timedelta(days=1))
    with pytest.raises(OccurredTimeNotAccepted):
        await node.record(late)
    assert (await node.record(purchase("a-2", lines=LINES, receipt="0815"))).points == 15


async def test_copies_of_a_receipt_in_one_batch_are_settled_in_their_order(node: Node) -> None:
    late = START + timedelta(days=1)
    activities = [
        purchase("a-1", lines=LINES, receipt="0815", occurred=late),
        purchase("a-2", lines=LINES, receipt="0815"),
        purchase("a-3", lines=LINES, receipt="0815"),
    ]
    results = await node.results([wire.record_from_proto(PROGRAM, each) for each in activities])
    assert isinstance(results[0], OccurredTimeNotAccepted)
    assert isinstance(results[1], Outcome)
    assert isinstance(results[2], ExternalReferenceReused)
    async with node.database.reading() as tx:
        rows = await tx.fetch(tables.receipts.select())
    assert [row.activity_id for row in rows] == ["a-2"]


async def test_enrolment_is_refused_for_an_identifier_that_is_taken(node: Node) -> None:
    async def enroll(request_id: str) -> object:
        request = pb.EnrollMemberRequest(request_id=request_id, program_id=PROGRAM, member_id="ann")
        return await node.answer(wire.enroll_from_proto(request))

    first = await enroll("r-1")
    assert await enroll("r-1") == first
    with pytest.raises(MemberAlreadyExists):
        await enroll("r-2")
    assert (await node.wallet()).sequence == 0


async def test_the_level_that_counts_is_the_one_effective_when_it_happened(node: Node) -> None:
    await node.record(purchase("a-0", lines=[(1, 100)]))
    key = (await node.wallet()).member_key
    midnight = START.replace(hour=0) + timedelta(days=1)
    await node.keep_level(key, "gold", midnight)
    await node.keep_level(key, "silver", midnight)  # of two for one instant the later stands
    await node.advance(days=2)
    before = await node.record(purchase("a-1", lines=[(1, 999)], occurred=START))
    after = await node.record(purchase("a-2", lines=[(1, 999)], occurred=midnight))
    assert (before.points, after.points) == (9, 14)
    assert explanations.read(after.explanation).level_id == "silver"
    assert await node.verify() == []


async def test_a_preview_says_what_recording_would_and_writes_nothing(node: Node) -> None:
    command = wire.record_from_proto(PROGRAM, purchase("a-1", lines=LINES, receipt="r"))
    previewed = await node.queries.preview(command)
    assert await count(node, "members") + await count(node, "receipts") == 0
    recorded = await node.answer(command)
    assert isinstance(recorded, Recorded)
    assert previewed == recorded


async def test_previews_that_arrive_together_are_each_decided_as_if_alone(node: Node) -> None:
    """Two of one member, two of one receipt, one that is refused: none sees another."""
    activities = [
        purchase("a-1", "ann", lines=LINES, receipt="r"),
        purchase("a-2", "ann", lines=LINES, receipt="r"),
        purchase("a-3", "bob", lines=[(1, 999)]),
        purchase("a-4", "cid", lines=LINES, occurred=START - timedelta(days=900)),
    ]
    commands = [wire.record_from_proto(PROGRAM, each) for each in activities]
    alone = [await node.queries.preview(each) for each in commands[:3]]
    together = await asyncio.gather(
        *[node.queries.preview(each) for each in commands], return_exceptions=True
    )
    assert [each.points for each in alone] == [15, 15, 9]
    assert together[:3] == alone
    assert isinstance(together[3], OccurredTimeNotAccepted)
    assert await count(node, "members") + await count(node, "receipts") == 0


async def test_returns_by_lines_take_the_points_of_their_units(node: Node) -> None:
    await node.record(purchase("a-1", lines=[(3, 1_000), (2, 550)]))
    first = await node.reverse(order("v-1", "a-1", lines=[(1, 1)]))
    rest = await node.reverse(order("v-2", "a-1"))
    assert (first.points, first.amount) == (3, 333)
    assert (rest.points, rest.amount) == (12, 1_550 - 333)
    assert [line.quantity for line in rest.lines] == [2, 2]
    assert (
        first.lines[0].item
        == wire.line_items(
            wire.record_from_proto(PROGRAM, purchase("a-1", lines=[(3, 1_000)])).content
        )[0]
    )
    wallet = await node.wallet()
    assert (wallet.available, wallet.debt, wallet.reversed) == (0, 0, 15)
    assert await node.verify() == []


async def test_what_was_spent_before_a_return_becomes_debt_and_the_next_points_repay_it(
    node: Node,
) -> None:
    await node.record(purchase("a-1", lines=[(1, 10_000)]))
    hold = await node.hold(80)
    await node.capture(hold.hold_id)
    reversal = await node.reverse(order("v-1", "a-1"))
    assert (reversal.points, reversal.owed) == (100, 80)
    assert (await node.wallet()).debt == 80
    await node.credit(100)
    wallet = await node.wallet()
    assert (wallet.available, wallet.debt) == (20, 0)
    assert await node.verify() == []


async def test_a_return_of_an_activity_in_the_same_batch_is_decided_after_it(node: Node) -> None:
    commands: list[Command] = [
        wire.record_from_proto(PROGRAM, purchase("a-1", lines=LINES)),
        wire.reverse_from_proto(PROGRAM, order("v-1", "a-1", lines=[(1, 1)])),
        wire.reverse_from_proto(PROGRAM, order("v-2", "a-2")),
        wire.reverse_from_proto(PROGRAM, order("v-3", "a-1")),
    ]
    await node.apply(early_reversal_policy="EARLY_REVERSAL_POLICY_REFUSE")
    results = await node.results(commands)
    assert isinstance(results[2], ActivityNotFound)
    wallet = await node.wallet()
    assert (wallet.available, wallet.reversed, wallet.sequence) == (0, 15, 3)
    assert await node.verify() == []


async def test_a_return_without_points_is_an_event_all_the_same(node: Node) -> None:
    await node.record(purchase("a-1", lines=[(2, 500)], category="postage"))
    reversal = await node.reverse(order("v-1", "a-1", lines=[(1, 1)]))
    assert (reversal.points, reversal.amount) == (0, 250)
    assert await events(node) == ["MemberEnrolled", "ActivityRecorded", "ActivityReversed"]
    assert await count(node, "entries") == 0


async def test_a_hold_is_captured_in_part_and_refunded(node: Node) -> None:
    await node.record(purchase("a-1", lines=[(1, 10_000)]))
    hold = await node.hold(60)
    assert (await node.wallet()).held == 60
    captured = await node.capture(hold.hold_id, 50)
    assert (captured.state, captured.captured) == (HoldState.CAPTURED, 50)
    assert (await node.wallet()).available == 50
    assert (await node.refund(hold.hold_id, 20)).refunded == 20
    assert (await node.refund(hold.hold_id)).refunded == 50
    wallet = await node.wallet()
    assert (wallet.available, wallet.spent, wallet.held) == (100, 0, 0)
    assert await node.verify() == []


async def test_what_a_hold_does_not_allow_is_refused(node: Node) -> None:
    await node.record(purchase("a-1", lines=[(1, 10_000)]))
    with pytest.raises(InsufficientPoints) as refused:
        await node.hold(101)
    assert (refused.value.points_needed, refused.value.points_available) == (101, 100)
    hold = await node.hold(60)
    with pytest.raises(CaptureExceedsHold):
        await node.capture(hold.hold_id, 61)
    with pytest.raises(HoldNotCaptured):
        await node.refund(hold.hold_id)
    await node.capture(hold.hold_id)
    with pytest.raises(HoldClosed):
        await node.void(hold.hold_id)
    with pytest.raises(RefundExceedsCapture):
        await node.refund(hold.hold_id, 61)
    with pytest.raises(HoldNotFound):
        await node.capture("nothing")
    assert await node.verify() == []


async def test_a_hold_ends_at_its_instant_and_the_job_books_it_once(node: Node) -> None:
    await node.record(purchase("a-1", lines=[(1, 10_000)]))
    hold = await node.hold(60, seconds=10)
    assert await node.expire_holds.due() == 0
    await node.advance(seconds=10)
    with pytest.raises(HoldClosed):
        await node.capture(hold.hold_id)
    assert await node.expire_holds.due() == 1
    await asyncio.gather(node.expire_holds.run(), node.expire_holds.run())
    assert await node.expire_holds.due() == 0
    assert (await node.wallet()).available == 100
    assert [each.type for each in await node.entries()].count(EntryType.VOID) == 1
    assert await node.verify() == []


async def test_the_summary_is_the_sum_of_the_entries(node: Node) -> None:
    await node.record(purchase("a-1", lines=[(1, 10_000)]))
    await node.record(purchase("a-2", "bob", type_="visit"))
    await node.credit(7)
    hold = await node.hold(50)
    await node.capture(hold.hold_id, 40)
    await node.refund(hold.hold_id, 5)
    await node.reverse(order("v-1", "a-1"))
    summary = await node.queries.summary(ProgramId(PROGRAM), CurrencyId(""))
    assert summary.members == 2
    assert summary.activities == (("purchase", 1), ("visit", 1))
    assert (summary.earned, summary.credited, summary.spent) == (130, 7, 35)
    assert (summary.reversed, summary.reversals, summary.debt) == (100, 1, 28)
    assert (summary.available, summary.held, summary.pending) == (30, 0, 0)


async def test_pages_go_through_all_entries_and_activities_once(node: Node) -> None:
    for number in range(7):
        await node.record(purchase(f"a-{number}", lines=[(1, 100)]))
    seen: list[int] = []
    token = ""
    while True:
        page = await node.queries.entries(
            ProgramId(PROGRAM), MemberId("ann"), CurrencyId(""), page_size=3, page_token=token
        )
        seen += [entry.sequence for entry in page.entries]
        token = page.next_page_token
        if not token:
            break
    assert seen == [7, 6, 5, 4, 3, 2, 1]
    first = await node.queries.activities(
        ProgramId(PROGRAM), MemberId("ann"), page_size=4, page_token=""
    )
    second = await node.queries.activities(
        ProgramId(PROGRAM), MemberId("ann"), page_size=4, page_token=first.next_page_token
    )
    ids = [record.activity_id for record in (*first.records, *second.records)]
    assert ids == [f"a-{number}" for number in reversed(range(7))]
    with pytest.raises(errors.InvalidPageToken):
        await node.queries.activities(
            ProgramId(PROGRAM), MemberId("bob"), page_size=4, page_token=first.next_page_token
        )
