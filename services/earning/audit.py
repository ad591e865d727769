"""Recomputes a wallet and an activity from what was written down, and says what does not agree.

Pure: `verification.py` reads the rows. The rules that are named in violations:

- entry_type: the type and the account of an entry are among those that there are
- entry_sequence: the entries of a wallet are numbered 1, 2, 3 …
- entry_zero_sum: the changes of an entry, the program's account included, sum to zero
- entry_account: each type of entry moves points against its own account of the program
- entry_lots: what an entry made, used and gave back of lots is the change of what is available
- entry_balance: after no entry is anything below zero, and `available_after` is what was left
- entry_chain: each entry is hashed over the one before
- wallet_equals_entries: a wallet is the sum of its entries, and has the hash of the last one
- lots_equal_entries: lots and what remains of them are what the entries made of them
- holds_equal_entries: open holds are what is held; captures and refunds are what was booked
- activity_entry: the points of an activity are booked once, under its name, with its explanation
- activity_lines: the shares of the lines are those explained, and add up to the points
- activity_reversals: what was returned is the sum of the reversals, rounded down in total
- activity_recomputed: the rules of the version that decided give the same points again
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.earning import ledger, rules
from services.earning.domain import (
    Account,
    ActivityRecord,
    Entry,
    EntryType,
    Hold,
    HoldState,
    Lot,
    Reversal,
    ReversalWay,
    Wallet,
)

_ACCOUNTS = {
    EntryType.EARN: Account.ISSUANCE,
    EntryType.CREDIT: Account.ISSUANCE,
    EntryType.REVERSE: Account.REVERSAL,
    EntryType.HOLD: Account.NONE,
    EntryType.CAPTURE: Account.REDEMPTION,
    EntryType.VOID: Account.NONE,
    EntryType.REFUND: Account.REDEMPTION,
    EntryType.EXPIRE: Account.EXPIRY,
}
_DETAIL_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """What does not hold, where, and what was expected and found."""

    rule: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a stage is, and what was found since the last one."""

    stage: str
    done: int
    total: int
    violations: tuple[Violation, ...] = ()


@dataclass(slots=True)
class _Held:
    """What the entries say of one hold."""

    points: int = 0
    captured: int = 0
    refunded: int = 0
    is_open: bool = True


