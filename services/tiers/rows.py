"""Values of tiers as rows of its tables, both ways; no SQL and no decision."""

from typing import TypeAlias

from services.tiers.ladders import (
    LadderId,
    LevelId,
    Membership,
    MembershipChanged,
    Qualified,
    Reason,
)
from shared import record
from shared.database import Row

MemberPlace: TypeAlias = tuple[str, str]
"""program_id, member_key"""


def membership_of(row: Row) -> Membership:
    """Membership of a row of `memberships`."""
    return Membership(
        level_id=LevelId(row.level_id),
        effective_time=row.effective_time,
        since_time=row.since_time,
        before_level_id=LevelId(row.before_level_id),
        before_since_time=row.before_since_time,
        sequence=row.sequence,
    )


def qualified_of(row: Row) -> Qualified:
    """What counted, of a row of `qualified_activities`."""
    return Qualified(
        activity_id=row.activity_id,
        day=row.day,
        program_version=row.program_version,
        lines=record.loads(tuple[int, ...], row.lines),
        amount_minor=row.amount_minor,
        amount_minor_total=row.amount_minor_total,
        amount_minor_given_back=row.amount_minor_given_back,
    )


def change_of(row: Row) -> MembershipChanged:
    """Decision of a row of `membership_changes`."""
    return MembershipChanged(
        program_id=row.program_id,
        member_key=row.member_key,
        ladder_id=LadderId(row.ladder_id),
        sequence=row.sequence,
        level_id=LevelId(row.level_id),
        level_rank=row.level_rank,
        previous_level_id=LevelId(row.previous_level_id),
        effective_time=row.effective_time,
        decide_time=row.decide_time,
        reason=Reason(row.reason),
        program_version=row.program_version,
    )


def standing_of(row: Row) -> tuple[MemberPlace, LadderId]:
    """Which member and ladder a row of any of the tables is about."""
    return (str(row.program_id), str(row.member_key)), LadderId(row.ladder_id)


def membership_row(membership: Membership) -> dict[str, object]:
    """Columns of `memberships` beside the key."""
    return {
        "level_id": membership.level_id,
        "effective_time": membership.effective_time,
        "since_time": membership.since_time,
        "before_level_id": membership.before_level_id,
        "before_since_time": membership.before_since_time,
        "sequence": membership.sequence,
    }


def qualified_row(qualified: Qualified) -> dict[str, object]:
    """Columns of `qualified_activities` beside program, member and ladder."""
    return {
        "activity_id": qualified.activity_id,
        "day": qualified.day,
        "program_version": qualified.program_version,
        "lines": record.dumps(qualified.lines),
        "amount_minor": qualified.amount_minor,
        "amount_minor_total": qualified.amount_minor_total,
        "amount_minor_given_back": qualified.amount_minor_given_back,
    }


def change_row(changed: MembershipChanged) -> dict[str, object]:
    """Columns of `membership_changes`."""
    return {
        "program_id": changed.program_id,
        "member_key": changed.member_key,
        "ladder_id": changed.ladder_id,
        "sequence": changed.sequence,
        "level_id": changed.level_id,
        "level_rank": changed.level_rank,
        "previous_level_id": changed.previous_level_id,
        "effective_time": changed.effective_time,
        "decide_time": changed.decide_time,
        "reason": changed.reason.value,
        "program_version": changed.program_version,
    }
