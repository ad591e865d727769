"""Members, their identifiers and profiles: locked, loaded, saved; the only SQL about them."""

from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa

from services.earning import rows, store_shares, tables
from services.earning.domain import Hold, MemberId, MemberKey, ProgramId, Wallet
from services.earning.member_records import (
    NO_PROFILE,
    MemberIdentifier,
    MemberRecord,
    MemberState,
    Profile,
    in_order,
)
from services.earning.world import MemberPlace, World
from shared import record
from shared.database import Row, Tx

_MEMBER = ("program_id", "member_key")
_IDENTIFIER = ("program_id", "identifier")

_members = tables.members.c
_page = (
    sa.select(tables.members)
    .where(
        _members.program_id == sa.bindparam("program_id"),
        _members.member_key > sa.bindparam("after"),
    )
    .order_by(_members.member_key)
    .limit(sa.bindparam("count"))
)

_merged = (
    sa.select(_members.member_key)
    .where(
        _members.program_id == sa.bindparam("program_id"),
        _members.merged_into == sa.bindparam("member_key"),
        _members.merged_into != sa.literal_column("''"),
    )
    .order_by(_members.member_key)
)
_moved_on = (
    sa.update(tables.members)
    .where(
        _members.program_id == sa.bindparam("in_program"),
        _members.merged_into == sa.bindparam("ended"),
        _members.merged_into != sa.literal_column("''"),
    )
    .values(merged_into=sa.bindparam("goes_to"))
)
_holds = tables.holds.c
_hold_page = (
    sa.select(tables.holds)
    .where(
        _holds.program_id == sa.bindparam("program_id"),
        _holds.member_key.in_(sa.bindparam("member_keys", expanding=True)),
        _holds.hold_id > sa.bindparam("after"),
    )
    .order_by(_holds.hold_id)
    .limit(sa.bindparam("count"))
)


# Loading -----------------------------------------------------------------------------------------


async def lock(tx: Tx, places: Sequence[MemberPlace]) -> dict[MemberPlace, MemberRecord]:
    """Members, locked in the order of their keys; what hangs on them is read behind the lock."""
    found = await tx.select(tables.members, places, key=_MEMBER, lock=True)
    return await _whole(tx, found)


async def load(tx: Tx, places: Sequence[MemberPlace]) -> dict[MemberPlace, MemberRecord]:
    """Members, for answers."""
    return await _whole(tx, await tx.select(tables.members, places, key=_MEMBER))


async def page(tx: Tx, program_id: ProgramId, *, after: str, count: int) -> list[MemberRecord]:
    """Members of a program whose key is above `after`, in the order of their keys."""
    found = await tx.fetch(_page, {"program_id": program_id, "after": after, "count": count})
    return list((await _whole(tx, found)).values())


async def profiles(tx: Tx, places: Collection[MemberPlace]) -> dict[MemberPlace, Profile]:
    """What is told of members; those of whom nothing is are left out."""
    found = await tx.select(tables.member_profiles, list(places), key=_MEMBER)
    return {(row.program_id, row.member_key): _profile_of(row) for row in found}


async def _whole(tx: Tx, found: Sequence[Row]) -> dict[MemberPlace, MemberRecord]:
    places: list[MemberPlace] = [(row.program_id, row.member_key) for row in found]
    told = await profiles(tx, places)
    names: dict[MemberPlace, list[MemberIdentifier]] = {}
    for row in await tx.select(tables.member_identifiers, places, key=_MEMBER):
        names.setdefault((row.program_id, row.member_key), []).append(
            MemberIdentifier(
                kind=row.kind,
                identifier=MemberId(row.identifier),
                assign_time=row.assign_time,
            )
        )
    return {
        place: MemberRecord(
            program_id=place[0],
            member_key=place[1],
            enroll_time=row.enroll_time,
            state=MemberState(row.state),
            is_anonymous=bool(row.is_anonymous),
            merged_into=MemberKey(row.merged_into),
            version=row.version,
            identifiers=in_order(tuple(names.get(place, ()))),
            profile=told.get(place, NO_PROFILE),
        )
        for place, row in zip(places, found, strict=True)
    }


def _profile_of(row: Row) -> Profile:
    return Profile(
        birth_date=row.birth_date,
        time_zone=row.time_zone,
        language=row.language,
        attributes=record.loads(tuple[tuple[str, str], ...], row.attributes),
        segments=record.loads(tuple[str, ...], row.segments),
    )


async def family(tx: Tx, program_id: ProgramId, member_key: MemberKey) -> list[MemberKey]:
    """A member's key, and the keys of those that were merged into it."""
    found = await tx.fetch(_merged, {"program_id": program_id, "member_key": member_key})
    return [member_key, *[MemberKey(row.member_key) for row in found]]


