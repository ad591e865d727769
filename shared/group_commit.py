"""Group commit: what arrives while a commit is in flight forms the next batch.

There is no timer and no delay when idle: the first command goes at once and alone, and the busier
it gets, the more commands share a transaction.

Partitions are dealt to groups, and a *lane* is one transaction in flight. One lane takes from all
groups; a further one opens, for groups that none works on, only while a full batch waits, because
more lanes make smaller batches (64 callers, 2 cores: 2,830/s with one lane, 1,640 with three).
So a partition's items are executed in the order of their arrival.

One group commit may give way to another, as jobs do to callers: while that one is at work, or was a
moment ago, there is one lane, batches are small, and each is followed by a pause as long as itself
(8 callers while points end: p99 63 ms; 380 with batches of 256 in two lanes; alone 37).

Errors: transient ones repeat the whole batch; any other halves it, left half first, until the
culprit stands alone. A caller's command is then refused with INTERNAL and an error id; a followed
event is parked.

Batches run in tasks of their own. A caller who is cancelled takes its commands out of the queue if
they are still in it, and otherwise only stops waiting.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import structlog
from prometheus_client import Counter, Histogram

from shared import errors
from shared.batches import Followed, Item, Outcome, Result
from shared.clock import monotonic
from shared.faults import is_connection_lost, is_transient
from shared.ids import Ids, SystemIds
from shared.work import weight_of_item

Execute: TypeAlias = Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]
Route: TypeAlias = Callable[[Item], int]
Park: TypeAlias = Callable[[Followed, Exception], Awaitable[None]]

ATTEMPTS_MAX = 6
_BACKOFF_FIRST_SECONDS = 0.01
_BACKOFF_MAX_SECONDS = 1.0
_MOMENT_SECONDS = 0.2
_GIVING_WAY_BATCH_MAX = 8
_PAUSE_SECONDS_MAX = 1.0

logger = structlog.get_logger(__name__)

batch_items = Histogram(
    "guerdon_batch_items",
    "Commands and followed events in one transaction.",
    ["service"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
batch_seconds = Histogram(
    "guerdon_batch_seconds",
    "Time from taking a batch to its commit.",
    ["service"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
)
batch_retries = Counter(
    "guerdon_batch_retries_total", "Batches done again after a transient error.", ["service"]
)
poison_items = Counter(
    "guerdon_poison_items_total", "Items that cannot be executed, alone either.", ["service"]
)


@dataclass(eq=False, repr=False, kw_only=True)
class DatabaseUnavailable(errors.Unavailable):
    """The database could not be reached; what was asked may have happened."""

    message = "the database cannot be reached, send it again"


@dataclass(eq=False, repr=False, kw_only=True)
class TooContended(errors.Aborted):
    """Others were faster, time and again; nothing was done."""

    message = "given up after {attempts} attempts, send it again"
    attempts: int


class _Parcel:
    """What one caller handed over: one future, however many items."""

    __slots__ = ("future", "missing", "results")

    def __init__(self, size: int) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.missing = size
        self.results: list[Result | None] = [None] * size

    def settle(self, index: int, result: Result) -> None:
        self.results[index] = result
        self.missing -= 1
        if self.missing == 0 and not self.future.done():
            self.future.set_result(None)


@dataclass(slots=True)
class _Entry:
    """One item in a queue; `order` is its place in the order of arrival."""

    item: Item
    parcel: _Parcel
    index: int
    order: int
    weight: int

    def settle(self, result: Result) -> None:
        self.parcel.settle(self.index, result)


class GroupCommit:
    """Queues of one service's write path.

    `execute` is `Executor.execute`; `route` gives an item's partition, `park` stores a followed
    event that cannot be applied. `batch_max` counts decisions (`work.weight_of_item`), whose locks
    are held until the last of them; an item that is heavier by itself goes alone. `queue_max` items
    may wait, a caller beyond that is refused; followers leave half of the queue to callers.
    `gives_way_to` is one whose callers must not wait for what is done here.
    """

    def __init__(
        self,
        execute: Execute,
        *,
        route: Route,
        park: Park | None = None,
        lanes_max: int = 1,
        batch_max: int = 256,
        queue_max: int = 10_000,
        service: str = "",
        ids: Ids | None = None,
        gives_way_to: "GroupCommit | None" = None,
    ) -> None:
        self._execute = execute
        self._route = route
        self._park = park
        self._lanes_max = lanes_max
        self._batch_max = batch_max
        self._queue_max = queue_max
        self._service = service
        self._ids = ids or SystemIds()
        self._gives_way_to = gives_way_to
        self._ended = -_MOMENT_SECONDS
        self._groups: list[deque[_Entry]] = [deque() for _ in range(lanes_max)]
        self._busy: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._arrivals = 0
        self._dispatching = False
        self._closed = False
        self._room = asyncio.Event()
        self._room.set()
        self._items = batch_items.labels(service)
        self._seconds = batch_seconds.labels(service)

    @property
    def waiting(self) -> int:
        """Items that no transaction has taken yet."""
        return self._waiting

    @property
    def lanes(self) -> int:
        """Transactions in flight."""
        return len(self._tasks)

    @property
    def is_at_work(self) -> bool:
        """Whether anything waits or is in flight, or was a moment ago."""
        return bool(self._tasks) or monotonic() - self._ended < _MOMENT_SECONDS

    async def submit(self, command: Item) -> Outcome:
        """Executes one command; raises its refusal."""
        result = (await self.submit_many((command,)))[0]
        if isinstance(result, errors.Refusal):
            raise result
        return result

    async def submit_many(self, items: Sequence[Item], *, wait: bool = False) -> list[Result]:
        """Executes items, each with an answer of its own, in their order.

        They need not share a transaction. When they do not fit into the queue, a caller is refused
        at once (Overloaded, and nothing is done), a follower (`wait`) waits.
        A followed event's result is a refusal when it was not applied and must be sent again; what
        follows it is then refused too.
        """
        if not wait:
            return await self._hand_over(items)
        results: list[Result] = []
        for start in range(0, len(items), self._batch_max):
            while not self._room.is_set():  # another one may have taken the room meanwhile
                await self._room.wait()
            results += await self._hand_over(items[start : start + self._batch_max], waited=True)
        return results

    async def drain(self) -> None:
        """Waits until nothing waits and nothing is in flight."""
        while self._tasks or self._waiting:
            if self._tasks:
                await asyncio.wait(self._tasks)
            else:
                await asyncio.sleep(0)

    async def close(self) -> None:
        """Takes nothing more, and waits for what was taken."""
        self._closed = True
        await self.drain()

    async def _hand_over(self, items: Sequence[Item], *, waited: bool = False) -> list[Result]:
        if self._closed:
            raise errors.NotReady(what="the write path")
        if not items:
            return []
        if not waited and self._waiting + len(items) > self._queue_max:
            raise errors.Overloaded(limit=self._queue_max)
        parcel = _Parcel(len(items))
        for index, item in enumerate(items):
            group = 0 if self._lanes_max == 1 else self._route(item) % self._lanes_max
            self._arrivals += 1
            entry = _Entry(item, parcel, index, self._arrivals, weight_of_item(item))
            self._groups[group].append(entry)
        self._count(len(items))
        if not self._dispatching and len(self._tasks) < self._lanes_max:
            # Not at once: callers who are ready in this turn of the loop join the batch.
            self._dispatching = True
            asyncio.get_running_loop().call_soon(self._dispatch)
        await parcel.future
        return [result for result in parcel.results if result is not None]

    def _count(self, change: int) -> None:
        self._waiting += change
        if self._waiting < self._queue_max // 2:
            self._room.set()
        else:
            self._room.clear()

    def _dispatch(self) -> None:
        """Opens lanes: the first for anything, further ones for full batches."""
        self._dispatching = False
        lanes_max, batch_max = self._lanes_max, self._batch_max
        if self._is_giving_way():
            lanes_max, batch_max = 1, min(batch_max, _GIVING_WAY_BATCH_MAX)
        while len(self._tasks) < lanes_max:
            entries, groups = self._take(batch_max)
            if not groups:
                return
            self._busy |= groups
            # An empty context: the batch is nobody's request, and must not log as one.
            task = asyncio.create_task(
                self._run(entries, groups), name="batch", context=contextvars.Context()
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _is_giving_way(self) -> bool:
        return self._gives_way_to is not None and self._gives_way_to.is_at_work

    def _dispatch_after(self, batch_seconds: float) -> None:
        """Goes on after a batch: at once, or after a pause for those to whom it gives way."""
        if self._closed or not self._is_giving_way():
            self._dispatch()
            return
        self._dispatching = True
        pause = min(batch_seconds, _PAUSE_SECONDS_MAX)
        asyncio.get_running_loop().call_later(pause, self._dispatch)

    def _take(self, batch_max: int) -> tuple[list[_Entry], set[int]]:
        free = [at for at, group in enumerate(self._groups) if group and at not in self._busy]
        waiting = sum(len(self._groups[at]) for at in free)
        if not free or (self._tasks and waiting < batch_max):
            return [], set()
        free.sort(key=lambda at: self._groups[at][0].order)
        taken: list[_Entry] = []
        groups: set[int] = set()
        room = batch_max
        for at in free:
            group = self._groups[at]
            if room <= 0 or (groups and len(group) > room):
                break  # the group is left whole, for a lane of its own
            groups.add(at)
            while group and (room > 0 and (group[0].weight <= room or not taken)):
                entry = group.popleft()
                self._count(-1)
                if not entry.parcel.future.cancelled():
                    taken.append(entry)
                    room -= entry.weight
        taken.sort(key=lambda entry: entry.order)
        return taken, groups

    async def _run(self, entries: list[_Entry], groups: set[int]) -> None:
        started = monotonic()
        try:
            if entries:
                await self._settle(entries)
                self._items.observe(len(entries))
                self._seconds.observe(monotonic() - started)
        except BaseException:
            # Only cancellation comes here, at the very end of a process.
            for entry in entries:
                if entry.parcel.results[entry.index] is None:
                    entry.settle(errors.Interrupted())
            raise
        finally:
            self._busy -= groups
            current = asyncio.current_task()
            if current is not None:
                self._tasks.discard(current)
            self._ended = monotonic()
            self._dispatch_after(self._ended - started)

    async def _settle(self, entries: Sequence[_Entry]) -> None:
        """Executes entries until each has a result; those of one transaction together."""
        started = monotonic()
        try:
            results = await self._persist([entry.item for entry in entries])
        except Exception as error:  # noqa: BLE001 - whatever the culprit raises, its neighbours go on
            if len(entries) == 1:
                entries[0].settle(await self._isolated(entries[0].item, error))
                return
            middle = len(entries) // 2
            await self._settle(entries[:middle])
            await self._settle(entries[middle:])
            return
        for entry, result in zip(entries, results, strict=True):
            entry.settle(result)
        logger.debug(
            "batch",
            service=self._service,
            items=len(entries),
            refused=sum(isinstance(result, errors.Refusal) for result in results),
            lanes=len(self._tasks),
            waiting=self._waiting,
            seconds=round(monotonic() - started, 6),
        )

    async def _persist(self, items: Sequence[Item]) -> Sequence[Result]:
        """Executes a batch, again after transient errors; refuses all of it when they persist."""

        async def once() -> Sequence[Result]:
            return await self._execute(items)

        results = await self._with_retries(once)
        return [results] * len(items) if isinstance(results, errors.Refusal) else results

    async def _with_retries(
        self, once: Callable[[], Awaitable[Sequence[Result]]]
    ) -> Sequence[Result] | errors.Refusal:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                return await once()
            except Exception as error:
                if isinstance(error, errors.Refusal) or not is_transient(error):
                    raise
                batch_retries.labels(self._service).inc()
                log = logger.warning if attempt > 1 else logger.info
                log("batch_retried", service=self._service, attempt=attempt, error=repr(error))
                if attempt == ATTEMPTS_MAX:
                    lost = is_connection_lost(error)
                    return DatabaseUnavailable() if lost else TooContended(attempts=attempt)
                ceiling = min(_BACKOFF_MAX_SECONDS, _BACKOFF_FIRST_SECONDS * 4 ** (attempt - 1))
                await asyncio.sleep(ceiling * (0.5 + self._ids.fraction() / 2))
        raise AssertionError("unreachable")  # pragma: no cover - the last attempt returns

    async def _isolated(self, item: Item, error: Exception) -> Result:
        """Result of an item that failed alone: parked, or refused with an error id."""
        if isinstance(error, errors.Refusal):
            return error  # raised by loading or saving, or transient for a followed event
        error_id = self._ids.new()
        poison_items.labels(self._service).inc()
        logger.error(
            "poison_item",
            service=self._service,
            error_id=error_id,
            item=type(item).__name__,
            exc_info=error,
        )
        if isinstance(item, Followed) and self._park is not None:
            return await self._parked(item, self._park, error, error_id)
        return errors.Internal(error_id=error_id)

    async def _parked(self, item: Followed, park: Park, error: Exception, error_id: str) -> Result:
        async def once() -> Sequence[Result]:
            await park(item, error)
            return [Outcome(answer=None)]

        try:
            results = await self._with_retries(once)
        except errors.Refusal as refusal:
            return refusal
        except Exception:
            logger.exception("parking_failed", service=self._service, error_id=error_id)
            return errors.Internal(error_id=error_id)
        return results if isinstance(results, errors.Refusal) else results[0]
