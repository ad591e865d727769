"""What runs on the clock: holds whose time is over give their points back.

A hold ends at its instant for every decision; the job only books it, once, whoever runs it and
however often, because a hold that is closed is left alone.
"""

from collections.abc import Sequence
from typing import Protocol

from services.earning import store_reads
from services.earning.commands import Command, ExpireHold
from shared import errors
from shared.clock import Clock
from shared.database import Database
from shared.jobs import Job

_PIECE = 500


class Sink(Protocol):
    """Where commands go; the group commit is one."""

    async def submit_many(self, commands: Sequence[Command], *, wait: bool) -> Sequence[object]:
        """Decide them; come back when all are settled."""


class ExpireHolds:
    """Books the end of holds, a piece at a time."""

    def __init__(self, database: Database, sink: Sink, clock: Clock) -> None:
        self._database = database
        self._sink = sink
        self._clock = clock

    def job(self) -> Job:
        """The job, for the runner."""
        return Job(name="expire_holds", due=self.due, run=self.run)

    async def due(self) -> int:
        """Number of open holds whose time is over."""
        async with self._database.reading() as tx:
            return await store_reads.due_count(tx, self._clock.now())

    async def run(self) -> int:
        """Expire some holds; how many it did. Raises the refusal of one that could not be."""
        async with self._database.reading() as tx:
            due = await store_reads.due_holds(tx, self._clock.now(), _PIECE)
        commands = [ExpireHold(program_id=program, hold_id=hold) for program, hold in due]
        for result in await self._sink.submit_many(commands, wait=True):
            if isinstance(result, errors.Refusal):
                raise result
        return len(due)
