"""Values of the domain as messages; nothing is decided here."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.earning.v1 import activity_pb2, ledger_pb2, program_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.feed.v1 import verification_pb2
from services.earning import explanations, notes
from services.earning.audit import Progress
from services.earning.domain import (
    Account,
    ActivityRecord,
    Entry,
    EntryType,
    FurtherEarning,
    Hold,
    HoldState,
    LineRecord,
    MemberId,
    MemberKey,
    Reversal,
    ReversalState,
    Wallet,
)
from services.earning.events import Recorded
from services.earning.ledger import micros
from services.earning.ledger_clock import Expiring
from services.earning.store_reads import LedgerSummary
from shared.programs import Scheduled, Version

_MICROS = 1_000_000
NAMELESS: Mapping[MemberKey, MemberId] = {}
_ENTRY_TYPES = {each: ledger_pb2.EntryType.Value(f"ENTRY_TYPE_{each.name}") for each in EntryType}
_ACCOUNTS = {
    Account.NONE: ledger_pb2.ACCOUNT_UNSPECIFIED,
    Account.ISSUANCE: ledger_pb2.ACCOUNT_ISSUANCE,
    Account.REDEMPTION: ledger_pb2.ACCOUNT_REDEMPTION,
    Account.EXPIRY: ledger_pb2.ACCOUNT_EXPIRY,
    Account.REVERSAL: ledger_pb2.ACCOUNT_REVERSAL,
    Account.ADJUSTMENT: ledger_pb2.ACCOUNT_ADJUSTMENT,
    Account.TRANSFER: ledger_pb2.ACCOUNT_TRANSFER,
    Account.CONVERSION: ledger_pb2.ACCOUNT_CONVERSION,
}
_HOLD_STATES = {each: ledger_pb2.Hold.State.Value(f"STATE_{each.name}") for each in HoldState}


def stamped(stamp: Timestamp, value: datetime) -> None:
    """Set a Timestamp of a message to an instant."""
    seconds, rest = divmod(micros(value), _MICROS)
    stamp.seconds = seconds
    stamp.nanos = rest * 1000


def recorded_to_proto(
    activity: activity_pb2.Activity, recorded: Recorded
) -> activity_pb2.ActivityRecord:
    """The record of an activity as it was answered, with the activity as it was sent."""
    explanation, line_points = _explained(recorded.explanation)
    message = activity_pb2.ActivityRecord(
        activity=activity,
        points=recorded.points,
        currency_id=recorded.currency_id,
        explanation=explanation,
        lines=[
            activity_pb2.LineRecord(line_number=number, points=points)
            for number, points in enumerate(line_points, start=1)
        ],
    )
    stamped(message.create_time, recorded.create_time)
    if recorded.available_time is not None:
        stamped(message.available_time, recorded.available_time)
    for each in recorded.further:
        message.further_earnings.append(_further(each))
    return message


def _further(earning: FurtherEarning) -> activity_pb2.FurtherEarning:
    explanation, line_points = _explained(earning.explanation)
    message = activity_pb2.FurtherEarning(
        currency_id=earning.currency_id,
        points=earning.points,
        explanation=explanation,
        line_points=line_points,
        points_reversed=earning.points_reversed,
    )
    if earning.available_time is not None:
        stamped(message.available_time, earning.available_time)
    return message


def activity_to_proto(record: ActivityRecord, member_id: str = "") -> activity_pb2.ActivityRecord:
    """A stored record as it is now."""
    message = activity_pb2.ActivityRecord(
        points=record.points,
        currency_id=record.currency_id,
        explanation=explanation_to_proto(record.explanation),
        lines=[_line(line) for line in record.lines],
        points_reversed=record.points_reversed,
        amount_minor_reversed=record.amount_reversed,
    )
    message.activity.MergeFromString(record.content)
    if member_id:
        message.activity.member_id = member_id
    stamped(message.create_time, record.create_time)
    if record.available_time is not None:
        stamped(message.available_time, record.available_time)
    for each in record.further:
        if each.points:
            message.further_earnings.append(_further(each))
    return message


def _line(line: LineRecord) -> activity_pb2.LineRecord:
    return activity_pb2.LineRecord(
        line_number=line.line_number,
        points=line.points,
        quantity_returned=line.quantity_returned,
        points_returned=line.points_returned,
        amount_minor_returned=line.amount_returned,
    )


def explanation_to_proto(text: str) -> activity_pb2.Explanation:
    """The explanation of a stored text; not to be changed, it is remembered."""
    return _explained(text)[0]


@lru_cache(maxsize=1_024)
def _explained(text: str) -> tuple[activity_pb2.Explanation, tuple[int, ...]]:
    """The explanation and the shares of the lines; an event and its answer both ask for them."""
    explanation = explanations.read(text)
    return _explanation(explanation), explanation.line_points


def _explanation(explanation: explanations.Explanation) -> activity_pb2.Explanation:
    return activity_pb2.Explanation(
        program_version=explanation.program_version,
        level_id=explanation.level_id,
        rules=[_outcome(rule) if rule.matched else _refused(rule) for rule in explanation.rules],
        multiplier_numerator=explanation.numerator,
        multiplier_denominator=explanation.denominator,
        points_wanted=_wanted(explanation),
        caps=[
            activity_pb2.CapOutcome(
                cap_id=cap.cap_id,
                period=cap.period,
                points_left=cap.left,
                points_counted=cap.counted,
                cut=cap.cut,
            )
            for cap in explanation.caps
        ],
    )


def _outcome(rule: explanations.RuleOutcome) -> activity_pb2.RuleOutcome:
    return activity_pb2.RuleOutcome(
        rule_id=rule.rule_id,
        matched=rule.matched,
        reason=rule.reason,
        amount_minor=rule.amount,
        points=rule.points,
        factor_numerator=rule.numerator,
        factor_denominator=rule.denominator,
        points_granted=rule.granted,
        failed=rule.failed,
    )


_refused = lru_cache(maxsize=1_024)(_outcome)
"""Rules that do not apply say the same of most activities; not to be changed."""


def _wanted(explanation: explanations.Explanation) -> int:
    """The points that no cap has cut; without caps those given."""
    if explanation.wanted >= 0:
        return explanation.wanted
    return sum(rule.granted for rule in explanation.rules)


_REVERSAL_STATES = {
    ReversalState.APPLIED: activity_pb2.REVERSAL_STATE_APPLIED,
    ReversalState.WAITING: activity_pb2.REVERSAL_STATE_WAITING,
    ReversalState.REJECTED: activity_pb2.REVERSAL_STATE_REJECTED,
}


def reversal_to_proto(reversal: Reversal) -> activity_pb2.Reversal:
    """A reversal, with the lines as they were bought."""
    message = activity_pb2.Reversal(
        reversal_id=reversal.reversal_id,
        activity_id=reversal.activity_id,
        points=reversal.points,
        points_owed=reversal.owed,
        amount_minor=reversal.amount,
        state=_REVERSAL_STATES[reversal.state],
        rejected_reason=reversal.rejected_reason,
    )
    for line in reversal.lines:
        returned = message.lines.add(
            line_number=line.line_number,
            quantity=line.quantity,
            points=line.points,
            amount_minor=line.amount,
        )
        returned.item.MergeFromString(line.item)
    for each in reversal.further:
        message.further_reversals.add(
            currency_id=each.currency_id,
            points=each.points,
            points_owed=each.owed,
            line_points=each.line_points,
        )
    if reversal.given_back is not None:
        message.given_back.hold_id = reversal.given_back.hold_id
        message.given_back.currency_id = reversal.given_back.currency_id
        message.given_back.points = reversal.given_back.points
    stamped(message.occurred_time, reversal.occurred_time)
    stamped(message.create_time, reversal.create_time)
    return message


def wallet_to_proto(
    wallet: Wallet, member_id: str, expiring: Iterable[Expiring] = ()
) -> ledger_pb2.Wallet:
    """A wallet as its owner knows it."""
    message = ledger_pb2.Wallet(
        member_id=member_id,
        currency_id=wallet.currency_id,
        points_available=wallet.available,
        points_pending=wallet.pending,
        points_held=wallet.held,
        points_debt=wallet.debt,
        points_earned=wallet.earned,
        points_spent=wallet.spent,
        points_expired=wallet.expired,
        points_reversed=wallet.reversed,
        entry_count=wallet.sequence,
        chain_hash=wallet.chain_hash,
    )
    for each in expiring:
        stamped(message.expiring.add(points=each.points).expire_time, each.expire_time)
    return message


def entry_to_proto(entry: Entry) -> ledger_pb2.Entry:
    """An entry; the accounts that it leaves alone have no posting."""
    postings = (
        (ledger_pb2.ACCOUNT_AVAILABLE, entry.available_delta),
        (ledger_pb2.ACCOUNT_PENDING, entry.pending_delta),
        (ledger_pb2.ACCOUNT_HELD, entry.held_delta),
        (ledger_pb2.ACCOUNT_DEBT, entry.debt_delta),
        (_ACCOUNTS[entry.program_account], entry.program_delta),
    )
    message = ledger_pb2.Entry(
        sequence=entry.sequence,
        type=_ENTRY_TYPES[entry.type],
        postings=[
            ledger_pb2.Posting(account=account, points=points)
            for account, points in postings
            if points
        ],
        activity_id=entry.activity_id,
        reference=entry.reference,
        reason=entry.reason,
        lot_uses=_uses(entry),
        points_available_after=entry.available_after,
        chain_hash=entry.chain_hash,
        lot_sequence=entry.lot_sequence,
        currency_id=entry.currency_id,
    )
    if entry.lot_available_time is not None:
        stamped(message.lot_available_time, entry.lot_available_time)
    if entry.lot_expire_time is not None:
        stamped(message.lot_expire_time, entry.lot_expire_time)
    if entry.slide_time is not None:
        stamped(message.slide_time, entry.slide_time)
    if notes.is_note(entry.explanation):
        note = notes.read(entry.explanation)
        message.actor, message.approver = note.actor, note.approver
        if note.other_currency_id:
            message.conversion.currency_id = note.other_currency_id
            message.conversion.sequence = note.other_sequence
            message.conversion.numerator = note.numerator
            message.conversion.denominator = note.denominator
    elif entry.explanation:
        message.explanation.CopyFrom(explanation_to_proto(entry.explanation))
    stamped(message.create_time, entry.create_time)
    stamped(message.occurred_time, entry.occurred_time)
    return message


def _uses(entry: Entry) -> Iterable[ledger_pb2.LotUse]:
    """What the entry did to lots; the one that it made comes first."""
    if entry.lot_sequence == entry.sequence:
        yield ledger_pb2.LotUse(lot_sequence=entry.sequence, points=-entry.program_delta)
    for use in entry.lot_uses:
        yield ledger_pb2.LotUse(lot_sequence=use.lot_sequence, points=use.points)


def hold_to_proto(
    hold: Hold, member_id: str = "", names: Mapping[MemberKey, MemberId] = NAMELESS
) -> ledger_pb2.Hold:
    """A hold; events and answers to calls by key carry no identifier. `names` are of shares."""
    message = ledger_pb2.Hold(
        hold_id=hold.hold_id,
        member_id=member_id,
        currency_id=hold.currency_id,
        points=hold.points,
        points_captured=hold.captured,
        points_refunded=hold.refunded,
        state=_HOLD_STATES[hold.state],
        reference=hold.reference,
        activity_id=hold.activity_id,
        household_id=hold.household_id,
        shares=[
            ledger_pb2.HoldShare(
                member_id=names.get(each.member_key, ""),
                points=each.points,
                points_captured=each.captured,
                points_refunded=each.refunded,
            )
            for each in hold.shares
        ],
    )
    stamped(message.expire_time, hold.expire_time)
    return message


def summary_to_proto(summary: LedgerSummary) -> pb.GetLedgerSummaryResponse:
    """Totals of a program."""
    return pb.GetLedgerSummaryResponse(
        member_count=summary.members,
        activities=[
            pb.ActivityCount(type=type_, count=count) for type_, count in summary.activities
        ],
        reversal_count=summary.reversals,
        points_earned=summary.earned,
        points_credited=summary.credited,
        points_reversed=summary.reversed,
        points_spent=summary.spent,
        points_expired=summary.expired,
        points_available=summary.available,
        points_pending=summary.pending,
        points_held=summary.held,
        points_debt=summary.debt,
        points_adjusted=summary.adjusted,
        points_referred=summary.referred,
        points_converted=summary.converted,
    )


def version_to_proto(version: Version | Scheduled) -> program_pb2.EarningProgramVersion:
    """A version of the document as it was applied."""
    return program_pb2.EarningProgramVersion(
        version=version.version,
        program=program_pb2.EarningProgram.FromString(version.content),
        author=version.author,
        etag=version.etag,
    )


def progress_to_proto(progress: Progress) -> pb.VerifyLedgerResponse:
    """How far a verification is, and what it found."""
    return pb.VerifyLedgerResponse(
        progress=verification_pb2.VerificationProgress(
            stage=progress.stage,
            done=progress.done,
            total=progress.total,
            violations=[
                verification_pb2.Violation(
                    rule=each.rule, subject=each.subject[:256], detail=each.detail
                )
                for each in progress.violations
            ],
        )
    )
