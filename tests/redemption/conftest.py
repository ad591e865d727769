"""Fixtures of redemption's tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.databases import REDEMPTION, Ready
from tests.redemption.shops import Shop, shop_of


@pytest.fixture(scope="session")
def ready() -> Ready:
    """The tables of redemption."""
    return REDEMPTION


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    """Earning and redemption; redemption runs on both kinds of databases."""
    async with shop_of(database_url, tmp_path) as opened:
        yield opened
