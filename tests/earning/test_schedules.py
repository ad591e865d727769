"""When rules count: days, recurrences, hours past midnight, birthdays, and the clock changes."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from services.earning.schedules import (
    NO_BIRTHDAY,
    NOT_THE_DAY,
    Occasion,
    OccasionKind,
    Period,
    Recurrence,
    Schedule,
    WrongRecurrence,
    local_time,
    period_key,
)

LONDON = ZoneInfo("Europe/London")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
SHANGHAI = ZoneInfo("Asia/Shanghai")


def counts(schedule: Schedule, text: str) -> bool:
    """Whether a moment on the wall clock counts."""
    return not schedule.why_not(datetime.fromisoformat(text))


def counts_at(schedule: Schedule, instant: str, zone: ZoneInfo) -> bool:
    """Whether an instant of UTC counts in a zone."""
    local = datetime.fromisoformat(instant).replace(tzinfo=UTC).astimezone(zone)
    return not schedule.why_not(local)


@pytest.mark.parametrize(
    ("recurrence", "counted", "others"),
    [
        ("FREQ=MONTHLY;BYMONTHDAY=8", ["2026-01-08", "2026-02-08"], ["2026-01-07", "2026-02-28"]),
        ("FREQ=WEEKLY;BYDAY=FR", ["2026-01-02", "2026-01-09"], ["2026-01-08"]),
        ("FREQ=WEEKLY;BYDAY=SA,SU", ["2026-01-03", "2026-01-04"], ["2026-01-05"]),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", ["2026-02-28", "2028-02-29"], ["2028-02-28"]),
        ("FREQ=MONTHLY;BYDAY=-1FR", ["2026-01-30"], ["2026-01-23"]),
        ("FREQ=YEARLY;BYMONTH=11;BYMONTHDAY=11", ["2026-11-11"], ["2026-12-11"]),
        ("FREQ=DAILY", ["2026-01-01"], []),
    ],
)
def test_a_recurrence_has_its_days_and_no_others(
    recurrence: str, counted: list[str], others: list[str]
) -> None:
    schedule = Schedule(recurrence=Recurrence(recurrence, None))
    assert all(counts(schedule, day) for day in counted)
    assert not any(counts(schedule, day) for day in others)


def test_every_second_friday_is_counted_from_the_first_day() -> None:
    first = date(2026, 1, 2)
    schedule = Schedule(
        from_date=first, recurrence=Recurrence("FREQ=WEEKLY;INTERVAL=2;BYDAY=FR", first)
    )
    days = [day for day in range(1, 32) if counts(schedule, f"2026-01-{day:02}")]
    assert days == [2, 16, 30]


@pytest.mark.parametrize(
    ("recurrence", "first", "days"),
    [
        ("FREQ=WEEKLY", date(2026, 1, 2), ["2026-01-02", "2026-01-09", "2026-01-16"]),
        ("FREQ=MONTHLY", date(2026, 1, 31), ["2026-01-31", "2026-03-31", "2026-05-31"]),
        ("FREQ=YEARLY", date(2024, 2, 29), ["2024-02-29", "2028-02-29", "2032-02-29"]),
        ("FREQ=MONTHLY;INTERVAL=3;BYMONTHDAY=8", date(2025, 11, 1), ["2025-11-08", "2026-02-08"]),
        ("FREQ=DAILY;INTERVAL=10", date(2025, 12, 30), ["2025-12-30", "2026-01-09"]),
        ("FREQ=YEARLY;INTERVAL=4;BYMONTH=6;BYMONTHDAY=11", date(2026, 1, 1), ["2026-06-11"]),
        ("FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=1", date(2026, 1, 1), ["2026-01-05", "2026-02-02"]),
    ],
)
def test_a_recurrence_takes_what_it_does_not_say_from_the_first_day(
    recurrence: str, first: date, days: list[str]
) -> None:
    schedule = Schedule(from_date=first, recurrence=Recurrence(recurrence, first))
    last = date.fromisoformat(days[-1])
    counted = [
        day.isoformat()
        for day in (first + timedelta(days=at) for at in range((last - first).days + 1))
        if counts(schedule, day.isoformat())
    ]
    assert counted == days


_BY = {
    "YEARLY": ["BYMONTH=3,9;BYMONTHDAY=8", "BYDAY=20MO", "BYYEARDAY=366", "BYWEEKNO=53;BYDAY=MO"],
    "MONTHLY": ["BYMONTHDAY=-1,15", "BYDAY=-1FR,2TU", "BYMONTHDAY=13;BYDAY=FR", ""],
    "WEEKLY": ["BYDAY=SA,SU", "BYDAY=MO;WKST=SU", "BYMONTH=12", ""],
    "DAILY": ["BYMONTH=2", "BYDAY=MO,WE", ""],
}


@settings(deadline=None)  # dateutil counts from the first day for itself
@given(
    st.sampled_from([(name, by) for name, all_ in _BY.items() for by in all_]),
    st.integers(1, 13),
    st.dates(date(2019, 1, 1), date(2028, 12, 31)),
)
def test_a_recurrence_has_the_days_that_dateutil_counts_from_its_first(
    kind: tuple[str, str], interval: int, first: date
) -> None:
    text = f"FREQ={kind[0]};INTERVAL={interval};{kind[1]}".rstrip(";")
    end = first + timedelta(days=800)
    rule = rrulestr(text, dtstart=datetime.combine(first, time()))
    expected = {each.date() for each in rule.between(rule_start(first), rule_start(end), inc=True)}
    recurrence = Recurrence(text, first)
    days = [first + timedelta(days=at) for at in range(801)]
    assert {day for day in days if recurrence.has(day)} == expected


def rule_start(day: date) -> datetime:
    return datetime.combine(day, time())


@pytest.mark.parametrize("year", [1, 1583, 1900, 2000, 2026, 2100, 9999])
def test_a_recurrence_is_asked_about_any_year_there_is(year: int) -> None:
    eighth = Recurrence("FREQ=MONTHLY;BYMONTHDAY=8", None)
    found = [month for month in range(1, 13) if eighth.has(date(year, month, 8))]
    assert found == list(range(1, 13))
    assert not eighth.has(date(year, 1, 9))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("every friday", "EVERY FRIDAY is no part of a recurrence; right are for example"),
        ("", "nothing is no part of a recurrence"),
        ("BYDAY=FR", "has no FREQ"),
        ("FREQ=HOURLY", "FREQ is one of YEARLY, MONTHLY, WEEKLY, DAILY"),
        ("FREQ=WEEKLY;BYDAY=XX", "BYDAY=XX is no weekday; write it as FR, 1MO or -1SU"),
        ("FREQ=WEEKLY;BYDAY=2FR", "BYDAY=2FR has a number, which only MONTHLY and YEARLY count"),
        ("FREQ=MONTHLY;BYDAY=99FR", "BYDAY=99FR has a number above 5"),
        ("FREQ=MONTHLY;BYMONTHDAY=40", "BYMONTHDAY=40 is no number from -31 to 31 but 0"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY=0 is no number"),
        ("FREQ=MONTHLY;BYMONTHDAY=8;BYMONTHDAY=9", "write the values as BYMONTHDAY=1,2"),
        ("FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30", "never comes"),
        ("FREQ=DAILY;BYHOUR=12", "has no BYHOUR: time_from and time_until are the hours"),
        ("FREQ=DAILY;UNTIL=20260101", "has no UNTIL: until_date says when it ends"),
        ("FREQ=WEEKLY;BYDAY=FR;COUNT=3", "has no COUNT: until_date says when it ends"),
        ("FREQ=DAILY\nRRULE:FREQ=DAILY", "FREQ is one of"),
        ("FREQ=DAILY;RRULE=1", "RRULE is no part of a recurrence"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL=0 is no number from 1 to 400"),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=FR", "INTERVAL=2 needs a from_date"),
        ("FREQ=WEEKLY", "FREQ=WEEKLY needs a from_date"),
        ("FREQ=YEARLY;BYMONTH=2", "needs a from_date"),
    ],
)
def test_a_recurrence_that_means_nothing_says_what_would_be_right(text: str, words: str) -> None:
    with pytest.raises(WrongRecurrence) as refused:
        Recurrence(text, None)
    assert words in str(refused.value)


def test_first_and_last_day_of_a_festival_are_included() -> None:
    festival = Schedule(from_date=date(2026, 2, 17), until_date=date(2026, 2, 19))
    moments = ("2026-02-16T23:59", "2026-02-17T00:00", "2026-02-19T23:59", "2026-02-20T00:00")
    assert [counts(festival, each) for each in moments] == [False, True, True, False]


def test_hours_begin_at_the_first_moment_and_end_before_the_last() -> None:
    evening = Schedule(time_from=time(18), time_until=time(22))
    moments = ("17:59", "18:00", "21:59", "22:00")
    assert [counts(evening, f"2026-01-09T{each}") for each in moments] == [
        *(False, True),
        *(True, False),
    ]
    until_midnight = Schedule(time_from=time(18))
    assert [counts(until_midnight, f"2026-01-09T{each}") for each in ("00:00", "23:59")] == [
        False,
        True,
    ]


def test_a_friday_night_goes_on_past_midnight_and_is_friday_still() -> None:
    night = Schedule(
        recurrence=Recurrence("FREQ=WEEKLY;BYDAY=FR", None), time_from=time(22), time_until=time(2)
    )
    assert counts(night, "2026-01-09T23:00"), "Friday"
    assert counts(night, "2026-01-10T01:59"), "Saturday by the calendar"
    assert not counts(night, "2026-01-09T01:00"), "Thursday's night"
    assert not counts(night, "2026-01-10T02:00")
    assert not counts(night, "2026-01-10T23:00")


@pytest.mark.parametrize(
    ("zone", "first", "last"),
    [
        # The day of 23 hours and the day of 25 hours, as instants of UTC: first and after the last.
        (LONDON, "2026-03-29T00:00", "2026-03-29T23:00"),
        (LONDON, "2026-10-24T23:00", "2026-10-26T00:00"),
        (NEW_YORK, "2026-03-08T05:00", "2026-03-09T04:00"),
        (NEW_YORK, "2026-11-01T04:00", "2026-11-02T05:00"),
        (LORD_HOWE, "2026-10-03T13:30", "2026-10-04T13:00"),
        (LORD_HOWE, "2026-04-04T13:00", "2026-04-05T13:30"),
        (SHANGHAI, "2026-03-28T16:00", "2026-03-29T16:00"),
    ],
)
def test_a_day_counts_whole_whether_it_has_23_24_or_25_hours(
    zone: ZoneInfo, first: str, last: str
) -> None:
    day = datetime.fromisoformat(first).replace(tzinfo=UTC).astimezone(zone).date()
    schedule = Schedule(from_date=day, until_date=day)
    begin = datetime.fromisoformat(first).replace(tzinfo=UTC)
    end = datetime.fromisoformat(last).replace(tzinfo=UTC)
    counted = [
        counts_at(schedule, stamp, zone)
        for stamp in (
            (begin.replace(microsecond=0)).isoformat()[:19],
            datetime.fromtimestamp(begin.timestamp() - 1, UTC).isoformat()[:19],
            datetime.fromtimestamp(end.timestamp() - 1, UTC).isoformat()[:19],
            end.isoformat()[:19],
        )
    ]
    assert counted == [True, False, True, False]


def test_an_hour_that_comes_twice_counts_twice() -> None:
    hour = Schedule(time_from=time(1), time_until=time(2))
    instants = [f"2026-10-25T{hour:02}:30" for hour in range(3)]
    assert [counts_at(hour, each, LONDON) for each in instants] == [True, True, False]


@pytest.mark.parametrize(
    ("zone", "begin", "end", "instants"),
    [
        # Forward: 02:30 is never shown; the hour before and after it are.
        (NEW_YORK, time(2), time(3), {"2026-03-08T06:59": False, "2026-03-08T07:00": False}),
        (NEW_YORK, time(1), time(4), {"2026-03-08T06:59": True, "2026-03-08T07:00": True}),
        # Back: 01:30 is shown twice.
        (NEW_YORK, time(1), time(2), {"2026-11-01T05:30": True, "2026-11-01T06:30": True}),
        (LONDON, time(1), time(2), {"2026-03-29T00:59": False, "2026-03-29T01:00": False}),
        # By half an hour: 02:00 to 02:30 is skipped, 01:30 to 02:00 comes twice.
        (LORD_HOWE, time(2), time(2, 30), {"2026-10-03T15:29": False, "2026-10-03T15:30": False}),
        (LORD_HOWE, time(2, 30), time(3), {"2026-10-03T15:30": True, "2026-10-03T15:59": True}),
        (LORD_HOWE, time(1, 30), time(2), {"2026-04-04T14:45": True, "2026-04-04T15:15": True}),
        (LORD_HOWE, time(1, 30), time(2), {"2026-04-04T15:30": False}),
        # Never changed.
        (SHANGHAI, time(2), time(3), {"2026-03-28T18:30": True, "2026-10-24T18:30": True}),
    ],
)
def test_hours_are_those_that_the_wall_clock_shows_when_the_clocks_change(
    zone: ZoneInfo, begin: time, end: time, instants: dict[str, bool]
) -> None:
    hours = Schedule(time_from=begin, time_until=end)
    assert {each: counts_at(hours, each, zone) for each in instants} == instants


@pytest.mark.parametrize("zone", [LONDON, NEW_YORK, LORD_HOWE, SHANGHAI])
def test_a_night_over_the_clock_change_belongs_to_the_day_on_which_it_began(
    zone: ZoneInfo,
) -> None:
    saturdays = Schedule(
        recurrence=Recurrence("FREQ=WEEKLY;BYDAY=SA", None), time_from=time(22), time_until=time(4)
    )
    for saturday in (date(2026, 3, 7), date(2026, 3, 28), date(2026, 4, 4), date(2026, 10, 3)):
        begin = datetime.combine(saturday, time(22), zone).timestamp()
        end = datetime.combine(saturday + timedelta(days=1), time(4), zone).timestamp()
        for stamp, is_in in ((begin - 1, False), (begin, True), (end - 1, True), (end, False)):
            local = datetime.fromtimestamp(stamp, UTC).astimezone(zone)
            assert (not saturdays.why_not(local)) is is_in, local


def test_the_ends_of_time_are_local_somehow() -> None:
    for instant in (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, tzinfo=UTC)):
        for zone in (NEW_YORK, SHANGHAI):
            assert local_time(instant, zone).year in {1, 9999}


BORN_ON_A_LEAP_DAY = date(2000, 2, 29)
ENROLLED = datetime(2025, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("today", "days_before", "days_after", "is_in"),
    [
        (date(2026, 2, 28), 0, 0, True),
        (date(2026, 3, 1), 0, 0, False),
        (date(2028, 2, 29), 0, 0, True),
        (date(2028, 2, 28), 0, 0, False),
        (date(2026, 2, 25), 3, 0, True),
        (date(2026, 2, 24), 3, 0, False),
        (date(2026, 3, 3), 0, 3, True),
        (date(2026, 3, 4), 0, 3, False),
    ],
)
def test_a_birthday_of_29_february_is_kept_on_the_last_of_february(
    today: date, days_before: int, days_after: int, *, is_in: bool
) -> None:
    birthday = Occasion(kind=OccasionKind.BIRTHDAY, days_before=days_before, days_after=days_after)
    why = birthday.why_not(today, BORN_ON_A_LEAP_DAY, ENROLLED, LONDON)
    assert why == ("" if is_in else NOT_THE_DAY.format("birthday"))


def test_a_window_reaches_over_new_year() -> None:
    birthday = Occasion(kind=OccasionKind.BIRTHDAY, days_before=7, days_after=7)
    assert not birthday.why_not(date(2026, 12, 28), date(1990, 1, 2), ENROLLED, LONDON)
    assert not birthday.why_not(date(2026, 1, 5), date(1990, 12, 30), ENROLLED, LONDON)


def test_an_unknown_birthday_is_no_birthday() -> None:
    birthday = Occasion(kind=OccasionKind.BIRTHDAY)
    assert birthday.why_not(date(2026, 1, 1), None, ENROLLED, LONDON) == NO_BIRTHDAY


def test_the_anniversary_of_enrolment_begins_with_the_first_year() -> None:
    anniversary = Occasion(kind=OccasionKind.ANNIVERSARY)
    days = (date(2025, 3, 1), date(2026, 3, 1), date(2026, 3, 2))
    assert [not anniversary.why_not(day, None, ENROLLED, LONDON) for day in days] == [
        False,
        True,
        False,
    ]
    late = datetime(2025, 2, 28, 23, tzinfo=UTC)
    assert not anniversary.why_not(date(2026, 3, 1), None, late, SHANGHAI), "March in Shanghai"


@pytest.mark.parametrize(
    ("period", "day", "key"),
    [
        (Period.DAY, date(2026, 1, 5), "2026-01-05"),
        (Period.WEEK, date(2026, 1, 1), "2026-W01"),
        (Period.WEEK, date(2027, 1, 1), "2026-W53"),
        (Period.MONTH, date(2026, 1, 31), "2026-01"),
        (Period.YEAR, date(2026, 12, 31), "2026"),
        (Period.LIFETIME, date(2026, 1, 1), "all"),
    ],
)
def test_a_period_has_a_name(period: Period, day: date, key: str) -> None:
    assert period_key(period, day) == key
