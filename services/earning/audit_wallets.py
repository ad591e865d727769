"""Recomputes a wallet, its lots and its holds from its entries alone.

The rules that violations name are listed in `audit.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.earning import ledger, ledger_clock, ledger_holds, notes
from services.earning.audit import DETAIL_MAX, Violation
from services.earning.domain import (
    Account,
    Entry,
    EntryType,
    Hold,
    HoldState,
    Lot,
    LotUse,
    Wallet,
)
from services.earning.notes import Note
from services.earning.points_records import Adjustment, AdjustmentState

_ACCOUNTS = {
    EntryType.EARN: Account.ISSUANCE,
    EntryType.CREDIT: Account.ISSUANCE,
    EntryType.REVERSE: Account.REVERSAL,
    EntryType.HOLD: Account.NONE,
    EntryType.CAPTURE: Account.REDEMPTION,
    EntryType.VOID: Account.NONE,
    EntryType.REFUND: Account.REDEMPTION,
    EntryType.EXPIRE: Account.EXPIRY,
    EntryType.ACTIVATE: Account.NONE,
    EntryType.TRANSFER_IN: Account.TRANSFER,
    EntryType.TRANSFER_OUT: Account.TRANSFER,
    EntryType.ADJUST: Account.ADJUSTMENT,
    EntryType.EXTEND: Account.NONE,
    EntryType.REINSTATE: Account.EXPIRY,
    EntryType.REFERRAL: Account.ISSUANCE,
}
_DATING = {EntryType.ACTIVATE, EntryType.EXTEND, EntryType.REINSTATE}
"""Entries that tell new times of a lot that is there."""


@dataclass(slots=True)
class _Held:
    """What the entries say of one hold."""

    points: int = 0
    captured: int = 0
    refunded: int = 0
    is_open: bool = True
    lots: tuple[LotUse, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Adjusted:
    """What an entry says of an adjustment."""

    sequence: int
    points: int
    reason: str
    note: Note
    create_time: datetime


@dataclass(slots=True, kw_only=True)
class WalletAudit:
    """Takes the entries of one wallet in their order, then compares what they come to."""

    subject: str
    wallet: Wallet
    violations: list[Violation] = field(default_factory=list)
    _lots: dict[int, Lot] = field(default_factory=dict)
    _held: dict[str, _Held] = field(default_factory=dict)
    _adjusted: dict[str, _Adjusted] = field(default_factory=dict)
    _ended: dict[int, int] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Book one entry on what was recomputed so far."""
        before = self.wallet
        subject = f"{self.subject}#{entry.sequence}"
        self._expect("entry_sequence", subject, before.sequence + 1, entry.sequence)
        self._use_holds(subject, entry)
        if entry.type is EntryType.ADJUST:
            self._adjusted[entry.reference] = _adjusted_by(entry)
        self.wallet, again = ledger.post(before, _change(entry), entry.lot_uses, _cause(entry))
        self._expect("entry_zero_sum", subject, again.program_delta, entry.program_delta)
        self._expect("entry_account", subject, _ACCOUNTS[entry.type], entry.program_account)
        self._expect("entry_balance", subject, again.available_after, entry.available_after)
        after = self.wallet
        if min(after.available, after.pending, after.held, after.debt) < 0:
            self._say("entry_balance", subject, "a balance is below zero")
        self._expect("entry_chain", subject, again.chain_hash.hex(), entry.chain_hash.hex())
        self._use_lots(subject, entry)

    def finish(
        self,
        stored: Wallet | None,
        lots: Iterable[Lot],
        holds: Iterable[Hold],
        adjustments: Iterable[Adjustment] = (),
    ) -> None:
        """Compare what is stored of the wallet with what the entries make of it."""
        next_time = stored.next_time if stored else None
        self._expect(
            "wallet_equals_entries", self.subject, replace(self.wallet, next_time=next_time), stored
        )
        self._look_ahead(next_time)
        found = {lot.lot_sequence: lot for lot in lots}
        for sequence in sorted(self._lots.keys() | found.keys()):
            self._expect(
                "lots_equal_entries",
                f"{self.subject}/{sequence}",
                self._lots.get(sequence),
                found.get(sequence),
            )
        stored_holds: dict[str, Hold] = {hold.hold_id: hold for hold in holds}
        for hold_id in sorted(self._held.keys() | stored_holds.keys()):
            stored_hold = stored_holds.get(hold_id)
            self._expect(
                "holds_equal_entries",
                f"{self.subject}/{hold_id}",
                self._held.get(hold_id),
                _held_by(stored_hold) if stored_hold else None,
            )
        held = sum(hold.points for hold in stored_holds.values() if hold.state is HoldState.OPEN)
        self._expect("holds_equal_entries", self.subject, self.wallet.held, held)
        booked: dict[str, _Adjusted] = {
            each.adjustment_id: _adjusted_as(each)
            for each in adjustments
            if each.state is AdjustmentState.BOOKED
        }
        for name in sorted(self._adjusted.keys() | booked.keys()):
            subject = f"{self.subject}/{name}"
            found_ = booked.get(name)
            self._expect("adjustments_equal_entries", subject, self._adjusted.get(name), found_)

    def _look_ahead(self, next_time: datetime | None) -> None:
        """The clock looks at the wallet no later than at the first thing that it has to do."""
        instants = [
            instant
            for lot in self._lots.values()
            if lot.remaining and (instant := self._first(lot)) is not None
        ]
        first = min(instants, default=None)
        if first is not None and (next_time is None or next_time > first):
            detail = f"the clock looks at {next_time}, and has to at {first}"
            self._say("wallet_next_time", self.subject, detail)

    def _first(self, lot: Lot) -> datetime | None:
        if lot.is_pending:
            return lot.available_time
        return ledger_clock.end_of(lot, self.wallet.slide_time)

    def _use_lots(self, subject: str, entry: Entry) -> None:
        available, pending = self._make_lot(subject, entry)
        known = [use for use in entry.lot_uses if use.lot_sequence in self._lots]
        if len(known) != len(entry.lot_uses):
            self._say("entry_lots", subject, "it used a lot that was never made")
        for use, lot in zip(known, ledger.after(self._lots, known), strict=True):
            self._check_time(subject, entry, use)
            if not 0 <= lot.remaining <= lot.amount:
                self._say("entry_lots", subject, f"lot {lot.lot_sequence} has {lot.remaining} left")
            self._lots[lot.lot_sequence] = lot
            if lot.is_pending:
                pending += use.points
            else:
                available += use.points
        self._expect("entry_lots", subject, entry.available_delta, available)
        self._expect("entry_lots", subject, entry.pending_delta, pending)

    def _make_lot(self, subject: str, entry: Entry) -> tuple[int, int]:
        """Make the lot of an entry, or date one again; what that brings available and pending."""
        if entry.lot_sequence == 0:
            return 0, 0
        slides = entry.slide_time is not None and entry.lot_expire_time is None
        if entry.lot_sequence == entry.sequence and entry.type not in _DATING:
            points = -entry.program_delta
            self._lots[entry.sequence] = Lot(
                lot_sequence=entry.sequence,
                amount=points,
                remaining=points,
                available_time=entry.lot_available_time,
                expire_time=entry.lot_expire_time,
                activity_id=entry.activity_id,
                is_pending=entry.pending_delta > 0,
                is_sliding=slides,
            )
            return (0, points) if entry.pending_delta > 0 else (points, 0)
        lot = self._lots.get(entry.lot_sequence)
        if lot is None or entry.type not in _DATING:
            self._say("entry_lots", subject, f"it tells the times of lot {entry.lot_sequence}")
            return 0, 0
        activates = entry.type is EntryType.ACTIVATE
        self._come_back(subject, entry, lot)
        if activates:
            told = (lot.is_pending, entry.lot_available_time)
            self._expect("entry_lots_time", subject, (True, entry.occurred_time), told)
            if entry.occurred_time > entry.create_time:
                self._say("entry_lots_time", subject, "it became available before its time")
        self._lots[lot.lot_sequence] = replace(
            lot,
            available_time=entry.lot_available_time,
            expire_time=entry.lot_expire_time,
            is_pending=lot.is_pending and not activates,
            is_sliding=slides,
        )
        return (lot.remaining, -lot.remaining) if activates else (0, 0)

    def _come_back(self, subject: str, entry: Entry, lot: Lot) -> None:
        """What is extended ends later, and of a lot no more comes back than has ended."""
        end = ledger_clock.end_of(lot, self.wallet.slide_time)
        if entry.type is EntryType.EXTEND:
            if end is None or entry.lot_expire_time is None or entry.lot_expire_time <= end:
                self._say("entry_lots_time", subject, f"lot {lot.lot_sequence} ends no later")
        elif entry.type is EntryType.REINSTATE:
            left = self._ended.get(lot.lot_sequence, 0) + entry.program_delta
            self._ended[lot.lot_sequence] = left
            if left < 0:
                self._say("entry_lots", subject, f"{-left} points came back that never ended")

    def _check_time(self, subject: str, entry: Entry, use: LotUse) -> None:
        """Nothing is used of a lot that has ended, and nothing ends before its time."""
        lot, slide_time = self._lots[use.lot_sequence], self.wallet.slide_time
        if entry.type is EntryType.EXPIRE:
            due = ledger_clock.has_ended(lot, slide_time, entry.occurred_time)
            if not due or entry.occurred_time > entry.create_time or lot.remaining != -use.points:
                self._say("entry_lots_time", subject, f"lot {use.lot_sequence} had not ended so")
            self._ended[use.lot_sequence] = self._ended.get(use.lot_sequence, 0) - use.points
            return
        # What is booked late repaid debt at its instant.
        then = entry.occurred_time if entry.type is EntryType.ACTIVATE else entry.create_time
        if use.points < 0 and ledger_clock.has_ended(lot, slide_time, then):
            self._say("entry_lots_time", subject, f"lot {use.lot_sequence} had ended")

    def _use_holds(self, subject: str, entry: Entry) -> None:
        """Follow a hold; what goes back to which lot is decided again."""
        if entry.type is EntryType.HOLD:
            self._held[entry.reference] = _Held(points=entry.held_delta, lots=entry.lot_uses)
            return
        held = self._held.get(entry.reference)
        if held is None:
            return
        if entry.type is EntryType.CAPTURE:
            held.captured, held.is_open = entry.program_delta, False
            self._part(subject, held, held.captured)
        elif entry.type is EntryType.VOID:
            held.is_open, held.lots = False, ()
        elif entry.type is EntryType.REFUND:
            held.refunded -= entry.program_delta
            self._part(subject, held, held.captured - held.refunded)

    def _part(self, subject: str, held: _Held, points: int) -> None:
        if any(use.lot_sequence not in self._lots for use in held.lots):
            self._say("holds_equal_entries", subject, "its hold took of a lot that was never made")
            return
        held.lots = ledger_holds.part(self.wallet, self._lots, held.lots, points).kept

    def _expect(self, rule: str, subject: str, expected: object, found: object) -> None:
        if expected != found:
            self._say(rule, subject, f"expected {expected}, found {found}")

    def _say(self, rule: str, subject: str, detail: str) -> None:
        self.violations.append(Violation(rule=rule, subject=subject, detail=detail[:DETAIL_MAX]))


