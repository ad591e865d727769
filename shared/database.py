"""The database as the services use it: transactions, and statements that take many rows.

Two databases behave alike behind this: SQLite (one writer, `BEGIN IMMEDIATE`, WAL,
`synchronous=FULL`: a commit that was answered survives a power cut) and PostgreSQL (READ COMMITTED
by default; everything is also correct under SERIALIZABLE, where conflicts are retried).

    async with database.transaction() as tx:
        wallets = await tx.select(tables.wallets, keys, key=["program_id", "member_key"], lock=True)
        await tx.update(tables.wallets, changed, key=["program_id", "member_key"])

An error inside a transaction ends it: nothing here is caught and carried on from, because a
transaction that met an error commits nothing and says so to nobody.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from operator import itemgetter
from typing import TypeVar, cast

import structlog
from sqlalchemy import Column, Executable, Select, SelectBase, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import statements
from shared.connections import Connection, Connections, borrowed, dialect_of, make_engine
from shared.faults import (
    LostUpdate,
    TryAgain,
    is_data_error,
    is_transient,
)
from shared.sqltypes import Day, Instant, from_micros, new_metadata, now_micros, to_micros
from shared.statements import AnyRow as Row
from shared.statements import DialectName

__all__ = [
    "Database",
    "Day",
    "Instant",
    "LostUpdate",
    "Row",
    "TryAgain",
    "Tx",
    "from_micros",
    "is_data_error",
    "is_transient",
    "new_metadata",
    "now_micros",
    "to_micros",
]

Key = TypeVar("Key", bound=tuple[object, ...])

_NOW: Select[int] = select(now_micros().label("micros"))

logger = structlog.get_logger(__name__)


class Tx:
    """One transaction. Every method takes many rows and does nothing for none.

    Rows come back as SQLAlchemy rows: `row.points`, or in the order of the columns.
    Rows that are given are mappings that all have the same keys.
    """

    def __init__(self, connection: Connection, dialect: DialectName) -> None:
        self._connection = connection
        self.dialect: DialectName = dialect

    @property
    def core(self) -> AsyncConnection:
        """The connection under it, for what nothing below can say."""
        return self._connection.core

    async def insert(
        self,
        table: Table,
        rows: Sequence[Mapping[str, object]],
        *,
        ignore_conflicts: bool = False,
        returning: Sequence[str] = (),
    ) -> list[Row]:
        """Inserts rows; those whose key is taken are left out if `ignore_conflicts`.

        `returning` names the columns to give back, in no particular order.
        A row that another transaction has inserted and not committed is waited for, so rows that
        may conflict are inserted in the order of the primary key.
        """
        if not rows:
            return []
        names = tuple(rows[0])
        if ignore_conflicts:
            rows = _sorted(rows, [column.name for column in table.primary_key])
        plan = statements.insert_plan(
            self.dialect, table, names, ignore=ignore_conflicts, returning=tuple(returning)
        )
        values = statements.rows_as_values(rows, names)
        if not returning:
            await self._connection.change(plan, values)
            return []
        return plan.rows(await self._connection.fetch(plan, values))

    async def upsert(
        self,
        table: Table,
        rows: Sequence[Mapping[str, object]],
        *,
        key: Sequence[str],
        update: Sequence[str],
    ) -> None:
        """Inserts rows, or sets the columns `update` where the key is there; sorted by key.

        A key must not appear twice.
        """
        if not rows:
            return
        names = tuple(rows[0])
        plan = statements.upsert_plan(self.dialect, table, names, tuple(key), tuple(update))
        values = statements.rows_as_values(_sorted(rows, key), names)
        await self._connection.change(plan, values)

    async def update(
        self, table: Table, rows: Sequence[Mapping[str, object]], *, key: Sequence[str]
    ) -> None:
        """Sets the other columns of each row, found by `key`.

        The rows should have been locked with `select(lock=True)`: an UPDATE locks in no order.
        Raises LostUpdate when one of them is not there.
        """
        if not rows:
            return
        names = tuple(name for name in rows[0] if name not in key)
        plan = statements.update_plan(self.dialect, table, names, tuple(key))
        values = statements.rows_as_values(rows, (*names, *key))
        changed = await self._connection.change(plan, values)
        if changed != len(rows):
            raise LostUpdate(f"{table.name}: {changed} of {len(rows)} rows were there")

    async def update_several(
        self,
        table: Table,
        rows: Sequence[Mapping[str, object]],
        *,
        key: Sequence[str],
        several: str,
    ) -> None:
        """As `update`, for several rows of each key: `several` is a column, and has integers.

        `{"wallet": "w", "lot": [1, 2], "remaining": 0}` sets what remains in two lots of a wallet.
        """
        if not rows:
            return
        numbers = [cast("Sequence[int]", row[several]) for row in rows]
        if self.dialect == "sqlite":
            each = [
                {**row, several: number}
                for row, its in zip(rows, numbers, strict=True)
                for number in its
            ]
            await self.update(table, each, key=(*key, several))
            return
        names = tuple(name for name in rows[0] if name not in key and name != several)
        plan = statements.update_several_plan(table, names, tuple(key), several)
        values = statements.rows_as_values(rows, (*names, *key, several))
        changed = await self._connection.change(plan, values)
        if changed != (wanted := sum(map(len, numbers))):
            raise LostUpdate(f"{table.name}: {changed} of {wanted} rows were there")

    async def increment(
        self,
        table: Table,
        amounts: Mapping[Key, int],
        *,
        key: Sequence[str],
        column: str,
    ) -> list[Row]:
        """Adds to `column` of the rows with these keys; gives back each key and the new value.

        Rows that are not there are not made.
        The locks are taken in the order of the key.
        """
        if not amounts:
            return []
        plan = statements.increment_plan(self.dialect, table, tuple(key), column)
        values = [(*each, amount) for each, amount in amounts.items()]
        return plan.rows(await self._connection.fetch(plan, values))

    async def delete(
        self, table: Table, keys: Sequence[tuple[object, ...]], *, key: Sequence[str]
    ) -> int:
        """Deletes the rows with these keys; how many there were."""
        if not keys:
            return 0
        plan = statements.delete_plan(self.dialect, table, tuple(key))
        return await self._connection.change(plan, keys)

    async def select(
        self,
        table: Table | Sequence[Column[object]],
        keys: Sequence[tuple[object, ...]],
        *,
        key: Sequence[str],
        lock: bool = False,
        order_by: Sequence[str] = (),
    ) -> list[Row]:
        """Rows (or these columns of them) whose `key` columns equal one of `keys`.

        A key given twice counts once.
        `lock` waits for and takes the row locks, in the order of `key` unless `order_by` says
        otherwise; what hangs on a locked row is read by a later statement, whose snapshot is new.
        """
        if not keys:
            return []
        if isinstance(table, Table):
            names, source = tuple(column.name for column in table.columns), table
        else:
            names, source = tuple(column.name for column in table), table[0].table
        plan = statements.select_plan(
            self.dialect,
            source,
            names,
            tuple(key),
            lock=lock,
            order_by=tuple(order_by),
        )
        return plan.rows(await self._connection.fetch(plan, list(dict.fromkeys(keys))))

    async def fetch(
        self, statement: Executable, params: Mapping[str, object] | None = None
    ) -> list[Row]:
        """Rows of any Core statement; build it once, at module level, so that it is cached."""
        result = await self.core.execute(statement, params)
        return cast("list[Row]", list(result.all()))

    async def plain(
        self, statement: SelectBase, params: Mapping[str, object]
    ) -> Sequence[Sequence[object]]:
        """Rows of a Core statement as the driver has them, for reads of very many.

        No value is converted either way: instants are microseconds, JSON is text. Build the
        statement once, at module level.
        """
        text = statements.text_of(self.dialect, statement)
        return await self._connection.plain(text, [params[name] for name in text.names])

    def pages(
        self, statement: SelectBase, params: Mapping[str, object], size: int
    ) -> AsyncIterator[Sequence[Sequence[object]]]:
        """Rows as `plain` gives them, at most `size` at a time, never all of them in memory."""
        text = statements.text_of(self.dialect, statement)
        return self._connection.pages(text, [params[name] for name in text.names], size)

    async def execute(
        self, statement: Executable, params: Mapping[str, object] | None = None
    ) -> int:
        """Runs any Core statement; the number of rows it changed."""
        return (await self.core.execute(statement, params)).rowcount

    async def now_micros(self) -> int:
        """The database's real clock, in microseconds since 1970."""
        row = (await self.fetch(_NOW))[0]
        return int(row.micros)


