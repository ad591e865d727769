"""The SQL of verification: what is stored of one partition's members, and of one board."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from services.gamification import tables
from services.gamification.domain import MemberKey, ProgramId, Progress, Score
from services.gamification.index import Place
from services.gamification.refold import BadgePlace, progress_place, score_place
from services.gamification.store import MemberPlace, ProgressPlace, ScorePlace, progress_of
from shared.database import Row, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What is stored of a partition's members."""

    members: frozenset[MemberPlace]
    progress: dict[ProgressPlace, Progress]
    badges: frozenset[BadgePlace]
    scores: dict[ScorePlace, Score]
    open_intentions: frozenset[str]


async def held(tx: Tx, keys: tuple[str, str], program_id: str) -> Held:
    """Everything of the members whose key is at least `keys[0]` and below `keys[1]`.

    An empty `program_id` means every program.
    """
    intentions = tables.kernel.intentions
    rows = await _rows(tx, intentions, keys, program_id)
    return Held(
        members=frozenset(
            (ProgramId(row.program_id), MemberKey(row.member_key))
            for row in await _rows(tx, tables.members, keys, program_id)
        ),
        progress={
            progress_place(row.program_id, row.member_key, row.challenge_id): progress_of(row)
            for row in await _rows(tx, tables.progress, keys, program_id)
        },
        badges=frozenset(
            (str(row.program_id), str(row.member_key), str(row.badge_id))
            for row in await _rows(tx, tables.badges, keys, program_id)
        ),
        scores={
            score_place(row.program_id, row.member_key, row.board_id, row.period): Score(
                score=row.score, reached_time=row.reached_time
            )
            for row in await _rows(tx, tables.scores, keys, program_id)
        },
        open_intentions=frozenset(str(row.intention_id) for row in rows if row.close_time is None),
    )


async def scores_of(tx: Tx, place: Place, members: Sequence[MemberKey]) -> dict[MemberKey, Score]:
    """Scores of these members on a board."""
    keys = [(place.program_id, each, place.board_id, place.period) for each in members]
    rows = await tx.select(
        tables.scores, keys, key=("program_id", "member_key", "board_id", "period")
    )
    return {
        MemberKey(row.member_key): Score(score=row.score, reached_time=row.reached_time)
        for row in rows
    }


async def _rows(tx: Tx, table: sa.Table, keys: tuple[str, str], program_id: str) -> list[Row]:
    first, end = keys
    statement = sa.select(table).where(table.c.member_key >= first, table.c.member_key < end)
    if program_id:
        statement = statement.where(table.c.program_id == program_id)
    return await tx.fetch(statement)
