"""Applies and reads the program documents, and keeps those in force at hand for reads.

An apply holds the cursors of all followers still while it makes a version, so each event of the
feed meets the version of its place there. Reads of boards may see a version up to a second late:
they show, and decide nothing.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from guerdon.gamification.v1 import program_pb2 as pb
from services.gamification import complaints, query_store, tables
from services.gamification.document import Program, compile_program
from services.gamification.ranking import Layout
from shared import differences, errors
from shared.clock import Clock, monotonic
from shared.database import Database, Tx
from shared.differences import Difference
from shared.programs import Programs, Version, Versioned

_FRESH_SECONDS = 1.0


def programs(partitions: int) -> Programs[Program]:
    """Versions of the documents of gamification, which follows earning."""
    return Programs(tables.kernel, compile_program, partitions=partitions, sources=("earning",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The version in force after an apply, and what the document changed or would change."""

    version: int
    etag: str
    differences: tuple[Difference, ...]


class Documents:
    """Applies and reads the program documents."""

    def __init__(self, database: Database, programs_: Programs[Program], clock: Clock) -> None:
        self._database = database
        self._programs = programs_
        self._clock = clock
        self._known: Mapping[str, Program] = {}
        self._layouts: Mapping[tuple[str, str], Layout] = {}
        self._fresh_until = 0.0
        self._applies = 0
        self._refreshing = asyncio.Lock()

    async def apply(
        self,
        document: pb.GamificationProgram,
        *,
        author: str,
        etag: str,
        validate_only: bool,
        prune: bool,
    ) -> Applied:
        """Put a document in force, or only tell what would change.

        Refuses InvalidProgram with all complaints, or EtagMismatch.
        """
        complaints.check(document)
        if validate_only:
            async with self._database.reading() as tx:
                before = await self._current(tx, document.program_id)
            if etag and etag != _etag(before):
                raise errors.EtagMismatch(expected=etag, actual=_etag(before))
            _merged(before, document, prune=prune)
            return _applied(before, before, document, prune=prune)
        async with self._database.transaction() as tx:
            before = await self._current(tx, document.program_id)
            merged = _merged(before, document, prune=prune)
            after = await self._programs.apply(
                tx,
                program_id=document.program_id,
                content=merged.SerializeToString(deterministic=True),
                author=author,
                # What was merged with must still be in force when the cursors are locked.
                etag=etag or _etag(before),
                now=self._clock.now(),
            )
        self._fresh_until = 0.0
        self._applies += 1
        return _applied(before, after, document, prune=prune)

    async def get(self, program_id: str, version: int) -> Version:
        """A version, 0 for the one in force; refuses ProgramNotFound or ProgramVersionNotFound."""
        async with self._database.reading() as tx:
            current = await self._programs.require(tx, program_id)
            if version in {0, current.version.version}:
                return current.version
            return (await self._programs.at_version(tx, program_id, version)).version

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

    async def _current(self, tx: Tx, program_id: str) -> Versioned[Program] | None:
        return (await self._programs.current(tx, [program_id])).get(program_id)


def _etag(version: Versioned[Program] | None) -> str:
    return version.version.etag if version is not None else ""


def _merged(
    before: Versioned[Program] | None, document: pb.GamificationProgram, *, prune: bool
) -> pb.GamificationProgram:
    """The document, with what only the version in force has unless it is pruned; checked whole."""
    old = before.program.document if before is not None else None
    merged = differences.merge(old, document, prune=prune)
    if merged != document:
        complaints.check(merged)
    return merged


def _applied(
    before: Versioned[Program] | None,
    after: Versioned[Program] | None,
    document: pb.GamificationProgram,
    *,
    prune: bool,
) -> Applied:
    old = before.program.document if before is not None else None
    return Applied(
        version=after.version.version if after is not None else 0,
        etag=_etag(after),
        differences=differences.differences(old, document, prune=prune),
    )
