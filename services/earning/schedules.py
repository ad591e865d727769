"""When a rule counts: days, recurrences, hours, and days of the member's own.

Calendars are asked at the activity's `occurred_time`, in the program's zone, by the clock on the
wall there: an hour that comes twice counts twice, one that is skipped does not come.
"""

from datetime import date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from dateutil.rrule import rruleset, rrulestr

from services.earning.expiry import day_of
from shared.values import value

FIRST_DAY = date(2000, 1, 1)
"""Where a recurrence begins that has no first day."""
_DAY = timedelta(days=1)
_FREQUENCIES = ("FREQ=YEARLY", "FREQ=MONTHLY", "FREQ=WEEKLY", "FREQ=DAILY")
_MOST = {"BYMONTHDAY": 31, "BYMONTH": 12, "INTERVAL": 1_000, "COUNT": 10_000}
_OF_THE_DAY = ("BYHOUR", "BYMINUTE", "BYSECOND", "DTSTART", "RRULE", "EXDATE", "RDATE", "\n")

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


class Recurrence:
    """Days that come again: the part of an RFC 5545 RRULE that is about days."""

    def __init__(self, text: str, first: date | None) -> None:
        """Raises WrongRecurrence."""
        parts = text.upper().split(";")
        if parts[0] not in _FREQUENCIES:
            raise WrongRecurrence(f"begins with one of {', '.join(_FREQUENCIES)}")
        for word in _OF_THE_DAY:
            if word in text.upper():
                raise WrongRecurrence(f"is about days; it has no {word.strip() or 'second line'}")
        counted = [part for part in parts if part.startswith(("INTERVAL=", "COUNT="))]
        if counted and first is None:
            raise WrongRecurrence(f"{counted[0]} needs a from_date to count from")
        for part in parts:
            name, _, numbers = part.partition("=")
            most = _MOST.get(name, 0)
            for number in numbers.split(",") if most else ():
                if not number.lstrip("-").isdecimal() or not 1 <= abs(int(number)) <= most:
                    raise WrongRecurrence(f"{part} has numbers of 1 to {most}")
        begin = datetime.combine(first or FIRST_DAY, time())
        try:
            self._rule = rrulestr(text, dtstart=begin, cache=True)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WrongRecurrence(
                f"{error}; right are for example FREQ=MONTHLY;BYMONTHDAY=8 and FREQ=WEEKLY;BYDAY=FR"
            ) from None
        if isinstance(self._rule, rruleset):
            raise WrongRecurrence("is one rule, not a set of them")
        self.text = text
        self._known = lru_cache(maxsize=1_024)(self._look)

    def has(self, day: date) -> bool:
        """Whether the recurrence has a day."""
        return self._known(day)

    def _look(self, day: date) -> bool:
        instant = datetime.combine(day, time())
        return bool(self._rule.between(instant, instant, inc=True))


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
