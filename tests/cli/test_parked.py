"""Members whom a service could not follow, as the command shows them and tries them again."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa

from cli import cluster, quiescence
from cli.peers import Peers, connected
from guerdon.earning.v1 import events_pb2
from guerdon.feed.v1 import feed_service_pb2
from services.earning import tables as earning
from services.tiers import tables as tiers
from shared.database import Database
from shared.feed_log import FeedRecord, append_events
from tests.cli.inside import Command, quiet

ANN = "0" * 31 + "1"
HEADS = feed_service_pb2.GetHeadsRequest()
NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def without_logs(own_logs: None) -> None:
    quiet()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cause(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Path, Peers]]:
    """A cluster in whose earning log there is an activity that nobody can read."""
    var = tmp_path_factory.mktemp("parked") / "var"
    async with (
        cluster.running(var, clock_start="2026-01-10T12:00:00Z") as started,
        connected(started.addresses) as peers,
    ):
        database = await Database.open(f"sqlite:///{var / 'earning.db'}", schema="earning", lanes=1)
        heads = await peers.feeds["earning"].GetHeads(HEADS)
        garbled = FeedRecord(
            program_id="shop",
            member_key=ANN,
            type=events_pb2.MemberChanged.DESCRIPTOR.full_name,
            payload=b"\xff",
        )
        async with database.transaction() as tx:
            await append_events(tx, earning.kernel, [garbled], partitions=heads.partitions, now=NOW)
        await database.dispose()
        yield var, peers


async def parked_in_tiers(peers: Peers) -> None:
    """Wait for tiers to meet the event; the other followers may have met it before."""
    async with asyncio.timeout(30):
        while not (await peers.feeds["tiers"].GetHeads(HEADS)).parked_members:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_members_that_wait_are_listed_and_go_on_waiting_until_the_cause_is_gone(
    cause: tuple[Path, Peers],
) -> None:
    var, peers = cause
    guerdon = Command(var, about=())
    await parked_in_tiers(peers)
    with pytest.raises(quiescence.NotQuiet, match=f"parked member earning/{ANN}"):
        await quiescence.wait(peers)
    shown = await guerdon.shows("parked", "list", "--service", "tiers")
    assert ANN in shown
    assert "DecodeError" in shown
    (told,) = await guerdon.answers("parked", "list", "--service", "tiers")
    assert (told["service"], told["source"], told["memberKey"]) == ("tiers", "earning", ANN)
    assert told["events"] == 1
    assert told["event"]["type"] == "guerdon.earning.v1.MemberChanged"
    failed = await guerdon.ends(1, "parked", "retry", "--service", "tiers")
    assert "DecodeError" in failed
    (told,) = await guerdon.answers("parked", "list", "--service", "tiers")
    assert told["attempts"] == 2


async def test_members_are_followed_again_once_the_cause_is_gone(
    cause: tuple[Path, Peers],
) -> None:
    var, peers = cause
    guerdon = Command(var, about=())
    await parked_in_tiers(peers)
    event = feed_service_pb2.Event(program_id="shop", member_key=ANN)
    (found,) = await guerdon.answers("parked", "list", "--service", "tiers")
    event.partition, event.position = found.get("partition", 0), int(found["event"]["position"])
    database = await Database.open(f"sqlite:///{var / 'tiers.db'}", schema="tiers", lanes=1)
    async with database.transaction() as tx:
        mended = sa.update(tiers.kernel.parked_events).values(event=event.SerializeToString())
        await tx.execute(mended)
    await database.dispose()
    (done,) = await guerdon.answers("parked", "retry", "--service", "tiers", "--member-key", ANN)
    assert (done["applied"], done["waiting"], done["error"]) == (1, 0, "")
    assert await guerdon.shows("parked", "list", "--service", "tiers") == "No member waits.\n"
    assert await guerdon.shows("parked", "retry", "--service", "tiers") == "No member waits.\n"


async def test_a_service_that_is_not_there_is_refused_by_name(cause: tuple[Path, Peers]) -> None:
    var, _ = cause
    refused = await Command(var, about=()).refuses("parked", "list", "--service", "tires")
    assert refused == (
        "no service is called tires; there are earning, tiers, redemption, gamification"
    )
