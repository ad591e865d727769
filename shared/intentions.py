"""Drives intentions to their end: calls that must happen after a commit, stored with it.

An intention is open until a command whose decision `closes` it commits, so that the effect and the
closing are one transaction. A handler may therefore run more than once, also after its effect
elsewhere happened; each call it makes carries the intention's id as idempotency key. A worker
leases what is due by the database's real clock, so that two workers do not do the same work at
once; that is economy, not safety, which rests on the keys alone.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from shared import errors
from shared.database import Database, Row
from shared.decision import Intention
from shared.tables import KernelTables

_MICROS = 1_000_000
_ERROR_MAX = 1_000

Handler = Callable[[Intention], Awaitable[None]]

logger = structlog.get_logger(__name__)


@dataclass(eq=False, repr=False, kw_only=True)
class IntentionLeftOpen(errors.Aborted):
    """A handler came to its end and its intention is still open; it is driven again."""

    message = "the handler of {intention_kind} ended without closing the intention"
    intention_kind: str


@dataclass(eq=False, repr=False, kw_only=True)
class IntentionKindUnknown(errors.Aborted):
    """No handler drives this kind, as while an older copy of the service still runs."""

    message = "no handler for intentions of kind {intention_kind}"
    intention_kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """How a worker behaves; times are in seconds of real time.

    A handler is stopped before its lease ends, so that it never works on what another worker has
    taken over.
    """

    lease: float = 15.0
    handler_timeout: float = 12.0
    backoff_first: float = 0.05
    backoff_max: float = 5.0
    poll: float = 0.5


class IntentionWorker:
    """Leases due intentions of one service and runs their handlers, at most `concurrency` at once.

    `handlers` maps the kind of an intention to what drives it; `owner_id` is unique among the
    workers of a database; `jitter` gives a number from 0 to 1 and spreads the attempts.
    """

    def __init__(
        self,
        database: Database,
        tables: KernelTables,
        handlers: Mapping[str, Handler],
        *,
        owner_id: str,
        jitter: Callable[[], float],
        concurrency: int = 16,
        limits: WorkerLimits | None = None,
    ) -> None:
        self._database = database
        self._table = tables.intentions
        self._handlers = handlers
        self._owner_id = owner_id
        self._jitter = jitter
        self._concurrency = concurrency
        self._limits = limits or WorkerLimits()
        self._wake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._statements = _Statements(self._table)

    def wake(self) -> None:
        """Look for work now; called after a commit that made an intention."""
        self._wake.set()

    async def open_count(self) -> int:
        """Count the intentions that are not closed."""
        async with self._database.reading() as tx:
            (row,) = await tx.fetch(self._statements.count_open)
        return int(row.open)

    async def run(self) -> None:
        """Work until cancelled.

        Then the handlers that are under way are cancelled too and their leases run out.
        """
        if self._database.dialect == "sqlite":
            await self._clear_leases()
        try:
            while True:
                self._wake.clear()
                try:
                    await self._take()
                except Exception:  # the database may come back; nothing here is worth dying for
                    logger.exception("intentions_not_taken")
                try:
                    async with asyncio.timeout(self._limits.poll):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _clear_leases(self) -> None:
        """Free what a dead process held.

        With SQLite there is one process, so nobody else holds a lease.
        """
        async with self._database.transaction() as tx:
            await tx.execute(self._statements.clear_leases)

    async def _take(self) -> None:
        """Lease as many due intentions as there is room for, and start them."""
        room = self._concurrency - len(self._running)
        if room <= 0:
            return
        async with self._database.reading() as tx:
            now = await tx.now_micros()
            due = await tx.fetch(self._statements.any_due, {"now": now})
        if not due:
            return
        async with self._database.transaction() as tx:
            rows = await tx.fetch(
                self._statements.lease,
                {
                    "now": now,
                    "until": now + int(self._limits.lease * _MICROS),
                    "owner": self._owner_id,
                    "room": room,
                },
            )
        deadline = time.monotonic() + self._limits.handler_timeout
        for row in rows:
            task = asyncio.create_task(self._drive(row, deadline))
            self._running.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()

    async def _drive(self, row: Row, deadline: float) -> None:
        intention = Intention(
            intention_id=row.intention_id,
            kind=row.kind,
            payload=row.payload,
            program_id=row.program_id,
            member_key=row.member_key,
        )
        try:
            await self._handle(intention, deadline)
            if not await self._is_open(intention.intention_id):
                return
            failure: Exception = IntentionLeftOpen(intention_kind=intention.kind)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the intention is still open
            failure = error
        self._say(intention, failure, attempts=row.attempts)
        try:
            await self._give_back(intention.intention_id, row.attempts, failure)
        except Exception:  # then the lease runs out by itself
            logger.exception("intention_not_given_back", intention_id=intention.intention_id)

    async def _handle(self, intention: Intention, deadline: float) -> None:
        handler = self._handlers.get(intention.kind)
        if handler is None:
            raise IntentionKindUnknown(intention_kind=intention.kind)
        async with asyncio.timeout(deadline - time.monotonic()):
            await handler(intention)

    async def _is_open(self, intention_id: str) -> bool:
        async with self._database.reading() as tx:
            return bool(await tx.fetch(self._statements.is_open, {"id": intention_id}))

    async def _give_back(self, intention_id: str, attempts: int, failure: Exception) -> None:
        """End the lease and say when to try again.

        Sooner at first, at most `backoff_max` seconds later.
        """
        limits = self._limits
        ceiling = min(limits.backoff_max, limits.backoff_first * 2 ** min(attempts, 20))
        wait = ceiling * (0.5 + self._jitter() / 2)
        async with self._database.transaction() as tx:
            now = await tx.now_micros()
            await tx.execute(
                self._statements.give_back,
                {
                    "id": intention_id,
                    "owner": self._owner_id,
                    "next": now + int(wait * _MICROS),
                    "error": f"{type(failure).__name__}: {failure}"[:_ERROR_MAX],
                },
            )

    def _say(self, intention: Intention, failure: Exception, *, attempts: int) -> None:
        expected = isinstance(failure, errors.Refusal) and failure.transient
        log = logger.info if expected or isinstance(failure, TimeoutError) else logger.error
        log(
            "intention_not_done",
            intention_id=intention.intention_id,
            kind=intention.kind,
            attempts=attempts,
            error_type=type(failure).__name__,
            exc_info=None if expected else failure,
        )


class _Statements:
    """The worker's SQL, built once so that it is compiled once."""

    def __init__(self, table: sa.Table) -> None:
        columns = table.c
        now: sa.BindParameter[int] = sa.bindparam("now", type_=sa.BigInteger)
        is_open = columns.close_time.is_(None)
        is_due = sa.and_(
            is_open,
            columns.next_attempt_micros <= now,
            columns.lease_until_micros <= now,
        )
        due = (
            sa.select(columns.intention_id)
            .where(is_due)
            .order_by(columns.next_attempt_micros, columns.intention_id)
        )
        self.any_due = due.limit(1)
        self.lease = (
            sa.update(table)
            .where(
                columns.intention_id.in_(
                    due.limit(sa.bindparam("room", type_=sa.Integer)).with_for_update(
                        skip_locked=True
                    )
                )
            )
            .values(
                lease_owner=sa.bindparam("owner"),
                lease_until_micros=sa.bindparam("until", type_=sa.BigInteger),
                attempts=columns.attempts + 1,
            )
            .returning(*_intention_columns(table))
        )
        self.give_back = (
            sa.update(table)
            .where(
                columns.intention_id == sa.bindparam("id"),
                columns.lease_owner == sa.bindparam("owner"),
                is_open,
            )
            .values(
                lease_owner=None,
                lease_until_micros=0,
                next_attempt_micros=sa.bindparam("next", type_=sa.BigInteger),
                last_error=sa.bindparam("error"),
            )
        )
        self.clear_leases = (
            sa.update(table)
            .where(is_open, columns.lease_owner.is_not(None))
            .values(lease_owner=None, lease_until_micros=0)
        )
        self.is_open = sa.select(columns.intention_id).where(
            columns.intention_id == sa.bindparam("id"), is_open
        )
        self.count_open = sa.select(sa.func.count().label("open")).where(is_open)


def _intention_columns(table: sa.Table) -> Sequence[sa.Column[object]]:
    names = ("intention_id", "kind", "payload", "program_id", "member_key", "attempts")
    return [table.c[name] for name in names]
