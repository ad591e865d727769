"""What becomes of held points: captured, given back, refunded or expired; one end for each hold.

A hold is checked against the balance when it is placed, so no capture fails for want of points.
It ends at its instant, whether or not the job has booked that yet.
What the clock has made due of the wallet is booked first; points whose lot ended while they were
held go back to it and end at once or, when they are refunded, after a grace (*policy*).
"""

from dataclasses import replace
from datetime import datetime

from services.earning import expiry, ledger_clock, ledger_holds, ledger_settling
from services.earning.commands import (
    CaptureHold,
    ExpireHold,
    HoldPoints,
    RefundCapture,
    VoidHold,
    hold_id,
)
from services.earning.decisions import Changes, Lots
from services.earning.domain import Hold, HoldState, Wallet
from services.earning.events import Done, HoldChanged
from services.earning.expiry import CurrencyPolicy
from services.earning.ledger import Cause
from services.earning.ledger_books import Books
from services.earning.refusals import (
    CaptureExceedsHold,
    CurrencyNotSpendable,
    HoldClosed,
    HoldNotCaptured,
    InsufficientPoints,
    RefundExceedsCapture,
)
from services.earning.settlement import clock_events, settled
from shared.decision import Decision, Event


def place(
    command: HoldPoints, wallet: Wallet, lots: Lots, policy: CurrencyPolicy, now: datetime
) -> Decision[Changes, Hold]:
    """Set points aside. Refuses CurrencyNotSpendable or InsufficientPoints."""
    if not policy.spendable:
        raise CurrencyNotSpendable(currency_id=wallet.currency_id)
    books, told = settled(wallet, lots, policy, now)
    available = books.wallet.available
    if command.points > available:
        raise InsufficientPoints(points_needed=command.points, points_available=available)
    new_id = hold_id(wallet.member_key, command.unique)
    cause = Cause(now=now, occurred_time=now, reference=new_id, reason=command.reference)
    entry = books.book(ledger_holds.set_aside(books.wallet, books.lots, command.points, cause))
    placed = Hold(
        program_id=wallet.program_id,
        hold_id=new_id,
        member_key=wallet.member_key,
        currency_id=wallet.currency_id,
        points=command.points,
        captured=0,
        refunded=0,
        state=HoldState.OPEN,
        expire_time=now + command.duration,
        reference=command.reference,
        entry_sequence=entry.sequence,
        lots=entry.lot_uses,
    )
    return _held(books, placed, told)


def capture(
    command: CaptureHold,
    held: Hold,
    wallet: Wallet,
    lots: Lots,
    policy: CurrencyPolicy,
    now: datetime,
) -> Decision[Changes, Hold]:
    """Spend a hold, or a part of it. Refuses HoldClosed or CaptureExceedsHold."""
    return spend(held, points_to_capture(command, held, now), wallet, lots, policy, now)


def points_to_capture(command: CaptureHold, held: Hold, now: datetime) -> int:
    """Points that a command means. Refuses HoldClosed or CaptureExceedsHold."""
    check_open(held, now)
    points = command.points or held.points
    if points > held.points:
        raise CaptureExceedsHold(points=points, points_held=held.points)
    return points


def spend(
    held: Hold, points: int, wallet: Wallet, lots: Lots, policy: CurrencyPolicy, now: datetime
) -> Decision[Changes, Hold]:
    """Spend points of an open hold, which ends; the others go back."""
    books, told = settled(wallet, lots, policy, now)
    parted = ledger_holds.part(books.wallet, books.lots, held.lots, points)
    books.book(
        ledger_holds.spend_held(books.wallet, books.lots, parted, cause_of(held, now), policy)
    )
    ledger_settling.end_lots(books, now, now)
    changed = replace(held, state=HoldState.CAPTURED, captured=points, lots=parted.kept)
    return _held(books, changed, told)


def void(
    command: VoidHold,
    held: Hold,
    wallet: Wallet,
    lots: Lots,
    policy: CurrencyPolicy,
    now: datetime,
) -> Decision[Changes, Hold]:
    """Give a hold back. Refuses HoldClosed."""
    del command
    check_open(held, now)
    return given_back(held, HoldState.VOIDED, wallet, lots, policy, now)


