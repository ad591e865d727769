"""What caps and budgets count, what lines get, and currencies beside the first."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.earning import evaluation, explanations, matching
from services.earning.domain import CurrencyId, ProgramId
from services.earning.refusals import CapExceeded
from services.earning.rules import (
    Base,
    Bonus,
    Cap,
    Deed,
    Facts,
    Flat,
    Multiplier,
    Nth,
    Program,
    Rule,
    Rules,
)
from services.earning.schedules import Occasion, OccasionKind, Period
from services.earning.stacking import MultiplierPolicy, Rounding
from tests.earning.test_evaluation import BASE, NOON, Line, cap, decided, order, program, rule

DAY = "2026-01-15"
DOUBLE = rule("double", Multiplier(numerator=2, denominator=1))


def counted(of: Rules, deed: Deed, **facts: object) -> dict[str, int]:
    """What each cap and budget counted."""
    return {each.cap_id: each.counted for each in decided(of, deed, **facts).explanation.caps}


@pytest.mark.parametrize(
    ("rules", "caps", "yuan", "expected"),
    [
        # A cap of a rule counts what the rule gave, with what multipliers made of it.
        ([replace(BASE, caps=(cap(500),)), DOUBLE], [], 100, {"cap": 200}),
        ([BASE, replace(DOUBLE, caps=(cap(500),))], [], 100, {"cap": 100}),
        ([replace(BASE, caps=(cap(500, on_base=True),)), DOUBLE], [], 100, {"cap": 100}),
        # What another cap left out does not use it up.
        ([replace(BASE, budget=500)], [cap(60)], 100, {"base": 60, "cap": 60}),
        ([replace(BASE, budget=500), DOUBLE], [cap(60)], 100, {"base": 60, "cap": 60}),
        ([BASE, replace(DOUBLE, budget=500)], [cap(60)], 100, {"double": 30, "cap": 60}),
        # Fractions of points are not given, so they are not counted.
        ([replace(BASE, caps=(cap(500),))], [], 0.9, {"cap": 0}),
        ([replace(BASE, caps=(cap(500),))], [], 128.9, {"cap": 128}),
        # Of two fractions that make a point together, the rule with the larger one gave it.
        (
            [replace(BASE, caps=(cap(500),)), rule("more", Base(points=1, per_amount=40))],
            [],
            0.6,
            {"cap": 1},
        ),
    ],
)
def test_a_cap_counts_the_whole_points_that_were_given_in_the_end(
    rules: Sequence[Rule], caps: Sequence[Cap], yuan: float, expected: Mapping[str, int]
) -> None:
    assert counted(program(*rules, caps=caps), order(yuan)) == expected


def test_a_multiplier_that_is_cut_makes_less_of_the_base() -> None:
    capped = replace(DOUBLE, caps=(cap(300),))
    of = program(replace(BASE, caps=(replace(cap(500), cap_id="base"),)), capped)
    earning = decided(of, order(900))
    assert earning.points == 500
    assert [each.granted for each in earning.explanation.rules] == [375, 125]
    assert earning.explanation.wanted == 1_800


@pytest.mark.parametrize(
    ("policy", "points"),
    [(MultiplierPolicy.MULTIPLY, 330), (MultiplierPolicy.ADD, 310), (MultiplierPolicy.BEST, 110)],
)
def test_a_multiplier_counts_on_what_a_capped_one_before_it_left(
    policy: MultiplierPolicy, points: int
) -> None:
    five = rule("five", Multiplier(numerator=5, denominator=1), caps=(cap(10),))
    three = rule("three", Multiplier(numerator=3, denominator=1))
    of = program(BASE, five, three, multiplier_policy=policy)
    assert decided(of, order(100)).points == points


def test_caps_that_cut_are_asked_before_caps_that_refuse() -> None:
    refuses = Cap(cap_id="most", period=Period.DAY, points=100, refuses=True)
    both = program(replace(BASE, caps=(refuses, cap(80))))
    assert decided(both, order(128)).points == 80
    with pytest.raises(CapExceeded) as refused:
        decided(both, order(128), used={("most", DAY): 50})
    assert (refused.value.points_left, refused.value.points_wanted) == (50, 80)


def test_what_a_capped_rule_cannot_give_is_not_given_by_rounding_up() -> None:
    tiny = rule("tiny", Base(points=1, per_amount=100 * 100))
    capped = replace(BASE, caps=(cap(10),))
    earning = decided(program(capped, tiny, rounding=Rounding.CEIL), order(12))
    assert earning.points == 11
    assert [each.granted for each in earning.explanation.rules] == [10, 1]


_AMOUNTS = st.lists(st.integers(1, 4_000), min_size=1, max_size=12)


@given(
    amounts=_AMOUNTS,
    limit=st.integers(1, 60),
    per=st.integers(30, 170),
    factor=st.tuples(st.integers(0, 5), st.integers(1, 3)),
    rounding=st.sampled_from(Rounding),
    on_base=st.booleans(),
)
def test_over_many_activities_a_rule_never_gives_more_than_its_cap(
    amounts: list[int],
    limit: int,
    per: int,
    factor: tuple[int, int],
    rounding: Rounding,
    *,
    on_base: bool,
) -> None:
    """Fractions of other rules never let it pass; without other rules it gives all of the cap."""
    capped = rule(
        "capped", Base(points=1, per_amount=per), caps=(cap(limit, Period.DAY, on_base=on_base),)
    )
    times = rule("times", Multiplier(numerator=factor[0], denominator=factor[1]))
    other = rule("other", Base(points=1, per_amount=37))
    together = program(capped, other, rounding=rounding)
    alone = program(capped, times, rounding=rounding)
    for of in (together, alone):
        used = given_points = exact = 0
        for amount in amounts:
            deed = replace(order(0), amount=amount)
            earning = decided(of, deed, used={("cap", DAY): used})
            outcome = earning.explanation.caps[0]
            used += outcome.counted
            given_points += earning.explanation.rules[0].granted
            exact += earning.points if of is alone else 0
            if outcome.cut and not on_base and earning.points and of is alone:
                assert outcome.counted == outcome.left == earning.points
        assert used <= limit
        if not on_base:
            assert of is alone or given_points <= limit
            assert exact <= limit


@pytest.mark.parametrize(
    ("rules", "lines", "expected"),
    [
        # Where all rules count the same lines, a line's share follows its amount.
        ([BASE, DOUBLE], [(40, "drink"), (60, "food")], (80, 120)),
        # A multiplied line takes its points along when it comes back.
        (
            [BASE, replace(DOUBLE, categories=frozenset({"drink"}))],
            [(100, "drink"), (100, "food")],
            (200, 100),
        ),
        # So does a line of another rate.
        (
            [BASE, rule("wine", Base(points=1, per_amount=100), categories=frozenset({"wine"}))],
            [(100, "wine"), (100, "food")],
            (200, 100),
        ),
        # A bonus for some lines is theirs.
        (
            [BASE, rule("b", Bonus(points=50), categories=frozenset({"wine"}))],
            [(100, "wine"), (100, "food")],
            (150, 100),
        ),
        # A fixed number is shared by amount, and by units when the lines are free.
        ([rule("f", Flat(points=10))], [(0, "a"), (30, "b"), (70, "c")], (0, 3, 7)),
        ([rule("f", Flat(points=10))], [(0, "a"), (0, "b")], (5, 5)),
    ],
)
def test_a_line_has_its_share_of_the_points_of_each_rule_that_counts_it(
    rules: Sequence[Rule], lines: Sequence[tuple[int, str]], expected: tuple[int, ...]
) -> None:
    basket = order(0, *((yuan, Line(category)) for yuan, category in lines))
    assert decided(program(*rules), basket).explanation.line_points == expected


def test_a_line_without_merchant_was_sold_by_the_source() -> None:
    ours = rule("ours", Base(points=1, per_amount=100), merchants=frozenset({"shop-1"}))
    basket = order(0, (40, Line("tea")), (60, Line("tea", "other")), source="shop-1")
    assert decided(program(ours), basket).points == 40
    assert decided(program(ours), order(70, source="shop-1")).points == 70
    elsewhere = decided(program(ours), order(70, source="shop-2"))
    assert elsewhere.explanation.rules[0].reason == matching.NO_LINE


def test_a_condition_that_fails_on_a_line_says_so_and_the_others_count() -> None:
    def fragile(line: object) -> str:
        return explanations.FAILED + "division by zero" if line == Line("odd") else ""

    of = program(replace(BASE, line_condition=fragile))
    basket = order(0, (10, Line("odd")), (20, Line("even")))
    (outcome,) = decided(of, basket).explanation.rules
    assert (outcome.matched, outcome.granted, outcome.failed) == (True, 20, True)
    assert outcome.reason == "line 1: the condition failed: division by zero"
    (nothing,) = decided(of, order(0, (10, Line("odd")))).explanation.rules
    assert (nothing.matched, nothing.failed) == (False, True)


def test_of_personal_data_the_explanation_has_the_verdict_and_the_segments_that_rules_name() -> (
    None
):
    birthday = rule("birthday", Bonus(points=5), occasion=Occasion(kind=OccasionKind.BIRTHDAY))
    vip = rule("vip", Bonus(points=7), segments=frozenset({"vip"}))
    earning = decided(
        program(birthday, vip),
        order(1),
        birth_date=datetime(1987, 1, 15, tzinfo=UTC).date(),
        enroll_time=NOON - timedelta(days=900),
        segments=frozenset({"vip", "cancer-patients"}),
    )
    assert earning.points == 12
    text = explanations.written(earning.explanation)
    assert "1987" not in text
    assert "cancer" not in text
    assert earning.explanation.looked.segments == ("vip",)


MILES, STATUS = CurrencyId("miles"), CurrencyId("status")


def airline() -> Program:
    """Miles by money and fare, status miles apart from them."""
    first = program(BASE, rule("fare", Bonus(points=10)), currency_id=MILES)
    status = program(
        rule("status", Base(points=1, per_amount=300), activity_types=frozenset({"flight"})),
        caps=[Cap(cap_id="year", period=Period.YEAR, points=100)],
        carries=True,
        currency_id=STATUS,
    )
    return Program(
        program_id=ProgramId("air"),
        currency_id=MILES,
        money_currency_code="CNY",
        rules=first,
        others=(status,),
    )


def test_each_currency_is_decided_by_its_own_rules_caps_and_remainders() -> None:
    flight = replace(order(100), type="flight")
    carried = {STATUS: Fraction(2, 3), MILES: Fraction(1, 2)}
    facts = Facts(carried=carried, used={("year", "2026"): 70})
    miles, status = evaluation.decide_all(airline(), flight, facts)
    assert (miles.currency_id, miles.points, miles.carried) == (MILES, 110, Fraction(0))
    assert (status.currency_id, status.points, status.carried) == (STATUS, 30, Fraction(0))
    assert status.explanation.wanted == 34
    assert [each.rule_id for each in miles.explanation.rules] == ["base", "fare"]
    assert [each.rule_id for each in status.explanation.rules] == ["status"]
    visit = replace(order(100), type="visit")
    assert [each.points for each in evaluation.decide_all(airline(), visit, facts)] == [110, 0]


def test_what_has_to_be_looked_up_is_told_for_all_currencies_by_the_type_of_the_activity() -> None:
    air = airline()
    assert not air.is_plain
    flight = air.needs("flight", NOON)
    assert flight.caps == (("year", "2026"),)
    assert flight.carried == (STATUS,)
    assert (flight.profile, flight.types, flight.budgets) == (False, frozenset(), ())
    counting = program(
        rule("nth", Bonus(points=1), nth=Nth(number=1), activity_types=frozenset({"visit"})),
        rule("vip", Bonus(points=1), segments=frozenset({"vip"}), budget=5),
        replace(BASE, activity_types=frozenset({"flight"}), caps=(cap(9, Period.DAY),)),
    )
    visit = counting.needs("visit", NOON)
    assert (visit.types, visit.profile, visit.budgets) == (
        frozenset({"visit"}),
        True,
        ("vip",),
    )
    assert visit.caps == ()
    assert counting.needs("flight", NOON).caps == (("cap", DAY),)
    assert program(BASE, DOUBLE).needs("visit", NOON).caps == ()


_EFFECTS = st.one_of(
    st.builds(Base, points=st.integers(1, 9), per_amount=st.integers(1, 300)),
    st.builds(Flat, points=st.integers(1, 50)),
    st.builds(Bonus, points=st.integers(1, 50)),
    st.builds(Multiplier, numerator=st.integers(0, 7), denominator=st.integers(1, 4)),
)


@given(
    effects=st.lists(_EFFECTS, min_size=1, max_size=6),
    amounts=st.lists(st.integers(0, 9_000), max_size=4),
    policy=st.sampled_from(MultiplierPolicy),
    rounding=st.sampled_from(Rounding),
)
def test_a_cap_that_nothing_reaches_changes_nothing(
    effects: list[Base | Flat | Bonus | Multiplier],
    amounts: list[int],
    policy: MultiplierPolicy,
    rounding: Rounding,
) -> None:
    """So the quick way for rules without limits gives what the long way gives."""
    rules = [rule(f"r-{at}", effect) for at, effect in enumerate(effects)]
    basket = order(77, *((Fraction(each, 100), Line()) for each in amounts))  # type: ignore[arg-type]
    plain = decided(program(*rules, multiplier_policy=policy, rounding=rounding), basket)
    far = [cap(10**9), Cap(cap_id="b", period=Period.DAY, points=10**9, on_base=True)]
    capped = decided(program(*rules, caps=far, multiplier_policy=policy, rounding=rounding), basket)
    assert capped.points == plain.points
    assert capped.explanation[:6] == plain.explanation[:6]


@pytest.mark.parametrize("year", [1, 9999])
def test_what_has_to_be_looked_up_is_told_at_the_ends_of_time(year: int) -> None:
    instant = datetime(year, 1 if year == 1 else 12, 1 if year == 1 else 31, 23, tzinfo=UTC)
    assert airline().needs("flight", instant).caps[0][0] == "year"


@given(before=st.fractions(0, Fraction(999, 1_000)), amount=st.integers(0, 10**9))
def test_a_remainder_stays_below_one_and_its_denominator_is_bounded(
    before: Fraction, amount: int
) -> None:
    of = program(rule("base", Base(points=1, per_amount=9_973)), carries=True, currency_id=MILES)
    deed = replace(order(0), amount=amount + 1, paid_in_points=amount // 3)
    earning = evaluation.decide(of, deed, Facts(carried={MILES: before}))
    assert 0 <= earning.carried < 1
    assert earning.carried.denominator <= evaluation.REMAINDER_DENOMINATOR_MAX
    net = Fraction(amount + 1 - amount // 3, 9_973)
    assert abs(earning.points + earning.carried - net - before) < Fraction(1, 10**17)
