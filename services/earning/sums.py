"""The exact points of one decision: what rules bring, before and after multipliers and caps."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import gcd, lcm
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
    Multiplier,
    Rules,
)
from services.earning.stacking import (
    MultiplierPolicy,
    allocate,
    best,
    combined,
    extras,
    parts_of,
    rounded,
)

NOTHING_CARRIED = Fraction(0)


class _Weights(NamedTuple):
    """Lines that rules count with their amounts, or with their units when all of them are free."""

    lines: list[tuple[int, int]]
    by_class: list[int]


class Sums:
    """The points of one decision, exact: integers over `per` before multipliers, `whole` after.

    Lines fall into classes by which multipliers of lines pick them; mostly there is one class.
    `rows` are the points of base and flat rules by class, `brought` what each multiplier brings to
    a base point of each class and `factors` what the point comes to, both over `common`.
    """

    __slots__ = (
        "_weighed",
        "bonuses",
        "brought",
        "classes",
        "common",
        "deed",
        "factors",
        "found",
        "keys",
        "per",
        "rows",
        "rules",
    )

    def __init__(self, rules: Rules, found: Matches, deed: Deed, scale: tuple[int, int]) -> None:
        self.rules = rules
        self.found = found
        self.deed = deed
        self.common = 1
        self.keys: list[tuple[int, ...]] = [()]
        """The classes: for each, which multipliers of lines fall on it, by their places."""
        self.classes: list[int] = []
        """The class of each line; empty when there is only one."""
        self._weighed: dict[tuple[int, ...] | None, _Weights] = {}
        self.bonuses = [_points(each)[0] for each in found.bonuses]
        lined = [
            (at, set(each.lines))
            for at, each in enumerate(found.multipliers)
            if each.lines is not None
        ]
        if lined:
            falling = [
                tuple([at for at, lines in lined if line in lines])
                for line in range(len(deed.lines))
            ]
            self.keys = sorted(set(falling))
            self.classes = [self.keys.index(key) for key in falling]
        self.per = scale[1]
        for each in found.givers:
            if type(each.rule.effect) is Base:
                self.per = lcm(self.per, each.rule.effect.per_amount * scale[1])
            else:
                self.per = lcm(self.per, _points(each)[1])
        if self.classes:
            self.per = lcm(
                self.per,
                *[
                    sum(self._weights(each).by_class) * _points(each)[1]
                    for each in found.givers
                    if type(each.rule.effect) is not Base
                ],
            )
        self.rows = [self._row(each, scale) for each in found.givers]
        self.brought: list[list[int]] = []
        self.factors: list[int] = [1] * len(self.keys)

    def _row(self, matched: Match, scale: tuple[int, int]) -> list[int]:
        """The points of a base or flat rule by class."""
        effect = matched.rule.effect
        if isinstance(effect, Base):
            unit = effect.points * scale[0] * (self.per // (effect.per_amount * scale[1]))
            if not self.classes or not matched.amount:
                return [matched.amount * unit, *[0] * (len(self.keys) - 1)]
            return [weight * unit for weight in self._weights(matched).by_class]
        points, per = _points(matched)
        if not self.classes:
            return [points * (self.per // per)]
        by_class = self._weights(matched).by_class
        unit = points * (self.per // (per * sum(by_class)))
        return [weight * unit for weight in by_class]

    def _weights(self, matched: Match) -> "_Weights":
        """What the lines that a rule counts weigh; rules that count the same lines share it."""
        key = None if matched.lines is None else tuple(matched.lines)
        known = self._weighed.get(key)
        if known is None:
            lines = self.deed.lines
            places = range(len(lines)) if key is None else key
            weights = [(line, lines[line].amount) for line in places]
            if not any(weight for _, weight in weights):
                weights = [(line, lines[line].quantity) for line in places]
            by_class = [0] * len(self.keys)
            for line, weight in weights:
                by_class[self.classes[line] if self.classes else 0] += weight
            known = self._weighed[key] = _Weights(weights, by_class)
        return known

    # Multipliers, caps, budgets ------------------------------------------------------------------

    def stack(self, limits: Limits | None) -> None:
        """Let multipliers, and what limits points before the rounding, do their work."""
        if limits is not None:
            self._limit_bases(limits)
        if self.found.multipliers:
            self._multiply(limits)
        if limits is None:
            return
        for row, each in enumerate(self.found.givers):
            if each.rule.is_limited:
                made, whole = self._made(row), self.per * self.common
                kept = limits.by_rule(each.rule, Counting.MADE, each.place, made, whole)
                self._keep(kept, [row])
        for at, each in enumerate(self.found.bonuses):
            points = self.bonuses[at]
            kept = limits.by_rule(each.rule, Counting.PART, each.place, points, 1)
            if kept is not None:
                self.bonuses[at] = points * kept[0] // kept[1]

    def _limit_bases(self, limits: Limits) -> None:
        for row, each in enumerate(self.found.givers):
            points = sum(self.rows[row])
            kept = limits.by_caps(each.rule.caps, Counting.BASE, each.place, points, self.per)
            self._keep(kept, [row])
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

    def _made(self, row: int) -> int:
        """What multipliers made of the points of a base or flat rule."""
        return sum([a * b for a, b in zip(self.rows[row], self.factors, strict=True)])

    def _multiply(self, limits: Limits | None) -> None:
        policy, multipliers = self.rules.multiplier_policy, self.found.multipliers
        nominal = [
            (each.rule.effect.numerator, each.rule.effect.denominator)
            for each in multipliers
            if isinstance(each.rule.effect, Multiplier)
        ]
        places = [
            [at for at, each in enumerate(multipliers) if each.lines is None or at in key]
            for key in self.keys
        ]
        factors = [[nominal[at] for at in each] for each in places]
        limited = []
        if limits is not None:
            limited = [at for at, each in enumerate(multipliers) if each.rule.is_limited]
        if limited and policy is MultiplierPolicy.BEST:
            # What is best is told by the factors as they are written, whatever caps leave of them.
            policy = MultiplierPolicy.ADD
            for each in factors:
                chosen = best(each) if each else -1
                each[:] = [pair if at == chosen else (1, 1) for at, pair in enumerate(each)]
        self._bring(policy, places, factors)
        for at in limited:
            rule = multipliers[at].rule
            brought = max(0, self._brings(at, self._bases()))
            whole = self.per * self.common
            assert limits is not None  # noqa: S101 - nothing is limited without
            kept = limits.by_rule(rule, Counting.PART, multipliers[at].place, brought, whole)
            if kept is None:
                continue
            for inner, each in zip(places, factors, strict=True):
                if at in inner:
                    each[inner.index(at)] = _less(each[inner.index(at)], kept)
            self._bring(policy, places, factors)

    def _bring(
        self,
        policy: MultiplierPolicy,
        places: list[list[int]],
        factors: list[list[tuple[int, int]]],
    ) -> None:
        """Take the factors of each class, which belong to the multipliers at the places."""
        found = [extras(policy, each) if each else ([], 1) for each in factors]
        common = self.common = lcm(*[per for _, per in found])
        self.brought = [[0] * len(found) for _ in self.found.multipliers]
        for key, (inner, (brought, per)) in enumerate(zip(places, found, strict=True)):
            for at, each in zip(inner, brought, strict=True):
                self.brought[at][key] = each * (common // per)
            self.factors[key] = (sum(brought) + per) * (common // per)

    def _brings(self, at: int, bases: list[int]) -> int:
        """What a multiplier brings to base points of each class."""
        return sum([a * b for a, b in zip(self.brought[at], bases, strict=True)])

    def _bases(self) -> list[int]:
        """The base points of all rules by class."""
        if len(self.rows) == 1:
            return self.rows[0]
        return [sum([row[key] for row in self.rows]) for key in range(len(self.keys))]

    # What comes of it ----------------------------------------------------------------------------

    def total(self, facts: Facts) -> tuple[int, int]:
        """All points, with the remainder carried from before: numerator and denominator."""
        whole = self.per * self.common
        exact = sum([self._made(row) for row in range(len(self.rows))]) + sum(self.bonuses) * whole
        if self.rules.carries:
            before = facts.carried.get(self.rules.currency_id, NOTHING_CARRIED)
            return exact * before.denominator + before.numerator * whole, whole * before.denominator
        return exact, whole

    def factor(self) -> tuple[int, int]:
        """The factor of multipliers that count for the whole. Refuses PointsOutOfRange."""
        factors = [
            (each.rule.effect.numerator, each.rule.effect.denominator)
            for each in self.found.multipliers
            if each.lines is None and isinstance(each.rule.effect, Multiplier)
        ]
        if not factors:
            return 1, 1
        numerator, per = combined(self.rules.multiplier_policy, factors)
        if numerator > RATIO_MAX or per > RATIO_MAX:
            raise PointsOutOfRange(what="multipliers", limit=RATIO_MAX)
        return numerator, per

    def share_out(self, points: int, outcomes: list[RuleOutcome]) -> None:
        """Write into the outcomes which part of the points came by each rule."""
        found, common = self.found, self.common
        whole = self.per * common
        bases = self._bases()
        exact = [
            (each.place, sum(row) * common)
            for each, row in zip(found.givers, self.rows, strict=True)
        ]
        exact += [
            (each.place, self._brings(at, bases)) for at, each in enumerate(found.multipliers)
        ]
        exact += [
            (each.place, bonus * whole)
            for each, bonus in zip(found.bonuses, self.bonuses, strict=True)
        ]
        exact.sort()
        parts = [points]
        if len(exact) > 1:
            parts = parts_of(points, [part for _, part in exact], whole)
        for (place, _), part in zip(exact, parts, strict=True):
            if part:
                name, applies, reason, amount, alone, factor, by, _ = outcomes[place]
                outcomes[place] = RuleOutcome(
                    name, applies, reason, amount, alone, factor, by, part
                )

    def counter(self, granted: int, points: int) -> Callable[[Counting, int], int]:
        """Tells the whole points that a cap or budget counts of those granted."""
        whole = self.per * self.common
        made: dict[int, int] = {}
        if granted:
            places = [each.place for each in (*self.found.givers, *self.found.bonuses)]
            exact = [self._made(row) for row in range(len(self.rows))]
            exact += [bonus * whole for bonus in self.bonuses]
            made = dict(zip(places, parts_of(granted, exact, whole), strict=True))
        rows = {
            each.place: sum(row) for each, row in zip(self.found.givers, self.rows, strict=True)
        }

        def count(counting: Counting, place: int) -> int:
            if not granted:
                return 0
            match counting:
                case Counting.POINTS:
                    return granted
                case Counting.MADE:
                    return made[place]
                case Counting.PART:
                    return max(0, self.found.outcomes[place].granted)
                case Counting.BASE | Counting.ALL_BASE:
                    base = rows[place] if counting is Counting.BASE else sum(rows.values())
                    return rounded(base * granted, self.per * points, self.rules.rounding)

        return count

    def lines(self, points: int) -> tuple[int, ...]:
        """The points of each line: of what a rule gives, those that it counts have their share."""
        matched = (*self.found.givers, *self.found.bonuses)
        if not points or not matched:
            return (0,) * len(self.deed.lines)
        whole = self.per * self.common
        # What one unit of weight has of the points, by class: of rules that count the same lines
        # over what the lines of the class weigh, of bonuses over what all of them weigh.
        values: dict[int, tuple[_Weights, list[int], list[int]]] = {}
        for row, each in enumerate(matched):
            weights = self._weights(each)
            known = values.get(id(weights))
            if known is None:
                known = values[id(weights)] = (weights, [0] * len(self.keys), [0])
            if row < len(self.rows):
                for key, points_of in enumerate(self.rows[row]):
                    known[1][key] += points_of * self.factors[key]
            else:
                known[2][0] += self.bonuses[row - len(self.rows)] * whole
        per = 1
        for weights, _, (bonus,) in values.values():
            per = lcm(per, *[each for each in weights.by_class if each])
            if bonus:
                per = lcm(per, sum(weights.by_class))
        shares = [0] * len(self.deed.lines)
        for weights, made, (bonus,) in values.values():
            more = bonus * per // sum(weights.by_class) if bonus else 0
            units = [
                value * per // each + more if each else 0
                for value, each in zip(made, weights.by_class, strict=True)
            ]
            for line, weight in weights.lines:
                shares[line] += units[self.classes[line] if self.classes else 0] * weight
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
