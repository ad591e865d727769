"""When points end, as a marketer would put it in a table."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.earning.expiry import (
    AfterDays,
    AfterMonths,
    EndOfPeriod,
    Expiry,
    FixedDates,
    Period,
    Sliding,
    expire_time,
    reminder_time,
)

ZONES = ("Europe/London", "Asia/Shanghai", "America/New_York", "America/Sao_Paulo", "Asia/Beirut")
SPRING_AND_AUTUMN = FixedDates(dates=((3, 31), (9, 30)))


def local(text: str, zone: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def stop(expiry: Expiry, available: str, zone: str = "Europe/London") -> str:
    """The local instant at which points stop that became available at a local instant."""
    ends = expire_time(expiry, local(available, zone).astimezone(UTC), ZoneInfo(zone))
    return ends.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("expiry", "available", "stops"),
    [
        # The last usable day of six months after 31 August is the last of February.
        (AfterMonths(months=6), "2025-08-31 10:00", "2026-03-01 00:00"),
        (AfterMonths(months=6), "2027-08-31 10:00", "2028-03-01 00:00"),
        (AfterMonths(months=1), "2026-01-31 23:59", "2026-03-01 00:00"),
        (AfterMonths(months=1), "2026-01-28 00:00", "2026-03-01 00:00"),
        (AfterMonths(months=1), "2026-01-27 00:00", "2026-02-28 00:00"),
        (AfterMonths(months=12), "2024-02-29 12:00", "2025-03-01 00:00"),
        (AfterMonths(months=18), "2025-06-15 12:00", "2026-12-16 00:00"),
        (AfterDays(days=0), "2025-06-01 12:00", "2025-06-02 00:00"),
        (AfterDays(days=30), "2025-06-01 00:00", "2025-07-02 00:00"),
        (AfterDays(days=30), "2025-06-01 23:59", "2025-07-02 00:00"),
        (AfterDays(days=365), "2024-02-29 12:00", "2025-03-01 00:00"),
        (EndOfPeriod(period=Period.MONTH), "2025-02-01 00:00", "2025-03-01 00:00"),
        (EndOfPeriod(period=Period.MONTH), "2025-12-31 23:59", "2026-01-01 00:00"),
        (EndOfPeriod(period=Period.MONTH, further=2), "2025-11-30 12:00", "2026-02-01 00:00"),
        (EndOfPeriod(period=Period.QUARTER), "2025-01-01 00:00", "2025-04-01 00:00"),
        (EndOfPeriod(period=Period.QUARTER), "2025-11-11 11:11", "2026-01-01 00:00"),
        (EndOfPeriod(period=Period.QUARTER, further=1), "2025-12-31 12:00", "2026-04-01 00:00"),
        (EndOfPeriod(period=Period.YEAR), "2025-01-01 00:00", "2026-01-01 00:00"),
        (EndOfPeriod(period=Period.YEAR, further=1), "2025-07-01 00:00", "2027-01-01 00:00"),
        (Sliding(months=12), "2025-06-01 12:00", "2026-06-02 00:00"),
        (Sliding(months=6), "2025-08-31 10:00", "2026-03-01 00:00"),
        (SPRING_AND_AUTUMN, "2025-03-31 23:59", "2025-04-01 00:00"),
        (SPRING_AND_AUTUMN, "2025-04-01 00:00", "2025-10-01 00:00"),
        (SPRING_AND_AUTUMN, "2025-10-01 00:00", "2026-04-01 00:00"),
        (FixedDates(dates=((2, 29),)), "2025-01-01 12:00", "2025-03-01 00:00"),
        (FixedDates(dates=((2, 29),)), "2027-03-01 12:00", "2028-03-01 00:00"),
    ],
)
def test_points_stop_when_the_day_after_their_last_usable_day_begins(
    expiry: Expiry, available: str, stops: str
) -> None:
    assert stop(expiry, available) == stops


@pytest.mark.parametrize(
    ("zone", "available", "stops", "hours"),
    [
        ("Europe/London", "2025-03-29 12:00", "2025-03-31 00:00", 35),
        ("Europe/London", "2025-10-25 12:00", "2025-10-27 00:00", 37),
        ("America/New_York", "2025-03-08 12:00", "2025-03-10 00:00", 35),
        ("America/New_York", "2025-11-01 12:00", "2025-11-03 00:00", 37),
        # Where the clock leaves midnight out, the day begins at 01:00.
        ("Asia/Beirut", "2025-03-28 12:00", "2025-03-30 01:00", 36),
        ("Asia/Beirut", "2025-10-24 12:00", "2025-10-26 00:00", 37),
        ("America/Sao_Paulo", "2018-11-02 12:00", "2018-11-04 01:00", 36),
        ("Asia/Shanghai", "2025-03-29 12:00", "2025-03-31 00:00", 36),
    ],
)
def test_a_day_may_have_23_or_25_hours(zone: str, available: str, stops: str, hours: int) -> None:
    begins = local(available, zone).astimezone(UTC)
    ends = expire_time(AfterDays(days=1), begins, ZoneInfo(zone))
    assert stop(AfterDays(days=1), available, zone) == stops
    assert ends - begins == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("zone", "stops"),
    [
        ("Asia/Shanghai", "2025-07-31T16:00:00+00:00"),
        ("Europe/London", "2025-06-30T23:00:00+00:00"),
        ("America/New_York", "2025-07-01T04:00:00+00:00"),
    ],
)
def test_the_month_is_that_of_the_program_s_zone(zone: str, stops: str) -> None:
    available = datetime.fromisoformat("2025-06-30T20:00:00+00:00")
    ends = expire_time(EndOfPeriod(period=Period.MONTH), available, ZoneInfo(zone))
    assert ends == datetime.fromisoformat(stops)


@pytest.mark.parametrize(
    ("end", "days", "zone", "told"),
    [
        ("2026-01-01 00:00", 30, "Europe/London", "2025-12-02 00:00"),
        ("2026-01-01 00:00", 7, "Europe/London", "2025-12-25 00:00"),
        # The clock changes between: it is still the same time of day.
        ("2025-04-02 00:00", 7, "Europe/London", "2025-03-26 00:00"),
        ("2025-11-05 00:00", 7, "America/New_York", "2025-10-29 00:00"),
    ],
)
def test_members_are_told_so_many_days_ahead(end: str, days: int, zone: str, told: str) -> None:
    assert reminder_time(local(end, zone), days, ZoneInfo(zone)) == local(told, zone)


EXPIRIES = st.one_of(
    st.builds(AfterDays, days=st.integers(0, 4_000)),
    st.builds(AfterMonths, months=st.integers(1, 120)),
    st.builds(EndOfPeriod, period=st.sampled_from(list(Period)), further=st.integers(0, 8)),
    st.builds(Sliding, months=st.integers(1, 120)),
    st.builds(
        FixedDates,
        dates=st.lists(
            st.tuples(st.integers(1, 12), st.integers(1, 31)), min_size=1, max_size=4
        ).map(tuple),
    ),
)
INSTANTS = st.integers(0, 60 * 365 * 24 * 60).map(
    lambda minutes: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


@given(expiry=EXPIRIES, available=INSTANTS, zone=st.sampled_from(ZONES))
def test_points_can_always_be_used_on_the_day_they_come_and_end_with_a_day(
    expiry: Expiry, available: datetime, zone: str
) -> None:
    where = ZoneInfo(zone)
    ends = expire_time(expiry, available, where)
    assert ends > available
    before = (ends - timedelta(microseconds=1)).astimezone(where)
    assert ends.astimezone(where).date() == before.date() + timedelta(days=1)


@given(expiry=EXPIRIES, first=INSTANTS, second=INSTANTS, zone=st.sampled_from(ZONES))
def test_what_came_later_never_ends_earlier(
    expiry: Expiry, first: datetime, second: datetime, zone: str
) -> None:
    earlier, later = sorted((first, second))
    where = ZoneInfo(zone)
    assert expire_time(expiry, earlier, where) <= expire_time(expiry, later, where)