@dataclass(slots=True, kw_only=True)
class WalletAudit:
    """Takes the entries of one wallet in their order, then compares what they come to."""

    subject: str
    wallet: Wallet
    violations: list[Violation] = field(default_factory=list)
    _lots: dict[int, Lot] = field(default_factory=dict)
    _held: dict[str, _Held] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Book one entry on what was recomputed so far."""
        before = self.wallet
        subject = f"{self.subject}#{entry.sequence}"
        self._expect("entry_sequence", subject, before.sequence + 1, entry.sequence)
        change = ledger.Change(
            type=entry.type,
            account=entry.program_account,
            available=entry.available_delta,
            pending=entry.pending_delta,
            held=entry.held_delta,
            debt=entry.debt_delta,
            earned=-entry.program_delta if entry.program_account is Account.ISSUANCE else 0,
            spent=entry.program_delta if entry.program_account is Account.REDEMPTION else 0,
            reversed=entry.program_delta if entry.program_account is Account.REVERSAL else 0,
        )
        cause = ledger.Cause(
            now=entry.create_time,
            occurred_time=entry.occurred_time,
            activity_id=entry.activity_id,
            reference=entry.reference,
            reason=entry.reason,
            explanation=entry.explanation,
        )
        self.wallet, again = ledger.post(before, change, entry.lot_uses, cause)
        self._expect("entry_zero_sum", subject, again.program_delta, entry.program_delta)
        self._expect("entry_account", subject, _ACCOUNTS[entry.type], entry.program_account)
        self._expect("entry_balance", subject, again.available_after, entry.available_after)
        after = self.wallet
        if min(after.available, after.pending, after.held, after.debt) < 0:
            self._say("entry_balance", subject, "a balance is below zero")
        self._expect("entry_chain", subject, again.chain_hash.hex(), entry.chain_hash.hex())
        self._use_lots(subject, entry)
        self._use_holds(entry)

    def finish(self, stored: Wallet | None, lots: Iterable[Lot], holds: Iterable[Hold]) -> None:
        """Compare the wallet, the lots and the holds that are stored with what the entries make."""
        self._expect("wallet_equals_entries", self.subject, self.wallet, stored)
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

    def _use_lots(self, subject: str, entry: Entry) -> None:
        made = 0
        if entry.program_account is Account.ISSUANCE:
            made = -entry.program_delta
            self._lots[entry.sequence] = Lot(
                lot_sequence=entry.sequence,
                amount=made,
                remaining=made,
                available_time=entry.create_time,
                expire_time=None,
                activity_id=entry.activity_id,
            )
        moved = made + ledger.total(entry.lot_uses)
        self._expect("entry_lots", subject, entry.available_delta, moved)
        known = [use for use in entry.lot_uses if use.lot_sequence in self._lots]
        if len(known) != len(entry.lot_uses):
            self._say("entry_lots", subject, "it used a lot that was never made")
        for lot in ledger.after(self._lots, known):
            if not 0 <= lot.remaining <= lot.amount:
                self._say("entry_lots", subject, f"lot {lot.lot_sequence} has {lot.remaining} left")
            self._lots[lot.lot_sequence] = lot

    def _use_holds(self, entry: Entry) -> None:
        if entry.type is EntryType.HOLD:
            self._held[entry.reference] = _Held(points=entry.held_delta)
            return
        held = self._held.get(entry.reference)
        if held is None:
            return
        if entry.type is EntryType.CAPTURE:
            held.captured, held.is_open = entry.program_delta, False
        elif entry.type is EntryType.VOID:
            held.is_open = False
        elif entry.type is EntryType.REFUND:
            held.refunded -= entry.program_delta

    def _expect(self, rule: str, subject: str, expected: object, found: object) -> None:
        if expected != found:
            self._say(rule, subject, f"expected {expected}, found {found}")

    def _say(self, rule: str, subject: str, detail: str) -> None:
        self.violations.append(Violation(rule=rule, subject=subject, detail=detail[:_DETAIL_MAX]))


def _held_by(hold: Hold) -> _Held:
    return _Held(
        points=hold.points,
        captured=hold.captured,
        refunded=hold.refunded,
        is_open=hold.state is HoldState.OPEN,
    )


def audit_activity(
    record: ActivityRecord, entry: Entry | None, reversals: Sequence[Reversal]
) -> list[Violation]:
    """What does not agree between an activity, its entry, its lines and its reversals."""
    subject = f"{record.program_id}/{record.activity_id}"
    try:
        explanation = rules.read(record.explanation)
    except (ValueError, TypeError):
        return [Violation(rule="activity_lines", subject=subject, detail="explanation unreadable")]
    checks = (
        ("activity_entry", _booked(record), _found(entry)),
        ("activity_lines", *_shares(record, explanation)),
        ("activity_reversals", *_returned(record, reversals)),
    )
    return [
        Violation(
            rule=rule, subject=subject, detail=f"expected {expected}, found {found}"[:_DETAIL_MAX]
        )
        for rule, expected, found in checks
        if expected != found
    ]


def audit_decision(
    record: ActivityRecord, rules_: rules.Rules, deed: rules.Deed
) -> list[Violation]:
    """Whether the rules that decided an activity still give what was written down."""
    again = rules.written(rules.decide(rules_, deed, record.level_id).explanation)
    if again == record.explanation:
        return []
    detail = f"expected {again}, found {record.explanation}"
    return [
        Violation(
            rule="activity_recomputed",
            subject=f"{record.program_id}/{record.activity_id}",
            detail=detail[:_DETAIL_MAX],
        )
    ]


def _booked(record: ActivityRecord) -> tuple[object, ...]:
    """What the entry of an activity must say; nothing when it earned nothing."""
    if not record.points:
        return ()
    return (
        EntryType.EARN,
        record.activity_id,
        record.points,
        record.explanation,
        record.occurred_time,
        record.create_time,
    )


def _found(entry: Entry | None) -> tuple[object, ...]:
    if entry is None:
        return ()
    return (
        entry.type,
        entry.activity_id,
        -entry.program_delta,
        entry.explanation,
        entry.occurred_time,
        entry.create_time,
    )


def _shares(record: ActivityRecord, explanation: rules.Explanation) -> tuple[object, object]:
    explained = (
        explanation.program_version,
        explanation.level_id,
        explanation.line_points,
        record.points if record.lines else 0,
    )
    found = (
        record.program_version,
        record.level_id,
        tuple(line.points for line in record.lines),
        sum(line.points for line in record.lines),
    )
    return explained, found


def _returned(record: ActivityRecord, reversals: Sequence[Reversal]) -> tuple[object, object]:
    """Sums of the reversals, the totals that follow from units, and what is stored of them."""
    units: dict[int, list[int]] = {}
    for reversal in reversals:
        for line in reversal.lines:
            sums = units.setdefault(line.line_number, [0, 0, 0])
            for at, part in enumerate((line.quantity, line.amount, line.points)):
                sums[at] += part
    expected = (
        sum(reversal.points for reversal in reversals),
        sum(reversal.amount for reversal in reversals),
        bool(reversals),
        tuple(tuple(units.get(line.line_number, (0, 0, 0))) for line in record.lines),
        tuple(
            (
                line.amount * line.quantity_returned // line.quantity,
                line.points * line.quantity_returned // line.quantity,
            )
            for line in record.lines
        ),
    )
    found = (
        record.points_reversed,
        record.amount_reversed,
        record.reversal_way is not ReversalWay.NONE,
        tuple(
            (line.quantity_returned, line.amount_returned, line.points_returned)
            for line in record.lines
        ),
        tuple((line.amount_returned, line.points_returned) for line in record.lines),
    )
    return expected, found


def by_activity(reversals: Iterable[Reversal]) -> Mapping[str, list[Reversal]]:
    """Reversals by what they reverse."""
    grouped: dict[str, list[Reversal]] = {}
    for each in reversals:
        grouped.setdefault(each.activity_id, []).append(each)
    return grouped
