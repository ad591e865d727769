"""Points that end later, and points that come back after their end, by hand: pure decisions."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TypeVar

from services.earning import ledger, ledger_clock, ledger_settling, notes
from services.earning.commands_points import ExtendPoints, ReinstatePoints
from services.earning.decisions import Changes, Lots
from services.earning.domain import EARNED_MAX, Entry, EntryType, Lot, LotUse, Wallet
from services.earning.expiry import CurrencyPolicy
from services.earning.ledger import Cause
from services.earning.ledger_books import Books
from services.earning.points_records import Extended, PointsExtended, PointsReinstated
from services.earning.refusals import PointsOutOfRange
from services.earning.refusals_points import (
    ExpiryNotLater,
    LotNotFound,
    ReinstateExceedsExpired,
)
from services.earning.settlement import clock_events, settled
from shared.decision import Decision, Event

A = TypeVar("A")
LOTS_MAX = 1_000
"""The most lots that one call extends."""


def extend(
    command: ExtendPoints,
    wallet: Wallet,
    lots: Lots,
    held: Iterable[LotUse],
    policy: CurrencyPolicy,
    now: datetime,
) -> Decision[Changes, Extended]:
    """Let lots end later; `held` is what open holds have out of them, which comes along.

    Refuses LotNotFound or ExpiryNotLater.
    """
    books, told = settled(wallet, lots, policy, now)
    _check_later(command.expire_time, now)
    points = _points(books, held, now)
    found = (
        [_one(command, books, points)] if command.lot_sequence else _ending(command, books, points)
    )
    cause = _cause(command, now)
    entries, events = [], []
    for lot in found[:LOTS_MAX]:
        entries.append(
            books.book(
                ledger_settling.extend(books.wallet, lot, command.expire_time, cause, policy)
            )
        )
        events.append(
            PointsExtended(
                program_id=wallet.program_id,
                member_key=wallet.member_key,
                currency_id=wallet.currency_id,
                points=points[lot.lot_sequence],
                expire_time=command.expire_time,
                reason=command.reason,
            )
        )
    answer = Extended(entries=tuple(entries), has_more=len(found) > LOTS_MAX)
    return _decided(books, answer, (*told, *clock_events(books), *events))


def reinstate(
    command: ReinstatePoints,
    wallet: Wallet,
    lots: Lots,
    expired: int,
    policy: CurrencyPolicy,
    now: datetime,
) -> Decision[Changes, Entry]:
    """Bring points of a lot back; `expired` have ended of it, and not come back, by its entries.

    Refuses LotNotFound, ReinstateExceedsExpired, ExpiryNotLater or PointsOutOfRange.
    """
    books, told = settled(wallet, lots, policy, now)
    lot = books.lots.get(command.lot_sequence)
    if lot is None:
        raise LotNotFound(lot_sequence=command.lot_sequence)
    expired += ended((each.entry for each in books.movements), lot.lot_sequence)
    points = command.points or expired
    if not expired or points > expired:
        raise ReinstateExceedsExpired(points=points, points_expired=expired)
    _check_later(command.expire_time, now)
    end = ledger_clock.end_of(lot, books.wallet.slide_time)
    if lot.remaining and end is not None and command.expire_time < end:
        raise ExpiryNotLater(expire_time=command.expire_time, later_than=end.isoformat())
    if books.wallet.available + books.wallet.pending + books.wallet.held + points > EARNED_MAX:
        raise PointsOutOfRange(what="points of a wallet", limit=EARNED_MAX)
    entry = books.book(
        ledger_settling.reinstate(
            books.wallet, lot, points, command.expire_time, _cause(command, now), policy
        )
    )
    event = PointsReinstated(
        program_id=wallet.program_id,
        member_key=wallet.member_key,
        currency_id=wallet.currency_id,
        points=points,
        expire_time=command.expire_time,
        reason=command.reason,
    )
    return _decided(books, entry, (*told, *clock_events(books), event))


def ended(entries: Iterable[Entry], lot_sequence: int) -> int:
    """Points of a lot that ended by entries, less those that came back by them."""
    total = 0
    for entry in entries:
        if entry.type is EntryType.EXPIRE:
            total -= sum(
                each.points for each in entry.lot_uses if each.lot_sequence == lot_sequence
            )
        elif entry.type is EntryType.REINSTATE and entry.lot_sequence == lot_sequence:
            total += entry.program_delta
    return total


def _points(books: Books, held: Iterable[LotUse], now: datetime) -> dict[int, int]:
    """Points of lots that have not ended, what holds have out of them included."""
    points = {lot.lot_sequence: lot.remaining for lot in books.lots.values()}
    for use in held:
        points[use.lot_sequence] -= use.points
    slide = books.wallet.slide_time
    return {
        sequence: each
        for sequence, each in points.items()
        if each and not ledger_clock.has_ended(books.lots[sequence], slide, now)
    }


def _one(command: ExtendPoints, books: Books, points: Mapping[int, int]) -> Lot:
    if command.lot_sequence not in points:
        raise LotNotFound(lot_sequence=command.lot_sequence)
    lot = books.lots[command.lot_sequence]
    end = ledger_clock.end_of(lot, books.wallet.slide_time)
    if end is None:
        raise ExpiryNotLater(expire_time=command.expire_time, later_than="never")
    _check_later(command.expire_time, end)
    return lot


def _ending(command: ExtendPoints, books: Books, points: Mapping[int, int]) -> list[Lot]:
    """Lots that end before both instants of a command, the earliest end first."""
    slide = books.wallet.slide_time
    before = command.expire_time
    if command.expiring_before is not None:
        before = min(before, command.expiring_before)
    found = [
        lot
        for sequence in points
        if (end := ledger_clock.end_of(lot := books.lots[sequence], slide)) is not None
        and end < before
    ]
    return sorted(found, key=lambda lot: ledger.use_order(lot, slide))


def _check_later(expire_time: datetime, than: datetime) -> None:
    if expire_time <= than:
        raise ExpiryNotLater(expire_time=expire_time, later_than=than.isoformat())


def _cause(command: ExtendPoints | ReinstatePoints, now: datetime) -> Cause:
    return Cause(
        now=now,
        occurred_time=now,
        reference=command.request_id,
        reason=command.reason,
        explanation=notes.written(notes.Note(actor=command.actor)),
    )


def _decided(books: Books, answer: A, events: tuple[Event, ...]) -> Decision[Changes, A]:
    state = Changes(movements=tuple(books.movements), wallets=books.rewritten)
    return Decision(state=state, answer=answer, events=events)
