"""The program document: every mistake is told at once, by field, with what would be right."""

from collections.abc import Mapping

import pytest

from services.earning import program
from services.earning.domain import CurrencyId
from services.earning.expiry import (
    AfterDays,
    AfterMonths,
    CurrencyPolicy,
    EndOfPeriod,
    FixedDates,
    PendingFor,
    Period,
    Sliding,
    UntilConfirmed,
)
from services.earning.rules import Bonus
from tests.earning.nodes import document

BASE = {"rule_id": "base", "base": {"points": 1, "per_amount_minor": 100}}
CAP = {"cap_id": "day", "period": "PERIOD_DAY", "points": 100}


def complaints(**changes: object) -> dict[str, str]:
    """Descriptions by field."""
    with pytest.raises(program.InvalidProgram) as refused:
        program.check(document(**changes))
    return {each.field: each.description for each in refused.value.violations}


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"rules": [BASE, BASE]}, "rules[1].rule_id", "base is there already"),
        ({"caps": [CAP, CAP]}, "caps[1].cap_id", "day is there already"),
        (
            {"caps": [CAP], "rules": [{**BASE, "caps": [CAP]}]},
            "rules[0].caps[0].cap_id",
            "day is there already",
        ),
        ({"caps": [{**CAP, "points": 0}]}, "caps[0].points", "1"),
        ({"caps": [{**CAP, "period": 0}]}, "caps[0].period", ""),
        (
            {"rules": [{**BASE, "schedule": {"from_date": "2026-02-30"}}]},
            "rules[0].schedule.from_date",
            "2026-02-30 is no day; write it as 2026-02-17",
        ),
        (
            {"rules": [{**BASE, "schedule": {"from_date": "2026-02-2", "time_from": "25:00"}}]},
            "rules[0].schedule.time_from",
            "",
        ),
        (
            {
                "rules": [
                    {
                        **BASE,
                        "schedule": {"from_date": "2026-02-03", "until_date": "2026-02-02"},
                    }
                ]
            },
            "rules[0].schedule.until_date",
            "2026-02-02 is before 2026-02-03",
        ),
        (
            {"rules": [{**BASE, "schedule": {"recurrence": "fridays"}}]},
            "rules[0].schedule.recurrence",
            "FRIDAYS is no part of a recurrence",
        ),
        ({"rules": [{**BASE, "nth": {}}]}, "rules[0].nth.kind", ""),
        (
            {
                "rules": [
                    {
                        "rule_id": "b",
                        "bonus": {"points": 1},
                        "caps": [{**CAP, "stage": "STAGE_BASE"}],
                    }
                ]
            },
            "rules[0].caps[0].stage",
            "a bonus has no base points",
        ),
        (
            {
                "exchange_rates": [
                    {
                        "currency_code": "GBP",
                        "from_date": "2026-01-01",
                        "numerator": 1,
                        "denominator": 1,
                    }
                ]
            },
            "exchange_rates[0].currency_code",
            "GBP is the program's own money",
        ),
        (
            {
                "exchange_rates": [
                    {
                        "currency_code": "USD",
                        "from_date": "2026-13-01",
                        "numerator": 1,
                        "denominator": 1,
                    }
                ]
            },
            "exchange_rates[0].from_date",
            "2026-13-01 is no day",
        ),
        (
            {"currencies": [{"currency_id": "p"}, {"currency_id": "p"}]},
            "currencies[1].currency_id",
            "p is there already",
        ),
        (
            {"currencies": [{"currency_id": "p", "reminder_days": [0, 7]}]},
            "currencies[0].reminder_days",
            "0 means none",
        ),
        (
            {
                "rounding": "ROUNDING_CEIL",
                "currencies": [{"currency_id": "p", "carry_remainder": True}],
            },
            "currencies[0].carry_remainder",
            "set ROUNDING_FLOOR",
        ),
        (
            {"currencies": [{"currency_id": "p", "expiry": {}}]},
            "currencies[0].expiry.kind",
            "",
        ),
        (
            {"rules": [{**BASE, "condition": "member.birthday == 1"}]},
            "rules[0].condition",
            "line 1, column 7",
        ),
    ],
)
def test_a_mistake_is_told_by_its_field(
    changes: Mapping[str, object], field: str, words: str
) -> None:
    told = complaints(**changes)
    assert field in told
    assert words in told[field]


