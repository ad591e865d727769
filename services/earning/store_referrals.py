"""Referrals and their codes: loaded, saved, listed; the only SQL about them."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa

from services.earning import tables
from services.earning.domain import CurrencyId, EntryType, MemberKey, ProgramId
from services.earning.referral_records import (
    Booking,
    Referral,
    ReferralId,
    ReferralState,
    Side,
    code_of,
)
from services.earning.referrals import ABOVE_MAX
from services.earning.referrals_world import Referrals
from services.earning.world import ActivityKey, MemberPlace
from shared import errors
from shared.database import Row, Tx, to_micros

_REFERRAL = ("program_id", "referral_id")
_FRIEND = ("program_id", "friend_key")
_ACTIVITY = ("program_id", "activity_id")
_CODE = ("program_id", "code")
_MEMBER = ("program_id", "member_key")
_ATTEMPTS = 8

_codes, _referrals = tables.referral_codes.c, tables.referrals.c
_activities = tables.activities.c
_text = sa.Text


def _param(name: str) -> sa.BindParameter[str]:
    return sa.bindparam(name, type_=_text)


_first = sa.select(
    _referrals.friend_key, _referrals.referrer_key, sa.literal_column("1").label("depth")
).where(
    _referrals.program_id == _param("program_id"),
    _referrals.friend_key.in_(sa.bindparam("members", expanding=True)),
)
_chain = _first.cte("chain", recursive=True)
_above = sa.select(
    _chain.union(
        sa.select(_referrals.friend_key, _referrals.referrer_key, _chain.c.depth + 1)
        .select_from(tables.referrals.join(_chain, _referrals.friend_key == _chain.c.referrer_key))
        .where(
            _referrals.program_id == _param("program_id"),
            _chain.c.depth < sa.literal_column(str(ABOVE_MAX + 1)),
        )
    )
)
_rewarded = (
    sa.select(_referrals.referrer_key, sa.func.count().label("friends"))
    .where(
        _referrals.program_id == _param("program_id"),
        _referrals.referrer_key.in_(sa.bindparam("members", expanding=True)),
        _referrals.state == sa.literal_column("'rewarded'"),
    )
    .group_by(_referrals.referrer_key)
)
_deeds = (
    sa.select(_activities.content)
    .where(
        _activities.program_id == _param("program_id"),
        _activities.member_key.in_(sa.bindparam("members", expanding=True)),
    )
    .order_by(_activities.create_time, _activities.activity_id)
    .limit(sa.bindparam("count"))
)
_deeds_of_types = _deeds.where(_activities.type.in_(sa.bindparam("types", expanding=True)))
_page = (
    sa.select(tables.referrals)
    .where(
        _referrals.program_id == _param("program_id"),
        _referrals.referrer_key == _param("member_key"),
        _referrals.state.in_(sa.bindparam("states", expanding=True)),
        sa.or_(
            _referrals.claim_time < sa.bindparam("before_time", type_=sa.BigInteger),
            sa.and_(
                _referrals.claim_time == sa.bindparam("before_time", type_=sa.BigInteger),
                _referrals.referral_id < _param("before_id"),
            ),
        ),
    )
    .order_by(_referrals.claim_time.desc(), _referrals.referral_id.desc())
    .limit(sa.bindparam("count"))
)
_brought = (
    sa.update(tables.referrals)
    .where(
        _referrals.program_id == _param("in_program"),
        _referrals.referrer_key == _param("ended"),
        _referrals.friend_key != _param("goes_to"),
    )
    .values(referrer_key=_param("goes_to"))
)
_coded = (
    sa.update(tables.referral_codes)
    .where(_codes.program_id == _param("in_program"), _codes.member_key == _param("ended"))
    .values(member_key=_param("goes_to"))
)


# Loading -----------------------------------------------------------------------------------------


async def of_friends(tx: Tx, places: Collection[MemberPlace]) -> list[Referral]:
    """Referrals by which members came."""
    found = await tx.select(tables.referrals, sorted(places), key=_FRIEND)
    return [referral_of(row) for row in found]


async def by_ids(tx: Tx, keys: Collection[tuple[ProgramId, ReferralId]]) -> list[Referral]:
    """Referrals; unknown ones are left out."""
    found = await tx.select(tables.referrals, sorted(keys), key=_REFERRAL)
    return [referral_of(row) for row in found]


async def of_activities(tx: Tx, keys: Collection[ActivityKey]) -> list[Referral]:
    """Referrals that activities brought rewards for."""
    found = await tx.select(tables.referrals, sorted(keys), key=_ACTIVITY)
    return [referral_of(row) for row in found]


async def bookings(tx: Tx, found: Iterable[Referral]) -> list[Booking]:
    """Entries that referrals made."""
    keys = sorted([(each.program_id, each.referral_id) for each in found])
    return [
        booking_of(row) for row in await tx.select(tables.referral_entries, keys, key=_REFERRAL)
    ]


async def owners(
    tx: Tx, codes: Collection[tuple[ProgramId, str]]
) -> dict[tuple[ProgramId, str], MemberKey]:
    """Members whom codes belong to; unknown codes are left out."""
    found = await tx.select(tables.referral_codes, sorted(codes), key=_CODE)
    return {(row.program_id, row.code): MemberKey(row.member_key) for row in found}


async def above(
    tx: Tx, program_id: ProgramId, members: Collection[MemberKey]
) -> dict[MemberKey, MemberKey]:
    """Who brought members, and who brought these, and so on up.

    A chain is told so far that one which is too long is seen to be.
    """
    found = await tx.fetch(_above, {"program_id": program_id, "members": sorted(members)})
    return {MemberKey(row.friend_key): MemberKey(row.referrer_key) for row in found}


async def rewarded(
    tx: Tx, program_id: ProgramId, members: Collection[MemberKey]
) -> dict[MemberPlace, int]:
    """For how many friends each of the members was rewarded, behind the locks of their wallets."""
    found = await tx.fetch(_rewarded, {"program_id": program_id, "members": sorted(members)})
    counted = {MemberKey(row.referrer_key): int(row.friends) for row in found}
    return {(program_id, key): counted.get(key, 0) for key in members}


async def contents(
    tx: Tx,
    program_id: ProgramId,
    members: Sequence[MemberKey],
    types: Collection[str],
    count: int,
) -> list[bytes]:
    """Contents of members' first activities, of some types if any are named, at most `count`."""
    keys: dict[str, object] = {"program_id": program_id, "members": list(members), "count": count}
    if types:
        found = await tx.fetch(_deeds_of_types, {**keys, "types": sorted(types)})
    else:
        found = await tx.fetch(_deeds, keys)
    return [bytes(row.content) for row in found]


