"""What runs on the clock: members who joined before a ladder get its lowest level.

A ladder that an apply brings is unfilled until every member has a level on it.
Filling goes through the members in the order of their keys; those that an activity took in
meanwhile have what the job would have given them, so it may run twice, or in two places.
"""

from collections.abc import Sequence
from typing import Protocol

from services.tiers import store
from services.tiers.domain import Command, EnterLadders
from services.tiers.store import UnfilledLadder
from shared.database import Database, Tx
from shared.documents import in_transaction
from shared.jobs import Job

_PIECE = 500


class Sink(Protocol):
    """Where commands go; the group commit is one."""

    async def submit_many(self, commands: Sequence[Command], *, wait: bool) -> Sequence[object]:
        """Decide them; come back when all are settled."""


class FillLadders:
    """Takes the members of a program in on its new ladders, a piece at a time."""

    def __init__(self, database: Database, sink: Sink) -> None:
        self._database = database
        self._sink = sink

    def job(self) -> Job:
        """The job, for the runner."""
        return Job(name="fill_ladders", due=self.due, run=self.run)

    async def due(self) -> int:
        """Number of ladders on which members may lack a level."""
        async with self._database.reading() as tx:
            return len(await store.unfilled_ladders(tx))

    async def run(self) -> int:
        """Fill one ladder: members taken in and ladders done."""
        async with self._database.reading() as tx:
            unfilled = await store.unfilled_ladders(tx)
        if not unfilled:
            return 0
        ladder = unfilled[0]
        done, after = 0, ""
        while keys := await self._unplaced(ladder, after):
            commands = [EnterLadders(program_id=ladder.program_id, member_key=key) for key in keys]
            results = await self._sink.submit_many(commands, wait=True)
            _raise_first(results)
            done, after = done + len(keys), keys[-1]

        async def finish(tx: Tx) -> bool:
            # Looked at again: the ladder may have been removed and brought back meanwhile.
            left = await store.unplaced_members(
                tx, ladder.program_id, ladder.ladder_id, after="", count=1
            )
            if not left:
                await store.set_filled(tx, {(ladder.program_id, ladder.ladder_id): True})
            return not left

        return done + await in_transaction(self._database, finish)

    async def _unplaced(self, ladder: UnfilledLadder, after: str) -> list[str]:
        async with self._database.reading() as tx:
            return await store.unplaced_members(
                tx, ladder.program_id, ladder.ladder_id, after=after, count=_PIECE
            )


def _raise_first(results: Sequence[object]) -> None:
    """Raise the first refusal, so that the ladder stays due and is tried again."""
    for result in results:
        if isinstance(result, Exception):
            raise result
