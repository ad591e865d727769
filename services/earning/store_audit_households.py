"""Reads what a verification compares of households, and of holds that took of their wallets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import sqlalchemy as sa

from services.earning import household_holds, rows, store_shares, tables
from services.earning.audit_columns import Owner
from services.earning.domain import EntryType, Hold, MemberKey, ProgramId
from services.earning.household_records import Household
from services.earning.member_records import MemberState
from services.earning.world import HoldKey
from shared.database import Row, Tx

_HOLD = ("program_id", "hold_id")

_households, _members = tables.households.c, tables.household_members.c
_count = sa.select(sa.func.count().label("number")).where(
    _households.program_id == sa.bindparam("program_id")
)
_lost = (
    sa.select(_members.household_id)
    .select_from(
        tables.household_members.outerjoin(
            tables.households,
            sa.and_(
                _households.program_id == _members.program_id,
                _households.household_id == _members.household_id,
            ),
        )
    )
    .where(_members.program_id == sa.bindparam("program_id"), _households.household_id.is_(None))
    .distinct()
    .order_by(_members.household_id)
    .limit(1_000)
)
_states = [tables.members.c[name] for name in ("program_id", "member_key", "state")]
_booked = [
    tables.entries.c[name]
    for name in (
        *("program_id", "member_key", "currency_id", "type", "reference"),
        *("activity_id", "program_delta"),
    )
]


# Holds -------------------------------------------------------------------------------------------


async def parts(tx: Tx, program_id: ProgramId, shares: Sequence[Row]) -> list[tuple[Owner, Hold]]:
    """What holds have of members, as holds of their wallets; of those that are lost nothing.

    They name the household, as the entries that they are compared with do.
    """
    keys = sorted({(program_id, row.hold_id) for row in shares})
    found = await tx.select(tables.holds, keys, key=_HOLD)
    holds = {row.hold_id: rows.hold_of(row) for row in found}
    return [
        (
            (row.member_key, row.currency_id),
            replace(
                household_holds.part_of(held, store_shares.share_of(row)),
                household_id=held.household_id,
            ),
        )
        for row in shares
        if (held := holds.get(row.hold_id)) is not None and held.household_id
    ]


async def whole(tx: Tx, holds: Iterable[Hold]) -> list[Hold]:
    """Holds of households with all their shares."""
    keyed: dict[HoldKey, Hold] = {(each.program_id, each.hold_id): each for each in holds}
    return list((await store_shares.with_shares(tx, keyed)).values())


async def given_back(tx: Tx, hold: Hold) -> int:
    """Points that entries of all members gave back of a hold, with returns of what it paid for."""
    keys = [
        (
            *(hold.program_id, share.member_key, hold.currency_id),
            *(EntryType.REFUND.value, hold.hold_id, hold.activity_id),
        )
        for share in hold.shares
    ]
    named = ("program_id", "member_key", "currency_id", "type", "reference", "activity_id")
    return -sum([int(row.program_delta) for row in await tx.select(_booked, keys, key=named)])


# Households --------------------------------------------------------------------------------------


async def count(tx: Tx, program_id: ProgramId) -> int:
    """Number of households of a program, those that were dissolved included."""
    return int((await tx.fetch(_count, {"program_id": program_id}))[0].number)


async def lost(tx: Tx, program_id: ProgramId) -> list[str]:
    """Households that members are in and that are not there, at most 1,000."""
    return [row.household_id for row in await tx.fetch(_lost, {"program_id": program_id})]


async def states(tx: Tx, households: Iterable[Household]) -> Mapping[MemberKey, MemberState]:
    """States of members of households; those that are not there are left out."""
    keys = sorted(
        {(each.program_id, joined.member_key) for each in households for joined in each.members}
    )
    found = await tx.select(_states, keys, key=("program_id", "member_key"))
    return {MemberKey(row.member_key): MemberState(row.state) for row in found}
