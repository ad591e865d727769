"""Reads the event log of a service from its database: heads, cursors, parked members, events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from google.protobuf.any_pb2 import Any as AnyPayload
from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.feed.v1 import feed_service_pb2 as pb
from shared import errors
from shared.database import Row, Tx
from shared.tables import KernelTables

_PARKED_MAX = 1_000
_IDENTITY, _HEAD, _CURSOR, _PARKED = range(4)
_TYPE_PREFIX = "type.googleapis.com/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far something named has come in one partition."""

    source: str
    partition: int
    position: int


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A log and how far its service has followed others, from one statement."""

    identity: Identity
    heads: Mapping[int, int]
    cursors: Sequence[Place]
    parked: Sequence[str]


class FeedReader:
    """The SQL of reading a log; every method runs in the caller's transaction."""

    def __init__(self, tables: KernelTables) -> None:
        self._tables = tables
        self._heads = sa.select(tables.feed_heads.c.partition, tables.feed_heads.c.position)
        self._identity = sa.select(tables.feed_identity)
        self._look = _look_statement(tables)
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

    async def look(self, tx: Tx) -> Look:
        """Read identity, heads, cursors and parked members ("source/member_key", at most 1,000).

        Quiescence asks for them often, so it is one statement. Refuses NotReady as `identity` does.
        """
        identity: Identity | None = None
        heads: dict[int, int] = {}
        cursors: list[Place] = []
        parked: list[str] = []
        for row in await tx.fetch(self._look):
            if row.kind == _IDENTITY:
                identity = Identity(incarnation=row.name, partitions=row.partition)
            elif row.kind == _HEAD:
                heads[int(row.partition)] = int(row.position)
            elif row.kind == _CURSOR:
                cursors.append(
                    Place(source=row.name, partition=row.partition, position=row.position)
                )
            else:
                parked.append(str(row.name))
        if identity is None:
            raise errors.NotReady(what="feed")
        cursors.sort(key=lambda place: (place.source, place.partition))
        return Look(identity=identity, heads=heads, cursors=cursors, parked=sorted(parked))

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


def _look_statement(tables: KernelTables) -> sa.CompoundSelect[tuple[int, str, int, int]]:
    """Everything that `look` reads, told apart by `kind`."""
    identity, heads, cursors = (
        tables.feed_identity.c,
        tables.feed_heads.c,
        tables.feed_cursors.c,
    )
    parked = tables.parked_members
    some = sa.select(parked).limit(_PARKED_MAX).subquery().c
    zero: sa.ColumnElement[int] = sa.literal_column("0", sa.Integer)

    def kind(number: int) -> sa.Label[int]:
        return sa.literal_column(str(number), sa.Integer).label("kind")

    return sa.union_all(
        sa.select(
            kind(_IDENTITY),
            identity.incarnation.label("name"),
            identity.partitions.label("partition"),
            zero.label("position"),
        ),
        sa.select(kind(_HEAD), sa.literal_column("''"), heads.partition, heads.position),
        sa.select(kind(_CURSOR), cursors.source, cursors.partition, cursors.position),
        sa.select(kind(_PARKED), some.source + "/" + some.member_key, zero, zero),
    )


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
