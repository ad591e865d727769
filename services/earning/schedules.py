"""When a rule counts: days, recurrences, hours, and days of the member's own.

Calendars are asked at the activity's `occurred_time`, in the program's zone, by the clock on the
wall there: an hour that comes twice counts twice, one that is skipped does not come.
"""

import re
from calendar import isleap
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from dateutil.rrule import DAILY, MONTHLY, WEEKLY, YEARLY, rrulestr

from services.earning.expiry import day_of, months_later
from shared.values import value

_DAY = timedelta(days=1)
_FREQUENCIES = {"YEARLY": YEARLY, "MONTHLY": MONTHLY, "WEEKLY": WEEKLY, "DAILY": DAILY}
_NUMBERS = {
    "INTERVAL": (1, 400),
    "BYMONTH": (1, 12),
    "BYMONTHDAY": (-31, 31),
    "BYYEARDAY": (-366, 366),
    "BYWEEKNO": (-53, 53),
    "BYSETPOS": (-366, 366),
}
"""The parts of a recurrence whose values are numbers, with the least and the most; none is 0."""
_INSTEAD = {
    "COUNT": "until_date says when it ends",
    "UNTIL": "until_date says when it ends",
    "DTSTART": "from_date says when it begins",
    "BYHOUR": "time_from and time_until are the hours",
    "BYMINUTE": "time_from and time_until are the hours",
    "BYSECOND": "time_from and time_until are the hours",
}
_BY_DAY = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_EXAMPLES = "right are for example FREQ=MONTHLY;BYMONTHDAY=8 and FREQ=WEEKLY;BYDAY=FR"
_MONTHS = 12
_YEARS_REMEMBERED = 64
_LATE_YEARS = range(9_971, 9_999)
"""A whole cycle of calendars; the year after it is there for searches that go on."""

NOT_YET = "the rule counts from {0} on"
NO_LONGER = "the rule counted until {0}"
NOT_TODAY = "the rule does not count on {0}"
NOT_NOW = "the rule counts from {0} to {1}, not at {2}"
NO_BIRTHDAY = "the member's birthday is not known"
NOT_THE_DAY = "it is not around the member's {0}"


class Period(StrEnum):
    """A period over which points are counted; the text is what the database holds."""

    ACTIVITY = "activity"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"
    LIFETIME = "lifetime"


class OccasionKind(StrEnum):
    """A day of the member's own."""

    BIRTHDAY = "birthday"
    ANNIVERSARY = "anniversary of enrolment"


class WrongRecurrence(ValueError):
    """A recurrence means nothing; says what would be right."""


@lru_cache(maxsize=4_096)
def period_key(period: Period, day: date) -> str:
    """Name of the period that a day is in: "2026-01-15", "2026-W03", "2026-01", "2026", "all"."""
    match period:
        case Period.DAY:
            return day.isoformat()
        case Period.WEEK:
            year, week, _ = day.isocalendar()
            return f"{year}-W{week:02}"
        case Period.MONTH:
            return f"{day.year:04}-{day.month:02}"
        case Period.YEAR:
            return f"{day.year:04}"
        case _:
            return "all"


def local_time(instant: datetime, zone: ZoneInfo) -> datetime:
    """What the clock on the wall shows at an instant; at the ends of time, what UTC's does."""
    try:
        return instant.astimezone(zone)
    except OverflowError:
        return instant


