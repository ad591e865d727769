"""Alembic's entry: the connection and everything else come from `shared.migrate`."""

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from shared.migrate import Job
from shared.sqltypes import now_micros


def render_item(kind: str, item: object, autogen_context: AutogenContext) -> str | Literal[False]:
    """Writes a column type of ours as what it is in the database: a migration must not change."""
    if kind == "server_default" and isinstance(getattr(item, "arg", None), now_micros):
        autogen_context.imports.add("from shared.sqltypes import now_micros")
        return "now_micros()"
    if kind == "type" and type(item).__module__ == "shared.sqltypes":
        return f"sa.{item.impl.__class__.__name__}()"  # type: ignore[attr-defined]
    return False


job: Job = context.config.attributes["job"]
context.configure(
    connection=job.connection,
    target_metadata=job.metadata,
    # SQLite cannot alter a table; batch mode copies it instead.
    render_as_batch=job.connection.dialect.name == "sqlite",
    render_item=render_item,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
