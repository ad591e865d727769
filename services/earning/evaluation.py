"""What an activity earns: which rules apply, what each brings, one rounding, shares of the lines.

The order, exact until the one rounding: base and flat points by line; caps on the base; multipliers
by the program's policy; caps of rules, then budgets; bonuses; the remainder carried from before;
rounding; caps of the program on whole points. Points before the rounding are numerators over one
denominator, integers unless a cap has cut them.
"""

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from math import lcm
from typing import TypeAlias

from services.earning.domain import POINTS_MAX, RATIO_MAX, LevelId
from services.earning.explanations import Explanation, Looked, RuleOutcome
from services.earning.limits import Limits
from services.earning.refusals import PointsOutOfRange
from services.earning.rules import Base, Bonus, Deed, Earning, Facts, Flat, Multiplier, Rule, Rules
from services.earning.stacking import allocate, combined, extras, rounded

Exact: TypeAlias = "int | Fraction"
Lines: TypeAlias = Sequence[int]
_Class: TypeAlias = tuple[int, ...]
"""The multipliers of lines that a part of the base points falls under, by their places."""
Bases: TypeAlias = "list[tuple[tuple[int, Rule], dict[_Class, Exact]]]"
"""What each base and flat rule gives, by class."""

OTHER_TYPE = "the rule is not about activities of this type"
NO_AMOUNT = "the activity has no amount"
NO_LINE = "no line of the activity counts"
OTHER_CHANNEL = "the rule is not about this channel"
OTHER_LEVEL = "the rule is not about the member's level"
OTHER_SEGMENT = "the member is in none of the rule's segments"
OTHER_NUMBER = "it is the member's activity number {0} of this kind"
GROUP_TAKEN = "another rule of the group {0} applies"


def decide(rules: Rules, deed: Deed, facts: Facts) -> Earning:
    """Apply all rules to one activity. Refuses PointsOutOfRange, CapExceeded, CurrencyNotAccepted.

    CapExceeded is refused for a cap that refuses rather than cuts.
    """
    return _Evaluation(rules, deed, facts).earning()


def looked_up(rules: Rules, stored: Explanation) -> Facts:
    """The facts that an explanation was decided with, for deciding it again.

    Of rules that look at personal data the stored verdict counts.
    """
    verdicts = {
        outcome.rule_id: outcome.reason
        for rule, outcome in zip(rules.rules, stored.rules, strict=False)
        if rule.occasion is not None or rule.reads_member
    }
    return Facts(
        level_id=LevelId(stored.level_id),
        segments=frozenset(stored.looked.segments),
        counts=dict(stored.looked.counts),
        left={(cap.cap_id, cap.period): cap.left for cap in stored.caps},
        carried=Fraction(stored.looked.carried[0]) if stored.looked.carried else Fraction(0),
        verdicts=verdicts,
    )