class Recurrence:
    """Days that come again: the part of an RFC 5545 RRULE that is about days.

    A recurrence without what its frequency counts by (a weekday, a day of the month) has that of
    its first day, from which an INTERVAL counts as well.
    The days of a year are found at once and remembered.
    """

    def __init__(self, text: str, first: date | None) -> None:
        """Raises WrongRecurrence."""
        self.text = text
        self._first = first
        self._parts = _parts(text)
        self._name = self._parts.pop("FREQ")
        self._frequency = _FREQUENCIES[self._name]
        self._interval = int(self._parts.pop("INTERVAL", "1"))
        self._week_start = _WEEKDAYS.index(self._parts.get("WKST", "MO"))
        self._complete()
        self._years: dict[int, frozenset[date]] = {}
        if (
            next(self._from(_midnight(date(_LATE_YEARS[0], 1, 1)), 1, _LATE_YEARS[-1]), None)
            is None
        ):
            raise WrongRecurrence(f"never comes; {_EXAMPLES}")

    def has(self, day: date) -> bool:
        """Whether the recurrence has a day; none before its first."""
        if self._first is not None and day < self._first:
            return False
        known = self._years.get(day.year)
        if known is None:
            if len(self._years) >= _YEARS_REMEMBERED:
                self._years.clear()
            known = self._years[day.year] = self._days(day.year)
        return day in known

    def _complete(self) -> None:
        """Add what is not written and follows from the first day."""
        by = {name for name in self._parts if name.startswith("BY") and name != "BYSETPOS"}
        missing = {
            YEARLY: not by - {"BYMONTH"},
            MONTHLY: not by - {"BYMONTH"},
            WEEKLY: not by - {"BYMONTH"},
            DAILY: False,
        }[self._frequency]
        if not missing and self._interval == 1:
            return
        if self._first is None:
            what = f"INTERVAL={self._interval}" if self._interval > 1 else self.text
            raise WrongRecurrence(f"{what} needs a from_date to count from")
        if not missing:
            return
        if self._frequency == WEEKLY:
            self._parts["BYDAY"] = _WEEKDAYS[self._first.weekday()]
        else:
            self._parts["BYMONTHDAY"] = str(self._first.day)
        if self._frequency == YEARLY:
            self._parts.setdefault("BYMONTH", str(self._first.month))

    def _days(self, year: int) -> frozenset[date]:
        """The days of a year.

        They are looked for in a late year with the same calendar: where the search finds nothing,
        it goes on to the end of the calendar, which must not be far.
        """
        begin, interval = date(year, 1, 1), self._interval
        like = _midnight(date(_like(year), 1, 1))
        first = self._first or begin
        start = like
        if self._frequency == YEARLY:
            if (year - first.year) % interval:
                return frozenset()
            interval = 1
        elif self._frequency == MONTHLY:
            months = (_MONTHS * (year - first.year) + 1 - first.month) % interval
            start = _midnight(months_later(like.date(), -months))
        elif self._frequency == WEEKLY:
            since = (begin - first).days + (first.weekday() - self._week_start) % 7
            start -= _DAY * (since % (7 * interval))
        else:
            start -= _DAY * ((begin - first).days % interval)
        shift = begin - like.date()
        return frozenset(
            [each.date() + shift for each in self._from(start, interval, like.year) if each >= like]
        )

    def _from(self, start: datetime, interval: int, last_year: int) -> Iterator[datetime]:
        """The days from a late one on, to the end of a year."""
        parts = {"FREQ": self._name, "INTERVAL": str(interval), **self._parts}
        text = ";".join([f"{name}={values}" for name, values in parts.items()])
        try:
            for each in rrulestr(text, dtstart=start):
                if each.year > last_year:
                    return
                yield each
        except ValueError:  # the search ran over the end of the calendar
            return


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time())


def _parts(text: str) -> dict[str, str]:
    """The parts of a recurrence by name, FREQ among them. Raises WrongRecurrence."""
    parts: dict[str, str] = {}
    for part in text.strip().upper().removeprefix("RRULE:").rstrip(";").split(";"):
        name, _, values = part.partition("=")
        if name in _INSTEAD:
            raise WrongRecurrence(f"has no {name}: {_INSTEAD[name]}")
        if name in parts:
            raise WrongRecurrence(f"has {name} twice; write the values as {name}=1,2")
        _check_part(name, values)
        parts[name] = values
    if "FREQ" not in parts:
        raise WrongRecurrence(f"has no FREQ; {_EXAMPLES}")
    has_ordinals = any(each[:1] in "+-0123456789" for each in parts.get("BYDAY", "MO").split(","))
    most = {"MONTHLY": 5, "YEARLY": 5 if "BYMONTH" in parts else 53}.get(parts["FREQ"], 0)
    for each in parts["BYDAY"].split(",") if has_ordinals else ():
        if abs(int(each[:-2] or 0)) > most:
            raise WrongRecurrence(
                f"BYDAY={each} has a number above {most}"
                if most
                else f"BYDAY={each} has a number, which only MONTHLY and YEARLY count"
            )
    return parts


