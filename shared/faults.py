"""What an error of the database means for the work that met it.

Transient: somebody else was faster, the connection is gone or the machine is short of something:
the whole unit of work is done again from its start.
Data: a constraint or a value was wrong: doing it again fails again, so the culprit is looked for.
Both drivers and SQLAlchemy wrap each other's errors, so the chain of causes is searched.
"""

import asyncio
import sqlite3
from collections.abc import Iterator

import asyncpg
from sqlalchemy import exc

_TRANSIENT_STATES = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "55P03",  # lock_timeout
        "57014",  # statement_timeout
        "25P03",  # idle in transaction too long
        "25P04",  # transaction too long
        "57P01",  # the server is being shut down
        "57P02",
        "57P03",  # the server is starting
        "57P05",  # idle session
    }
)
_DATA_CLASSES = ("22", "23")
_RESOURCE_CLASSES = ("53", "58")  # disk full, out of memory, too many connections, I/O error
_CONNECTION_CLASS = "08"
_SQLITE_TRANSIENT = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
    }
)
_PRIMARY = 0xFF  # the low byte of an extended SQLite code is the primary one


class TryAgain(Exception):
    """The unit of work has to start again: what it read changed under it."""


class LostUpdate(Exception):
    """An UPDATE that must find each of its rows did not: the state is not what was loaded."""


class ConnectionLost(Exception):
    """The connection broke; whether a COMMIT that was on its way came through is unknown."""


def is_transient(error: BaseException) -> bool:
    """Tell whether the whole unit of work should be tried again."""
    return any(_transient(each) for each in _chain(error))


def is_data_error(error: BaseException) -> bool:
    """Tell whether a constraint or a value was wrong."""
    return any(_data(each) for each in _chain(error))


def is_connection_lost(error: BaseException) -> bool:
    """Tell whether the connection cannot be used any more."""
    return any(_lost(each) for each in _chain(error))


def table_of_taken_key(error: BaseException) -> str:
    """The table that has a row of the key that was to be inserted; empty for any other error."""
    for each in _chain(error):
        if isinstance(each, sqlite3.IntegrityError):
            _, found, columns = str(each).partition("UNIQUE constraint failed: ")
            return columns.partition(".")[0] if found else ""
        if isinstance(each, asyncpg.UniqueViolationError):
            return str(each.as_dict().get("table_name", ""))
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        wrapped = current.orig if isinstance(current, exc.DBAPIError) else None
        current = wrapped or current.__cause__


def _transient(error: BaseException) -> bool:
    if isinstance(error, TryAgain):
        return True
    if isinstance(error, sqlite3.OperationalError):
        return _sqlite_code(error) in _SQLITE_TRANSIENT
    state = _state(error)
    return state in _TRANSIENT_STATES or state[:2] in _RESOURCE_CLASSES or _lost(error)


def _lost(error: BaseException) -> bool:
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, asyncpg.InterfaceError):
        # "connection is closed", "connection was closed in the middle of operation", and so on;
        # its other uses are mistakes in a query's arguments.
        return "connection" in str(error).lower() and not isinstance(error, ValueError)
    lost = (ConnectionLost, OSError, asyncio.TimeoutError, exc.TimeoutError)
    return isinstance(error, lost) or _state(error).startswith(_CONNECTION_CLASS)


def _data(error: BaseException) -> bool:
    if isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError, exc.IntegrityError)):
        return True
    return _state(error)[:2] in _DATA_CLASSES or isinstance(error, asyncpg.DataError)


def _state(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else ""


def _sqlite_code(error: sqlite3.Error) -> int:
    code = getattr(error, "sqlite_errorcode", None)
    return code & _PRIMARY if isinstance(code, int) else -1
