"""Follows the log of another service and applies what it says here, exactly once.

One stream carries all partitions. A page is applied through the group commit as `Followed` items,
which lock their partition's cursor and move it in the transaction of their effects; so nothing is
applied twice, whoever else follows the same log and wherever this process dies, and the follower
reads its cursors again whenever it connects. A page is settled before the next is taken: what is
kept in memory is bounded, and a slow follower slows nobody else.

It stops for good, and says so, when the log is not the one that it began to read, or ends before
its cursor: somebody restored a backup, and only a person can say what to do. Everything else it
retries.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import grpc
import sqlalchemy as sa
import structlog

from guerdon.feed.v1 import feed_service_pb2 as pb
from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceStub
from shared import errors
from shared.batches import Command, Followed, Outcome
from shared.database import Database
from shared.feed import CursorBeyondHead, EventsTrimmed, IncarnationChanged, PartitionUnknown
from shared.rpc.client import refusal_of
from shared.tables import KernelTables

C = TypeVar("C", bound=Command)

Translate = Callable[[pb.Event], tuple[Command, ...]]

_HEADS_TIMEOUT = 5.0
_STREAM_SECONDS = 3_600.0  # every call has a deadline; a stream that reaches it is opened again
_BACKOFF_FIRST = 0.05
_BACKOFF_MAX = 2.0
_FATAL = frozenset(
    each.reason for each in (CursorBeyondHead, EventsTrimmed, IncarnationChanged, PartitionUnknown)
)

logger = structlog.get_logger(__name__)


@dataclass(eq=False, repr=False, kw_only=True)
class PartitionsDiffer(errors.FailedPrecondition):
    """The other service divides its log otherwise.

    It was created with another number of partitions.
    """

    message = "{source} has {actual} partitions, this service has {expected}"
    source: str
    expected: int
    actual: int


@dataclass(eq=False, repr=False, kw_only=True)
class MalformedFeedToken(errors.InvalidArgument):
    """The token was not given by a mutation of this cluster."""

    message = "{token} is no feed token"
    token: str
    field: str = "wait_for_token"


class Sink(Protocol):
    """Where followed events go; the group commit is one."""

    async def submit_many(
        self, items: Sequence[Followed], *, wait: bool
    ) -> Sequence[Outcome | errors.Refusal]:
        """Apply them in order; come back when all are settled or one cannot be."""


class Follower:
    """Follows one log. `run` is a task of the service; the rest is safe to call at any time.

    `translate` makes commands of an event, none for an event that means nothing here; if it raises,
    the event's member is parked with `park`, as it is when a command cannot be applied. `jitter`
    gives a number from 0 to 1.
    """

    def __init__(
        self,
        *,
        source: str,
        channel: grpc.aio.Channel,
        database: Database,
        tables: KernelTables,
        sink: Sink,
        translate: Translate,
        park: Callable[[Followed, Exception], Awaitable[None]],
        partitions: int,
        jitter: Callable[[], float],
        page_size: int = 500,
    ) -> None:
        self.source = source
        self.failure: errors.Refusal | None = None
        """Why the follower has stopped for good; None while it runs."""
        self._stub = FeedServiceStub(channel)
        self._database = database
        self._cursors = _Cursors(tables.feed_cursors, source, partitions)
        self._sink = sink
        self.translate = translate
        self._park = park
        self._partitions = partitions
        self._jitter = jitter
        self._page_size = page_size
        self._applied: dict[int, int] = {}
        self._moved = asyncio.Event()

    def applied(self, partition: int) -> int:
        """Give the position up to which a partition is known to be applied here.

        0 before the first connection.
        """
        return self._applied.get(partition, 0)

    async def run(self) -> None:
        """Follow until cancelled, or until only a person can help; then `failure` says why."""
        attempts = 0
        while True:
            known = dict(self._applied)
            try:
                await self._follow()
            except Exception as error:  # noqa: BLE001 - classified below; all but a few are retried
                failure = refusal_of(error) if isinstance(error, grpc.aio.AioRpcError) else error
                if isinstance(failure, errors.Refusal) and _is_fatal(failure):
                    self._stop(failure)
                    return
                self._say(failure)
            attempts = 0 if known != self._applied else attempts + 1
            ceiling = min(_BACKOFF_MAX, _BACKOFF_FIRST * 2.0 ** min(attempts, 10))
            await asyncio.sleep(ceiling * (0.5 + self._jitter() / 2))

    async def wait_for(self, partition: int, position: int, seconds: float = 5.0) -> None:
        """Wait until that position is applied.

        Refuses NotReady after `seconds`, or when it never will be.
        """
        try:
            async with asyncio.timeout(seconds):
                while self.applied(partition) < position:
                    if self.failure is not None:
                        break
                    await self._moved.wait()
        except TimeoutError:
            pass
        if self.applied(partition) < position:
            raise errors.NotReady(what=f"feed of {self.source}")

    async def _follow(self) -> None:
        """Open one stream and apply what comes, until it ends."""
        positions, incarnation = await self._cursors.load(self._database)
        self._advance(positions)
        heads = await self._stub.GetHeads(pb.GetHeadsRequest(), timeout=_HEADS_TIMEOUT)
        if heads.partitions != self._partitions:
            raise PartitionsDiffer(
                source=self.source, expected=self._partitions, actual=heads.partitions
            )
        call = self._stub.FollowEvents(
            pb.FollowEventsRequest(
                cursors=[
                    pb.Cursor(partition=partition, position=position)
                    for partition, position in sorted(positions.items())
                ],
                page_size=self._page_size,
                incarnation=incarnation,
            ),
            timeout=_STREAM_SECONDS,
        )
        try:
            async for page in call:
                if page.incarnation != incarnation:
                    incarnation = await self._cursors.adopt(self._database, page.incarnation)
                await self._apply(page.events)
        finally:
            call.cancel()

    async def _apply(self, events: Sequence[pb.Event]) -> None:
        """Apply a page: its partitions beside each other, each in order."""
        by_partition: dict[int, list[pb.Event]] = {}
        for event in events:
            by_partition.setdefault(event.partition, []).append(event)
        await _all([self._apply_partition(*each) for each in by_partition.items()])

    async def _apply_partition(self, partition: int, events: Sequence[pb.Event]) -> None:
        ready: list[Followed] = []
        skipped = 0  # events that mean nothing here are covered by the next one that is applied
        for event in events:
            try:
                commands = self.translate(event)
            except Exception as error:  # noqa: BLE001 - whatever it raised, it is this event's fault
                await self._settle(ready)
                ready = []
                await self._park(followed(self.source, event, (), skipped=skipped), error)
                skipped = 0
                self._advance({partition: event.position})
                continue
            if commands or event is events[-1]:
                ready.append(followed(self.source, event, commands, skipped=skipped))
                skipped = 0
            else:
                skipped += 1
        await self._settle(ready)

    async def _settle(self, ready: Sequence[Followed]) -> None:
        if ready:
            for result in await self._sink.submit_many(ready, wait=True):
                if isinstance(result, errors.Refusal):
                    raise result
            self._advance({ready[-1].partition: ready[-1].position})

    def _advance(self, positions: Mapping[int, int]) -> None:
        for partition, position in positions.items():
            self._applied[partition] = max(position, self._applied.get(partition, 0))
        self._moved.set()
        self._moved = asyncio.Event()

    def _stop(self, failure: errors.Refusal) -> None:
        self.failure = failure
        self._advance({})
        logger.critical(
            "follower_stopped",
            source=self.source,
            reason=failure.reason,
            details=failure.metadata(),
        )

    def _say(self, failure: Exception) -> None:
        if isinstance(failure, errors.Refusal) and failure.transient:
            logger.info("follower_retries", source=self.source, reason=failure.reason)
        else:
            logger.error("follower_failed", source=self.source, exc_info=failure)


async def wait_for_token(
    followers: Mapping[str, Follower], token: str, *, own: str, seconds: float = 5.0
) -> None:
    """Wait until what a mutation answered with `token` has been applied here: read your writes.

    An empty token and one of this service (`own`) are there already. `followers` are those of this
    service, by source. Refuses MalformedFeedToken, and NotReady after `seconds`.
    """
    if not token:
        return
    source, _, place = token.partition(":")
    partition, _, position = place.partition(":")
    if not (partition.isdecimal() and position.isdecimal()):
        raise MalformedFeedToken(token=token)
    if source == own:
        return
    if source not in followers:
        raise MalformedFeedToken(token=token)
    await followers[source].wait_for(int(partition), int(position), seconds)


def followed(
    source: str, event: pb.Event, commands: tuple[Command, ...], *, skipped: int = 0
) -> Followed:
    """Put an event and what it means here together.

    `skipped` is how many events just before it mean nothing here and are covered by it.
    """
    return Followed(
        source=source,
        partition=event.partition,
        position=event.position,
        member_key=event.member_key,
        event=event.SerializeToString(),
        commands=commands,
        skipped=skipped,
    )


def _is_fatal(failure: errors.Refusal) -> bool:
    return failure.reason in _FATAL or isinstance(failure, PartitionsDiffer)


async def _all(parts: Sequence[Coroutine[None, None, None]]) -> None:
    """Run these beside each other; the first error ends the others and is raised as it is.

    A TaskGroup of Python 3.11 forgets that it was cancelled when a task fails at that moment, and a
    follower must never miss that it is to stop.
    """
    if not parts:  # a page without events, as the first one may be
        return
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


class _Cursors:
    """The cursors of one source: a row per partition, which also says which log is read."""

    def __init__(self, table: sa.Table, source: str, partitions: int) -> None:
        self._table = table
        self._source = source
        self._partitions = partitions
        columns = table.c
        self._read = sa.select(columns.partition, columns.position, columns.incarnation).where(
            columns.source == sa.bindparam("source_name")
        )
        self._adopt = (
            sa.update(table)
            .where(columns.source == sa.bindparam("source_name"), columns.incarnation == "")
            .values(incarnation=sa.bindparam("adopted"))
        )

    async def load(self, database: Database) -> tuple[dict[int, int], str]:
        """Give position by partition, and the incarnation of the log, at first empty."""
        parameters = {"source_name": self._source}
        async with database.reading() as tx:
            rows = await tx.fetch(self._read, parameters)
        if len(rows) < self._partitions:
            async with database.transaction() as tx:
                await tx.insert(
                    self._table,
                    [
                        {
                            "source": self._source,
                            "partition": partition,
                            "position": 0,
                            "incarnation": "",
                        }
                        for partition in range(self._partitions)
                    ],
                    ignore_conflicts=True,
                )
                rows = await tx.fetch(self._read, parameters)
        incarnations = sorted({str(row.incarnation) for row in rows} - {""})
        if len(incarnations) > 1:
            raise IncarnationChanged(expected=incarnations[0], actual=incarnations[1])
        positions = {int(row.partition): int(row.position) for row in rows}
        return positions, incarnations[0] if incarnations else ""

    async def adopt(self, database: Database, incarnation: str) -> str:
        """Remember which log is being read, the first time.

        Refuses IncarnationChanged when it is another one.
        """
        async with database.transaction() as tx:
            await tx.execute(self._adopt, {"source_name": self._source, "adopted": incarnation})
            rows = await tx.fetch(self._read, {"source_name": self._source})
        for row in rows:
            if row.incarnation != incarnation:
                raise IncarnationChanged(expected=row.incarnation, actual=incarnation)
        return incarnation
