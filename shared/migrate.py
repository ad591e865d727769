"""Brings a service's database to the schema that its code expects.

There is one Alembic environment (`shared/migrations`); each service has a history of its own, the
numbered and named revisions in `services/<service>/migrations`.
Several processes may start at once: on PostgreSQL one migrates and the others wait (advisory lock),
on SQLite the file's write lock does that.
A migration only adds, so that old and new code run together while a cluster is restarted; what is
no longer used is dropped a release later.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from shared.connections import dialect_of, engine_url, undo_before_close

T = TypeVar("T")

_LOCK = 7_203_919_455  # any number: every process that migrates takes the same one


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the Alembic environment needs; handed over in its configuration."""

    connection: Connection
    metadata: MetaData


async def migrate(database_url: str, *, schema: str, package: str, metadata: MetaData) -> None:
    """Creates the schema if need be and runs the history of `package` to its newest revision.

    `package` is the folder of the revisions as a module (`services.earning.migrations`).
    """

    def upgrade(connection: Connection) -> None:
        command.upgrade(_config(connection, package, metadata), "head")

    await _run(database_url, schema, upgrade)


async def create_all(database_url: str, *, schema: str, metadata: MetaData) -> None:
    """Creates the schema and every table as the code describes them, for tests."""
    await _run(database_url, schema, metadata.create_all)


async def differences(database_url: str, *, schema: str, metadata: MetaData) -> list[str]:
    """What separates the database from the code; empty when the history is complete."""

    def compare(connection: Connection) -> list[str]:
        options = {"compare_type": True, "include_name": _no_version_table}
        context = MigrationContext.configure(connection, opts=options)
        return [str(each) for each in compare_metadata(context, metadata)]

    return await _run(database_url, schema, compare)


async def write_revision(
    database_url: str,
    *,
    schema: str,
    package: str,
    metadata: MetaData,
    number: str,
    message: str,
) -> None:
    """Writes the next revision from what the code has and the database lacks.

    `number` is its id, such as 0002, and the first part of its file's name.
    The database must be at the newest revision; the file is a draft to be read and corrected.
    """

    def revise(connection: Connection) -> None:
        command.revision(
            _config(connection, package, metadata), message, autogenerate=True, rev_id=number
        )

    await _run(database_url, schema, revise)


async def _run(database_url: str, schema: str, work: Callable[[Connection], T]) -> T:
    """Runs `work` in one transaction in the schema, while nobody else migrates."""
    postgres = dialect_of(database_url) == "postgresql"
    target = engine_url(database_url)
    if postgres:
        # Waiting for another process's migration is no reason to give up.
        connect_args: dict[str, object] = {"server_settings": {"search_path": schema}}
        engine = create_async_engine(target, poolclass=NullPool, connect_args=connect_args)
    else:
        Path(target.database or "").parent.mkdir(parents=True, exist_ok=True)
        engine = create_async_engine(target, poolclass=NullPool, connect_args={"timeout": 60})
        sa.event.listen(engine.sync_engine, "close", undo_before_close)
    try:
        async with engine.connect() as connection:
            if postgres:
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
                await connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
            else:
                # The driver would begin late, with the first INSERT, and leave DDL outside.
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            result = await connection.run_sync(work)
            await connection.commit()
            return result
    finally:
        await engine.dispose()


def _config(connection: Connection, package: str, metadata: MetaData) -> Config:
    config = Config()
    config.set_main_option("script_location", str(resources.files("shared") / "migrations"))
    config.set_main_option("version_locations", str(_folder(package)))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["job"] = Job(connection=connection, metadata=metadata)
    return config


def _folder(package: str) -> Path:
    """Folder of a package of revisions, without importing it."""
    parent, _, name = package.rpartition(".")
    return Path(str(resources.files(parent))) / name


def _no_version_table(name: str | None, kind: str, _: object) -> bool:
    return not (kind == "table" and name == "alembic_version")
