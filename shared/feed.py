"""Serves the event log of one service: `guerdon.feed.v1.FeedService`.

Positions of a partition are gapless and in commit order (`shared/feed_log.py` appends them), so the
reader of a page knows from the heads alone how many events each partition has for it: one statement
reads the partitions that moved, each with its share of the page, and a missing row is an error,
never a skipped event. A followed stream holds no transaction, and no connection, between two pages.
"""

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from typing import TypeAlias

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.feed.v1 import feed_service_pb2 as pb
from guerdon.feed.v1 import feed_service_pb2_grpc
from shared import errors
from shared.clock import Clock
from shared.database import Database
from shared.feed_reader import EventsTrimmed, FeedReader, Identity, Place
from shared.tables import KernelTables
from shared.wakeups import Wakeups, wait_for_change

__all__ = [
    "CursorBeyondHead",
    "EventsTrimmed",
    "FeedReader",
    "FeedServicer",
    "IncarnationChanged",
    "PartitionUnknown",
    "Place",
    "Progress",
    "shares",
]

_PAGE_SIZE = 500
_PAGE_SIZE_MAX = 1_000
_POLL_SECONDS = 0.5
_MESSAGE_BYTES_MAX = 1 << 20  # a page that is larger goes in several messages; gRPC takes 4 MiB

