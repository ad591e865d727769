"""Corrections by hand: booked at once or, above the program's limit, by another actor.

An adjustment comes to one end. What it takes must be there when it is asked for, and when it is
approved. It is booked on frozen members too: they are looked into by those who correct.
"""

from dataclasses import replace
from datetime import datetime

from services.earning import ledger_transfers, notes
from services.earning.commands_points import (
    AdjustPoints,
    ApproveAdjustment,
    RejectAdjustment,
    adjustment_id,
)
from services.earning.decisions import Changes, Lots
from services.earning.domain import Wallet
from services.earning.expiry import CurrencyPolicy
from services.earning.ledger import Cause
from services.earning.ledger_books import Books
from services.earning.points_records import Adjustment, AdjustmentChanged, AdjustmentState
from services.earning.refusals import InsufficientPoints
from services.earning.refusals_points import AdjustmentClosed, SameActor
from services.earning.settlement import clock_events, settled
from shared.decision import Decision, Event


def ask(
    command: AdjustPoints,
    wallet: Wallet,
    lots: Lots,
    policy: CurrencyPolicy,
    approval_above: int,
    now: datetime,
) -> Decision[Changes, Adjustment]:
    """Book an adjustment, or let it wait when it is of more points than `approval_above`.

    0 lets none wait. Refuses InsufficientPoints or PointsOutOfRange.
    """
    asked = Adjustment(
        program_id=wallet.program_id,
        adjustment_id=adjustment_id(wallet.member_key, command.unique),
        member_key=wallet.member_key,
        currency_id=wallet.currency_id,
        points=command.points,
        actor=command.actor,
        reason=command.reason,
        state=AdjustmentState.AWAITING_APPROVAL,
        create_time=now,
    )
    books, told = settled(wallet, lots, policy, now)
    booked = _booked(asked, books, told, policy, now)
    if approval_above and abs(command.points) > approval_above:
        return _changed(asked)
    return booked


def approve(
    command: ApproveAdjustment,
    asked: Adjustment,
    wallet: Wallet,
    lots: Lots,
    policy: CurrencyPolicy,
    now: datetime,
) -> Decision[Changes, Adjustment]:
    """Book an adjustment that waits.

    Refuses AdjustmentClosed, SameActor, InsufficientPoints or PointsOutOfRange.
    """
    _check_waiting(asked)
    if _name(command.actor) == _name(asked.actor):
        raise SameActor(actor=command.actor)
    books, told = settled(wallet, lots, policy, now)
    return _booked(replace(asked, decider=command.actor), books, told, policy, now)


def reject(
    command: RejectAdjustment, asked: Adjustment, now: datetime
) -> Decision[Changes, Adjustment]:
    """End an adjustment that waits. Refuses AdjustmentClosed."""
    _check_waiting(asked)
    return _changed(
        replace(
            asked,
            state=AdjustmentState.REJECTED,
            decider=command.actor,
            rejection_reason=command.reason,
            decide_time=now,
        )
    )


def _booked(
    asked: Adjustment,
    books: Books,
    told: tuple[Event, ...],
    policy: CurrencyPolicy,
    now: datetime,
) -> Decision[Changes, Adjustment]:
    available = books.wallet.available
    if -asked.points > available:
        raise InsufficientPoints(points_needed=-asked.points, points_available=available)
    cause = Cause(
        now=now,
        occurred_time=now,
        reference=asked.adjustment_id,
        reason=asked.reason,
        explanation=notes.written(notes.Note(actor=asked.actor, approver=asked.decider)),
    )
    movement = ledger_transfers.adjust(books.wallet, books.lots, asked.points, cause, policy)
    booked = replace(
        asked,
        member_key=books.wallet.member_key,
        state=AdjustmentState.BOOKED,
        decide_time=now,
        entry_sequence=books.book(movement).sequence,
    )
    return Decision(
        state=Changes(movements=tuple(books.movements), wallets=books.rewritten, adjustment=booked),
        answer=booked,
        events=(*told, *clock_events(books), AdjustmentChanged(adjustment=booked)),
    )


def _changed(adjustment: Adjustment) -> Decision[Changes, Adjustment]:
    return Decision(
        state=Changes(adjustment=adjustment),
        answer=adjustment,
        events=(AdjustmentChanged(adjustment=adjustment),),
    )


def _check_waiting(asked: Adjustment) -> None:
    if asked.state is not AdjustmentState.AWAITING_APPROVAL:
        raise AdjustmentClosed(adjustment_id=asked.adjustment_id, state=asked.state)


def _name(actor: str) -> str:
    """An actor's name as it is compared: nobody becomes another by blanks or capitals."""
    return actor.strip().casefold()
