"""Applies and reads the program documents of earning.

An apply holds the cursors of all followers still while it makes a version, as in every service.
An activity is decided by the version that its batch finds in force, and its record names it.
"""

from dataclasses import dataclass
from typing import TypeAlias

from guerdon.earning.v1 import program_pb2 as pb
from services.earning import program, tables
from services.earning.rules import Program
from shared import differences, errors
from shared.clock import Clock
from shared.database import Database, Tx
from shared.differences import Difference
from shared.programs import Programs, Version, Versioned

EarningPrograms: TypeAlias = Programs[Program]

SOURCE = "tiers"
"""The one service that earning follows."""


def programs(partitions: int) -> EarningPrograms:
    """Versions of the documents of earning."""
    return Programs(tables.kernel, program.parse, partitions=partitions, sources=(SOURCE,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The version in force after an apply, and what the document changed or would change."""

    version: int
    etag: str
    differences: tuple[Difference, ...]


class Documents:
    """Applies and reads the program documents."""

    def __init__(self, database: Database, programs_: EarningPrograms, clock: Clock) -> None:
        self._database = database
        self._programs = programs_
        self._clock = clock

    async def apply(
        self,
        document: pb.EarningProgram,
        *,
        author: str,
        etag: str,
        validate_only: bool,
        prune: bool,
    ) -> Applied:
        """Put a document in force, or only tell what would change.

        Refuses InvalidProgram with all complaints, or EtagMismatch.
        """
        program.check(document)
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
        return _applied(before, after, document, prune=prune)

    async def get(self, program_id: str, version: int) -> Version:
        """A version, 0 for the one in force. Refuses ProgramNotFound or ProgramVersionNotFound."""
        async with self._database.reading() as tx:
            current = await self._programs.require(tx, program_id)
            if version in {0, current.version.version}:
                return current.version
            return (await self._programs.at_version(tx, program_id, version)).version

    async def _current(self, tx: Tx, program_id: str) -> Versioned[Program] | None:
        return (await self._programs.current(tx, [program_id])).get(program_id)


def _etag(version: Versioned[Program] | None) -> str:
    return version.version.etag if version is not None else ""


def _content(version: Versioned[Program] | None) -> pb.EarningProgram | None:
    if version is None:
        return None
    return pb.EarningProgram.FromString(version.version.content)


def _merged(
    before: Versioned[Program] | None, document: pb.EarningProgram, *, prune: bool
) -> pb.EarningProgram:
    """The document, with what only the version in force has unless it is pruned; checked whole."""
    merged = differences.merge(_content(before), document, prune=prune)
    if merged != document:
        program.check(merged)
    return merged


def _applied(
    before: Versioned[Program] | None,
    after: Versioned[Program] | None,
    document: pb.EarningProgram,
    *,
    prune: bool,
) -> Applied:
    return Applied(
        version=after.version.version if after is not None else 0,
        etag=_etag(after),
        differences=differences.differences(_content(before), document, prune=prune),
    )
