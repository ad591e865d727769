"""What caps and budgets leave of points, and what each of them counts.

A cap counts whole points within a period, on the base or after multipliers; a budget counts what a
rule gave to all members together. What a base rule has after multipliers is its own points with
what multipliers made of them; what a multiplier has is what it brought.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import TypeAlias

from services.earning.explanations import CapOutcome
from services.earning.matching import Scene
from services.earning.refusals import CapExceeded
from services.earning.rules import Cap
from services.earning.schedules import Period, period_key
from services.earning.shapes import Limit


class Counting(Enum):
    """Which points a cap or budget counts, of the rule at its place."""

    BASE = "base points of the rule"
    ALL_BASE = "base points of all rules"
    MADE = "points of the rule with what multipliers made of them"
    PART = "points of the rule, or what a multiplier brought"
    POINTS = "points of the activity"


_Asked: TypeAlias = tuple[str, str, int, bool, Counting, int]
"""A cap or budget that was asked: its id (the rule's for a budget), the period (then ""), what it
had left, whether it cut, what it counts, and the place of the rule."""
Kept = tuple[int, int]
"""The share of points that is kept, a ratio below 1."""


class Limits:
    """The caps and budgets of one decision, in the order in which they are asked."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._asked: list[_Asked] = []
        self._periods: dict[Period, str] = {}
        self.has_cut = False

    def by_caps(
        self,
        caps: Sequence[Cap],
        counting: Counting,
        place: int,
        numerator: int,
        denominator: int,
    ) -> Kept | None:
        """What caps leave of points, each of what the one before left; None for all of it.

        They are those of one stage (`rules.staged`). Refuses CapExceeded.
        """
        kept: Kept | None = None
        for cap in caps:
            period = self._period(cap)
            left = self._left(cap, period)
            is_cut = numerator > left * denominator
            if is_cut and cap.refuses:
                wanted = -(-numerator // denominator)
                raise CapExceeded(cap_id=cap.cap_id, points_left=left, points_wanted=wanted)
            self._asked.append((cap.cap_id, period, left, is_cut, counting, place))
            if is_cut:
                kept = self._cut(kept, left, numerator, denominator)
                numerator, denominator = left, 1
        return kept

    def by_rule(
        self, limit: Limit, counting: Counting, numerator: int, denominator: int
    ) -> Kept | None:
        """What a rule's own caps and then its budget leave of its points; None for all of them."""
        kept = None
        if limit.caps:
            kept = self.by_caps(limit.caps, counting, limit.place, numerator, denominator)
        if not limit.budget:
            return kept
        if kept is not None:
            numerator, denominator = numerator * kept[0], denominator * kept[1]
        left = self._budget_left(limit)
        is_cut = numerator > left * denominator
        self._asked.append((limit.rule_id, "", left, is_cut, counting, limit.place))
        if is_cut:
            kept = self._cut(kept, left, numerator, denominator)
        return kept

    def outcomes(self, count: Callable[[Counting, int], int]) -> tuple[CapOutcome, ...]:
        """What was asked, with what each counts by the points that were given in the end."""
        return tuple(
            [
                CapOutcome(cap_id, period, left, min(left, count(counting, place)), is_cut)
                for cap_id, period, left, is_cut, counting, place in self._asked
            ]
        )

    def _cut(self, kept: Kept | None, left: int, numerator: int, denominator: int) -> Kept:
        self.has_cut = True
        before = kept or (1, 1)
        return before[0] * left * denominator, before[1] * numerator

    def _left(self, cap: Cap, period: str) -> int:
        if cap.period is Period.ACTIVITY:
            return cap.points
        facts, key = self._scene.facts, (cap.cap_id, period)
        if facts.left is not None and key in facts.left:
            return facts.left[key]
        return max(0, cap.points - facts.used.get(key, 0))

    def _budget_left(self, limit: Limit) -> int:
        facts, key = self._scene.facts, (str(limit.rule_id), "")
        if facts.left is not None and key in facts.left:
            return facts.left[key]
        return max(0, limit.budget - facts.spent.get(limit.rule_id, 0))

    def _period(self, cap: Cap) -> str:
        period = cap.period
        if period is Period.ACTIVITY:
            return period.value
        known = self._periods.get(period)
        if known is None:
            known = self._periods[period] = period_key(period, self._scene.local.date())
        return known
