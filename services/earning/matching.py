"""Which rules apply to an activity, and why the others do not.

What a rule asks of one type of activity is put together once for a version of a program: rules
about other types cost nothing, and a rule asks only what it narrows by. Cheap questions come first,
conditions last.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import NamedTuple, TypeAlias, cast
from zoneinfo import ZoneInfo

from services.earning.domain import POINTS_MAX, RATIO_MAX, LevelId
from services.earning.explanations import FAILED, RuleOutcome
from services.earning.refusals import PointsOutOfRange
from services.earning.rules import (
    Base,
    Bonus,
    Deed,
    Facts,
    Flat,
    LineCondition,
    Measured,
    Multiplier,
    Rule,
    Rules,
)
from services.earning.schedules import Schedule, local_time

OTHER_TYPE = "the rule is not about activities of this type"
NO_AMOUNT = "the activity has no amount"
NO_LINE = "no line of the activity counts"
OTHER_CHANNEL = "the rule is not about this channel"
OTHER_LEVEL = "the rule is not about the member's level"
OTHER_SEGMENT = "the member is in none of the rule's segments"
OTHER_NUMBER = "it is the member's activity number {0} of this kind"
GROUP_TAKEN = "another rule of the group {0} applies"

_TYPES_MAX = 256
"""How many types of activities a version remembers; callers may name any."""
_REASONS_MAX, _DAYS_MAX = 64, 1_024


class Scene:
    """What rules of one currency are asked about; `bound` is what conditions handed to CEL."""

    __slots__ = ("_local", "bound", "deed", "facts", "level_id", "member", "view", "zone")

    def __init__(self, deed: Deed, facts: Facts, zone: ZoneInfo) -> None:
        self.deed = deed
        self.facts = facts
        self.zone = zone
        self.view: object = deed.view
        self.level_id: LevelId = facts.level_id
        self.member: object = facts.member
        self.bound: object = None
        self._local: datetime | None = None

    @property
    def local(self) -> datetime:
        """What the wall clock of the program's zone shows when the activity occurred."""
        if self._local is None:
            self._local = local_time(self.deed.occurred_time, self.zone)
        return self._local


class Match(NamedTuple):
    """A rule that applies, by its place; `lines` are those that it picks, None for all of them.

    `amount` is what a base rule counts, in minor units of the activity's money, or what was
    measured.
    """

    place: int
    rule: Rule
    lines: tuple[int, ...] | None
    amount: int


class Matches:
    """The rules that apply, by what they do, and the outcomes of all of them in their order."""

    __slots__ = ("bonuses", "givers", "multipliers", "outcomes")

    def __init__(self) -> None:
        self.outcomes: list[RuleOutcome] = []
        self.givers: list[Match] = []
        self.multipliers: list[Match] = []
        self.bonuses: list[Match] = []


_Gate: TypeAlias = Callable[[Scene], str]
"""Says why a rule does not apply, nothing when it may."""
_LineGate: TypeAlias = Callable[[Deed], tuple[Sequence[int], str]]
_BASE, _FLAT, _BONUS, _MULTIPLIER, _MEASURED = range(5)
_KINDS = {
    Base: _BASE,
    Measured: _MEASURED,
    Flat: _FLAT,
    Bonus: _BONUS,
    Multiplier: _MULTIPLIER,
}


class _Step(NamedTuple):
    """What one rule asks about activities of one type.

    `decided` is the outcome where the type alone decides it, `applied` the one of a rule that
    applies where it is the same for all activities; `refused` are those of a rule that does not, by
    the reason, as far as they are remembered.
    """

    rule: Rule
    decided: RuleOutcome | None
    gates: tuple[_Gate, ...]
    picks: _LineGate | None
    applied: RuleOutcome | None
    kind: int
    refused: dict[str, RuleOutcome]