async def page(
    tx: Tx,
    program_id: ProgramId,
    referrer: MemberKey,
    states: Sequence[ReferralState],
    *,
    before: tuple[datetime, str],
    count: int,
) -> list[Referral]:
    """Referrals of a member in some states, the latest claim first, at most `count`."""
    found = await tx.fetch(
        _page,
        {
            "program_id": program_id,
            "member_key": referrer,
            "states": [each.value for each in states],
            "before_time": to_micros(before[0]),
            "before_id": before[1],
            "count": count,
        },
    )
    return [referral_of(row) for row in found]


def referral_of(row: Row) -> Referral:
    """The referral of a row."""
    return Referral(
        program_id=row.program_id,
        referral_id=ReferralId(row.referral_id),
        friend_key=row.friend_key,
        referrer_key=row.referrer_key,
        state=ReferralState(row.state),
        claim_time=row.claim_time,
        currency_id=CurrencyId(row.currency_id),
        friend_points=row.friend_points,
        referrer_points=row.referrer_points,
        friend_points_reversed=row.friend_points_reversed,
        referrer_points_reversed=row.referrer_points_reversed,
        activity_id=row.activity_id,
        reward_time=row.reward_time,
        reverse_time=row.reverse_time,
    )


def booking_of(row: Row) -> Booking:
    """The booking of a row."""
    return Booking(
        program_id=row.program_id,
        referral_id=ReferralId(row.referral_id),
        side=Side(row.side),
        type=EntryType(row.type),
        member_key=row.member_key,
        currency_id=CurrencyId(row.currency_id),
        sequence=row.sequence,
        points=row.points,
    )


# Codes -------------------------------------------------------------------------------------------


async def codes_of(tx: Tx, places: Collection[MemberPlace]) -> dict[MemberPlace, str]:
    """The codes of members, the oldest of those who have several because they were merged."""
    found = await tx.select(
        tables.referral_codes,
        sorted(places),
        key=_MEMBER,
        order_by=("create_time", "code"),
    )
    codes: dict[MemberPlace, str] = {}
    for row in found:
        codes.setdefault((row.program_id, MemberKey(row.member_key)), row.code)
    return codes


async def all_codes(tx: Tx, places: Collection[MemberPlace]) -> list[str]:
    """All codes of members, the oldest first."""
    found = await tx.select(
        tables.referral_codes, sorted(places), key=_MEMBER, order_by=("create_time", "code")
    )
    return [row.code for row in found]


async def make_code(tx: Tx, place: MemberPlace, chance: bytes, now: datetime) -> str:
    """Give a member whose wallet is locked, and who has no code, one that nobody has."""
    for attempt in range(_ATTEMPTS):
        row = {
            "program_id": place[0],
            "code": code_of(chance, attempt),
            "member_key": place[1],
            "create_time": now,
        }
        made = await tx.insert(
            tables.referral_codes, [row], ignore_conflicts=True, returning=["code"]
        )
        if made:
            return str(row["code"])
    raise errors.Interrupted


# Saving ------------------------------------------------------------------------------------------


async def save(tx: Tx, referrals: Referrals) -> None:
    """Write what commands changed of referrals."""
    made = set(referrals.made)
    await tx.insert(tables.referrals, [_row(referrals.by_id[each]) for each in referrals.made])
    changed = sorted(referrals.changed - made)
    await tx.update(
        tables.referrals, [_row(referrals.by_id[each]) for each in changed], key=_REFERRAL
    )
    await tx.insert(tables.referral_entries, [_booking_row(each) for each in referrals.booked])
    for program_id, source, target in referrals.ended:
        keys = {"in_program": program_id, "ended": source, "goes_to": target}
        await tx.execute(_brought, keys)
        await tx.execute(_coded, keys)


def _row(referral: Referral) -> dict[str, object]:
    return {
        "program_id": referral.program_id,
        "referral_id": referral.referral_id,
        "friend_key": referral.friend_key,
        "referrer_key": referral.referrer_key,
        "state": referral.state.value,
        "claim_time": referral.claim_time,
        "currency_id": referral.currency_id,
        "friend_points": referral.friend_points,
        "referrer_points": referral.referrer_points,
        "friend_points_reversed": referral.friend_points_reversed,
        "referrer_points_reversed": referral.referrer_points_reversed,
        "activity_id": referral.activity_id,
        "reward_time": referral.reward_time,
        "reverse_time": referral.reverse_time,
    }


def _booking_row(booking: Booking) -> dict[str, object]:
    return {
        "program_id": booking.program_id,
        "referral_id": booking.referral_id,
        "side": booking.side.value,
        "type": booking.type.value,
        "member_key": booking.member_key,
        "currency_id": booking.currency_id,
        "sequence": booking.sequence,
        "points": booking.points,
    }
