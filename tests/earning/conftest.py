"""Fixtures of earning's tests."""

from collections.abc import AsyncIterator

import pytest

from shared.database import Database
from tests.databases import EARNING, Ready
from tests.earning.nodes import Node, beside, opened


@pytest.fixture(scope="session")
def ready() -> Ready:
    """Earning's tables."""
    return EARNING


@pytest.fixture
async def node(database: Database) -> AsyncIterator[Node]:
    """Earning with the program `shop`, on both kinds of databases."""
    async with opened(database) as made:
        yield made


@pytest.fixture
async def second(node: Node, database: Database) -> AsyncIterator[Node]:
    """Another process on the same database; on SQLite there is one, so it is the same."""
    if database.dialect == "sqlite":
        yield node
        return
    async with beside(database) as made:
        yield made