def match(rules: Rules, scene: Scene, scale: tuple[int, int]) -> Matches:
    """Ask every rule; `scale` is the ratio of amounts that earns. Refuses PointsOutOfRange."""
    found = Matches()
    outcomes, deed, verdicts = found.outcomes, scene.deed, scene.facts.verdicts
    groups: set[str] = set()
    kinds = (found.givers, found.givers, found.bonuses, found.multipliers, found.givers)
    for rule, decided, gates, picks, applied, kind, refused in plan_of(rules, deed.type).steps:
        if decided is not None:
            outcomes.append(decided)
            continue
        reason = ""
        if verdicts is not None and rule.rule_id in verdicts:
            reason = verdicts[rule.rule_id]
        else:
            for gate in gates:
                reason = gate(scene)
                if reason:
                    break
        lines, note = None, ""
        if picks is not None and not reason:
            lines, reason, note = _picked(rule, picks, deed)
        amount = 0
        if kind == _BASE and not reason:
            amount = _amount(deed, lines)
            reason = NO_AMOUNT if amount < 0 else ""
        elif kind == _MEASURED and not reason:
            amount, reason = cast("Measured", rule.effect).measure(scene)
        if rule.group and not reason:
            if rule.group in groups:
                reason = GROUP_TAKEN.format(rule.group)
            groups.add(rule.group)
        if reason:
            outcomes.append(refused.get(reason) or _refused(rule, reason, refused))
            continue
        kinds[kind].append(Match(len(outcomes), rule, lines, amount))
        outcome = _counted(rule, amount, scale) if applied is None else applied
        outcomes.append(outcome._replace(reason=note) if note and FAILED in note else outcome)
    return found


def _refused(rule: Rule, reason: str, known: dict[str, RuleOutcome]) -> RuleOutcome:
    """The outcome of a rule that does not apply, remembered."""
    if len(known) >= _REASONS_MAX:
        known.clear()
    made = known[reason] = RuleOutcome(rule.rule_id, False, reason)
    return made


def _picked(rule: Rule, picks: "_LineGate", deed: Deed) -> tuple[tuple[int, ...] | None, str, str]:
    """The lines that a rule picks, None for all of them; why there are none; what failed."""
    lines, told = picks(deed)
    if lines:
        return None if len(lines) == len(deed.lines) else tuple(lines), "", told
    # An activity without lines was sold whole by its source.
    if not deed.lines and deed.source in rule.merchants:
        is_whole = not rule.categories and rule.line_condition is None
        return None, "" if is_whole else NO_LINE, ""
    return None, told or NO_LINE, ""


def _amount(deed: Deed, lines: Sequence[int] | None) -> int:
    """What a base rule counts, in minor units; below zero when there is nothing to count."""
    if not deed.lines:
        return -1 if deed.amount is None else deed.amount
    bought = deed.lines if lines is None else [deed.lines[line] for line in lines]
    return sum([line.amount for line in bought])


