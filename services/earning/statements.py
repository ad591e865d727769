"""Monthly statements: what a wallet had before a month, what moved, and what it had after it.

A month begins behind the wallet's last entry that was booked before its first instant, as a day of
a seal does: so each entry is in one month, and a month opens with what the one before closed with.
"""

from collections.abc import Mapping
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
    adjusted: int
    entry_count: int


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
        adjusted=-to(Account.ADJUSTMENT),
        entry_count=entry_count,
    )
