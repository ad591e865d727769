"""Databases that tests take and put back: with a service's tables, and without a row.

Half a second goes into a database on PostgreSQL and its tables, and some milliseconds into emptying
it.
A test that changed the tables themselves leaves a database that nobody gets again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from os import getpid
from pathlib import Path

import asyncpg
from sqlalchemy import MetaData, make_url

from services.earning import tables as earning
from services.gamification import tables as gamification
from services.redemption import tables as redemption
from services.tiers import tables as tiers
from shared import migrate

SCHEMA = "guerdon_test"

_ALL = """
SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) AS name FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND tablename <> 'alembic_version'
ORDER BY name
"""
_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
# What a test might change of the tables: columns, constraints, indexes, triggers and functions.
_STRUCTURE = """
WITH ours AS (
    SELECT c.oid, n.nspname || '.' || c.relname AS name, c.relkind::text AS kind
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^(pg_|information_schema$)'
), said AS (
    SELECT kind || ' ' || name AS what FROM ours
    UNION ALL SELECT name || ' ' || a.attname || format_type(a.atttypid, a.atttypmod)
        || a.attnotnull || a.attisdropped
        FROM pg_attribute a JOIN ours ON a.attrelid = ours.oid WHERE a.attnum > 0
    UNION ALL SELECT name || ' ' || r.conname || pg_get_constraintdef(r.oid)
        FROM pg_constraint r JOIN ours ON r.conrelid = ours.oid
    UNION ALL SELECT name || ' ' || pg_get_indexdef(i.indexrelid) || i.indisvalid
        FROM pg_index i JOIN ours ON i.indrelid = ours.oid
    UNION ALL SELECT name || ' ' || pg_get_triggerdef(t.oid) || t.tgenabled::text
        FROM pg_trigger t JOIN ours ON t.tgrelid = ours.oid WHERE NOT t.tgisinternal
    UNION ALL SELECT n.nspname || '.' || p.proname || md5(p.prosrc)
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname !~ '^(pg_|information_schema$)'
)
SELECT md5(string_agg(what, E'\\n' ORDER BY what)) FROM said
"""


@dataclass(frozen=True, slots=True)
class Ready:
    """Tables that databases of a service's tests have already."""

    service: str
    metadata: MetaData

    async def migrate(self, url: str, schema: str) -> None:
        package = f"services.{self.service}.migrations"
        await migrate.migrate(url, schema=schema, package=package, metadata=self.metadata)

    async def sqlite(self, file: Path) -> str:
        """URL of a new SQLite file with the tables."""
        url = f"sqlite:///{file}"
        if self.service not in _made:
            await self.migrate(url, self.service)
            _made[self.service] = await asyncio.to_thread(file.read_bytes)
        else:
            await asyncio.to_thread(file.write_bytes, _made[self.service])
        return url


_made: dict[str, bytes] = {}
EARNING = Ready("earning", earning.metadata)
TIERS = Ready("tiers", tiers.metadata)
REDEMPTION = Ready("redemption", redemption.metadata)
GAMIFICATION = Ready("gamification", gamification.metadata)


@dataclass(slots=True)
class _Kind:
    """The empty databases of one kind, each like the first, from which they are copied."""

    template: str
    structure: str
    tables: Sequence[str]
    free: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Shelf:
    """The databases of one PostgreSQL server."""

    server: str
    _numbers: "count[int]" = field(default_factory=lambda: count(1))
    _kinds: dict[str, _Kind] = field(default_factory=dict)

    async def take(self, ready: Ready | None) -> str:
        """URL of an empty database; it has the tables if there are any, in both schemas."""
        if ready is None:
            return await self._created("")
        if ready.service not in self._kinds:
            self._kinds[ready.service] = await self._kind_of(ready)
        kind = self._kinds[ready.service]
        return kind.free.pop() if kind.free else await self._created(kind.template)

    async def put_back(self, url: str, ready: Ready | None) -> None:
        """Empty a database, or drop it if it is not what it was."""
        kind = self._kinds[ready.service] if ready else None
        if kind is not None and await _emptied(url, kind):
            kind.free.append(url)
            return
        await self._drop(url)

    async def clear(self) -> None:
        """Drop every database that was made and is not dropped yet."""
        for kind in self._kinds.values():
            for url in (*kind.free, kind.template):
                await self._drop(url)

    async def _kind_of(self, ready: Ready) -> _Kind:
        url = await self._created("")
        for schema in (SCHEMA, ready.service):
            await ready.migrate(url, schema)
        connection = await asyncpg.connect(url)
        try:
            structure = await connection.fetchval(_STRUCTURE)
            tables = [row["name"] for row in await connection.fetch(_ALL)]
        finally:
            await connection.close()
        return _Kind(url, structure, tables)

    async def _drop(self, url: str) -> None:
        await statement(self.server, f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    async def _created(self, template: str) -> str:
        """URL of a copy of the database at another URL, or of one without anything."""
        name = f"test_{getpid()}_{next(self._numbers)}"
        like = f" TEMPLATE {make_url(template).database}" if template else ""
        await statement(self.server, f"CREATE DATABASE {name}{like}")
        return make_url(self.server).set(database=name).render_as_string(hide_password=False)


async def _emptied(url: str, kind: _Kind) -> bool:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_OTHERS)
        if await connection.fetchval(_STRUCTURE) != kind.structure:
            return False
        some = " UNION ALL ".join(
            f"SELECT '{name}' AS name WHERE EXISTS (SELECT FROM {name})" for name in kind.tables
        )
        filled = [row["name"] for row in await connection.fetch(some)]
        if filled:
            # What is append only is protected from TRUNCATE as well, by triggers.
            await connection.execute("SET session_replication_role = replica")
            await connection.execute(f"TRUNCATE {', '.join(filled)} RESTART IDENTITY CASCADE")
        return True
    finally:
        await connection.close()


async def statement(url: str, sql: str) -> None:
    """Execute one statement on PostgreSQL."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
