"""Monthly statements: what a wallet had before a month, what moved, and what it had after it.

A month begins behind the wallet's last entry that was booked before its first instant, as a day of
a seal does: so each entry is in one month, and a month opens with what the one before closed with.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from services.earning.domain import Account, CurrencyId, Entry
from services.earning.seals import midnight


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What a wallet has at an instant."""

    available: int = 0
    pending: int = 0
    held: int = 0
    debt: int = 0

    @property
    def total(self) -> int:
        """All points, less those owed."""
        return self.available + self.pending + self.held - self.debt


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A lot as entries left it: what remains, and when it ends; None means never, or sliding."""

    remaining: int
    expire_time: datetime | None
    is_pending: bool = False
    is_sliding: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiringMonth:
    """Points that end in a month, the first of them at an instant."""

    month: str
    points: int
    first_expire_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A month of a wallet."""

    month: str
    currency_id: CurrencyId
    start_time: datetime
    end_time: datetime
    opening: Balance
    closing: Balance
    earned: int
    spent: int
    expired: int
    reversed: int
    transferred: int
    converted: int
    adjusted: int
    entry_count: int
    expiring: tuple[ExpiringMonth, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementPage:
    """A statement, some of its entries, the newest first, and the next page's token."""

    statement: Statement
    entries: tuple[Entry, ...]
    next_page_token: str


def first_day(month: str) -> date:
    """The first day of a month that is written as 2026-10."""
    return date.fromisoformat(f"{month}-01")


def day_after(first: date) -> date:
    """The first day of the month after the one that begins with a day."""
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)


def month_of(day: date) -> str:
    """The month of a day, as 2026-10."""
    return f"{day:%Y-%m}"


def begin(first: date, zone: ZoneInfo) -> datetime:
    """The first instant of a month."""
    return midnight(first, zone)


def stated(
    month: str,
    currency_id: CurrencyId,
    times: tuple[datetime, datetime],
    balances: tuple[Balance, Balance],
    moved: Mapping[Account, int],
    entry_count: int,
    expiring: tuple[ExpiringMonth, ...],
) -> Statement:
    """The statement; `moved` is what the program's accounts got in the month."""
    opening, closing = balances

    def to(account: Account) -> int:
        return moved.get(account, 0)

    return Statement(
        month=month,
        currency_id=currency_id,
        start_time=times[0],
        end_time=times[1],
        opening=opening,
        closing=closing,
        earned=-to(Account.ISSUANCE),
        spent=to(Account.REDEMPTION),
        expired=to(Account.EXPIRY),
        reversed=to(Account.REVERSAL),
        transferred=-to(Account.TRANSFER),
        converted=-to(Account.CONVERSION),
        adjusted=-to(Account.ADJUSTMENT),
        entry_count=entry_count,
        expiring=expiring,
    )


def expiring_months(
    lots: Iterable[Open], slide_time: datetime | None, ends: Sequence[tuple[str, datetime]]
) -> tuple[ExpiringMonth, ...]:
    """Available points by the month in which they end; `ends` are months with their last instants.

    What ends at the last midnight of a month could be used until then, and is that month's. What
    had ended before and is not booked yet is the first month's.
    """
    found: list[list[tuple[datetime, int]]] = [[] for _ in ends]
    for lot in lots:
        end = slide_time if lot.is_sliding else lot.expire_time
        if end is None or lot.is_pending:
            continue
        at = bisect_left([each[1] for each in ends], end)
        if at < len(ends):
            found[at].append((end, lot.remaining))
    return tuple(
        ExpiringMonth(
            month=month,
            points=sum(points for _, points in ending),
            first_expire_time=min(end for end, _ in ending),
        )
        for (month, _), ending in zip(ends, found, strict=True)
        if ending
    )
