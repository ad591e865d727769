"""Versions of the program documents of one service.

Every apply that changes something makes a new version with its author; decisions name the version
they were made with. A version has an exact place in every feed that the service follows: applying
takes the lock of every follower's cursor before it reads them, so each event was applied entirely
before the version or entirely after it, and a later check (`version_for`) finds the version that an
event met.

A version may be scheduled. It waits in a table of its own and becomes a version when its time has
come: by the job of `shared.documents`, or by the first batch that finds it due, whichever is first,
under the locks of an apply. `current` with `now` never gives a version that `now` has outdated.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Generic, TypeAlias, TypeVar, cast

import sqlalchemy as sa

from shared import errors, record
from shared.database import Tx, to_micros
from shared.schedules import (
    PublicationDue,
    PublicationScheduled,
    PublishTimePassed,
    Scheduled,
    Schedules,
)
from shared.statements import DIALECTS, DialectName, one_text
from shared.tables import KernelTables
from shared.versions import (
    Listed,
    ProgramVersionNotFound,
    Version,
    Versioned,
    etag_of,
    listed_of,
    newest_and_waiting,
    version_of,
)

__all__ = [
    "Listed",
    "ProgramVersionNotFound",
    "Programs",
    "PublicationDue",
    "PublicationScheduled",
    "PublishTimePassed",
    "Scheduled",
    "Version",
    "Versioned",
]

P = TypeVar("P")
_Found: TypeAlias = tuple[str, int, str, int | None]


class Programs(Generic[P]):
    """Reads and applies the program documents of one service.

    `compile_program` makes the service's own form of a serialized document, given the program id
    and the version; it raises a refusal for a document that means nothing. What it makes is kept,
    at most `cache_max` of them, and must not change afterwards. `sources` are the services whose
    feeds this one follows. `schedules` are the versions that wait for their time.
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
        self.schedules = Schedules(tables)
        versions = tables.program_versions
        self._newest: dict[DialectName, sa.CompoundSelect[tuple[str, int, str, int]]] = {
            dialect: newest_and_waiting(tables, dialect) for dialect in DIALECTS
        }
        self._one_at_a_time = sa.select(tables.feed_identity).with_for_update()
        self._history = (
            sa.select(versions)
            .where(versions.c.program_id == sa.bindparam("program_id"))
            .order_by(versions.c.version.desc())
        )
        listed = [
            each for each in versions.c if each.name not in {"program_id", "content", "cursors"}
        ]
        self._listed = (
            sa.select(*listed)
            .where(
                versions.c.program_id == sa.bindparam("program_id"),
                versions.c.version < sa.bindparam("before"),
            )
            .order_by(versions.c.version.desc())
        )

    async def current(
        self, tx: Tx, program_ids: Sequence[str], now: datetime | None = None
    ) -> dict[str, Versioned[P]]:
        """Give the version in force of each program; programs that do not exist are left out.

        Only the version numbers are read inside the transaction; content is read when it is not yet
        compiled. With `now`, which everything that decides gives, PublicationDue is raised where a
        scheduled version should be in force by then and is not yet; without it a read may see the
        version before, until somebody has put the new one in force.
        """
        if not program_ids:
            return {}
        asked = one_text(tx.dialect, sorted(set(program_ids)))
        rows = await tx.plain(self._newest[tx.dialect], {"program_ids": asked})
        keys = []
        for program_id, version, etag, due_micros in cast("Sequence[_Found]", rows):
            if due_micros is None:
                keys.append((program_id, version, etag))
            elif now is not None and due_micros <= to_micros(now):
                raise PublicationDue(f"version {version} of {program_id} is due")
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
        return self._compiled(version_of(rows[0]))

    async def history(self, tx: Tx, program_id: str, *, limit: int = 1000) -> list[Version]:
        """List the versions of a program, newest first, at most `limit`."""
        rows = await tx.fetch(self._history.limit(limit), {"program_id": program_id})
        return [version_of(row) for row in rows]

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

    async def stored(self, tx: Tx, program_id: str, version: int) -> Version | Scheduled:
        """Give one version, or the one that is scheduled. Refuses ProgramVersionNotFound."""
        scheduled = await self.schedules.of_program(tx, program_id)
        if scheduled is not None and scheduled.version == version:
            return scheduled
        return (await self.at_version(tx, program_id, version)).version

    async def listed(self, tx: Tx, program_id: str, *, before: int, count: int) -> list[Listed]:
        """List versions below `before`, newest first, what is scheduled among them."""
        parameters = {"program_id": program_id, "before": before}
        rows = await tx.fetch(self._listed.limit(count), parameters)
        found = [
            Listed(
                version=row.version,
                etag=row.etag,
                author=row.author,
                create_time=row.create_time,
                publish_time=row.publish_time or row.create_time,
            )
            for row in rows
        ]
        waiting = await self.schedules.of_program(tx, program_id)
        if waiting is not None and waiting.version < before:
            found.insert(0, listed_of(waiting))
        return found[:count]

    async def hold(self, tx: Tx) -> None:
        """Let no other transaction apply anything until this one ends.

        Applies wait for each other, whatever their program: they are rare, and all take the
        cursors' locks anyway.
        """
        await tx.fetch(self._one_at_a_time)

    async def apply(
        self,
        tx: Tx,
        *,
        program_id: str,
        content: bytes,
        author: str,
        etag: str,
        now: datetime,
        cancel_scheduled: bool = False,
    ) -> Versioned[P]:
        """Put a document in force and give its version; the same content makes no new one.

        `etag` is of the version that the document was made from; empty skips the check. Refuses
        EtagMismatch, PublicationScheduled unless `cancel_scheduled`, and whatever `compile_program`
        refuses; raises PublicationDue. `content` must be serialized deterministically.
        """
        await self.hold(tx)
        cursors = await self._lock_cursors(tx)
        in_force = await self._in_force(tx, program_id, etag, now)
        waiting = await self.schedules.of_program(tx, program_id)
        is_same = in_force is not None and in_force.version.content == content
        if waiting is not None and (cancel_scheduled or not is_same):
            if not cancel_scheduled and not waiting.failure:
                raise PublicationScheduled(
                    program_id=program_id,
                    version=waiting.version,
                    publish_time=waiting.publish_time,
                )
            await self.schedules.remove(tx, program_id)
        if in_force is not None and is_same:
            return in_force
        number = in_force.version.version + 1 if in_force is not None else 1
        return await self._insert(
            tx,
            Version(
                program_id=program_id,
                version=number,
                etag=etag_of(number, content),
                author=author,
                content=content,
                cursors=cursors,
                create_time=now,
                publish_time=now,
            ),
        )

    async def schedule(
        self,
        tx: Tx,
        *,
        program_id: str,
        content: bytes,
        author: str,
        etag: str,
        now: datetime,
        publish_time: datetime,
    ) -> Scheduled | None:
        """Let a document come into force at `publish_time`, instead of what is scheduled now.

        A document without a difference to what is in force changes nothing. Gives what is scheduled
        then. Refuses PublishTimePassed, EtagMismatch and whatever `compile_program` refuses; raises
        PublicationDue.
        """
        await self.hold(tx)
        in_force = await self._in_force(tx, program_id, etag, now)
        if publish_time <= now:
            raise PublishTimePassed(publish_time=publish_time, now=now)
        waiting = await self.schedules.of_program(tx, program_id)
        if in_force is not None and in_force.version.content == content:
            return waiting
        number = in_force.version.version + 1 if in_force is not None else 1
        scheduled = Scheduled(
            program_id=program_id,
            version=number,
            etag=etag_of(number, content),
            author=author,
            content=content,
            create_time=now,
            publish_time=publish_time,
        )
        if waiting is not None and _says_the_same(waiting, scheduled):
            return waiting
        self._compile(program_id, number, content)
        await self.schedules.put(tx, scheduled)
        return scheduled

    async def publish(
        self, tx: Tx, due: Scheduled
    ) -> tuple[Versioned[P] | None, Versioned[P]] | None:
        """Put what is due in force, at its place in the feeds; gives the versions before and after.

        None when another transaction has done it, or something else is scheduled by now.
        """
        await self.hold(tx)
        if await self.schedules.of_program(tx, due.program_id) != due:
            return None
        cursors = await self._lock_cursors(tx)
        before = (await self.current(tx, [due.program_id])).get(due.program_id)
        after = await self._insert(
            tx,
            Version(
                program_id=due.program_id,
                version=due.version,
                etag=due.etag,
                author=due.author,
                content=due.content,
                cursors=cursors,
                create_time=due.create_time,
                publish_time=due.publish_time,
            ),
        )
        await self.schedules.remove(tx, due.program_id)
        return before, after

    async def _in_force(
        self, tx: Tx, program_id: str, etag: str, now: datetime
    ) -> Versioned[P] | None:
        """The version in force; refuses EtagMismatch when it is not the one that is meant."""
        found = (await self.current(tx, [program_id], now)).get(program_id)
        actual = found.version.etag if found is not None else ""
        if etag and etag != actual:
            raise errors.EtagMismatch(expected=etag, actual=actual)
        return found

    async def _insert(self, tx: Tx, version: Version) -> Versioned[P]:
        made = Versioned(
            version=version,
            program=self._compile(version.program_id, version.version, version.content),
        )
        is_at_once = version.publish_time == version.create_time
        row = {
            "program_id": version.program_id,
            "version": version.version,
            "etag": version.etag,
            "author": version.author,
            "content": version.content,
            "cursors": record.dumps(version.cursors),
            "create_time": version.create_time,
            "publish_time": None if is_at_once else version.publish_time,
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
        known.update({str(row.program_id): self._compiled(version_of(row)) for row in rows})
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


def _says_the_same(waiting: Scheduled, wanted: Scheduled) -> bool:
    return (waiting.etag, waiting.publish_time, waiting.failure) == (
        wanted.etag,
        wanted.publish_time,
        "",
    )
