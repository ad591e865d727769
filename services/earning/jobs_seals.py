"""Seals each day of each program once it is over: every copy of the job would make the same seal.

An entry belongs to the day of its booking time, and that is read when its transaction has begun.
So a day is sealed when its end has passed on every machine's clock (a minute later), and when no
transaction is left that began before that was seen: no entry of the day can come any more.
Days that nobody sealed while the service was down are sealed one by one, in order.

A piece of work is some chunks of wallets, read from one snapshot and kept in a transaction of its
own; whoever comes next goes on behind the last chunk that is kept.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import structlog
from prometheus_client import Counter

from services.earning import seals, store_seals
from services.earning.documents import EarningPrograms
from services.earning.domain import ProgramId
from services.earning.seals import Builder, Chunk, Seal
from shared.clock import Clock
from shared.database import Database, Tx
from shared.jobs import Job

logger = structlog.get_logger(__name__)

_CLOCKS_APART = timedelta(minutes=1)
_CHUNKS_A_PIECE = 8

sealed_total = Counter("guerdon_earning_days_sealed_total", "Days of programs that were sealed.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    """The next day of a program to be sealed, and the seal before."""

    program_id: ProgramId
    day: date
    zone: ZoneInfo
    end_time: datetime
    before: Seal | None


class SealDays:
    """Seals days, a piece of at most `chunks_a_piece` chunks at a time."""

    def __init__(
        self,
        database: Database,
        programs: EarningPrograms,
        clock: Clock,
        *,
        chunks_a_piece: int = _CHUNKS_A_PIECE,
    ) -> None:
        self._database = database
        self._programs = programs
        self._clock = clock
        self._chunks_a_piece = chunks_a_piece
        # Up to which instant nothing is booked any more; and that which is waited for, with the
        # database's own time when it had passed.
        self._settled: datetime | None = None
        self._waiting: tuple[datetime, int] | None = None

    def job(self) -> Job:
        """The job, for the runner."""
        return Job(name="seal_days", due=self.due, run=self.run, awaited=False)

    async def due(self) -> int:
        """Number of programs of which a day is over and not sealed yet."""
        async with self._database.reading() as tx:
            return len(await self._all_due(tx))

    async def run(self) -> int:
        """Seal a piece of a day; how many wallets it took, and one more for a whole day.

        0 while a transaction is under way that may yet book something of the day.
        """
        async with self._database.reading() as tx:
            due = await self._all_due(tx)
        if not due or not await self._is_settled(due[0].end_time):
            return 0
        return await self._piece(due[0])

    async def _all_due(self, tx: Tx) -> list[_Due]:
        now = self._clock.now()
        found: list[_Due] = []
        for program_id, day in await store_seals.latest_days(tx):
            each = await self._next(tx, program_id, day)
            if each.end_time + _CLOCKS_APART <= now:
                found.append(each)
        return sorted(found, key=lambda each: (each.end_time, each.program_id))

    async def _next(self, tx: Tx, program_id: ProgramId, sealed: date | None) -> _Due:
        """The first day of a program, or the one after the last that is sealed.

        Its zone is the one that was in force when it began.
        """
        before = None if sealed is None else await store_seals.seal(tx, program_id, sealed)
        if before is None:
            first = await self._programs.at_version(tx, program_id, 1)
            zone = first.program.rules.zone
            day = seals.day_of(first.version.publish_time, zone)
            end_time = seals.end_of(day, zone)
        else:
            number = await store_seals.version_at(tx, program_id, before.end_time)
            zone = (await self._programs.at_version(tx, program_id, number)).program.rules.zone
            day = before.day + timedelta(days=1)
            # After a change of the zone a day may be over before it began; no day takes back.
            end_time = max(seals.end_of(day, zone), before.end_time)
        return _Due(program_id=program_id, day=day, zone=zone, end_time=end_time, before=before)

    async def _is_settled(self, end_time: datetime) -> bool:
        """Whether nothing will be booked any more before an instant, which has passed."""
        if self._settled is not None and end_time <= self._settled:
            return True
        if self._database.dialect == "sqlite":
            # There is one writer, and whoever waits for its turn reads the clock after that.
            seen = self._clock.now() - _CLOCKS_APART
            async with self._database.transaction():
                self._settled = seen
            return end_time <= seen
        if self._waiting is None or self._waiting[0] < end_time:
            seen = self._clock.now() - _CLOCKS_APART
            self._waiting = (seen, await self._database.now_micros())
        seen, micros = self._waiting
        async with self._database.reading() as tx:
            begun = await store_seals.begun_before(tx, micros)
        if begun:
            logger.info("seal_waits", transactions=begun)
            return False
        self._settled, self._waiting = seen, None
        return end_time <= seen

    async def _piece(self, due: _Due) -> int:
        async with self._database.reading() as tx:
            kept = await store_seals.chunks(tx, due.program_id, due.day)
            made, is_last = await self._chunks(tx, due, kept)
        async with self._database.transaction() as tx:
            await store_seals.add_chunks(tx, due.program_id, due.day, made)
            if is_last:
                await store_seals.add(tx, self._sealed(due, [*kept, *made]))
        wallets = sum(each.leaves for each in made)
        if is_last:
            sealed_total.inc()
            logger.info("day_sealed", program=due.program_id, day=due.day.isoformat())
        return wallets + int(is_last)

    async def _chunks(self, tx: Tx, due: _Due, kept: list[Chunk]) -> tuple[list[Chunk], bool]:
        """The chunks that follow those that are kept, and whether they are the last ones."""
        builder = Builder(number=len(kept))
        made: list[Chunk] = []
        after: tuple[str, str] | None = kept[-1].last if kept else ("", "")
        while after is not None and len(made) < self._chunks_a_piece:
            page = await store_seals.leaves(tx, due.program_id, due.end_time, after, builder.room)
            for leaf in page.leaves:
                hashed = seals.leaf_hash(
                    leaf.member_key, leaf.currency_id, leaf.sequence, leaf.chain_hash
                )
                chunk = builder.add(leaf, hashed)
                if chunk is not None:
                    made.append(chunk)
            after = page.after
        if after is None:
            rest = builder.finish()
            made += [] if rest is None else [rest]
        return made, after is None

    def _sealed(self, due: _Due, chunks: list[Chunk]) -> Seal:
        return seals.sealed(
            due.program_id,
            due.day,
            due.zone,
            due.end_time,
            chunks,
            b"" if due.before is None else due.before.seal_hash,
            self._clock.now(),
        )
