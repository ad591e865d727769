"""Serves the event log of one service: `guerdon.feed.v1.FeedService`.

Positions of a partition are gapless and in commit order (`shared/feed_log.py` appends them), so the
reader of a page knows from the heads alone how many events each partition has for it: one statement
reads the partitions that moved, each with its share of the page, and a missing row is an error,
never a skipped event. A followed stream holds no transaction, and no connection, between two pages.
"""

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
import sqlalchemy as sa
from google.protobuf.any_pb2 import Any as AnyPayload
from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.feed.v1 import feed_service_pb2 as pb
from guerdon.feed.v1 import feed_service_pb2_grpc
from shared import errors
from shared.clock import Clock
from shared.database import Database, Row, Tx
from shared.tables import KernelTables
from shared.wakeups import Wakeups, wait_for_change

_PAGE_SIZE = 500
_PAGE_SIZE_MAX = 1_000
_PARKED_MAX = 1_000
_POLL_SECONDS = 0.5
_MESSAGE_BYTES_MAX = 1 << 20  # a page that is larger goes in several messages; gRPC takes 4 MiB
_TYPE_PREFIX = "type.googleapis.com/"

_ReadContext: TypeAlias = grpc.aio.ServicerContext[pb.ReadEventsRequest, pb.ReadEventsResponse]
_FollowContext: TypeAlias = grpc.aio.ServicerContext[
    pb.FollowEventsRequest, pb.FollowEventsResponse
]
_HeadsContext: TypeAlias = grpc.aio.ServicerContext[pb.GetHeadsRequest, pb.GetHeadsResponse]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far something named has come in one partition."""

    source: str
    partition: int
    position: int


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


@dataclass(eq=False, repr=False, kw_only=True)
class EventsTrimmed(errors.OutOfRange):
    """Events that the reader has not read are no longer there."""

    message = "partition {partition} no longer holds every event after position {position}"
    partition: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which log this is and how it is divided."""

    incarnation: str
    partitions: int


class FeedReader:
    """The SQL of reading a log; every method runs in the caller's transaction."""

    def __init__(self, tables: KernelTables) -> None:
        self._tables = tables
        self._heads = sa.select(tables.feed_heads.c.partition, tables.feed_heads.c.position)
        self._identity = sa.select(tables.feed_identity)
        cursors = tables.feed_cursors.c
        self._cursors = sa.select(cursors.source, cursors.partition, cursors.position).order_by(
            cursors.source, cursors.partition
        )
        parked = tables.parked_members.c
        self._parked = (
            sa.select(parked.source, parked.member_key)
            .order_by(parked.source, parked.member_key)
            .limit(_PARKED_MAX)
        )
        self._pages: dict[int, sa.Select[tuple[object, ...]]] = {}

    async def identity(self, tx: Tx) -> Identity:
        """Read which log this is. Refuses NotReady while the database has not been prepared."""
        rows = await tx.fetch(self._identity)
        if not rows:
            raise errors.NotReady(what="feed")
        return Identity(incarnation=rows[0].incarnation, partitions=rows[0].partitions)

    async def heads(self, tx: Tx) -> dict[int, int]:
        """Read the last position of each partition; partitions without events may be missing."""
        return {int(row.partition): int(row.position) for row in await tx.fetch(self._heads)}

    async def cursors(self, tx: Tx) -> list[Place]:
        """Read how far the logs of other services have been applied here."""
        return [
            Place(source=row.source, partition=row.partition, position=row.position)
            for row in await tx.fetch(self._cursors)
        ]

    async def parked(self, tx: Tx) -> list[str]:
        """List the parked members as "source/member_key", sorted, at most 1,000."""
        return [f"{row.source}/{row.member_key}" for row in await tx.fetch(self._parked)]

    async def events(self, tx: Tx, ranges: Mapping[int, tuple[int, int]]) -> list[pb.Event]:
        """Read the events of partition -> (after, up to and with), in order within each partition.

        Refuses EventsTrimmed when one of them is no longer there.
        """
        if not ranges:
            return []
        parameters: dict[str, int] = {}
        slots = 1 << (len(ranges) - 1).bit_length()
        filler = [(-1, (0, 0))] * (slots - len(ranges))
        for slot, (partition, (after, upto)) in enumerate([*ranges.items(), *filler]):
            parameters |= {
                f"partition_{slot}": partition,
                f"after_{slot}": after,
                f"upto_{slot}": upto,
            }
        rows = await tx.fetch(self._page(slots), parameters)
        counts = dict.fromkeys(ranges, 0)
        for row in rows:
            counts[int(row.partition)] += 1
        for partition, (after, upto) in ranges.items():
            if counts[partition] != upto - after:
                raise EventsTrimmed(partition=partition, position=after)
        return [_event(row) for row in rows]

    def _page(self, slots: int) -> sa.Select[tuple[object, ...]]:
        """Give the statement for so many ranges.

        A power of two, so that few statements are ever compiled.
        """
        if slots not in self._pages:
            columns = self._tables.feed_events.c
            self._pages[slots] = (
                sa.select(*columns)
                .where(
                    sa.or_(
                        *(
                            sa.and_(
                                columns.partition == sa.bindparam(f"partition_{slot}"),
                                columns.position > sa.bindparam(f"after_{slot}"),
                                columns.position <= sa.bindparam(f"upto_{slot}"),
                            )
                            for slot in range(slots)
                        )
                    )
                )
                .order_by(columns.partition, columns.position)
            )
        return self._pages[slots]


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
        while not self._closed:
            changed = self._wakeups.mark()
            async with self._database.reading() as tx:
                heads = await self._reader.heads(tx)
                _check_heads(cursors, heads)
                ranges = shares(cursors, heads, page_size, turn)
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

    async def GetHeads(
        self, request: pb.GetHeadsRequest, context: _HeadsContext
    ) -> pb.GetHeadsResponse:
        """Tell how far the service is with everything."""
        del request, context
        progress = await self._progress()
        async with self._database.reading() as tx:
            identity = await self._reader.identity(tx)
            heads = await self._reader.heads(tx)
            cursors = await self._reader.cursors(tx)
            parked = await self._reader.parked(tx)
        now = Timestamp()
        now.FromDatetime(self._clock.now())
        return pb.GetHeadsResponse(
            incarnation=identity.incarnation,
            partitions=identity.partitions,
            heads=_places({each: heads.get(each, 0) for each in range(identity.partitions)}),
            cursors=[_cursor(place) for place in cursors],
            projections=[_cursor(place) for place in progress.projections],
            projection_heads=[_cursor(place) for place in progress.projection_heads],
            intentions_open=progress.intentions_open,
            jobs_due=progress.jobs_due,
            parked_members=parked,
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


def _event(row: Row) -> pb.Event:
    create_time = Timestamp()
    create_time.FromDatetime(row.create_time)
    return pb.Event(
        partition=row.partition,
        position=row.position,
        program_id=row.program_id,
        member_key=row.member_key,
        payload=AnyPayload(type_url=_TYPE_PREFIX + row.type, value=row.payload),
        create_time=create_time,
    )


def _cursor(place: Place) -> pb.Cursor:
    return pb.Cursor(source=place.source, partition=place.partition, position=place.position)


def _places(positions: Mapping[int, int]) -> list[pb.Cursor]:
    return [pb.Cursor(partition=key, position=positions[key]) for key in sorted(positions)]
