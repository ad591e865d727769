"""The program document: every mistake is told at once, by field, with what would be right."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format

from guerdon.earning.v1 import program_pb2
from services.earning import evaluation, matching, program, wire
from services.earning.domain import CurrencyId, LevelId
from services.earning.expiry import (
    UTC_ZONE,
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
from services.earning.rules import Bonus, Facts
from tests.earning.nodes import document, purchase

ROOT = Path(__file__).resolve().parents[2]

BASE = {"rule_id": "base", "base": {"points": 1, "per_amount_minor": 100}}
WITH_MILES: list[dict[str, object]] = [{"currency_id": "points"}, {"currency_id": "miles"}]
TO_MILES = {
    "conversion_id": "to-miles",
    "from_currency_id": "points",
    "to_currency_id": "miles",
    "numerator": 1,
    "denominator": 2,
}
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
            {"conversions": [{**TO_MILES, "from_currency_id": "no"}]},
            "conversions[0].from_currency_id",
            "there is no currency no; there is points",
        ),
        (
            {"conversions": [TO_MILES]},
            "conversions[0].to_currency_id",
            "there is no currency miles; there is points",
        ),
        (
            {"conversions": [{**TO_MILES, "to_currency_id": "points"}]},
            "conversions[0].to_currency_id",
            "points is what is given up; name another currency",
        ),
        (
            {"currencies": WITH_MILES, "conversions": [TO_MILES, TO_MILES]},
            "conversions[1].conversion_id",
            "to-miles is there already",
        ),
        (
            {"currencies": WITH_MILES, "conversions": [TO_MILES, TO_MILES]},
            "conversions[1].to_currency_id",
            "points has a rate to miles already; keep one of them",
        ),
        (
            {
                "currencies": [{**WITH_MILES[0], "not_spendable": True}, WITH_MILES[1]],
                "conversions": [TO_MILES],
            },
            "conversions[0].from_currency_id",
            "points of points are not spendable, so none of them are converted",
        ),
        (
            {"currencies": WITH_MILES, "conversions": [{**TO_MILES, "denominator": 0}]},
            "conversions[0].denominator",
            "1",
        ),
        (
            {"currencies": WITH_MILES, "conversions": [{**TO_MILES, "numerator": 10**9 + 1}]},
            "conversions[0].numerator",
            "1000000000",
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
            {"rules": [{**BASE, "currency_id": "miles"}]},
            "rules[0].currency_id",
            "there is no currency miles; there is points",
        ),
        (
            {"caps": [{**CAP, "currency_id": "miles"}]},
            "caps[0].currency_id",
            "there is no currency miles; there is points",
        ),
        (
            {"rules": [{**BASE, "caps": [{**CAP, "currency_id": "points"}]}]},
            "rules[0].caps[0].currency_id",
            "a cap of a rule counts the rule's points; leave it out",
        ),
        (
            {"rules": [{**BASE, "group": "days"}]},
            "rules[0].group",
            "no other rule is of group days",
        ),
        (
            {
                "currencies": [{"currency_id": "points"}, {"currency_id": "miles"}],
                "rules": [
                    {**BASE, "group": "days"},
                    {**BASE, "rule_id": "b", "group": "days", "currency_id": "miles"},
                ],
            },
            "rules[1].group",
            "group days is of currency points, the rule is not",
        ),
        (
            {"tier_ladder_id": "", "rules": [{**BASE, "levels": ["gold"]}]},
            "rules[0].levels",
            "name it in tier_ladder_id",
        ),
        (
            {"rules": [{**BASE, "schedule": {}}]},
            "rules[0].schedule",
            "says nothing; give it days or hours, or leave it out",
        ),
        (
            {"rules": [{**BASE, "schedule": {"time_from": "18:00", "time_until": "18:00"}}]},
            "rules[0].schedule.time_until",
            "leave both out for all day",
        ),
        (
            {"rules": [{**BASE, "schedule": {"recurrence": "FREQ=MONTHLY;BYDAY=99FR"}}]},
            "rules[0].schedule.recurrence",
            "BYDAY=99FR has a number above 5",
        ),
        ({"referral": {}}, "referral.referrer_points", "nobody would be rewarded"),
        (
            {"referral": {"friend_points": 1, "currency_id": "miles"}},
            "referral.currency_id",
            "there is no currency miles",
        ),
        (
            {"referral": {"friend_points": 1, "condition": "activity.tpye == 1"}},
            "referral.condition",
            "line 1, column 9",
        ),
        (
            {"referral": {"friend_points": 1, "condition": 'tier == "gold"'}},
            "referral.condition",
            "it cannot read tier",
        ),
        (
            {"adjustment_approval_above_points": -1},
            "adjustment_approval_above_points",
            "0",
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
            },
            {**BASE, "group": "g"},
        ],
        exchange_rates=[
            {"currency_code": "USD", "from_date": "2026-02-01", "numerator": 8, "denominator": 10},
            {"currency_code": "USD", "from_date": "2026-01-01", "numerator": 7, "denominator": 10},
        ],
        earn_on="EARN_ON_GROSS",
    )
    parsed = program.parse("shop", 1, made.SerializeToString())
    rule, _ = parsed.rules.rules
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


def test_each_currency_has_the_rules_and_caps_that_name_it_the_first_those_that_name_none() -> None:
    made = document(
        currencies=[
            {"currency_id": "miles"},
            {"currency_id": "status", "not_spendable": True, "carry_remainder": True},
            {"currency_id": "gems"},
        ],
        rules=[
            BASE,
            {**BASE, "rule_id": "named", "currency_id": "miles"},
            {**BASE, "rule_id": "status", "currency_id": "status"},
        ],
        caps=[CAP, {**CAP, "cap_id": "status-day", "currency_id": "status"}],
    )
    parsed = program.parse("shop", 1, made.SerializeToString())
    assert parsed.currency_id == parsed.rules.currency_id == "miles"
    assert [rule.rule_id for rule in parsed.rules.rules] == ["base", "named"]
    assert [cap.cap_id for cap in parsed.rules.caps] == ["day"]
    (status,) = parsed.others
    assert (status.currency_id, status.carries) == ("status", True)
    assert [rule.rule_id for rule in status.rules] == ["status"]
    assert [cap.cap_id for cap in status.caps] == ["status-day"]
    assert list(parsed.currencies) == ["miles", "status", "gems"]


def test_the_referral_policy_is_read_from_the_document() -> None:
    made = document(
        referral={
            "referrer_points": 100,
            "friend_points": 50,
            "activity_types": ["purchase"],
            "condition": "activity.payment.amount_minor >= 1000",
            "max_per_referrer": 10,
        },
        adjustment_approval_above_points=500,
    )
    parsed = program.parse("shop", 1, made.SerializeToString())
    referral = parsed.referral
    assert referral is not None
    assert (referral.referrer_points, referral.friend_points) == (100, 50)
    assert (referral.currency_id, referral.max_per_referrer) == ("points", 10)
    assert referral.activity_types == {"purchase"}
    assert referral.condition is not None
    for pounds, qualifies in ((9, False), (10, True)):
        scene = matching.Scene(
            wire.deed_of(purchase("a", amount=pounds * 100).SerializeToString()), Facts(), UTC_ZONE
        )
        assert (referral.condition(scene) == "") is qualifies
    assert parsed.adjustment_approval_above == 500
    plain = program.parse("shop", 1, document().SerializeToString())
    assert (plain.referral, plain.adjustment_approval_above, plain.others) == (None, 0, ())


def test_the_gift_shop_needs_nothing_but_the_wallet_and_the_level() -> None:
    text = (ROOT / "programs" / "giftshop" / "earning.yaml").read_text()
    made = json_format.ParseDict(yaml.safe_load(text), program_pb2.EarningProgram())
    parsed = program.parse("giftshop", 1, made.SerializeToString())
    assert parsed.is_plain
    bought = purchase("a", lines=[(2, 4_250), (1, 1_999)])
    bought.lines[1].category = "postage"
    deed = wire.deed_of(bought.SerializeToString())
    points = {
        level: evaluation.decide(parsed.rules, deed, Facts(level_id=LevelId(level)))
        for level in ("", "silver", "gold")
    }
    assert {level: each.points for level, each in points.items()} == {
        "": 42,
        "silver": 63,
        "gold": 85,
    }
    assert points["silver"].explanation.line_points == (63, 0)
    assert [each.granted for each in points["silver"].explanation.rules] == [42, 21, 0]
