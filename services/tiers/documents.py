"""Applies and reads the program documents of tiers.

An apply holds the cursors of all followers still while it makes a version, so each event of the
feed meets the version of its place there.
A ladder that appears is noted with the instant of the apply: members who joined before get its
lowest level from then on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from guerdon.tiers.v1 import program_pb2 as pb
from services.tiers import program, store, tables
from services.tiers.ladders import LadderId, LadderStart, TiersProgram
from shared import differences, errors
from shared.clock import Clock
from shared.database import Database, Tx, is_transient
from shared.differences import Difference
from shared.group_commit import TooContended
from shared.programs import Programs, Version, Versioned

_ATTEMPTS_MAX = 6
_BACKOFF_SECONDS = 0.01

T = TypeVar("T")

SOURCE = "earning"
"""The service whose feed tiers follows."""

TiersPrograms: TypeAlias = Programs[TiersProgram]


def programs(partitions: int) -> TiersPrograms:
    """Versions of the documents of tiers, which follows earning."""
    return Programs(tables.kernel, program.parse, partitions=partitions, sources=(SOURCE,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The version in force after an apply, and what the document changed or would change."""

    version: int
    etag: str
    differences: tuple[Difference, ...]


class Documents:
    """Applies and reads the program documents."""

    def __init__(self, database: Database, programs_: TiersPrograms, clock: Clock) -> None:
        self._database = database
        self._programs = programs_
        self._clock = clock

    async def apply(
        self, document: pb.TiersProgram, *, author: str, etag: str, validate_only: bool, prune: bool
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

        async def put_in_force(tx: Tx) -> Applied:
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
            _check_no_other(before, after)
            if before is None or after.version.version != before.version.version:
                await _begin_ladders(tx, before, after)
            return _applied(before, after, document, prune=prune)

        return await in_transaction(self._database, put_in_force)

    async def get(self, program_id: str, version: int) -> Version:
        """A version, 0 for the one in force; refuses ProgramNotFound or ProgramVersionNotFound."""
        async with self._database.reading() as tx:
            current = await self._programs.require(tx, program_id)
            if version in {0, current.version.version}:
                return current.version
            return (await self._programs.at_version(tx, program_id, version)).version

    async def _current(self, tx: Tx, program_id: str) -> Versioned[TiersProgram] | None:
        return (await self._programs.current(tx, [program_id])).get(program_id)


async def in_transaction(database: Database, work: Callable[[Tx], Awaitable[T]]) -> T:
    """Run work in a transaction of its own, anew after a transient error.

    Refuses TooContended when these do not end.
    """
    for attempt in range(1, _ATTEMPTS_MAX + 1):
        try:
            async with database.transaction() as tx:
                return await work(tx)
        except Exception as error:
            if isinstance(error, errors.Refusal) or not is_transient(error):
                raise
            if attempt == _ATTEMPTS_MAX:
                raise TooContended(attempts=attempt) from error
        await asyncio.sleep(_BACKOFF_SECONDS * 2**attempt)
    raise AssertionError("unreachable")  # pragma: no cover - the last attempt returns or raises


def _check_no_other(before: Versioned[TiersProgram] | None, after: Versioned[TiersProgram]) -> None:
    """Refuse EtagMismatch when somebody made the first version between our look and our lock."""
    if before is None and after.version.version != 1:
        raise errors.EtagMismatch(expected="", actual=after.version.etag)


async def _begin_ladders(
    tx: Tx, before: Versioned[TiersProgram] | None, after: Versioned[TiersProgram]
) -> None:
    """Note since when the ladders of a new version have been there, and which have to be filled."""
    known = {each.ladder_id for each in before.program.ladders} if before else set[LadderId]()
    now = {each.ladder_id for each in after.program.ladders}
    await store.save_starts(
        tx,
        after.version.program_id,
        starts=starts_of(after),
        appeared=sorted(now - known),
        gone=sorted(known - now),
    )


def starts_of(version: Versioned[TiersProgram]) -> dict[LadderId, LadderStart]:
    """What a ladder's beginning is if it was first applied with this version."""
    return {
        ladder.ladder_id: LadderStart(
            start_time=version.version.create_time,
            program_version=version.version.version,
            level_id=ladder.levels[0].level_id,
        )
        for ladder in version.program.ladders
    }


def _etag(version: Versioned[TiersProgram] | None) -> str:
    return version.version.etag if version is not None else ""


def _content(version: Versioned[TiersProgram] | None) -> pb.TiersProgram | None:
    return pb.TiersProgram.FromString(version.version.content) if version is not None else None


def _merged(
    before: Versioned[TiersProgram] | None, document: pb.TiersProgram, *, prune: bool
) -> pb.TiersProgram:
    """The document, with what only the version in force has unless it is pruned; checked whole."""
    merged = differences.merge(_content(before), document, prune=prune)
    if merged != document:
        program.check(merged)
    return merged


def _applied(
    before: Versioned[TiersProgram] | None,
    after: Versioned[TiersProgram] | None,
    document: pb.TiersProgram,
    *,
    prune: bool,
) -> Applied:
    return Applied(
        version=after.version.version if after is not None else 0,
        etag=_etag(after),
        differences=differences.differences(_content(before), document, prune=prune),
    )
