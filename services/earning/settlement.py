"""What the clock has made due is booked before a decision, and told with it."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from services.earning import ledger_settling
from services.earning.domain import EntryType, Lot, Wallet
from services.earning.events import PointsActivated, PointsExpired, PointsExpiring
from services.earning.expiry import CurrencyPolicy
from services.earning.ledger_books import Books
from shared.decision import Event


def is_due(wallet: Wallet, now: datetime) -> bool:
    """Whether the clock may have something to book; if not, nobody need look at the lots."""
    return wallet.next_time is not None and wallet.next_time <= now


def settled(
    wallet: Wallet, lots: Mapping[int, Lot], policy: CurrencyPolicy, now: datetime
) -> tuple[Books, tuple[Event, ...]]:
    """Books on which everything due is booked, and what members are told ahead of ends.

    What was booked is told by `clock_events`, when the decision is done.
    """
    books = Books.of(wallet, lots)
    reminders = ledger_settling.settle(books, policy, now)
    told = tuple(
        PointsExpiring(
            program_id=wallet.program_id,
            member_key=wallet.member_key,
            currency_id=wallet.currency_id,
            points=each.points,
            expire_time=each.expire_time,
            days=each.days,
        )
        for each in reminders
    )
    return books, told


def clock_events(books: Books) -> Iterator[Event]:
    """What became available and what ended by the movements of books."""
    for movement in books.movements:
        entry = movement.entry
        if entry.type is EntryType.ACTIVATE:
            yield PointsActivated(
                program_id=entry.program_id,
                member_key=entry.member_key,
                currency_id=entry.currency_id,
                points=-entry.pending_delta,
                activity_id=entry.activity_id,
                available_time=entry.occurred_time,
            )
        elif entry.type is EntryType.EXPIRE:
            yield PointsExpired(
                program_id=entry.program_id,
                member_key=entry.member_key,
                currency_id=entry.currency_id,
                points=entry.program_delta,
                expire_time=entry.occurred_time,
            )
