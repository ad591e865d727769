"""What must not be found: the SQL of the verification."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from services.redemption import tables
from services.redemption.domain import CANCEL, REDEEM, Redemption, RewardKind, State
from services.redemption.store import redemption_of_row
from shared.database import Row, Tx

FINDINGS_MAX = 1_000
"""The most rows that one check gives."""

_r = tables.redemptions.c
_s = tables.shelves.c
_l = tables.slots.c
_v = tables.vouchers.c
_i = tables.kernel.intentions.c
_p = tables.kernel.program_versions.c

_LIVE = (State.PENDING.value, State.COMPLETED.value, State.CANCELLING.value)
_IN_WORK = (State.PENDING.value, State.CANCELLING.value)
_none = sa.literal("")
_program = sa.bindparam("program_id", type_=sa.Text)
_is_live = _r.state.in_(_LIVE)
_intention_id = sa.case(
    (_r.state == State.PENDING.value, sa.literal(f"{REDEEM}:")),
    else_=sa.literal(f"{CANCEL}:"),
).concat(_r.redemption_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotUse:
    """The lowest and the highest slot of the live redemptions of a reward under one version."""

    reward_id: str
    program_version: int
    first: int
    last: int
    redemption_id: str


def _shelf_differs() -> sa.Select[tuple[object, ...]]:
    live = (
        sa.select(_r.reward_id, sa.func.count().label("live"))
        .where(_r.program_id == _program, _is_live)
        .group_by(_r.reward_id)
        .subquery()
    )
    counted = sa.func.coalesce(live.c.live, 0)
    return (
        sa.select(_s.reward_id.label("subject"), counted.label("expected"), _s.taken.label("found"))
        .select_from(tables.shelves.outerjoin(live, live.c.reward_id == _s.reward_id))
        .where(_s.program_id == _program, _s.taken != counted)
    )


def _oversold() -> sa.Select[tuple[object, ...]]:
    return sa.select(
        _s.reward_id.label("subject"), _s.stock_total.label("expected"), _s.taken.label("found")
    ).where(_s.program_id == _program, sa.or_(_s.taken > _s.stock_total, _s.taken < 0))


def _no_shelf() -> sa.Select[tuple[object, ...]]:
    has_shelf = sa.exists().where(_s.program_id == _r.program_id, _s.reward_id == _r.reward_id)
    return (
        sa.select(_r.redemption_id.label("subject"), _r.reward_id.label("expected"), _none)
        .where(_r.program_id == _program, ~has_shelf)
        .correlate(None)
    )


def _same_slot() -> sa.ColumnElement[bool]:
    return sa.and_(
        _l.program_id == _r.program_id,
        _l.reward_id == _r.reward_id,
        _l.member_key == _r.member_key,
        _l.slot == _r.slot,
        _l.redemption_id == _r.redemption_id,
    )


def _slot_missing() -> sa.Select[tuple[object, ...]]:
    return sa.select(
        _r.redemption_id.label("subject"), _r.slot.label("expected"), _none.label("found")
    ).where(
        _r.program_id == _program,
        _is_live,
        _r.slot > 0,
        ~sa.exists().select_from(tables.slots).where(_same_slot()),
    )


def _slot_of_nobody() -> sa.Select[tuple[object, ...]]:
    owner = sa.exists().select_from(tables.redemptions).where(_same_slot(), _is_live)
    return sa.select(
        _l.redemption_id.label("subject"), _none.label("expected"), _l.slot.label("found")
    ).where(_l.program_id == _program, ~owner)


def _failed_without_reason() -> sa.Select[tuple[object, ...]]:
    return sa.select(
        _r.redemption_id.label("subject"),
        _r.state.label("expected"),
        _r.failure_reason.label("found"),
    ).where(
        _r.program_id == _program,
        sa.or_(
            (_r.state == State.FAILED.value) != (_r.failure_reason != ""),
            (_r.state == State.FAILED.value) != (_r.refusal != ""),
        ),
    )


def _voucher_missing() -> sa.Select[tuple[object, ...]]:
    issued = sa.exists().where(
        _v.program_id == _r.program_id,
        _v.redemption_id == _r.redemption_id,
        _v.hint == _r.voucher_hint,
    )
    finished = (State.COMPLETED.value, State.CANCELLING.value, State.CANCELLED.value)
    return sa.select(
        _r.redemption_id.label("subject"),
        _r.voucher_hint.label("expected"),
        _none.label("found"),
    ).where(
        _r.program_id == _program,
        _r.kind == RewardKind.VOUCHER.value,
        _r.state.in_(finished),
        ~issued,
    )


def _voucher_of_nobody() -> sa.Select[tuple[object, ...]]:
    owner = sa.exists().where(
        _r.program_id == _v.program_id,
        _r.redemption_id == _v.redemption_id,
        _r.kind == RewardKind.VOUCHER.value,
        _r.hold_id != "",
    )
    return sa.select(
        _v.redemption_id.label("subject"), _none.label("expected"), _v.hint.label("found")
    ).where(_v.program_id == _program, ~owner)


def _work_missing() -> sa.Select[tuple[object, ...]]:
    driven = sa.exists().where(_i.intention_id == _intention_id, _i.close_time.is_(None))
    return sa.select(
        _r.redemption_id.label("subject"), _r.state.label("expected"), _none.label("found")
    ).where(_r.program_id == _program, _r.state.in_(_IN_WORK), ~driven)


def _work_of_nobody() -> sa.Select[tuple[object, ...]]:
    owner = sa.exists().where(
        _r.program_id == _i.program_id,
        _r.state.in_(_IN_WORK),
        _i.intention_id == _intention_id,
    )
    return sa.select(
        _i.intention_id.label("subject"), _none.label("expected"), _i.kind.label("found")
    ).where(_i.program_id == _program, _i.close_time.is_(None), ~owner)


CHECKS: Mapping[str, sa.Select[tuple[object, ...]]] = {
    "shelf_equals_redemptions": _shelf_differs(),
    "never_oversold": _oversold(),
    "redemption_has_shelf": _no_shelf(),
    "slot_taken_by_redemption": _slot_missing(),
    "slot_has_redemption": _slot_of_nobody(),
    "failure_has_reason": _failed_without_reason(),
    "completed_has_voucher": _voucher_missing(),
    "voucher_has_redemption": _voucher_of_nobody(),
    "work_has_intention": _work_missing(),
    "intention_has_work": _work_of_nobody(),
}
"""What is violated, by rule; each row has a subject, what was expected and what was found."""

_CHECKS = {rule: statement.limit(FINDINGS_MAX) for rule, statement in CHECKS.items()}
_slot_uses = (
    sa.select(
        _r.reward_id,
        _r.program_version,
        sa.func.min(_r.slot).label("first"),
        sa.func.max(_r.slot).label("last"),
        sa.func.max(_r.redemption_id).label("redemption_id"),
    )
    .where(_r.program_id == _program, _is_live)
    .group_by(_r.reward_id, _r.program_version)
)
_count = sa.select(sa.func.count().label("number")).where(_r.program_id == _program)
_programs = sa.select(_p.program_id).distinct().order_by(_p.program_id)
_of_members = sa.select(tables.redemptions).where(
    _r.program_id == _program,
    _r.member_key >= sa.bindparam("first_key"),
    _r.member_key < sa.bindparam("end_key"),
)


async def findings(tx: Tx, program_id: str, rule: str) -> list[Row]:
    """What violates a rule, at most 1,000 rows of subject, expected and found."""
    return await tx.fetch(_CHECKS[rule], {"program_id": program_id})


async def slot_uses(tx: Tx, program_id: str) -> list[SlotUse]:
    """Which slots the live redemptions of each reward have, by the version that decided."""
    rows = await tx.fetch(_slot_uses, {"program_id": program_id})
    return [
        SlotUse(
            reward_id=str(row.reward_id),
            program_version=int(row.program_version),
            first=int(row.first),
            last=int(row.last),
            redemption_id=str(row.redemption_id),
        )
        for row in rows
    ]


async def number_of_redemptions(tx: Tx, program_id: str) -> int:
    """How many redemptions a program has."""
    return int((await tx.fetch(_count, {"program_id": program_id}))[0].number)


async def program_ids(tx: Tx) -> list[str]:
    """All programs, in order."""
    return [str(row.program_id) for row in await tx.fetch(_programs)]


async def redemptions_of_members(
    tx: Tx, program_id: str, first_key: str, end_key: str
) -> list[Redemption]:
    """The redemptions of the members from a key, inclusive, to a key, exclusive."""
    params = {"program_id": program_id, "first_key": first_key, "end_key": end_key}
    return [redemption_of_row(row) for row in await tx.fetch(_of_members, params)]
