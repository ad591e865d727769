"""Reads what a verification compares of referrals, a page at a time."""

from collections.abc import Iterable, Iterator, Sequence

import sqlalchemy as sa

from services.earning import rows, store_members, store_referrals, tables
from services.earning.domain import ActivityId, ActivityRecord, Entry, MemberKey, ProgramId
from services.earning.referral_records import Booking, Referral
from shared.database import Row, Tx

_ACTIVITY = ("program_id", "activity_id")
_ENTRY = ("program_id", "member_key", "currency_id", "sequence")
_PIECE = 2_000

Place = tuple[str, str, int]

_referrals, _entries = tables.referrals.c, tables.referral_entries.c
_page = (
    sa.select(tables.referrals)
    .where(
        _referrals.program_id == sa.bindparam("program_id"),
        _referrals.referral_id > sa.bindparam("after"),
    )
    .order_by(_referrals.referral_id)
    .limit(sa.bindparam("count"))
)
_count = (
    sa.select(sa.func.count().label("number"))
    .select_from(tables.referrals)
    .where(_referrals.program_id == sa.bindparam("program_id"))
)
_lost = (
    sa.select(_entries.referral_id)
    .select_from(
        tables.referral_entries.outerjoin(
            tables.referrals,
            sa.and_(
                _referrals.program_id == _entries.program_id,
                _referrals.referral_id == _entries.referral_id,
            ),
        )
    )
    .where(_entries.program_id == sa.bindparam("program_id"), _referrals.referral_id.is_(None))
    .order_by(_entries.referral_id)
    .limit(1_000)
)


async def count(tx: Tx, program_id: ProgramId) -> int:
    """Number of referrals of a program."""
    return int((await tx.fetch(_count, {"program_id": program_id}))[0].number)


async def lost(tx: Tx, program_id: ProgramId) -> list[str]:
    """Referrals that bookings name and that are not there, at most 1,000."""
    found = await tx.fetch(_lost, {"program_id": program_id})
    return list(dict.fromkeys([row.referral_id for row in found]))


async def page(tx: Tx, program_id: ProgramId, after: str, size: int) -> list[Referral]:
    """Referrals whose identifier is above `after`, in that order."""
    keys = {"program_id": program_id, "after": after, "count": size}
    return [store_referrals.referral_of(row) for row in await tx.fetch(_page, keys)]


async def entries_of(tx: Tx, bookings: Sequence[Booking]) -> dict[Place, Entry]:
    """Entries that bookings name; odd ones are left out."""
    places = [
        (each.program_id, each.member_key, each.currency_id, each.sequence) for each in bookings
    ]
    entries: dict[Place, Entry] = {}
    for row in await tx.select(tables.entries, places, key=_ENTRY):
        try:
            entry = rows.entry_of(row, ())
        except ValueError:
            continue  # the stage of the wallets says what is wrong with it
        entries[entry.member_key, entry.currency_id, entry.sequence] = entry
    return entries


async def activities_of(tx: Tx, referrals: Sequence[Referral]) -> dict[ActivityId, ActivityRecord]:
    """Activities that brought the rewards of referrals."""
    keys = [(each.program_id, each.activity_id) for each in referrals if each.activity_id]
    lines: dict[str, list[Row]] = {}
    for row in await tx.select(
        tables.activity_lines, keys, key=_ACTIVITY, order_by=(*_ACTIVITY, "line_number")
    ):
        lines.setdefault(row.activity_id, []).append(row)
    found = await tx.select(tables.activities, keys, key=_ACTIVITY)
    return {
        row.activity_id: rows.activity_of(row, rows.lines_of(lines.get(row.activity_id, ())))
        for row in found
    }


async def merged(
    tx: Tx,
    referrals: Iterable[Referral],
    bookings: Iterable[Booking],
    activities: Iterable[ActivityRecord],
) -> dict[MemberKey, MemberKey]:
    """Of members that are named, those that were merged, with whom they went to."""
    places = {
        (each.program_id, key) for each in referrals for key in (each.friend_key, each.referrer_key)
    }
    places |= {(each.program_id, each.member_key) for each in bookings}
    places |= {(each.program_id, each.member_key) for each in activities}
    found = await store_members.merged_into(tx, sorted(places))
    return {place[1]: target for place, target in found.items()}


async def booked(tx: Tx, program_id: ProgramId, made: Sequence[Entry]) -> set[Place]:
    """Those of entries of referrals that are known to be."""
    known: set[Place] = set()
    for piece in _pieces(made):
        keys = [(program_id, each.member_key, each.currency_id, each.sequence) for each in piece]
        for row in await tx.select(tables.referral_entries, keys, key=_ENTRY):
            known.add((row.member_key, row.currency_id, row.sequence))
    return known


def _pieces(made: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    for start in range(0, len(made), _PIECE):
        yield made[start : start + _PIECE]
