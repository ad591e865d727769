"""How points go from one wallet to another, and how they are corrected by hand.

Points that change hands keep their lots' times: one pair of entries for each lot that gives, and
the lot that it makes ends when the one it came of would have ended. Points that become points of
another currency are one pair, and live as those of that currency do.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from services.earning import ledger, ledger_clock, notes
from services.earning.domain import (
    EARNED_MAX,
    Account,
    CurrencyId,
    EntryType,
    Lot,
    LotUse,
    Wallet,
)
from services.earning.expiry import CurrencyPolicy, Sliding, expire_time
from services.earning.ledger import MADE, Cause, Change, Movement
from services.earning.ledger_books import Books
from services.earning.points_records import Conversion
from services.earning.refusals import PointsOutOfRange


def transfer(
    source: Wallet,
    lots: Mapping[int, Lot],
    target: Wallet,
    points: int,
    cause: Cause,
    policy: CurrencyPolicy,
) -> tuple[Movement, ...]:
    """Move available points, at most what there is, to another wallet of the same currency.

    Debt of the target is repaid first. Refuses PointsOutOfRange.
    """
    giving, taking = Books.of(source, lots), Books.of(target, {})
    movements: list[Movement] = []
    for use in ledger.take(ledger.usable(source, lots), points):
        lot = giving.lots[use.lot_sequence]
        movements += _pair(giving, taking, lot, -use.points, cause, policy)
    return tuple(movements)


def hand_over(
    source: Wallet,
    lots: Mapping[int, Lot],
    target: Wallet,
    target_lots: Mapping[int, Lot],
    cause: Cause,
    policy: CurrencyPolicy,
) -> tuple[Movement, ...]:
    """Move everything but held points to another wallet: debt, then all lots, pending ones too.

    What the one has repays what the other owes, as if they had always been one wallet.
    Refuses PointsOutOfRange.
    """
    giving, taking = Books.of(source, lots), Books.of(target, target_lots)
    movements: list[Movement] = []
    if source.debt:
        movements += _hand_over_debt(giving, taking, cause)
    order = sorted(lots.values(), key=lambda lot: ledger.use_order(lot, source.slide_time))
    for lot in order:
        if lot.remaining:
            movements += _pair(giving, taking, lot, lot.remaining, cause, policy)
    return tuple(movements)


def adjust(
    wallet: Wallet, lots: Mapping[int, Lot], points: int, cause: Cause, policy: CurrencyPolicy
) -> Movement:
    """Correct a wallet: give points (debt is repaid first), or take at most what is available.

    Points given live as the policy says, and are never pending. Refuses PointsOutOfRange.
    """
    if points < 0:
        uses = ledger.take(ledger.usable(wallet, lots), -points)
        change = Change(type=EntryType.ADJUST, account=Account.ADJUSTMENT, available=points)
        return ledger.moved(wallet, lots, change, uses, cause)
    return _give(wallet, points, EntryType.ADJUST, Account.ADJUSTMENT, cause, policy)


def convert(
    source: Wallet,
    lots: Mapping[int, Lot],
    target: Wallet,
    points: int,
    rate: Conversion,
    cause: Cause,
    policies: Mapping[CurrencyId, CurrencyPolicy],
) -> tuple[Movement, Movement]:
    """Turn available points, at most what there is, into those of the member's other wallet.

    It is a spending of the one and an earning of the other, as far as points slide. What comes is
    never pending, and repays debt first. Refuses PointsOutOfRange.
    """
    policy = policies[source.currency_id]
    out = Change(
        type=EntryType.CONVERT_OUT,
        account=Account.CONVERSION,
        available=-points,
        slide_time=ledger_clock.moved_slide(source, policy, cause.now),
    )
    uses = ledger.take(ledger.usable(source, lots), points)
    left = ledger.moved(source, lots, out, uses, _converting(cause, rate, target))
    came = _give(
        target,
        rate.given_for(points),
        EntryType.CONVERT_IN,
        Account.CONVERSION,
        _converting(cause, rate, source),
        policies[target.currency_id],
    )
    return left, came


def _give(
    wallet: Wallet,
    points: int,
    type_: EntryType,
    account: Account,
    cause: Cause,
    policy: CurrencyPolicy,
) -> Movement:
    """Points that live as the policy says from now on, and are never pending; debt comes first."""
    _check_room(wallet, points)
    repaid = min(wallet.debt, points)
    ends = None
    if policy.expiry is not None and not isinstance(policy.expiry, Sliding):
        ends = expire_time(policy.expiry, cause.now, policy.zone)
    change = Change(
        type=type_,
        account=account,
        available=points - repaid,
        debt=repaid,
        lot_sequence=MADE,
        lot_available_time=cause.now,
        lot_expire_time=ends,
        slide_time=ledger_clock.moved_slide(wallet, policy, cause.now),
    )
    return ledger.watched(ledger.making(wallet, change, points, repaid, cause), policy, cause)


def _pair(
    giving: Books, taking: Books, lot: Lot, points: int, cause: Cause, policy: CurrencyPolicy
) -> tuple[Movement, Movement]:
    """Move points of one lot: out of the one wallet, and into a new lot of the other."""
    _check_room(taking.wallet, points)
    pending = points if lot.is_pending else 0
    uses = (LotUse(lot_sequence=lot.lot_sequence, points=-points),)
    out = Change(
        type=EntryType.TRANSFER_OUT,
        account=Account.TRANSFER,
        available=pending - points,
        pending=-pending,
    )
    cause = replace(cause, activity_id=lot.activity_id)
    left = ledger.moved(giving.wallet, giving.lots, out, uses, _with(cause, taking))
    giving.book(left)
    repaid = 0 if pending else min(taking.wallet.debt, points)
    into = Change(
        type=EntryType.TRANSFER_IN,
        account=Account.TRANSFER,
        available=points - pending - repaid,
        pending=pending,
        debt=repaid,
        lot_sequence=MADE,
        lot_available_time=lot.available_time,
        lot_expire_time=lot.expire_time,
        slide_time=_later(giving.wallet, taking.wallet) if lot.is_sliding else None,
    )
    made = ledger.making(taking.wallet, into, points, repaid, _with(cause, giving, left))
    came = ledger.watched(made, policy, cause)
    taking.book(came)
    return left, came


def _hand_over_debt(giving: Books, taking: Books, cause: Cause) -> list[Movement]:
    """Move what is owed; the target repays what it can at once."""
    owed = giving.wallet.debt
    out = Change(type=EntryType.TRANSFER_OUT, account=Account.TRANSFER, debt=owed)
    left = ledger.moved(giving.wallet, giving.lots, out, (), _with(cause, taking))
    giving.book(left)
    uses = ledger.take(ledger.usable(taking.wallet, taking.lots), owed)
    repaid = -ledger.total(uses)
    into = Change(
        type=EntryType.TRANSFER_IN,
        account=Account.TRANSFER,
        available=-repaid,
        debt=repaid - owed,
    )
    came = ledger.moved(taking.wallet, taking.lots, into, uses, _with(cause, giving, left))
    taking.book(came)
    return [left, came]


def _with(cause: Cause, other: Books, done: Movement | None = None) -> Cause:
    """The cause of an entry whose other half is, or will be, the next one of the other wallet."""
    sequence = done.entry.sequence if done else other.wallet.sequence + 1
    note = notes.Note(other_member_key=other.wallet.member_key, other_sequence=sequence)
    return replace(cause, explanation=notes.written(note))


def _converting(cause: Cause, rate: Conversion, other: Wallet) -> Cause:
    """The cause of one half of a conversion; both wallets are as they are before it."""
    note = notes.Note(
        other_currency_id=other.currency_id,
        other_sequence=other.sequence + 1,
        numerator=rate.numerator,
        denominator=rate.denominator,
    )
    return replace(cause, explanation=notes.written(note))


def _later(source: Wallet, target: Wallet) -> datetime | None:
    """End of the sliding points of both; a transfer shortens neither."""
    ends = [end for end in (source.slide_time, target.slide_time) if end is not None]
    return max(ends, default=None)


def _check_room(wallet: Wallet, points: int) -> None:
    if wallet.available + wallet.pending + wallet.held + points > EARNED_MAX:
        raise PointsOutOfRange(what="points of a wallet", limit=EARNED_MAX)
