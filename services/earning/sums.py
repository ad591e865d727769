"""The exact points of one decision: what rules bring, before and after multipliers and caps."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import gcd, lcm
from operator import add, mul
from typing import NamedTuple

from services.earning.domain import RATIO_MAX
from services.earning.explanations import RuleOutcome
from services.earning.limits import Counting, Kept, Limits
from services.earning.matching import Match, Matches
from services.earning.refusals import PointsOutOfRange
from services.earning.rules import (
    Base,
    Bonus,
    Deed,
    Facts,
    Flat,
    Measured,
    Rules,
)
from services.earning.shapes import brought_by, nominal_factors, shape_of
from services.earning.stacking import (
    MultiplierPolicy,
    allocate,
    best,
    parts_of,
    rounded,
)

NOTHING_CARRIED = Fraction(0)


class _Weights(NamedTuple):
    """Lines that rules count with their amounts, or with their units when all of them are free."""

    lines: list[tuple[int, int]]
    by_class: list[int]
    total: int


class Sums:
    """The points of one decision, exact: integers over `per` before multipliers, `whole` after.

    Lines fall into classes by which multipliers of lines pick them; mostly there is one class.
    `rows` are the points of base and flat rules by class; `brought`, `factors` and `common` are
    those of the shape, or what limits leave of them. `made` is what multipliers made of each row,
    known once they have done their work.
    """

    __slots__ = (
        "_weighed",
        "bonuses",
        "brought",
        "common",
        "deed",
        "factors",
        "found",
        "made",
        "per",
        "rows",
        "rules",
        "shape",
    )

    def __init__(self, rules: Rules, found: Matches, deed: Deed, scale: tuple[int, int]) -> None:
        self.rules = rules
        self.found = found
        self.deed = deed
        self.shape = shape_of(rules, found, len(deed.lines))
        self.common = 1
        self.brought: Sequence[Sequence[int]] = ()
        self.factors: Sequence[int] = (1,) * len(self.shape.keys)
        self.made: list[int] = []
        self._weighed: dict[Sequence[int] | None, _Weights] = {}
        self.bonuses = [_points(each)[0] for each in found.bonuses]
        per = scale[1]
        for each in found.givers:
            effect = each.rule.effect
            per = lcm(
                per, effect.per_amount * scale[1] if type(effect) is Base else _points(each)[1]
            )
        if self.shape.classes:
            per = lcm(
                per,
                *[
                    self._weights(each).total * _points(each)[1]
                    for each in found.givers
                    if type(each.rule.effect) is not Base
                ],
            )
        self.per = per
        self.rows = [self._row(each, scale) for each in found.givers]

    def _row(self, matched: Match, scale: tuple[int, int]) -> list[int]:
        """The points of a base or flat rule by class."""
        effect, classes = matched.rule.effect, self.shape.classes
        if type(effect) is Base:
            unit = effect.points * scale[0] * (self.per // (effect.per_amount * scale[1]))
            if not classes or not matched.amount:
                return [matched.amount * unit, *[0] * (len(self.shape.keys) - 1)]
            return [weight * unit for weight in self._weights(matched).by_class]
        points, per = _points(matched)
        if not classes:
            return [points * (self.per // per)]
        weights = self._weights(matched)
        unit = points * (self.per // (per * weights.total))
        return [weight * unit for weight in weights.by_class]

    def _weights(self, matched: Match) -> "_Weights":
        """What the lines that a rule counts weigh; rules that count the same lines share it."""
        picked = matched.lines
        known = self._weighed.get(picked)
        if known is None:
            lines, classes = self.deed.lines, self.shape.classes
            places = range(len(lines)) if picked is None else picked
            weights = [(line, lines[line].amount) for line in places]
            total = sum([weight for _, weight in weights])
            if not total:
                weights = [(line, lines[line].quantity) for line in places]
                total = sum([weight for _, weight in weights])
            by_class = [total]
            if classes:
                by_class = [0] * len(self.shape.keys)
                for line, weight in weights:
                    by_class[classes[line]] += weight
            known = self._weighed[picked] = _Weights(weights, by_class, total)
        return known

    # Multipliers, caps, budgets ------------------------------------------------------------------

    def stack(self, limits: Limits | None) -> None:
        """Let multipliers, and what limits points before the rounding, do their work."""
        found = self.found
        if limits is not None:
            self._limit_bases(limits)
        if found.multipliers:
            self._multiply(limits)
        self.made = [self._made(row) for row in self.rows]
        if limits is None:
            return
        for row, each in enumerate(found.givers):
            if each.rule.is_limited:
                whole = self.per * self.common
                kept = limits.by_rule(each.rule, Counting.MADE, each.place, self.made[row], whole)
                if kept is not None:
                    self._keep(kept, [row])
                    self.made = [self._made(row) for row in self.rows]
        for at, each in enumerate(found.bonuses):
            if each.rule.is_limited:
                points = self.bonuses[at]
                kept = limits.by_rule(each.rule, Counting.PART, each.place, points, 1)
                if kept is not None:
                    self.bonuses[at] = points * kept[0] // kept[1]

    def _limit_bases(self, limits: Limits) -> None:
        for row, each in enumerate(self.found.givers):
            if each.rule.caps:
                points = sum(self.rows[row])
                kept = limits.by_caps(each.rule.caps, Counting.BASE, each.place, points, self.per)
                self._keep(kept, [row])
        if self.rules.caps:
            points = sum([sum(row) for row in self.rows])
            kept = limits.by_caps(self.rules.caps, Counting.ALL_BASE, -1, points, self.per)
            self._keep(kept, range(len(self.rows)))

    def _keep(self, kept: Kept | None, places: Sequence[int]) -> None:
        """Cut rows to a share, over a larger denominator."""
        if kept is None:
            return
        common = gcd(*kept)
        numerator, denominator = kept[0] // common, kept[1] // common
        self.per *= denominator
        for place, row in enumerate(self.rows):
            by = numerator if place in places else denominator
            self.rows[place] = [each * by for each in row]

    def _made(self, row: Sequence[int]) -> int:
        """What multipliers made of the points of a base or flat rule."""
        if len(row) == 1:
            return row[0] * self.factors[0]
        return sum(map(mul, row, self.factors))

    def _multiply(self, limits: Limits | None) -> None:
        shape, multipliers = self.shape, self.found.multipliers
        self.brought, self.factors, self.common = shape.brought, shape.factors, shape.common
        limited = []
        if limits is not None:
            limited = [at for at, each in enumerate(multipliers) if each.rule.is_limited]
        if not limited:
            return
        assert limits is not None  # noqa: S101 - nothing is limited without
        policy, nominal = self.rules.multiplier_policy, nominal_factors(multipliers)
        factors = [[nominal[at] for at in each] for each in shape.places]
        if policy is MultiplierPolicy.BEST:
            # What is best is told by the factors as they are written, whatever caps leave of them.
            policy = MultiplierPolicy.ADD
            for each in factors:
                chosen = best(each) if each else -1
                each[:] = [pair if at == chosen else (1, 1) for at, pair in enumerate(each)]
            self._bring(policy, factors)
        for at in limited:
            rule = multipliers[at].rule
            brought = max(0, self._brings(at, self._bases()))
            whole = self.per * self.common
            kept = limits.by_rule(rule, Counting.PART, multipliers[at].place, brought, whole)
            if kept is None:
                continue
            for inner, left in zip(shape.places, factors, strict=True):
                if at in inner:
                    left[inner.index(at)] = _less(left[inner.index(at)], kept)
            self._bring(policy, factors)

    def _bring(self, policy: MultiplierPolicy, factors: list[list[tuple[int, int]]]) -> None:
        """Take other factors for each class than the rules name."""
        self.brought, self.factors, self.common = brought_by(
            policy, self.shape.places, factors, len(self.found.multipliers)
        )

    def _brings(self, at: int, bases: Sequence[int]) -> int:
        """What a multiplier brings to base points of each class."""
        return sum(map(mul, self.brought[at], bases))

    def _bases(self) -> Sequence[int]:
        """The base points of all rules by class."""
        if len(self.rows) == 1:
            return self.rows[0]
        if len(self.shape.keys) == 1:
            return [sum([row[0] for row in self.rows])]
        return [sum(column) for column in zip(*self.rows, strict=True)] or [0] * len(
            self.shape.keys
        )

    # What comes of it ----------------------------------------------------------------------------

    def total(self, facts: Facts) -> tuple[int, int]:
        """All points, with the remainder carried from before: numerator and denominator."""
        whole = self.per * self.common
        exact = sum(self.made) + sum(self.bonuses) * whole
        if self.rules.carries:
            before = facts.carried.get(self.rules.currency_id, NOTHING_CARRIED)
            return exact * before.denominator + before.numerator * whole, whole * before.denominator
        return exact, whole

    def factor(self) -> tuple[int, int]:
        """The factor of multipliers that count for the whole. Refuses PointsOutOfRange."""
        numerator, per = self.shape.factor
        if numerator > RATIO_MAX or per > RATIO_MAX:
            raise PointsOutOfRange(what="multipliers", limit=RATIO_MAX)
        return numerator, per

    def share_out(self, points: int, outcomes: list[RuleOutcome]) -> None:
        """Write into the outcomes which part of the points came by each rule."""
        found, common = self.found, self.common
        whole = self.per * common
        exact = [sum(row) * common for row in self.rows]
        if found.multipliers:
            bases = self._bases()
            exact += [self._brings(at, bases) for at in range(len(found.multipliers))]
        exact += [bonus * whole for bonus in self.bonuses]
        given = (*found.givers, *found.multipliers, *found.bonuses)
        order = self.shape.order
        parts = [points]
        if len(exact) > 1:
            parts = parts_of(points, [exact[at] for at in order], whole)
        for at, part in zip(order, parts, strict=True):
            if part:
                place = given[at].place
                name, applies, reason, amount, alone, factor, by, _ = outcomes[place]
                outcomes[place] = RuleOutcome(
                    name, applies, reason, amount, alone, factor, by, part
                )

    def counter(self, granted: int, points: int) -> Callable[[Counting, int], int]:
        """Tells the whole points that a cap or budget counts of those granted."""
        found, rounding = self.found, self.rules.rounding
        made: dict[int, int] = {}
        rows: dict[int, int] = {}
        if granted:
            whole = self.per * self.common
            places = [each.place for each in (*found.givers, *found.bonuses)]
            exact = [*self.made, *[bonus * whole for bonus in self.bonuses]]
            made = dict(zip(places, parts_of(granted, exact, whole), strict=True))
            rows = dict(zip(places, map(sum, self.rows), strict=False))

        def count(counting: Counting, place: int) -> int:
            if not granted:
                return 0
            if counting is Counting.POINTS:
                return granted
            if counting is Counting.MADE:
                return made[place]
            if counting is Counting.PART:
                return max(0, found.outcomes[place].granted)
            base = rows[place] if counting is Counting.BASE else sum(rows.values())
            return rounded(base * granted, self.per * points, rounding)

        return count

    def lines(self, points: int) -> tuple[int, ...]:
        """The points of each line: of what a rule gives, those that it counts have their share."""
        matched = (*self.found.givers, *self.found.bonuses)
        if not points or not matched:
            return (0,) * len(self.deed.lines)
        whole, factors, classes = self.per * self.common, self.factors, self.shape.classes
        # What the lines that some rules count have of the points, by class, and of bonuses in all:
        # shared by weight within the class, or among all of these lines.
        values: dict[int, tuple[_Weights, list[int], int]] = {}
        for weights, row in zip(map(self._weights, self.found.givers), self.rows, strict=True):
            made = list(map(mul, row, factors))
            known = values.get(id(weights))
            if known is not None:
                made = list(map(add, known[1], made))
            values[id(weights)] = (weights, made, 0)
        for weights, bonus in zip(
            map(self._weights, self.found.bonuses), self.bonuses, strict=True
        ):
            _, made, before = values.get(id(weights)) or (weights, [0] * len(factors), 0)
            values[id(weights)] = (weights, made, before + bonus * whole)
        per = lcm(
            *[each for weights, _, _ in values.values() for each in weights.by_class if each],
            *[weights.total for weights, _, bonus in values.values() if bonus],
        )
        shares = [0] * len(self.deed.lines)
        for weights, made, bonus in values.values():
            more = bonus * per // weights.total if bonus else 0
            units = [
                value * per // each + more if each else 0
                for value, each in zip(made, weights.by_class, strict=True)
            ]
            if classes:
                for line, weight in weights.lines:
                    shares[line] += units[classes[line]] * weight
            else:
                for line, weight in weights.lines:
                    shares[line] += units[0] * weight
        return allocate(points, shares)


def _less(factor: tuple[int, int], kept: Kept) -> tuple[int, int]:
    """A factor that brings only a share of what it brought."""
    numerator, per = factor
    return per * kept[1] + (numerator - per) * kept[0], per * kept[1]


def _points(matched: Match) -> tuple[int, int]:
    """The points of a rule that gives a fixed number, or so many for each of a measure."""
    effect = matched.rule.effect
    if isinstance(effect, Measured):
        return matched.amount * effect.points, effect.per
    return (effect.points if isinstance(effect, Flat | Bonus) else 0), 1
