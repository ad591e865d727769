"""Currencies of points and of money in the program document: what is wrong, and what they mean."""

from collections.abc import Iterator, Mapping
from datetime import date
from zoneinfo import ZoneInfo

from guerdon.earning.v1 import program_pb2 as pb
from services.earning import money_codes
from services.earning.domain import CurrencyId
from services.earning.expiry import (
    REMINDER_DAYS,
    AfterDays,
    AfterMonths,
    CurrencyPolicy,
    EndOfPeriod,
    Expiry,
    FixedDates,
    Pending,
    PendingFor,
    Period,
    Sliding,
    UntilConfirmed,
)
from services.earning.money import EarnOn, Money, Rate
from shared.errors import Violation

_UNITS = {
    pb.PointExpiry.UNIT_MONTH: Period.MONTH,
    pb.PointExpiry.UNIT_QUARTER: Period.QUARTER,
    pb.PointExpiry.UNIT_YEAR: Period.YEAR,
}


def is_date(text: str) -> bool:
    """Whether a text is a day of the calendar."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def unknown(document: pb.EarningProgram, path: str, currency_id: str) -> Iterator[Violation]:
    """A complaint when a field names a currency of points that the program does not have."""
    known = [each.currency_id for each in document.currencies]
    if currency_id and currency_id not in known:
        yield Violation(
            field=path,
            description=f"there is no currency {currency_id}; there is {' and '.join(known)}",
        )


def complaints(document: pb.EarningProgram) -> Iterator[Violation]:
    """What is wrong with the currencies of points and the rates of a document."""
    seen: set[str] = set()
    for at, currency in enumerate(document.currencies):
        path = f"currencies[{at}]"
        if currency.currency_id in seen:
            yield Violation(
                field=f"{path}.currency_id", description=f"{currency.currency_id} is there already"
            )
        seen.add(currency.currency_id)
        if 0 in currency.reminder_days and len(currency.reminder_days) > 1:
            yield Violation(
                field=f"{path}.reminder_days", description="0 means none and stands alone"
            )
        for number, text in enumerate(currency.expiry.fixed_dates.dates):
            # 2028 is a leap year; 29 February is kept on the last of February in others.
            if not is_date(f"2028-{text}"):
                yield Violation(
                    field=f"{path}.expiry.fixed_dates.dates[{number}]",
                    description=f"no year has a {text}; the last of February is 02-29",
                )
        floors = {pb.ROUNDING_UNSPECIFIED, pb.ROUNDING_FLOOR}
        if currency.carry_remainder and document.rounding not in floors:
            yield Violation(
                field=f"{path}.carry_remainder",
                description="only what rounding down leaves can be kept; set ROUNDING_FLOOR",
            )
    days: set[tuple[str, str]] = set()
    for at, rate in enumerate(document.exchange_rates):
        path = f"exchange_rates[{at}]"
        if rate.from_date and not is_date(rate.from_date):
            yield Violation(
                field=f"{path}.from_date",
                description=f"{rate.from_date} is no day; write it as 2026-02-17",
            )
        if wrong := money_codes.complaint(rate.currency_code):
            yield Violation(field=f"{path}.currency_code", description=wrong)
        if rate.currency_code == document.money_currency_code:
            yield Violation(
                field=f"{path}.currency_code",
                description=f"{rate.currency_code} is the program's own money",
            )
        key = (rate.currency_code, rate.from_date)
        if key in days:
            yield Violation(
                field=f"{path}.from_date",
                description=f"{rate.currency_code} has a rate from {rate.from_date} on already",
            )
        days.add(key)


def misplaced(document: pb.EarningProgram, before: pb.EarningProgram) -> Iterator[Violation]:
    """A complaint for each currency of the version before that is not where it was.

    Wallets are kept by currency, and requests that name none mean the first: so currencies are
    neither removed, renamed nor reordered, only appended.
    """
    known = [each.currency_id for each in before.currencies]
    found = [each.currency_id for each in document.currencies]
    for at, currency_id in enumerate(known):
        if found[at : at + 1] == [currency_id]:
            continue
        is_there = f"{found[at]} is there" if at < len(found) else "nothing is there"
        yield Violation(
            field=f"currencies[{at}].currency_id",
            description=(
                f"currencies are only appended: here stays {currency_id}, {is_there}; "
                f"begin with {', '.join(known)}"
            ),
        )


def policies(document: pb.EarningProgram, zone: ZoneInfo) -> Mapping[CurrencyId, CurrencyPolicy]:
    """How points of each currency live."""
    return {
        CurrencyId(each.currency_id): CurrencyPolicy(
            currency_id=CurrencyId(each.currency_id),
            zone=zone,
            spendable=not each.not_spendable,
            pending=_pending(each),
            expiry=_expiry(each.expiry) if each.HasField("expiry") else None,
            reminder_days=_reminders(each),
            grace_days=each.expired_refund_grace_days,
        )
        for each in document.currencies
    }


def _pending(currency: pb.PointCurrency) -> Pending | None:
    match currency.WhichOneof("pending"):
        case "pending_duration":
            return PendingFor(duration=currency.pending_duration.ToTimedelta())
        case "pending_until_confirmed":
            return UntilConfirmed()
        case _:
            return None


def _expiry(expiry: pb.PointExpiry) -> Expiry:
    match expiry.WhichOneof("kind"):
        case "after_days":
            return AfterDays(days=expiry.after_days)
        case "after_months":
            return AfterMonths(months=expiry.after_months)
        case "sliding_months":
            return Sliding(months=expiry.sliding_months)
        case "end_of_period":
            return EndOfPeriod(
                period=_UNITS[expiry.end_of_period.unit], further=expiry.end_of_period.further
            )
        case _:
            dates = sorted((int(text[:2]), int(text[3:])) for text in expiry.fixed_dates.dates)
            return FixedDates(dates=tuple(dates))


def _reminders(currency: pb.PointCurrency) -> tuple[int, ...]:
    if not currency.HasField("expiry"):
        return ()
    if not currency.reminder_days:
        return REMINDER_DAYS
    return tuple(sorted({days for days in currency.reminder_days if days}, reverse=True))


def money(document: pb.EarningProgram) -> Money:
    """The money of a program, with its rates."""
    rates: dict[str, list[Rate]] = {}
    for each in document.exchange_rates:
        rates.setdefault(each.currency_code, []).append(
            Rate(
                from_date=date.fromisoformat(each.from_date),
                numerator=each.numerator,
                denominator=each.denominator,
            )
        )
    return Money(
        currency_code=document.money_currency_code,
        earn_on=EarnOn.GROSS if document.earn_on == pb.EARN_ON_GROSS else EarnOn.NET,
        rates=tuple(
            (code, tuple(sorted(found, key=lambda rate: rate.from_date)))
            for code, found in sorted(rates.items())
        ),
    )
