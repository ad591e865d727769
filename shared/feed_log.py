"""Writes the feed of this service, and the place reached in the feeds of others.

Positions of a partition are gapless and in commit order, because the partition's head row is
locked and advanced by every transaction that appends, last of all its locks; polling "id > last
seen" without that lost 43 % of the events under 32 writers.
A cursor is locked first of all, and moves in the transaction of the effects: so an event has its
effects once, whoever else follows the same feed.

An event that cannot be applied parks its member: the event and the member's later ones are stored
whole (`parked_events`), the cursor moves on and the other members with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol, TypeAlias

import sqlalchemy as sa

from shared import errors
from shared.database import Database, Tx
from shared.ids import partition_of
from shared.tables import KernelTables
from shared.values import value

Place: TypeAlias = tuple[int, int]
"""Partition and position."""

_CURSOR = ("source", "partition")
_MEMBER = ("source", "partition", "member_key")
_EVENT = ("source", "partition", "position")
_ERROR_CHARS_MAX = 2_000

Cursor: TypeAlias = tuple[str, int]
Member: TypeAlias = tuple[str, int, str]


@value
class FeedRecord:
    """An event as the feed stores it: `type` is the full name of the message in `payload`.

    `partition` need be given only for an event about no member.
    """

    program_id: str
    member_key: str = ""
    partition: int | None = None
    type: str
    payload: bytes


class FollowedEvent(Protocol):
    """What admission needs of an event of another service (`batches.Followed`)."""

    @property
    def source(self) -> str:
        """Name of the service whose feed it is."""

    @property
    def partition(self) -> int:
        """Partition, the same number here and there."""

    @property
    def position(self) -> int:
        """Position in the partition."""

    @property
    def skipped(self) -> int:
        """How many positions just before this one are covered too, because they mean nothing."""

    @property
    def member_key(self) -> str:
        """Whom it is about; empty when it is no member."""

    @property
    def event(self) -> bytes:
        """The event, whole."""

    @property
    def retry(self) -> bool:
        """Says that this is a parked event, tried again."""


class Verdict(Enum):
    """What is to be done with a followed event."""

    APPLY = "apply"
    STALE = "stale"
    PARKED = "parked"
    OUT_OF_ORDER = "out of order"


@dataclass(eq=False, repr=False, kw_only=True)
class FollowedOutOfOrder(errors.Aborted):
    """Events before this one have not been applied here: the follower reads its cursor again."""

    message = "{source} {partition}: position {position} does not follow {cursor}"
    source: str
    partition: int
    position: int
    cursor: int


@dataclass(eq=False, repr=False, kw_only=True)
class PartitionsChanged(errors.FailedPrecondition):
    """The database was created with another number of partitions; it cannot be changed."""

    message = "the database has {stored} partitions, the settings say {wanted}"
    stored: int
    wanted: int


@dataclass(slots=True, kw_only=True)
class Admission:
    """Verdicts in the order of the events, and what has to be stored about them."""

    verdicts: list[Verdict] = field(default_factory=list)
    cursors: dict[Cursor, int] = field(default_factory=dict)
    moved: set[Cursor] = field(default_factory=set)
    waiting: dict[Member, list[int]] = field(default_factory=dict)
    retried: list[FollowedEvent] = field(default_factory=list)
    behind: list[FollowedEvent] = field(default_factory=list)

    def refusal(self, item: FollowedEvent) -> FollowedOutOfOrder:
        """Refusal for an event that was found out of order."""
        return FollowedOutOfOrder(
            source=item.source,
            partition=item.partition,
            position=item.position,
            cursor=self.cursors[item.source, item.partition],
        )


async def open_feed(
    database: Database, tables: KernelTables, *, partitions: int, incarnation: str
) -> str:
    """Prepares the feed of a new database, or checks an old one; its incarnation.

    `incarnation` is a new random id, used only when there is none yet.
    Refuses PartitionsChanged when the database was created with another number.
    """
    identity, heads = tables.feed_identity, tables.feed_heads
    async with database.transaction() as tx:
        row = {"one": 1, "incarnation": incarnation, "partitions": partitions}
        await tx.insert(identity, [row], ignore_conflicts=True)
        stored = (await tx.select(identity, [(1,)], key=["one"]))[0]
        if stored.partitions != partitions:
            raise PartitionsChanged(stored=stored.partitions, wanted=partitions)
        rows = [{"partition": number, "position": 0} for number in range(partitions)]
        await tx.insert(heads, rows, ignore_conflicts=True)
        return str(stored.incarnation)


async def append_events(
    tx: Tx,
    tables: KernelTables,
    records: Sequence[FeedRecord],
    *,
    partitions: int,
    now: datetime,
) -> list[Place]:
    """Appends events in this order; where each of them is now.

    Nothing that can wait may follow in the transaction: the heads it locks are what every other
    writer of those partitions waits for.
    Raises LookupError for a partition that the database does not have.
    """
    if not records:
        return []
    homes = [
        partition_of(each.member_key, partitions) if each.partition is None else each.partition
        for each in records
    ]
    counts: dict[tuple[int], int] = {}
    for home in homes:
        counts[home,] = counts.get((home,), 0) + 1
    heads = await tx.increment(tables.feed_heads, counts, key=["partition"], column="position")
    if len(heads) != len(counts):
        raise LookupError(f"partitions {sorted(set(homes))}, heads of {len(heads)} of them")
    last = {int(row.partition): int(row.position) - counts[row.partition,] for row in heads}
    places: list[Place] = []
    rows: list[dict[str, object]] = []
    for each, home in zip(records, homes, strict=True):
        last[home] += 1
        places.append((home, last[home]))
        rows.append(
            {
                "partition": home,
                "position": last[home],
                "program_id": each.program_id,
                "member_key": each.member_key,
                "type": each.type,
                "payload": each.payload,
                "create_time": now,
            }
        )
    await tx.insert(tables.feed_events, rows)
    return places


async def admit_followed(
    tx: Tx, tables: KernelTables, followed: Sequence[FollowedEvent]
) -> Admission:
    """Locks the cursors, in order, and says of each event whether it is to be applied.

    STALE: another follower was faster. PARKED: it waits behind a parked event of its member.
    OUT_OF_ORDER: something before it is missing, and the cursor does not move for it.
    """
    admission = Admission()
    if not followed:
        return admission
    admission.cursors = await _lock_cursors(tx, tables, followed)
    members = sorted({(each.source, each.partition, each.member_key) for each in followed})
    for row in await tx.select(tables.parked_members, members, key=_MEMBER):
        admission.waiting[row.source, row.partition, row.member_key] = []
    if any(each.retry for each in followed):
        for row in await tx.select(
            tables.parked_events, list(admission.waiting), key=_MEMBER, order_by=_EVENT
        ):
            admission.waiting[row.source, row.partition, row.member_key].append(row.position)
    for each in followed:
        admission.verdicts.append(_judge(admission, each))
    return admission


async def conclude_followed(tx: Tx, tables: KernelTables, admission: Admission) -> None:
    """Moves the cursors, stores what waits, and forgets what was parked and is now applied."""
    await _store_parked(tx, tables, admission.behind, error="", attempts=0)
    if admission.retried:
        await tx.delete(
            tables.parked_events,
            [(each.source, each.partition, each.position) for each in admission.retried],
            key=_EVENT,
        )
        touched = {(each.source, each.partition, each.member_key) for each in admission.retried}
        free = sorted(member for member in touched if not admission.waiting[member])
        await tx.delete(tables.parked_members, free, key=_MEMBER)
        later = [
            _member_row(member) | {"position": admission.waiting[member][0]}
            for member in sorted(touched)
            if admission.waiting[member]
        ]
        await tx.update(tables.parked_members, later, key=_MEMBER)
    await _move_cursors(tx, tables, {key: admission.cursors[key] for key in admission.moved})


async def park(
    database: Database, tables: KernelTables, followed: FollowedEvent, error: BaseException
) -> None:
    """Stores an event that cannot be applied, and moves the cursor past it.

    A parked event that failed again keeps its place and gets the new error.
    Does nothing when another follower has dealt with it; refuses FollowedOutOfOrder when something
    before it is missing.
    """
    text = f"{type(error).__name__}: {error}"[:_ERROR_CHARS_MAX].replace("\x00", "")
    async with database.transaction() as tx:
        admission = await admit_followed(tx, tables, [followed])
        verdict = admission.verdicts[0]
        if verdict is Verdict.OUT_OF_ORDER:
            raise admission.refusal(followed)
        if verdict is Verdict.APPLY and followed.retry:
            statement = (
                sa.update(tables.parked_events)
                .where(tables.parked_events.c.source == followed.source)
                .where(tables.parked_events.c.partition == followed.partition)
                .where(tables.parked_events.c.position == followed.position)
                .values(error=text, attempts=tables.parked_events.c.attempts + 1)
            )
            await tx.execute(statement)
            return
        if verdict is Verdict.APPLY:
            member = (followed.source, followed.partition, followed.member_key)
            row = _member_row(member) | {"position": followed.position}
            await tx.insert(tables.parked_members, [row])
            await _store_parked(tx, tables, [followed], error=text, attempts=1)
        await conclude_followed(tx, tables, admission)


def _judge(admission: Admission, each: FollowedEvent) -> Verdict:
    member = (each.source, each.partition, each.member_key)
    if each.retry:
        waiting = admission.waiting.get(member, [])
        if not waiting or waiting[0] != each.position:
            return Verdict.STALE
        waiting.pop(0)
        admission.retried.append(each)
        return Verdict.APPLY
    cursor = (each.source, each.partition)
    reached = admission.cursors[cursor]
    if each.position <= reached:
        return Verdict.STALE
    if each.position - 1 - each.skipped > reached:
        return Verdict.OUT_OF_ORDER
    admission.cursors[cursor] = each.position
    admission.moved.add(cursor)
    if member in admission.waiting:
        admission.behind.append(each)
        admission.waiting[member].append(each.position)
        return Verdict.PARKED
    return Verdict.APPLY


async def _lock_cursors(
    tx: Tx, tables: KernelTables, followed: Sequence[FollowedEvent]
) -> dict[Cursor, int]:
    wanted = sorted({(each.source, each.partition) for each in followed})
    rows = await tx.select(tables.feed_cursors, wanted, key=_CURSOR, lock=True)
    if len(rows) < len(wanted):
        new = [
            {"source": source, "partition": partition, "position": 0, "incarnation": ""}
            for source, partition in wanted
        ]
        await tx.insert(tables.feed_cursors, new, ignore_conflicts=True)
        rows = await tx.select(tables.feed_cursors, wanted, key=_CURSOR, lock=True)
    return {(row.source, row.partition): row.position for row in rows}


async def _move_cursors(tx: Tx, tables: KernelTables, cursors: dict[Cursor, int]) -> None:
    rows = [
        {"source": source, "partition": partition, "position": position}
        for (source, partition), position in sorted(cursors.items())
    ]
    await tx.update(tables.feed_cursors, rows, key=_CURSOR)


async def _store_parked(
    tx: Tx,
    tables: KernelTables,
    events: Sequence[FollowedEvent],
    *,
    error: str,
    attempts: int,
) -> None:
    rows = [
        {
            "source": each.source,
            "partition": each.partition,
            "position": each.position,
            "member_key": each.member_key,
            "event": each.event,
            "error": error,
            "attempts": attempts,
        }
        for each in events
    ]
    await tx.insert(tables.parked_events, rows)


def _member_row(member: Member) -> dict[str, object]:
    return dict(zip(_MEMBER, member, strict=True))
