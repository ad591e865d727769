"""The service as callers meet it: started whole, behind real gRPC, following a real feed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.clock.v1 import clock_service_pb2 as clock_pb
from guerdon.clock.v1.clock_service_pb2_grpc import ClockServiceStub
from guerdon.feed.v1 import feed_service_pb2 as feed_pb
from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceStub
from guerdon.feed.v1.program_document_pb2 import AppliedDocument
from guerdon.tiers.v1 import events_pb2, program_pb2
from guerdon.tiers.v1 import tiers_service_pb2 as pb
from guerdon.tiers.v1.tiers_service_pb2_grpc import TiersServiceStub
from services.tiers import service
from services.tiers.settings import Settings
from shared.rpc.client import channel, refusal_of
from shared.rpc.status import refusal_of_status
from tests.tiers.cases import at
from tests.tiers.documents import giftshop, with_stamps
from tests.tiers.publisher import Customer, Publisher, publishing

if TYPE_CHECKING:
    from guerdon.tiers.v1.tiers_service_pb2_grpc import TiersServiceAsyncStub

NOON = at("2010-12-01 12:00")
DAY = timedelta(days=1)


@dataclass(slots=True)
class Peer:
    """A running tiers, and the publisher that it follows."""

    address: str
    channel: grpc.aio.Channel
    publisher: Publisher

    @property
    def tiers(self) -> "TiersServiceAsyncStub":
        """Stub of the service."""
        return TiersServiceStub(self.channel)

    async def apply(self, document: program_pb2.TiersProgram | None = None) -> AppliedDocument:
        """Apply a document, the gift shop's by default."""
        request = pb.ApplyTiersProgramRequest(program=document or giftshop())
        answer = await self.tiers.ApplyTiersProgram(request)
        return answer.applied

    async def advance(self, to: datetime) -> None:
        """Move the clock."""
        stamp = Timestamp()
        stamp.FromDatetime(to)
        await ClockServiceStub(self.channel).AdvanceClock(clock_pb.AdvanceClockRequest(to=stamp))


@pytest.fixture
async def peer(database_url: str, tmp_path: object) -> AsyncIterator[Peer]:
    """A running service over each kind of database."""
    async with publishing(f"sqlite:///{tmp_path}/earning.db") as publisher:
        running = await service.start(
            Settings(
                database_url=database_url,
                listen="127.0.0.1:0",
                earning_address=publisher.address,
                clock="simulated",
                clock_start="2010-12-01T12:00:00Z",
                log_level="error",
            )
        )
        async with channel(running.address) as opened:
            yield Peer(running.address, opened, publisher)
        await running.stop()


