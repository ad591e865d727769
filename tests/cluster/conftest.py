"""One cluster in this process for the tests of a module: the gift shop and a customer."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cli import apply, cluster, documents
from cli.peers import Peers, connected
from tests.cluster import bases
from tests.cluster.calling import Channels, raw_channels

GIFTSHOP = Path(__file__).resolve().parents[2] / "programs" / "giftshop"
START = "2010-12-02T00:00:00Z"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Peers]:
    """Stubs of a running cluster on the simulated clock, with the gift shop applied."""
    folder = tmp_path_factory.mktemp("cluster")
    async with (
        cluster.running(folder, clock_start=START) as started,
        connected(started.addresses) as peers,
    ):
        await apply.apply(peers, documents.load(GIFTSHOP), author="test")
        yield peers


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def valid(shop: Peers) -> bases.Valid:
    """One request for each method that is right, after things have happened in the shop."""
    return await bases.live(shop, documents.load(GIFTSHOP))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def channels(shop: Peers) -> AsyncIterator[Channels]:
    """Channels that take bytes."""
    opened = raw_channels(shop)
    yield opened
    for channel in opened.values():
        await channel.close()
