"""What the owner of a database may do behind the service's back, and what verification says."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import sqlalchemy as sa

from shared.database import Database
from tests.earning.nodes import Node

Change: TypeAlias = Callable[[sa.Executable], Awaitable[object]]
APPEND_ONLY = ("entries", "lot_uses", "seals", "seal_chunks")


@asynccontextmanager
async def tampering(database: Database) -> AsyncIterator[Change]:
    """Changes in one transaction, also where triggers forbid them."""
    async with database.transaction() as tx:
        if database.dialect == "postgresql":
            await tx.core.execute(sa.text("SET LOCAL session_replication_role = replica"))
        else:
            for table in APPEND_ONLY:
                for verb in ("update", "delete"):
                    await tx.core.execute(sa.text(f"DROP TRIGGER IF EXISTS {table}_no_{verb}"))
        yield tx.core.execute


async def found_after(node: Node, change: sa.Executable) -> set[str]:
    """Rules that are violated after a change; or that the database itself refuses it."""
    try:
        async with tampering(node.database) as execute:
            await execute(change)
    except sa.exc.IntegrityError:
        return {"refused by the database"}
    return {each.rule for each in await node.verify()}
