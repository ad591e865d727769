"""Applies, schedules, publishes, rolls back and reads the program documents of one service.

Alike in all services; each says what its document is, what is wrong with one, and what else has to
happen when a version comes into force (`ProgramDocuments.judge` and `took_effect`).

A version is put in force by the job `publication` when the clock has reached its time, or by the
first batch that would be decided after it (`published` makes both sure of it). A publication that
is refused when its time has come is set aside with the reason, and the program goes on as it was.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

import structlog
from google.protobuf.message import Message

from shared import differences, errors, faults, paging
from shared.clock import Clock
from shared.database import Database, Tx, is_transient
from shared.differences import Difference
from shared.group_commit import TooContended
from shared.jobs import Job
from shared.programs import Programs, PublicationDue, PublishTimePassed
from shared.schedules import Scheduled
from shared.versions import Listed, Version, Versioned

D = TypeVar("D", bound=Message)
P = TypeVar("P")
T = TypeVar("T")

_ATTEMPTS_MAX = 6
_BACKOFF_SECONDS = 0.01
_PAGE_SIZE, _PAGE_SIZE_MAX = 50, 1_000
_VERSION_END = 2**31 - 1

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The version in force after an apply, and what the document changed or would change.

    `scheduled` is what waits for its time after the call.
    """

    version: int
    etag: str
    differences: tuple[Difference, ...]
    scheduled: Scheduled | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPage:
    """Versions, newest first; which of them is in force (0: none); the next page's token."""

    versions: tuple[Listed, ...]
    in_force: int
    next_page_token: str


