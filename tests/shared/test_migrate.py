"""One Alembic environment; each service has a history of its own."""

import asyncio
import importlib
from pathlib import Path

import pytest
import sqlalchemy as sa

from shared.database import Database
from shared.migrate import create_all, differences, migrate, write_revision
from tests.shared import counter


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A service that has no revisions yet; its folder of them is where services have it."""
    name = f"service_{tmp_path.name.replace('-', '_')}"
    (tmp_path / name / "migrations").mkdir(parents=True)
    (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return f"{name}.migrations"


async def write_first(url: str, package: str) -> None:
    await write_revision(
        url,
        schema="guerdon_drafts",
        package=package,
        metadata=counter.metadata,
        number="0001",
        message="first tables",
    )


@pytest.mark.parametrize("written_on", ["sqlite", "postgresql"])
async def test_a_history_written_on_either_database_leads_to_the_same_schema_on_both(
    sqlite_url: str, postgres_url: str, package: str, tmp_path: Path, written_on: str
) -> None:
    drafts = f"{sqlite_url}.drafts" if written_on == "sqlite" else postgres_url
    await write_first(drafts, package)
    names = [each.name for each in tmp_path.glob("*/migrations/*.py")]  # noqa: ASYNC240
    assert names == ["0001_first_tables.py"]
    for url in (sqlite_url, postgres_url):
        place = {"schema": "guerdon_x", "metadata": counter.metadata}
        await migrate(url, package=package, **place)  # type: ignore[arg-type]
        await migrate(url, package=package, **place)  # type: ignore[arg-type]
        assert await differences(url, **place) == []  # type: ignore[arg-type]
        database = await Database.open(url, schema="guerdon_x")
        async with database.transaction() as tx:
            key = {"program_id": "p", "scope": "s", "request_id": "r", "digest": "d"}
            await tx.insert(counter.kernel.request_keys, [key])
            row = (await tx.fetch(sa.select(counter.kernel.request_keys)))[0]
            assert abs(row.create_time_micros - await tx.now_micros()) < 60 * 10**6
        await database.dispose()


async def test_what_the_code_has_and_the_database_lacks_is_told(database_url: str) -> None:
    await create_all(database_url, schema="guerdon_x", metadata=counter.metadata)
    place = {"schema": "guerdon_x", "metadata": counter.metadata}
    assert await differences(database_url, **place) == []  # type: ignore[arg-type]
    more = sa.MetaData()
    sa.Table("counters", more, sa.Column("program_id", sa.Text), sa.Column("extra", sa.Text))
    found = await differences(database_url, schema="guerdon_x", metadata=more)
    assert any("add_column" in each and "extra" in each for each in found)


async def test_processes_that_start_at_once_migrate_once(database_url: str, package: str) -> None:
    await write_first(
        f"{database_url}.drafts" if "sqlite" in database_url else database_url, package
    )
    starts = (
        migrate(database_url, schema="guerdon_x", package=package, metadata=counter.metadata)
        for _ in range(4)
    )
    await asyncio.gather(*starts)
    assert await differences(database_url, schema="guerdon_x", metadata=counter.metadata) == []


async def test_two_services_in_one_postgresql_have_their_own_schema_and_history(
    postgres_url: str, package: str
) -> None:
    await write_first(postgres_url, package)
    for schema in ("guerdon_one", "guerdon_two"):
        await migrate(postgres_url, schema=schema, package=package, metadata=counter.metadata)
    for schema in ("guerdon_one", "guerdon_two"):
        assert await differences(postgres_url, schema=schema, metadata=counter.metadata) == []
