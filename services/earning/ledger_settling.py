"""What the clock makes due: points become available, end, and members are told ahead.

`settle` books it in the order of time, whoever calls it and however late: before every decision
that it could change, and by the job. The state says what is due, so nothing is booked twice.
A lot whose end was not fixed when it was made (pending until confirmed, or sliding) gets it when it
becomes available, by the policy then in force.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import TypeAlias

from services.earning import ledger, ledger_clock
from services.earning.domain import Account, EntryType, Lot, LotUse, Wallet
from services.earning.expiry import CurrencyPolicy, Sliding, expire_time
from services.earning.ledger import Cause, Change, Movement
from services.earning.ledger_books import Books
from shared.values import value

_ACTIVATION, _END, _REMINDER = 1, 2, 3
_sequence = attrgetter("lot_sequence")
_Due: TypeAlias = tuple[datetime, int, int, datetime]
"""An instant, what happens, the lot or the days it is about, and the end it is about."""


@value
class Reminder:
    """Points that end in `days` days, as they were when that was to be told."""

    points: int
    expire_time: datetime
    days: int


def settle(books: Books, policy: CurrencyPolicy, now: datetime) -> list[Reminder]:
    """Book everything that the clock has made due by `now`; gives what members are to be told.

    `books` must have all lots in which something remains, unless the wallet says that nothing is
    due (`next_time`).
    """
    first = books.wallet.next_time
    if first is None or first > now:
        return []
    told: list[Reminder] = []
    slide = books.wallet.slide_time
    queue = list(_due(books.lots.values(), slide, policy, first, now))
    heapify(queue)
    done: _Due | None = None
    while queue:
        due = heappop(queue)
        if due == done:
            continue
        done = due
        instant, kind, number, end = due
        if kind == _ACTIVATION:
            cause = Cause(
                now=now, occurred_time=instant, activity_id=books.lots[number].activity_id
            )
            books.book(activate(books.wallet, books.lots[number], instant, cause, policy))
            slide = books.wallet.slide_time
            for each in _due((books.lots[number],), slide, policy, first, now):
                heappush(queue, each)
        elif kind == _END:
            end_lots(books, instant, now)
        else:
            told += _told(books, number, instant, end, now)
    found = ledger_clock.earliest(books.wallet, books.lots.values(), policy, now)
    books.wallet = replace(books.wallet, next_time=found)
    return told


def end_lots(books: Books, instant: datetime, now: datetime) -> None:
    """Book the end of all lots that ended by `instant`, if anything remains in one."""
    slide = books.wallet.slide_time
    ended = [
        lot
        for lot in books.lots.values()
        if lot.remaining and ledger_clock.has_ended(lot, slide, instant)
    ]
    if not ended:
        return
    ended.sort(key=_sequence)
    uses = tuple([LotUse(lot_sequence=lot.lot_sequence, points=-lot.remaining) for lot in ended])
    points = -ledger.total(uses)
    change = Change(
        type=EntryType.EXPIRE, account=Account.EXPIRY, available=-points, expired=points
    )
    posted, entry = ledger.post(books.wallet, change, uses, Cause(now=now, occurred_time=instant))
    emptied = tuple([ledger.with_remaining(lot, 0) for lot in ended])
    books.book(Movement(wallet=posted, entry=entry, changed=emptied))


def activate(
    wallet: Wallet, lot: Lot, instant: datetime, cause: Cause, policy: CurrencyPolicy
) -> Movement:
    """Make the pending points of a lot available as of an instant; debt is repaid first."""
    ends, slide = lot.expire_time, None
    if lot.is_sliding or lot.available_time != instant:
        ends = None
        slide = ledger_clock.moved_slide(wallet, policy, instant)
        if policy.expiry is not None and not isinstance(policy.expiry, Sliding):
            ends = expire_time(policy.expiry, instant, policy.zone)
    repaid = min(wallet.debt, lot.remaining)
    change = Change(
        type=EntryType.ACTIVATE,
        pending=-lot.remaining,
        available=lot.remaining - repaid,
        debt=repaid,
        lot_sequence=lot.lot_sequence,
        lot_available_time=instant,
        lot_expire_time=ends,
        slide_time=slide,
    )
    uses = (LotUse(lot_sequence=lot.lot_sequence, points=-repaid),) if repaid else ()
    posted, entry = ledger.post(wallet, change, uses, cause)
    available = replace(
        lot,
        remaining=lot.remaining - repaid,
        available_time=instant,
        expire_time=ends,
        is_pending=False,
        is_sliding=slide is not None,
    )
    return ledger.watched(Movement(wallet=posted, entry=entry, changed=(available,)), policy, cause)


def extend(
    wallet: Wallet, lot: Lot, until: datetime, cause: Cause, policy: CurrencyPolicy
) -> Movement:
    """Let a lot end at `until`, whatever it did before."""
    change = Change(
        type=EntryType.EXTEND,
        lot_sequence=lot.lot_sequence,
        lot_available_time=lot.available_time,
        lot_expire_time=until,
    )
    posted, entry = ledger.post(wallet, change, (), cause)
    dated = replace(lot, expire_time=until, is_sliding=False)
    return ledger.watched(Movement(wallet=posted, entry=entry, changed=(dated,)), policy, cause)


def reinstate(
    wallet: Wallet, lot: Lot, points: int, until: datetime, cause: Cause, policy: CurrencyPolicy
) -> Movement:
    """Give points back to a lot that took them with it when it ended; it now ends at `until`.

    `points` are at most what expired of it. Debt is repaid first.
    """
    repaid = min(wallet.debt, points)
    change = Change(
        type=EntryType.REINSTATE,
        account=Account.EXPIRY,
        available=points - repaid,
        debt=repaid,
        expired=-points,
        lot_sequence=lot.lot_sequence,
        lot_available_time=lot.available_time,
        lot_expire_time=until,
    )
    uses: tuple[LotUse, ...] = ()
    if back := points - repaid:
        uses = (LotUse(lot_sequence=lot.lot_sequence, points=back),)
    posted, entry = ledger.post(wallet, change, uses, cause)
    dated = replace(lot, remaining=lot.remaining + back, expire_time=until, is_sliding=False)
    return ledger.watched(Movement(wallet=posted, entry=entry, changed=(dated,)), policy, cause)


def _due(
    lots: Iterable[Lot],
    slide: datetime | None,
    policy: CurrencyPolicy,
    first: datetime,
    now: datetime,
) -> set[_Due]:
    """What the clock has made due of lots; reminders before `first` were told already.

    Nobody is told ahead of an end that has come.
    """
    found: set[_Due] = set()
    for lot in lots:
        if not lot.remaining:
            continue
        if lot.is_pending:
            if lot.available_time is not None and lot.available_time <= now:
                found.add((lot.available_time, _ACTIVATION, lot.lot_sequence, lot.available_time))
            continue
        end = slide if lot.is_sliding else lot.expire_time
        if end is None:
            continue
        if end <= now:
            found.add((end, _END, 0, end))
            continue
        for instant, days, _ in ledger_clock.reminders(lot, slide, policy):
            if first <= instant <= now:
                found.add((instant, _REMINDER, days, end))
    return found


def _told(
    books: Books, days: int, instant: datetime, end: datetime, now: datetime
) -> Iterable[Reminder]:
    """One reminder for all lots that end together; none when they have ended meanwhile."""
    slide = books.wallet.slide_time
    points = sum(
        lot.remaining
        for lot in books.lots.values()
        if not lot.is_pending
        and ledger_clock.end_of(lot, slide) == end
        and lot.available_time is not None
        and lot.available_time < instant
    )
    if points and end > now:
        yield Reminder(points=points, expire_time=end, days=days)
