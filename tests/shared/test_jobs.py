"""What runs on the clock runs soon after its time has come, and a bad job harms no other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from shared.jobs import Job, JobRunner

FAR = timedelta(hours=1)
SOON = timedelta(milliseconds=10)


class Pile:
    """Work that becomes due and is done in pieces of at most two."""

    def __init__(self, amount: int = 0, *, failures: int = 0) -> None:
        self.amount = amount
        self.failures = failures
        self.pieces: list[int] = []
        self.done = asyncio.Event()

    async def due(self) -> int:
        if not self.amount:
            self.done.set()
        return self.amount

    async def run(self) -> int:
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError
        piece = min(2, self.amount)
        self.amount -= piece
        self.pieces.append(piece)
        return piece

    def job(self, name: str = "pile", every: timedelta = FAR) -> Job:
        return Job(name=name, due=self.due, run=self.run, every=every)


@asynccontextmanager
async def _running(runner: JobRunner) -> AsyncIterator[None]:
    task = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(10):
            yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_due_at_the_start_is_done_piece_by_piece() -> None:
    pile = Pile(5)
    runner = JobRunner([pile.job()])
    assert await runner.due_count() == 5
    async with _running(runner):
        await pile.done.wait()
    assert pile.pieces == [2, 2, 1]
    assert await runner.due_count() == 0


async def test_a_job_that_nobody_waits_for_is_done_and_not_counted() -> None:
    pile, seals = Pile(), Pile(3)
    runner = JobRunner(
        [pile.job(), Job(name="seals", due=seals.job().due, run=seals.job().run, awaited=False)]
    )
    assert await runner.due_count() == 0
    async with _running(runner):
        await seals.done.wait()
    assert seals.pieces == [2, 1]


async def test_what_nobody_waits_for_lets_the_other_jobs_pass() -> None:
    points, seals = Pile(6), Pile(3)
    done: list[str] = []

    async def book() -> int:
        await asyncio.sleep(0)
        done.append("points")
        return await points.run()

    async def seal() -> int:
        done.append("seals")
        return await seals.run()

    jobs = [
        Job(name="points", due=points.due, run=book),
        Job(name="seals", due=seals.due, run=seal, awaited=False),
    ]
    async with _running(JobRunner(jobs)):
        await seals.done.wait()
    assert done == ["points", "points", "points", "seals", "seals"]


async def test_what_nobody_waits_for_is_done_though_another_job_fails() -> None:
    bad, seals = Pile(1, failures=1), Pile(1)
    jobs = [bad.job(), Job(name="seals", due=seals.due, run=seals.run, awaited=False)]
    async with _running(JobRunner(jobs)):
        await seals.done.wait()
    assert (bad.pieces, seals.pieces) == ([], [1])


async def test_a_wake_runs_what_has_become_due_without_waiting_for_the_poll() -> None:
    pile = Pile()
    runner = JobRunner([pile.job()])
    async with _running(runner):
        await pile.done.wait()
        pile.done.clear()
        pile.amount = 1
        runner.wake()
        await pile.done.wait()
    assert pile.pieces == [1]


async def test_the_poll_finds_what_nobody_announced() -> None:
    pile = Pile()
    runner = JobRunner([pile.job(every=SOON)])
    async with _running(runner):
        await pile.done.wait()
        pile.done.clear()
        pile.amount = 1
        await pile.done.wait()
    assert pile.pieces == [1]


async def test_a_job_that_fails_is_tried_again_and_harms_no_other() -> None:
    bad, good = Pile(1, failures=2), Pile(1)
    runner = JobRunner([bad.job("bad", SOON), good.job("good")])
    async with _running(runner):
        await good.done.wait()
        await bad.done.wait()
    assert (bad.pieces, good.pieces) == ([1], [1])


async def test_a_job_that_can_do_nothing_now_does_not_spin() -> None:
    runs = 0

    async def due() -> int:
        return 1

    async def run() -> int:
        nonlocal runs
        runs += 1
        return 0

    async with _running(JobRunner([Job(name="stuck", due=due, run=run, every=FAR)])):
        await asyncio.sleep(0.05)
    assert runs == 1


def test_two_jobs_of_one_name_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="same name"):
        JobRunner([Pile().job(), Pile().job()])
