"""When points end, against somebody who counts days on a wall calendar and looks at a clock.

The counting shares no arithmetic with the service: it turns one page of the calendar after another,
and finds the end of a day by looking at the zone's clock every quarter of an hour.
"""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.earning.domain import CurrencyId
from services.earning.expiry import (
    AfterDays,
    AfterMonths,
    CurrencyPolicy,
    EndOfPeriod,
    Expiry,
    FixedDates,
    Period,
    Sliding,
    expire_time,
    grace_time,
    reminder_time,
)

ZONES = (
    "Europe/London",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour of summer, in January
    "Asia/Beirut",  # the clocks change at midnight: a day of the year has none
    "America/Havana",  # and there one has two
)
LOOK = timedelta(minutes=15)
DAY = timedelta(days=1)
FIRST_MONTHS = {Period.MONTH: range(1, 13), Period.QUARTER: (1, 4, 7, 10), Period.YEAR: (1,)}


def is_last_of_month(day: date) -> bool:
    return (day + DAY).day == 1


def counted(expiry: Expiry, first: date) -> date:
    """The last usable day, found by turning pages."""
    day, left = first, 0
    match expiry:
        case AfterDays(days=days):
            for _ in range(days):
                day += DAY
        case AfterMonths(months=left) | Sliding(months=left):
            while left:
                day += DAY
                left -= day.day == 1
            while day.day != first.day and not is_last_of_month(day):
                day += DAY
        case EndOfPeriod(period=period, further=left):
            while True:
                following = day + DAY
                if following.day == 1 and following.month in FIRST_MONTHS[period]:
                    if not left:
                        break
                    left -= 1
                day = following
        case FixedDates(dates=dates):
            while not any(is_day(day, month, number) for month, number in dates):
                day += DAY
    return day


def is_day(day: date, month: int, number: int) -> bool:
    """Whether a day of the calendar is what a file calls it; 30 February is the month's last."""
    return day.month == month and (
        day.day == number or (day.day < number and is_last_of_month(day))
    )


def end_by_the_clock(last: date, zone: ZoneInfo) -> datetime:
    """The first quarter of an hour at which the zone's clock shows a later day."""
    instant = datetime(last.year, last.month, last.day, tzinfo=UTC) - DAY
    while instant.astimezone(zone).date() <= last:
        instant += LOOK
    return instant


def changes(zone: ZoneInfo, year: int) -> list[datetime]:
    """The hours of a year in which the clocks change."""
    hours = (datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=each) for each in range(8_760))
    return [
        hour
        for hour in hours
        if hour.astimezone(zone).utcoffset()
        != (hour + timedelta(hours=1)).astimezone(zone).utcoffset()
    ]


CHANGES = {(zone, year): changes(ZoneInfo(zone), year) for zone in ZONES for year in (2025, 2027)}
EXPIRIES: st.SearchStrategy[Expiry] = st.one_of(
    st.builds(AfterDays, days=st.integers(0, 400)),
    st.builds(AfterMonths, months=st.integers(1, 30)),
    st.builds(Sliding, months=st.integers(1, 30)),
    st.builds(EndOfPeriod, period=st.sampled_from(list(Period)), further=st.integers(0, 3)),
    st.builds(
        FixedDates,
        dates=st.lists(
            st.tuples(st.integers(1, 12), st.integers(1, 31)), min_size=1, max_size=3
        ).map(tuple),
    ),
)


@st.composite
def places(draw: st.DrawFn) -> tuple[datetime, ZoneInfo]:
    """An instant and a zone: often near a change of the clocks, or at the end of a month."""
    name = draw(st.sampled_from(ZONES))
    zone = ZoneInfo(name)
    year = draw(st.sampled_from((2025, 2027)))
    near = [
        *CHANGES[name, year],
        *(datetime(year, month, 1, tzinfo=UTC) for month in range(1, 13)),
    ]
    return draw(st.sampled_from(near)) + draw(st.integers(-200, 200)) * LOOK, zone


def test_the_clocks_of_each_zone_change_twice_a_year() -> None:
    """The stories below would say little if they did not."""
    assert {len(found) for found in CHANGES.values()} == {2}


