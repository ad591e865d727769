"""Loads and saves what rules count across activities; every statement takes a whole batch."""

from collections.abc import Collection
from fractions import Fraction

import sqlalchemy as sa

from services.earning import store_members, tables
from services.earning.counts import CarryKey, CountKey, Counts, Place
from services.earning.domain import ProgramId
from shared.database import Tx

_COUNT = ("program_id", "member_key", "cap_id", "period")
_REMAINDER = ("program_id", "member_key", "currency_id")
_MEMBER = ("program_id", "member_key")

_types = (
    sa.select(
        tables.activities.c.member_key,
        tables.activities.c.type,
        sa.func.count().label("number"),
    )
    .where(
        tables.activities.c.program_id == sa.bindparam("program_id"),
        tables.activities.c.member_key.in_(sa.bindparam("member_keys", expanding=True)),
        tables.activities.c.type.in_(sa.bindparam("types", expanding=True)),
    )
    .group_by(tables.activities.c.member_key, tables.activities.c.type)
)


_merged = sa.select(tables.members.c.member_key, tables.members.c.merged_into).where(
    tables.members.c.program_id == sa.bindparam("program_id"),
    tables.members.c.merged_into.in_(sa.bindparam("member_keys", expanding=True)),
    tables.members.c.merged_into != sa.literal_column("''"),
)


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
    keys = {"program_id": program_id, "member_keys": sorted(members)}
    merged = {row.member_key: row.merged_into for row in await tx.fetch(_merged, keys)}
    keys["member_keys"] = sorted({*members, *merged})
    for row in await tx.fetch(_types, {**keys, "types": sorted(types)}):
        key = (program_id, merged.get(row.member_key, row.member_key), row.type)
        counts.types[key] = counts.types.get(key, 0) + row.number


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
