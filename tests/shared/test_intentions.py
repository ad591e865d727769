"""Intentions are driven to their end, on both databases, whatever their handlers do meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from shared import errors
from shared.database import Database
from shared.decision import Intention
from shared.intentions import IntentionWorker, WorkerLimits
from shared.tables import KernelTables
from tests.shared.feeds import TABLES, prepared

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FAR = 600.0  # seconds: a wait that no test may depend on
QUICK = WorkerLimits(backoff_first=0.01, backoff_max=0.02, poll=0.02)

Handler = Callable[[Intention], Awaitable[None]]


@pytest.fixture
async def database(database: Database) -> Database:
    return await prepared(database)


@pytest.fixture
def tables() -> KernelTables:
    return TABLES


async def _open(
    database: Database, tables: KernelTables, *ids: str, kind: str = "pay", **changed: object
) -> None:
    async with database.transaction() as tx:
        await tx.insert(
            tables.intentions,
            [
                {
                    "intention_id": each,
                    "program_id": "classic",
                    "member_key": "m1",
                    "kind": kind,
                    "payload": "{}",
                    "create_time": NOW,
                }
                | changed
                for each in ids
            ],
        )


async def _close_with_effect(database: Database, tables: KernelTables, intention_id: str) -> None:
    """What a command does whose decision closes an intention: effect and closing are one."""
    async with database.transaction() as tx:
        key = {"program_id": "classic", "scope": "effect", "digest": "", "request_id": intention_id}
        made = await tx.insert(
            tables.request_keys, [key], ignore_conflicts=True, returning=("request_id",)
        )
        if made:
            await tx.update(
                tables.intentions,
                [{"intention_id": intention_id, "close_time": NOW}],
                key=("intention_id",),
            )


async def _effects(database: Database, tables: KernelTables) -> list[str]:
    async with database.reading() as tx:
        rows = await tx.fetch(tables.request_keys.select())
    return sorted(str(row.request_id) for row in rows)


async def _rows(database: Database, tables: KernelTables) -> dict[str, tuple[object, ...]]:
    async with database.reading() as tx:
        rows = await tx.fetch(tables.intentions.select())
    return {
        str(row.intention_id): (row.attempts, row.lease_owner, row.last_error, row.close_time)
        for row in rows
    }


def _worker(
    database: Database,
    tables: KernelTables,
    handlers: Mapping[str, Handler],
    *,
    owner_id: str = "worker-1",
    concurrency: int = 4,
    limits: WorkerLimits = QUICK,
) -> IntentionWorker:
    return IntentionWorker(
        database,
        tables,
        handlers,
        owner_id=owner_id,
        jitter=lambda: 0.5,
        concurrency=concurrency,
        limits=limits,
    )


@asynccontextmanager
async def _running(*workers: IntentionWorker) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until_quiet(worker: IntentionWorker) -> None:
    await _until(lambda: _is_quiet(worker))


async def _is_quiet(worker: IntentionWorker) -> bool:
    return await worker.open_count() == 0


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - a database has no event to wait for
            await asyncio.sleep(0.005)


async def test_an_open_intention_is_driven_and_closed_with_its_effect(
    database: Database, tables: KernelTables
) -> None:
    seen: list[Intention] = []

    async def pay(intention: Intention) -> None:
        seen.append(intention)
        await _close_with_effect(database, tables, intention.intention_id)

    await _open(database, tables, "i1")
    worker = _worker(database, tables, {"pay": pay})
    assert await worker.open_count() == 1
    async with _running(worker):
        await _until_quiet(worker)
    assert seen == [
        Intention(
            intention_id="i1", kind="pay", payload="{}", program_id="classic", member_key="m1"
        )
    ]
    assert await _effects(database, tables) == ["i1"]


async def test_a_wake_needs_no_poll(database: Database, tables: KernelTables) -> None:
    done = asyncio.Event()

    async def pay(intention: Intention) -> None:
        await _close_with_effect(database, tables, intention.intention_id)
        done.set()

    worker = _worker(database, tables, {"pay": pay}, limits=WorkerLimits(poll=FAR))
    database.on_commit(worker.wake)
    async with _running(worker):
        await _open(database, tables, "i1")
        async with asyncio.timeout(5):
            assert await done.wait()


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RuntimeError("crash"), id="a crash"),
        pytest.param(errors.NotReady(what="earning"), id="a transient refusal"),
        pytest.param(errors.MemberNotFound(member_id="ann"), id="a refusal nobody translated"),
    ],
)
async def test_a_handler_that_fails_is_run_again(
    database: Database, tables: KernelTables, error: Exception
) -> None:
    left = [error, error]

    async def pay(intention: Intention) -> None:
        if left:
            raise left.pop()
        await _close_with_effect(database, tables, intention.intention_id)

    await _open(database, tables, "i1")
    worker = _worker(database, tables, {"pay": pay})
    async with _running(worker):
        await _until_quiet(worker)
    attempts, _, last_error, _ = (await _rows(database, tables))["i1"]
    assert attempts == 3
    assert last_error == f"{type(error).__name__}: {error}"


async def test_an_effect_whose_handler_dies_afterwards_happens_once(
    database: Database, tables: KernelTables
) -> None:
    runs = 0

    async def pay(intention: Intention) -> None:
        nonlocal runs
        runs += 1
        await _close_with_effect(database, tables, intention.intention_id)
        raise RuntimeError

    await _open(database, tables, "i1")
    worker = _worker(database, tables, {"pay": pay})
    async with _running(worker):
        await _until_quiet(worker)
        await asyncio.sleep(0.1)
    assert runs == 1
    assert await _effects(database, tables) == ["i1"]


async def test_a_handler_that_leaves_its_intention_open_is_run_again(
    database: Database, tables: KernelTables
) -> None:
    runs = 0

    async def pay(intention: Intention) -> None:
        nonlocal runs
        runs += 1
        if runs > 1:
            await _close_with_effect(database, tables, intention.intention_id)

    await _open(database, tables, "i1")
    worker = _worker(database, tables, {"pay": pay})
    async with _running(worker):
        await _until_quiet(worker)
    assert runs == 2


async def test_a_handler_that_takes_too_long_is_stopped_within_its_lease(
    database: Database, tables: KernelTables
) -> None:
    stopped = asyncio.Event()
    runs = 0

    async def pay(intention: Intention) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            try:
                await asyncio.sleep(FAR)
            finally:
                stopped.set()
        await _close_with_effect(database, tables, intention.intention_id)

    await _open(database, tables, "i1")
    limits = WorkerLimits(handler_timeout=0.05, backoff_first=0.01, poll=0.02)
    worker = _worker(database, tables, {"pay": pay}, limits=limits)
    async with _running(worker):
        await _until_quiet(worker)
    assert stopped.is_set()
    assert runs == 2


async def test_a_kind_without_a_handler_stays_open_and_says_so(
    database: Database, tables: KernelTables
) -> None:
    await _open(database, tables, "i1", kind="unknown")
    worker = _worker(database, tables, {})

    async def has_an_error() -> bool:
        return (await _rows(database, tables))["i1"][2] is not None

    async with _running(worker):
        await _until(has_an_error)
    assert await worker.open_count() == 1
    assert "IntentionKindUnknown" in str((await _rows(database, tables))["i1"][2])


async def test_no_more_handlers_run_at_once_than_allowed(
    database: Database, tables: KernelTables
) -> None:
    running, most = 0, 0

    async def pay(intention: Intention) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        await _close_with_effect(database, tables, intention.intention_id)
        running -= 1

    await _open(database, tables, *(f"i{number}" for number in range(12)))
    worker = _worker(database, tables, {"pay": pay}, concurrency=3)
    async with _running(worker):
        await _until_quiet(worker)
    assert most == 3


async def test_two_workers_share_the_work_and_never_hold_the_same_lease(
    database: Database, tables: KernelTables
) -> None:
    if database.dialect == "sqlite":
        pytest.skip("with SQLite there is one process, and so one worker")
    holders: dict[str, list[str]] = {}

    def handler(owner: str) -> Handler:
        async def pay(intention: Intention) -> None:
            holders.setdefault(intention.intention_id, []).append(owner)
            await asyncio.sleep(0.01)
            await _close_with_effect(database, tables, intention.intention_id)

        return pay

    ids = [f"i{number}" for number in range(40)]
    await _open(database, tables, *ids)
    workers = [
        _worker(database, tables, {"pay": handler(owner)}, owner_id=owner, concurrency=5)
        for owner in ("worker-1", "worker-2")
    ]
    async with _running(*workers):
        await _until_quiet(workers[0])
    assert {each: len(by) for each, by in holders.items()} == dict.fromkeys(ids, 1)
    assert {by[0] for by in holders.values()} == {"worker-1", "worker-2"}


async def test_a_lease_of_a_dead_worker_is_waited_for_and_then_taken_over(
    database: Database, tables: KernelTables
) -> None:
    if database.dialect == "sqlite":
        pytest.skip("with SQLite leases are cleared at the start")

    async def pay(intention: Intention) -> None:
        await _close_with_effect(database, tables, intention.intention_id)

    now = await database.now_micros()
    await _open(
        database, tables, "i1", lease_owner="dead", lease_until_micros=now + 300_000, attempts=1
    )
    worker = _worker(database, tables, {"pay": pay})
    async with _running(worker):
        await _until_quiet(worker)
    assert await database.now_micros() >= now + 300_000


async def test_leases_of_the_last_process_are_cleared_at_the_start_on_sqlite(
    database: Database, tables: KernelTables
) -> None:
    if database.dialect != "sqlite":
        pytest.skip("other processes may be alive on PostgreSQL")

    async def pay(intention: Intention) -> None:
        await _close_with_effect(database, tables, intention.intention_id)

    far = await database.now_micros() + int(FAR * 1_000_000)
    await _open(database, tables, "i1", lease_owner="dead", lease_until_micros=far, attempts=1)
    worker = _worker(database, tables, {"pay": pay})
    async with _running(worker):
        await _until_quiet(worker)
    assert await worker.open_count() == 0


async def test_an_intention_is_not_driven_before_its_next_attempt(
    database: Database, tables: KernelTables
) -> None:
    driven: list[str] = []

    async def pay(intention: Intention) -> None:
        driven.append(intention.intention_id)
        await _close_with_effect(database, tables, intention.intention_id)

    later = await database.now_micros() + int(FAR * 1_000_000)
    await _open(database, tables, "later", next_attempt_micros=later)
    await _open(database, tables, "now")
    worker = _worker(database, tables, {"pay": pay})

    async def one_is_left() -> bool:
        return await worker.open_count() == 1

    async with _running(worker):
        await _until(one_is_left)
    assert driven == ["now"]


async def test_a_worker_that_is_stopped_leaves_the_work_to_the_next(
    database: Database, tables: KernelTables
) -> None:
    started = asyncio.Event()

    async def hang(intention: Intention) -> None:
        started.set()
        await asyncio.sleep(FAR)

    async def pay(intention: Intention) -> None:
        await _close_with_effect(database, tables, intention.intention_id)

    await _open(database, tables, "i1")
    limits = WorkerLimits(lease=0.2, handler_timeout=0.15, backoff_first=0.01, poll=0.02)
    async with _running(_worker(database, tables, {"pay": hang}, limits=limits)):
        await started.wait()
    after = _worker(database, tables, {"pay": pay}, owner_id="worker-2")
    async with _running(after):
        await _until_quiet(after)
    assert await _effects(database, tables) == ["i1"]
