"""Connections to one database: how each is set up, kept and thrown away.

A connection is used by one transaction at a time and then kept open: checking one out of
SQLAlchemy's pool for every transaction costs 115 µs.
SQLAlchemy sees each one as autocommitting, because BEGIN and COMMIT are ours: on SQLite a
transaction that will write must say BEGIN IMMEDIATE, and array statements go to the driver.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol, cast

from sqlalchemy import URL, AdaptedConnection, event, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from shared.faults import ConnectionLost
from shared.statements import DialectName, Plan, Text, Values

WAIT_SECONDS = 10.0
"""How long a transaction waits for a free connection before it gives up (transient)."""

_COMMAND_TIMEOUT_SECONDS = 20.0  # a frozen server must not hold a lane for ever
_POSTGRES_SETTINGS = {
    # A caller's deadline is longer than any of these, so it hears of the failure itself.
    "lock_timeout": "5s",
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "15s",
    "timezone": "UTC",
    "jit": "off",
}
# Every statement of the write path is a lookup by key. A plan made while a table was small would
# go on scanning it after it has grown, until the next ANALYZE.
# Left to itself, PostgreSQL plans each of them anew every time, because it knows the length of the
# arrays then: a quarter of its CPU for a batch of 20 activities.
_POSTGRES_WRITER = {"enable_seqscan": "off", "plan_cache_mode": "force_generic_plan"}
_SQLITE_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -32768",
)
_SQLITE_READER = "PRAGMA query_only = ON"


class PostgresDriver(Protocol):
    """What is used of an asyncpg connection."""

    async def fetch(self, query: str, *args: object) -> list[tuple[object, ...]]:
        """Rows of a statement."""

    async def execute(self, query: str, *args: object) -> str:
        """Status of a statement, such as `UPDATE 3`."""

    def cursor(self, query: str, *args: object) -> Awaitable["PostgresCursor"]:
        """Rows of a statement, to be fetched a part at a time."""

    def is_closed(self) -> bool:
        """Tell whether the connection is gone."""

    def terminate(self) -> None:
        """Close the socket without a word."""


class PostgresCursor(Protocol):
    """What is used of an asyncpg cursor; the server ends it with the transaction."""

    async def fetch(self, n: int) -> Sequence[Sequence[object]]:
        """The next rows, none at the end."""


class SqliteCursor(Protocol):
    """What is used of an aiosqlite cursor."""

    async def fetchmany(self, size: int) -> Sequence[Sequence[object]]:
        """The next rows, none at the end."""

    async def close(self) -> None:
        """Let go of the statement."""

    @property
    def rowcount(self) -> int:
        """Rows that were changed, all executions of an executemany together."""


class SqliteDriver(Protocol):
    """What is used of an aiosqlite connection; each call crosses to its thread and back once."""

    async def execute_fetchall(
        self, sql: str, parameters: tuple[object, ...] = ()
    ) -> list[tuple[object, ...]]:
        """Rows of a statement."""

    def execute(self, sql: str, parameters: Sequence[object]) -> Awaitable[SqliteCursor]:
        """Rows of a statement, to be fetched a part at a time."""

    async def executemany(self, sql: str, parameters: Values) -> SqliteCursor:
        """Run a statement once per row."""


class Connection(Protocol):
    """One connection, whatever the database."""

    core: AsyncConnection

    async def run(self, sql: str) -> None:
        """Run a statement without parameters, such as BEGIN."""

    async def fetch(self, plan: Plan, values: Values) -> list[tuple[object, ...]]:
        """Rows of a planned statement."""

    async def plain(self, text: Text, values: Sequence[object]) -> Sequence[Sequence[object]]:
        """Rows of a statement as the driver gives them."""

    def pages(
        self, text: Text, values: Sequence[object], size: int
    ) -> AsyncIterator[Sequence[Sequence[object]]]:
        """The same, at most `size` rows at a time, over a cursor of the database."""

    async def change(self, plan: Plan, values: Values) -> int:
        """Run a planned statement; the number of rows it changed."""

    def broken(self) -> bool:
        """Tell whether the connection cannot be used any more."""

    async def discard(self) -> None:
        """Close the connection whatever state it is in."""


class PostgresConnection:
    """A connection through asyncpg."""

    def __init__(self, core: AsyncConnection, driver: PostgresDriver) -> None:
        self.core = core
        self._driver = driver

    async def run(self, sql: str) -> None:
        """Run a statement without parameters."""
        await self._driver.execute(sql)

    async def fetch(self, plan: Plan, values: Values) -> list[tuple[object, ...]]:
        """Rows of a planned statement."""
        return await self._driver.fetch(plan.sql, *plan.parameters(values))

    async def plain(self, text: Text, values: Sequence[object]) -> Sequence[Sequence[object]]:
        """Rows of a statement; asyncpg's records are as good as tuples."""
        return await self._driver.fetch(text.sql, *values)

    async def pages(
        self, text: Text, values: Sequence[object], size: int
    ) -> AsyncIterator[Sequence[Sequence[object]]]:
        """The same, at most `size` rows at a time."""
        cursor = await self._driver.cursor(text.sql, *values)
        while rows := await cursor.fetch(size):
            yield rows

    async def change(self, plan: Plan, values: Values) -> int:
        """Run a planned statement; the count is the last word of its status."""
        status = await self._driver.execute(plan.sql, *plan.parameters(values))
        return int(status.rpartition(" ")[2])

    def broken(self) -> bool:
        """Tell whether the socket is closed."""
        return self.core.invalidated or self._driver.is_closed()

    async def discard(self) -> None:
        """Cut the socket: a graceful close could wait for a server that does not answer."""
        self._driver.terminate()
        with suppress(Exception):
            await self.core.invalidate()
        with suppress(Exception):
            await self.core.close()


