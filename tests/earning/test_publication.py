"""Activities while a version of the program comes into force at its set time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.earning import tables, wire
from services.earning.domain import MemberId, ProgramId
from services.earning.events import Recorded
from shared import errors
from shared.batches import Executor
from shared.clock import SimulatedClock
from shared.database import Database
from shared.group_commit import GroupCommit
from shared.work import partition_of_item
from tests.conftest import open_database
from tests.earning.nodes import PARTITIONS, PROGRAM, START, Node, document, purchase

OPENING = START + timedelta(days=1)
BEFORE = OPENING - timedelta(microseconds=1)


def _publishing(node: Node) -> Node:
    """A node whose batches publish, as those of the service do."""
    node.executor = Executor(
        database=node.database,
        work=node.work,
        clock=node.clock,
        service="earning",
        partitions=PARTITIONS,
        tables=tables.kernel,
        publish=node.documents.publish_due,
    )
    node.group_commit = GroupCommit(
        node.executor.execute,
        route=lambda item: partition_of_item(item, PARTITIONS),
        lanes_max=3 if node.database.dialect == "postgresql" else 1,
        service="earning",
        ids=node.ids,
    )
    return node


@pytest.fixture
async def shops(node: Node, database: Database) -> AsyncIterator[list[Node]]:
    """Two processes with a version that is scheduled; on SQLite there is one, so it is the same."""
    await node.group_commit.close()
    first = _publishing(node)
    await first.documents.apply(
        document(enroll_unknown_members=False),
        author="ann",
        etag="",
        validate_only=False,
        prune=True,
        publish_time=OPENING,
    )
    if database.dialect == "sqlite":
        yield [first, first]
        return
    other = await open_database(database.url)
    made = Node(other, SimulatedClock(START), seed=2)
    await made.group_commit.close()
    second = _publishing(made)
    yield [first, second]
    await second.group_commit.close()
    await other.dispose()


async def test_the_record_of_an_activity_names_the_version_at_the_instant_of_its_batch(
    shops: list[Node],
) -> None:
    node = shops[0]
    node.clock.advance(BEFORE)
    await node.record(purchase("a-1", lines=[(1, 100)], occurred=BEFORE))
    node.clock.advance(OPENING)
    await node.record(purchase("a-2", lines=[(1, 100)], occurred=BEFORE))
    page = await node.queries.activities(
        ProgramId(PROGRAM), MemberId("ann"), page_size=10, page_token=""
    )
    assert {each.activity_id: each.program_version for each in page.records} == {"a-1": 1, "a-2": 2}
    assert await node.verify() == []


async def test_a_preview_is_made_with_the_version_that_the_activity_would_meet(
    shops: list[Node],
) -> None:
    node = shops[0]
    stranger = purchase("a-1", member_id="zoe", lines=[(1, 100)])
    command = wire.record_from_proto(PROGRAM, stranger)

    async def preview() -> Recorded:
        return await node.documents.published(lambda: node.queries.preview(command))

    node.clock.advance(BEFORE)
    assert (await preview()).points == 1
    node.clock.advance(OPENING)
    with pytest.raises(errors.MemberNotFound):
        await preview()


async def test_of_two_processes_none_decides_with_the_old_version_after_its_end(
    shops: list[Node],
) -> None:
    await shops[0].record(purchase("a-0", lines=[(1, 100)]))
    for shop in dict.fromkeys(shops):
        shop.clock.advance(OPENING)
    await asyncio.gather(
        *(shops[at % 2].record(purchase(f"b-{at}", lines=[(1, 100)])) for at in range(64))
    )
    page = await shops[0].queries.activities(
        ProgramId(PROGRAM), MemberId("ann"), page_size=100, page_token=""
    )
    met = {str(each.activity_id): each.program_version for each in page.records}
    assert met.pop("a-0") == 1
    assert (len(met), set(met.values())) == (64, {2})
    listed = await shops[0].documents.versions(PROGRAM, page_size=0, page_token="")
    assert [each.version for each in listed.versions] == [2, 1]
    assert await shops[0].verify() == []
