"""The program document of earning: what is wrong with one, and what one means.

A document is checked as a whole and every complaint is told, with the path of its field as the
designer wrote it: `rules[2].condition`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import program_pb2 as pb
from services.earning import conditions
from services.earning.domain import CurrencyId, ProgramId, ReversalPolicy, RuleId
from services.earning.rules import (
    Base,
    Flat,
    Multiplier,
    MultiplierPolicy,
    Program,
    Rounding,
    Rule,
    Rules,
)
from shared import errors
from shared.errors import Violation
from shared.expressions import Environment, ExpressionError
from shared.rpc import validation

_ACTIVITY, _LINE = activity_pb2.Activity.DESCRIPTOR, activity_pb2.LineItem.DESCRIPTOR

ACTIVITY = Environment({"activity": _ACTIVITY, "tier": "string"})
"""What a rule's condition may read."""
LINE = Environment({"line": _LINE})
"""What a rule's line condition may read."""

_MULTIPLIER_POLICIES = {
    pb.MULTIPLIER_POLICY_MULTIPLY: MultiplierPolicy.MULTIPLY,
    pb.MULTIPLIER_POLICY_ADD: MultiplierPolicy.ADD,
    pb.MULTIPLIER_POLICY_BEST: MultiplierPolicy.BEST,
}
_ROUNDINGS = {
    pb.ROUNDING_UNSPECIFIED: Rounding.FLOOR,
    pb.ROUNDING_FLOOR: Rounding.FLOOR,
    pb.ROUNDING_HALF_EVEN: Rounding.HALF_EVEN,
    pb.ROUNDING_HALF_UP: Rounding.HALF_UP,
    pb.ROUNDING_CEIL: Rounding.CEIL,
}
_REVERSAL_POLICIES = {
    pb.REVERSAL_POLICY_UNSPECIFIED: ReversalPolicy.ALLOW_DEBT,
    pb.REVERSAL_POLICY_ONLY_THIS_ACTIVITY: ReversalPolicy.ONLY_THIS_ACTIVITY,
    pb.REVERSAL_POLICY_WITHIN_BALANCE: ReversalPolicy.WITHIN_BALANCE,
    pb.REVERSAL_POLICY_ALLOW_DEBT: ReversalPolicy.ALLOW_DEBT,
}
_ACCEPTED_PAST = timedelta(days=400)
_ACCEPTED_FUTURE = timedelta(minutes=5)


@dataclass(eq=False, repr=False, kw_only=True)
class InvalidProgram(errors.FieldViolations):
    """The document cannot be applied; every complaint names its field."""


def parse(program_id: str, version: int, content: bytes) -> Program:
    """Compile the serialized document of a version. Refuses InvalidProgram."""
    document = pb.EarningProgram.FromString(content)
    check(document)
    return Program(
        program_id=ProgramId(program_id),
        currency_id=CurrencyId(document.currencies[0].currency_id),
        money_currency_code=document.money_currency_code,
        rules=Rules(
            version=version,
            rules=tuple(_rule(each) for each in document.rules),
            multiplier_policy=_MULTIPLIER_POLICIES[document.multiplier_policy],
            rounding=_ROUNDINGS[document.rounding],
        ),
        tier_ladder_id=document.tier_ladder_id,
        reversal_policy=_REVERSAL_POLICIES[document.reversal_policy],
        enroll_unknown_members=document.enroll_unknown_members,
        accepted_past=(
            document.accepted_past_duration.ToTimedelta()
            if document.HasField("accepted_past_duration")
            else _ACCEPTED_PAST
        ),
        accepted_future=(
            document.accepted_future_duration.ToTimedelta()
            if document.HasField("accepted_future_duration")
            else _ACCEPTED_FUTURE
        ),
    )


# What is wrong -----------------------------------------------------------------------------------


def check(document: pb.EarningProgram) -> None:
    """Refuse InvalidProgram with everything that is wrong with a document."""
    found = tuple(_complaints(document))
    if found:
        raise InvalidProgram(violations=found)


def _complaints(document: pb.EarningProgram) -> Iterator[Violation]:
    yield from validation.violations(document)
    if document.time_zone and not _is_zone(document.time_zone):
        yield Violation(field="time_zone", description=f"{document.time_zone} is no IANA time zone")
    seen: set[str] = set()
    for at, rule in enumerate(document.rules):
        path = f"rules[{at}]"
        if rule.rule_id and rule.rule_id in seen:
            yield Violation(field=f"{path}.rule_id", description=f"{rule.rule_id} is there already")
        seen.add(rule.rule_id)
        yield from _wrong_expression(f"{path}.condition", ACTIVITY, rule.condition)
        yield from _wrong_expression(f"{path}.line_condition", LINE, rule.line_condition)
        if rule.line_condition and rule.WhichOneof("effect") == "multiplier":
            yield Violation(
                field=f"{path}.line_condition",
                description="a multiplier counts for the whole activity, not for lines of it",
            )


def _wrong_expression(field: str, environment: Environment, text: str) -> Iterator[Violation]:
    if not text:
        return
    try:
        environment.compile(text)
    except ExpressionError as error:
        yield Violation(field=field, description=str(error))


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # not found, a folder, or no name of a file
        return False
    return True


# What it means -----------------------------------------------------------------------------------


def _rule(rule: pb.EarningRule) -> Rule:
    return Rule(
        rule_id=RuleId(rule.rule_id),
        effect=_effect(rule),
        activity_types=frozenset(rule.activity_types),
        condition=(
            conditions.on_activity(
                ACTIVITY.compile(rule.condition), activity_pb2.Activity.DESCRIPTOR
            )
            if rule.condition
            else None
        ),
        line_condition=(
            conditions.on_line(LINE.compile(rule.line_condition), _LINE)
            if rule.line_condition
            else None
        ),
    )


def _effect(rule: pb.EarningRule) -> Base | Flat | Multiplier:
    which = rule.WhichOneof("effect")
    if which == "base":
        return Base(points=rule.base.points, per_amount=rule.base.per_amount_minor)
    if which == "flat":
        return Flat(points=rule.flat.points)
    return Multiplier(numerator=rule.multiplier.numerator, denominator=rule.multiplier.denominator)