class ProgramDocuments(ABC, Generic[D, P]):
    """The documents of one service. `kind` is their message; `P` is what they are compiled to.

    `on_change` is called after every commit that may have changed what is in force.
    """

    kind: type[D]

    def __init__(
        self,
        database: Database,
        programs: Programs[P],
        clock: Clock,
        *,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._programs = programs
        self._clock = clock
        self._on_change = on_change

    # What a service says of its own ---------------------------------------------------------------

    @abstractmethod
    def check(self, document: D) -> None:
        """Refuse InvalidProgram with everything that is wrong with a document."""

    async def judge(self, tx: Tx, before: Versioned[P] | None, document: D, merged: D) -> None:
        """Refuse what is right by itself and cannot follow upon what there is.

        `merged` is `document` with what only the version in force has, unless that is pruned.
        """
        del tx, before, document, merged  # in most services nothing else can be wrong

    async def took_effect(
        self, tx: Tx, before: Versioned[P] | None, after: Versioned[P], now: datetime
    ) -> None:
        """Do what a new version in force means, in its transaction, which holds all followers."""
        del tx, before, after, now  # a version by itself is enough where each batch reads it

    # Writing --------------------------------------------------------------------------------------

    async def apply(
        self,
        document: D,
        *,
        author: str,
        etag: str,
        validate_only: bool,
        prune: bool,
        publish_time: datetime | None = None,
        cancel_scheduled: bool = False,
    ) -> Applied:
        """Put a document in force, at once or at a set time, or only tell what would change.

        Refuses InvalidProgram with all complaints, EtagMismatch, PublicationScheduled,
        PublishTimePassed, TooContended, and what the service judges.
        """
        self.check(document)
        program_id = _program_id(document)

        async def edit(tx: Tx) -> Applied:
            await self._programs.hold(tx)
            before, merged = await self._judged(tx, document, etag=etag, prune=prune)
            now = self._clock.now()
            after = before
            if publish_time is None:
                after = await self.put_in_force(
                    tx, before, merged, author=author, now=now, cancel_scheduled=cancel_scheduled
                )
            else:
                await self._programs.schedule(
                    tx,
                    program_id=program_id,
                    content=merged.SerializeToString(deterministic=True),
                    author=author,
                    etag=etag,
                    now=now,
                    publish_time=publish_time,
                )
            return await self._applied(tx, before, after, document, prune=prune)

        async def look() -> Applied:
            now = self._clock.now()
            if publish_time is not None and publish_time <= now:
                raise PublishTimePassed(publish_time=publish_time, now=now)
            async with self._database.reading() as tx:
                before, _ = await self._judged(tx, document, etag=etag, prune=prune)
                return await self._applied(tx, before, before, document, prune=prune)

        return await self.published(look if validate_only else lambda: self.in_transaction(edit))

    async def rollback(
        self,
        program_id: str,
        version: int,
        *,
        author: str,
        etag: str,
        validate_only: bool,
        publish_time: datetime | None = None,
        cancel_scheduled: bool = False,
    ) -> Applied:
        """Apply what an earlier version said, whole, as a new version.

        Refuses ProgramNotFound, ProgramVersionNotFound, and as `apply`.
        """
        async with self._database.reading() as tx:
            await self._programs.require(tx, program_id)
            old = (await self._programs.at_version(tx, program_id, version)).version
        return await self.apply(
            self.kind.FromString(old.content),
            author=author,
            etag=etag,
            validate_only=validate_only,
            prune=True,
            publish_time=publish_time,
            cancel_scheduled=cancel_scheduled,
        )

    async def put_in_force(
        self,
        tx: Tx,
        before: Versioned[P] | None,
        document: D,
        *,
        author: str,
        now: datetime,
        cancel_scheduled: bool = False,
    ) -> Versioned[P]:
        """Make a checked document the next version, with its effects; within `in_transaction`."""
        after = await self._programs.apply(
            tx,
            program_id=_program_id(document),
            content=document.SerializeToString(deterministic=True),
            author=author,
            etag=before.version.etag if before is not None else "",
            now=now,
            cancel_scheduled=cancel_scheduled,
        )
        if before is None or before.version.version != after.version.version:
            await self.took_effect(tx, before, after, now)
        return after

    async def in_transaction(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run work in a transaction of its own, anew after a transient error.

        Refuses TooContended when these do not end; PublicationDue is for `published`.
        """
        done = await in_transaction(self._database, work)
        self._on_change()
        return done

    async def _judged(
        self, tx: Tx, document: D, *, etag: str, prune: bool
    ) -> tuple[Versioned[P] | None, D]:
        """The version in force, and what applying the document over it makes."""
        before = await self.current(tx, _program_id(document), self._clock.now())
        actual = before.version.etag if before is not None else ""
        if etag and etag != actual:
            raise errors.EtagMismatch(expected=etag, actual=actual)
        merged = differences.merge(self.content_of(before), document, prune=prune)
        if merged != document:
            self.check(merged)
        await self.judge(tx, before, document, merged)
        return before, merged

    async def _applied(
        self,
        tx: Tx,
        before: Versioned[P] | None,
        after: Versioned[P] | None,
        document: D,
        *,
        prune: bool,
    ) -> Applied:
        return Applied(
            version=after.version.version if after is not None else 0,
            etag=after.version.etag if after is not None else "",
            differences=differences.differences(self.content_of(before), document, prune=prune),
            scheduled=await self._programs.schedules.of_program(tx, _program_id(document)),
        )

    # Publishing -----------------------------------------------------------------------------------

    async def published(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run work; when it meets a version whose time has come, publish that and run it again."""
        for _ in range(_ATTEMPTS_MAX):
            try:
                return await work()
            except PublicationDue:
                await self.publish_due()
        raise TooContended(attempts=_ATTEMPTS_MAX)

    async def publish_due(self) -> int:
        """Put in force what is due, whoever else tries to; gives how many were done here."""
        done = 0
        while True:
            now = self._clock.now()
            async with self._database.reading() as tx:
                due = await self._programs.schedules.next_due(tx, now)
            if due is None:
                return done
            done += await self._publish(due, now)

    def job(self) -> Job:
        """The job that publishes."""
        return Job(name="publication", due=self._due_count, run=self.publish_due)

    async def _due_count(self) -> int:
        async with self._database.reading() as tx:
            return await self._programs.schedules.due_count(tx, self._clock.now())

    async def _publish(self, due: Scheduled, now: datetime) -> bool:
        async def put(tx: Tx) -> bool:
            made = await self._programs.publish(tx, due)
            if made is not None:
                before, after = made
                await self.took_effect(tx, before, after, now)
            return made is not None

        try:
            done = await self.in_transaction(put)
        except Exception as error:
            if is_transient(error) or faults.is_connection_lost(error):
                raise
            if isinstance(error, errors.Refusal) and error.transient:
                raise
            await self._set_aside(due, error)
            return False
        if done:
            _log.info("program_published", program_id=due.program_id, version=due.version)
        return done

    async def _set_aside(self, due: Scheduled, error: Exception) -> None:
        """Note why a publication was refused: its program must go on without it."""
        said = f"{error.reason}: {error}" if isinstance(error, errors.Refusal) else repr(error)

        async def note(tx: Tx) -> bool:
            return await self._programs.schedules.refuse(tx, due, said[:1_000])

        if await self.in_transaction(note):
            _log.error(
                "publication_refused",
                program_id=due.program_id,
                version=due.version,
                exc_info=None if isinstance(error, errors.Refusal) else error,
                refusal=said,
            )

    # Reading --------------------------------------------------------------------------------------

    async def get(self, program_id: str, version: int) -> Version | Scheduled:
        """A version, 0 for the one in force; refuses ProgramNotFound or ProgramVersionNotFound."""

        async def read() -> Version | Scheduled:
            async with self._database.reading() as tx:
                current = await self.current(tx, program_id, self._clock.now())
                if current is not None and version in {0, current.version.version}:
                    return current.version
                scheduled = await self._programs.schedules.of_program(tx, program_id)
                if current is None and (scheduled is None or version == 0):
                    raise errors.ProgramNotFound(program_id=program_id)
                return await self._programs.stored(tx, program_id, version)

        return await self.published(read)

    async def versions(self, program_id: str, *, page_size: int, page_token: str) -> VersionPage:
        """The versions of a program, newest first; refuses ProgramNotFound, InvalidPageToken."""
        query = paging.digest_of("versions", self.kind.DESCRIPTOR.full_name, program_id)
        size = paging.page_size(page_size, _PAGE_SIZE, _PAGE_SIZE_MAX)
        before = _before(paging.decode(page_token, query))

        async def read() -> VersionPage:
            async with self._database.reading() as tx:
                current = await self.current(tx, program_id, self._clock.now())
                found = await self._programs.listed(tx, program_id, before=before, count=size + 1)
            if current is None and not found:
                raise errors.ProgramNotFound(program_id=program_id)
            more = len(found) > size
            return VersionPage(
                versions=tuple(found[:size]),
                in_force=current.version.version if current is not None else 0,
                next_page_token=paging.encode(query, (found[size - 1].version,)) if more else "",
            )

        return await self.published(read)

    async def current(
        self, tx: Tx, program_id: str, now: datetime | None = None
    ) -> Versioned[P] | None:
        """The version in force, if there is one; with `now` as `Programs.current`."""
        return (await self._programs.current(tx, [program_id], now)).get(program_id)

    def content_of(self, version: Versioned[P] | None) -> D | None:
        """The document of a version."""
        return self.kind.FromString(version.version.content) if version is not None else None


async def in_transaction(database: Database, work: Callable[[Tx], Awaitable[T]]) -> T:
    """Run work in a transaction of its own, anew after a transient error.

    Refuses TooContended when these do not end; raises PublicationDue at once.
    """
    for attempt in range(1, _ATTEMPTS_MAX + 1):
        try:
            async with database.transaction() as tx:
                return await work(tx)
        except (errors.Refusal, PublicationDue):
            raise
        except Exception as error:
            if not is_transient(error):
                raise
            if attempt == _ATTEMPTS_MAX:
                raise TooContended(attempts=attempt) from error
        await asyncio.sleep(_BACKOFF_SECONDS * 2**attempt)
    raise AssertionError("unreachable")  # pragma: no cover - the last attempt returns or raises


def _program_id(document: Message) -> str:
    return str(getattr(document, "program_id", ""))


def _before(position: tuple[str | int, ...] | None) -> int:
    """Version below which a page begins."""
    match position:
        case None:
            return _VERSION_END
        case (int(version),) if 0 < version <= _VERSION_END:
            return version
        case _:
            raise errors.InvalidPageToken
