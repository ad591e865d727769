"""Loads and saves redemption's rows, many at a time. The only SQL of the service."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from services.redemption import tables
from services.redemption.domain import (
    MemberKey,
    ProgramId,
    Redemption,
    RedemptionId,
    RewardId,
    RewardKind,
    Shelf,
    State,
    Voucher,
)
from shared import member_names
from shared.database import Row, Tx

ShelfKey = tuple[str, str]
"""Program and reward."""
SlotKey = tuple[str, str, str]
"""Program, reward and member key."""
RedemptionKey = tuple[str, str]
"""Program and redemption."""

_SHELF = ("program_id", "reward_id")
_SLOT = ("program_id", "reward_id", "member_key")
_REDEMPTION = ("program_id", "redemption_id")
_MEMBER = ("program_id", "member_key")

_r = tables.redemptions.c
_t = tables.tier_timeline.c
_newest_first = (_r.create_time.desc(), _r.redemption_id.desc())
_of_program = (
    sa.select(tables.redemptions)
    .where(_r.program_id == sa.bindparam("program_id"))
    .where(
        sa.tuple_(_r.create_time, _r.redemption_id)
        < sa.tuple_(
            sa.bindparam("before_time", type_=_r.create_time.type), sa.bindparam("before_id")
        )
    )
    .order_by(*_newest_first)
    .limit(sa.bindparam("limit"))
)
_of_member = _of_program.where(_r.member_key == sa.bindparam("member_key"))
_totals = (
    sa.select(_r.reward_id, _r.state, _r.failure_reason, sa.func.count().label("number"))
    .where(_r.program_id == sa.bindparam("program_id"))
    .group_by(_r.reward_id, _r.state, _r.failure_reason)
)
_shelves_of = (
    sa.select(tables.shelves)
    .where(tables.shelves.c.program_id == sa.bindparam("program_id"))
    .order_by(tables.shelves.c.reward_id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardTotal:
    """How many redemptions of a reward are in a state, by the reason of failure."""

    reward_id: str
    state: State
    failure_reason: str
    number: int


# Members and levels ------------------------------------------------------------------------------


async def member_keys(tx: Tx, identifiers: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The member keys of (program, identifier) pairs; those that are unknown are left out."""
    rows = await tx.select(
        tables.member_identifiers, list(identifiers), key=("program_id", "identifier")
    )
    return {(str(row.program_id), str(row.identifier)): str(row.member_key) for row in rows}


