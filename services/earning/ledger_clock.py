"""When the clock changes a wallet: what becomes available, what ends, and when members are told."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from services.earning import expiry
from services.earning.domain import Lot, Wallet
from services.earning.expiry import CurrencyPolicy
from shared.values import value


@value
class Expiring:
    """Available points that end together."""

    points: int
    expire_time: datetime


def end_of(lot: Lot, slide_time: datetime | None) -> datetime | None:
    """Instant at which a lot ends, None for one that does not."""
    return slide_time if lot.is_sliding else lot.expire_time


def has_ended(lot: Lot, slide_time: datetime | None, now: datetime) -> bool:
    """Whether a lot's points can no longer be used."""
    end = end_of(lot, slide_time)
    return end is not None and end <= now and not lot.is_pending


def reminders(
    lot: Lot, slide_time: datetime | None, policy: CurrencyPolicy
) -> Iterator[tuple[datetime, int, datetime]]:
    """Instants at which members are told of a lot's end, days ahead of it, and the end.

    What lies before the points were available is left out.
    """
    end = end_of(lot, slide_time)
    if end is None or lot.is_pending or lot.available_time is None:
        return
    for days in policy.reminder_days:
        instant = expiry.reminder_time(end, days, policy.zone)
        if instant > lot.available_time:
            yield instant, days, end


def earliest(
    wallet: Wallet, lots: Iterable[Lot], policy: CurrencyPolicy, now: datetime
) -> datetime | None:
    """The next instant, after `now`, at which the clock changes or tells anything of lots."""
    found: datetime | None = None
    for lot in lots:
        if not lot.remaining:
            continue
        for instant in _instants(lot, wallet.slide_time, policy):
            if instant > now and (found is None or instant < found):
                found = instant
    return found


def watching(wallet: Wallet, lots: Iterable[Lot], policy: CurrencyPolicy, now: datetime) -> Wallet:
    """The wallet, which the clock looks at in time for lots that were made or changed."""
    instant = earliest(wallet, lots, policy, now)
    if instant is None or (wallet.next_time is not None and wallet.next_time <= instant):
        return wallet
    return replace(wallet, next_time=instant)


def moved_slide(wallet: Wallet, policy: CurrencyPolicy, instant: datetime) -> datetime | None:
    """What an earn or a spend moves the end of sliding points to; None when they do not slide.

    It is never moved back, so that a policy that becomes shorter dates nothing again.
    """
    if not isinstance(policy.expiry, expiry.Sliding):
        return None
    end = expiry.expire_time(policy.expiry, instant, policy.zone)
    return end if wallet.slide_time is None else max(end, wallet.slide_time)


def _instants(lot: Lot, slide_time: datetime | None, policy: CurrencyPolicy) -> Iterator[datetime]:
    if lot.is_pending:
        if lot.available_time is not None:
            yield lot.available_time
        return
    end = end_of(lot, slide_time)
    if end is not None:
        yield end
        for instant, _, _ in reminders(lot, slide_time, policy):
            yield instant


def expiring(wallet: Wallet, lots: Iterable[Lot], count: int) -> list[Expiring]:
    """Available points by the instant at which they end, the next `count` instants."""
    sums: dict[datetime, int] = {}
    for lot in lots:
        end = end_of(lot, wallet.slide_time)
        if end is not None and lot.remaining and not lot.is_pending:
            sums[end] = sums.get(end, 0) + lot.remaining
    return [Expiring(points=sums[end], expire_time=end) for end in sorted(sums)[:count]]
