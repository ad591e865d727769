"""Forgets idempotency keys that are older than the service promises to know them.

What is old goes by the database's real clock: callers try again in their own time, whatever the
business clock is told. A piece is one short transaction that deletes at most 1,000 keys.
A key is deleted once, whoever runs the job: copies of it that meet find nothing more to do.
"""

from datetime import timedelta

from sqlalchemy import Table

from shared import keys
from shared.database import Database, Tx
from shared.documents import in_transaction
from shared.jobs import Job

_EVERY = timedelta(minutes=10)
_PIECE = 1_000
_MICROSECOND = timedelta(microseconds=1)


class ForgetKeys:
    """Deletes the keys of one service that were claimed longer ago than `kept`."""

    def __init__(
        self, database: Database, table: Table, kept: timedelta, *, piece: int = _PIECE
    ) -> None:
        self._database = database
        self._table = table
        self._kept_micros = kept // _MICROSECOND
        self._piece = piece

    def job(self) -> Job:
        """The job, for the runner; nobody waits for it."""
        return Job(name="forget_keys", due=self.due, run=self.run, every=_EVERY, awaited=False)

    async def due(self) -> int:
        """1 while there is an old key, else 0; how many there are is not counted."""
        async with self._database.reading() as tx:
            before = await tx.now_micros() - self._kept_micros
            return int(await keys.is_any_old(tx, self._table, before_micros=before))

    async def run(self) -> int:
        """Forget some keys; how many it did."""

        async def forget(tx: Tx) -> int:
            before = await tx.now_micros() - self._kept_micros
            return await keys.forget(tx, self._table, before_micros=before, limit=self._piece)

        return await in_transaction(self._database, forget)
