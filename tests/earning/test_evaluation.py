"""What rules of every kind come to: caps, budgets, bonuses, lines, groups, remainders, money."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.earning import evaluation, explanations, matching
from services.earning.domain import BoughtLine, LevelId, RuleId
from services.earning.explanations import CapOutcome
from services.earning.money import EarnOn, Money, Rate
from services.earning.refusals import CapExceeded, CurrencyNotAccepted
from services.earning.rules import (
    Base,
    Bonus,
    Cap,
    Deed,
    Earning,
    Facts,
    Flat,
    Multiplier,
    Nth,
    Rule,
    Rules,
)
from services.earning.schedules import Period
from services.earning.stacking import MultiplierPolicy, Rounding, extras

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
YUAN = 100
"""Minor units of a yuan."""


@dataclass(frozen=True)
class Line:
    """What conditions of lines read."""

    category: str = ""
    merchant: str = ""


def rule(name: str, effect: Base | Flat | Bonus | Multiplier, **fields: object) -> Rule:
    return Rule(rule_id=RuleId(name), effect=effect, **fields)  # type: ignore[arg-type]


BASE = rule("base", Base(points=1, per_amount=YUAN))
GOLD = rule("gold", Multiplier(numerator=2, denominator=1), levels=frozenset({"gold"}))
SILVER = rule("silver", Multiplier(numerator=3, denominator=2), levels=frozenset({"silver"}))


def program(*rules: Rule, caps: Sequence[Cap] = (), **fields: object) -> Rules:
    given_fields: dict[str, object] = {
        "multiplier_policy": MultiplierPolicy.MULTIPLY,
        "money": Money(currency_code="CNY"),
        "zone": SHANGHAI,
    }
    return Rules(
        version=1,
        rules=rules,
        caps=tuple(caps),
        **(given_fields | fields),  # type: ignore[arg-type]
    )


def order(yuan: float, *lines: tuple[float, Line], **fields: object) -> Deed:
    bought = [BoughtLine(quantity=1, amount=round(each * YUAN)) for each, _ in lines]
    deed = Deed(
        type="purchase",
        amount=round(yuan * YUAN),
        lines=bought,
        view=None,
        line_views=[line for _, line in lines],
        occurred_time=NOON,
        currency_code="CNY",
    )
    return replace(deed, **fields)  # type: ignore[arg-type]


def decided(of: Rules, deed: Deed, **facts: object) -> Earning:
    """The decision, after checking that it is decided again from what it says of itself."""
    earning = evaluation.decide(of, deed, Facts(**facts))  # type: ignore[arg-type]
    text = explanations.written(earning.explanation)
    stored = explanations.read(text)
    assert stored == earning.explanation
    again = evaluation.decide(of, deed, evaluation.looked_up(of, stored))
    assert explanations.written(again.explanation) == text
    assert sum(each.granted for each in earning.explanation.rules) == earning.points
    if deed.lines:
        assert sum(earning.explanation.line_points) == earning.points
    return earning


def cap(points: int, period: Period = Period.ACTIVITY, **fields: object) -> Cap:
    return Cap(cap_id="cap", period=period, points=points, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("yuan", "level", "expected"),
    [
        (128, "", 128),
        (128.90, "", 128),
        (200, "silver", 300),
        (200, "gold", 400),
        (0.99, "", 0),
    ],
)
def test_one_yuan_is_one_point_and_more_for_silver_and_gold(
    yuan: float, level: str, expected: int
) -> None:
    of = program(BASE, SILVER, GOLD)
    assert decided(of, order(yuan), level_id=LevelId(level)).points == expected


@pytest.mark.parametrize(
    ("on_base", "per_rule", "expected"),
    [(False, False, 500), (True, False, 1_000), (False, True, 500), (True, True, 1_000)],
)
def test_an_order_of_900_with_a_cap_of_500_gives_gold_500_or_1000_by_the_stage(
    *, on_base: bool, per_rule: bool, expected: int
) -> None:
    limit = cap(500, on_base=on_base)
    of = program(replace(BASE, caps=(limit,)), GOLD)
    if not per_rule:
        of = program(BASE, GOLD, caps=[limit])
    earning = decided(of, order(900), level_id=LevelId("gold"))
    assert earning.points == expected
    assert earning.explanation.wanted == 1_800
    assert earning.explanation.caps == (CapOutcome("cap", "activity", 500, 500, cut=True),)


def test_a_cap_that_refuses_refuses_the_activity_and_says_what_is_left() -> None:
    of = program(BASE, caps=[cap(500, Period.DAY, refuses=True)])
    used = {("cap", "2026-01-15"): 400}
    assert decided(of, order(100), used=used).points == 100
    with pytest.raises(CapExceeded) as refused:
        decided(of, order(101), used=used)
    assert (refused.value.points_left, refused.value.points_wanted) == (100, 101)


@pytest.mark.parametrize(
    ("period", "key"),
    [
        (Period.DAY, "2026-01-15"),
        (Period.WEEK, "2026-W03"),
        (Period.MONTH, "2026-01"),
        (Period.YEAR, "2026"),
        (Period.LIFETIME, "all"),
    ],
)
def test_a_cap_counts_within_its_period_and_leaves_out_what_is_above(
    period: Period, key: str
) -> None:
    of = program(BASE, caps=[cap(300, period)])
    earning = decided(of, order(128), used={("cap", key): 250})
    assert earning.points == 50
    assert earning.explanation.caps == (CapOutcome("cap", key, 50, 50, cut=True),)
    assert decided(of, order(128), used={("cap", "another"): 250}).points == 128
    assert decided(of, order(128), used={("cap", key): 400}).points == 0


def test_a_budget_gives_until_it_is_spent_and_the_other_rules_go_on() -> None:
    welcome = rule("welcome", Bonus(points=100), budget=1_000)
    of = program(BASE, welcome)
    granted = {}
    for spent in (0, 900, 950, 1_000):
        earning = decided(of, order(10), spent={"welcome": spent})
        granted[spent] = (earning.points, earning.explanation.caps[0].counted)
    assert granted == {0: (110, 100), 900: (110, 100), 950: (60, 50), 1_000: (10, 0)}


def test_a_cap_of_a_multiplier_is_on_what_it_brings() -> None:
    double = rule("double", Multiplier(numerator=2, denominator=1), caps=(cap(50),))
    earning = decided(program(BASE, double), order(128))
    assert earning.points == 178
    assert [each.granted for each in earning.explanation.rules] == [128, 50]


def test_what_a_multiplier_below_one_takes_away_is_not_counted_by_its_cap() -> None:
    half = rule("half", Multiplier(numerator=1, denominator=2), caps=(cap(50, Period.DAY),))
    earning = decided(program(BASE, half), order(100))
    assert [each.granted for each in earning.explanation.rules] == [100, -50]
    assert earning.explanation.caps == (CapOutcome("cap", "2026-01-15", 50, 0),)


@pytest.mark.parametrize(
    ("policy", "granted"),
    [
        (MultiplierPolicy.MULTIPLY, [100, 400, 500]),
        (MultiplierPolicy.ADD, [100, 400, 100]),
        (MultiplierPolicy.BEST, [100, 400, 0]),
    ],
)
def test_100_yuan_first_purchase_5x_on_a_2x_day_says_what_each_brought(
    policy: MultiplierPolicy, granted: list[int]
) -> None:
    first = rule("first", Multiplier(numerator=5, denominator=1), nth=Nth(number=1))
    day = rule("day", Multiplier(numerator=2, denominator=1))
    earning = decided(program(BASE, first, day, multiplier_policy=policy), order(100))
    assert [each.granted for each in earning.explanation.rules] == granted
    assert earning.points == {"multiply": 1_000, "add": 600, "best": 500}[policy.value]
    later = decided(
        program(BASE, first, day, multiplier_policy=policy), order(100), counts={"purchase": 1}
    )
    assert later.points == 200
    assert later.explanation.rules[1].reason == matching.OTHER_NUMBER.format(2)


def test_multipliers_that_add_up_to_less_than_nothing_take_no_more_than_there_is() -> None:
    """The last ones take what those before them leave."""
    quarters = [
        rule(name, Multiplier(numerator=1, denominator=4)) for name in ("one", "two", "three")
    ]
    earning = decided(program(BASE, *quarters, multiplier_policy=MultiplierPolicy.ADD), order(100))
    assert earning.points == 0
    brought, common = extras(MultiplierPolicy.ADD, [(1, 4)] * 3)
    assert (brought, common) == ([-3, -1, 0], 4)


def test_a_bonus_is_not_multiplied_and_a_flat_number_is() -> None:
    gold = LevelId("gold")
    assert decided(program(rule("f", Flat(points=7)), GOLD), order(0), level_id=gold).points == 14
    assert decided(program(rule("b", Bonus(points=7)), GOLD), order(0), level_id=gold).points == 7


def test_every_tenth_check_in_pays_more() -> None:
    of = program(
        rule("tenth", Bonus(points=50), activity_types=frozenset({"check_in"}), nth=Nth(every=10))
    )
    check_in = replace(order(0), type="check_in", amount=None)
    paid = [
        number
        for number in range(1, 31)
        if decided(of, check_in, counts={"check_in": number - 1}).points
    ]
    assert paid == [10, 20, 30]


def test_a_multiplier_of_lines_multiplies_only_their_points() -> None:
    drinks = rule("drinks", Multiplier(numerator=3, denominator=1), categories=frozenset({"drink"}))
    basket = order(100, (40, Line("drink")), (60, Line("food")))
    earning = decided(program(BASE, drinks), basket)
    assert earning.points == 40 * 3 + 60
    assert [each.granted for each in earning.explanation.rules] == [100, 80]
    assert decided(program(BASE, drinks, GOLD), basket, level_id=LevelId("gold")).points == 360
    nothing = decided(program(BASE, drinks), order(60, (60, Line("food"))))
    assert nothing.explanation.rules[1].reason == matching.NO_LINE


def test_lines_count_by_category_and_merchant() -> None:
    stars = rule("stars", Base(points=1, per_amount=YUAN), merchants=frozenset({"ours"}))
    basket = order(100, (40, Line("drink", "ours")), (60, Line("drink", "theirs")))
    earning = decided(program(stars), basket)
    assert (earning.points, earning.explanation.line_points) == (40, (40, 0))


def test_of_an_exclusive_group_the_first_that_matches_applies() -> None:
    triple = rule(
        "triple", Multiplier(numerator=3, denominator=1), group="days", levels=frozenset({"gold"})
    )
    double = rule("double", Multiplier(numerator=2, denominator=1), group="days")
    of = program(BASE, triple, double)
    assert decided(of, order(100), level_id=LevelId("gold")).points == 300
    plain = decided(of, order(100))
    assert plain.points == 200
    gold = decided(of, order(100), level_id=LevelId("gold"))
    assert gold.explanation.rules[2].reason == matching.GROUP_TAKEN.format("days")


@pytest.mark.parametrize(
    ("fields", "deed", "facts", "reason"),
    [
        ({"channels": frozenset({"app"})}, {"source": "till 7"}, {}, matching.OTHER_CHANNEL),
        ({"channels": frozenset({"app"})}, {"source": "app"}, {}, ""),
        ({"levels": frozenset({"gold"})}, {}, {}, matching.OTHER_LEVEL),
        ({"segments": frozenset({"vip", "new"})}, {}, {}, matching.OTHER_SEGMENT),
        (
            {"segments": frozenset({"vip", "new"})},
            {},
            {"segments": frozenset({"new", "old"})},
            "",
        ),
        ({"activity_types": frozenset({"review"})}, {}, {}, matching.OTHER_TYPE),
    ],
)
def test_a_rule_that_does_not_apply_says_why(
    fields: Mapping[str, object],
    deed: Mapping[str, object],
    facts: Mapping[str, object],
    reason: str,
) -> None:
    of = program(rule("narrow", Bonus(points=5), **fields))
    earning = decided(of, replace(order(1), **deed), **facts)  # type: ignore[arg-type]
    assert earning.explanation.rules[0].reason == reason
    assert earning.points == (0 if reason else 5)


@pytest.mark.parametrize(
    ("amounts", "carries", "expected"),
    [
        ([99.99], False, [0]),
        ([100], False, [1]),
        ([250], False, [2]),
        ([60, 60], False, [0, 0]),
        ([60, 60], True, [0, 1]),
        ([60, 60, 80], True, [0, 1, 1]),
        ([99.99, 0.01], True, [0, 1]),
    ],
)
def test_one_point_for_100_yuan_with_and_without_a_carried_remainder(
    amounts: list[float], *, carries: bool, expected: list[int]
) -> None:
    of = program(rule("base", Base(points=1, per_amount=100 * YUAN)), carries=carries)
    carried, points = Fraction(0), []
    for yuan in amounts:
        earning = decided(of, order(yuan), carried={of.currency_id: carried})
        carried = earning.carried
        points.append(earning.points)
    assert points == expected


@pytest.mark.parametrize(("earn_on", "expected"), [(EarnOn.NET, 160), (EarnOn.GROSS, 200)])
def test_200_yuan_with_40_paid_in_points_earn_on_net_or_gross(
    earn_on: EarnOn, expected: int
) -> None:
    of = program(BASE, money=Money(currency_code="CNY", earn_on=earn_on))
    assert decided(of, order(200, paid_in_points=4_000)).points == expected
    basket = order(200, (150, Line()), (50, Line()), paid_in_points=4_000)
    assert decided(of, basket).points == expected


def test_other_money_earns_by_the_rate_of_its_day_or_is_refused() -> None:
    rates = (
        Rate(from_date=date(2026, 1, 1), numerator=7, denominator=1),
        Rate(from_date=date(2026, 1, 16), numerator=8, denominator=1),
    )
    of = program(BASE, money=Money(currency_code="CNY", rates=(("USD", rates),)))
    assert decided(of, order(10, currency_code="USD")).points == 70
    # Eight in the evening in London is the 16th in Shanghai already.
    evening = datetime(2026, 1, 15, 20, tzinfo=UTC)
    assert decided(of, order(10, currency_code="USD", occurred_time=evening)).points == 80
    with pytest.raises(CurrencyNotAccepted):
        decided(of, order(10, currency_code="EUR"))
    before = datetime(2025, 12, 31, 12, tzinfo=UTC)
    with pytest.raises(CurrencyNotAccepted):
        decided(of, order(10, currency_code="USD", occurred_time=before))


def test_thirds_of_points_are_rounded_once_at_the_end() -> None:
    thirds = [rule(f"third-{at}", Base(points=1, per_amount=3)) for at in range(3)]
    assert decided(program(*thirds), replace(order(0), amount=1)).points == 1
    up = program(*thirds[:2], rounding=Rounding.HALF_UP)
    assert decided(up, replace(order(0), amount=1)).points == 1


_effects = st.one_of(
    st.builds(Base, points=st.integers(1, 9), per_amount=st.integers(1, 300)),
    st.builds(Flat, points=st.integers(1, 50)),
    st.builds(Bonus, points=st.integers(1, 50)),
    st.builds(Multiplier, numerator=st.integers(0, 7), denominator=st.integers(1, 4)),
)


@st.composite
def _rules(draw: st.DrawFn) -> tuple[Rules, Facts]:
    made = []
    used: dict[tuple[str, str], int] = {}
    spent: dict[str, int] = {}
    for at, effect in enumerate(draw(st.lists(_effects, min_size=1, max_size=6))):
        caps: tuple[Cap, ...] = ()
        if draw(st.booleans()):
            on_base = isinstance(effect, Base | Flat) and draw(st.booleans())
            caps = (
                Cap(
                    cap_id=f"cap-{at}",
                    period=Period.DAY,
                    points=draw(st.integers(1, 200)),
                    on_base=on_base,
                ),
            )
            used[f"cap-{at}", "2026-01-15"] = draw(st.integers(0, 250))
        budget = draw(st.sampled_from([0, 0, 100]))
        spent[f"r-{at}"] = draw(st.integers(0, 120))
        categories = frozenset(draw(st.sets(st.sampled_from("ab"), max_size=1)))
        made.append(rule(f"r-{at}", effect, caps=caps, budget=budget, categories=categories))
    everywhere = [
        Cap(
            cap_id="all",
            period=Period.MONTH,
            points=draw(st.integers(1, 500)),
            on_base=draw(st.booleans()),
        )
    ]
    used["all", "2026-01"] = draw(st.integers(0, 300))
    of = program(
        *made,
        caps=draw(st.sampled_from([everywhere, []])),
        multiplier_policy=draw(st.sampled_from(MultiplierPolicy)),
    )
    return of, Facts(used=used, spent=spent)


@given(
    drawn=_rules(),
    amounts=st.lists(st.tuples(st.integers(0, 90), st.sampled_from("abc")), max_size=4),
)
def test_no_cap_or_budget_is_ever_passed_and_every_part_adds_up(
    drawn: tuple[Rules, Facts], amounts: list[tuple[int, str]]
) -> None:
    of, facts = drawn
    basket = order(50, *((yuan, Line(category)) for yuan, category in amounts))
    earning = decided(of, basket, used=facts.used, spent=facts.spent)
    assert earning.points >= 0
    for outcome in earning.explanation.caps:
        assert 0 <= outcome.counted <= outcome.left
        if outcome.period:
            total = next(
                each.points
                for caps in (of.caps, *(one.caps for one in of.rules))
                for each in caps
                if each.cap_id == outcome.cap_id
            )
            assert outcome.left == max(0, total - facts.used.get(outcome[:2], 0))
    if not any(outcome.cut for outcome in earning.explanation.caps):
        assert earning.explanation.wanted in {earning.points, -1}
        bare = program(
            *(replace(one, caps=(), budget=0) for one in of.rules),
            multiplier_policy=of.multiplier_policy,
        )
        assert decided(bare, basket).points == earning.points