def _check_part(name: str, values: str) -> None:
    if name == "FREQ":
        if values not in _FREQUENCIES:
            raise WrongRecurrence(f"FREQ is one of {', '.join(_FREQUENCIES)}; {_EXAMPLES}")
    elif name == "WKST":
        if values not in _WEEKDAYS:
            raise WrongRecurrence(f"WKST is one of {', '.join(_WEEKDAYS)}")
    elif name == "BYDAY":
        for each in values.split(","):
            found = _BY_DAY.fullmatch(each)
            if not found or (found[1] and not int(found[1])):
                raise WrongRecurrence(f"BYDAY={each} is no weekday; write it as FR, 1MO or -1SU")
    elif name in _NUMBERS:
        least, most = _NUMBERS[name]
        for each in values.split(","):
            if not re.fullmatch(r"[+-]?\d{1,3}", each) or not (
                least <= int(each) <= most and int(each)
            ):
                raise WrongRecurrence(f"{name}={each} is no number from {least} to {most} but 0")
        if name == "INTERVAL" and "," in values:
            raise WrongRecurrence("INTERVAL is one number")
    else:
        raise WrongRecurrence(f"{name or 'nothing'} is no part of a recurrence; {_EXAMPLES}")


def _like(year: int) -> int:
    """The latest year with the same calendar, of itself and of the year before."""
    kind = _kind(year)
    return next(each for each in reversed(_LATE_YEARS) if _kind(each) == kind)


def _kind(year: int) -> tuple[int, bool, bool]:
    return date(year, 1, 1).weekday(), isleap(year), isleap(year - 1)


@value
class Schedule:
    """Days, and hours of them, on which a rule counts; what is None does not narrow it.

    `time_until` is the first moment that no longer counts. When it is not after `time_from`, the
    hours go on past midnight and belong to the day on which they began.
    """

    from_date: date | None = None
    until_date: date | None = None
    recurrence: Recurrence | None = None
    time_from: time | None = None
    time_until: time | None = None

    def why_not(self, local: datetime) -> str:
        """Why a moment on the program's wall clock does not count, empty when it does."""
        day, at = local.date(), local.time()
        begin, end = self.time_from or time(), self.time_until or time()
        if begin >= end and at < end:
            day -= _DAY
        elif at < begin or (begin < end <= at):
            return NOT_NOW.format(f"{begin:%H:%M}", f"{end:%H:%M}", f"{at:%H:%M}")
        if self.from_date is not None and day < self.from_date:
            return NOT_YET.format(self.from_date)
        if self.until_date is not None and day > self.until_date:
            return NO_LONGER.format(self.until_date)
        if self.recurrence is not None and not self.recurrence.has(day):
            return NOT_TODAY.format(day)
        return ""


@value
class Occasion:
    """A window around a day of the member's own, in whole days before and after it."""

    kind: OccasionKind
    days_before: int = 0
    days_after: int = 0

    def why_not(
        self, today: date, birth_date: date | None, enroll_time: datetime, zone: ZoneInfo
    ) -> str:
        """Why a day is not in the window, empty when it is.

        A 29th of February is kept on the last of February. The day of enrolment itself is no
        anniversary.
        """
        origin = birth_date
        if self.kind is OccasionKind.ANNIVERSARY:
            origin = enroll_time.astimezone(zone).date()
        if origin is None:
            return NO_BIRTHDAY
        for year in (today.year - 1, today.year, today.year + 1):
            if year <= origin.year:
                continue
            kept = day_of(year, origin.month, origin.day)
            days = (today - kept).days
            if -self.days_before <= days <= self.days_after:
                return ""
        return NOT_THE_DAY.format(self.kind.value)
