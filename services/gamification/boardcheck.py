"""Compares the index of each board with the scores in the database, page by page.

A board that changes while it is compared is compared again; one that never holds still for as long
as a comparison takes is left to the next verification, and said so.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from redis.exceptions import RedisError

from services.gamification.documents import Documents
from services.gamification.domain import MemberKey
from services.gamification.index import BoardIndex, PageRead, Place, Rows
from services.gamification.partition_store import scores_of
from services.gamification.projector import Projector
from services.gamification.ranking import Layout, RankedRow, Ties
from services.gamification.refold import Violation
from services.gamification.score_store import ScoreLog
from shared.clock import monotonic
from shared.database import Database
from shared.wakeups import wait_for_change

_PAGE = 1_000
_ATTEMPTS = 3
_READY_SECONDS = 10.0
_LOOK_SECONDS = 0.2

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Members compared of all, and what was found since the last."""

    done: int
    total: int
    violations: Sequence[Violation] = ()


class _NotReadyError(Exception):
    """The index does not answer."""


class BoardCheck:
    """Checks the boards of one program, or of all."""

    def __init__(
        self, database: Database, documents: Documents, index: BoardIndex, projector: Projector
    ) -> None:
        self._database = database
        self._documents = documents
        self._index = index
        self._projector = projector
        self._log = ScoreLog(database)

    async def run(self, program_id: str) -> AsyncIterator[Checked]:
        """Compare board by board."""
        layouts = await self._documents.layouts()
        places = [
            place
            for place in await self._log.places(program_id)
            if (place.program_id, place.board_id) in layouts
        ]
        counts = {place: await self._log.count(place) for place in places}
        total, done = sum(counts.values()), 0
        yield Checked(done=0, total=total)
        for place in places:
            found = await self._check(place, layouts[place.program_id, place.board_id])
            done += counts[place]
            yield Checked(done=done, total=total, violations=found)

    async def _check(self, place: Place, layout: Layout) -> list[Violation]:
        for _ in range(_ATTEMPTS):
            before = await self._log.heads([place])
            try:
                if not await self._ready(place, layout):
                    return [_violation("board_is_ready", place, "the index is behind or away")]
                found = await self._compare(place, layout)
            except (_NotReadyError, RedisError, OSError) as error:
                logger.warning("board_not_compared", board_id=place.board_id, error=str(error))
                found = [_violation("board_is_ready", place, "the index stopped answering")]
            except OverflowError:
                # No instant that we know: somebody else wrote it.
                found = [_violation("board_equals_scores", place, "an element is none of ours")]
            if not found or before == await self._log.heads([place]):
                return found
        logger.warning("board_never_still", board_id=place.board_id, period=place.period)
        return []

    async def _ready(self, place: Place, layout: Layout) -> bool:
        deadline = monotonic() + _READY_SECONDS
        while not await self._projector.is_current(place, layout):
            if monotonic() >= deadline:
                return False
            self._projector.look_at_all()
            await wait_for_change(self._projector.mark(), _LOOK_SECONDS)
        return True

    async def _compare(self, place: Place, layout: Layout) -> list[Violation]:
        """At most one violation of each rule for each page of a board."""
        found: list[Violation] = []
        offset, last = 0, _Last()
        while True:
            rows = await self._page(place, layout, offset)
            found += last.check(place, layout, offset, rows.rows)
            async with self._database.reading() as tx:
                scores = await scores_of(tx, place, [row.member_key for row in rows.rows])
            for row in rows.rows:
                score = scores.get(row.member_key)
                if score is None or (score.score, score.reached_time) != (
                    row.score,
                    row.reached_time,
                ):
                    detail = f"member {row.member_key}: expected {score}, found {row}"
                    found.append(_violation("board_equals_scores", place, detail))
                    break
            offset += len(rows.rows)
            if len(rows.rows) < _PAGE:
                break
        stored = await self._log.count(place)
        if offset != stored:
            detail = f"expected {stored} members, found {offset}"
            found.append(_violation("board_equals_scores", place, detail))
        return found

    async def _page(self, place: Place, layout: Layout, offset: int) -> Rows:
        read = PageRead(place=place, layout=layout, offset=offset, count=_PAGE)
        (rows,) = await self._index.read([read])
        if rows is None:
            raise _NotReadyError
        return rows


class _Last:
    """The row before, whose successor must come after it."""

    def __init__(self) -> None:
        self._key: tuple[int, datetime, MemberKey] | None = None
        self._rank = 0
        self._score = 0

    def check(
        self, place: Place, layout: Layout, offset: int, rows: Sequence[RankedRow]
    ) -> list[Violation]:
        """Whether rows are in order and have the policy's ranks; tells the first that has not."""
        for number, row in enumerate(rows, start=offset + 1):
            key = (layout.sort_score(row.score), row.reached_time, row.member_key)
            is_equal = self._key is not None and row.score == self._score
            expected = number
            if layout.ties is not Ties.STRICT and is_equal:
                expected = self._rank
            elif layout.ties is Ties.DENSE:
                expected = self._rank + 1
            in_order = self._key is None or self._key < key
            self._key, self._rank, self._score = key, row.rank, row.score
            if not in_order or row.rank != expected:
                detail = f"place {number}: expected rank {expected} and order, found {row}"
                return [_violation("board_order", place, detail)]
        return []


def _violation(rule: str, place: Place, detail: str) -> Violation:
    subject = f"{place.program_id}/{place.board_id}/{place.period}"
    return Violation(rule=rule, subject=subject, detail=detail)
