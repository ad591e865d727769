"""Households, their members and invitations: loaded, saved, listed; the only SQL about them."""

from collections.abc import Collection

import sqlalchemy as sa

from services.earning import tables
from services.earning.domain import HouseholdId, MemberKey, ProgramId
from services.earning.household_records import Household, Invitation, Joined, Membership
from services.earning.households_world import Households
from services.earning.world import MemberPlace
from shared.database import Row, Tx

_HOUSEHOLD = ("program_id", "household_id")
_MEMBER = ("program_id", "member_key")
_CODE = ("program_id", "code")

_households = tables.households.c
_all = (
    sa.select(_households.household_id)
    .where(
        _households.program_id == sa.bindparam("program_id"),
        _households.household_id > sa.bindparam("after"),
    )
    .order_by(_households.household_id)
    .limit(sa.bindparam("count"))
)
_with_members = _all.where(_households.dissolve_time.is_(None))


async def memberships(tx: Tx, places: Collection[MemberPlace]) -> dict[MemberPlace, Membership]:
    """What members are in, or were in last; those who never were in any are left out."""
    found = await tx.select(tables.household_members, sorted(places), key=_MEMBER)
    return {(row.program_id, MemberKey(row.member_key)): _membership_of(row) for row in found}


async def by_ids(
    tx: Tx, keys: Collection[tuple[ProgramId, HouseholdId]]
) -> dict[tuple[ProgramId, HouseholdId], Household]:
    """Households with their members; unknown ones are left out."""
    wanted = sorted(keys)
    found = await tx.select(tables.households, wanted, key=_HOUSEHOLD)
    members: dict[tuple[str, str], list[Joined]] = {}
    for row in await tx.select(
        tables.household_members, wanted, key=_HOUSEHOLD, order_by=(*_HOUSEHOLD, "number")
    ):
        if row.leave_time is None:
            joined = Joined(member_key=row.member_key, number=row.number, join_time=row.join_time)
            members.setdefault((row.program_id, row.household_id), []).append(joined)
    return {
        (row.program_id, HouseholdId(row.household_id)): Household(
            program_id=row.program_id,
            household_id=HouseholdId(row.household_id),
            head_key=row.head_key,
            create_time=row.create_time,
            joined=row.joined,
            members=tuple(members.get((row.program_id, row.household_id), ())),
            dissolve_time=row.dissolve_time,
        )
        for row in found
    }


async def invitations(
    tx: Tx,
    codes: Collection[tuple[ProgramId, str]],
    invited: Collection[tuple[ProgramId, HouseholdId, MemberKey]],
) -> dict[tuple[ProgramId, str], Invitation]:
    """Invitations with some codes, and those of some members to households."""
    named = await tx.select(tables.household_invitations, sorted(codes), key=_CODE)
    theirs = await tx.select(
        tables.household_invitations,
        sorted(invited),
        key=(*_HOUSEHOLD, "member_key"),
        order_by=("create_time", "code"),
    )
    return {(row.program_id, row.code): _invitation_of(row) for row in [*named, *theirs]}


async def page(
    tx: Tx, program_id: ProgramId, *, after: str, count: int, dissolved: bool = False
) -> list[Household]:
    """Households whose identifier is above `after`, in that order; `dissolved` ones if wanted."""
    statement = _all if dissolved else _with_members
    found = await tx.fetch(statement, {"program_id": program_id, "after": after, "count": count})
    keys = [(program_id, HouseholdId(row.household_id)) for row in found]
    known = await by_ids(tx, keys)
    return [known[key] for key in keys]


async def save(tx: Tx, households: Households) -> None:
    """Write what commands changed; their members' wallets are locked."""
    await tx.upsert(
        tables.households,
        [_row(households.by_id[each]) for each in households.changed],
        key=_HOUSEHOLD,
        update=("head_key", "joined", "dissolve_time"),
    )
    await tx.upsert(
        tables.household_members,
        [_membership_row(households.memberships[each]) for each in households.changed_members],
        key=_MEMBER,
        update=("household_id", "number", "join_time", "leave_time"),
    )
    await tx.upsert(
        tables.household_invitations,
        [_invitation_row(households.invitations[each]) for each in households.changed_invitations],
        key=_CODE,
        update=("accepted_by",),
    )


def _membership_of(row: Row) -> Membership:
    return Membership(
        program_id=row.program_id,
        member_key=row.member_key,
        household_id=HouseholdId(row.household_id),
        number=row.number,
        join_time=row.join_time,
        leave_time=row.leave_time,
    )


def _invitation_of(row: Row) -> Invitation:
    return Invitation(
        program_id=row.program_id,
        code=row.code,
        household_id=HouseholdId(row.household_id),
        member_key=row.member_key,
        create_time=row.create_time,
        accepted_by=row.accepted_by,
    )


def _row(household: Household) -> dict[str, object]:
    return {
        "program_id": household.program_id,
        "household_id": household.household_id,
        "head_key": household.head_key,
        "create_time": household.create_time,
        "joined": household.joined,
        "dissolve_time": household.dissolve_time,
    }


def _membership_row(membership: Membership) -> dict[str, object]:
    return {
        "program_id": membership.program_id,
        "member_key": membership.member_key,
        "household_id": membership.household_id,
        "number": membership.number,
        "join_time": membership.join_time,
        "leave_time": membership.leave_time,
    }


def _invitation_row(invitation: Invitation) -> dict[str, object]:
    return {
        "program_id": invitation.program_id,
        "code": invitation.code,
        "household_id": invitation.household_id,
        "member_key": invitation.member_key,
        "create_time": invitation.create_time,
        "accepted_by": invitation.accepted_by,
    }
