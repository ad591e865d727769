"""What becomes of held points: captured, given back, refunded or expired; one end for each hold.

A hold is checked against the balance when it is placed, so no capture fails for want of points.
It ends at its instant, whether or not the job has booked that yet.
"""

from dataclasses import replace
from datetime import datetime

from services.earning import ledger
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
from services.earning.ledger import Cause, Movement
from services.earning.refusals import (
    CaptureExceedsHold,
    HoldClosed,
    HoldNotCaptured,
    InsufficientPoints,
    RefundExceedsCapture,
)
from shared.decision import Decision


def place(
    command: HoldPoints, wallet: Wallet, lots: Lots, now: datetime
) -> Decision[Changes, Hold]:
    """Set points aside. Refuses InsufficientPoints."""
    if command.points > wallet.available:
        raise InsufficientPoints(points_needed=command.points, points_available=wallet.available)
    new_id = hold_id(wallet.member_key, command.unique)
    cause = Cause(now=now, occurred_time=now, reference=new_id, reason=command.reference)
    movement = ledger.set_aside(wallet, lots, command.points, cause)
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
        entry_sequence=movement.entry.sequence,
        lots=movement.entry.lot_uses,
    )
    return _held(movement, placed)


def capture(
    command: CaptureHold, held: Hold, wallet: Wallet, lots: Lots, now: datetime
) -> Decision[Changes, Hold]:
    """Spend a hold, or a part of it. Refuses HoldClosed or CaptureExceedsHold."""
    _check_open(held, now)
    points = command.points or held.points
    if points > held.points:
        raise CaptureExceedsHold(points=points, points_held=held.points)
    cause = _cause_of(held, now)
    movement = ledger.spend_held(wallet, lots, held.lots, points, cause)
    return _held(movement, replace(held, state=HoldState.CAPTURED, captured=points))


def void(
    command: VoidHold, held: Hold, wallet: Wallet, lots: Lots, now: datetime
) -> Decision[Changes, Hold]:
    """Give a hold back. Refuses HoldClosed."""
    del command
    _check_open(held, now)
    movement = ledger.give_back_held(wallet, lots, held.lots, _cause_of(held, now))
    return _held(movement, replace(held, state=HoldState.VOIDED))


def refund(
    command: RefundCapture, held: Hold, wallet: Wallet, lots: Lots, now: datetime
) -> Decision[Changes, Hold]:
    """Give captured points back. Refuses HoldNotCaptured or RefundExceedsCapture."""
    if held.state is not HoldState.CAPTURED:
        raise HoldNotCaptured(hold_id=held.hold_id, state=held.state)
    left = held.captured - held.refunded
    points = command.points or left
    if points > left or not left:
        raise RefundExceedsCapture(points=points, points_refundable=left)
    movement = ledger.give_back_spent(wallet, lots, held.lots, left, points, _cause_of(held, now))
    return _held(movement, replace(held, refunded=held.refunded + points))


def expire(
    command: ExpireHold, held: Hold, wallet: Wallet, lots: Lots, now: datetime
) -> Decision[Changes, Done]:
    """Book the end of a hold whose time is over; one that is closed, or not due, is left alone."""
    del command
    if held.state is not HoldState.OPEN or held.expire_time > now:
        return Decision(state=Changes(), answer=Done())
    movement = ledger.give_back_held(wallet, lots, held.lots, _cause_of(held, now))
    expired = replace(held, state=HoldState.EXPIRED)
    return Decision(
        state=Changes(movement=movement, hold=expired),
        answer=Done(),
        events=(HoldChanged(hold=expired),),
    )


def _held(movement: Movement, changed: Hold) -> Decision[Changes, Hold]:
    return Decision(
        state=Changes(movement=movement, hold=changed),
        answer=changed,
        events=(HoldChanged(hold=changed),),
    )


def _check_open(held: Hold, now: datetime) -> None:
    """A hold ends at its instant, whether or not the job has booked it yet."""
    if held.state is not HoldState.OPEN:
        raise HoldClosed(hold_id=held.hold_id, state=held.state)
    if held.expire_time <= now:
        raise HoldClosed(hold_id=held.hold_id, state=HoldState.EXPIRED)


def _cause_of(held: Hold, now: datetime) -> Cause:
    return Cause(now=now, occurred_time=now, reference=held.hold_id, reason=held.reference)
