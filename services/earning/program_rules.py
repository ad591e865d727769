"""Rules in the program document: what is wrong with them, and what they mean."""

from collections.abc import Iterable, Iterator
from datetime import date, time

from guerdon.earning.v1 import activity_pb2, member_pb2
from guerdon.earning.v1 import program_pb2 as pb
from services.earning import conditions
from services.earning.domain import RuleId
from services.earning.program_currencies import is_date, unknown
from services.earning.rules import Base, Bonus, Cap, Flat, Measured, Multiplier, Nth, Rule
from services.earning.schedules import (
    Occasion,
    OccasionKind,
    Period,
    Recurrence,
    Schedule,
    WrongRecurrence,
)
from shared.errors import Violation
from shared.expressions import Environment, ExpressionError, Result

_ACTIVITY, _LINE = activity_pb2.Activity.DESCRIPTOR, activity_pb2.LineItem.DESCRIPTOR

ACTIVITY = Environment(
    {"activity": _ACTIVITY, "tier": "string", "member": member_pb2.MemberProfile.DESCRIPTOR}
)
"""What a rule's condition may read."""
LINE = Environment({"line": _LINE})
"""What a rule's line condition may read."""

_PERIODS = {
    pb.EarningCap.PERIOD_ACTIVITY: Period.ACTIVITY,
    pb.EarningCap.PERIOD_DAY: Period.DAY,
    pb.EarningCap.PERIOD_WEEK: Period.WEEK,
    pb.EarningCap.PERIOD_MONTH: Period.MONTH,
    pb.EarningCap.PERIOD_YEAR: Period.YEAR,
    pb.EarningCap.PERIOD_LIFETIME: Period.LIFETIME,
}
_OCCASIONS = {
    pb.Occasion.KIND_BIRTHDAY: OccasionKind.BIRTHDAY,
    pb.Occasion.KIND_ENROLLMENT_ANNIVERSARY: OccasionKind.ANNIVERSARY,
}


# What is wrong -----------------------------------------------------------------------------------


def complaints(document: pb.EarningProgram) -> Iterator[Violation]:
    """What is wrong with the rules and caps of a document, each with the path of its field."""
    rules: set[str] = set()
    caps: set[str] = set()
    yield from _caps("caps", document.caps, caps)
    for at, cap_ in enumerate(document.caps):
        yield from unknown(document, f"caps[{at}].currency_id", cap_.currency_id)
    yield from _groups(document)
    for at, rule_ in enumerate(document.rules):
        path = f"rules[{at}]"
        if rule_.rule_id and rule_.rule_id in rules:
            yield Violation(
                field=f"{path}.rule_id", description=f"{rule_.rule_id} is there already"
            )
        rules.add(rule_.rule_id)
        yield from unknown(document, f"{path}.currency_id", rule_.currency_id)
        yield from wrong_expression(f"{path}.condition", ACTIVITY, rule_.condition)
        yield from wrong_expression(f"{path}.line_condition", LINE, rule_.line_condition)
        yield from _measure(f"{path}.measured.measure", rule_.measured.measure)
        if rule_.levels and not document.tier_ladder_id:
            yield Violation(
                field=f"{path}.levels",
                description="there are levels only with a ladder; name it in tier_ladder_id",
            )
        yield from _caps(f"{path}.caps", rule_.caps, caps)
        if rule_.HasField("schedule"):
            yield from _schedule(f"{path}.schedule", rule_.schedule)
        kind = rule_.WhichOneof("effect")
        for inner, cap_ in enumerate(rule_.caps):
            if cap_.stage == pb.EarningCap.STAGE_BASE and kind in {"multiplier", "bonus"}:
                yield Violation(
                    field=f"{path}.caps[{inner}].stage",
                    description=f"a {kind} has no base points; leave the stage out",
                )
            if cap_.currency_id:
                yield Violation(
                    field=f"{path}.caps[{inner}].currency_id",
                    description="a cap of a rule counts the rule's points; leave it out",
                )


def _groups(document: pb.EarningProgram) -> Iterator[Violation]:
    """What is wrong with groups: of one, nothing is exclusive; of two currencies, neither."""
    first = document.currencies[0].currency_id if document.currencies else ""
    found: dict[str, list[tuple[int, str]]] = {}
    for at, each in enumerate(document.rules):
        if each.group:
            found.setdefault(each.group, []).append((at, each.currency_id or first))
    for name, members in found.items():
        if len(members) == 1:
            yield Violation(
                field=f"rules[{members[0][0]}].group",
                description=f"no other rule is of group {name}; leave it out or name it twice",
            )
        for at, currency_id in members:
            if currency_id != members[0][1]:
                yield Violation(
                    field=f"rules[{at}].group",
                    description=f"group {name} is of currency {members[0][1]}, the rule is not",
                )