def _counted(rule: Rule, amount: int, scale: tuple[int, int]) -> RuleOutcome:
    """The outcome of a rule that applies to an amount or a measure. Refuses PointsOutOfRange."""
    effect = rule.effect
    if isinstance(effect, Measured):
        return RuleOutcome(
            rule.rule_id, True, "", amount, _in_range(amount * effect.points // effect.per)
        )
    assert isinstance(effect, Base)  # noqa: S101 - asked by the caller
    points = _in_range(amount * effect.points * scale[0] // (effect.per_amount * scale[1]))
    if scale != (1, 1):
        amount = amount * scale[0] // scale[1]
    return RuleOutcome(rule.rule_id, True, "", amount, points)


def _in_range(points: int) -> int:
    if points > RATIO_MAX:
        raise PointsOutOfRange(what="points", limit=POINTS_MAX)
    return points


# What a rule asks --------------------------------------------------------------------------------


class Plan(NamedTuple):
    """What the rules ask about activities of one type, and which types they count."""

    steps: tuple[_Step, ...]
    types: tuple[str, ...]


def plan_of(rules: Rules, type_: str) -> Plan:
    """The plan of a type, made when it is first asked for."""
    known = rules.compiled.get(type_)
    if known is None:
        if len(rules.compiled) >= _TYPES_MAX:
            rules.compiled.clear()
        types = {
            kind
            for rule in rules.rules
            if rule.nth and (not rule.activity_types or type_ in rule.activity_types)
            for kind in (rule.activity_types or (type_,))
        }
        known = rules.compiled[type_] = Plan(
            steps=tuple([_step(rule, type_) for rule in rules.rules]), types=tuple(sorted(types))
        )
    return cast("Plan", known)


def _step(rule: Rule, type_: str) -> _Step:
    effect = rule.effect
    kind = _KINDS[type(effect)]
    if rule.activity_types and type_ not in rule.activity_types:
        return _Step(rule, RuleOutcome(rule.rule_id, False, OTHER_TYPE), (), None, None, kind, {})
    applied = None
    if isinstance(effect, Multiplier):
        factor = (effect.numerator, effect.denominator)
        applied = RuleOutcome(rule.rule_id, True, "", 0, 0, *factor)
    elif isinstance(effect, Flat | Bonus):
        applied = RuleOutcome(rule.rule_id, True, "", 0, effect.points)
    picks = _line_gate(rule) if rule.has_lines else None
    return _Step(rule, None, tuple(_gates(rule, type_)), picks, applied, kind, {})


def _gates(rule: Rule, type_: str) -> list[_Gate]:
    gates: list[_Gate] = []
    channels, levels, segments = rule.channels, rule.levels, rule.segments
    if channels:
        gates.append(lambda scene: "" if scene.deed.source in channels else OTHER_CHANNEL)
    if levels:
        gates.append(lambda scene: "" if scene.level_id in levels else OTHER_LEVEL)
    if segments:
        gates.append(lambda scene: "" if segments & scene.facts.segments else OTHER_SEGMENT)
    if rule.nth is not None:
        gates.append(_nth_gate(rule, type_))
    if (schedule := rule.schedule) is not None:
        gates.append(_schedule_gate(schedule))
    if (occasion := rule.occasion) is not None:
        gates.append(
            lambda scene: occasion.why_not(
                scene.local.date(),
                scene.facts.birth_date,
                scene.facts.enroll_time or scene.deed.occurred_time,
                scene.zone,
            )
        )
    if rule.condition is not None:
        gates.append(rule.condition)
    return gates


def _schedule_gate(schedule: Schedule) -> _Gate:
    """Ask a schedule; one without hours says the same all day long."""
    if schedule.time_from is not None or schedule.time_until is not None:
        return lambda scene: schedule.why_not(scene.local)
    days: dict[date, str] = {}

    def asked(scene: Scene) -> str:
        today = scene.local.date()
        reason = days.get(today)
        if reason is None:
            if len(days) >= _DAYS_MAX:
                days.clear()
            reason = days[today] = schedule.why_not(scene.local)
        return reason

    return asked


def _nth_gate(rule: Rule, type_: str) -> _Gate:
    nth = rule.nth
    assert nth is not None  # noqa: S101 - asked by the caller
    first, *more = rule.activity_types or {type_}

    def asked(scene: Scene) -> str:
        counts = scene.facts.counts
        number = 1 + counts.get(first, 0)
        for kind in more:
            number += counts.get(kind, 0)
        if (nth.number and number != nth.number) or (nth.every and number % nth.every):
            return OTHER_NUMBER.format(number)
        return ""

    return asked


def _line_gate(rule: Rule) -> _LineGate:
    """Tells the places of the lines that count, and why the first one that does not failed."""
    categories, merchants = rule.categories, rule.merchants
    condition: LineCondition | None = rule.line_condition
    if condition is not None and not categories and not merchants:
        return _by_condition(condition)

    def picked(deed: Deed) -> tuple[Sequence[int], str]:
        places: list[int] = []
        first = ""
        for place, line in enumerate(deed.line_views):
            if categories and getattr(line, "category", "") not in categories:
                continue
            if merchants and (getattr(line, "merchant", "") or deed.source) not in merchants:
                continue
            reason = condition(line) if condition is not None else ""
            if reason:
                first = _told(first, place, reason)
            else:
                places.append(place)
        return places, first

    return picked


def _by_condition(condition: LineCondition) -> _LineGate:
    def picked(deed: Deed) -> tuple[Sequence[int], str]:
        places: list[int] = []
        first = ""
        for place, line in enumerate(deed.line_views):
            reason = condition(line)
            if reason:
                first = _told(first, place, reason)
            else:
                places.append(place)
        return places, first

    return picked


def _told(first: str, place: int, reason: str) -> str:
    """Which reason is told of lines that do not count: the first, or the first that failed."""
    if FAILED in reason and FAILED not in first:
        return f"line {place + 1}: {reason}"
    return first or reason
