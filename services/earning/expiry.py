"""When points of a currency become available, when they end, and when members are told.

A policy is asked once, when points are made, and its answer is kept with the lot: a policy that
changes later never dates again what is there.
Calendars are the program's: a lot whose last usable day is D ends when D + 1 begins in its zone,
however long that day is. A day that a month does not have is the month's last.
"""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias
from zoneinfo import ZoneInfo

from services.earning.domain import CurrencyId
from shared.values import value

_MONTHS = 12
REMINDER_DAYS = (30, 7)
"""How many days ahead of the end members are told, unless the policy says otherwise."""


class Period(StrEnum):
    """A period of the calendar."""

    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


_LENGTHS = {Period.MONTH: 1, Period.QUARTER: 3, Period.YEAR: 12}


@value
class AfterDays:
    """The last usable day is that many days after the day on which points became available."""

    days: int


@value
class AfterMonths:
    """The last usable day is the same day of the month, that many months later."""

    months: int


@value
class EndOfPeriod:
    """The last usable day is the last of the period, or of one so many `further` ones later."""

    period: Period
    further: int = 0


@value
class Sliding:
    """All points of a wallet end together, so many months after its last earn or spend."""

    months: int


@value
class FixedDates:
    """The last usable day is the next of these days of the year, pairs of month and day."""

    dates: tuple[tuple[int, int], ...]


Expiry: TypeAlias = AfterDays | AfterMonths | EndOfPeriod | Sliding | FixedDates


@value
class PendingFor:
    """Points of activities become available after a while."""

    duration: timedelta


@value
class UntilConfirmed:
    """Points of activities become available when the activity is confirmed."""


Pending: TypeAlias = PendingFor | UntilConfirmed


@value
class CurrencyPolicy:
    """How points of one currency live; without `pending` and `expiry` they do so at once, for ever.

    `reminder_days` is how many days ahead of the end members are told, empty for not at all.
    `grace_days` is how many days points live that come back to a lot which has ended; with 0 they
    end at once.
    """

    currency_id: CurrencyId
    zone: ZoneInfo
    spendable: bool = True
    pending: Pending | None = None
    expiry: Expiry | None = None
    reminder_days: tuple[int, ...] = REMINDER_DAYS
    grace_days: int = 0


UTC_ZONE = ZoneInfo("UTC")


@lru_cache
def plain(currency_id: CurrencyId) -> CurrencyPolicy:
    """The policy of points that are available at once and never end."""
    return CurrencyPolicy(currency_id=currency_id, zone=UTC_ZONE, reminder_days=())


def expire_time(expiry: Expiry, available_time: datetime, zone: ZoneInfo) -> datetime:
    """Instant at which points end that become available at `available_time`.

    For `Sliding` it is the end that an earn or a spend at that instant brings.
    """
    first = available_time.astimezone(zone).date()
    match expiry:
        case AfterDays(days=days):
            last = first + timedelta(days=days)
        case AfterMonths(months=months) | Sliding(months=months):
            last = months_later(first, months)
        case EndOfPeriod(period=period, further=further):
            last = _end_of_period(first, period, further)
        case FixedDates(dates=dates):
            last = _next_of(first, dates)
    return day_end(last, zone)


def grace_time(now: datetime, policy: CurrencyPolicy) -> datetime:
    """Instant at which points end that came back to a lot which had ended."""
    last = now.astimezone(policy.zone).date() + timedelta(days=policy.grace_days)
    return day_end(last, policy.zone)


def reminder_time(end: datetime, days: int, zone: ZoneInfo) -> datetime:
    """Instant that is `days` days of the calendar ahead of `end`, at the same time of day."""
    local = end.astimezone(zone)
    return (local - timedelta(days=days)).astimezone(UTC)


def day_end(last: date, zone: ZoneInfo) -> datetime:
    """Instant at which the day after `last` begins; where there is no midnight, when it would."""
    following = last + timedelta(days=1)
    midnight = datetime(following.year, following.month, following.day, tzinfo=zone)
    return midnight.astimezone(UTC)


def months_later(day: date, months: int) -> date:
    """The same day of the month, or the last of a month that is too short for it."""
    year, month = divmod(day.year * _MONTHS + day.month - 1 + months, _MONTHS)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _end_of_period(day: date, period: Period, further: int) -> date:
    length = _LENGTHS[period]
    begins = day.replace(month=(day.month - 1) // length * length + 1, day=1)
    return months_later(begins, length * (further + 1)) - timedelta(days=1)


def _next_of(day: date, dates: tuple[tuple[int, int], ...]) -> date:
    return min(
        last
        for year in (day.year, day.year + 1)
        for month, number in dates
        if (last := day_of(year, month, number)) >= day
    )


def day_of(year: int, month: int, day: int) -> date:
    """A day of a year; one that the month does not have is the month's last."""
    return date(year, month, min(day, monthrange(year, month)[1]))
