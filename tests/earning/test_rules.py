"""What activities earn: rates, multipliers, rounding and shares, case by case."""

from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.earning import evaluation, explanations, matching, rules, stacking
from services.earning.domain import POINTS_MAX, BoughtLine, LevelId, RuleId
from services.earning.refusals import PointsOutOfRange
from services.earning.rules import (
    Base,
    Deed,
    Facts,
    Flat,
    Multiplier,
    Rule,
    Rules,
)
from services.earning.stacking import MultiplierPolicy, Rounding

MULTIPLY, ADD, BEST = MultiplierPolicy.MULTIPLY, MultiplierPolicy.ADD, MultiplierPolicy.BEST


def base(points: int = 1, per_amount: int = 100, **fields: object) -> Rule:
    return Rule(rule_id=RuleId("base"), effect=Base(points=points, per_amount=per_amount), **fields)  # type: ignore[arg-type]


def times(numerator: int, denominator: int = 1) -> Rule:
    effect = Multiplier(numerator=numerator, denominator=denominator)
    return Rule(rule_id=RuleId(f"x{numerator}-{denominator}"), effect=effect)


def flat(points: int, **fields: object) -> Rule:
    return Rule(rule_id=RuleId("flat"), effect=Flat(points=points), **fields)  # type: ignore[arg-type]


def program(
    *rule: Rule, policy: MultiplierPolicy = MULTIPLY, rounding: Rounding = Rounding.FLOOR
) -> Rules:
    return Rules(version=3, rules=rule, multiplier_policy=policy, rounding=rounding)


def deed(
    amount: int | None = None,
    lines: Sequence[tuple[int, int]] = (),
    categories: Sequence[str] = (),
    type_: str = "purchase",
) -> Deed:
    """Lines are pairs of quantity and amount; categories are what line conditions read."""
    return Deed(
        type=type_,
        amount=amount,
        lines=[BoughtLine(quantity=quantity, amount=each) for quantity, each in lines],
        view=None,
        line_views=categories or [""] * len(lines),
    )


def points(of: Rules, done: Deed, level: str = "") -> int:
    return evaluation.decide(of, done, Facts(level_id=LevelId(level))).points


def is_product(line: object) -> str:
    return "" if line == "product" else "the condition is false"


def is_level(wanted: str) -> rules.Condition:
    return lambda scene: "" if scene.level_id == wanted else "the condition is false"


@pytest.mark.parametrize(
    ("policy", "factors", "amount", "expected"),
    [
        (MULTIPLY, [(5, 1), (2, 1)], 10_000, 1_000),
        (ADD, [(5, 1), (2, 1)], 10_000, 600),
        (BEST, [(5, 1), (2, 1)], 10_000, 500),
        (MULTIPLY, [(3, 2), (2, 1)], 10_000, 300),
        (ADD, [(3, 2), (2, 1)], 10_000, 250),
        (BEST, [(3, 2), (2, 1)], 10_000, 200),
        (MULTIPLY, [], 10_000, 100),
        (ADD, [], 10_000, 100),
        (BEST, [], 10_000, 100),
        (BEST, [(1, 2)], 10_000, 50),
        (ADD, [(1, 4), (0, 1)], 10_000, 0),
        (MULTIPLY, [(0, 1), (7, 1)], 10_000, 0),
        (MULTIPLY, [(3, 2)], 20_000, 300),
    ],
)
def test_matching_multipliers_combine_as_the_policy_says(
    policy: MultiplierPolicy, factors: list[tuple[int, int]], amount: int, expected: int
) -> None:
    of = program(base(), *(times(*factor) for factor in factors), policy=policy)
    assert points(of, deed(amount)) == expected


