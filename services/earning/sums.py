"""The exact points of one decision: what rules bring, before and after multipliers and caps."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import gcd, lcm
from operator import mul
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
    """Lines that rules count, and their amounts, or their units when all of them are free."""

    lines: Sequence[int]
    weights: list[int]
    by_class: Sequence[int]
    total: int


_ONCE = (1,)
"""What a fixed number of points counts, where there is one class: itself, and not its lines."""


class Sums:
    """The points of one decision, exact: integers over `per` before multipliers, `whole` after.

    Lines fall into classes by which multipliers of lines pick them; mostly there is one class.
    A base or flat rule gives `units` for each of what it counts, which `counted` has by class, and
    `bases` are those points in all; with multipliers they come to `made`.
    `brought`, `factors` and `common` are those of the shape, or what limits leave of them.
    """

    __slots__ = (
        "_weighed",
        "bases",
        "bonuses",
        "brought",
        "common",
        "counted",
        "deed",
        "factors",
        "found",
        "made",
        "per",
        "rules",
        "shape",
        "units",
    )

    def __init__(self, rules: Rules, found: Matches, deed: Deed, scale: tuple[int, int]) -> None:
        self.rules = rules
        self.found = found
        self.deed = deed
        self._weighed: dict[Sequence[int] | None, _Weights] = {}
        shape = self.shape = shape_of(rules, found, len(deed.lines))
        self.common = 1
        self.brought: Sequence[Sequence[int]] = ()
        self.factors: Sequence[int] = _ONCE * len(shape.keys)
        self.bonuses = [_points(each)[0] for each in found.bonuses]
        ratio, over = scale
        per = lcm(shape.amount_per * over, shape.fixed_per)
        if shape.classes:
            fixed = [each for each in found.givers if type(each.rule.effect) is not Base]
            per = lcm(per, *[self._weights(each.lines).total * _points(each)[1] for each in fixed])
        self.per = per
        units: list[int] = []
        counted: list[Sequence[int]] = []
        self.units, self.counted = units, counted
        for each in found.givers:
            effect = each.rule.effect
            if type(effect) is Base:
                amount = each.amount
                units.append(
                    effect.points * ratio * (per // (effect.per_amount * over)) if amount else 0
                )
                counted.append(self._weights(each.lines).by_class if shape.classes else (amount,))
            else:
                points, whole = _points(each)
                if shape.classes:
                    weights = self._weights(each.lines)
                    units.append(points * (per // (whole * weights.total)))
                    counted.append(weights.by_class)
                else:
                    units.append(points * (per // whole))
                    counted.append(_ONCE)
        self.bases = list(map(mul, units, map(sum, counted)))
        self.made = self.bases

    def _weights(self, picked: Sequence[int] | None) -> _Weights:
        """What lines weigh that rules count; those that count the same lines share it."""
        known = self._weighed.get(picked)
        if known is None:
            lines, classes = self.deed.lines, self.shape.classes
            places = range(len(lines)) if picked is None else picked
            weights = [lines[line].amount for line in places]
            total = sum(weights)
            if not total:
                weights = [lines[line].quantity for line in places]
                total = sum(weights)
            by_class = [total]
            if classes:
                by_class = [0] * len(self.shape.keys)
                for line, weight in zip(places, weights, strict=True):
                    by_class[classes[line]] += weight
            known = self._weighed[picked] = _Weights(places, weights, by_class, total)
        return known

    # Multipliers, caps, budgets ------------------------------------------------------------------

    def stack(self, limits: Limits | None) -> None:
        """Let multipliers, and what limits points before the rounding, do their work."""
        if limits is not None:
            self._limit_bases(limits)
        if self.found.multipliers:
            self._multiply(limits)
            self._make()
        if limits is None:
            return
        limited = self.shape.limited
        for each in limited.givers:
            made = self.made[each.number]
            kept = limits.by_rule(each, Counting.MADE, made, self.per * self.common)
            self._keep(kept, (each.number,))
        for each in limited.bonuses:
            points = self.bonuses[each.number]
            kept = limits.by_rule(each, Counting.PART, points, 1)
            if kept is not None:
                self.bonuses[each.number] = points * kept[0] // kept[1]

    def _limit_bases(self, limits: Limits) -> None:
        for each in self.shape.limited.bases:
            kept = limits.by_rule(each, Counting.BASE, self.bases[each.number], self.per)
            self._keep(kept, (each.number,))
        if caps := self.rules.base_caps:
            points = sum(self.bases)
            kept = limits.by_caps(caps, Counting.ALL_BASE, -1, points, self.per)
            self._keep(kept, range(len(self.bases)))

    def _keep(self, kept: Kept | None, places: Sequence[int]) -> None:
        """Cut rules' points to a share, over a larger denominator."""
        if kept is None:
            return
        common = gcd(*kept)
        numerator, denominator = kept[0] // common, kept[1] // common
        self.per *= denominator
        self.units = [
            unit * (numerator if place in places else denominator)
            for place, unit in enumerate(self.units)
        ]
        self.bases = list(map(mul, self.units, map(sum, self.counted)))
        self._make()

    def _make(self) -> None:
        """Tell what multipliers make of the points of base and flat rules."""
        factors = self.factors
        if len(factors) == 1:
            (factor,) = factors
            self.made = [points * factor for points in self.bases]
        else:
            weighed = [sum(map(mul, each, factors)) for each in self.counted]
            self.made = list(map(mul, self.units, weighed))

    def _multiply(self, limits: Limits | None) -> None:
        shape = self.shape
        self.brought, self.factors, self.common = shape.brought, shape.factors, shape.common
        if limits is None or not shape.limited.multipliers:
            return
        factors: list[list[tuple[int, int]]] = []
        bases = self._bases_by_class()
        for each in shape.limited.multipliers:
            at = each.number
            brought = max(0, self._brings(at, bases))
            kept = limits.by_rule(each, Counting.PART, brought, self.per * self.common)
            if kept is None:
                continue
            factors = factors or self._factors()
            for inner, left in zip(shape.places, factors, strict=True):
                if at in inner:
                    left[inner.index(at)] = _less(left[inner.index(at)], kept)
            self._bring(factors)

    def _factors(self) -> list[list[tuple[int, int]]]:
        """The factors of each class, that caps and budgets make less of.

        What is best is told by the factors as they are written, whatever is left of them.
        """
        nominal = nominal_factors(self.found.multipliers)
        factors = [[nominal[at] for at in each] for each in self.shape.places]
        if self.rules.multiplier_policy is MultiplierPolicy.BEST:
            for each in factors:
                chosen = best(each) if each else -1
                each[:] = [pair if at == chosen else (1, 1) for at, pair in enumerate(each)]
        return factors

    def _bring(self, factors: list[list[tuple[int, int]]]) -> None:
        """Take other factors for each class than the rules name."""
        policy = self.rules.multiplier_policy
        if policy is MultiplierPolicy.BEST:
            policy = MultiplierPolicy.ADD  # all but the best are 1
        self.brought, self.factors, self.common = brought_by(
            policy, self.shape.places, factors, len(self.found.multipliers)
        )

    def _brings(self, at: int, bases: Sequence[int]) -> int:
        """What a multiplier brings to base points of each class."""
        return sum(map(mul, self.brought[at], bases))

    def _bases_by_class(self) -> Sequence[int]:
        """The base points of all rules by class."""
        if len(self.factors) == 1:
            return (sum(self.bases),)
        return [
            sum(map(mul, self.units, column)) for column in zip(*self.counted, strict=True)
        ] or [0] * len(self.factors)

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
        exact = [points * common for points in self.bases]
        if found.multipliers:
            bases = self._bases_by_class()
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
        bases: dict[int, int] = {}
        if granted:
            whole = self.per * self.common
            places = [each.place for each in (*found.givers, *found.bonuses)]
            exact = [*self.made, *[bonus * whole for bonus in self.bonuses]]
            made = dict(zip(places, parts_of(granted, exact, whole), strict=True))
            bases = dict(zip(places, self.bases, strict=False))

        def count(counting: Counting, place: int) -> int:
            if not granted:
                return 0
            if counting is Counting.POINTS:
                return granted
            if counting is Counting.MADE:
                return made[place]
            if counting is Counting.PART:
                return max(0, found.outcomes[place].granted)
            base = bases[place] if counting is Counting.BASE else sum(bases.values())
            return rounded(base * granted, self.per * points, rounding)

        return count

    def lines(self, points: int) -> tuple[int, ...]:
        """The points of each line: of what a rule gives, those that it counts have their share."""
        found = self.found
        if not points or not (found.givers or found.bonuses):
            return (0,) * len(self.deed.lines)
        factors, classes = self.factors, self.shape.classes
        # For each set of lines: the points of a unit of weight before multipliers, and what all of
        # its lines share.
        parts: dict[int, tuple[_Weights, int, int]] = {}
        for row, each in enumerate(found.givers):
            weights = self._weights(each.lines)
            _, unit, shared = parts.get(id(weights), (weights, 0, 0))
            if self.counted[row] is _ONCE:
                shared += self.made[row]
            else:
                unit += self.units[row]
            parts[id(weights)] = (weights, unit, shared)
        whole = self.per * self.common
        for each, points_ in zip(found.bonuses, self.bonuses, strict=True):
            weights = self._weights(each.lines)
            _, unit, shared = parts.get(id(weights), (weights, 0, 0))
            parts[id(weights)] = (weights, unit, shared + points_ * whole)
        per = lcm(*[weights.total for weights, _, shared in parts.values() if shared])
        shares = [0] * len(self.deed.lines)
        for weights, unit, shared in parts.values():
            more = shared * per // weights.total
            units = [unit * factor * per + more for factor in factors]
            for line, weight in zip(weights.lines, weights.weights, strict=True):
                shares[line] += units[classes[line] if classes else 0] * weight
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
