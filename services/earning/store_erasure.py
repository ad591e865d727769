"""What is left of erased members in answers, events and activities, found and blanked.

Only the key of a member is indexed: answers and events are looked through. That is for a job, a
piece at a time, and not for a caller who waits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import sqlalchemy as sa

from services.earning import tables
from services.earning.commands import REVERSE_ACTIVITY
from services.earning.commands_members import SCOPES
from services.earning.domain import MemberKey, ProgramId, Reversal
from services.earning.world import MemberPlace
from shared import record
from shared.database import Row, Tx

_keys = tables.kernel.request_keys
_events = tables.kernel.feed_events
_members, _activities = tables.members.c, tables.activities.c
_KEY = ("program_id", "scope", "request_id")
_MEMBER = ("program_id", "member_key")
_ACTIVITY = ("program_id", "activity_id")

_due = (
    sa.select(_members.program_id, _members.member_key)
    .where(_members.is_scrub_due == sa.literal_column("1"))
    .order_by(_members.program_id, _members.member_key)
    .limit(sa.bindparam("count"))
)
_due_count = (
    sa.select(sa.func.count().label("due"))
    .select_from(tables.members)
    .where(_members.is_scrub_due == sa.literal_column("1"))
)
_event_page = (
    sa.select(_events.c.partition, _events.c.position, _events.c.type, _events.c.payload)
    .where(
        _events.c.partition == sa.bindparam("partition"),
        _events.c.member_key == sa.bindparam("member_key"),
        _events.c.position > sa.bindparam("after", type_=sa.BigInteger),
        _events.c.type.in_(sa.bindparam("types", expanding=True)),
    )
    .order_by(_events.c.position)
    .limit(sa.bindparam("count"))
)
_answers = sa.select(_keys).where(
    _keys.c.program_id == sa.bindparam("program_id"),
    _keys.c.scope.in_(SCOPES),
    _keys.c.answer.like(sa.bindparam("pattern", type_=sa.Text)),
)
_refusals = (
    sa.select(_keys)
    .where(
        _keys.c.program_id == sa.bindparam("program_id"),
        _keys.c.refusal.like(sa.bindparam("pattern", type_=sa.Text), escape="\\"),
        sa.tuple_(_keys.c.scope, _keys.c.request_id)
        > sa.tuple_(
            sa.bindparam("scope", type_=sa.Text), sa.bindparam("request_id", type_=sa.Text)
        ),
    )
    .order_by(_keys.c.scope, _keys.c.request_id)
    .limit(sa.bindparam("count"))
)
_activity_page = (
    sa.select(
        _activities.program_id,
        _activities.activity_id,
        _activities.content,
    )
    .where(
        _activities.program_id == sa.bindparam("program_id"),
        _activities.member_key == sa.bindparam("member_key"),
        _activities.activity_id > sa.bindparam("after"),
    )
    .order_by(_activities.activity_id)
    .limit(sa.bindparam("count"))
)


async def due_count(tx: Tx) -> int:
    """Number of erased members of whom something may be left."""
    return int((await tx.fetch(_due_count))[0].due)


async def due(tx: Tx, count: int) -> list[MemberPlace]:
    """Erased members of whom something may be left, at most `count`."""
    found = await tx.fetch(_due, {"count": count})
    return [(ProgramId(row.program_id), MemberKey(row.member_key)) for row in found]


async def done(tx: Tx, place: MemberPlace) -> None:
    """Nothing is left of a member."""
    row = {"program_id": place[0], "member_key": place[1], "is_scrub_due": 0}
    await tx.update(tables.members, [row], key=_MEMBER)


async def events(
    tx: Tx, partition: int, member_key: str, types: Sequence[str], *, after: int, count: int
) -> list[Row]:
    """Events about a member beyond a position: partition, position, type, payload."""
    params = {
        "partition": partition,
        "member_key": member_key,
        "types": list(types),
        "after": after,
        "count": count,
    }
    return await tx.fetch(_event_page, params)


async def save_events(tx: Tx, changed: Sequence[tuple[int, int, bytes]]) -> None:
    """Replace the payloads of events, by partition and position."""
    rows = [{"partition": each[0], "position": each[1], "payload": each[2]} for each in changed]
    await tx.update(_events, rows, key=("partition", "position"))


async def blank_answers(tx: Tx, program_id: str, member_key: str, answer: str) -> None:
    """Replace every stored answer that is the member by `answer`."""
    found = await tx.fetch(
        _answers, {"program_id": program_id, "pattern": f'%"member_key":"{member_key}"%'}
    )
    await _save_keys(tx, [{**_key(row), "answer": answer} for row in found])


async def refusals(
    tx: Tx, program_id: str, text: str, *, after: tuple[str, str], count: int
) -> list[Row]:
    """Keys beyond `after` (scope, request) whose stored refusal mentions a text."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    params = {
        "program_id": program_id,
        "pattern": f"%{escaped}%",
        "scope": after[0],
        "request_id": after[1],
        "count": count,
    }
    return await tx.fetch(_refusals, params)


async def save_refusals(tx: Tx, changed: Sequence[tuple[Row, str]]) -> None:
    """Replace stored refusals."""
    await _save_keys(tx, [{**_key(row), "refusal": refusal} for row, refusal in changed])


def _key(row: Row) -> dict[str, object]:
    return {name: getattr(row, name) for name in _KEY}


async def _save_keys(tx: Tx, rows: Sequence[dict[str, object]]) -> None:
    await tx.update(_keys, rows, key=_KEY)


async def blank_waiting(tx: Tx, program_id: str, activity_ids: Iterable[str]) -> None:
    """Remove what callers wrote of reversals that came before activities, also from answers."""
    keys = [(program_id, each) for each in sorted(activity_ids)]
    found = await tx.select(tables.waiting_reversals, keys, key=_ACTIVITY)
    told = [each.reversal_id for each in found if each.reason]
    await tx.update(
        tables.waiting_reversals,
        [{"program_id": program_id, "reversal_id": each, "reason": ""} for each in told],
        key=("program_id", "reversal_id"),
    )
    names = [(program_id, REVERSE_ACTIVITY, each) for each in told]
    answered = [row for row in await tx.select(_keys, names, key=_KEY) if row.answer is not None]
    await _save_keys(tx, [{**_key(row), "answer": _without_reason(row.answer)} for row in answered])


def _without_reason(answer: str) -> str:
    return record.dumps(replace(record.loads(Reversal, answer), reason=""))


async def activities(tx: Tx, place: MemberPlace, *, after: str, count: int) -> list[Row]:
    """Activities of a member beyond an identifier: program, identifier, content."""
    params = {
        "program_id": place[0],
        "member_key": place[1],
        "after": after,
        "count": count,
    }
    return await tx.fetch(_activity_page, params)


async def save_activities(tx: Tx, changed: Sequence[tuple[Row, bytes]]) -> None:
    """Replace the contents of activities, and mark them: they cannot be decided again."""
    rows = [
        {
            "program_id": row.program_id,
            "activity_id": row.activity_id,
            "content": content,
            "is_erased": 1,
        }
        for row, content in changed
    ]
    await tx.update(tables.activities, rows, key=_ACTIVITY)
