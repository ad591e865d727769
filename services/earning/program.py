"""The program document of earning: what is wrong with one, and what one means.

A document is checked as a whole and every complaint is told, with the path of its field as the
designer wrote it: `rules[2].condition`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from guerdon.earning.v1 import program_pb2 as pb
from services.earning import (
    money_codes,
    program_conversions,
    program_currencies,
    program_referral,
    program_rules,
)
from services.earning.domain import CurrencyId, ProgramId, ReversalPolicy
from services.earning.household_records import HouseholdPolicy
from services.earning.rules import Program, Rules
from services.earning.stacking import MultiplierPolicy, Rounding
from shared import errors, zones
from shared.errors import Violation
from shared.rpc import validation

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
    zone = ZoneInfo(document.time_zone)
    currencies = program_currencies.policies(document, zone)
    first, *further = [_rules(document, version, each, zone) for each in document.currencies]
    return Program(
        program_id=ProgramId(program_id),
        currency_id=CurrencyId(document.currencies[0].currency_id),
        money_currency_code=document.money_currency_code,
        rules=first,
        others=tuple(each for each in further if each.rules),
        currencies=currencies,
        tier_ladder_id=document.tier_ladder_id,
        reversal_policy=_REVERSAL_POLICIES[document.reversal_policy],
        early_reversals_wait=(document.early_reversal_policy != pb.EARLY_REVERSAL_POLICY_REFUSE),
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
        referral=program_referral.policy(document) if document.HasField("referral") else None,
        adjustment_approval_above=document.adjustment_approval_above_points,
        households=_households(document) if document.HasField("households") else None,
        conversions=program_conversions.conversions(document),
    )


def _households(document: pb.EarningProgram) -> HouseholdPolicy:
    policy = document.households
    return HouseholdPolicy(
        max_members=policy.max_members,
        cool_off_days=policy.cool_off_days,
        only_head_spends=policy.who_may_spend == pb.HOUSEHOLD_SPENDER_HEAD,
    )


def _rules(
    document: pb.EarningProgram, version: int, currency: pb.PointCurrency, zone: ZoneInfo
) -> Rules:
    """The rules and caps of one currency; those that name none are of the first."""
    first = document.currencies[0].currency_id
    of = currency.currency_id
    return Rules(
        version=version,
        rules=tuple(
            program_rules.rule(each) for each in document.rules if (each.currency_id or first) == of
        ),
        multiplier_policy=_MULTIPLIER_POLICIES[document.multiplier_policy],
        rounding=_ROUNDINGS[document.rounding],
        money=program_currencies.money(document),
        zone=zone,
        caps=tuple(
            program_rules.cap(each) for each in document.caps if (each.currency_id or first) == of
        ),
        carries=currency.carry_remainder,
        currency_id=CurrencyId(of),
    )


# What is wrong -----------------------------------------------------------------------------------


def check(document: pb.EarningProgram) -> None:
    """Refuse InvalidProgram with everything that is wrong with a document."""
    misshapen = validation.violations(document)
    wrong = {each.field for each in misshapen}
    meant = (each for each in _complaints(document) if each.field not in wrong)
    found = (*misshapen, *meant)
    if found:
        raise InvalidProgram(violations=found)


def check_follows(document: pb.EarningProgram, before: pb.EarningProgram) -> None:
    """Refuse InvalidProgram for a document that cannot come after the version in force."""
    found = tuple(program_currencies.misplaced(document, before))
    if found:
        raise InvalidProgram(violations=found)


def _complaints(document: pb.EarningProgram) -> Iterator[Violation]:
    if document.time_zone and (wrong := zones.complaint(document.time_zone)):
        yield Violation(field="time_zone", description=wrong)
    if wrong := money_codes.complaint(document.money_currency_code):
        yield Violation(field="money_currency_code", description=wrong)
    yield from program_currencies.complaints(document)
    yield from program_conversions.complaints(document)
    yield from program_rules.complaints(document)
    yield from program_referral.complaints(document)