class Database:
    """One service's database: its own SQLite file, or its own schema in PostgreSQL."""

    def __init__(
        self, url: str, *, schema: str, writers: Connections, readers: Connections
    ) -> None:
        self.dialect = dialect_of(url)
        self.schema = schema
        self.url = url
        self._writers = writers
        self._readers = readers
        self._callbacks: list[Callable[[], None]] = []
        self._begin_write, self._begin_read = (
            ("BEGIN IMMEDIATE", "BEGIN")
            if self.dialect == "sqlite"
            else ("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        )

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        schema: str,
        lanes: int = 1,
        readers: int = 4,
        isolation: str | None = None,
    ) -> "Database":
        """Opens `sqlite:///path` or `postgresql://…` and makes one connection to prove it is there.

        `lanes` is how many transactions may write at once, besides two for jobs and one for
        workers; SQLite has one writer whatever it says, and the others wait for their turn.
        `isolation` is PostgreSQL's default for transactions that write (`serializable`).
        Raises OSError or a driver's error when the database cannot be reached.
        """
        dialect = dialect_of(url)
        size = 1 if dialect == "sqlite" else lanes + 3
        engine = make_engine(url, schema=schema, writer=True, isolation=isolation)
        writers = Connections(engine, dialect, size, writer=True)
        read_engine = make_engine(url, schema=schema, writer=False, isolation=None)
        database = cls(
            url,
            schema=schema,
            writers=writers,
            readers=Connections(read_engine, dialect, readers, writer=False),
        )
        async with borrowed(writers, database._begin_write):
            return database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """A transaction that writes: committed at the end, rolled back when anything is raised."""
        async with borrowed(self._writers, self._begin_write) as connection:
            yield Tx(connection, self.dialect)
        for callback in self._callbacks:
            try:
                callback()
            except Exception:  # the commit stands, whatever a listener makes of it
                logger.exception("commit listener failed", database=self.schema)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Tx]:
        """A transaction that only reads, all of it from one snapshot."""
        async with borrowed(self._readers, self._begin_read) as connection:
            yield Tx(connection, self.dialect)

    async def now_micros(self) -> int:
        """The database's real clock, in microseconds since 1970."""
        async with self.reading() as tx:
            return await tx.now_micros()

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Calls `callback` after every transaction of this object that wrote and committed.

        It must be quick: it sets an asyncio.Event, and what waits for that looks for itself.
        """
        self._callbacks.append(callback)

    async def dispose(self) -> None:
        """Closes the connections; transactions should be over."""
        await self._writers.dispose()
        await self._readers.dispose()


def _sorted(
    rows: Sequence[Mapping[str, object]], key: Sequence[str]
) -> Sequence[Mapping[str, object]]:
    if len(rows) < 2 or not all(name in rows[0] for name in key):
        return rows
    order = cast("Callable[[Mapping[str, object]], str]", itemgetter(*key))
    return sorted(rows, key=order)
