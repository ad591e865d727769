"""The one transaction that every write goes through: a batch of commands.

A unary call, a `Batch…` call, a stream and a follower all end in `Executor.execute`, usually by way
of `shared.group_commit`.
One command per transaction costs about a millisecond of CPU in statements; a hundred in one
transaction share those statements.

The order is the same everywhere, because locks are taken along it:
cursors of followed feeds, idempotency keys, what the service locks (`Work.load`), intentions, and
last the heads of the feed; each sorted by its key.

Everything is decided by `Work.decide`, a pure function; a refusal that it raises is the answer of
that command alone. Any other exception undoes the batch, and `shared.group_commit` looks for the
culprit.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, cast

import structlog
from prometheus_client import Counter

from shared import errors, feed_log, keys, record
from shared.clock import Clock, monotonic
from shared.database import Database, Tx
from shared.decision import Decision, Intention
from shared.feed_log import Admission, FeedRecord, Place, Verdict
from shared.keys import Identity, RequestKey, Settlement, StoredAnswer
from shared.schedules import PublicationDue
from shared.tables import KernelTables
from shared.work import (
    C,
    Command,
    Followed,
    Item,
    Outcome,
    Result,
    Run,
    Settled,
    W,
    Work,
    World,
    partition_of_item,
    told_awaited,
)

__all__ = [
    "Command",
    "Executor",
    "FeedRecord",
    "Followed",
    "Item",
    "Outcome",
    "RequestKey",
    "Result",
    "Run",
    "Settled",
    "Work",
    "World",
    "partition_of_item",
]

_TURN_SECONDS = 0.01
"""How long decisions go on before others of the process have their turn."""

logger = structlog.get_logger(__name__)

followed_refusals = Counter(
    "guerdon_followed_refusals_total",
    "Commands made of another service's event that were refused.",
    ["service", "source", "reason"],
)


@dataclass(slots=True, kw_only=True)
class _Todo(Generic[C]):
    """A command that has to be decided; `index` is its item's place in the batch."""

    index: int
    command: C
    key: RequestKey | None = None
    followed: Followed | None = None
    settled: Settled[C] | None = None
    place: Place | None = None


@dataclass(slots=True, kw_only=True)
class _Plan(Generic[C]):
    """What is known of a batch before anything is decided."""

    results: dict[int, Result] = field(default_factory=dict)
    todos: list[_Todo[C]] = field(default_factory=list)
    first: dict[Identity, _Todo[C]] = field(default_factory=dict)
    copies: list[tuple[int, int]] = field(default_factory=list)