async def identifiers(tx: Tx, members: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """An identifier of each (program, member key): a "member_id" before others, then by text."""
    rows = await tx.select(tables.member_identifiers, list(members), key=_MEMBER)
    found: dict[tuple[str, str], tuple[bool, str]] = {}
    for row in rows:
        key = (str(row.program_id), str(row.member_key))
        candidate = (str(row.kind) != "member_id", str(row.identifier))
        found[key] = min(found.get(key, candidate), candidate)
    return {key: identifier for key, (_, identifier) in found.items()}


async def save_members(
    tx: Tx,
    members: Sequence[Mapping[str, object]],
    names: Sequence[Mapping[str, object]],
) -> None:
    """Remember members and the identifiers that name them; known ones stay as they are."""
    await tx.insert(tables.members, members, ignore_conflicts=True)
    await member_names.note(tx, tables.member_identifiers, names)


async def timelines(
    tx: Tx, members: Iterable[tuple[str, str]]
) -> dict[tuple[str, str, str], list[tuple[datetime, str]]]:
    """The levels of (program, member key) by ladder: (effective from, level), oldest first."""
    rows = await tx.select(
        tables.tier_timeline, list(members), key=_MEMBER, order_by=("effective_time",)
    )
    found: dict[tuple[str, str, str], list[tuple[datetime, str]]] = {}
    for row in rows:
        key = (str(row.program_id), str(row.member_key), str(row.ladder_id))
        found.setdefault(key, []).append((row.effective_time, str(row.level_id)))
    return found


async def save_levels(tx: Tx, rows: Mapping[tuple[str, str, str, datetime], str]) -> None:
    """Put levels into timelines; of two from the same instant the later decision stands."""
    await tx.upsert(
        tables.tier_timeline,
        [
            {
                "program_id": program_id,
                "member_key": member_key,
                "ladder_id": ladder_id,
                "effective_time": effective_time,
                "level_id": level_id,
            }
            for (program_id, member_key, ladder_id, effective_time), level_id in rows.items()
        ],
        key=(*_MEMBER, "ladder_id", "effective_time"),
        update=("level_id",),
    )


# Redemptions -------------------------------------------------------------------------------------


async def redemptions(
    tx: Tx, keys: Iterable[RedemptionKey], *, lock: bool = False
) -> dict[RedemptionKey, Redemption]:
    """Redemptions by key; those that do not exist are left out."""
    rows = await tx.select(tables.redemptions, list(keys), key=_REDEMPTION, lock=lock)
    return {(str(row.program_id), str(row.redemption_id)): redemption_of_row(row) for row in rows}


async def redemptions_before(
    tx: Tx,
    program_id: str,
    *,
    member_key: str | None,
    before: tuple[datetime, str],
    limit: int,
) -> list[Redemption]:
    """A page of redemptions, newest first, that come before a place (instant, redemption)."""
    params: dict[str, object] = {
        "program_id": program_id,
        "before_time": before[0],
        "before_id": before[1],
        "limit": limit,
    }
    if member_key is None:
        return [redemption_of_row(row) for row in await tx.fetch(_of_program, params)]
    rows = await tx.fetch(_of_member, {**params, "member_key": member_key})
    return [redemption_of_row(row) for row in rows]


async def insert_redemptions(tx: Tx, new: Sequence[Redemption]) -> None:
    """Store redemptions that are new."""
    await tx.insert(tables.redemptions, [_row(redemption) for redemption in new])


async def update_redemptions(tx: Tx, changed: Sequence[Redemption]) -> None:
    """Store what changed in redemptions that were locked."""
    await tx.update(
        tables.redemptions,
        [
            {
                "program_id": redemption.program_id,
                "redemption_id": redemption.redemption_id,
                "state": redemption.state.value,
                "failure_reason": redemption.failure_reason,
                "refusal": redemption.refusal,
                "hold_id": redemption.hold_id,
                "voucher_hint": redemption.voucher_hint,
                "update_time": redemption.update_time,
            }
            for redemption in changed
        ],
        key=_REDEMPTION,
    )


async def insert_vouchers(
    tx: Tx, issued: Sequence[tuple[Redemption, Voucher]], now: datetime
) -> None:
    """Store the hashes of issued codes; a redemption has at most one."""
    await tx.insert(
        tables.vouchers,
        [
            {
                "program_id": redemption.program_id,
                "code_hash": voucher.code_hash,
                "redemption_id": redemption.redemption_id,
                "hint": voucher.hint,
                "issue_time": now,
            }
            for redemption, voucher in issued
        ],
    )


# Shelves and slots -------------------------------------------------------------------------------


async def lock_shelves(tx: Tx, keys: Iterable[ShelfKey]) -> dict[ShelfKey, Shelf]:
    """Shelves by key, locked in the order of their keys; the last locks before the feed's heads."""
    rows = await tx.select(tables.shelves, list(keys), key=_SHELF, lock=True)
    return {(str(row.program_id), str(row.reward_id)): _shelf(row) for row in rows}


async def shelves_of(tx: Tx, program_id: str) -> dict[str, Shelf]:
    """All shelves of a program by reward."""
    rows = await tx.fetch(_shelves_of, {"program_id": program_id})
    return {str(row.reward_id): _shelf(row) for row in rows}


async def save_shelves(tx: Tx, shelves: Sequence[Shelf]) -> None:
    """Store shelves, new or locked."""
    await tx.upsert(
        tables.shelves,
        [
            {
                "program_id": shelf.program_id,
                "reward_id": shelf.reward_id,
                "stock_total": shelf.stock_total,
                "taken": shelf.taken,
            }
            for shelf in shelves
        ],
        key=_SHELF,
        update=("stock_total", "taken"),
    )


async def slots(tx: Tx, keys: Iterable[SlotKey]) -> dict[SlotKey, dict[int, str]]:
    """The taken slots of members: number → redemption."""
    rows = await tx.select(tables.slots, list(keys), key=_SLOT)
    found: dict[SlotKey, dict[int, str]] = {}
    for row in rows:
        key = (str(row.program_id), str(row.reward_id), str(row.member_key))
        found.setdefault(key, {})[int(row.slot)] = str(row.redemption_id)
    return found


async def change_slots(
    tx: Tx,
    taken: Sequence[tuple[SlotKey, int, str]],
    freed: Sequence[tuple[SlotKey, int]],
) -> None:
    """Free slots, then take some: (member's reward, number, redemption)."""
    await tx.delete(tables.slots, [(*key, number) for key, number in freed], key=(*_SLOT, "slot"))
    await tx.insert(
        tables.slots,
        [
            {
                "program_id": key[0],
                "reward_id": key[1],
                "member_key": key[2],
                "slot": number,
                "redemption_id": redemption_id,
            }
            for key, number, redemption_id in taken
        ],
    )


async def totals(tx: Tx, program_id: str) -> list[RewardTotal]:
    """How many redemptions of each reward are in each state."""
    rows = await tx.fetch(_totals, {"program_id": program_id})
    return [
        RewardTotal(
            reward_id=str(row.reward_id),
            state=State(row.state),
            failure_reason=str(row.failure_reason),
            number=int(row.number),
        )
        for row in rows
    ]


def _shelf(row: Row) -> Shelf:
    return Shelf(
        program_id=ProgramId(row.program_id),
        reward_id=RewardId(row.reward_id),
        stock_total=None if row.stock_total is None else int(row.stock_total),
        taken=int(row.taken),
    )


def redemption_of_row(row: Row) -> Redemption:
    """A redemption as it is stored."""
    return Redemption(
        program_id=ProgramId(row.program_id),
        redemption_id=RedemptionId(row.redemption_id),
        member_key=MemberKey(row.member_key),
        reward_id=RewardId(row.reward_id),
        kind=RewardKind(row.kind),
        points=int(row.points),
        currency_id=str(row.currency_id),
        state=State(row.state),
        failure_reason=str(row.failure_reason),
        refusal=str(row.refusal),
        slot=int(row.slot),
        hold_id=str(row.hold_id),
        voucher_hint=str(row.voucher_hint),
        program_version=int(row.program_version),
        create_time=row.create_time,
        update_time=row.update_time,
        from_household=bool(row.from_household),
    )


def _row(redemption: Redemption) -> Mapping[str, object]:
    return {
        "program_id": redemption.program_id,
        "redemption_id": redemption.redemption_id,
        "member_key": redemption.member_key,
        "reward_id": redemption.reward_id,
        "kind": redemption.kind.value,
        "points": redemption.points,
        "currency_id": redemption.currency_id,
        "state": redemption.state.value,
        "failure_reason": redemption.failure_reason,
        "refusal": redemption.refusal,
        "slot": redemption.slot,
        "hold_id": redemption.hold_id,
        "voucher_hint": redemption.voucher_hint,
        "program_version": redemption.program_version,
        "create_time": redemption.create_time,
        "update_time": redemption.update_time,
        "from_household": int(redemption.from_household),
    }
