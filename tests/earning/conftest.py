"""Fixtures of earning's tests."""

from collections.abc import AsyncIterator

import pytest

from shared.database import Database
from tests.earning.nodes import Node, opened


@pytest.fixture
async def node(database: Database) -> AsyncIterator[Node]:
    """Earning with the program `shop`, on both kinds of databases."""
    async with opened(database) as made:
        yield made
