"""What caps and budgets leave of points, and what each of them counts.

A cap counts whole points within a period, on the base or after multipliers; a budget counts what a
rule gave to all members together. What a base rule has after multipliers is its own points with
what multipliers made of them; what a multiplier has is what it brought.
"""

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from services.earning.explanations import CapOutcome
from services.earning.matching import Scene
from services.earning.refusals import CapExceeded
from services.earning.rules import Cap, Rule
from services.earning.schedules import Period, period_key


class Counting(Enum):
    """Which points a cap or budget counts, of the rule at its place."""

    BASE = "base points of the rule"
    ALL_BASE = "base points of all rules"
    MADE = "points of the rule with what multipliers made of them"
    PART = "points of the rule, or what a multiplier brought"
    POINTS = "points of the activity"


class Asked(NamedTuple):
    """A cap or budget that was asked; `cap_id` is the rule's for a budget, `period` then ""."""

    cap_id: str
    period: str
    left: int
    cut: bool
    counting: Counting
    place: int


Kept = tuple[int, int]
"""The share of points that is kept, a ratio below 1."""


class Limits:
    """The caps and budgets of one decision, in the order in which they are asked."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._asked: list[Asked] = []
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

        Those that cut are asked before those that refuse. Refuses CapExceeded.
        """
        kept: Kept | None = None
        if not caps:
            return kept
        on_base = counting is Counting.BASE or counting is Counting.ALL_BASE
        for refuses in (False, True):
            for cap in caps:
                if cap.refuses is not refuses or cap.on_base is not on_base:
                    continue
                period = self._period(cap)
                left = self._left(cap, period)
                is_cut = numerator > left * denominator
                if is_cut and refuses:
                    wanted = -(-numerator // denominator)
                    raise CapExceeded(cap_id=cap.cap_id, points_left=left, points_wanted=wanted)
                self._asked.append(Asked(cap.cap_id, period, left, is_cut, counting, place))
                if is_cut:
                    kept = self._cut(kept, left, numerator, denominator)
                    numerator, denominator = left, 1
        return kept

    def by_rule(
        self, rule: Rule, counting: Counting, place: int, numerator: int, denominator: int
    ) -> Kept | None:
        """What a rule's own caps and then its budget leave of its points; None for all of them."""
        kept = self.by_caps(rule.caps, counting, place, numerator, denominator)
        if not rule.budget:
            return kept
        if kept is not None:
            numerator, denominator = numerator * kept[0], denominator * kept[1]
        left = self._budget_left(rule)
        is_cut = numerator > left * denominator
        self._asked.append(Asked(rule.rule_id, "", left, is_cut, counting, place))
        if is_cut:
            kept = self._cut(kept, left, numerator, denominator)
        return kept

    def outcomes(self, count: Callable[[Counting, int], int]) -> Iterator[CapOutcome]:
        """What was asked, with what each counts by the points that were given in the end."""
        for each in self._asked:
            counted = min(each.left, count(each.counting, each.place))
            yield CapOutcome(each.cap_id, each.period, each.left, counted, each.cut)

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

    def _budget_left(self, rule: Rule) -> int:
        facts, key = self._scene.facts, (str(rule.rule_id), "")
        if facts.left is not None and key in facts.left:
            return facts.left[key]
        return max(0, rule.budget - facts.spent.get(rule.rule_id, 0))

    def _period(self, cap: Cap) -> str:
        period = cap.period
        if period is Period.ACTIVITY:
            return period.value
        known = self._periods.get(period)
        if known is None:
            known = self._periods[period] = period_key(period, self._scene.local.date())
        return known