@pytest.mark.parametrize(
    ("amount", "per_amount", "numerator", "denominator", "expected"),
    [
        (12_800, 100, 1, 1, 128),
        (12_890, 100, 1, 1, 128),
        (9_999, 10_000, 1, 1, 0),
        (10_000, 10_000, 1, 1, 1),
        (25_000, 10_000, 1, 1, 2),
        (20_000, 100, 3, 2, 300),
        (20_000, 100, 2, 1, 400),
        (199, 100, 3, 2, 2),  # floor(2.985), where rounding before the factor would give 1
        (67, 100, 3, 2, 1),
        (66, 100, 3, 2, 0),
        (0, 100, 2, 1, 0),
    ],
)
def test_points_are_rounded_down_once_after_the_multiplier(
    amount: int, per_amount: int, numerator: int, denominator: int, expected: int
) -> None:
    of = program(base(per_amount=per_amount), times(numerator, denominator))
    assert points(of, deed(amount)) == expected


@pytest.mark.parametrize(
    ("amount", "rounding", "expected"),
    [
        (250, Rounding.FLOOR, 2),
        (250, Rounding.HALF_EVEN, 2),
        (250, Rounding.HALF_UP, 3),
        (250, Rounding.CEIL, 3),
        (350, Rounding.HALF_EVEN, 4),
        (251, Rounding.HALF_EVEN, 3),
        (249, Rounding.HALF_UP, 2),
        (201, Rounding.CEIL, 3),
        (200, Rounding.CEIL, 2),
    ],
)
def test_rounding_is_the_one_that_is_named(amount: int, rounding: Rounding, expected: int) -> None:
    assert points(program(base(), rounding=rounding), deed(amount)) == expected


def test_two_rates_and_a_fixed_number_are_added_before_the_one_rounding() -> None:
    of = program(base(1, 300), base(1, 700), flat(1), times(3, 2))
    exact = (Fraction(1_000, 300) + Fraction(1_000, 700) + 1) * Fraction(3, 2)
    assert points(of, deed(1_000)) == int(exact) == 8


@pytest.mark.parametrize(
    ("of", "done", "level", "expected"),
    [
        (program(base(activity_types=frozenset({"review"}))), deed(500), "", 0),
        (program(base(activity_types=frozenset({"purchase"}))), deed(500), "", 5),
        (program(base(condition=is_level("gold"))), deed(500), "gold", 5),
        (program(base(condition=is_level("gold"))), deed(500), "silver", 0),
        (program(base()), deed(None), "", 0),
        (program(flat(30)), deed(None, type_="check_in"), "", 30),
        (program(base(line_condition=is_product)), deed(500), "", 0),
        (
            program(base(line_condition=is_product)),
            deed(900, [(1, 500)], ["product"]),
            "",
            5,
        ),
        (
            program(base(line_condition=is_product)),
            deed(900, [(1, 500)], ["postage"]),
            "",
            0,
        ),
        (program(base()), deed(900, [(1, 500)]), "", 5),
        (
            program(flat(7, line_condition=is_product)),
            deed(1, [(1, 1)], ["product"]),
            "",
            7,
        ),
        (
            program(flat(7, line_condition=is_product)),
            deed(1, [(1, 1)], ["postage"]),
            "",
            0,
        ),
    ],
)
def test_a_rule_counts_only_what_it_is_about(
    of: Rules, done: Deed, level: str, expected: int
) -> None:
    assert points(of, done, level) == expected


def test_lines_count_rather_than_the_payment_when_there_are_any() -> None:
    lines = [(2, 300), (1, 450)]
    assert points(program(base()), deed(1_000_000, lines)) == 7


def test_the_explanation_lists_every_rule_in_order_and_why_it_did_not_count() -> None:
    of = program(
        base(line_condition=is_product),
        flat(5, activity_types=frozenset({"review"})),
        times(3, 2),
    )
    done = deed(None, [(1, 399), (1, 250)], ["product", "postage"])
    earning = evaluation.decide(of, done, Facts(level_id=LevelId("silver")))
    explanation = earning.explanation
    assert earning.points == 5
    assert [rule.matched for rule in explanation.rules] == [True, False, True]
    assert explanation.rules[0].amount == 399
    assert explanation.rules[0].points == 3
    assert explanation.rules[1].reason == matching.OTHER_TYPE
    assert (explanation.numerator, explanation.denominator) == (3, 2)
    assert (explanation.level_id, explanation.program_version) == ("silver", 3)
    assert explanation.line_points == (5, 0)


