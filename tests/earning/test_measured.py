"""Points for what is measured rather than paid: miles flown, nights stayed, minutes trained."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.earning.v1 import activity_pb2
from services.earning import evaluation, explanations, program, program_rules, wire
from services.earning.explanations import FAILED
from services.earning.refusals import PointsOutOfRange
from services.earning.rules import Earning, Facts, Program
from tests.earning.nodes import Node, document, purchase

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
MILES = 'activity.attributes["miles"].integer_value'
FLOWN: dict[str, object] = {
    "rule_id": "flown",
    "activity_types": ["flight"],
    "measured": {"points": 1, "per": 1, "measure": MILES},
}
BUSINESS: dict[str, object] = {
    "rule_id": "business",
    "condition": 'activity.attributes["fare"].string_value == "C"',
    "multiplier": {"numerator": 3, "denominator": 2},
}


def flight(miles: int | None, fare: str = "Y") -> activity_pb2.Activity:
    made = purchase("f-1", type_="flight", occurred=NOON)
    if miles is not None:
        made.attributes["miles"].integer_value = miles
    made.attributes["fare"].string_value = fare
    return made


def airline(*rules: dict[str, object], **fields: object) -> Program:
    made = document(rules=list(rules), **fields)
    return program.parse(made.program_id, 1, made.SerializeToString())


def decided(of: Program, activity: activity_pb2.Activity) -> Earning:
    """The decision, after checking that it is decided again from what it says of itself."""
    deed = wire.deed_of(activity.SerializeToString())
    earning = evaluation.decide(of.rules, deed, Facts())
    again = evaluation.decide(of.rules, deed, evaluation.looked_up(of.rules, earning.explanation))
    assert explanations.written(again.explanation) == explanations.written(earning.explanation)
    assert sum(each.granted for each in earning.explanation.rules) == earning.points
    return earning


@pytest.mark.parametrize(
    ("miles", "fare", "expected"),
    [(5_001, "Y", 5_001), (5_001, "C", 7_501), (0, "C", 0), (1, "C", 1)],
)
def test_miles_are_those_flown_and_half_as_many_again_in_business(
    miles: int, fare: str, expected: int
) -> None:
    assert decided(airline(FLOWN, BUSINESS), flight(miles, fare)).points == expected


@pytest.mark.parametrize(("nights", "expected"), [(1, 2), (2, 5), (3, 7)])
def test_five_points_for_two_nights_are_rounded_once(nights: int, expected: int) -> None:
    stay = {**FLOWN, "measured": {"points": 5, "per": 2, "measure": MILES}}
    assert decided(airline(stay), flight(nights)).points == expected


def test_a_cap_limits_what_is_measured() -> None:
    cap = {"cap_id": "trip", "period": "PERIOD_ACTIVITY", "points": 800}
    earning = decided(airline({**FLOWN, "caps": [cap]}, BUSINESS), flight(1_000, "C"))
    assert (earning.points, earning.explanation.wanted) == (800, 1_500)


@pytest.mark.parametrize(
    ("miles", "reason"),
    [
        (None, "key not found"),
        (-1, "the measure is -1, outside 0 to 1000000000000000"),
        (10**15 + 1, "outside 0 to"),
    ],
)
def test_a_measure_that_fails_does_not_apply_and_says_why(miles: int | None, reason: str) -> None:
    earning = decided(airline(FLOWN), flight(miles))
    outcome = earning.explanation.rules[0]
    assert (earning.points, outcome.matched, outcome.failed) == (0, False, True)
    assert outcome.reason.startswith(FAILED)
    assert reason.lower() in outcome.reason.lower()


async def test_an_activity_whose_measure_fails_is_kept(node: Node) -> None:
    await node.apply(rules=[FLOWN])
    recorded = await node.record(replace_time(flight(None), node))
    assert recorded.points == 0
    assert await node.verify() == []
    with_miles = replace_time(flight(700), node)
    with_miles.activity_id = "f-2"
    assert (await node.record(with_miles)).points == 700
    assert await node.verify() == []


def replace_time(activity: activity_pb2.Activity, node: Node) -> activity_pb2.Activity:
    activity.occurred_time.FromDatetime(node.clock.now())
    return activity


def test_more_points_than_there_may_be_are_refused() -> None:
    many = {**FLOWN, "measured": {"points": 1_000_000, "per": 1, "measure": MILES}}
    with pytest.raises(PointsOutOfRange):
        decided(airline(many), flight(10**15))


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        ('activity.attributes["fare"].string_value', "is a string, where an int is wanted"),
        ("activity.milez", "Activity has no field 'milez'"),
        ("1 +", "line 1, column"),
        ("size(member.segments)", "measures the activity alone"),
        ("size(tier)", "measures the activity alone"),
    ],
)
def test_a_wrong_measure_is_refused_with_what_is_wrong(measure: str, words: str) -> None:
    made = document(rules=[{**FLOWN, "measured": {"points": 1, "per": 1, "measure": measure}}])
    found = list(program_rules.complaints(made))
    assert [each.field for each in found] == ["rules[0].measured.measure"]
    assert words in found[0].description


@given(
    amounts=st.lists(st.integers(0, 10_000), min_size=0, max_size=4),
    miles=st.integers(0, 100_000),
    points=st.integers(1, 50),
    per=st.integers(1, 50),
    of=st.sampled_from(["everything", "its lines"]),
)
def test_a_measure_earns_what_money_of_that_amount_would(
    amounts: Sequence[int], miles: int, points: int, per: int, of: str
) -> None:
    twice: dict[str, object] = {
        "rule_id": "twice",
        "categories": ["product"] if of == "its lines" else [],
        "multiplier": {"numerator": 2, "denominator": 1},
    }
    measured = {**FLOWN, "measured": {"points": points, "per": per, "measure": MILES}}
    trip = flight(miles)
    for amount in amounts:
        trip.lines.add(sku="s", category="product", quantity=1, amount_minor=amount)
    earning = decided(airline(measured, twice), trip)
    paid = flight(None)
    paid.payment.amount_minor, paid.payment.currency_code = miles, "GBP"
    base = {**FLOWN, "base": {"points": points, "per_amount_minor": per}}
    del base["measured"]
    of_money = decided(airline(base, {**twice, "categories": []}), paid)
    doubles = of == "everything" or bool(amounts)
    expected = of_money.points if doubles else decided(airline(base), paid).points
    assert earning.points == expected
    if amounts:
        assert sum(earning.explanation.line_points) == earning.points