class _Evaluation:
    """One decision; lives for it alone."""

    __slots__ = (
        "bonuses",
        "deed",
        "facts",
        "givers",
        "local",
        "multipliers",
        "outcomes",
        "rules",
        "scale",
    )

    def __init__(self, rules: Rules, deed: Deed, facts: Facts) -> None:
        self.rules = rules
        self.deed = deed
        self.facts = facts
        is_foreign = deed.currency_code not in {"", rules.money.currency_code}
        self.local: datetime | None = None
        if is_foreign or rules.asks_calendar or not rules.is_plain:
            self.local = deed.occurred_time.astimezone(rules.zone)
        self.scale = (1, 1)
        if is_foreign or deed.paid_in_points:
            self.scale = self._scale()
        self.givers: list[tuple[int, Rule, Lines]] = []
        self.multipliers: list[tuple[int, Rule, Lines]] = []
        self.bonuses: list[tuple[int, Rule, Lines]] = []
        self.outcomes: list[RuleOutcome] = []
        groups: set[str] = set()
        for rule in rules.rules:
            self.outcomes.append(self._outcome(rule, groups))

    def _scale(self) -> tuple[int, int]:
        """Ratio of the amounts that earns, in the program's money."""
        deed, money = self.deed, self.rules.money
        numerator = denominator = 1
        if self.local is not None:
            numerator, denominator = money.rate(deed.currency_code, self.local.date())
        share, whole = money.share(deed.amount, deed.paid_in_points)
        return numerator * share, denominator * whole

    # Which rules apply ---------------------------------------------------------------------------

    def _outcome(self, rule: Rule, groups: set[str]) -> RuleOutcome:
        reason = self._why_not(rule)
        if reason:
            return RuleOutcome(rule.rule_id, matched=False, reason=reason)
        effect, deed = rule.effect, self.deed
        picked: Lines = range(len(deed.lines))
        if rule.has_lines:
            picked, reason = _picked(rule, deed)
            if not picked:
                return RuleOutcome(rule.rule_id, matched=False, reason=reason or NO_LINE)
        amount = points = 0
        if isinstance(effect, Base):
            found = sum([deed.lines[line].amount for line in picked]) if deed.lines else deed.amount
            if found is None:
                return RuleOutcome(rule.rule_id, matched=False, reason=NO_AMOUNT)
            amount = found
        if rule.group:
            if rule.group in groups:
                reason = GROUP_TAKEN.format(rule.group)
                return RuleOutcome(rule.rule_id, matched=False, reason=reason)
            groups.add(rule.group)
        found_at = (len(self.outcomes), rule, picked)
        if isinstance(effect, Multiplier):
            self.multipliers.append(found_at)
            return RuleOutcome(rule.rule_id, True, "", 0, 0, effect.numerator, effect.denominator)
        if isinstance(effect, Bonus):
            self.bonuses.append(found_at)
        else:
            self.givers.append(found_at)
        if isinstance(effect, Base):
            numerator, denominator = self.scale
            points = amount * effect.points * numerator // (effect.per_amount * denominator)
            if points > RATIO_MAX:
                raise PointsOutOfRange(what="points", limit=POINTS_MAX)
        else:
            points = effect.points
        return RuleOutcome(rule.rule_id, True, "", amount, points)

    def _why_not(self, rule: Rule) -> str:
        deed, facts = self.deed, self.facts
        if rule.activity_types and deed.type not in rule.activity_types:
            return OTHER_TYPE
        if facts.verdicts is not None and rule.rule_id in facts.verdicts:
            return facts.verdicts[rule.rule_id]
        if not rule.is_plain:
            reason = _narrowed(rule, deed, facts, self.local, self.rules)
            if reason:
                return reason
        if rule.condition is not None:
            return rule.condition(deed.view, facts.level_id, facts.member)
        return ""

    # What they come to ---------------------------------------------------------------------------

    def earning(self) -> Earning:
        facts, rules = self.facts, self.rules
        limits = None
        if not rules.is_plain:
            limits = Limits(facts, self.local.date() if self.local is not None else None)
        parts, denominator = self._parts(limits)
        exact: Exact = sum(parts)
        if rules.carries:
            exact += facts.carried * denominator
        points = _whole(exact, denominator, rules)
        wanted = granted = points
        if limits is not None:
            wanted = self._wanted() if limits.has_cut else points
            granted = limits.on_points(rules.caps, points)
        carried = Fraction(0)
        if rules.carries and granted == points:
            carried = Fraction(exact) / denominator - points
        numerator, per = combined(rules.multiplier_policy, self._factors(()))
        if numerator > RATIO_MAX or per > RATIO_MAX:
            raise PointsOutOfRange(what="multipliers", limit=RATIO_MAX)
        if granted > POINTS_MAX:
            raise PointsOutOfRange(what="points", limit=POINTS_MAX)
        explanation = Explanation(
            program_version=rules.version,
            level_id=facts.level_id,
            numerator=numerator,
            denominator=per,
            rules=self._granted(granted, parts),
            line_points=allocate(granted, self._weights()) if self.deed.lines else (),
        )
        if limits is not None:
            explanation = explanation._replace(
                wanted=wanted,
                caps=tuple(limits.outcomes()),
                looked=self._looked(carried),
            )
        return Earning(points=granted, explanation=explanation, carried=carried)

    def _granted(self, points: int, parts: Sequence[Exact]) -> tuple[RuleOutcome, ...]:
        """The outcomes of the rules with the part that each has of the points."""
        outcomes = self.outcomes
        if points:
            places = [place for place, part in enumerate(parts) if part]
            shares = [points]
            if len(places) > 1:
                shares = list(allocate(points, _integers([parts[place] for place in places])))
            for place, share in zip(places, shares, strict=True):
                outcomes[place] = RuleOutcome(*outcomes[place][:7], share)
        return tuple(outcomes)

    def _wanted(self) -> int:
        """The points without any cap."""
        facts = self.facts
        parts, denominator = self._parts(None)
        exact: Exact = sum(parts)
        if self.rules.carries:
            exact += facts.carried * denominator
        return _whole(exact, denominator, self.rules)

    def _factors(self, lines: _Class) -> list[tuple[int, int]]:
        return [
            (rule.effect.numerator, rule.effect.denominator)
            for place, rule, _ in self.multipliers
            if isinstance(rule.effect, Multiplier) and (not rule.has_lines or place in lines)
        ]

    def _places(self, lines: _Class) -> list[int]:
        return [
            place for place, rule, _ in self.multipliers if not rule.has_lines or place in lines
        ]

    def _parts(self, limits: Limits | None) -> tuple[list[Exact], int]:
        """What each rule brings, over one denominator; without limits, as if there were none."""
        bases, denominator = self._bases()
        if limits is not None:
            limits.on_base(self.rules.caps, bases, denominator)
        if self.multipliers or limits is not None:
            parts, common = self._stacked(bases, denominator, limits)
            denominator *= common
        else:
            parts = [0] * len(self.rules.rules)
            for (place, _), sums in bases:
                parts[place] = sums[()]
        for place, rule, _ in self.bonuses:
            if isinstance(rule.effect, Bonus):
                parts[place] = rule.effect.points * denominator
        if limits is not None:
            for place, rule, _ in (*self.multipliers, *self.bonuses):
                parts[place] = limits.on_part(rule, parts[place], denominator)
        return parts, denominator

    def _stacked(
        self, bases: Bases, denominator: int, limits: Limits | None
    ) -> tuple[list[Exact], int]:
        """Base parts with what multipliers bring, and what the denominator grows by."""
        keys = sorted({key for _, sums in bases for key in sums})
        stacks = {
            key: extras(self.rules.multiplier_policy, factors)
            for key in keys
            if (factors := self._factors(key))
        }
        common = lcm(*(per for _, per in stacks.values())) if stacks else 1
        if limits is not None:
            whole = {
                key: (sum(stacks[key][0]) + stacks[key][1]) * (common // stacks[key][1])
                if key in stacks
                else common
                for key in keys
            }
            limits.on_rules(bases, whole, denominator * common)
        parts: list[Exact] = [0] * len(self.rules.rules)
        for (giver, _), sums in bases:
            for key, numerator in sums.items():
                parts[giver] += numerator * common
                if key in stacks:
                    brought, per = stacks[key]
                    for place, each in zip(self._places(key), brought, strict=True):
                        parts[place] += numerator * each * (common // per)
        return parts, common

    def _bases(self) -> tuple[Bases, int]:
        """Base and flat points of each rule, by the multipliers of lines that they fall under."""
        scale, per = self.scale
        pers = [rule.effect.per_amount for _, rule, _ in self.givers if type(rule.effect) is Base]
        denominator = lcm(*pers) * per if pers else 1
        lined = [
            (place, frozenset(picked)) for place, rule, picked in self.multipliers if rule.has_lines
        ]
        found: Bases = []
        for place, rule, picked in self.givers:
            effect = rule.effect
            if isinstance(effect, Flat):
                found.append(((place, rule), {(): effect.points * denominator}))
            elif isinstance(effect, Base):
                unit = effect.points * scale * (denominator // (effect.per_amount * per))
                if not lined or not self.deed.lines:
                    found.append(((place, rule), {(): self.outcomes[place].amount * unit}))
                    continue
                sums: dict[_Class, Exact] = {}
                for line in picked:
                    key = tuple([at for at, lines in lined if line in lines])
                    sums[key] = sums.get(key, 0) + self.deed.lines[line].amount * unit
                found.append(((place, rule), sums))
        return found, denominator

    def _weights(self) -> list[int]:
        """Amounts of the earning lines; their units when all of them were free."""
        lines = self.deed.lines
        earns = [False] * len(lines)
        for _, _, picked in (*self.givers, *self.bonuses):
            for line in picked:
                earns[line] = True
        weights = [line.amount if is_in else 0 for line, is_in in zip(lines, earns, strict=True)]
        if any(weights):
            return weights
        return [line.quantity if is_in else 0 for line, is_in in zip(lines, earns, strict=True)]

    def _looked(self, carried: Fraction) -> Looked:
        facts, rules = self.facts, self.rules
        needs = rules.needs(self.deed.type, self.deed.occurred_time)
        return Looked(
            counts=tuple((kind, facts.counts.get(kind, 0)) for kind in sorted(needs.types)),
            segments=tuple(sorted(facts.segments)) if needs.profile else (),
            carried=(str(facts.carried), str(carried)) if rules.carries else (),
        )


def _integers(parts: Sequence[Exact]) -> list[int]:
    """The same proportions as integers."""
    per = lcm(*(part.denominator for part in parts))
    return [int(part * per) for part in parts]


def _whole(exact: Exact, denominator: int, rules: Rules) -> int:
    ratio = exact if isinstance(exact, int) else exact.numerator
    per = denominator if isinstance(exact, int) else denominator * exact.denominator
    return rounded(max(0, ratio), per, rules.rounding)


def _narrowed(rule: Rule, deed: Deed, facts: Facts, local: datetime | None, rules: Rules) -> str:
    """Why one of the plain narrowings keeps a rule from applying, empty when none does."""
    if rule.channels and deed.source not in rule.channels:
        return OTHER_CHANNEL
    if rule.levels and facts.level_id not in rule.levels:
        return OTHER_LEVEL
    if rule.segments and not rule.segments & facts.segments:
        return OTHER_SEGMENT
    if rule.nth is not None:
        kinds = rule.activity_types or {deed.type}
        number = 1 + sum(facts.counts.get(kind, 0) for kind in kinds)
        if (rule.nth.number and number != rule.nth.number) or (
            rule.nth.every and number % rule.nth.every
        ):
            return OTHER_NUMBER.format(number)
    if local is None:
        return ""
    if rule.schedule is not None and (reason := rule.schedule.why_not(local)):
        return reason
    if rule.occasion is not None:
        enrolled = facts.enroll_time or deed.occurred_time
        return rule.occasion.why_not(local.date(), facts.birth_date, enrolled, rules.zone)
    return ""


def _picked(rule: Rule, deed: Deed) -> tuple[Lines, str]:
    """Places of the lines that count, and why the first one that does not failed."""
    condition = rule.line_condition
    picked: list[int] = []
    first = ""
    for line, view in enumerate(deed.line_views):
        if rule.categories and getattr(view, "category", "") not in rule.categories:
            continue
        if rule.merchants and getattr(view, "merchant", "") not in rule.merchants:
            continue
        reason = condition(view) if condition is not None else ""
        if not reason:
            picked.append(line)
        elif not first:
            first = reason
    return picked, first
