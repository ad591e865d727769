"""What an activity earns: base and flat points, multipliers, one rounding, shares of the lines.

Rules come compiled: conditions are functions, so that a preview, a test and the ledger run the same
code. All arithmetic is on integers: rates are kept as numerator and denominator, and the one
division happens at the end, rounded as the program says (`semantics.md`, "Activities and earning").
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import timedelta
from enum import StrEnum
from json.encoder import encode_basestring as _quoted  # a text as JSON has it, not as ASCII
from math import gcd, lcm
from typing import NamedTuple, TypeAlias

from services.earning.domain import (
    POINTS_MAX,
    RATIO_MAX,
    BoughtLine,
    CurrencyId,
    LevelId,
    ProgramId,
    ReversalPolicy,
    RuleId,
)
from services.earning.expiry import CurrencyPolicy
from services.earning.refusals import PointsOutOfRange
from shared.values import value

Condition: TypeAlias = Callable[[object, str], str]
"""Takes the activity and the level; says why it does not hold, nothing when it does."""
LineCondition: TypeAlias = Callable[[object], str]
"""Takes the line; says why it does not count, nothing when it does."""

OTHER_TYPE = "the rule is not about activities of this type"
NO_AMOUNT = "the activity has no amount"
NO_LINE = "no line of the activity counts"


class MultiplierPolicy(StrEnum):
    """How several matching multipliers combine."""

    MULTIPLY = "multiply"
    ADD = "add"
    BEST = "best"


class Rounding(StrEnum):
    """How the points of an activity are rounded, once."""

    FLOOR = "floor"
    HALF_EVEN = "half_even"
    HALF_UP = "half_up"
    CEIL = "ceil"


@value
class Base:
    """So many points for each so many minor units."""

    points: int
    per_amount: int


@value
class Flat:
    """A fixed number of points, multiplied as well."""

    points: int


@value
class Multiplier:
    """An exact factor on the points."""

    numerator: int
    denominator: int


@value
class Rule:
    """One compiled rule; without types it is about all, without conditions it always counts."""

    rule_id: RuleId
    effect: Base | Flat | Multiplier
    activity_types: frozenset[str] = frozenset()
    condition: Condition | None = None
    line_condition: LineCondition | None = None


@value
class Rules:
    """The rules of one version of a program, in the order in which explanations list them."""

    version: int
    rules: tuple[Rule, ...]
    multiplier_policy: MultiplierPolicy
    rounding: Rounding = Rounding.FLOOR


@value
class Program:
    """One version of a program, compiled: what it accepts, what it gives and what it takes back."""

    program_id: ProgramId
    currency_id: CurrencyId
    money_currency_code: str
    rules: Rules
    tier_ladder_id: str = ""
    reversal_policy: ReversalPolicy = ReversalPolicy.ALLOW_DEBT
    enroll_unknown_members: bool = False
    accepted_past: timedelta = timedelta(days=400)
    accepted_future: timedelta = timedelta(minutes=5)
    currencies: Mapping[CurrencyId, CurrencyPolicy] = field(default_factory=dict)


@value
class Deed:
    """What rules look at: `amount` is None without a payment, views are what conditions read."""

    type: str
    amount: int | None
    lines: Sequence[BoughtLine]
    view: object
    line_views: Sequence[object]


# Tuples rather than dataclasses: every rule of every activity makes one, and JSON writes them.


class RuleOutcome(NamedTuple):
    """What one rule contributed; `reason` says why it did not apply."""

    rule_id: str
    matched: bool
    reason: str = ""
    amount: int = 0
    points: int = 0
    numerator: int = 0
    denominator: int = 0


class Explanation(NamedTuple):
    """How points came about, down to the share of each line; kept with the entry for ever."""

    program_version: int
    level_id: str
    numerator: int
    denominator: int
    rules: tuple[RuleOutcome, ...]
    line_points: tuple[int, ...]


class Earning(NamedTuple):
    """The points of an activity, what each line has of them, and why."""

    points: int
    explanation: Explanation


def written(explanation: Explanation) -> str:
    """The text of an explanation as it is stored and hashed: a JSON array of its parts in order."""
    outcomes = ",".join(
        [
            f"[{_quoted(each.rule_id)},{'true' if each.matched else 'false'},"
            f"{_quoted(each.reason)},{each.amount},{each.points},"
            f"{each.numerator},{each.denominator}]"
            for each in explanation.rules
        ]
    )
    return (
        f"[{explanation.program_version},{_quoted(explanation.level_id)},"
        f"{explanation.numerator},{explanation.denominator},[{outcomes}],"
        f"[{','.join(map(str, explanation.line_points))}]]"
    )


def read(text: str) -> Explanation:
    """The explanation of a text that `written` made."""
    version, level_id, numerator, denominator, outcomes, line_points = json.loads(text)
    return Explanation(
        program_version=version,
        level_id=level_id,
        numerator=numerator,
        denominator=denominator,
        rules=tuple(RuleOutcome(*outcome) for outcome in outcomes),
        line_points=tuple(line_points),
    )


def decide(rules: Rules, deed: Deed, level_id: LevelId) -> Earning:
    """Apply all rules to one activity. Refuses PointsOutOfRange."""
    tally = _Tally(deed)
    outcomes = tuple([_apply(rule, deed, level_id, tally) for rule in rules.rules])
    numerator, denominator = combined(rules.multiplier_policy, tally.factors)
    if numerator > RATIO_MAX or denominator > RATIO_MAX:
        raise PointsOutOfRange(what="multipliers", limit=RATIO_MAX)
    points = tally.points(numerator, denominator, rules.rounding)
    if points > POINTS_MAX:
        raise PointsOutOfRange(what="points", limit=POINTS_MAX)
    shares = allocate(points, tally.weights()) if deed.lines else ()
    return Earning(
        points=points,
        explanation=Explanation(
            program_version=rules.version,
            level_id=level_id,
            numerator=numerator,
            denominator=denominator,
            rules=outcomes,
            line_points=shares,
        ),
    )


def combined(policy: MultiplierPolicy, factors: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """One factor for all that matched, reduced; 1 when none did.

    5x on a 2x day: multiply 10, add 6 (what each adds to one), best 5.
    Factors below one may add up to less than nothing: then it is nothing.
    """
    if not factors:
        return 1, 1
    if len(factors) == 1:
        numerator, denominator = factors[0]
    elif policy is MultiplierPolicy.BEST:
        numerator, denominator = factors[0]
        for other, per in factors:
            if other * denominator > numerator * per:
                numerator, denominator = other, per
    elif policy is MultiplierPolicy.MULTIPLY:
        numerator, denominator = 1, 1
        for factor, per in factors:
            numerator, denominator = numerator * factor, denominator * per
    else:
        denominator = lcm(*(per for _, per in factors))
        added = sum((factor - per) * (denominator // per) for factor, per in factors)
        numerator = max(0, denominator + added)
    common = gcd(numerator, denominator)
    return numerator // common, denominator // common


def rounded(numerator: int, denominator: int, rounding: Rounding) -> int:
    """A ratio of integers, not negative, as an integer."""
    whole, rest = divmod(numerator, denominator)
    if not rest or rounding is Rounding.FLOOR:
        return whole
    if rounding is Rounding.CEIL:
        return whole + 1
    twice = 2 * rest
    if twice != denominator:
        return whole + (twice > denominator)
    return whole + 1 if rounding is Rounding.HALF_UP else whole + (whole & 1)


def allocate(points: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Shares of points in proportion to weights, by largest remainder; they add up exactly.

    Of equal remainders the earlier line's comes first. The weights are not negative, and at least
    one of them is above zero unless there are no points.
    """
    if not points:
        return (0,) * len(weights)
    total = sum(weights)
    shares = [points * weight // total for weight in weights]
    left = points - sum(shares)
    if left:
        order = sorted(range(len(weights)), key=lambda line: -(points * weights[line] % total))
        for line in order[:left]:
            shares[line] += 1
    return tuple(shares)


class _Tally:
    """What the rules that matched come to; lives for one decision."""

    __slots__ = ("_deed", "_earning", "bases", "factors", "flat")

    def __init__(self, deed: Deed) -> None:
        self._deed = deed
        self._earning = [False] * len(deed.lines)
        self.bases: list[tuple[int, Base]] = []
        self.flat = 0
        self.factors: list[tuple[int, int]] = []

    def earns(self, picked: Sequence[int]) -> None:
        """Mark the lines that take part in the points."""
        for line in picked:
            self._earning[line] = True

    def points(self, numerator: int, denominator: int, rounding: Rounding) -> int:
        """Everything together, exact until this one rounding."""
        per = lcm(*(base.per_amount for _, base in self.bases)) if self.bases else 1
        exact = self.flat * per
        for amount, base in self.bases:
            exact += amount * base.points * (per // base.per_amount)
        return rounded(exact * numerator, per * denominator, rounding)

    def weights(self) -> list[int]:
        """Amounts of the earning lines; their units when all of them were free."""
        lines = self._deed.lines
        weights = [
            line.amount if earns else 0 for line, earns in zip(lines, self._earning, strict=True)
        ]
        if any(weights):
            return weights
        return [
            line.quantity if earns else 0 for line, earns in zip(lines, self._earning, strict=True)
        ]


def _apply(rule: Rule, deed: Deed, level_id: LevelId, tally: _Tally) -> RuleOutcome:
    """Add what one rule gives to the tally, and say so."""
    if rule.activity_types and deed.type not in rule.activity_types:
        return RuleOutcome(rule.rule_id, matched=False, reason=OTHER_TYPE)
    if rule.condition is not None and (reason := rule.condition(deed.view, level_id)):
        return RuleOutcome(rule.rule_id, matched=False, reason=reason)
    effect = rule.effect
    if isinstance(effect, Multiplier):
        tally.factors.append((effect.numerator, effect.denominator))
        return RuleOutcome(
            rule.rule_id,
            matched=True,
            numerator=effect.numerator,
            denominator=effect.denominator,
        )
    picked, reason = _picked(rule, deed)
    if not picked and (deed.lines or rule.line_condition is not None):
        return RuleOutcome(rule.rule_id, matched=False, reason=reason or NO_LINE)
    if isinstance(effect, Flat):
        tally.flat += effect.points
        tally.earns(picked)
        return RuleOutcome(rule.rule_id, matched=True, points=effect.points)
    amount = sum([deed.lines[line].amount for line in picked]) if deed.lines else deed.amount
    if amount is None:
        return RuleOutcome(rule.rule_id, matched=False, reason=NO_AMOUNT)
    tally.bases.append((amount, effect))
    tally.earns(picked)
    alone = amount * effect.points // effect.per_amount
    if alone > RATIO_MAX:
        raise PointsOutOfRange(what="points", limit=POINTS_MAX)
    return RuleOutcome(rule.rule_id, matched=True, amount=amount, points=alone)


def _picked(rule: Rule, deed: Deed) -> tuple[Sequence[int], str]:
    """Places of the lines that count, and why the first one that does not failed."""
    condition = rule.line_condition
    if condition is None:
        return range(len(deed.lines)), ""
    picked: list[int] = []
    first = ""
    for line, view in enumerate(deed.line_views):
        reason = condition(view)
        if not reason:
            picked.append(line)
        elif not first:
            first = reason
    return picked, first
