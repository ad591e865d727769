"""Runs what runs on the clock: expiry, reviews, resets, seals.

A job says how much is due and does a bounded piece of it. That each period is done exactly once,
whoever runs it and however often, is the job's own affair, through the keys of the commands it
submits; this runner only sees to it that jobs run soon after their time has come: when the business
clock was advanced, and every so often anyway.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One kind of work that the clock makes due.

    `due` counts what is due now by the business clock (at least 1 while anything is), and must be
    cheap. `run` does a bounded piece of it and gives how much it did. `every` is the real time
    between two looks at `due`. Nobody waits for a job that is not `awaited`: it comes out the same
    however late it is, and nothing that is decided looks at it.
    """

    name: str
    due: Callable[[], Awaitable[int]]
    run: Callable[[], Awaitable[int]]
    every: timedelta = timedelta(seconds=1)
    awaited: bool = True


class JobRunner:
    """Runs the jobs of one service, each in its own task so that a slow one delays no other."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = tuple(jobs)
        self._wakes = {job.name: asyncio.Event() for job in self._jobs}
        if len(self._wakes) != len(self._jobs):
            raise ValueError("two jobs have the same name")

    def wake(self) -> None:
        """Look at every job now; called when the business clock was advanced."""
        for wake in self._wakes.values():
            wake.set()

    async def due_count(self) -> int:
        """Count what is due in all jobs together that are awaited."""
        return sum(await asyncio.gather(*(job.due() for job in self._jobs if job.awaited)))

    async def run(self) -> None:
        """Run jobs until cancelled.

        A job that fails is logged and tried again after its `every`.
        """
        async with asyncio.TaskGroup() as group:
            for job in self._jobs:
                group.create_task(self._run_forever(job), name=f"job-{job.name}")

    async def _run_forever(self, job: Job) -> None:
        wake = self._wakes[job.name]
        while True:
            wake.clear()
            try:
                await _work_off(job)
            except Exception:  # one bad period must not end the job for good
                logger.exception("job_failed", job=job.name)
            try:
                async with asyncio.timeout(job.every.total_seconds()):
                    await wake.wait()
            except TimeoutError:
                continue


async def _work_off(job: Job) -> None:
    """Run a job piece by piece until nothing is due; a piece that did nothing ends it too."""
    started, done = time.monotonic(), 0
    while await job.due():
        piece = await job.run()
        done += piece
        if not piece:
            break
    if done:
        logger.info(
            "job_done", job=job.name, done=done, seconds=round(time.monotonic() - started, 3)
        )
