"""What is sent again after its key has been forgotten books nothing twice, and is told why."""

from datetime import timedelta

import pytest

from services.earning import tables, wire
from services.earning.refusals import ExternalReferenceReused
from services.earning.refusals_keys import ActivityRecordedBefore, ReversalRecordedBefore
from shared.forgetting import ForgetKeys
from shared.work import Outcome
from tests.earning.nodes import PROGRAM, Node, order, purchase

LINES = [(2, 1_000), (1, 550)]
KEYS = tables.kernel.request_keys


async def forgotten(node: Node) -> None:
    """Forget the keys of everything that was sent until now."""
    async with node.database.transaction() as tx:
        await tx.execute(KEYS.update().values(create_time_micros=0))
    job = ForgetKeys(node.database, KEYS, timedelta(days=30))
    while await job.due():
        assert await job.run()


async def test_an_activity_is_recorded_once_though_its_key_is_forgotten(node: Node) -> None:
    await node.record(purchase("a-1", lines=LINES))
    await forgotten(node)
    with pytest.raises(ActivityRecordedBefore) as refused:
        await node.record(purchase("a-1", lines=LINES))
    assert refused.value.activity_id == "a-1"
    assert (await node.wallet()).available == 15
    assert await node.verify() == []


async def test_a_receipt_is_named_first_for_it_is_known_for_ever(node: Node) -> None:
    await node.record(purchase("a-1", lines=LINES, receipt="r"))
    await forgotten(node)
    with pytest.raises(ExternalReferenceReused):
        await node.record(purchase("a-1", lines=LINES, receipt="r"))


async def test_of_many_sent_together_only_the_old_one_is_refused(node: Node) -> None:
    await node.record(purchase("a-2", lines=LINES))
    await forgotten(node)
    sent = [
        wire.record_from_proto(PROGRAM, purchase(f"a-{each}", f"m-{each}", lines=LINES))
        for each in range(5)
    ]
    results = await node.results(sent)
    assert [isinstance(each, Outcome) for each in results] == [True, True, False, True, True]
    assert isinstance(results[2], ActivityRecordedBefore)
    assert await node.verify() == []


async def test_a_reversal_is_applied_once_though_its_key_is_forgotten(node: Node) -> None:
    await node.record(purchase("a-1", lines=LINES))
    await node.reverse(order("r-1", "a-1", lines=[(1, 1)]))
    await forgotten(node)
    with pytest.raises(ReversalRecordedBefore) as refused:
        await node.reverse(order("r-1", "a-1", lines=[(1, 1)]))
    assert refused.value.reversal_id == "r-1"
    assert await node.verify() == []


async def test_a_waiting_reversal_waits_once_though_its_key_is_forgotten(node: Node) -> None:
    first = await node.reverse(order("r-1", "a-1"))
    await forgotten(node)
    assert await node.reverse(order("r-1", "a-1")) == first
    await node.record(purchase("a-1", lines=LINES))
    assert (await node.wallet()).available == 0
    assert await node.verify() == []
