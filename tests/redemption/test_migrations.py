"""The history of the schema ends in what the code expects."""

import pytest

from services.redemption import tables
from shared import migrate
from shared.database import Database

PACKAGE = "services.redemption.migrations"


@pytest.fixture(scope="module")
def ready() -> None:
    """No tables: they are made here."""


async def test_the_migrations_make_the_tables_that_the_code_has(database: Database) -> None:
    await migrate.migrate(
        database.url, schema=database.schema, package=PACKAGE, metadata=tables.metadata
    )
    found = await migrate.differences(
        database.url, schema=database.schema, metadata=tables.metadata
    )
    assert found == []