def _caps(path: str, caps: Iterable[pb.EarningCap], seen: set[str]) -> Iterator[Violation]:
    for at, each in enumerate(caps):
        if each.cap_id and each.cap_id in seen:
            yield Violation(
                field=f"{path}[{at}].cap_id", description=f"{each.cap_id} is there already"
            )
        seen.add(each.cap_id)


def _schedule(path: str, schedule: pb.RuleSchedule) -> Iterator[Violation]:
    first, last = schedule.from_date, schedule.until_date
    wrong = False
    for name, text in (("from_date", first), ("until_date", last)):
        if text and not is_date(text):
            wrong = True
            yield Violation(
                field=f"{path}.{name}", description=f"{text} is no day; write it as 2026-02-17"
            )
    if wrong:
        return
    if first and last and last < first:
        yield Violation(field=f"{path}.until_date", description=f"{last} is before {first}")
    if not schedule.ByteSize():
        yield Violation(
            field=path, description="says nothing; give it days or hours, or leave it out"
        )
    if schedule.time_from and schedule.time_from == schedule.time_until:
        yield Violation(
            field=f"{path}.time_until",
            description=f"{schedule.time_until} is time_from as well; leave both out for all day",
        )
    if schedule.recurrence:
        try:
            Recurrence(schedule.recurrence, date.fromisoformat(first) if first else None)
        except WrongRecurrence as error:
            yield Violation(field=f"{path}.recurrence", description=str(error))


def _measure(path: str, text: str) -> Iterator[Violation]:
    yield from wrong_expression(path, ACTIVITY, text, "int")
    for variable in ("member", "tier"):
        if conditions.mentions(text, variable):
            yield Violation(
                field=path,
                description=f"measures the activity alone; put {variable} into the condition",
            )


def wrong_expression(
    field: str, environment: Environment, text: str, result: Result = "bool"
) -> Iterator[Violation]:
    """A complaint with the position when an expression does not compile."""
    if not text:
        return
    try:
        environment.compile(text, result=result)
    except ExpressionError as error:
        yield Violation(field=field, description=str(error))


# What it means -----------------------------------------------------------------------------------


def rule(document: pb.EarningRule) -> Rule:
    """A rule of a document that nothing is wrong with."""
    return Rule(
        rule_id=RuleId(document.rule_id),
        effect=_effect(document),
        activity_types=frozenset(document.activity_types),
        condition=(
            conditions.on_activity(ACTIVITY.compile(document.condition), ACTIVITY, _ACTIVITY)
            if document.condition
            else None
        ),
        reads_member=conditions.mentions(document.condition, "member"),
        line_condition=(
            conditions.on_line(LINE.compile(document.line_condition), _LINE)
            if document.line_condition
            else None
        ),
        categories=frozenset(document.categories),
        merchants=frozenset(document.merchants),
        channels=frozenset(document.channels),
        levels=frozenset(document.levels),
        segments=frozenset(document.segments),
        schedule=_schedule_of(document.schedule) if document.HasField("schedule") else None,
        occasion=_occasion(document.occasion) if document.HasField("occasion") else None,
        nth=(
            Nth(number=document.nth.number, every=document.nth.every)
            if document.HasField("nth")
            else None
        ),
        group=document.group,
        caps=tuple(cap(each) for each in document.caps),
        budget=document.budget_points,
    )


def cap(document: pb.EarningCap) -> Cap:
    """A cap of a document that nothing is wrong with."""
    return Cap(
        cap_id=document.cap_id,
        period=_PERIODS[document.period],
        points=document.points,
        on_base=document.stage == pb.EarningCap.STAGE_BASE,
        refuses=document.excess == pb.EarningCap.EXCESS_REFUSE,
    )


def _effect(document: pb.EarningRule) -> Base | Measured | Flat | Bonus | Multiplier:
    match document.WhichOneof("effect"):
        case "base":
            return Base(points=document.base.points, per_amount=document.base.per_amount_minor)
        case "measured":
            compiled = ACTIVITY.compile(document.measured.measure, result="int")
            return Measured(
                points=document.measured.points,
                per=document.measured.per,
                measure=conditions.measuring(compiled, ACTIVITY),
            )
        case "flat":
            return Flat(points=document.flat.points)
        case "bonus":
            return Bonus(points=document.bonus.points)
        case _:
            factor = document.multiplier
            return Multiplier(numerator=factor.numerator, denominator=factor.denominator)


def _schedule_of(document: pb.RuleSchedule) -> Schedule:
    first = date.fromisoformat(document.from_date) if document.from_date else None
    return Schedule(
        from_date=first,
        until_date=date.fromisoformat(document.until_date) if document.until_date else None,
        recurrence=Recurrence(document.recurrence, first) if document.recurrence else None,
        time_from=time.fromisoformat(document.time_from) if document.time_from else None,
        time_until=time.fromisoformat(document.time_until) if document.time_until else None,
    )


def _occasion(document: pb.Occasion) -> Occasion:
    return Occasion(
        kind=_OCCASIONS[document.kind],
        days_before=document.days_before,
        days_after=document.days_after,
    )
