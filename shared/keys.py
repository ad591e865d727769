"""Idempotency keys: a request that was decided is answered, not decided again.

A key is claimed by inserting it, and settled in the same transaction with the answer or the
refusal that was given.
Copies of one request therefore meet at the key: the second waits for the first one's commit and
then reads its answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from sqlalchemy import Select, Table, bindparam, delete, select, tuple_

from shared import errors, record
from shared.database import TryAgain, Tx
from shared.values import value

Identity: TypeAlias = tuple[str, str, str]

_KEY = ("program_id", "scope", "request_id")
_RESERVED = ""


@value
class RequestKey:
    """What makes two requests the same: program, scope (usually the method), the caller's id.

    `digest` (`record.digest`) tells whether they also say the same.
    """

    program_id: str
    scope: str
    request_id: str
    digest: str

    @property
    def identity(self) -> Identity:
        """The key without what was asked; sorts in the order in which keys are claimed."""
        return (self.program_id, self.scope, self.request_id)


@value
class StoredAnswer:
    """What a key was settled with: JSON text of an answer or of a refusal, and its last event.

    One that was only reserved (`reserve`) has not been settled: whoever claims it has it.
    """

    digest: str
    answer: str | None
    refusal: str | None
    partition: int | None
    position: int | None

    @property
    def is_reserved(self) -> bool:
        """Whether something waits for the request, which nobody had sent before."""
        return self.digest == _RESERVED


async def claim(
    tx: Tx, table: Table, keys: Sequence[RequestKey]
) -> Mapping[Identity, StoredAnswer]:
    """Claims every key that is new; gives back what was stored with the others.

    Reserved ones are claimed, and given back as such.
    Waits for a first copy that another transaction has not committed yet.
    What it stored is read by a second statement, because the snapshot of the first is older.
    Raises TryAgain when a key was let go at that very moment.
    """
    wanted: dict[Identity, RequestKey] = {}
    for key in keys:
        wanted.setdefault(key.identity, key)
    rows = [
        {
            "program_id": key.program_id,
            "scope": key.scope,
            "request_id": key.request_id,
            "digest": key.digest,
        }
        for key in wanted.values()
    ]
    claimed = await tx.insert(table, rows, ignore_conflicts=True, returning=_KEY)
    if len(claimed) == len(wanted):
        return {}
    ours = {tuple(row) for row in claimed}
    stored = await _stored(tx, table, [each for each in wanted if each not in ours])
    reserved = sorted(each for each, answer in stored.items() if answer.is_reserved)
    if reserved:
        # Of several who claim a reserved key the first to lock it has it.
        stored |= await _stored(tx, table, reserved, lock=True)
        mine = [each for each in reserved if stored[each].is_reserved]
        # Made anew, so that it is kept as long from now on as any other.
        await tx.delete(table, mine, key=_KEY)
        await tx.insert(table, [rows[list(wanted).index(each)] for each in mine])
    return stored


async def _stored(
    tx: Tx, table: Table, taken: Sequence[Identity], *, lock: bool = False
) -> dict[Identity, StoredAnswer]:
    found = {
        (row.program_id, row.scope, row.request_id): StoredAnswer(
            digest=row.digest,
            answer=row.answer,
            refusal=row.refusal,
            partition=row.partition,
            position=row.position,
        )
        for row in await tx.select(table, taken, key=_KEY, lock=lock)
    }
    if len(found) != len(taken):
        raise TryAgain("a key was given back while its copy waited for it")
    return found


async def reserve(tx: Tx, table: Table, identities: Iterable[Identity]) -> set[Identity]:
    """Reserves keys that nobody has claimed, and locks them; gives those that are reserved now.

    It waits for a transaction that claims one. Whoever claims a reserved key afterwards is told
    that something waits for the request (`StoredAnswer.is_reserved`), and no other pays for that.
    Raises TryAgain when a key was let go at that very moment.
    """
    wanted = sorted(set(identities))
    rows = [
        {"program_id": each[0], "scope": each[1], "request_id": each[2], "digest": _RESERVED}
        for each in wanted
    ]
    await tx.insert(table, rows, ignore_conflicts=True)
    stored = await _stored(tx, table, wanted, lock=True)
    return {each for each, answer in stored.items() if answer.is_reserved}


@value
class Settlement:
    """How one claimed key is to be settled. A transient refusal gives the key back."""

    key: RequestKey
    answer: object = None
    refusal: errors.Refusal | None = None
    partition: int | None = None
    position: int | None = None


async def settle(tx: Tx, table: Table, settlements: Sequence[Settlement]) -> None:
    """Stores answers and refusals with the keys claimed by this transaction."""
    rows: list[dict[str, object]] = []
    given_back: list[Identity] = []
    for each in settlements:
        refusal = each.refusal
        if refusal is not None and refusal.transient:
            given_back.append(each.key.identity)
            continue
        rows.append(
            {
                "program_id": each.key.program_id,
                "scope": each.key.scope,
                "request_id": each.key.request_id,
                "answer": record.dumps(each.answer) if refusal is None else None,
                "refusal": None if refusal is None else errors.dump(refusal),
                "partition": each.partition,
                "position": each.position,
            }
        )
    await tx.update(table, rows, key=_KEY)
    await tx.delete(table, given_back, key=_KEY)


async def is_any_old(tx: Tx, table: Table, *, before_micros: int) -> bool:
    """Whether `forget` would find a key."""
    found = await tx.fetch(_old(table), {"before_micros": before_micros, "at_most": 1})
    return bool(found)


async def forget(tx: Tx, table: Table, *, before_micros: int, limit: int = 1_000) -> int:
    """Deletes keys claimed before that instant of the database's clock; how many it did.

    Reserved ones stay until they are claimed.
    At most `limit` at once, so that the transaction stays short; 0 means that none is left.
    """
    columns = [table.c[name] for name in _KEY]
    return await tx.execute(
        delete(table).where(tuple_(*columns).in_(_old(table))),
        {"before_micros": before_micros, "at_most": limit},
    )


def _old(table: Table) -> Select[tuple[str, str, str]]:
    return (
        select(*(table.c[name] for name in _KEY))
        .where(table.c.create_time_micros < bindparam("before_micros"))
        .where(table.c.digest != _RESERVED)
        .limit(bindparam("at_most"))
    )
