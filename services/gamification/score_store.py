"""The SQL of the projector: which boards have changed how far, and the current scores behind.

Every method reads in a transaction of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from services.gamification import tables
from services.gamification.domain import BoardId, MemberKey, Period, ProgramId
from services.gamification.index import Place
from shared.database import Database

_heads = tables.board_heads.c
_scores = tables.scores.c
_PLACES = (
    sa.select(_heads.program_id, _heads.board_id, _heads.period)
    .distinct()
    .order_by(_heads.program_id, _heads.board_id, _heads.period)
)
_PLACES_OF = _PLACES.where(_heads.program_id == sa.bindparam("program"))
_AT_PLACE = (
    _scores.program_id == sa.bindparam("program"),
    _scores.board_id == sa.bindparam("board"),
    _scores.period == sa.bindparam("board_period"),
)
_CHANGED = (
    sa.select(_scores.member_key, _scores.score, _scores.reached_time, _scores.changed_position)
    .where(
        *_AT_PLACE,
        _scores.partition == sa.bindparam("in_partition"),
        _scores.changed_position > sa.bindparam("after", type_=sa.BigInteger),
    )
    .order_by(_scores.changed_position)
    .limit(sa.bindparam("at_most", type_=sa.Integer))
)
_COUNT = sa.select(sa.func.count().label("members")).where(*_AT_PLACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentScore:
    """A member's score as it is now, and the place of its last change."""

    member_key: MemberKey
    score: int
    reached_time: datetime
    changed_position: int


class ScoreLog:
    """Reads scores in the order of their last changes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def places(self, program_id: str = "") -> list[Place]:
        """Boards and periods that have scores, of one program or of all."""
        async with self._database.reading() as tx:
            if program_id:
                rows = await tx.fetch(_PLACES_OF, {"program": program_id})
            else:
                rows = await tx.fetch(_PLACES)
        return [
            Place(
                program_id=ProgramId(row.program_id),
                board_id=BoardId(row.board_id),
                period=Period(row.period),
            )
            for row in rows
        ]

    async def heads(self, places: Sequence[Place]) -> dict[Place, dict[int, int]]:
        """Place of the last change of each partition, by board; boards without scores are empty."""
        keys = [(place.program_id, place.board_id, place.period) for place in places]
        async with self._database.reading() as tx:
            rows = await tx.select(
                tables.board_heads, keys, key=("program_id", "board_id", "period")
            )
        found: dict[Place, dict[int, int]] = {place: {} for place in places}
        for row in rows:
            place = Place(program_id=row.program_id, board_id=row.board_id, period=row.period)
            found[place][row.partition] = row.position
        return found

    async def changed(
        self, place: Place, partition: int, *, after: int, limit: int
    ) -> list[CurrentScore]:
        """Scores whose last change lies behind a place, oldest change first."""
        parameters = {**_named(place), "in_partition": partition, "after": after, "at_most": limit}
        async with self._database.reading() as tx:
            rows = await tx.fetch(_CHANGED, parameters)
        return [
            CurrentScore(
                member_key=MemberKey(row.member_key),
                score=row.score,
                reached_time=row.reached_time,
                changed_position=row.changed_position,
            )
            for row in rows
        ]

    async def count(self, place: Place) -> int:
        """Number of members with a score."""
        async with self._database.reading() as tx:
            (row,) = await tx.fetch(_COUNT, _named(place))
        return int(row.members)


def _named(place: Place) -> dict[str, object]:
    return {
        "program": place.program_id,
        "board": place.board_id,
        "board_period": place.period,
    }