def test_an_explanation_reads_as_it_was_written() -> None:
    of = program(base(line_condition=is_product), times(7, 3))
    explanation = evaluation.decide(
        of, deed(None, [(1, 399)], ['ü"x']), Facts(level_id=LevelId("gold"))
    ).explanation
    assert explanations.read(explanations.written(explanation)) == explanation


@pytest.mark.parametrize(
    ("of", "amount", "what"),
    [
        (program(base(1, 1), times(2)), POINTS_MAX, "points"),
        (program(base(1_000_000, 1)), POINTS_MAX, "points"),
        (program(base(), *[times(10_000)] * 20), 1, "multipliers"),
    ],
)
def test_points_beyond_the_limit_are_refused(of: Rules, amount: int, what: str) -> None:
    with pytest.raises(PointsOutOfRange) as refused:
        points(of, deed(amount))
    assert refused.value.what == what


def test_points_at_the_limit_are_given() -> None:
    assert points(program(base(1, 1)), deed(POINTS_MAX)) == POINTS_MAX


@pytest.mark.parametrize(
    ("given_points", "weights", "shares"),
    [
        (10, [1, 1, 1], (4, 3, 3)),
        (1, [1, 1], (1, 0)),
        (2, [1, 1, 1], (1, 1, 0)),
        (5, [399, 0], (5, 0)),
        (3, [500, 250, 250], (1, 1, 1)),
        (100, [333, 333, 334], (33, 33, 34)),
        (0, [0, 0], (0, 0)),
        (0, [5, 0], (0, 0)),
    ],
)
def test_shares_go_to_the_largest_remainder_and_among_equals_to_the_earlier_line(
    given_points: int, weights: list[int], shares: tuple[int, ...]
) -> None:
    assert stacking.allocate(given_points, weights) == shares


@given(
    st.integers(0, POINTS_MAX),
    st.lists(st.integers(0, 10**15), min_size=1, max_size=30).filter(any),
)
def test_shares_add_up_and_are_less_than_one_point_from_the_exact_share(
    given_points: int, weights: list[int]
) -> None:
    shares = stacking.allocate(given_points, weights)
    assert sum(shares) == given_points
    for share, weight in zip(shares, weights, strict=True):
        exact = Fraction(given_points * weight, sum(weights))
        assert abs(share - exact) < 1
        assert share == 0 or weight > 0


def test_shares_of_free_lines_follow_their_units() -> None:
    done = deed(None, [(3, 0), (1, 0)])
    assert evaluation.decide(program(flat(8)), done, Facts()).explanation.line_points == (6, 2)


def test_a_fixed_number_goes_to_the_lines_that_the_rule_picked() -> None:
    done = deed(None, [(1, 100), (1, 100)], ["postage", "product"])
    of = program(flat(8, line_condition=is_product))
    assert evaluation.decide(of, done, Facts()).explanation.line_points == (
        0,
        8,
    )


@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 10_000)), max_size=6),
    st.integers(0, 10**9),
    st.integers(1, 1_000),
    st.integers(1, 1_000),
    st.sampled_from(MultiplierPolicy),
)
def test_points_equal_exact_fractions_rounded_down_once(
    factors: list[tuple[int, int]],
    amount: int,
    rate: int,
    per_amount: int,
    policy: MultiplierPolicy,
) -> None:
    exact = [Fraction(*factor) for factor in factors]
    factor = Fraction(1)
    if policy is MULTIPLY:
        for each in exact:
            factor *= each
    elif policy is ADD:
        factor = max(Fraction(0), 1 + sum((each - 1 for each in exact), Fraction(0)))
    elif exact:
        factor = max(exact)
    expected = amount * Fraction(rate, per_amount) * factor
    of = program(base(rate, per_amount), *(times(*each) for each in factors), policy=policy)
    if max(factor.numerator, factor.denominator) >= 2**63 or expected >= POINTS_MAX + 1:
        with pytest.raises(PointsOutOfRange):
            points(of, deed(amount))
    else:
        assert points(of, deed(amount)) == expected.__floor__()
