"""Versions of program documents that wait for their time: the statements, and nothing else.

At most one waits per program. It is no version yet: it has no place in any feed until it is
published, which `shared.programs` does under the locks of an apply.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from shared import errors
from shared.database import Row, TryAgain, Tx
from shared.tables import KernelTables


@dataclass(eq=False, repr=False, kw_only=True)
class PublicationScheduled(errors.FailedPrecondition):
    """A version waits for its time, and what was asked for would go past it."""

    message = (
        "version {version} of program {program_id} is scheduled for {publish_time}: "
        "apply with another time to replace it, or with cancel_scheduled to drop it"
    )
    program_id: str
    version: int
    publish_time: datetime


@dataclass(eq=False, repr=False, kw_only=True)
class PublishTimePassed(errors.FailedPrecondition):
    """A publication must be scheduled for an instant that the business clock has still ahead."""

    message = "publish_time {publish_time} is not after the business clock's {now}"
    publish_time: datetime
    now: datetime


class PublicationDue(TryAgain):
    """The time of a scheduled version has come: it is put in force, and the work done again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """A version that waits; `failure` says why it was refused at its time, empty while it waits."""

    program_id: str
    version: int
    etag: str
    author: str
    content: bytes
    create_time: datetime
    publish_time: datetime
    failure: str = ""

    def is_due(self, now: datetime) -> bool:
        """Whether its time has come and nothing has refused it."""
        return not self.failure and self.publish_time <= now


class Schedules:
    """The scheduled versions of one service."""

    def __init__(self, tables: KernelTables) -> None:
        self._table = tables.program_schedules
        columns = self._table.c
        self._due = (
            sa.select(self._table)
            .where(columns.publish_time <= sa.bindparam("due_at"), columns.failure.is_(None))
            .order_by(columns.publish_time, columns.program_id)
            .limit(1)
        )
        self._due_count = sa.select(sa.func.count().label("due")).where(
            columns.publish_time <= sa.bindparam("due_at"), columns.failure.is_(None)
        )
        self._refused = (
            sa.update(self._table)
            .where(
                columns.program_id == sa.bindparam("refused_program_id"),
                columns.etag == sa.bindparam("refused_etag"),
                columns.publish_time == sa.bindparam("refused_time"),
            )
            .values(failure=sa.bindparam("refused_because"))
        )

    async def of_program(self, tx: Tx, program_id: str) -> Scheduled | None:
        """What a program has scheduled, or what was refused and not replaced since."""
        rows = await tx.select(self._table, [(program_id,)], key=("program_id",))
        return _scheduled(rows[0]) if rows else None

    async def next_due(self, tx: Tx, now: datetime) -> Scheduled | None:
        """The one whose time came first, of any program."""
        rows = await tx.fetch(self._due, {"due_at": now})
        return _scheduled(rows[0]) if rows else None

    async def due_count(self, tx: Tx, now: datetime) -> int:
        """How many wait although their time has come."""
        rows = await tx.fetch(self._due_count, {"due_at": now})
        return int(rows[0].due)

    async def put(self, tx: Tx, scheduled: Scheduled) -> None:
        """Schedule it, in place of what the program has scheduled."""
        row = {
            "program_id": scheduled.program_id,
            "version": scheduled.version,
            "etag": scheduled.etag,
            "author": scheduled.author,
            "content": scheduled.content,
            "create_time": scheduled.create_time,
            "publish_time": scheduled.publish_time,
            "failure": None,
        }
        update: Sequence[str] = tuple(name for name in row if name != "program_id")
        await tx.upsert(self._table, [row], key=("program_id",), update=update)

    async def remove(self, tx: Tx, program_id: str) -> None:
        """Forget what a program has scheduled."""
        await tx.delete(self._table, [(program_id,)], key=("program_id",))

    async def refuse(self, tx: Tx, scheduled: Scheduled, failure: str) -> bool:
        """Note why it cannot be published; False when another stands in its place by now."""
        changed = await tx.execute(
            self._refused,
            {
                "refused_program_id": scheduled.program_id,
                "refused_etag": scheduled.etag,
                "refused_time": scheduled.publish_time,
                "refused_because": failure,
            },
        )
        return changed == 1


def _scheduled(row: Row) -> Scheduled:
    return Scheduled(
        program_id=row.program_id,
        version=row.version,
        etag=row.etag,
        author=row.author,
        content=row.content,
        create_time=row.create_time,
        publish_time=row.publish_time,
        failure=row.failure or "",
    )
