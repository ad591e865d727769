"""Column types of ours, names for constraints, and the database's own clock.

The rest of the schema uses Text, BigInteger, Integer, Boolean and LargeBinary; JSON is TEXT that
`shared.record` wrote, so that a value reads the same whatever the database is.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from sqlalchemy import BigInteger, Dialect, MetaData, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def new_metadata() -> MetaData:
    """Make an empty schema in which every constraint gets a name, as migrations need it."""
    return MetaData(naming_convention=_NAMES)


def to_micros(instant: datetime) -> int:
    """Convert an aware instant to microseconds since 1970 (UTC), exactly."""
    return (instant - EPOCH) // MICROSECOND


@lru_cache(maxsize=4_096)
def from_micros(micros: int) -> datetime:
    """Convert microseconds since 1970 to an aware UTC instant.

    Cached, because the rows of a statement mostly have the same few instants.
    """
    return EPOCH + timedelta(microseconds=micros)


class Instant(TypeDecorator[datetime]):
    """An aware datetime, stored as BIGINT microseconds since 1970.

    Integers compare, index and travel in arrays alike on both databases; TypeError for a datetime
    that has no zone.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Microseconds, for the database."""
        del dialect
        return None if value is None else to_micros(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Aware UTC datetime, for Python."""
        del dialect
        return None if value is None else from_micros(value)


class Day(TypeDecorator[date]):
    """A calendar day, stored as ISO text (`2026-02-28`)."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: date | None, dialect: Dialect) -> str | None:
        """ISO text, for the database."""
        del dialect
        return None if value is None else value.isoformat()

    def process_result_value(self, value: str | None, dialect: Dialect) -> date | None:
        """Date, for Python."""
        del dialect
        return None if value is None else date.fromisoformat(value)


class now_micros(FunctionElement[int]):  # noqa: N801 - a SQL function, written like one
    """The database's real clock at this moment, in microseconds since 1970.

    Not `now()`, which stands still within a PostgreSQL transaction.
    SQLite's has the resolution of a millisecond.
    """

    type = BigInteger()
    inherit_cache = True
    name = "now_micros"


NOW_MICROS = {
    "postgresql": "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
}


@compiles(now_micros)
def _now_micros(element: now_micros, compiler: SQLCompiler, **_: object) -> str:
    del element
    return f"({NOW_MICROS[compiler.dialect.name]})"