async def refused(call: Awaitable[object]) -> tuple[str, str, dict[str, str]]:
    """Code, reason and violations (or metadata) of a call that must be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    refusal = refusal_of(failed.value)
    told = {each.field: each.description for each in refusal.violations}
    return refusal.code, refusal.reason, told or refusal.metadata()


async def test_a_read_waits_for_what_the_writer_was_answered(peer: Peer) -> None:
    await peer.apply()
    ann = Customer.of("ann")
    token = await peer.publisher.publish(
        ann.joins(NOON), ann.buys("1", NOON, 40_000), ann.buys("2", NOON, 20_000)
    )
    request = pb.GetMembershipRequest(program_id="giftshop", member_id="ann", wait_for_token=token)
    told = (await peer.tiers.GetMembership(request)).membership
    assert (told.member_key, told.ladder_id, told.level.level_id) == (ann.key, "main", "member")
    assert told.since_time.ToDatetime(tzinfo=UTC) == NOON
    assert (told.upcoming.level.level_id, told.upcoming.level_rank) == ("silver", 1)
    assert told.upcoming.effective_time.ToDatetime(tzinfo=UTC) == at("2010-12-02 00:00")
    assert (told.net_spend_minor, told.next_level.level_id) == (60_000, "gold")
    assert told.net_spend_minor_to_next == 140_000
    assert (told.window_start_date.day, told.window_end_date.day) == (2, 1)
    await peer.advance(NOON + DAY)
    told = (await peer.tiers.GetMembership(request)).membership
    assert (told.level.display_name, told.level_rank) == ("Silver", 1)
    assert not told.HasField("upcoming")
    assert told.since_time.ToDatetime(tzinfo=UTC) == at("2010-12-02 00:00")


async def test_a_batch_answers_each_member_for_itself(peer: Peer) -> None:
    await peer.apply(with_stamps())
    ann = Customer.of("ann")
    token = await peer.publisher.publish(ann.joins(NOON), ann.buys("1", NOON, 100))
    answer = await peer.tiers.BatchGetMemberships(
        pb.BatchGetMembershipsRequest(
            program_id="giftshop",
            member_ids=["nobody", "ann", "ann"],
            ladder_id="stamps",
            wait_for_token=token,
        )
    )
    nobody, *both = answer.results
    assert refusal_of_status(nobody.refused).reason == "MEMBER_NOT_FOUND"
    assert [each.membership.upcoming.level.level_id for each in both] == ["stamp", "stamp"]


async def test_changes_and_summary_and_feed_tell_the_same(peer: Peer) -> None:
    await peer.apply()
    ann = Customer.of("ann")
    token = await peer.publisher.publish(
        ann.joins(NOON), ann.buys("1", NOON, 50_000), ann.returns("1", NOON, (1, 50_000))
    )
    listed = await peer.tiers.ListMembershipChanges(
        pb.ListMembershipChangesRequest(
            program_id="giftshop", member_id="ann", page_size=2, wait_for_token=token
        )
    )
    assert [(each.sequence, each.level_id, each.superseded) for each in listed.changes] == [
        (3, "member", False),
        (2, "silver", True),
    ]
    rest = await peer.tiers.ListMembershipChanges(
        pb.ListMembershipChangesRequest(
            program_id="giftshop",
            member_id="ann",
            page_size=2,
            page_token=listed.next_page_token,
        )
    )
    assert [each.sequence for each in rest.changes] == [1]
    assert not rest.next_page_token
    summary = await peer.tiers.GetTiersSummary(pb.GetTiersSummaryRequest(program_id="giftshop"))
    assert summary.member_count == 1
    assert [(each.level_id, each.member_count) for each in summary.ladders[0].levels] == [
        ("member", 1),
        ("silver", 0),
        ("gold", 0),
    ]
    heads = await FeedServiceStub(peer.channel).GetHeads(feed_pb.GetHeadsRequest())
    [head] = [each for each in heads.heads if each.position]
    page = await FeedServiceStub(peer.channel).ReadEvents(
        feed_pb.ReadEventsRequest(partition=head.partition)
    )
    said = []
    for event in page.events:
        changed = events_pb2.MembershipChanged()
        assert event.payload.Unpack(changed)
        said.append((changed.previous_level_id, changed.level_id))
    assert said == [("", "member"), ("member", "silver"), ("silver", "member")]


async def test_verify_streams_progress_and_finds_nothing(peer: Peer) -> None:
    await peer.apply()
    ann = Customer.of("ann")
    token = await peer.publisher.publish(ann.joins(NOON), ann.buys("1", NOON, 50_000))
    await peer.tiers.GetTiersSummary(
        pb.GetTiersSummaryRequest(program_id="giftshop", wait_for_token=token)
    )
    last = None
    async for message in peer.tiers.VerifyTiers(pb.VerifyTiersRequest()):
        last = message.progress
        assert not last.violations
    assert last is not None
    assert (last.stage, last.done, last.total) == ("feed", 2, 2)


async def test_members_before_the_ladder_are_taken_in_and_quiet_is_told(peer: Peer) -> None:
    ann = Customer.of("ann")
    await peer.publisher.publish(ann.joins(NOON))
    await peer.apply()
    for _ in range(100):
        heads = await FeedServiceStub(peer.channel).GetHeads(feed_pb.GetHeadsRequest())
        applied = sum(each.position for each in heads.cursors)
        if heads.jobs_due == 0 and applied == 1 and any(each.position for each in heads.heads):
            break
        await asyncio.sleep(0.1)
    answer = await peer.tiers.GetMembership(
        pb.GetMembershipRequest(program_id="giftshop", member_id="ann")
    )
    assert answer.membership.level.level_id == "member"


async def test_an_apply_tells_the_difference_and_repeats_as_nothing(peer: Peer) -> None:
    first = await peer.apply()
    assert (first.version, bool(first.etag)) == (1, True)
    assert [each.change for each in first.differences]
    again = await peer.apply()
    assert (again.version, again.etag, len(again.differences)) == (1, first.etag, 0)
    answer = await peer.tiers.GetTiersProgram(pb.GetTiersProgramRequest(program_id="giftshop"))
    assert answer.version.program == giftshop()
    assert (answer.version.version, answer.version.etag) == (1, first.etag)


async def test_bad_input_is_refused_by_name_and_changes_nothing(peer: Peer) -> None:
    tiers = peer.tiers
    get = pb.GetMembershipRequest
    assert await refused(tiers.GetMembership(get(program_id="nowhere", member_id="ann"))) == (
        "NOT_FOUND",
        "PROGRAM_NOT_FOUND",
        {"program_id": "nowhere"},
    )
    wrong = with_stamps()
    wrong.ladders[0].levels[1].net_spend_minor = 200_001
    wrong.ladders[0].net_spend.line_condition = "line.colour == 'red'"
    wrong.ladders[1].levels[0].net_spend_minor = 5
    code, reason, told = await refused(
        tiers.ApplyTiersProgram(pb.ApplyTiersProgramRequest(program=wrong))
    )
    assert (code, reason) == ("INVALID_ARGUMENT", "INVALID_PROGRAM")
    assert set(told) == {
        "ladders[0].levels[2].net_spend_minor",
        "ladders[0].net_spend.line_condition",
        "ladders[1].levels[0].net_spend_minor",
    }
    assert (await refused(tiers.ApplyTiersProgram(pb.ApplyTiersProgramRequest())))[:2] == (
        "INVALID_ARGUMENT",
        "INVALID_PROGRAM",
    )
    assert (await refused(tiers.GetTiersProgram(pb.GetTiersProgramRequest(program_id="giftshop"))))[
        1
    ] == "PROGRAM_NOT_FOUND"
    await peer.apply()
    assert await refused(
        tiers.GetMembership(get(program_id="giftshop", member_id="ann", ladder_id="up"))
    ) == ("NOT_FOUND", "LADDER_NOT_FOUND", {"program_id": "giftshop", "ladder_id": "up"})
    assert await refused(tiers.GetMembership(get(program_id="giftshop", member_id="ann"))) == (
        "NOT_FOUND",
        "MEMBER_NOT_FOUND",
        {"member_id": "ann"},
    )
    assert (
        await refused(
            tiers.GetTiersProgram(pb.GetTiersProgramRequest(program_id="giftshop", version=9))
        )
    )[1] == "PROGRAM_VERSION_NOT_FOUND"


SHAPES: list[tuple[Message, str]] = [
    (pb.GetMembershipRequest(program_id="", member_id="ann"), "program_id"),
    (pb.GetMembershipRequest(program_id="giftshop", member_id="x" * 129), "member_id"),
    (pb.GetMembershipRequest(program_id="giftshop", member_id="a\0b"), "member_id"),
    (pb.BatchGetMembershipsRequest(program_id="giftshop", member_ids=["x"] * 1_001), "member_ids"),
    (pb.BatchGetMembershipsRequest(program_id="giftshop"), "member_ids"),
    (
        pb.ListMembershipChangesRequest(
            program_id="giftshop", member_id="ann", page_size=2**31 - 1
        ),
        "page_size",
    ),
    (
        pb.ListMembershipChangesRequest(program_id="giftshop", member_id="ann", page_size=-1),
        "page_size",
    ),
    (pb.GetTiersProgramRequest(program_id="giftshop", version=-1), "version"),
    (
        pb.GetMembershipRequest(program_id="giftshop", member_id="ann", wait_for_token="earning"),
        "wait_for_token",
    ),
    (
        pb.GetMembershipRequest(program_id="giftshop", member_id="ann", wait_for_token="mars:1:1"),
        "wait_for_token",
    ),
]


async def test_a_misshapen_field_is_named(peer: Peer) -> None:
    await peer.apply()
    for request, field in SHAPES:
        name = type(request).__name__.removesuffix("Request")
        code, _, told = await refused(getattr(peer.tiers, name)(request))
        assert (code, list(told)) == ("INVALID_ARGUMENT", [field]), request


async def test_a_token_from_the_future_is_not_waited_for_for_ever(peer: Peer) -> None:
    await peer.apply()
    request = pb.GetMembershipRequest(
        program_id="giftshop", member_id="ann", wait_for_token="earning:3:99"
    )
    async with grpc.aio.insecure_channel(peer.address) as impatient:  # it does not try again
        call = TiersServiceStub(impatient).GetMembership(request, timeout=20)
        assert (await refused(call))[:2] == ("UNAVAILABLE", "NOT_READY")
