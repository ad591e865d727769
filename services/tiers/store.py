"""Loads and saves what a batch changes; with `store_reads.py` the only SQL of the service.

Every function takes many members at once.
A batch locks its members, in the order of their keys, before it loads what hangs on them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from services.tiers import rows, tables
from services.tiers.domain import Member
from services.tiers.ladders import (
    LadderId,
    LadderStart,
    LevelId,
    MembershipChanged,
    Qualified,
    Standing,
)
from services.tiers.rows import MemberPlace
from shared import member_names
from shared.database import Row, Tx

_MEMBER = ("program_id", "member_key")
_STANDING = ("program_id", "member_key", "ladder_id")
_DAY = (*_STANDING, "day")
_QUALIFIED = ("program_id", "member_key", "activity_id", "ladder_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfilledLadder:
    """A ladder on which not every member is known to have a level."""

    program_id: str
    ladder_id: str


_spend, _held, _starts = tables.spend_days.c, tables.memberships.c, tables.ladder_starts.c
_spend_since = sa.select(tables.spend_days).where(
    sa.tuple_(_spend.program_id, _spend.member_key).in_(sa.bindparam("places", expanding=True)),
    _spend.day >= sa.bindparam("since"),
)
_unfilled = (
    sa.select(_starts.program_id, _starts.ladder_id)
    .where(sa.not_(_starts.filled))
    .order_by(_starts.program_id, _starts.ladder_id)
)
_unplaced = (
    sa.select(tables.members.c.member_key)
    .where(
        tables.members.c.program_id == sa.bindparam("program_id"),
        tables.members.c.member_key > sa.bindparam("after"),
        ~sa.exists().where(
            _held.program_id == tables.members.c.program_id,
            _held.member_key == tables.members.c.member_key,
            _held.ladder_id == sa.bindparam("ladder_id"),
        ),
    )
    .order_by(tables.members.c.member_key)
    .limit(sa.bindparam("count"))
)


# A batch -----------------------------------------------------------------------------------------


async def lock_members(tx: Tx, places: Collection[MemberPlace]) -> dict[MemberPlace, Member]:
    """Lock the members that are known, in the order of their keys; the others are left out."""
    found_rows = await tx.select(tables.members, sorted(places), key=_MEMBER, lock=True)
    return {
        (str(row.program_id), str(row.member_key)): Member(
            program_id=row.program_id, member_key=row.member_key, enroll_time=row.enroll_time
        )
        for row in found_rows
    }


async def load_standings(
    tx: Tx,
    places: Collection[MemberPlace],
    activities: Collection[tuple[str, str, str]],
    since: date,
) -> dict[MemberPlace, dict[LadderId, Standing]]:
    """Load the levels, the spend of the days from `since` on, and what of `activities` counted.

    The days of those activities are loaded too, however old they are.
    `activities` are (program_id, member_key, activity_id).
    """
    if not places:
        return {}
    keys = sorted(places)
    held = await tx.select(tables.memberships, keys, key=_MEMBER)
    counted = await tx.select(
        tables.qualified_activities,
        sorted(activities),
        key=("program_id", "member_key", "activity_id"),
    )
    first = min((row.day for row in counted), default=since)
    spend = await tx.fetch(_spend_since, {"places": keys, "since": min(first, since)})
    return _standings(held, spend, counted)


def _standings(
    held: Iterable[Row], spend: Iterable[Row], counted: Iterable[Row]
) -> dict[MemberPlace, dict[LadderId, Standing]]:
    memberships = {rows.standing_of(row): rows.membership_of(row) for row in held}
    days: dict[tuple[MemberPlace, LadderId], dict[date, int]] = {}
    for row in spend:
        days.setdefault(rows.standing_of(row), {})[row.day] = row.amount_minor
    qualified: dict[tuple[MemberPlace, LadderId], dict[str, Qualified]] = {}
    for row in counted:
        qualified.setdefault(rows.standing_of(row), {})[row.activity_id] = rows.qualified_of(row)
    found: dict[MemberPlace, dict[LadderId, Standing]] = {}
    for place, ladder_id in {*memberships, *days, *qualified}:
        found.setdefault(place, {})[ladder_id] = Standing(
            ladder_id=ladder_id,
            membership=memberships.get((place, ladder_id)),
            spend=days.get((place, ladder_id), {}),
            qualified=qualified.get((place, ladder_id), {}),
        )
    return found


async def save_members(
    tx: Tx, changed: Sequence[tuple[Member | None, Member]], changes: Sequence[MembershipChanged]
) -> None:
    """Save members as they became (what they were, what they are), and the decisions on them."""
    members: list[dict[str, object]] = []
    identifiers: list[dict[str, object]] = []
    memberships: list[dict[str, object]] = []
    spend: list[dict[str, object]] = []
    qualified: list[dict[str, object]] = []
    for before, after in changed:
        place = {"program_id": after.program_id, "member_key": after.member_key}
        if before is None or before.enroll_time is None:
            members.append({**place, "enroll_time": after.enroll_time})
        identifiers += [
            {**place, "identifier": each, "assign_time": after.enroll_time}
            for each in after.identifiers
        ]
        for ladder_id, standing in after.standings.items():
            key = {**place, "ladder_id": ladder_id}
            known = (before.standings.get(ladder_id) if before else None) or Standing(
                ladder_id=ladder_id
            )
            if standing.membership is not None and standing.membership != known.membership:
                memberships.append({**key, **rows.membership_row(standing.membership)})
            spend += [
                {**key, "day": day, "amount_minor": amount}
                for day, amount in standing.spend.items()
                if known.spend.get(day) != amount
            ]
            qualified += [
                {**key, **rows.qualified_row(each)}
                for activity_id, each in standing.qualified.items()
                if known.qualified.get(activity_id) != each
            ]
    await tx.insert(tables.members, members)
    await member_names.note(tx, tables.member_identifiers, identifiers)
    await _upsert(tx, tables.memberships, memberships, _STANDING)
    await _upsert(tx, tables.spend_days, spend, _DAY)
    await _upsert(tx, tables.qualified_activities, qualified, _QUALIFIED)
    await tx.insert(tables.membership_changes, [rows.change_row(each) for each in changes])


async def _upsert(
    tx: Tx, table: sa.Table, rows: Sequence[Mapping[str, object]], key: Sequence[str]
) -> None:
    update = [column.name for column in table.columns if column.name not in key]
    await tx.upsert(table, rows, key=key, update=update)


# Ladders -----------------------------------------------------------------------------------------


async def load_starts(
    tx: Tx, program_ids: Collection[str]
) -> dict[str, dict[LadderId, LadderStart]]:
    """Since when each ladder that a program ever had has been there."""
    found_rows = await tx.select(
        tables.ladder_starts, [(each,) for each in sorted(program_ids)], key=("program_id",)
    )
    found: dict[str, dict[LadderId, LadderStart]] = {}
    for row in found_rows:
        found.setdefault(row.program_id, {})[LadderId(row.ladder_id)] = LadderStart(
            start_time=row.start_time,
            program_version=row.program_version,
            level_id=LevelId(row.level_id),
        )
    return found


async def save_starts(
    tx: Tx,
    program_id: str,
    *,
    starts: Mapping[LadderId, LadderStart],
    appeared: Collection[LadderId],
    gone: Collection[LadderId],
) -> None:
    """Remember when ladders began, once and for ever; those that appeared are to be filled."""
    rows = [
        {
            "program_id": program_id,
            "ladder_id": ladder_id,
            "start_time": start.start_time,
            "program_version": start.program_version,
            "level_id": start.level_id,
            "filled": False,
        }
        for ladder_id, start in starts.items()
    ]
    await tx.insert(tables.ladder_starts, rows, ignore_conflicts=True)
    flags = {**dict.fromkeys(appeared, False), **dict.fromkeys(gone, True)}
    await set_filled(tx, {(program_id, ladder_id): flag for ladder_id, flag in flags.items()})


async def set_filled(tx: Tx, flags: Mapping[tuple[str, str], bool]) -> None:
    """Say of (program_id, ladder_id) whether every member is known to have a level on it."""
    rows = [
        {"program_id": program_id, "ladder_id": ladder_id, "filled": filled}
        for (program_id, ladder_id), filled in sorted(flags.items())
    ]
    await tx.update(tables.ladder_starts, rows, key=("program_id", "ladder_id"))


async def unfilled_ladders(tx: Tx) -> list[UnfilledLadder]:
    """Ladders on which members may still lack a level, in the order of their ids."""
    found_rows = await tx.fetch(_unfilled)
    return [
        UnfilledLadder(program_id=row.program_id, ladder_id=row.ladder_id) for row in found_rows
    ]


async def unplaced_members(
    tx: Tx, program_id: str, ladder_id: str, *, after: str, count: int
) -> list[str]:
    """Keys, above `after` and ascending, of members without a level on the ladder."""
    found_rows = await tx.fetch(
        _unplaced,
        {"program_id": program_id, "ladder_id": ladder_id, "after": after, "count": count},
    )
    return [str(row.member_key) for row in found_rows]