@settings(max_examples=300, deadline=None)
@given(expiry=EXPIRIES, place=places())
@example(AfterMonths(months=6), (datetime(2025, 8, 31, 12, tzinfo=UTC), ZoneInfo("Asia/Beirut")))
@example(AfterMonths(months=6), (datetime(2027, 8, 31, 12, tzinfo=UTC), ZoneInfo("Asia/Beirut")))
@example(Sliding(months=12), (datetime(2024, 2, 29, 12, tzinfo=UTC), ZoneInfo("Europe/London")))
def test_points_end_when_somebody_who_counts_days_says_so(
    expiry: Expiry, place: tuple[datetime, ZoneInfo]
) -> None:
    available, zone = place
    last = counted(expiry, available.astimezone(zone).date())
    assert expire_time(expiry, available, zone) == end_by_the_clock(last, zone)


@settings(max_examples=200, deadline=None)
@given(first=st.dates(date(2024, 1, 1), date(2028, 1, 1)), months=st.integers(1, 36))
def test_months_are_counted_from_the_first_day_and_a_short_one_between_shortens_nothing(
    first: date, months: int
) -> None:
    """Six months after 31 August is the last of February, and seven months after it 31 March."""
    zone = ZoneInfo("Europe/London")
    available = datetime(first.year, first.month, first.day, 12, tzinfo=zone).astimezone(UTC)
    ends = expire_time(AfterMonths(months=months), available, zone)
    last = ends.astimezone(zone).date() - DAY
    assert last.day == first.day or (last.day < first.day and is_last_of_month(last))
    turned = (last.year - first.year) * 12 + last.month - first.month
    assert turned == months


@settings(max_examples=100, deadline=None)
@given(
    place=places(),
    period=st.sampled_from(list(Period)),
    further=st.integers(0, 4),
)
def test_a_further_period_ends_where_the_one_after_it_ends(
    place: tuple[datetime, ZoneInfo], period: Period, further: int
) -> None:
    """What comes on the first instant of the next period needs one further period less."""
    available, zone = place
    ends = expire_time(EndOfPeriod(period=period, further=0), available, zone)
    for more in range(further, 0, -1):
        assert expire_time(EndOfPeriod(period=period, further=more), available, zone) == (
            expire_time(EndOfPeriod(period=period, further=more - 1), ends, zone)
        )


@settings(max_examples=100, deadline=None)
@given(place=places(), days=st.integers(0, 60))
def test_grace_ends_with_its_last_day_by_the_clock_too(
    place: tuple[datetime, ZoneInfo], days: int
) -> None:
    now, zone = place
    policy = CurrencyPolicy(currency_id=CurrencyId("points"), zone=zone, grace_days=days)
    last = counted(AfterDays(days=days), now.astimezone(zone).date())
    assert grace_time(now, policy) == end_by_the_clock(last, zone)


@settings(max_examples=100, deadline=None)
@given(place=places(), days=st.integers(1, 60))
def test_members_are_told_on_the_day_so_many_pages_before_the_end(
    place: tuple[datetime, ZoneInfo], days: int
) -> None:
    available, zone = place
    last = available.astimezone(zone).date()
    end = end_by_the_clock(last, zone)
    told = reminder_time(end, days, zone).astimezone(zone).date()
    for _ in range(days):
        told += DAY
    assert told == last + DAY


@pytest.mark.parametrize("zone", ZONES)
def test_a_year_of_days_has_one_end_each_in_order(zone: str) -> None:
    """No day is left out and none ends twice, in the years' two clock changes as well."""
    where = ZoneInfo(zone)
    noon = datetime(2025, 1, 1, 12, tzinfo=where)
    ends = [
        expire_time(AfterDays(days=0), (noon + timedelta(days=each)).astimezone(UTC), where)
        for each in range(366)
    ]
    hours = {(later - earlier) / timedelta(hours=1) for earlier, later in pairwise(ends)}
    half = zone == "Australia/Lord_Howe"
    assert hours == ({23.5, 24.0, 24.5} if half else {23.0, 24.0, 25.0})
