"""The history of the schema ends in what the code expects."""

import pytest
import sqlalchemy as sa

from services.earning import tables
from shared import migrate
from shared.database import Database

PACKAGE = "services.earning.migrations"


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


@pytest.mark.parametrize("made_by", ["migrations", "code"])
async def test_what_is_written_in_the_ledger_cannot_be_changed(
    database: Database, made_by: str
) -> None:
    if made_by == "migrations":
        await migrate.migrate(
            database.url, schema=database.schema, package=PACKAGE, metadata=tables.metadata
        )
    else:
        await migrate.create_all(database.url, schema=database.schema, metadata=tables.metadata)
    for table in (tables.entries, tables.lot_uses):
        row = _row_of(table)
        names = ", ".join(row)
        marks = ", ".join(f":{name}" for name in row)
        async with database.transaction() as tx:
            await tx.core.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), row)
        for change in (sa.update(table).values(program_id="y"), sa.delete(table)):
            with pytest.raises(sa.exc.IntegrityError, match="append only"):
                async with database.transaction() as tx:
                    await tx.core.execute(change)
        async with database.reading() as tx:
            rows = await tx.core.execute(sa.text(f"SELECT program_id FROM {table}"))
            assert [row[0] for row in rows] == ["x"]


def _row_of(table: sa.Table) -> dict[str, object]:
    row: dict[str, object] = {
        column.name: b"x"
        if isinstance(column.type, sa.LargeBinary)
        else 0
        if isinstance(column.type, sa.BigInteger) or column.name.endswith("_time")
        else "x"
        for column in table.columns
    }
    return row | {"sequence": 1} | ({"points": 1} if table is tables.lot_uses else {})