class SqliteConnection:
    """A connection through aiosqlite."""

    def __init__(self, core: AsyncConnection, driver: SqliteDriver) -> None:
        self.core = core
        self._driver = driver

    async def run(self, sql: str) -> None:
        """Run a statement without parameters."""
        await self._driver.execute_fetchall(sql)

    async def fetch(self, plan: Plan, values: Values) -> list[tuple[object, ...]]:
        """Rows of a planned statement."""
        return await self._driver.execute_fetchall(plan.sql, tuple(plan.parameters(values)))

    async def plain(self, text: Text, values: Sequence[object]) -> Sequence[Sequence[object]]:
        """Rows of a statement."""
        return await self._driver.execute_fetchall(text.sql, tuple(values))

    async def pages(
        self, text: Text, values: Sequence[object], size: int
    ) -> AsyncIterator[Sequence[Sequence[object]]]:
        """The same, at most `size` rows at a time."""
        cursor = await self._driver.execute(text.sql, tuple(values))
        try:
            while rows := await cursor.fetchmany(size):
                yield rows
        finally:
            await cursor.close()

    async def change(self, plan: Plan, values: Values) -> int:
        """Run a planned statement once per row."""
        if not plan.many:
            await self._driver.execute_fetchall(plan.sql, tuple(plan.parameters(values)))
            return len(values)
        rows = cast("Values", plan.parameters(values))
        return (await self._driver.executemany(plan.sql, rows)).rowcount

    def broken(self) -> bool:
        """Tell whether the file is closed."""
        return self.core.invalidated

    async def discard(self) -> None:
        """Close the file; `undo_before_close` undoes what was not committed."""
        with suppress(Exception):
            await self.core.invalidate()
        with suppress(Exception):
            await self.core.close()