def refund(
    command: RefundCapture,
    held: Hold,
    wallet: Wallet,
    lots: Lots,
    policy: CurrencyPolicy,
    now: datetime,
) -> Decision[Changes, Hold]:
    """Give captured points back. Refuses HoldNotCaptured or RefundExceedsCapture."""
    points = points_to_refund(command, held)
    return give_back(held, points, wallet, lots, policy, cause_of(held, now))


def points_to_refund(command: RefundCapture, held: Hold) -> int:
    """Points that a command means. Refuses HoldNotCaptured or RefundExceedsCapture."""
    if held.state is not HoldState.CAPTURED:
        raise HoldNotCaptured(hold_id=held.hold_id, state=held.state)
    left = held.captured - held.refunded
    points = command.points or left
    if points > left or not left:
        raise RefundExceedsCapture(points=points, points_refundable=left)
    return points


def give_back(
    held: Hold, points: int, wallet: Wallet, lots: Lots, policy: CurrencyPolicy, cause: Cause
) -> Decision[Changes, Hold]:
    """Give points of a captured hold back to their lots, at most those that are out of them.

    The reference of the cause is the hold.
    """
    books, told = settled(wallet, lots, policy, cause.now)
    left = held.captured - held.refunded
    parted = ledger_holds.part(books.wallet, books.lots, held.lots, left - points)
    books.book(ledger_holds.give_back_spent(books.wallet, books.lots, parted, cause, policy))
    if policy.grace_days:
        _grant_grace(books, cause, policy)
    ledger_settling.end_lots(books, cause.now, cause.now)
    return _held(books, replace(held, refunded=held.refunded + points, lots=parted.kept), told)


def expire(
    command: ExpireHold,
    held: Hold,
    wallet: Wallet,
    lots: Lots,
    policy: CurrencyPolicy,
    now: datetime,
) -> Decision[Changes, Done]:
    """Book the end of a hold whose time is over; one that is closed, or not due, is left alone."""
    del command
    if not is_over(held, now):
        return Decision(state=Changes(), answer=Done())
    made = given_back(held, HoldState.EXPIRED, wallet, lots, policy, now)
    return Decision(state=made.state, answer=Done(), events=made.events)


def is_over(held: Hold, now: datetime) -> bool:
    """Whether an open hold's time is over."""
    return held.state is HoldState.OPEN and held.expire_time <= now


def given_back(
    held: Hold,
    state: HoldState,
    wallet: Wallet,
    lots: Lots,
    policy: CurrencyPolicy,
    now: datetime,
) -> Decision[Changes, Hold]:
    """Give all of an open hold back, which ends in a state."""
    books, told = settled(wallet, lots, policy, now)
    parted = ledger_holds.part(books.wallet, books.lots, held.lots, 0)
    books.book(
        ledger_holds.give_back_held(books.wallet, books.lots, parted, cause_of(held, now), policy)
    )
    ledger_settling.end_lots(books, now, now)
    return _held(books, replace(held, state=state, lots=()), told)


def _grant_grace(books: Books, cause: Cause, policy: CurrencyPolicy) -> None:
    """Let lots live on for a while that have ended and got points back."""
    until = expiry.grace_time(cause.now, policy)
    for lot in tuple(books.lots.values()):
        if lot.remaining and ledger_clock.has_ended(lot, books.wallet.slide_time, cause.now):
            books.book(ledger_settling.extend(books.wallet, lot, until, cause, policy))


def _held(books: Books, changed: Hold, told: tuple[Event, ...]) -> Decision[Changes, Hold]:
    return Decision(
        state=Changes(movements=tuple(books.movements), wallets=books.rewritten, hold=changed),
        answer=changed,
        events=(*told, *clock_events(books), HoldChanged(hold=changed)),
    )


def check_open(held: Hold, now: datetime) -> None:
    """A hold ends at its instant, whether or not the job has booked it yet."""
    if held.state is not HoldState.OPEN:
        raise HoldClosed(hold_id=held.hold_id, state=held.state)
    if held.expire_time <= now:
        raise HoldClosed(hold_id=held.hold_id, state=HoldState.EXPIRED)


def cause_of(held: Hold, now: datetime) -> Cause:
    """Why the entries of a hold are booked."""
    return Cause(now=now, occurred_time=now, reference=held.hold_id, reason=held.reference)
