"""The SQL of answers: members and their names, progress, badges, counts. Reads only."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from services.gamification import tables
from services.gamification.domain import (
    BadgeId,
    ChallengeId,
    MemberId,
    MemberKey,
    ProgramId,
    Progress,
    RewardState,
)
from services.gamification.store import MemberPlace, progress_of
from shared.database import Tx

_members = tables.members.c
_progress = tables.progress.c
_badges = tables.badges.c
_program: sa.BindParameter[str] = sa.bindparam("program")

_MEMBER_COUNT = sa.select(sa.func.count().label("members")).where(_members.program_id == _program)
_BADGE_COUNTS = (
    sa.select(_badges.badge_id, sa.func.count(sa.distinct(_badges.member_key)).label("members"))
    .where(_badges.program_id == _program)
    .group_by(_badges.badge_id)
)
_COMPLETIONS = (
    sa.select(
        _progress.challenge_id,
        _progress.reward_state,
        sa.func.count().label("completions"),
        sa.func.sum(_progress.reward_points).label("points"),
    )
    .where(_progress.program_id == _program, _progress.complete_time.is_not(None))
    .group_by(_progress.challenge_id, _progress.reward_state)
)
_OPEN_INTENTIONS = sa.select(sa.func.count().label("open")).where(
    tables.kernel.intentions.c.program_id == _program,
    tables.kernel.intentions.c.close_time.is_(None),
)
_KNOWN_PROGRAMS = sa.select(tables.kernel.program_versions.c.program_id).distinct()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBadge:
    """A badge that a member holds."""

    badge_id: BadgeId
    challenge_id: str
    award_time: datetime


@dataclass(slots=True, kw_only=True)
class ChallengeCounts:
    """Completions of a challenge, and what became of their rewards."""

    completions: int = 0
    points_paid: int = 0
    rewards_owed: int = 0
    rewards_failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Counts of one program."""

    members: int
    badges: dict[str, int]
    challenges: dict[str, ChallengeCounts]
    intentions_open: int


async def program_ids(tx: Tx) -> list[str]:
    """Programs that have a document."""
    return sorted(str(row.program_id) for row in await tx.fetch(_KNOWN_PROGRAMS))


async def find_names(tx: Tx, members: Collection[MemberPlace]) -> dict[MemberPlace, MemberId]:
    """Identifiers by which members are shown."""
    columns = [_members.program_id, _members.member_key, _members.member_id]
    rows = await tx.select(columns, list(members), key=("program_id", "member_key"))
    return {
        (ProgramId(row.program_id), MemberKey(row.member_key)): MemberId(row.member_id)
        for row in rows
    }


async def progress_of_member(tx: Tx, member: MemberPlace) -> dict[ChallengeId, Progress]:
    """Everything that a member has started."""
    rows = await tx.select(tables.progress, [member], key=("program_id", "member_key"))
    return {ChallengeId(row.challenge_id): progress_of(row) for row in rows}


async def badges_of_members(
    tx: Tx, members: Iterable[MemberPlace]
) -> dict[MemberPlace, list[HeldBadge]]:
    """Badges of members, oldest first; members without any are left out."""
    rows = await tx.select(tables.badges, list(members), key=("program_id", "member_key"))
    found: dict[MemberPlace, list[HeldBadge]] = {}
    for row in sorted(rows, key=lambda row: (row.award_time, row.badge_id)):
        place = (ProgramId(row.program_id), MemberKey(row.member_key))
        found.setdefault(place, []).append(
            HeldBadge(
                badge_id=BadgeId(row.badge_id),
                challenge_id=row.challenge_id,
                award_time=row.award_time,
            )
        )
    return found


async def summary(tx: Tx, program_id: str) -> Summary:
    """Count members, badges, completions and what is still to be paid."""
    named = {"program": program_id}
    challenges: dict[str, ChallengeCounts] = {}
    for row in await tx.fetch(_COMPLETIONS, named):
        counts = challenges.setdefault(row.challenge_id, ChallengeCounts())
        counts.completions += int(row.completions)
        match RewardState(row.reward_state):
            case RewardState.PAID:
                counts.points_paid += int(row.points)
            case RewardState.OWED:
                counts.rewards_owed += int(row.completions)
            case RewardState.FAILED:
                counts.rewards_failed += int(row.completions)
            case RewardState.NOTHING_OWED:
                pass
    return Summary(
        members=int((await tx.fetch(_MEMBER_COUNT, named))[0].members),
        badges={row.badge_id: int(row.members) for row in await tx.fetch(_BADGE_COUNTS, named)},
        challenges=challenges,
        intentions_open=int((await tx.fetch(_OPEN_INTENTIONS, named))[0].open),
    )
