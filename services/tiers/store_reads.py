"""Reads what tiers holds, for answers and for verification; with `store.py` the only SQL."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, datetime

import sqlalchemy as sa

from services.tiers import rows, tables
from services.tiers.ladders import LadderId, Membership, MembershipChanged, Qualified
from shared.database import Tx

_STANDING = ("program_id", "member_key", "ladder_id")

_spend, _held, _changed = tables.spend_days.c, tables.memberships.c, tables.membership_changes.c
_later = tables.membership_changes.alias("later")
_level = sa.case(
    (
        sa.or_(_held.effective_time <= sa.bindparam("now"), _held.before_since_time.is_(None)),
        _held.level_id,
    ),
    else_=_held.before_level_id,
).label("level_id")
_level_counts = (
    sa.select(_held.ladder_id, _level, sa.func.count().label("members"))
    .where(_held.program_id == sa.bindparam("program_id"))
    .group_by(_held.ladder_id, sa.text("2"))
)
_member_count = sa.select(sa.func.count().label("members")).where(
    tables.members.c.program_id == sa.bindparam("program_id")
)
_net_spend = (
    sa.select(
        _spend.member_key,
        sa.cast(sa.func.sum(_spend.amount_minor), sa.BigInteger).label("amount_minor"),
    )
    .where(
        _spend.program_id == sa.bindparam("program_id"),
        _spend.member_key.in_(sa.bindparam("member_keys", expanding=True)),
        _spend.ladder_id == sa.bindparam("ladder_id"),
        _spend.day.between(sa.bindparam("first"), sa.bindparam("last")),
    )
    .group_by(_spend.member_key)
)
_changes = (
    sa.select(
        tables.membership_changes,
        sa.exists()
        .where(
            _later.c.program_id == _changed.program_id,
            _later.c.member_key == _changed.member_key,
            _later.c.ladder_id == _changed.ladder_id,
            _later.c.sequence == _changed.sequence + 1,
            _later.c.effective_time == _changed.effective_time,
        )
        .label("superseded"),
    )
    .where(
        _changed.program_id == sa.bindparam("program_id"),
        _changed.member_key == sa.bindparam("member_key"),
        _changed.ladder_id == sa.bindparam("ladder_id"),
        _changed.sequence < sa.bindparam("before"),
    )
    .order_by(_changed.sequence.desc())
    .limit(sa.bindparam("count"))
)
_PER_MEMBER = (
    tables.members,
    tables.memberships,
    tables.spend_days,
    tables.qualified_activities,
    tables.membership_changes,
)
_programs = sa.union(*(sa.select(table.c.program_id) for table in _PER_MEMBER))
_ranges = {
    table: sa.select(table).where(
        table.c.program_id == sa.bindparam("program_id"),
        table.c.member_key >= sa.bindparam("first_key"),
        table.c.member_key < sa.bindparam("end_key"),
    )
    for table in _PER_MEMBER
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedChange:
    """A decision, and whether a later one for the same instant stands in its place."""

    change: MembershipChanged
    superseded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """All that is stored of some members of one program; keys begin with the member key."""

    enroll_times: dict[str, datetime] = field(default_factory=dict)
    memberships: dict[tuple[str, LadderId], Membership] = field(default_factory=dict)
    spend: dict[tuple[str, LadderId, date], int] = field(default_factory=dict)
    qualified: dict[tuple[str, LadderId, str], Qualified] = field(default_factory=dict)
    changes: dict[tuple[str, LadderId, int], MembershipChanged] = field(default_factory=dict)


async def member_keys(tx: Tx, program_id: str, identifiers: Collection[str]) -> dict[str, str]:
    """Member key by identifier; identifiers that nobody has are left out."""
    keys = [(program_id, each) for each in sorted(set(identifiers))]
    found = await tx.select(tables.member_identifiers, keys, key=("program_id", "identifier"))
    return {str(row.identifier): str(row.member_key) for row in found}


async def memberships(
    tx: Tx, program_id: str, ladder_id: str, keys: Collection[str]
) -> dict[str, Membership]:
    """Membership by member key; members that are not on the ladder yet are left out."""
    places = [(program_id, key, ladder_id) for key in sorted(keys)]
    found = await tx.select(tables.memberships, places, key=_STANDING)
    return {str(row.member_key): rows.membership_of(row) for row in found}


async def net_spends(
    tx: Tx, program_id: str, ladder_id: str, keys: Collection[str], first: date, last: date
) -> dict[str, int]:
    """Net spend of the days `first` to `last` by member key; members without any are left out."""
    if not keys:
        return {}
    found = await tx.fetch(
        _net_spend,
        {
            "program_id": program_id,
            "member_keys": sorted(keys),
            "ladder_id": ladder_id,
            "first": first,
            "last": last,
        },
    )
    return {str(row.member_key): int(row.amount_minor) for row in found}


async def list_changes(
    tx: Tx, program_id: str, member_key: str, ladder_id: str, *, before: int, count: int
) -> list[ListedChange]:
    """Decisions with a sequence below `before`, newest first."""
    found = await tx.fetch(
        _changes,
        {
            "program_id": program_id,
            "member_key": member_key,
            "ladder_id": ladder_id,
            "before": before,
            "count": count,
        },
    )
    return [
        ListedChange(change=rows.change_of(row), superseded=bool(row.superseded)) for row in found
    ]


async def member_count(tx: Tx, program_id: str) -> int:
    """Number of members of a program."""
    return int((await tx.fetch(_member_count, {"program_id": program_id}))[0].members)


async def level_counts(tx: Tx, program_id: str, now: datetime) -> dict[tuple[str, str], int]:
    """Members by (ladder_id, level_id that is effective), ladders that are gone included."""
    found = await tx.fetch(_level_counts, {"program_id": program_id, "now": now})
    return {(str(row.ladder_id), str(row.level_id)): int(row.members) for row in found}


async def program_ids(tx: Tx) -> list[str]:
    """Programs of which anything is stored."""
    return sorted(str(row.program_id) for row in await tx.fetch(_programs))


async def held(tx: Tx, program_id: str, first_key: str, end_key: str) -> Held:
    """All that is stored of the members with keys from `first_key` to below `end_key`."""
    bounds = {"program_id": program_id, "first_key": first_key, "end_key": end_key}
    stored = Held()
    for row in await tx.fetch(_ranges[tables.members], bounds):
        stored.enroll_times[row.member_key] = row.enroll_time
    for row in await tx.fetch(_ranges[tables.memberships], bounds):
        stored.memberships[row.member_key, row.ladder_id] = rows.membership_of(row)
    for row in await tx.fetch(_ranges[tables.spend_days], bounds):
        stored.spend[row.member_key, row.ladder_id, row.day] = row.amount_minor
    for row in await tx.fetch(_ranges[tables.qualified_activities], bounds):
        key = row.member_key, row.ladder_id, row.activity_id
        stored.qualified[key] = rows.qualified_of(row)
    for row in await tx.fetch(_ranges[tables.membership_changes], bounds):
        key = row.member_key, row.ladder_id, row.sequence
        stored.changes[key] = rows.change_of(row)
    return stored
