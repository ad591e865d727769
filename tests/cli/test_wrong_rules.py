"""Wrong program files as a marketer meets them: file, line, field and what would be right.

Each case changes one thing of a right file and applies it to a running cluster; what is told is
the whole of what is shown.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cli import apply, cluster, documents
from cli.peers import Peers, connected

RIGHT = """\
program_id: tea
display_name: Tea house
time_zone: Asia/Shanghai
currencies:
  - currency_id: leaves
    expiry: {after_months: 6}
money_currency_code: CNY
multiplier_policy: MULTIPLIER_POLICY_MULTIPLY
enroll_unknown_members: true
rules:
  - rule_id: yuan
    activity_types: [purchase]
    base: {points: 1, per_amount_minor: 100}
  - rule_id: member-day
    schedule: {recurrence: FREQ=MONTHLY;BYMONTHDAY=8}
    multiplier: {numerator: 2, denominator: 1}
    caps: [{cap_id: day, period: PERIOD_DAY, points: 500}]
    condition: activity.source == "app"
"""
ZONE, POLICY = "time_zone: Asia/Shanghai\n", "multiplier_policy: MULTIPLIER_POLICY_MULTIPLY\n"
BASE = "    base: {points: 1, per_amount_minor: 100}\n"
DAYS = "recurrence: FREQ=MONTHLY;BYMONTHDAY=8"
ASKED = 'activity.source == "app"'
IS_NAME = (
    "is no name: write small letters, digits, - and _, beginning with a letter, as in gold-week"
)
TIMES = "is no time of the day; write it as 18:00, from 00:00 to 23:59"
EXAMPLES = "right are for example FREQ=MONTHLY;BYMONTHDAY=8 and FREQ=WEEKLY;BYDAY=FR"

MONEY = "money_currency_code: CNY\n"


def converting(*further: str, to: str = "buds", numerator: str = "1") -> str:
    """The program with a second currency and a conversion, and what is said of it besides."""
    names = ("conversion_id: sip", "from_currency_id: leaves", f"to_currency_id: {to}")
    said = ", ".join((*names, f"numerator: {numerator}", "denominator: 4", *further))
    return f"  - currency_id: buds\nconversions:\n  - {{{said}}}\n{MONEY}"


# what is replaced by what, the line, the field, what is told
CASES: list[tuple[str, str, int, str, str]] = [
    ("program_id: tea", "program_id: Tea House", 1, "program_id", f"'Tea House' {IS_NAME}"),
    ("program_id: tea\n", "", 1, "program_id", "must be given: at least 1 character"),
    (
        "Asia/Shanghai",
        "Shanghai",
        3,
        "time_zone",
        "Shanghai is no IANA time zone; did you mean Asia/Shanghai?",
    ),
    (
        "Asia/Shanghai",
        "Europe/Lodnon",
        3,
        "time_zone",
        "Europe/Lodnon is no IANA time zone; did you mean Europe/London?",
    ),
    (
        "Asia/Shanghai",
        "Peking time",
        3,
        "time_zone",
        "Peking time is no IANA time zone; write it as Europe/London",
    ),
    (ZONE, "", 1, "time_zone", "must be given: at least 1 character"),
    (
        "money_currency_code: CNY",
        "money_currency_code: yuan",
        7,
        "money_currency_code",
        "'yuan' is no code of money; write its three capital letters, as in EUR",
    ),
    (
        "money_currency_code: CNY",
        "money_currency_code: GPB",
        7,
        "money_currency_code",
        "GPB is no code of ISO 4217; did you mean GBP?",
    ),
    (
        "money_currency_code: CNY",
        (
            "money_currency_code: CNY\n"
            'exchange_rates: [{currency_code: XQZ, from_date: "2026-01-01", numerator: 1, '
            "denominator: 1}]"
        ),
        8,
        "exchange_rates[0].currency_code",
        "XQZ is no code of ISO 4217; write one such as EUR",
    ),
    (
        POLICY,
        "",
        1,
        "multiplier_policy",
        (
            "must be given: one of MULTIPLIER_POLICY_MULTIPLY, MULTIPLIER_POLICY_ADD, "
            "MULTIPLIER_POLICY_BEST"
        ),
    ),
    (
        "expiry: {after_months: 6}",
        "expiry: {}",
        6,
        "currencies[0].expiry.kind",
        "one of after_days, after_months, end_of_period, sliding_months, fixed_dates must be given",
    ),
    (
        "expiry: {after_months: 6}",
        "expiry: {end_of_period: {further: 1}}",
        6,
        "currencies[0].expiry.end_of_period.unit",
        "must be given: one of UNIT_MONTH, UNIT_QUARTER, UNIT_YEAR",
    ),
    (
        "expiry: {after_months: 6}",
        'expiry: {fixed_dates: {dates: ["03-31", "31-12"]}}',
        6,
        "currencies[0].expiry.fixed_dates.dates[1]",
        "'31-12' is no day of the year; write the month and the day, as in 03-31",
    ),
    (
        "expiry: {after_months: 6}",
        'expiry: {fixed_dates: {dates: ["04-31"]}}',
        6,
        "currencies[0].expiry.fixed_dates.dates[0]",
        "no year has a 04-31; the last of February is 02-29",
    ),
    (
        "expiry: {after_months: 6}",
        "pending_duration: 2 days",
        6,
        "currencies[0].pending_duration",
        "'2 days' is not written like 86400s (seconds, with an \"s\")",
    ),
    (
        "expiry: {after_months: 6}",
        "reminder_days: [500]",
        6,
        "currencies[0].reminder_days[0]",
        "must be greater than or equal to 0 and less than or equal to 366",
    ),
    (
        MONEY,
        converting(to="petals"),
        9,
        "conversions[0].to_currency_id",
        "there is no currency petals; there is leaves and buds",
    ),
    (
        MONEY,
        converting(to="leaves"),
        9,
        "conversions[0].to_currency_id",
        "leaves is what is given up; name another currency",
    ),
    (
        MONEY,
        converting(numerator="0"),
        9,
        "conversions[0].numerator",
        "must be greater than or equal to 1 and less than or equal to 1000000000",
    ),
    (
        MONEY,
        converting(numerator="0.25"),
        9,
        "conversions[0].numerator",
        "'0.25' is not a whole number",
    ),
    (
        MONEY,
        converting("min_points: -5"),
        9,
        "conversions[0].min_points",
        "must be greater than or equal to 0 and less than or equal to 1000000000000",
    ),
    ("rule_id: member-day", "rule_id: yuan", 14, "rules[1].rule_id", "yuan is there already"),
    (
        "rule_id: member-day",
        "rule_id: Member Day",
        14,
        "rules[1].rule_id",
        f"'Member Day' {IS_NAME}",
    ),
    (
        BASE,
        "",
        11,
        "rules[0].effect",
        "one of base, multiplier, flat, bonus, measured must be given",
    ),
    (
        "base: {points: 1, ",
        "base: {points: -1, ",
        13,
        "rules[0].base.points",
        "must be greater than or equal to 1 and less than or equal to 1000000",
    ),
    (
        "multiplier: {numerator: 2, denominator: 1}",
        "multiplier: 2",
        16,
        "rules[1].multiplier",
        "must be a mapping with the fields of Multiplier: numerator, denominator",
    ),
    (
        "numerator: 2",
        "numerator: 1.5",
        16,
        "rules[1].multiplier.numerator",
        "'1.5' is not a whole number",
    ),
    (
        "denominator: 1",
        "denominator: 0",
        16,
        "rules[1].multiplier.denominator",
        "must be greater than or equal to 1 and less than or equal to 10000",
    ),
    (
        "activity_types: [purchase]",
        "activity_types: purchase",
        12,
        "rules[0].activity_types",
        "must be a list: write [purchase]",
    ),
    (
        "activity_types: [purchase]",
        "activity_types: [Purchase]",
        12,
        "rules[0].activity_types[0]",
        "'Purchase' is no name: write small letters, digits and _, beginning with a letter",
    ),
    (
        DAYS,
        "recurrence: every friday",
        15,
        "rules[1].schedule.recurrence",
        f"EVERY FRIDAY is no part of a recurrence; {EXAMPLES}",
    ),
    (
        DAYS,
        "recurrence: FREQ=WEEKLY;BYDAY=FRI",
        15,
        "rules[1].schedule.recurrence",
        "BYDAY=FRI is no weekday; write it as FR, 1MO or -1SU",
    ),
    (
        DAYS,
        "recurrence: FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        15,
        "rules[1].schedule.recurrence",
        f"never comes; {EXAMPLES}",
    ),
    (
        DAYS,
        "time_from: 18:00",
        15,
        "rules[1].schedule.time_from",
        "must be a text: write '18:00' in quotes",
    ),
    (DAYS, 'time_from: "6pm"', 15, "rules[1].schedule.time_from", f"'6pm' {TIMES}"),
    (DAYS, 'time_until: "24:00"', 15, "rules[1].schedule.time_until", f"'24:00' {TIMES}"),
    (
        DAYS,
        'from_date: "17.02.2026"',
        15,
        "rules[1].schedule.from_date",
        "'17.02.2026' is no day; write it as 2026-02-17",
    ),
    (
        DAYS,
        "from_date: 2026-02-30",
        15,
        "rules[1].schedule.from_date",
        "2026-02-30 is no day; write it as 2026-02-17",
    ),
    (
        DAYS,
        "from_date: 2026-03-01, until_date: 2026-02-01",
        15,
        "rules[1].schedule.until_date",
        "2026-02-01 is before 2026-03-01",
    ),
    (
        "period: PERIOD_DAY",
        "period: day",
        17,
        "rules[1].caps[0].period",
        (
            "'day' is none of PERIOD_ACTIVITY, PERIOD_DAY, PERIOD_WEEK, PERIOD_MONTH, PERIOD_YEAR, "
            "PERIOD_LIFETIME; did you mean 'PERIOD_DAY'?"
        ),
    ),
    (
        "period: PERIOD_DAY, ",
        "",
        17,
        "rules[1].caps[0].period",
        (
            "must be given: one of PERIOD_ACTIVITY, PERIOD_DAY, PERIOD_WEEK, PERIOD_MONTH, "
            "PERIOD_YEAR, PERIOD_LIFETIME"
        ),
    ),
    (
        ASKED,
        "activity.sorce == 'app'",
        18,
        "rules[1].condition",
        "line 1, column 9: Activity has no field 'sorce'; did you mean 'source'?",
    ),
    (
        ASKED,
        "level == 'gold'",
        18,
        "rules[1].condition",
        (
            "line 1, column 1: there is no level; there is activity, tier, member, "
            "and a text stands in quotes"
        ),
    ),
    (
        ASKED,
        "tier = 'gold'",
        18,
        "rules[1].condition",
        "line 1, column 6: Syntax error: write == to compare",
    ),
    (
        ASKED,
        "tier == 'gold' and activity.source == 'app'",
        18,
        "rules[1].condition",
        "line 1, column 16: Syntax error: write && for and",
    ),
    (
        ASKED,
        "activity.payment.amount_minor > '100'",
        18,
        "rules[1].condition",
        (
            "line 1, column 31: > does not go with a whole number and a text; "
            "a number stands without quotes, a text within"
        ),
    ),
    (
        ASKED,
        'activity.attributes["miles"] > 3',
        18,
        "rules[1].condition",
        (
            "line 1, column 30: > does not go with AttributeValue and a whole number; "
            "read a field of AttributeValue: string_value, integer_value, bool_value"
        ),
    ),
    (
        ASKED,
        "activity.payment.amount_minor",
        18,
        "rules[1].condition",
        "line 1, column 1: is an int, where a bool is wanted; compare it with something",
    ),
    (
        ASKED,
        "1 / 0 == 1",
        18,
        "rules[1].condition",
        "line 1, column 1: fails whatever it is asked about: divide by zero",
    ),
    (
        ASKED,
        '|\n      tier == "gold" &&\n      line.category == "tea"',
        20,
        "rules[1].condition",
        "line 2, column 5: there is no line; there is activity, tier, member",
    ),
    (
        "    condition: " + ASKED,
        "    levels: [gold]",
        18,
        "rules[1].levels",
        "there are levels only with a ladder; name it in tier_ladder_id",
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def peers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Peers]:
    async with (
        cluster.running(tmp_path_factory.mktemp("wrong")) as started,
        connected(started.addresses) as reached,
    ):
        yield reached


async def told(peers: Peers, folder: Path, text: str) -> list[str]:
    """What an apply of a file complains of, without the folder."""
    (folder / "earning.yaml").write_text(text, encoding="utf-8")
    try:
        await apply.apply(peers, documents.load(folder), author="maya", validate_only=True)
    except documents.BadDocuments as bad:
        return [str(each).removeprefix(f"{folder}/") for each in bad.complaints]
    return []


async def test_the_file_that_is_changed_is_right(peers: Peers, tmp_path: Path) -> None:
    assert await told(peers, tmp_path, RIGHT) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"),
    CASES,
    ids=[f"{number}-{case[3]}" for number, case in enumerate(CASES)],
)
async def test_a_wrong_rule_is_refused_with_file_line_field_and_what_would_be_right(
    peers: Peers, tmp_path: Path, old: str, new: str, line: int, field: str, words: str
) -> None:
    assert old in RIGHT
    found = await told(peers, tmp_path, RIGHT.replace(old, new, 1))
    assert found == [f"earning.yaml:{line}: {field}: {words}"]


async def test_several_wrong_rules_are_told_at_once_each_at_its_line(
    peers: Peers, tmp_path: Path
) -> None:
    text = RIGHT.replace("points: 1,", "points: 0,").replace("tea", "Tea", 1).replace(ASKED, "tier")
    found = await told(peers, tmp_path, text)
    assert [each.split(": ")[0:2] for each in found] == [
        ["earning.yaml:1", "program_id"],
        ["earning.yaml:13", "rules[0].base.points"],
        ["earning.yaml:18", "rules[1].condition"],
    ]
