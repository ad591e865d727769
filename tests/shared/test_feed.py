"""The log of a service, read over gRPC from both databases."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import given
from hypothesis import strategies as st

from guerdon.feed.v1 import feed_service_pb2 as pb
from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceStub
from shared.database import Database
from shared.feed import (
    CursorBeyondHead,
    EventsTrimmed,
    FeedReader,
    IncarnationChanged,
    PartitionUnknown,
    Place,
    Progress,
    shares,
)
from shared.feed_log import append_events
from shared.rpc.client import refusal_of
from shared.tables import KernelTables
from shared.wakeups import Wakeups
from tests.shared.feeds import (
    FAR,
    NOW,
    PARTITIONS,
    TABLES,
    append,
    member,
    prepared,
    said,
    servicer_of,
    serving,
)

if TYPE_CHECKING:
    from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceAsyncStub


@pytest.fixture
async def database(database: Database) -> Database:
    return await prepared(database)


@pytest.fixture
def tables() -> KernelTables:
    return TABLES


@pytest.fixture
async def stub(database: Database, tables: KernelTables) -> AsyncIterator["FeedServiceAsyncStub"]:
    async with serving(servicer_of(database, tables)) as channel:
        yield FeedServiceStub(channel)


def _texts(events: Iterable[pb.Event]) -> list[str]:
    texts: list[str] = []
    for event in events:
        value = StringValue()
        assert event.payload.Unpack(value)
        texts.append(value.value)
    return texts


async def _reason(call: Awaitable[object]) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return refusal_of(failed.value).reason


async def test_a_page_has_the_events_after_a_position_in_order(
    database: Database, tables: KernelTables, stub: "FeedServiceAsyncStub"
) -> None:
    await append(database, tables, [said(member(1), text) for text in "abcde"])
    page = await stub.ReadEvents(pb.ReadEventsRequest(partition=1, after_position=1, page_size=3))
    assert _texts(page.events) == ["b", "c", "d"]
    assert [event.position for event in page.events] == [2, 3, 4]
    assert (page.head_position, page.incarnation) == (5, "one")
    assert page.events[0].create_time.ToDatetime(tzinfo=NOW.tzinfo) == NOW


async def test_a_page_at_the_head_is_empty(stub: "FeedServiceAsyncStub") -> None:
    page = await stub.ReadEvents(pb.ReadEventsRequest(partition=0))
    assert (list(page.events), page.head_position) == ([], 0)


async def test_what_cannot_be_read_is_refused_by_name(
    database: Database, tables: KernelTables, stub: "FeedServiceAsyncStub"
) -> None:
    await append(database, tables, [said(member(1), "a")])
    requests = {
        PartitionUnknown.reason: pb.ReadEventsRequest(partition=PARTITIONS),
        IncarnationChanged.reason: pb.ReadEventsRequest(partition=1, incarnation="two"),
        CursorBeyondHead.reason: pb.ReadEventsRequest(partition=1, after_position=2),
    }
    for reason, request in requests.items():
        assert await _reason(stub.ReadEvents(request)) == reason


async def test_events_that_were_trimmed_are_an_error_and_never_a_gap(
    database: Database, tables: KernelTables, stub: "FeedServiceAsyncStub"
) -> None:
    await append(database, tables, [said(member(1), text) for text in "abc"])
    async with database.transaction() as tx:
        await tx.delete(tables.feed_events, [(1, 1)], key=("partition", "position"))
    assert await _reason(stub.ReadEvents(pb.ReadEventsRequest(partition=1))) == EventsTrimmed.reason
    page = await stub.ReadEvents(pb.ReadEventsRequest(partition=1, after_position=1))
    assert _texts(page.events) == ["b", "c"]


async def test_a_followed_stream_answers_at_once_even_when_nothing_happened(
    stub: "FeedServiceAsyncStub",
) -> None:
    call = stub.FollowEvents(pb.FollowEventsRequest(), timeout=FAR)
    async with asyncio.timeout(5):
        first = await anext(aiter(call))
    call.cancel()
    assert (list(first.events), first.incarnation) == ([], "one")
    assert [(head.partition, head.position) for head in first.heads] == [
        (partition, 0) for partition in range(PARTITIONS)
    ]


async def test_one_stream_carries_all_partitions_and_a_commit_wakes_it(
    database: Database, tables: KernelTables, stub: "FeedServiceAsyncStub"
) -> None:
    await append(database, tables, [said(member(0), "a"), said(member(3), "b")])
    call = stub.FollowEvents(pb.FollowEventsRequest(), timeout=FAR)
    pages = aiter(call)
    async with asyncio.timeout(5):
        assert _texts((await anext(pages)).events) == ["a", "b"]
        for text in "cd":
            await append(database, tables, [said(member(2), text)])
            assert _texts((await anext(pages)).events) == [text]
    call.cancel()


async def test_a_stream_begins_after_its_cursors_and_carries_only_their_partitions(
    database: Database, tables: KernelTables, stub: "FeedServiceAsyncStub"
) -> None:
    await append(database, tables, [said(member(each % 2), str(each)) for each in range(6)])
    cursor = pb.Cursor(partition=1, position=1)
    call = stub.FollowEvents(pb.FollowEventsRequest(cursors=[cursor]), timeout=FAR)
    page = await anext(aiter(call))
    call.cancel()
    assert _texts(page.events) == ["3", "5"]
    assert [(head.partition, head.position) for head in page.heads] == [(1, 3)]


async def test_a_stream_pages_through_what_is_there(
    database: Database, tables: KernelTables, stub: "FeedServiceAsyncStub"
) -> None:
    texts = [str(each) for each in range(25)]
    await append(database, tables, [said(member(1), text) for text in texts])
    call = stub.FollowEvents(pb.FollowEventsRequest(page_size=4), timeout=FAR)
    read: list[str] = []
    async for page in call:
        assert len(page.events) <= 4
        read += _texts(page.events)
        if len(read) == len(texts):
            break
    call.cancel()
    assert read == texts


async def test_a_page_of_large_events_is_cut_into_messages_that_grpc_takes(
    database: Database, tables: KernelTables, stub: "FeedServiceAsyncStub"
) -> None:
    await append(database, tables, [said(member(1), "x" * 400_000) for _ in range(12)])
    call = stub.FollowEvents(pb.FollowEventsRequest(), timeout=FAR)
    positions: list[int] = []
    async for page in call:
        positions += [event.position for event in page.events]
        if len(positions) == 12:
            break
    call.cancel()
    assert positions == list(range(1, 13))


@pytest.mark.parametrize(
    ("reason", "request_"),
    [
        (PartitionUnknown.reason, pb.FollowEventsRequest(cursors=[pb.Cursor(partition=9)])),
        (IncarnationChanged.reason, pb.FollowEventsRequest(incarnation="two")),
        (
            CursorBeyondHead.reason,
            pb.FollowEventsRequest(cursors=[pb.Cursor(partition=0, position=1)]),
        ),
    ],
)
async def test_a_stream_that_cannot_be_followed_is_refused_by_name(
    stub: "FeedServiceAsyncStub", reason: str, request_: pb.FollowEventsRequest
) -> None:
    assert await _reason(anext(aiter(stub.FollowEvents(request_, timeout=FAR)))) == reason


async def test_a_log_that_gets_shorter_under_a_stream_ends_it(
    database: Database, tables: KernelTables, stub: "FeedServiceAsyncStub"
) -> None:
    await append(database, tables, [said(member(1), "a"), said(member(1), "b")])
    pages = aiter(stub.FollowEvents(pb.FollowEventsRequest(), timeout=FAR))
    await anext(pages)
    async with database.transaction() as tx:
        await tx.update(tables.feed_heads, [{"partition": 1, "position": 1}], key=("partition",))
    assert await _reason(anext(pages)) == CursorBeyondHead.reason


async def test_a_stream_that_waits_holds_no_connection(
    database: Database, tables: KernelTables, stub: "FeedServiceAsyncStub"
) -> None:
    calls = [stub.FollowEvents(pb.FollowEventsRequest(), timeout=FAR) for _ in range(20)]
    streams = [aiter(call) for call in calls]
    async with asyncio.timeout(10):
        for stream in streams:
            await anext(stream)
        await append(database, tables, [said(member(1), "a")])
        assert [_texts((await anext(stream)).events) for stream in streams] == [["a"]] * 20
    for call in calls:
        call.cancel()


async def test_a_stream_ends_well_when_the_server_stops(
    database: Database, tables: KernelTables
) -> None:
    servicer = servicer_of(database, tables)
    async with serving(servicer) as channel:
        call = FeedServiceStub(channel).FollowEvents(pb.FollowEventsRequest(), timeout=FAR)
        pages = aiter(call)
        await anext(pages)
        servicer.close()
        async with asyncio.timeout(5):
            assert [page async for page in pages] == []
        assert await call.code() is grpc.StatusCode.OK


async def test_an_event_that_nobody_announced_is_found_by_the_poll(
    database: Database, tables: KernelTables
) -> None:
    other = await Database.open(database.url, schema=database.schema)
    async with serving(servicer_of(database, tables, poll_seconds=0.05)) as channel:
        call = FeedServiceStub(channel).FollowEvents(pb.FollowEventsRequest(), timeout=FAR)
        pages = aiter(call)
        await anext(pages)
        await append(other, tables, [said(member(1), "a")])
        async with asyncio.timeout(5):
            assert _texts((await anext(pages)).events) == ["a"]
        call.cancel()
    await other.dispose()


async def test_a_commit_of_another_copy_is_hinted_on_postgresql(
    database: Database, tables: KernelTables
) -> None:
    if database.dialect == "sqlite":
        pytest.skip("with SQLite there is one process")
    other = await Database.open(database.url, schema=database.schema)
    here, there = Wakeups(), Wakeups()
    other.on_commit(there.committed)
    connected = [here.mark(), there.mark()]  # each is set once when its connection is there
    hints = [
        asyncio.create_task(each.exchange_hints(database.url, database.schema))
        for each in (here, there)
    ]
    async with asyncio.timeout(10):
        for mark in connected:
            await mark.wait()
        changed = here.mark()
        await append(other, tables, [said(member(1), "a")])
        assert await changed.wait()
    for task in hints:
        task.cancel()
    await asyncio.gather(*hints, return_exceptions=True)
    await other.dispose()


async def test_readers_see_every_position_while_many_write(
    database: Database, tables: KernelTables, stub: "FeedServiceAsyncStub"
) -> None:
    async def write(writer: int) -> None:
        for number in range(10):
            if number == 5:
                with pytest.raises(ZeroDivisionError):
                    await _append_and_fail(database, tables)
            await append(database, tables, [said(member(number % 2), f"{writer} {number}")])

    call = stub.FollowEvents(pb.FollowEventsRequest(), timeout=FAR)
    writing = asyncio.gather(*(write(writer) for writer in range(8)))
    positions: dict[int, list[int]] = {0: [], 1: []}
    async with asyncio.timeout(30):
        async for page in call:
            for event in page.events:
                positions[event.partition].append(event.position)
            if sum(map(len, positions.values())) == 80:
                break
    await writing
    call.cancel()
    assert positions == {0: list(range(1, 41)), 1: list(range(1, 41))}


async def _append_and_fail(database: Database, tables: KernelTables) -> None:
    async with database.transaction() as tx:
        await append_events(tx, tables, [said(member(0), "x")], partitions=PARTITIONS, now=NOW)
        raise ZeroDivisionError


async def test_heads_tell_how_far_everything_is(database: Database, tables: KernelTables) -> None:
    progress = Progress(
        intentions_open=2,
        jobs_due=1,
        projections=(Place(source="board", partition=0, position=3),),
        projection_heads=(Place(source="board", partition=0, position=4),),
    )
    await append(database, tables, [said(member(2), "a")])
    async with database.transaction() as tx:
        await tx.insert(
            tables.feed_cursors,
            [{"source": "tiers", "partition": 1, "position": 7, "incarnation": ""}],
        )
    async with serving(servicer_of(database, tables, progress=progress)) as channel:
        heads = await FeedServiceStub(channel).GetHeads(pb.GetHeadsRequest())
    assert (heads.incarnation, heads.partitions) == ("one", PARTITIONS)
    assert [head.position for head in heads.heads] == [0, 0, 1, 0]
    assert list(heads.cursors) == [pb.Cursor(source="tiers", partition=1, position=7)]
    assert list(heads.projections) == [pb.Cursor(source="board", partition=0, position=3)]
    assert list(heads.projection_heads) == [pb.Cursor(source="board", partition=0, position=4)]
    assert (heads.intentions_open, heads.jobs_due) == (2, 1)
    assert heads.now.ToDatetime(tzinfo=NOW.tzinfo) == NOW


async def test_a_range_of_several_partitions_is_read_in_order(
    database: Database, tables: KernelTables
) -> None:
    await append(database, tables, [said(member(each % 3), str(each)) for each in range(9)])
    reader = FeedReader(tables)
    async with database.reading() as tx:
        events = await reader.events(tx, {2: (1, 3), 0: (0, 2), 1: (2, 3)})
    assert _texts(events) == ["0", "3", "7", "5", "8"]


@given(
    waiting=st.dictionaries(st.integers(0, 15), st.integers(0, 50), max_size=16),
    page_size=st.integers(1, 40),
    first=st.integers(0, 15),
)
def test_a_page_is_filled_and_shared_among_the_partitions_that_moved(
    waiting: Mapping[int, int], page_size: int, first: int
) -> None:
    cursors = {partition: 10 * partition for partition in waiting}
    heads = {partition: cursors[partition] + count for partition, count in waiting.items()}
    given_out = shares(cursors, heads, page_size, first)
    counts = {partition: upto - after for partition, (after, upto) in given_out.items()}
    assert sum(counts.values()) == min(page_size, sum(waiting.values()))
    for partition, (after, upto) in given_out.items():
        assert after == cursors[partition]
        assert after < upto <= heads[partition]
    moved = sum(count > 0 for count in waiting.values())
    for partition, count in waiting.items():
        if moved:
            assert counts.get(partition, 0) >= min(count, page_size // moved)


def test_partitions_that_got_nothing_are_first_next_time() -> None:
    cursors, heads = dict.fromkeys(range(4), 0), dict.fromkeys(range(4), 1)
    assert list(shares(cursors, heads, 2, 0)) == [0, 1]
    assert list(shares(cursors, heads, 2, 2)) == [2, 3]
