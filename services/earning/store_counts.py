"""Loads and saves what rules count across activities; every statement takes a whole batch."""

from collections.abc import Collection, Sequence
from fractions import Fraction
from typing import cast

import sqlalchemy as sa

from services.earning import store_members, tables
from services.earning.counts import CarryKey, CountKey, Counts, Place
from services.earning.domain import MemberKey, ProgramId
from shared.database import Tx
from shared.statements import DIALECTS, DialectName, among, one_text

_COUNT = ("program_id", "member_key", "cap_id", "period")
_REMAINDER = ("program_id", "member_key", "currency_id")
_MEMBER = ("program_id", "member_key")

_activities, _members = tables.activities.c, tables.members.c


def _types_of(dialect: DialectName) -> sa.CompoundSelect[tuple[str, str, int]]:
    """How many activities of some types members have, and those who were merged into them."""
    kind = among(dialect, _activities.type, "types")
    number = sa.func.count().label("number")
    own = (
        sa.select(_activities.member_key, _activities.type, number)
        .where(
            _activities.program_id == sa.bindparam("program_id"),
            among(dialect, _activities.member_key, "member_keys"),
            kind,
        )
        .group_by(_activities.member_key, _activities.type)
    )
    merged = (
        sa.select(_members.merged_into, _activities.type, number)
        .select_from(tables.members)
        .join(
            tables.activities,
            (_activities.program_id == _members.program_id)
            & (_activities.member_key == _members.member_key),
        )
        .where(
            _members.program_id == sa.bindparam("program_id"),
            among(dialect, _members.merged_into, "member_keys"),
            _members.merged_into != sa.literal_column("''"),
            kind,
        )
        .group_by(_members.merged_into, _activities.type)
    )
    return sa.union_all(own, merged)


_types = {dialect: _types_of(dialect) for dialect in DIALECTS}


async def load_caps(tx: Tx, counts: Counts, keys: Collection[CountKey]) -> None:
    """What caps counted, behind the locks of the members' wallets."""
    for row in await tx.select(tables.cap_counts, list(keys), key=_COUNT):
        key = (row.program_id, row.member_key, row.cap_id, row.period)
        counts.caps[key] = row.points


async def load_remainders(tx: Tx, counts: Counts, keys: Collection[CarryKey]) -> None:
    """Fractions of points that were not given yet, of members and currencies."""
    for row in await tx.select(tables.remainders, list(keys), key=_REMAINDER):
        key = (row.program_id, row.member_key, row.currency_id)
        counts.carried[key] = Fraction(row.remainder)


async def load_all(tx: Tx, counts: Counts, places: Collection[Place]) -> None:
    """Everything that caps counted for members and that they carry."""
    for row in await tx.select(tables.cap_counts, sorted(places), key=_MEMBER):
        counts.caps[row.program_id, row.member_key, row.cap_id, row.period] = row.points
    for row in await tx.select(tables.remainders, sorted(places), key=_MEMBER):
        key = (row.program_id, row.member_key, row.currency_id)
        counts.carried[key] = Fraction(row.remainder)


async def load_types(
    tx: Tx, counts: Counts, program_id: ProgramId, members: Collection[str], types: Collection[str]
) -> None:
    """How many activities of some types members have, with those who were merged into them."""
    if not members or not types:
        return
    asked = {
        "program_id": program_id,
        "member_keys": one_text(tx.dialect, sorted(members)),
        "types": one_text(tx.dialect, sorted(types)),
    }
    rows = await tx.plain(_types[tx.dialect], asked)
    for member_key, type_, number in cast("Sequence[tuple[str, str, int]]", rows):
        key = (program_id, MemberKey(member_key), type_)
        counts.types[key] = counts.types.get(key, 0) + number


async def load_profiles(tx: Tx, counts: Counts, places: Collection[Place]) -> None:
    """What is told of members, and since when they are."""
    counts.profiles.update(await store_members.profiles(tx, places))
    for row in await tx.select(tables.members, list(places), key=_MEMBER):
        counts.enrolled[row.program_id, row.member_key] = row.enroll_time


async def save(tx: Tx, counts: Counts) -> None:
    """Write what a batch counted of members."""
    await tx.upsert(
        tables.cap_counts,
        [
            {**dict(zip(_COUNT, key, strict=True)), "points": counts.caps[key]}
            for key in sorted(counts.changed_caps)
        ],
        key=_COUNT,
        update=("points",),
    )
    await tx.upsert(
        tables.remainders,
        [
            {**dict(zip(_REMAINDER, key, strict=True)), "remainder": str(counts.carried[key])}
            for key in sorted(counts.changed_carried)
        ],
        key=_REMAINDER,
        update=("remainder",),
    )
