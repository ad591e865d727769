"""Versions of the program documents of one service.

Every apply that changes something makes a new version with its author; decisions name the version
they were made with. A version has an exact place in every feed that the service follows: applying
takes the lock of every follower's cursor before it reads them, so each event was applied entirely
before the version or entirely after it, and a later check (`version_for`) finds the version that an
event met.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

import sqlalchemy as sa

from shared import errors, record
from shared.database import Row, Tx
from shared.tables import KernelTables

P = TypeVar("P")


@dataclass(eq=False, repr=False, kw_only=True)
class ProgramVersionNotFound(errors.NotFound):
    """The program has no version of this number."""

    message = "program {program_id} has no version {version}"
    program_id: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version as it is stored; `version` counts from 1 without gaps.

    `cursors` says how far each followed feed was applied when the version came into force, by
    source and partition.
    """

    program_id: str
    version: int
    etag: str
    author: str
    content: bytes
    cursors: Mapping[str, Mapping[int, int]]
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Versioned(Generic[P]):
    """A version and what the service compiled it to."""

    version: Version
    program: P


class Programs(Generic[P]):
    """Reads and applies the program documents of one service.

    `compile_program` makes the service's own form of a serialized document, given the program id
    and the version; it raises a refusal for a document that means nothing. What it makes is kept,
    at most `cache_max` of them, and must not change afterwards. `sources` are the services whose
    feeds this one follows.
    """

    def __init__(
        self,
        tables: KernelTables,
        compile_program: Callable[[str, int, bytes], P],
        *,
        partitions: int,
        sources: Sequence[str] = (),
        cache_max: int = 256,
    ) -> None:
        self._tables = tables
        self._compile = compile_program
        self._partitions = partitions
        self._sources = tuple(sorted(sources))
        self._cache: OrderedDict[tuple[str, int, str], Versioned[P]] = OrderedDict()
        self._cache_max = cache_max
        versions = tables.program_versions
        newest = (
            sa.select(versions.c.program_id, sa.func.max(versions.c.version).label("version"))
            .where(versions.c.program_id.in_(sa.bindparam("program_ids", expanding=True)))
            .group_by(versions.c.program_id)
            .subquery()
        )
        self._newest = sa.select(versions.c.program_id, versions.c.version, versions.c.etag).join(
            newest,
            sa.and_(
                versions.c.program_id == newest.c.program_id,
                versions.c.version == newest.c.version,
            ),
        )
        self._one_at_a_time = sa.select(tables.feed_identity).with_for_update()
        self._history = (
            sa.select(versions)
            .where(versions.c.program_id == sa.bindparam("program_id"))
            .order_by(versions.c.version.desc())
        )

    async def current(self, tx: Tx, program_ids: Sequence[str]) -> dict[str, Versioned[P]]:
        """Give the version in force of each program; programs that do not exist are left out.

        Only the version numbers are read inside the transaction; content is read when it is not yet
        compiled.
        """
        if not program_ids:
            return {}
        rows = await tx.fetch(self._newest, {"program_ids": sorted(set(program_ids))})
        keys = [(str(row.program_id), int(row.version), str(row.etag)) for row in rows]
        return {found.version.program_id: found for found in await self._load(tx, keys)}

    async def require(self, tx: Tx, program_id: str) -> Versioned[P]:
        """Give the version in force. Refuses ProgramNotFound."""
        found = await self.current(tx, [program_id])
        if program_id not in found:
            raise errors.ProgramNotFound(program_id=program_id)
        return found[program_id]

    async def at_version(self, tx: Tx, program_id: str, version: int) -> Versioned[P]:
        """Give one version, old or current. Refuses ProgramVersionNotFound."""
        rows = await tx.select(
            self._tables.program_versions, [(program_id, version)], key=("program_id", "version")
        )
        if not rows:
            raise ProgramVersionNotFound(program_id=program_id, version=version)
        return self._compiled(_version(rows[0]))

    async def history(self, tx: Tx, program_id: str, *, limit: int = 1000) -> list[Version]:
        """List the versions of a program, newest first, at most `limit`."""
        rows = await tx.fetch(self._history.limit(limit), {"program_id": program_id})
        return [_version(row) for row in rows]

    async def version_for(
        self, tx: Tx, program_id: str, *, source: str, partition: int, position: int
    ) -> int:
        """Give the version that the event at a position of a followed feed met.

        0 when there was none yet.
        """
        for version in await self.history(tx, program_id):
            if version.cursors.get(source, {}).get(partition, 0) < position:
                return version.version
        return 0

    async def apply(
        self, tx: Tx, *, program_id: str, content: bytes, author: str, etag: str, now: datetime
    ) -> Versioned[P]:
        """Put a document in force and give its version; the same content makes no new one.

        `etag` is of the version that the document was made from; empty skips the check. Refuses
        EtagMismatch, and whatever `compile_program` refuses. `content` must be serialized
        deterministically. Applies wait for each other, whatever their program: they are rare, and
        all take the cursors' locks anyway.
        """
        await tx.fetch(self._one_at_a_time)
        cursors = await self._lock_cursors(tx)
        in_force = (await self.current(tx, [program_id])).get(program_id)
        actual = in_force.version.etag if in_force is not None else ""
        if etag and etag != actual:
            raise errors.EtagMismatch(expected=etag, actual=actual)
        if in_force is not None and in_force.version.content == content:
            return in_force
        number = in_force.version.version + 1 if in_force is not None else 1
        version = Version(
            program_id=program_id,
            version=number,
            etag=f"{number}-{hashlib.sha256(content).hexdigest()[:24]}",
            author=author,
            content=content,
            cursors=cursors,
            create_time=now,
        )
        made = Versioned(version=version, program=self._compile(program_id, number, content))
        row = {
            "program_id": program_id,
            "version": number,
            "etag": version.etag,
            "author": author,
            "content": content,
            "cursors": record.dumps(cursors),
            "create_time": now,
        }
        await tx.insert(self._tables.program_versions, [row])
        return made

    async def _lock_cursors(self, tx: Tx) -> dict[str, dict[int, int]]:
        """Hold every follower still until the transaction ends, and give how far each has come.

        The rows are made first where they are missing: what is not there cannot be locked.
        """
        keys = [
            (source, partition) for source in self._sources for partition in range(self._partitions)
        ]
        if not keys:
            return {}
        table = self._tables.feed_cursors
        await tx.insert(
            table,
            [
                {"source": source, "partition": partition, "position": 0, "incarnation": ""}
                for source, partition in keys
            ],
            ignore_conflicts=True,
        )
        rows = await tx.select(table, keys, key=("source", "partition"), lock=True)
        cursors: dict[str, dict[int, int]] = {source: {} for source in self._sources}
        for row in rows:
            cursors[str(row.source)][int(row.partition)] = int(row.position)
        return cursors

    async def _load(self, tx: Tx, keys: Sequence[tuple[str, int, str]]) -> list[Versioned[P]]:
        known = {key[0]: self._cache[key] for key in keys if key in self._cache}
        missing = [key[:2] for key in keys if key[0] not in known]
        rows = await tx.select(
            self._tables.program_versions, missing, key=("program_id", "version")
        )
        known.update({str(row.program_id): self._compiled(_version(row)) for row in rows})
        return list(known.values())

    def _compiled(self, version: Version) -> Versioned[P]:
        """Compile once.

        The etag is part of the key: a version that was rolled back may be made again, differently.
        """
        key = (version.program_id, version.version, version.etag)
        found = self._cache.get(key)
        if found is None:
            found = Versioned(
                version=version,
                program=self._compile(version.program_id, version.version, version.content),
            )
            self._cache[key] = found
            while len(self._cache) > self._cache_max:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return found


def _version(row: Row) -> Version:
    return Version(
        program_id=row.program_id,
        version=row.version,
        etag=row.etag,
        author=row.author,
        content=row.content,
        cursors=record.loads(dict[str, dict[int, int]], row.cursors),
        create_time=row.create_time,
    )