_ReadContext: TypeAlias = grpc.aio.ServicerContext[pb.ReadEventsRequest, pb.ReadEventsResponse]
_FollowContext: TypeAlias = grpc.aio.ServicerContext[
    pb.FollowEventsRequest, pb.FollowEventsResponse
]
_HeadsContext: TypeAlias = grpc.aio.ServicerContext[pb.GetHeadsRequest, pb.GetHeadsResponse]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a service still has to do, beside following.

    `projections` have to reach `projection_heads`.
    """

    intentions_open: int = 0
    jobs_due: int = 0
    projections: tuple[Place, ...] = ()
    projection_heads: tuple[Place, ...] = ()


@dataclass(eq=False, repr=False, kw_only=True)
class PartitionUnknown(errors.OutOfRange):
    """The log has no such partition."""

    message = "partition {partition} is not one of {partitions}"
    partition: int
    partitions: int


@dataclass(eq=False, repr=False, kw_only=True)
class CursorBeyondHead(errors.FailedPrecondition):
    """The reader has read further than the log goes: the log is an older copy of what was read."""

    message = "position {position} of partition {partition} is beyond the head {head_position}"
    partition: int
    position: int
    head_position: int


@dataclass(eq=False, repr=False, kw_only=True)
class IncarnationChanged(errors.FailedPrecondition):
    """The log is not the one that the reader began to read."""

    message = "the log is {actual}, not {expected}"
    expected: str
    actual: str


def shares(
    cursors: Mapping[int, int], heads: Mapping[int, int], page_size: int, first: int
) -> dict[int, tuple[int, int]]:
    """Divide a page among the partitions that moved: partition -> (after, up to and with).

    Each gets an equal share, and what some do not need goes to the others, so that a busy partition
    holds up no other; `first` is the partition that is served first when there are more of them
    than events in a page.
    """
    waiting = {
        partition: heads.get(partition, 0) - position
        for partition, position in cursors.items()
        if heads.get(partition, 0) > position
    }
    order = sorted(waiting, key=lambda partition: (partition < first, partition))
    given = dict.fromkeys(order, 0)
    left = page_size
    for fair in (max(1, page_size // max(1, len(order))), page_size):
        for partition in order:
            more = min(waiting[partition] - given[partition], fair, left)
            given[partition] += more
            left -= more
    return {
        partition: (cursors[partition], cursors[partition] + count)
        for partition, count in given.items()
        if count
    }


class FeedServicer(feed_service_pb2_grpc.FeedServiceServicer):
    """Serves the log of one service to the others.

    `progress` tells what work is left; `poll_seconds` is how often a stream looks for events that
    nobody announced.
    """

    def __init__(
        self,
        database: Database,
        tables: KernelTables,
        clock: Clock,
        progress: Callable[[], Awaitable[Progress]],
        *,
        wakeups: Wakeups | None = None,
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        self._database = database
        self._reader = FeedReader(tables)
        self._clock = clock
        self._progress = progress
        self._poll_seconds = poll_seconds
        self._wakeups = wakeups or Wakeups()
        self._closed = False
        self._heads: tuple[asyncio.Event, Mapping[int, int]] | None = None
        self._reading_heads = asyncio.Lock()
        database.on_commit(self._wakeups.committed)

    def close(self) -> None:
        """End all streams, so that a stopping server need not wait for them.

        Followers connect elsewhere.
        """
        self._closed = True
        self._wakeups.wake()

    async def ReadEvents(
        self, request: pb.ReadEventsRequest, context: _ReadContext
    ) -> pb.ReadEventsResponse:
        """Read one page of one partition."""
        del context
        async with self._database.reading() as tx:
            identity = await self._reader.identity(tx)
            cursors = {request.partition: request.after_position}
            heads = await self._reader.heads(tx)
            _check_identity(identity, request.incarnation, cursors)
            _check_heads(cursors, heads)
            ranges = shares(cursors, heads, _page_size(request.page_size), 0)
            events = await self._reader.events(tx, ranges)
        return pb.ReadEventsResponse(
            events=next(_pieces(events)),
            head_position=heads.get(request.partition, 0),
            incarnation=identity.incarnation,
        )

    async def FollowEvents(
        self, request: pb.FollowEventsRequest, context: _FollowContext
    ) -> AsyncIterator[pb.FollowEventsResponse]:
        """Send what is there and what comes, until the caller hangs up or the server stops."""
        del context
        async with self._database.reading() as tx:
            identity = await self._reader.identity(tx)
        cursors = {cursor.partition: cursor.position for cursor in request.cursors}
        cursors = cursors or dict.fromkeys(range(identity.partitions), 0)
        _check_identity(identity, request.incarnation, cursors)
        page_size = _page_size(request.page_size)
        is_first, turn = True, 0
        changed = self._wakeups.mark()
        while not self._closed:
            # After a wait that ran out of time the mark is still the same, and heads are read anew.
            is_same, changed = changed is (mark := self._wakeups.mark()), mark
            heads = await self._heads_since(changed, anew=is_same)
            _check_heads(cursors, heads)
            ranges = shares(cursors, heads, page_size, turn)
            events: list[pb.Event] = []
            if ranges:
                async with self._database.reading() as tx:
                    events = await self._reader.events(tx, ranges)
            for piece in _pieces(events) if events or is_first else ():
                yield pb.FollowEventsResponse(
                    events=piece,
                    heads=_places({partition: heads.get(partition, 0) for partition in cursors}),
                    incarnation=identity.incarnation,
                )
                is_first = False
            cursors.update({partition: upto for partition, (_, upto) in ranges.items()})
            if ranges:
                turn = (next(reversed(ranges)) + 1) % identity.partitions
            if len(events) < page_size:
                await wait_for_change(changed, self._poll_seconds)

    async def _heads_since(self, changed: asyncio.Event, *, anew: bool) -> Mapping[int, int]:
        """Heads read since the last commit that was announced: once for all streams."""
        async with self._reading_heads:
            if anew or self._heads is None or self._heads[0] is not changed:
                async with self._database.reading() as tx:
                    self._heads = (changed, await self._reader.heads(tx))
            return self._heads[1]

    async def GetHeads(
        self, request: pb.GetHeadsRequest, context: _HeadsContext
    ) -> pb.GetHeadsResponse:
        """Tell how far the service is with everything."""
        del request, context
        progress = await self._progress()
        async with self._database.reading() as tx:
            look = await self._reader.look(tx)
        identity = look.identity
        now = Timestamp()
        now.FromDatetime(self._clock.now())
        return pb.GetHeadsResponse(
            incarnation=identity.incarnation,
            partitions=identity.partitions,
            heads=_places({each: look.heads.get(each, 0) for each in range(identity.partitions)}),
            cursors=[_cursor(place) for place in look.cursors],
            projections=[_cursor(place) for place in progress.projections],
            projection_heads=[_cursor(place) for place in progress.projection_heads],
            intentions_open=progress.intentions_open,
            jobs_due=progress.jobs_due,
            parked_members=look.parked,
            now=now,
        )


def _check_identity(identity: Identity, expected: str, partitions: Iterable[int]) -> None:
    for partition in partitions:
        if not 0 <= partition < identity.partitions:
            raise PartitionUnknown(partition=partition, partitions=identity.partitions)
    if expected and expected != identity.incarnation:
        raise IncarnationChanged(expected=expected, actual=identity.incarnation)


def _check_heads(cursors: Mapping[int, int], heads: Mapping[int, int]) -> None:
    for partition, position in cursors.items():
        if position > heads.get(partition, 0):
            raise CursorBeyondHead(
                partition=partition, position=position, head_position=heads.get(partition, 0)
            )


def _page_size(requested: int) -> int:
    return min(requested, _PAGE_SIZE_MAX) if requested > 0 else _PAGE_SIZE


def _pieces(events: Sequence[pb.Event]) -> Iterator[list[pb.Event]]:
    """Cut a page into messages that are not too large; there is always one, if need be empty."""
    piece: list[pb.Event] = []
    size = 0
    for event in events:
        size += event.ByteSize()
        if piece and size > _MESSAGE_BYTES_MAX:
            yield piece
            piece, size = [], event.ByteSize()
        piece.append(event)
    yield piece


def _cursor(place: Place) -> pb.Cursor:
    return pb.Cursor(source=place.source, partition=place.partition, position=place.position)


def _places(positions: Mapping[int, int]) -> list[pb.Cursor]:
    return [pb.Cursor(partition=key, position=positions[key]) for key in sorted(positions)]