def _change(entry: Entry) -> ledger.Change:
    delta, account = entry.program_delta, entry.program_account
    return ledger.Change(
        type=entry.type,
        account=account,
        available=entry.available_delta,
        pending=entry.pending_delta,
        held=entry.held_delta,
        debt=entry.debt_delta,
        earned=-delta if account is Account.ISSUANCE else 0,
        spent=delta if account is Account.REDEMPTION else 0,
        reversed=delta if account is Account.REVERSAL else 0,
        expired=delta if account is Account.EXPIRY else 0,
        lot_sequence=entry.lot_sequence,
        lot_available_time=entry.lot_available_time,
        lot_expire_time=entry.lot_expire_time,
        slide_time=entry.slide_time,
    )


def _cause(entry: Entry) -> ledger.Cause:
    return ledger.Cause(
        now=entry.create_time,
        occurred_time=entry.occurred_time,
        activity_id=entry.activity_id,
        reference=entry.reference,
        reason=entry.reason,
        explanation=entry.explanation,
    )


def _held_by(hold: Hold) -> _Held:
    return _Held(
        points=hold.points,
        captured=hold.captured,
        refunded=hold.refunded,
        is_open=hold.state is HoldState.OPEN,
        lots=hold.lots,
    )


def _adjusted_by(entry: Entry) -> _Adjusted:
    return _Adjusted(
        sequence=entry.sequence,
        points=-entry.program_delta,
        reason=entry.reason,
        note=notes.read(entry.explanation),
        create_time=entry.create_time,
    )


def _adjusted_as(booked: Adjustment) -> _Adjusted:
    return _Adjusted(
        sequence=booked.entry_sequence,
        points=booked.points,
        reason=booked.reason,
        note=Note(actor=booked.actor, approver=booked.decider),
        create_time=booked.decide_time or booked.create_time,
    )
