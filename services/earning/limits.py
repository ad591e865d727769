"""How caps and budgets cut points, and what each of them counts.

A cap counts whole points within a period, on the base or after multipliers; a budget counts what a
rule gave to all members together. A cap of a base rule counts its points with what multipliers made
of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import TypeAlias

from services.earning.explanations import CapOutcome
from services.earning.refusals import CapExceeded
from services.earning.rules import Cap, Facts, Rule
from services.earning.schedules import Period, period_key

Exact: TypeAlias = "int | Fraction"
Sums: TypeAlias = Sequence[tuple[tuple[int, Rule], dict[tuple[int, ...], Exact]]]


class Limits:
    """The caps and budgets of one decision, in the order in which they are asked."""

    def __init__(self, facts: Facts, day: date | None) -> None:
        self._facts = facts
        self._day = day
        self._asked: list[tuple[str, str, int, Exact, bool]] = []
        self.has_cut = False

    # Asking --------------------------------------------------------------------------------------

    def on_base(self, caps: Sequence[Cap], bases: Sums, denominator: int) -> None:
        """Cut base points: of each rule by its own caps, then of all by the program's."""
        for (_, rule), sums in bases:
            for cap in rule.caps:
                if cap.on_base:
                    self._scale(self._ask(cap, _total(sums), denominator), [sums])
        for cap in caps:
            if cap.on_base:
                everything = [sums for _, sums in bases]
                whole = sum([_total(sums) for sums in everything], start=0)
                self._scale(self._ask(cap, whole, denominator), everything)

    def on_rules(
        self, bases: Sums, factors: Mapping[tuple[int, ...], int], denominator: int
    ) -> None:
        """Cut base and flat rules by what multipliers make of them."""
        for (_, rule), sums in bases:
            for cap in rule.caps:
                if not cap.on_base:
                    self._scale(self._ask(cap, _multiplied(sums, factors), denominator), [sums])
            if rule.budget:
                multiplied = _multiplied(sums, factors)
                self._scale(self._ask_budget(rule, multiplied, denominator), [sums])

    def on_part(self, rule: Rule, part: Exact, denominator: int) -> Exact:
        """Cut what a bonus gives, or what a multiplier brings."""
        for cap in rule.caps:
            part *= self._ask(cap, part, denominator)
        if rule.budget:
            part *= self._ask_budget(rule, part, denominator)
        return part

    def on_points(self, caps: Sequence[Cap], points: int) -> int:
        """Cut the whole points by the program's caps."""
        for cap in caps:
            if not cap.on_base:
                left = self._left(cap)
                if points > left and cap.refuses:
                    raise CapExceeded(cap_id=cap.cap_id, points_left=left, points_wanted=points)
                is_cut = points > left
                points = min(points, left)
                self._asked.append((cap.cap_id, self._period(cap), left, points, is_cut))
        return points

    def outcomes(self) -> Iterator[CapOutcome]:
        """What each cap and budget counted: whole points, the fraction of one not."""
        for cap_id, period, left, counted, is_cut in self._asked:
            points = max(0, min(left, int(counted)))  # what a rule takes away is not counted
            yield CapOutcome(cap_id, period, left, points, is_cut)

    # Counting ------------------------------------------------------------------------------------

    def _ask(self, cap: Cap, numerator: Exact, denominator: int) -> Exact:
        """Share of points that a cap lets pass: 1, or what makes them fit."""
        left = self._left(cap)
        share = self._share(numerator, denominator, left)
        if share != 1 and cap.refuses:
            raise CapExceeded(
                cap_id=cap.cap_id, points_left=left, points_wanted=int(numerator // denominator)
            )
        kept = Fraction(numerator) * share / denominator
        self._asked.append((cap.cap_id, self._period(cap), left, kept, share != 1))
        return share

    def _ask_budget(self, rule: Rule, numerator: Exact, denominator: int) -> Exact:
        left = max(0, rule.budget - self._facts.spent.get(rule.rule_id, 0))
        if self._facts.left is not None:
            left = self._facts.left.get((rule.rule_id, ""), left)
        share = self._share(numerator, denominator, left)
        kept = Fraction(numerator) * share / denominator
        self._asked.append((rule.rule_id, "", left, kept, share != 1))
        return share

    def _share(self, numerator: Exact, denominator: int, left: int) -> Exact:
        if numerator <= left * denominator:
            return 1
        self.has_cut = True
        return Fraction(left * denominator) / Fraction(numerator)

    def _scale(self, share: Exact, sums: Sequence[dict[tuple[int, ...], Exact]]) -> None:
        if share == 1:
            return
        for each in sums:
            for key in each:
                each[key] *= share

    def _left(self, cap: Cap) -> int:
        if cap.period is Period.ACTIVITY:
            return cap.points
        key = (cap.cap_id, self._period(cap))
        if self._facts.left is not None and key in self._facts.left:
            return self._facts.left[key]
        used = self._facts.used.get(key, 0)
        return max(0, cap.points - used)

    def _period(self, cap: Cap) -> str:
        if cap.period is Period.ACTIVITY or self._day is None:
            return cap.period.value
        return period_key(cap.period, self._day)


def _total(sums: Mapping[tuple[int, ...], Exact]) -> Exact:
    return sum(sums.values(), start=0)


def _multiplied(
    sums: Mapping[tuple[int, ...], Exact], factors: Mapping[tuple[int, ...], int]
) -> Exact:
    return sum([numerator * factors[key] for key, numerator in sums.items()], start=0)
