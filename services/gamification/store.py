"""The SQL of a batch: lock members, load what their commands need, save what has changed.

The SQL of answers is in `query_store.py`, that of the projector in `score_store.py`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from services.gamification import tables
from services.gamification.domain import (
    ALL_TIME,
    BadgeAwarded,
    BadgeId,
    BoardId,
    ChallengeId,
    Completion,
    EnrollMember,
    MemberId,
    MemberKey,
    Period,
    ProgramId,
    Progress,
    RewardState,
    Score,
)
from services.gamification.index import Place
from shared import member_names, record
from shared.database import Row, Tx
from shared.names import NameMember

MemberPlace: TypeAlias = tuple[ProgramId, MemberKey]
ProgressPlace: TypeAlias = tuple[ProgramId, MemberKey, ChallengeId]
ScorePlace: TypeAlias = tuple[ProgramId, MemberKey, BoardId, Period]
Head: TypeAlias = tuple[ProgramId, BoardId, Period, int]
Identifier: TypeAlias = tuple[ProgramId, MemberId]

_MEMBER = ("program_id", "member_key")
_PROGRESS = ("program_id", "member_key", "challenge_id", "period")
_SCORE = ("program_id", "member_key", "board_id", "period")
_HEAD = ("program_id", "board_id", "period", "partition")


async def add_members(tx: Tx, joined: Sequence[EnrollMember]) -> None:
    """Note members and their identifiers; those that are known already stay as they are."""
    await tx.insert(
        tables.members,
        [
            {
                "program_id": each.program_id,
                "member_key": each.member_key,
                "member_id": each.identifiers[0][1] if each.identifiers else "",
                "enroll_time": each.enroll_time,
            }
            for each in joined
        ],
        ignore_conflicts=True,
    )
    await member_names.note(
        tx,
        tables.member_identifiers,
        [
            {
                "program_id": each.program_id,
                "identifier": identifier,
                "kind": kind,
                "member_key": each.member_key,
                "assign_time": each.enroll_time,
            }
            for each in joined
            for kind, identifier in each.identifiers
        ],
    )


async def rename_members(tx: Tx, renamed: Sequence[NameMember]) -> None:
    """Take over what names members, and what boards show of them."""
    await member_names.rename(tx, tables.member_identifiers, renamed)
    shown = {
        (each.program_id, each.member_key): each.names[0].identifier if each.names else ""
        for each in renamed
    }
    await tx.update(
        tables.members,
        [
            {"program_id": place[0], "member_key": place[1], "member_id": name}
            for place, name in shown.items()
        ],
        key=("program_id", "member_key"),
    )


async def find_members(tx: Tx, identifiers: Collection[Identifier]) -> dict[Identifier, MemberKey]:
    """Keys of the members who have these identifiers; unknown ones are left out."""
    rows = await tx.select(
        tables.member_identifiers, sorted(identifiers), key=("program_id", "identifier")
    )
    return {
        (ProgramId(row.program_id), MemberId(row.identifier)): MemberKey(row.member_key)
        for row in rows
    }


async def lock_members(tx: Tx, members: Collection[MemberPlace]) -> list[MemberPlace]:
    """Lock members in the order of their keys; those that are not known are left out."""
    rows = await tx.select(tables.members, sorted(members), key=_MEMBER, lock=True)
    return [(ProgramId(row.program_id), MemberKey(row.member_key)) for row in rows]


async def load_progress(
    tx: Tx, places: Collection[ProgressPlace]
) -> dict[MemberPlace, dict[ChallengeId, Progress]]:
    """Progress of members with these challenges, by member; what is not started is left out."""
    keys = [(*place, ALL_TIME) for place in sorted(places)]
    found: dict[MemberPlace, dict[ChallengeId, Progress]] = {}
    for row in await tx.select(tables.progress, keys, key=_PROGRESS):
        member = (ProgramId(row.program_id), MemberKey(row.member_key))
        found.setdefault(member, {})[ChallengeId(row.challenge_id)] = progress_of(row)
    return found


async def load_badges(
    tx: Tx, members: Collection[MemberPlace]
) -> dict[MemberPlace, frozenset[BadgeId]]:
    """Badges that members hold; members without any are left out."""
    found: dict[MemberPlace, set[BadgeId]] = {}
    for row in await tx.select(tables.badges, sorted(members), key=_MEMBER):
        member = (ProgramId(row.program_id), MemberKey(row.member_key))
        found.setdefault(member, set()).add(BadgeId(row.badge_id))
    return {member: frozenset(badges) for member, badges in found.items()}


async def load_scores(
    tx: Tx, places: Collection[ScorePlace]
) -> dict[MemberPlace, dict[tuple[BoardId, Period], Score]]:
    """Scores at these places, by member; where there is none is left out."""
    found: dict[MemberPlace, dict[tuple[BoardId, Period], Score]] = {}
    for row in await tx.select(tables.scores, sorted(places), key=_SCORE):
        member = (ProgramId(row.program_id), MemberKey(row.member_key))
        board = (BoardId(row.board_id), Period(row.period))
        found.setdefault(member, {})[board] = Score(score=row.score, reached_time=row.reached_time)
    return found


async def save_progress(tx: Tx, changed: Mapping[ProgressPlace, Progress]) -> None:
    """Store progress as it is now."""
    rows = [_progress_row(place, progress) for place, progress in sorted(changed.items(), key=_key)]
    columns = [column.name for column in tables.progress.columns if column.name not in _PROGRESS]
    await tx.upsert(tables.progress, rows, key=_PROGRESS, update=columns)


async def save_badges(tx: Tx, awarded: Iterable[BadgeAwarded]) -> None:
    """Store badges; each is new, by the lock of its member."""
    await tx.insert(
        tables.badges,
        [
            {
                "program_id": each.program_id,
                "member_key": each.member_key,
                "badge_id": each.badge_id,
                "period": ALL_TIME,
                "challenge_id": each.challenge_id,
                "award_time": each.award_time,
            }
            for each in awarded
        ],
    )


async def save_scores(
    tx: Tx, changed: Mapping[ScorePlace, Score], partition_of: Mapping[MemberKey, int]
) -> frozenset[Place]:
    """Store scores and give each change its place; the boards that have changed.

    Locks the heads of the boards, the last locks before the heads of the feed.
    """
    by_head: dict[Head, list[ScorePlace]] = {}
    for place in sorted(changed):
        program_id, member_key, board_id, period = place
        head: Head = (program_id, board_id, period, partition_of[member_key])
        by_head.setdefault(head, []).append(place)
    last = await _advance_heads(tx, {head: len(places) for head, places in by_head.items()})
    rows = []
    for head, places in by_head.items():
        first = last[head] - len(places) + 1
        for position, place in enumerate(places, start=first):
            score = changed[place]
            rows.append(
                {
                    **dict(zip(_SCORE, place, strict=True)),
                    "partition": head[3],
                    "score": score.score,
                    "reached_time": score.reached_time,
                    "changed_position": position,
                }
            )
    update = ("score", "reached_time", "changed_position")
    await tx.upsert(tables.scores, rows, key=_SCORE, update=update)
    return frozenset(
        Place(program_id=program_id, board_id=board_id, period=period)
        for program_id, board_id, period, _ in by_head
    )


async def _advance_heads(tx: Tx, amounts: Mapping[Head, int]) -> dict[tuple[object, ...], int]:
    """Move heads on and give where they are now; the first change of a board makes its heads."""
    keys: dict[tuple[object, ...], int] = {key: amounts[key] for key in sorted(amounts)}
    moved = await tx.increment(tables.board_heads, keys, key=_HEAD, column="position")
    last: dict[tuple[object, ...], int] = {_head_key(row): int(row.position) for row in moved}
    missing = {key: amount for key, amount in keys.items() if key not in last}
    if missing:
        rows = [{**dict(zip(_HEAD, key, strict=True)), "position": 0} for key in missing]
        await tx.insert(tables.board_heads, rows, ignore_conflicts=True)
        moved = await tx.increment(tables.board_heads, missing, key=_HEAD, column="position")
        last.update({_head_key(row): int(row.position) for row in moved})
    return last


def progress_of(row: Row) -> Progress:
    """Progress as a row of `progress` tells it."""
    complete_time: datetime | None = row.complete_time
    completion = None
    if complete_time is not None:
        completion = Completion(
            complete_time=complete_time,
            points=row.reward_points,
            badge_id=BadgeId(row.reward_badge_id),
            reward_state=RewardState(row.reward_state),
            failure_reason=row.reward_failure,
        )
    return Progress(
        count=row.activity_count,
        elements=record.loads(frozenset[str], row.elements),
        completion=completion,
    )


def _progress_row(place: ProgressPlace, progress: Progress) -> dict[str, object]:
    completion = progress.completion
    state = RewardState.NOTHING_OWED if completion is None else completion.reward_state
    return {
        **dict(zip(_PROGRESS, (*place, ALL_TIME), strict=True)),
        "activity_count": progress.count,
        "elements": record.dumps(progress.elements),
        "complete_time": None if completion is None else completion.complete_time,
        "reward_points": 0 if completion is None else completion.points,
        "reward_badge_id": "" if completion is None else completion.badge_id,
        "reward_state": state.value,
        "reward_failure": "" if completion is None else completion.failure_reason,
    }


def _head_key(row: Row) -> tuple[object, ...]:
    return (row.program_id, row.board_id, row.period, row.partition)


def _key(item: tuple[ProgressPlace, Progress]) -> ProgressPlace:
    return item[0]
