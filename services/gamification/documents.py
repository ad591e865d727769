"""The program documents of gamification; those in force are kept at hand for reads.

An apply holds the cursors of all followers still while it makes a version, so each event of the
feed meets the version of its place there. Reads of boards may see a version up to a second late:
they show, and decide nothing.
"""

import asyncio
from collections.abc import Mapping

from guerdon.gamification.v1 import program_pb2 as pb
from services.gamification import complaints, query_store, tables
from services.gamification.document import Program, compile_program
from services.gamification.ranking import Layout
from shared import errors
from shared.clock import Clock, monotonic
from shared.database import Database
from shared.documents import ProgramDocuments
from shared.programs import Programs

_FRESH_SECONDS = 1.0


def programs(partitions: int) -> Programs[Program]:
    """Versions of the documents of gamification, which follows earning."""
    return Programs(tables.kernel, compile_program, partitions=partitions, sources=("earning",))


class Documents(ProgramDocuments[pb.GamificationProgram, Program]):
    """Applies, publishes and reads the program documents."""

    kind = pb.GamificationProgram

    def __init__(self, database: Database, programs_: Programs[Program], clock: Clock) -> None:
        super().__init__(database, programs_, clock, on_change=self._changed)
        self._known: Mapping[str, Program] = {}
        self._layouts: Mapping[tuple[str, str], Layout] = {}
        self._fresh_until = 0.0
        self._applies = 0
        self._refreshing = asyncio.Lock()

    def check(self, document: pb.GamificationProgram) -> None:
        """Refuse InvalidProgram with everything that is wrong with a document."""
        complaints.check(document)

    def _changed(self) -> None:
        """Read what is in force anew when it is asked for next."""
        self._fresh_until = 0.0
        self._applies += 1

    async def in_force(self, program_id: str) -> Program:
        """The document in force, at most a second late; refuses ProgramNotFound."""
        if monotonic() >= self._fresh_until:
            await self._refresh()
        found = self._known.get(program_id)
        if found is None:
            # Perhaps made a moment ago by another copy of this service.
            await self._refresh(force=True)
            found = self._known.get(program_id)
        if found is None:
            raise errors.ProgramNotFound(program_id=program_id)
        return found

    async def layouts(self, *, fresh: bool = False) -> Mapping[tuple[str, str], Layout]:
        """Layout of every board in force, by program and board; at most a second late.

        `fresh`: not late at all.
        """
        if fresh or monotonic() >= self._fresh_until:
            await self._refresh(force=fresh)
        return self._layouts

    async def _refresh(self, *, force: bool = False) -> None:
        async with self._refreshing:
            if monotonic() < self._fresh_until and not force:
                return
            applies = self._applies
            async with self._database.reading() as tx:
                ids = await query_store.program_ids(tx)
                found = await self._programs.current(tx, ids)
            self._known = {key: each.program for key, each in found.items()}
            self._layouts = {
                (program_id, board_id): board.layout
                for program_id, program in self._known.items()
                for board_id, board in program.boards.items()
            }
            # What was applied while this was being read is not in it.
            is_fresh = applies == self._applies
            self._fresh_until = monotonic() + _FRESH_SECONDS if is_fresh else 0.0
