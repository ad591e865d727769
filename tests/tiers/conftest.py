"""A database of tiers, and the write path over it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import pytest

from guerdon.tiers.v1 import program_pb2 as pb
from services.tiers import documents, tables
from services.tiers.documents import Documents, TiersPrograms
from services.tiers.followers import commands_of
from services.tiers.operations import Memberships, TiersWork
from shared import feed_log
from shared.batches import Executor
from shared.clock import SimulatedClock
from shared.database import Database
from shared.followers import followed
from shared.group_commit import GroupCommit
from shared.work import Followed, partition_of_item
from tests.databases import TIERS, Ready
from tests.tiers.cases import at
from tests.tiers.documents import giftshop
from tests.tiers.publisher import Published, events_of

PARTITIONS = 16


@dataclass(slots=True)
class Tiers:
    """The write path and the reads of tiers over one database, without a server."""

    database: Database
    clock: SimulatedClock
    programs: TiersPrograms
    group_commit: GroupCommit
    documents: Documents
    memberships: Memberships

    async def apply(self, document: pb.TiersProgram | None = None, *, prune: bool = False) -> int:
        """Apply a document, the gift shop's by default; the version in force."""
        applied = await self.documents.apply(
            document or giftshop(), author="test", etag="", validate_only=False, prune=prune
        )
        return applied.version

    async def follow(self, published: Sequence[Published], *, first: int = 0) -> None:
        """Apply the events of a log from its `first` on, all of them handed over at once."""
        items = followed_of(published)[first:]
        results = await self.group_commit.submit_many(items, wait=True)
        for result in results:
            assert not isinstance(result, Exception), result

    async def level(self, member_id: str, when: datetime, ladder_id: str = "") -> str:
        """Level of a member at an instant, to which the clock is moved."""
        self.clock.advance(when)
        [view] = await self.memberships.get("giftshop", [member_id], ladder_id)
        assert not isinstance(view, Exception), view
        return view.level_id


def followed_of(published: Sequence[Published]) -> list[Followed]:
    """What a follower hands over for these events of an otherwise empty log."""
    return [
        followed("earning", event, commands_of(event)) for event in events_of(published, PARTITIONS)
    ]


def write_path(database: Database, clock: SimulatedClock, programs: TiersPrograms) -> GroupCommit:
    """Group commit over a database; several over one are several processes."""
    executor = Executor(
        database=database,
        work=TiersWork(programs),
        clock=clock,
        service="tiers",
        partitions=PARTITIONS,
        tables=tables.kernel,
        publish=Documents(database, programs, clock).publish_due,
    )

    async def park(item: Followed, error: Exception) -> None:
        await feed_log.park(database, tables.kernel, item, error)

    return GroupCommit(
        executor.execute,
        route=lambda item: partition_of_item(item, PARTITIONS),
        park=park,
        lanes_max=4 if database.dialect == "postgresql" else 1,
    )


@pytest.fixture(scope="session")
def ready() -> Ready:
    """The tables of tiers."""
    return TIERS


@pytest.fixture
async def tiers(database: Database) -> AsyncIterator[Tiers]:
    """Tiers on both databases, migrated, without a program."""
    await feed_log.open_feed(
        database, tables.kernel, partitions=PARTITIONS, incarnation="incarnation"
    )
    clock = SimulatedClock(at("2010-01-01 00:00"))
    programs = documents.programs(PARTITIONS)
    made = Tiers(
        database=database,
        clock=clock,
        programs=programs,
        group_commit=write_path(database, clock, programs),
        documents=Documents(database, programs, clock),
        memberships=Memberships(database, programs, clock),
    )
    yield made
    await made.group_commit.close()