def test_all_mistakes_are_told_at_once() -> None:
    told = complaints(
        time_zone="Mars/Olympus",
        caps=[CAP, CAP],
        rules=[BASE, {**BASE, "condition": "activity.tpye == 1"}],
    )
    assert set(told) >= {
        "time_zone",
        "caps[1].cap_id",
        "rules[1].rule_id",
        "rules[1].condition",
    }


def policy(**currency: object) -> CurrencyPolicy:
    """How points live by a document with one currency."""
    made = document(currencies=[{"currency_id": "p", **currency}])
    parsed = program.parse("shop", 1, made.SerializeToString())
    assert parsed.currency_id == CurrencyId("p")
    (found,) = parsed.currencies.values()
    assert str(found.zone) == "Europe/London"
    return found


def test_how_points_live_is_read_from_the_document() -> None:
    plain = policy()
    assert (plain.expiry, plain.pending, plain.reminder_days) == (None, None, ())
    half_year = policy(expiry={"after_months": 6})
    assert (half_year.expiry, half_year.reminder_days) == (AfterMonths(months=6), (30, 7))
    status = policy(
        not_spendable=True,
        expiry={"end_of_period": {"unit": "UNIT_YEAR", "further": 1}},
        reminder_days=[0],
    )
    assert status.expiry == EndOfPeriod(period=Period.YEAR, further=1)
    assert (status.spendable, status.reminder_days) == (False, ())
    pending = policy(
        pending_duration="86400s",
        expiry={"fixed_dates": {"dates": ["09-30", "03-31"]}},
        reminder_days=[7, 60],
    )
    assert pending.expiry == FixedDates(dates=((3, 31), (9, 30)))
    assert isinstance(pending.pending, PendingFor)
    assert pending.reminder_days == (60, 7)
    confirmed = policy(
        pending_until_confirmed=True,
        expiry={"sliding_months": 18},
        expired_refund_grace_days=14,
    )
    assert confirmed.pending == UntilConfirmed()
    assert (confirmed.expiry, confirmed.grace_days) == (Sliding(months=18), 14)
    assert policy(expiry={"after_days": 90}).expiry == AfterDays(days=90)


def test_a_rule_of_every_kind_is_read_from_the_document() -> None:
    made = document(
        rules=[
            {
                "rule_id": "everything",
                "bonus": {"points": 5},
                "levels": ["gold"],
                "segments": ["vip"],
                "channels": ["app"],
                "categories": ["tea"],
                "merchants": ["ours"],
                "schedule": {"from_date": "2026-01-01", "time_until": "12:00"},
                "occasion": {"kind": "KIND_BIRTHDAY", "days_before": 1, "days_after": 2},
                "nth": {"every": 10},
                "group": "g",
                "caps": [{**CAP, "excess": "EXCESS_REFUSE"}],
                "budget_points": 10_000,
                "condition": "member.language == 'de'",
            }
        ],
        exchange_rates=[
            {"currency_code": "USD", "from_date": "2026-02-01", "numerator": 8, "denominator": 10},
            {"currency_code": "USD", "from_date": "2026-01-01", "numerator": 7, "denominator": 10},
        ],
        earn_on="EARN_ON_GROSS",
    )
    parsed = program.parse("shop", 1, made.SerializeToString())
    (rule,) = parsed.rules.rules
    assert rule.effect == Bonus(points=5)
    assert rule.reads_member
    assert rule.has_lines
    assert (rule.group, rule.budget, rule.caps[0].refuses) == ("g", 10_000, True)
    assert rule.schedule is not None
    assert rule.schedule.time_until is not None
    assert rule.occasion is not None
    assert rule.nth is not None
    ((code, rates),) = parsed.rules.money.rates
    assert code == "USD"
    assert [each.numerator for each in rates] == [7, 8], "in the order of their days"
    assert not parsed.rules.is_plain
