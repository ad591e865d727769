"""Reads of boards: what arrives together travels together.

A batch costs one statement for the identifiers that are not known yet, one pipeline to the index,
and one statement for the names of the members that it shows. An index that is not ready is told as
such, unless the database says that the board has no scores at all.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog
from redis.exceptions import RedisError

from services.gamification import query_store, store
from services.gamification.domain import BoardNotReady, MemberId, MemberKey, StandingNotFound
from services.gamification.index import BoardIndex, PageRead, Place, Read, Rows, StandingRead
from services.gamification.ranking import Layout, RankedRow
from services.gamification.score_store import ScoreLog
from services.gamification.store import Identifier, MemberPlace
from shared import errors
from shared.combining import Combiner
from shared.database import Database

BATCH_MAX = 256
_NAMES_MAX = 50_000

logger = structlog.get_logger(__name__)

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuestion:
    """Asks for `count` rows of a board from `offset` (from 0)."""

    place: Place
    layout: Layout
    offset: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingQuestion:
    """Asks for a member's row and so many rows on each side."""

    place: Place
    layout: Layout
    member_id: MemberId
    neighbours: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardView:
    """Rows of a board with the names of their members; `own` as in `index.Rows`."""

    rows: tuple[RankedRow, ...]
    names: Mapping[MemberKey, MemberId]
    member_count: int
    own: int = -1


Question = PageQuestion | StandingQuestion


class _Recent(Generic[K, V]):
    """What was looked up last, at most so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
        return found

    def put(self, found: Mapping[K, V]) -> None:
        self._held.update(found)
        while len(self._held) > self._most:
            self._held.popitem(last=False)


class BoardReader:
    """Answers questions about boards. `not_ready` is called when one was found not to be ready."""

    def __init__(
        self, database: Database, index: BoardIndex, not_ready: Callable[[], None]
    ) -> None:
        self._database = database
        self._index = index
        self._scores = ScoreLog(database)
        self._not_ready = not_ready
        self._keys: _Recent[Identifier, MemberKey] = _Recent(_NAMES_MAX)
        self._names: _Recent[MemberPlace, MemberId] = _Recent(_NAMES_MAX)
        self._combiner: Combiner[Question, BoardView] = Combiner(self._answer, batch_max=BATCH_MAX)

    async def view(self, question: Question) -> BoardView:
        """Answer one question.

        Refuses BoardNotReady; a standing also MemberNotFound and StandingNotFound.
        """
        return await self._combiner.ask(question)

    async def _answer(self, questions: Sequence[Question]) -> Sequence[BoardView | Exception]:
        keys = await self._find_keys(
            {
                (each.place.program_id, each.member_id)
                for each in questions
                if isinstance(each, StandingQuestion)
            }
        )
        reads: list[Read] = []
        asked: list[int] = []
        for number, each in enumerate(questions):
            read = _read(each, keys)
            if read is not None:
                reads.append(read)
                asked.append(number)
        found = dict(zip(asked, await self._read(reads), strict=True))
        shown = {
            (questions[number].place.program_id, row.member_key)
            for number, rows in found.items()
            if isinstance(rows, Rows)
            for row in rows.rows
        }
        names = await self._find_names(shown)
        return [_view(each, found.get(number), names) for number, each in enumerate(questions)]

    async def _read(self, reads: Sequence[Read]) -> list[Rows | errors.Refusal]:
        try:
            replies = await self._index.read(reads)
        except (RedisError, OSError) as error:
            logger.warning("boards_index_away", error=str(error))
            replies = [None] * len(reads)
        missing = {read.place for read, rows in zip(reads, replies, strict=True) if rows is None}
        if not missing:
            return [rows for rows in replies if rows is not None]
        heads = await self._scores.heads(sorted(missing, key=str))
        if any(heads.values()):
            self._not_ready()
        return [
            rows or (_not_ready(read.place) if heads[read.place] else Rows(rows=(), member_count=0))
            for read, rows in zip(reads, replies, strict=True)
        ]

    async def _find_keys(self, wanted: Collection[Identifier]) -> dict[Identifier, MemberKey]:
        found = {key: held for key in wanted if (held := self._keys.get(key)) is not None}
        missing = [key for key in wanted if key not in found]
        if missing:
            async with self._database.reading() as tx:
                looked_up = await store.find_members(tx, missing)
            self._keys.put(looked_up)
            found.update(looked_up)
        return found

    async def _find_names(self, wanted: Collection[MemberPlace]) -> dict[MemberPlace, MemberId]:
        found = {key: held for key in wanted if (held := self._names.get(key)) is not None}
        missing = [key for key in wanted if key not in found]
        if missing:
            async with self._database.reading() as tx:
                looked_up = await query_store.find_names(tx, missing)
            self._names.put(looked_up)
            found.update(looked_up)
        return found


def _read(question: Question, keys: Mapping[Identifier, MemberKey]) -> Read | None:
    """What to ask the index, None for a member who is not known."""
    if isinstance(question, PageQuestion):
        return PageRead(
            place=question.place,
            layout=question.layout,
            offset=question.offset,
            count=question.count,
        )
    key = keys.get((question.place.program_id, question.member_id))
    if key is None:
        return None
    return StandingRead(
        place=question.place,
        layout=question.layout,
        member_key=key,
        neighbours=question.neighbours,
    )


def _view(
    question: Question,
    rows: Rows | errors.Refusal | None,
    names: Mapping[MemberPlace, MemberId],
) -> BoardView | Exception:
    if isinstance(rows, errors.Refusal):
        return rows
    place = question.place
    if isinstance(question, StandingQuestion):
        if rows is None:
            return errors.MemberNotFound(member_id=question.member_id)
        if rows.own < 0:
            return StandingNotFound(
                member_id=question.member_id, board_id=place.board_id, period=place.period
            )
    if rows is None:
        return _not_ready(place)
    return BoardView(
        rows=rows.rows,
        names={
            row.member_key: names.get((place.program_id, row.member_key), MemberId(""))
            for row in rows.rows
        },
        member_count=rows.member_count,
        own=rows.own,
    )


def _not_ready(place: Place) -> BoardNotReady:
    return BoardNotReady(board_id=place.board_id, period=place.period)
