"""Members that wait, over gRPC: who, why, and another try."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from guerdon.feed.v1 import parked_service_pb2 as pb
from guerdon.feed.v1.parked_service_pb2_grpc import (
    ParkedServiceStub,
    add_ParkedServiceServicer_to_server,
)
from shared.database import Database
from shared.ids import SystemIds
from shared.parked_servicer import ParkedServicer
from shared.rpc.client import channel, refusal_of
from shared.rpc.server import RpcServer
from tests.shared.feeds import TABLES, append, member, prepared, said, servicer_of, serving
from tests.shared.nodes import SOURCE, Node, following, open_node_database

if TYPE_CHECKING:
    from guerdon.feed.v1.parked_service_pb2_grpc import ParkedServiceAsyncStub

ANN, BOB, CAT = member(1, 1), member(1, 2), member(2, 3)
ALL = pb.ListParkedMembersRequest()


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[Node]:
    """A service that follows the log in `database`, and is told of Ann, Bob and Cat."""
    await prepared(database)
    made = Node(await open_node_database(database, tmp_path))
    made.hearing.poison = {"poison"}
    told = [(ANN, "1"), (ANN, "poison"), (BOB, "2"), (ANN, "3"), (CAT, "poison"), (BOB, "4")]
    await append(database, TABLES, [said(who, what) for who, what in told])
    async with serving(servicer_of(database, TABLES)) as talk:
        follower = made.follower(talk)
        async with following(follower):
            async with database.reading() as tx:
                heads = await tx.fetch(TABLES.feed_heads.select())
            for head in heads:
                await follower.wait_for(head.partition, head.position, seconds=60)
    yield made
    await made.commit.close()
    await made.database.dispose()


@pytest.fixture
async def stub(node: Node) -> AsyncIterator["ParkedServiceAsyncStub"]:
    server = RpcServer("hearing", "127.0.0.1:0", concurrency_max=100, ids=SystemIds())
    name = pb.DESCRIPTOR.services_by_name["ParkedService"].full_name
    server.add(
        add_ParkedServiceServicer_to_server, ParkedServicer(node.database, node.parked), name
    )
    await server.start()
    async with channel(server.address) as opened:
        yield ParkedServiceStub(opened)
    await server.stop(1, drain=False)


def again(member_key: str, source: str = SOURCE) -> pb.RetryParkedMemberRequest:
    return pb.RetryParkedMemberRequest(source=source, member_key=member_key)


async def test_an_operator_sees_who_waits_and_what_the_oldest_event_failed_with(
    stub: "ParkedServiceAsyncStub",
) -> None:
    found = {each.member_key: each for each in (await stub.ListParkedMembers(ALL)).members}
    assert {key: each.events for key, each in found.items()} == {ANN: 2, CAT: 1}
    ann = found[ANN]
    assert (ann.source, ann.partition, ann.attempts) == (SOURCE, 1, 1)
    assert ann.error == "ZeroDivisionError: poison"
    assert (ann.event.program_id, ann.event.member_key, ann.event.position) == ("classic", ANN, 2)
    first = await stub.ListParkedMembers(pb.ListParkedMembersRequest(page_size=1))
    assert len(first.members) == 1


async def test_another_try_before_the_cause_is_gone_changes_nothing_but_how_often_it_was_tried(
    node: Node, stub: "ParkedServiceAsyncStub"
) -> None:
    before = await node.heard()
    done = await stub.RetryParkedMember(again(ANN))
    assert (done.applied, done.waiting) == (0, 2)
    assert done.error == "ZeroDivisionError: poison"
    assert await node.heard() == before
    tried = {each.member_key: each.attempts for each in (await stub.ListParkedMembers(ALL)).members}
    assert tried == {ANN: 2, CAT: 1}


async def test_another_try_applies_a_members_events_once_and_in_order_whoever_else_tries(
    node: Node, stub: "ParkedServiceAsyncStub"
) -> None:
    node.hearing.poison = set()
    done = await asyncio.gather(*(stub.RetryParkedMember(again(ANN)) for _ in range(64)))
    assert {(each.waiting, each.error) for each in done} == {(0, "")}
    assert [text for who, text in await node.heard() if who == ANN] == ["1", "poison", "3"]
    waiting = (await stub.ListParkedMembers(ALL)).members
    assert [each.member_key for each in waiting] == [CAT]
    once_more = await stub.RetryParkedMember(again(ANN))
    assert (once_more.applied, once_more.waiting) == (0, 0)


async def test_a_service_that_is_not_followed_is_refused_by_name(
    stub: "ParkedServiceAsyncStub",
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stub.RetryParkedMember(again(ANN, source="redemption"))
    refusal = refusal_of(failed.value)
    assert refusal.reason == "SOURCE_NOT_FOLLOWED"
    assert str(refusal) == f"redemption is not followed here, only {SOURCE}"