class Executor(Generic[C, W]):
    """Executes batches of one service; any number of them may work on one database."""

    def __init__(
        self,
        *,
        database: Database,
        work: Work[C, W],
        clock: Clock,
        service: str,
        partitions: int,
        tables: KernelTables,
        on_intentions: Callable[[], None] = lambda: None,
        publish: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Take what batches work on; `on_intentions` is called after a commit that made some.

        `publish` puts program versions in force whose time has come; a batch that meets one is
        undone, and done again after that.
        """
        self._database = database
        self._work = work
        self._clock = clock
        self._service = service
        self._partitions = partitions
        self._tables = tables
        self._on_intentions = on_intentions
        self._publish = publish

    async def execute(self, batch: Sequence[Item]) -> list[Result]:
        """Decides a batch in one transaction; results in the order of the items, committed.

        Repeated commands get what they were answered the first time.
        Raises whatever undid the transaction: errors of the database, of the service's code, and a
        transient refusal of a followed event's command.
        """
        try:
            return await self._execute(batch)
        except PublicationDue:
            # Locks are taken along one order, so the batch cannot publish in the middle of its own.
            if self._publish is None:
                raise
            await self._publish()
        return await self._execute(batch)

    async def _execute(self, batch: Sequence[Item]) -> list[Result]:
        async with self._database.transaction() as tx:
            followed = [item for item in batch if isinstance(item, Followed)]
            admission = await feed_log.admit_followed(tx, self._tables, followed)
            # Once each: a key digests the whole command.
            asked = [None if isinstance(item, Followed) else item.request_key for item in batch]
            claims = [key for key in asked if key is not None]
            stored = await keys.claim(tx, self._tables.request_keys, claims)
            plan = self._plan(batch, asked, admission, stored)
            # Business time is read once per batch: all its commands are decided at one instant.
            now = self._clock.now()
            await self._decide(tx, plan, now)
            await self._record(tx, plan, admission, now)
        if any(todo.settled.intentions for todo in plan.todos if todo.settled is not None):
            self._on_intentions()
        return self._results(batch, plan)

    def _plan(
        self,
        batch: Sequence[Item],
        asked: Sequence[RequestKey | None],
        admission: Admission,
        stored: Mapping[Identity, StoredAnswer],
    ) -> _Plan[C]:
        """Tells commands to be decided from repeats, copies and events not to be applied."""
        plan: _Plan[C] = _Plan()
        verdicts = iter(admission.verdicts)
        for index, item in enumerate(batch):
            if isinstance(item, Followed):
                verdict = next(verdicts)
                if verdict is Verdict.OUT_OF_ORDER:
                    plan.results[index] = admission.refusal(item)
                else:
                    repeated = verdict is Verdict.STALE
                    plan.results[index] = Outcome(answer=None, repeated=repeated)
                if verdict is Verdict.APPLY:
                    plan.todos.extend(
                        _Todo(index=index, command=cast("C", command), followed=item)
                        for command in item.commands
                    )
                continue
            command, key = cast("C", item), asked[index]
            if key is None:
                plan.todos.append(_Todo(index=index, command=command))
            else:
                self._plan_command(plan, index, command, key, stored)
        return plan

    def _plan_command(
        self,
        plan: _Plan[C],
        index: int,
        command: C,
        key: RequestKey,
        stored: Mapping[Identity, StoredAnswer],
    ) -> None:
        identity = key.identity
        before = stored.get(identity)
        first = plan.first.get(identity)
        if before is not None and before.is_reserved:
            before = None
            command = told_awaited(command)
        if before is None and first is None:
            todo = _Todo(index=index, command=command, key=key)
            plan.first[identity] = todo
            plan.todos.append(todo)
            return
        known = before or (None if first is None else first.key)
        if known is None or known.digest != key.digest:
            plan.results[index] = errors.IdempotencyKeyReused(request_id=key.request_id)
        elif before is not None:
            plan.results[index] = self._repeated(command, before)
        elif first is not None:
            plan.copies.append((index, first.index))

    def _repeated(self, command: C, stored: StoredAnswer) -> Result:
        if stored.refusal is not None:
            return errors.load(stored.refusal)
        answer = record.loads(self._work.answer_type(command), stored.answer or "null")
        place = None
        if stored.partition is not None and stored.position is not None:
            place = (stored.partition, stored.position)
        return Outcome(answer=answer, token=self._token(place), repeated=True)

    async def _decide(self, tx: Tx, plan: _Plan[C], now: datetime) -> None:
        """Loads the world, folds the commands over it, saves what has changed."""
        if not plan.todos:
            return
        world = await self._work.load(tx, [todo.command for todo in plan.todos], now)
        put = cast("Callable[[object], None]", world.put)
        settled: list[Settled[C]] = []
        turn_ends = monotonic() + _TURN_SECONDS
        for todo in plan.todos:
            if monotonic() > turn_ends:
                # The world is this batch's own: other callers' turns change nothing of it.
                await asyncio.sleep(0)
                turn_ends = monotonic() + _TURN_SECONDS
            decision: Decision[object, object] | None = None
            refusal: errors.Refusal | None = None
            try:
                decision = self._work.decide(world, todo.command, now)
                put(decision.state)
            except errors.Refusal as refused:
                # The traceback would keep the whole world alive as long as the refusal.
                refusal = refused.with_traceback(None)
                self._check_followed(todo, refusal)
            todo.settled = Settled(
                command=todo.command, decision=decision, refusal=refusal, followed=todo.followed
            )
            settled.append(todo.settled)
        await self._work.save(tx, world, Run(settled=settled, now=now))

    def _check_followed(self, todo: _Todo[C], refusal: errors.Refusal) -> None:
        """A refused command of an event is an outcome, unless it might succeed later."""
        if todo.followed is None:
            return
        if refusal.transient:
            raise refusal
        source = todo.followed.source
        followed_refusals.labels(self._service, source, refusal.reason).inc()
        logger.info(
            "followed_command_refused",
            service=self._service,
            source=source,
            partition=todo.followed.partition,
            position=todo.followed.position,
            command=type(todo.command).__name__,
            reason=refusal.reason,
        )

    async def _record(self, tx: Tx, plan: _Plan[C], admission: Admission, now: datetime) -> None:
        """Stores intentions, cursors, events and answers; the heads are the last locks."""
        decisions = [
            todo.settled.decision
            for todo in plan.todos
            if todo.settled is not None and todo.settled.decision is not None
        ]
        await self._record_intentions(tx, decisions, now)
        await feed_log.conclude_followed(tx, self._tables, admission)
        owners: list[_Todo[C]] = []
        records: list[FeedRecord] = []
        for todo in plan.todos:
            for event in todo.settled.events if todo.settled is not None else ():
                owners.append(todo)
                records.append(self._work.event_to_feed(event))
        places = await feed_log.append_events(
            tx, self._tables, records, partitions=self._partitions, now=now
        )
        for todo, place in zip(owners, places, strict=True):
            # The token is the last event in the command's own partition, or else the first one.
            if todo.place is None or place[0] == partition_of_item(todo.command, self._partitions):
                todo.place = place
        await keys.settle(
            tx, self._tables.request_keys, [_settlement(todo) for todo in plan.first.values()]
        )

    async def _record_intentions(
        self, tx: Tx, decisions: Sequence[Decision[object, object]], now: datetime
    ) -> None:
        table = self._tables.intentions
        opened = [_intention_row(each, now) for made in decisions for each in made.intentions]
        closed = sorted({each for made in decisions for each in made.closes})
        await tx.insert(table, opened)
        await tx.update(
            table,
            [{"intention_id": each, "close_time": now} for each in closed],
            key=["intention_id"],
        )

    def _results(self, batch: Sequence[Item], plan: _Plan[C]) -> list[Result]:
        for todo in plan.todos:
            if todo.followed is None and todo.settled is not None:
                plan.results[todo.index] = todo.settled.refusal or Outcome(
                    answer=None if todo.settled.decision is None else todo.settled.decision.answer,
                    token=self._token(todo.place),
                )
        for index, original in plan.copies:
            result = plan.results[original]
            copy = replace(result, repeated=True) if isinstance(result, Outcome) else result
            plan.results[index] = copy
        return [plan.results[index] for index in range(len(batch))]

    def _token(self, place: Place | None) -> str:
        return "" if place is None else f"{self._service}:{place[0]}:{place[1]}"


def _settlement(todo: _Todo[C]) -> Settlement:
    settled = todo.settled
    if todo.key is None or settled is None:
        raise TypeError("a command without a key has nothing to settle")
    partition, position = todo.place if todo.place is not None else (None, None)
    return Settlement(
        key=todo.key,
        answer=None if settled.decision is None else settled.decision.answer,
        refusal=settled.refusal,
        partition=partition,
        position=position,
    )


def _intention_row(intention: Intention, now: datetime) -> dict[str, object]:
    return {
        "intention_id": intention.intention_id,
        "program_id": intention.program_id,
        "member_key": intention.member_key,
        "kind": intention.kind,
        "payload": intention.payload,
        "create_time": now,
    }
