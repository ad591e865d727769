"""What could not be applied: which members wait, and trying them again.

An event that cannot be applied parks its member: it and the member's later events are stored whole
(`shared/feed_log.py`), the others flow on. A retry goes through the group commit like any followed
event, oldest first and one after the other: under the lock of the partition's cursor only the
oldest parked event of a member is taken, so nothing is applied twice or out of order, whoever else
retries and whatever new events come in meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa
import structlog

from guerdon.feed.v1 import feed_service_pb2 as pb
from shared.database import Database, Row, Tx
from shared.feed_log import park
from shared.followers import Sink, Translate, followed
from shared.tables import KernelTables

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedMember:
    """A member that waits. `position`, `error` and `attempts` are those of its oldest event.

    `events` is how many wait; `event` is the oldest one, serialized as in the feed.
    """

    source: str
    partition: int
    member_key: str
    position: int
    events: int
    error: str
    attempts: int
    event: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """What came of a retry: how many events were applied, how many still wait, and why."""

    applied: int
    waiting: int
    error: str = ""


class Parked:
    """Lists and retries the parked members of one service.

    `translates` says what an event of each source means here, as its follower does.
    """

    def __init__(
        self,
        database: Database,
        tables: KernelTables,
        sink: Sink,
        translates: Mapping[str, Translate],
    ) -> None:
        self._database = database
        self._tables = tables
        self._sink = sink
        self._translates = translates
        self._list = _list_statement(tables)
        events = tables.parked_events.c
        self._oldest = (
            sa.select(tables.parked_events)
            .where(
                events.source == sa.bindparam("source_name"),
                events.member_key == sa.bindparam("member"),
            )
            .order_by(events.position)
            .limit(1)
        )
        self._count = sa.select(sa.func.count().label("waiting")).where(
            events.source == sa.bindparam("source_name"),
            events.member_key == sa.bindparam("member"),
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """The services whose logs this one follows, in order of their names."""
        return tuple(sorted(self._translates))

    async def members(self, tx: Tx, *, limit: int = 1_000) -> list[ParkedMember]:
        """List the members that wait, those that wait longest first."""
        rows = await tx.fetch(self._list, {"at_most": limit})
        return [
            ParkedMember(
                source=row.source,
                partition=row.partition,
                member_key=row.member_key,
                position=row.position,
                events=row.events,
                error=row.error,
                attempts=row.attempts,
                event=row.event,
            )
            for row in rows
        ]

    async def retry(self, source: str, member_key: str) -> Retried:
        """Apply the events of one member, oldest first, until none is left or one fails again."""
        translate = self._translates[source]
        applied, tried = 0, 0
        while (row := await self._next(source, member_key)) is not None and row.position != tried:
            applied += 1 if tried else 0
            tried = row.position
            await self._again(row, translate)
        applied += 1 if tried and row is None else 0
        waiting = await self._waiting(source, member_key)
        logger.info(
            "parked_retried",
            source=source,
            member_key=member_key,
            applied=applied,
            waiting=waiting,
        )
        return Retried(applied=applied, waiting=waiting, error=row.error if row else "")

    async def retry_all(self, *, limit: int = 1_000) -> Retried:
        """Retry every member that waits, those that wait longest first; at most `limit` members."""
        async with self._database.reading() as tx:
            members = await self.members(tx, limit=limit)
        results = [await self.retry(each.source, each.member_key) for each in members]
        return Retried(
            applied=sum(each.applied for each in results),
            waiting=sum(each.waiting for each in results),
            error=next((each.error for each in results if each.error), ""),
        )

    async def _again(self, row: Row, translate: Translate) -> None:
        event = pb.Event.FromString(row.event)
        item = replace(followed(row.source, event, ()), retry=True)
        try:
            item = replace(item, commands=translate(event))
        except Exception as error:  # noqa: BLE001 - whatever translating raised, it is the event's fault
            await park(self._database, self._tables, item, error)
            return
        await self._sink.submit_many([item], wait=True)

    async def _next(self, source: str, member_key: str) -> Row | None:
        parameters = {"source_name": source, "member": member_key}
        async with self._database.reading() as tx:
            rows: Sequence[Row] = await tx.fetch(self._oldest, parameters)
        return rows[0] if rows else None

    async def _waiting(self, source: str, member_key: str) -> int:
        parameters = {"source_name": source, "member": member_key}
        async with self._database.reading() as tx:
            return int((await tx.fetch(self._count, parameters))[0].waiting)


def _list_statement(tables: KernelTables) -> sa.Select[tuple[object, ...]]:
    """Members with their oldest event and how many wait."""
    members, events = tables.parked_members, tables.parked_events
    counts = (
        sa.select(
            events.c.source,
            events.c.partition,
            events.c.member_key,
            sa.func.count().label("events"),
            sa.func.min(events.c.position).label("oldest"),
        )
        .group_by(events.c.source, events.c.partition, events.c.member_key)
        .subquery()
    )
    return (
        sa.select(
            members.c.source,
            members.c.partition,
            members.c.member_key,
            events.c.position,
            counts.c.events,
            events.c.error,
            events.c.attempts,
            events.c.event,
        )
        .join_from(
            members,
            counts,
            sa.and_(
                counts.c.source == members.c.source,
                counts.c.partition == members.c.partition,
                counts.c.member_key == members.c.member_key,
            ),
        )
        .join(
            events,
            sa.and_(
                events.c.source == counts.c.source,
                events.c.partition == counts.c.partition,
                events.c.position == counts.c.oldest,
            ),
        )
        .order_by(members.c.create_time_micros, members.c.source, events.c.position)
        .limit(sa.bindparam("at_most", type_=sa.Integer))
    )