class Connections:
    """At most `size` connections of one kind, opened when first needed and kept."""

    def __init__(
        self, engine: AsyncEngine, dialect: DialectName, size: int, *, writer: bool
    ) -> None:
        self.engine = engine
        self._dialect = dialect
        self._settings = _SQLITE_SETTINGS if writer else (*_SQLITE_SETTINGS, _SQLITE_READER)
        self._size = size
        self._places = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._disposed = False

    async def take(self) -> Connection:
        """Take a connection; TimeoutError when none gets free in time."""
        async with asyncio.timeout(WAIT_SECONDS):
            await self._places.acquire()
        try:
            while self._idle:
                connection = self._idle.pop()
                if not connection.broken():
                    return connection
                await connection.discard()
            return await self._open_whole()
        except BaseException:
            self._places.release()
            raise

    def give_back(self, connection: Connection) -> None:
        """Keep a connection, which must be in no transaction, for the next one."""
        self._idle.append(connection)
        self._places.release()

    async def throw_away(self, connection: Connection) -> None:
        """Close a connection whose state is unknown."""
        try:
            await connection.discard()
        finally:
            self._places.release()

    async def dispose(self) -> None:
        """Close all connections, once those that are out have come back.

        Whoever was cancelled undoes its transaction in a task of its own, and that may still go on.
        """
        if self._disposed:
            return
        self._disposed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                for _ in range(self._size):
                    await self._places.acquire()
        while self._idle:
            await self._idle.pop().discard()
        await self.engine.dispose()

    async def _open_whole(self) -> Connection:
        """Open a connection; one whose caller is cancelled meanwhile is kept for the next."""
        opening = asyncio.ensure_future(self._open())
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            with suppress(Exception):
                self._idle.append(await opening)
            raise

    async def _open(self) -> Connection:
        core = await self.engine.connect()
        raw = (await core.get_raw_connection()).driver_connection
        if raw is None:
            raise ConnectionLost("the connection was closed while it was opened")
        if self._dialect == "postgresql":
            return PostgresConnection(core, raw)
        connection = SqliteConnection(core, raw)
        for setting in self._settings:
            await connection.run(setting)
        return connection


def dialect_of(url: str) -> DialectName:
    """`sqlite` or `postgresql`; ValueError for another database or one held in memory."""
    parsed = make_url(url)
    name = parsed.get_backend_name()
    if name == "postgresql":
        return "postgresql"
    if name != "sqlite":
        raise ValueError(f"{name} is no database of ours: use sqlite:///path or postgresql://…")
    if parsed.database in {None, "", ":memory:"}:
        raise ValueError("an SQLite database needs a path: sqlite:///path")
    return "sqlite"


def engine_url(url: str) -> URL:
    """URL with the driver that is used for it."""
    driver = {"postgresql": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}[dialect_of(url)]
    return make_url(url).set(drivername=driver)


def make_engine(url: str, *, schema: str, writer: bool, isolation: str | None) -> AsyncEngine:
    """Engine that pools nothing and commits nothing by itself."""
    target = engine_url(url)
    if dialect_of(url) == "sqlite":
        Path(target.database or "").parent.mkdir(parents=True, exist_ok=True)
        engine = create_async_engine(target, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        event.listen(engine.sync_engine, "close", undo_before_close)
        return engine
    settings = _POSTGRES_SETTINGS | (_POSTGRES_WRITER if writer else {})
    settings |= {"search_path": schema, "application_name": f"guerdon {schema}"}
    if isolation is not None:
        settings["default_transaction_isolation"] = isolation
    return create_async_engine(
        target,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={
            "server_settings": settings,
            "statement_cache_size": 500,
            "command_timeout": _COMMAND_TIMEOUT_SECONDS,
        },
    )


def undo_before_close(connection: AdaptedConnection, _: object) -> None:
    """Roll back what is open on an SQLite connection, whoever closes it.

    SQLAlchemy itself closes one whose statement is cancelled.
    Closing alone leaves the transaction open, and the file locked, for as long as anything still
    refers to a statement of it, such as the traceback of what went wrong.
    """
    # Once asked for it happens; a caller who is cancelled again need not see the end of it.
    with suppress(asyncio.CancelledError):
        connection.run_async(lambda driver: asyncio.shield(driver.rollback()))


@asynccontextmanager
async def borrowed(connections: Connections, begin: str) -> AsyncIterator[Connection]:
    """One transaction on a connection: `begin` … COMMIT, or ROLLBACK when anything is raised.

    A cancelled transaction is undone in a task of its own, because the driver may be in the
    middle of a statement.
    """
    connection = await connections.take()
    try:
        await connection.run(begin)
        yield connection
        await connection.run("COMMIT")
    except BaseException as error:
        await asyncio.shield(asyncio.ensure_future(_undo(connections, connection, error)))
        raise
    connections.give_back(connection)


async def _undo(connections: Connections, connection: Connection, error: BaseException) -> None:
    if connection.broken() or not isinstance(error, Exception):
        await connections.throw_away(connection)
        return
    try:
        await connection.run("ROLLBACK")
    except Exception:  # noqa: BLE001 - whatever it was, the connection is of no use any more
        await connections.throw_away(connection)
        return
    connections.give_back(connection)