async def names(
    tx: Tx, program_id: ProgramId, keys: Collection[MemberKey]
) -> dict[MemberKey, MemberId]:
    """First identifiers of members, in their order; those whom nothing names are left out."""
    found = await tx.select(
        tables.member_identifiers,
        sorted([(program_id, key) for key in keys]),
        key=_MEMBER,
        order_by=("identifier",),
    )
    first: dict[MemberKey, MemberId] = {}
    for row in found:
        first.setdefault(MemberKey(row.member_key), MemberId(row.identifier))
    return first


async def merged_into(tx: Tx, places: Sequence[MemberPlace]) -> dict[MemberPlace, MemberKey]:
    """Into whom members were merged; others are left out."""
    found = await tx.select(tables.members, places, key=_MEMBER)
    return {
        (row.program_id, row.member_key): MemberKey(row.merged_into)
        for row in found
        if row.merged_into
    }


async def move_merged(tx: Tx, ended: Sequence[MemberRecord]) -> None:
    """Those that were merged into members who end go on to where these go."""
    for member in ended:
        await tx.execute(
            _moved_on,
            {
                "in_program": member.program_id,
                "ended": member.member_key,
                "goes_to": member.merged_into,
            },
        )


async def wallets(tx: Tx, program_id: ProgramId, keys: Sequence[MemberKey]) -> list[Wallet]:
    """Wallets of members that were ever used, in the order of keys and currencies."""
    found = await tx.select(
        tables.wallets,
        [(program_id, key) for key in keys],
        key=_MEMBER,
        order_by=("member_key", "currency_id"),
    )
    return [rows.wallet_of(row) for row in found]


async def holds(
    tx: Tx, program_id: ProgramId, keys: Sequence[MemberKey], *, after: str, count: int
) -> list[Hold]:
    """Holds of members whose identifier is above `after`, in that order."""
    found = await tx.fetch(
        _hold_page,
        {"program_id": program_id, "member_keys": list(keys), "after": after, "count": count},
    )
    made = {(program_id, row.hold_id): rows.hold_of(row) for row in found}
    return list((await store_shares.with_shares(tx, made)).values())


# Saving ------------------------------------------------------------------------------------------


def member_row(member: MemberRecord) -> dict[str, object]:
    """Columns of `members`."""
    return {**_changed_row(member), "enroll_time": member.enroll_time}


def _changed_row(member: MemberRecord) -> dict[str, object]:
    return {
        "program_id": member.program_id,
        "member_key": member.member_key,
        "state": member.state.value,
        "is_anonymous": 1 if member.is_anonymous else 0,
        "merged_into": member.merged_into,
        "version": member.version,
        "is_scrub_due": 1 if member.state is MemberState.ERASED else 0,
    }


async def save(tx: Tx, world: World) -> None:
    """Write the members that commands changed; those just enrolled have their row already."""
    if not world.changed_members:
        return
    made = {(each.program_id, each.member_key) for each in world.enrolled}
    changed = {place: world.members[place] for place in sorted(world.changed_members)}
    old = [_changed_row(each) for place, each in changed.items() if place not in made]
    await tx.update(tables.members, old, key=_MEMBER)
    await move_merged(tx, [each for each in changed.values() if each.merged_into])
    await _save_identifiers(tx, world, changed)
    await _save_profiles(tx, world, changed)


async def _save_identifiers(
    tx: Tx, world: World, changed: Mapping[MemberPlace, MemberRecord]
) -> None:
    before = {
        (place[0], each.identifier): (place, each)
        for place, member in world.changed_members.items()
        for each in member.identifiers
    }
    after = {
        (place[0], each.identifier): (place, each)
        for place, member in changed.items()
        for each in member.identifiers
    }
    await tx.delete(
        tables.member_identifiers,
        sorted(name for name in before if name not in after),
        key=_IDENTIFIER,
    )
    await tx.upsert(
        tables.member_identifiers,
        [
            {
                "program_id": place[0],
                "identifier": each.identifier,
                "kind": each.kind,
                "member_key": place[1],
                "assign_time": each.assign_time,
            }
            for name, (place, each) in after.items()
            if before.get(name) != (place, each)
        ],
        key=_IDENTIFIER,
        update=("kind", "member_key", "assign_time"),
    )


async def _save_profiles(tx: Tx, world: World, changed: Mapping[MemberPlace, MemberRecord]) -> None:
    told = {
        place: member.profile
        for place, member in changed.items()
        if member.profile != world.changed_members[place].profile
    }
    await tx.upsert(
        tables.member_profiles,
        [
            {
                "program_id": place[0],
                "member_key": place[1],
                "birth_date": profile.birth_date,
                "time_zone": profile.time_zone,
                "language": profile.language,
                "attributes": record.dumps(profile.attributes),
                "segments": record.dumps(profile.segments),
            }
            for place, profile in told.items()
            if profile != NO_PROFILE
        ],
        key=_MEMBER,
        update=("birth_date", "time_zone", "language", "attributes", "segments"),
    )
    blank = [place for place, profile in told.items() if profile == NO_PROFILE]
    await tx.delete(tables.member_profiles, blank, key=_MEMBER)
