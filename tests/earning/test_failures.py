"""A rule that fails while it runs does not apply, is counted and told, and loses no activity."""

import pytest
from prometheus_client import REGISTRY

from guerdon.earning.v1.activity_pb2 import AttributeValue
from services.earning import explanations, wire
from shared.work import Outcome
from tests.earning.nodes import PROGRAM, Node, purchase
from tests.earning.test_forgotten_keys import forgotten

BASE = {"rule_id": "base", "base": {"points": 1, "per_amount_minor": 100}}


def counted(rule_id: str) -> float:
    """What the metric shows."""
    labels = {"program": PROGRAM, "rule": rule_id}
    return REGISTRY.get_sample_value("guerdon_earning_rule_failures_total", labels) or 0.0


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("1 / (activity.payment.amount_minor - activity.payment.amount_minor) > 0", "divi"),
        ('activity.attributes["party"].integer_value > 4', "party"),
    ],
)
async def test_a_condition_that_fails_does_not_match_is_counted_and_shows_in_the_preview(
    node: Node, condition: str, words: str
) -> None:
    fragile = {"rule_id": "fragile", "bonus": {"points": 50}, "condition": condition}
    await node.apply(rules=[BASE, fragile])
    before = counted("fragile")
    activity = purchase("a-1", amount=1_000)
    seen = await node.queries.preview(wire.record_from_proto(PROGRAM, activity))
    assert counted("fragile") == before, "a preview counts nothing"
    recorded = await node.record(activity)
    for each in (seen, recorded):
        base, failed = explanations.read(each.explanation).rules
        assert (each.points, base.granted) == (10, 10)
        assert (failed.matched, failed.failed) == (False, True)
        assert words in failed.reason
    assert counted("fragile") == before + 1
    assert await node.verify() == []


async def test_a_condition_that_does_not_fail_is_not_counted(node: Node) -> None:
    large = {
        "rule_id": "large",
        "bonus": {"points": 50},
        "condition": 'activity.attributes["party"].integer_value > 4',
    }
    await node.apply(rules=[BASE, large])
    before = counted("large")
    activity = purchase("a-1", amount=1_000)
    activity.attributes["party"].CopyFrom(AttributeValue(integer_value=6))
    assert (await node.record(activity)).points == 60
    assert counted("large") == before


async def test_a_batch_that_is_undone_and_done_again_counts_each_failure_once(node: Node) -> None:
    fragile = {
        "rule_id": "again",
        "bonus": {"points": 50},
        "condition": 'activity.attributes["party"].integer_value > 4',
    }
    await node.apply(rules=[BASE, fragile])
    await node.record(purchase("a-2", "m-2", amount=1_000))
    await forgotten(node)
    before = counted("again")
    sent = [
        wire.record_from_proto(PROGRAM, purchase(f"a-{each}", f"m-{each}", amount=1_000))
        for each in range(5)
    ]
    results = await node.results(sent)
    assert [isinstance(each, Outcome) for each in results] == [True, True, False, True, True]
    assert counted("again") == before + 4
