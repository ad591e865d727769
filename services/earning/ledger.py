"""How points move: double entry, lots, debt, and the hash chain of a wallet.

Every movement makes one entry whose changes sum to zero, and says which lots it made or used.
Always: available, and pending, = sum of what remains in such lots; held = sum of the open holds; a
lot's amount = what remains + what its uses took; sequence counts the entries from 1; spendable is
never below 0.
What becomes available, or comes back to the wallet, repays debt first.
Holds are in `ledger_holds.py`, what the clock brings in `ledger_settling.py`, gifts, corrections
and mergers in `ledger_transfers.py`. All expect a wallet that is settled.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from json.encoder import encode_basestring as _quoted  # a text as JSON has it, not as ASCII
from operator import attrgetter

from services.earning import ledger_clock
from services.earning.domain import (
    EARNED_MAX,
    NO_ACTIVITY,
    Account,
    ActivityId,
    Entry,
    EntryType,
    Lot,
    LotUse,
    ReversalPolicy,
    Wallet,
)
from services.earning.expiry import (
    CurrencyPolicy,
    PendingFor,
    Sliding,
    UntilConfirmed,
    expire_time,
)
from services.earning.refusals import PointsOutOfRange
from shared.values import value

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NEVER = datetime.max.replace(tzinfo=UTC)
_age = attrgetter("lot_sequence")
MADE = -1
"""Stands for the lot that an entry makes, in a change whose sequence is not known yet."""


@value
class Cause:
    """Why an entry is booked; instants, and the identifiers of what is behind it."""

    now: datetime
    occurred_time: datetime
    activity_id: ActivityId = NO_ACTIVITY
    reference: str = ""
    reason: str = ""
    explanation: str = ""


@value
class Movement:
    """One entry; the wallet, the lot it made and the lots it changed, as they are after it."""

    wallet: Wallet
    entry: Entry
    made: Lot | None = None
    changed: tuple[Lot, ...] = ()


@value
class Change:
    """The change of each account of a wallet; the program's account takes the opposite.

    `lot_sequence` is the lot whose times the entry tells: 0 for none, `MADE` for the one it makes.
    """

    type: EntryType
    account: Account = Account.NONE
    available: int = 0
    pending: int = 0
    held: int = 0
    debt: int = 0
    earned: int = 0
    spent: int = 0
    reversed: int = 0
    expired: int = 0
    lot_sequence: int = 0
    lot_available_time: datetime | None = None
    lot_expire_time: datetime | None = None
    slide_time: datetime | None = None


# Lots --------------------------------------------------------------------------------------------


def use_order(lot: Lot, slide_time: datetime | None = None) -> tuple[datetime, int]:
    """Earliest expiry first, then earliest earned; what never expires comes last."""
    return ledger_clock.end_of(lot, slide_time) or _NEVER, lot.lot_sequence


def usable(wallet: Wallet, lots: Mapping[int, Lot]) -> list[Lot]:
    """Lots whose points are available, in the order in which they are used."""
    slide = wallet.slide_time
    return sorted(
        [lot for lot in lots.values() if not lot.is_pending], key=lambda lot: use_order(lot, slide)
    )


def take(lots: Iterable[Lot], points: int) -> list[LotUse]:
    """Uses that take up to `points` from the lots in the order given."""
    uses = []
    for lot in lots:
        if not points:
            break
        if part := min(points, lot.remaining):
            uses.append(LotUse(lot_sequence=lot.lot_sequence, points=-part))
            points -= part
    return uses


def total(uses: Iterable[LotUse]) -> int:
    """Sum of uses: negative when lots lost."""
    return sum([use.points for use in uses])


def merged(uses: Iterable[LotUse]) -> tuple[LotUse, ...]:
    """One use per lot, in the order of the lots' sequences; what cancels out is left out."""
    sums: dict[int, int] = {}
    for use in uses:
        sums[use.lot_sequence] = sums.get(use.lot_sequence, 0) + use.points
    return tuple(LotUse(lot_sequence=lot, points=sums[lot]) for lot in sorted(sums) if sums[lot])


def after(lots: Mapping[int, Lot], uses: Iterable[LotUse]) -> tuple[Lot, ...]:
    """The lots that uses changed, as they are afterwards."""
    return tuple(
        with_remaining(lots[use.lot_sequence], lots[use.lot_sequence].remaining + use.points)
        for use in uses
    )


def with_remaining(lot: Lot, remaining: int) -> Lot:
    """The lot with that much left in it."""
    return Lot(
        lot_sequence=lot.lot_sequence,
        amount=lot.amount,
        remaining=remaining,
        available_time=lot.available_time,
        expire_time=lot.expire_time,
        activity_id=lot.activity_id,
        is_pending=lot.is_pending,
        is_sliding=lot.is_sliding,
    )


# Movements ---------------------------------------------------------------------------------------


def credit(
    wallet: Wallet, points: int, type_: EntryType, cause: Cause, policy: CurrencyPolicy
) -> Movement:
    """Issue at least one point: debt is repaid first, unless they are pending.

    Only points of activities are ever pending. Refuses PointsOutOfRange.
    """
    if wallet.earned + points > EARNED_MAX:
        raise PointsOutOfRange(what="points that a wallet ever earned", limit=EARNED_MAX)
    if policy.expiry is not None or policy.pending is not None:
        return _credit_dated(wallet, points, type_, cause, policy)
    repaid = min(wallet.debt, points)
    change = Change(
        type=type_,
        account=Account.ISSUANCE,
        available=points - repaid,
        debt=repaid,
        earned=points,
        lot_sequence=MADE,
        lot_available_time=cause.now,
    )
    return making(wallet, change, points, repaid, cause)


def _credit_dated(
    wallet: Wallet, points: int, type_: EntryType, cause: Cause, policy: CurrencyPolicy
) -> Movement:
    pending = policy.pending if type_ is EntryType.EARN else None
    available_time: datetime | None = cause.now
    if isinstance(pending, PendingFor):
        available_time = cause.now + pending.duration
    elif isinstance(pending, UntilConfirmed):
        available_time = None
    ends = None
    if available_time is not None and not isinstance(policy.expiry, Sliding | None):
        ends = expire_time(policy.expiry, available_time, policy.zone)
    repaid = 0 if pending else min(wallet.debt, points)
    change = Change(
        type=type_,
        account=Account.ISSUANCE,
        available=0 if pending else points - repaid,
        pending=points if pending else 0,
        debt=repaid,
        earned=points,
        lot_sequence=MADE,
        lot_available_time=available_time,
        lot_expire_time=ends,
        slide_time=ledger_clock.moved_slide(wallet, policy, cause.now),
    )
    movement = making(wallet, change, points, repaid, cause)
    return watched(movement, policy, cause)


def making(wallet: Wallet, change: Change, points: int, repaid: int, cause: Cause) -> Movement:
    """Post a change that makes a lot of `points`, out of which `repaid` goes at once."""
    sequence = wallet.sequence + 1
    uses = (LotUse(lot_sequence=sequence, points=-repaid),) if repaid else ()
    posted, entry = post(wallet, change, uses, cause)
    made = Lot(
        lot_sequence=sequence,
        amount=points,
        remaining=points - repaid,
        available_time=change.lot_available_time,
        expire_time=change.lot_expire_time,
        activity_id=cause.activity_id,
        is_pending=change.pending > 0,
        is_sliding=change.slide_time is not None and change.lot_expire_time is None,
    )
    return Movement(wallet=posted, entry=entry, made=made)


def take_back(
    wallet: Wallet,
    lots: Mapping[int, Lot],
    own_lots: Collection[int],
    points: int,
    policy: ReversalPolicy,
    cause: Cause,
) -> Movement | None:
    """Take reversed points: from the activity's own lots, then others, then as debt (*policy*).

    Pending points go first, and only the activity's own are taken. None when nothing could be
    taken.
    """
    own = [lots[number] for number in own_lots if number in lots]
    uses = take(sorted([lot for lot in own if lot.is_pending], key=_age), points)
    pending = -total(uses)
    available = [lot for lot in own if not lot.is_pending]
    available.sort(key=lambda lot: use_order(lot, wallet.slide_time))
    uses += take(available, points - pending)
    if policy is not ReversalPolicy.ONLY_THIS_ACTIVITY:
        others = [lot for lot in usable(wallet, lots) if lot.lot_sequence not in own_lots]
        uses += take(others, points + total(uses))
    taken = -total(uses)
    owed = points - taken if policy is ReversalPolicy.ALLOW_DEBT else 0
    if not taken + owed:
        return None
    change = Change(
        type=EntryType.REVERSE,
        account=Account.REVERSAL,
        available=pending - taken,
        pending=-pending,
        debt=-owed,
        reversed=taken + owed,
    )
    return moved(wallet, lots, change, uses, cause)


def moved(
    wallet: Wallet,
    lots: Mapping[int, Lot],
    change: Change,
    uses: Iterable[LotUse],
    cause: Cause,
) -> Movement:
    """Post a change that uses lots."""
    in_order = merged(uses)
    posted, entry = post(wallet, change, in_order, cause)
    return Movement(wallet=posted, entry=entry, changed=after(lots, in_order))


def watched(movement: Movement, policy: CurrencyPolicy, cause: Cause) -> Movement:
    """The movement, with a wallet that the clock looks at in time for the lots it left."""
    lots = movement.changed if movement.made is None else (*movement.changed, movement.made)
    wallet = ledger_clock.watching(movement.wallet, lots, policy, cause.now)
    return movement if wallet is movement.wallet else replace(movement, wallet=wallet)


# Entries -----------------------------------------------------------------------------------------


def post(
    wallet: Wallet, change: Change, uses: tuple[LotUse, ...], cause: Cause
) -> tuple[Wallet, Entry]:
    """Append one entry; the program's account takes the opposite of the wallet's changes."""
    sequence = wallet.sequence + 1
    program_delta = -(change.available + change.pending + change.held + change.debt)
    available = wallet.available + change.available
    canonical = canonical_text(wallet, sequence, change, program_delta, available, cause, uses)
    chain_hash = chained(wallet.chain_hash, canonical)
    entry = Entry(
        program_id=wallet.program_id,
        member_key=wallet.member_key,
        currency_id=wallet.currency_id,
        sequence=sequence,
        type=change.type,
        available_delta=change.available,
        pending_delta=change.pending,
        held_delta=change.held,
        debt_delta=change.debt,
        program_account=change.account,
        program_delta=program_delta,
        available_after=available,
        activity_id=cause.activity_id,
        reference=cause.reference,
        reason=cause.reason,
        occurred_time=cause.occurred_time,
        create_time=cause.now,
        explanation=cause.explanation,
        lot_uses=uses,
        chain_hash=chain_hash,
        lot_sequence=sequence if change.lot_sequence == MADE else change.lot_sequence,
        lot_available_time=change.lot_available_time,
        lot_expire_time=change.lot_expire_time,
        slide_time=change.slide_time,
    )
    posted = Wallet(
        program_id=wallet.program_id,
        member_key=wallet.member_key,
        currency_id=wallet.currency_id,
        available=available,
        pending=wallet.pending + change.pending,
        held=wallet.held + change.held,
        debt=wallet.debt - change.debt,
        earned=wallet.earned + change.earned,
        spent=wallet.spent + change.spent,
        expired=wallet.expired + change.expired,
        reversed=wallet.reversed + change.reversed,
        sequence=sequence,
        chain_hash=chain_hash,
        slide_time=change.slide_time or wallet.slide_time,
        next_time=wallet.next_time,
        frozen=wallet.frozen,
    )
    return posted, entry


def micros(instant: datetime) -> int:
    """Microseconds since the epoch, as instants are stored and hashed."""
    return (instant - EPOCH) // _MICROSECOND


def canonical_text(
    wallet: Wallet,
    sequence: int,
    change: Change,
    program_delta: int,
    available_after: int,
    cause: Cause,
    uses: Iterable[LotUse],
) -> str:
    """The canonical form of an entry: a JSON array of its columns, then of its lot uses.

    The columns are those of `Entry` up to `explanation`, then its lot with the lot's times and the
    time it slides to; instants are microseconds, null where there is none. Uses are pairs of lot
    and points in the order of the lots. Nothing is escaped but what JSON demands.
    """
    lot = sequence if change.lot_sequence == MADE else change.lot_sequence
    used = ",".join([f"[{use.lot_sequence},{use.points}]" for use in uses])
    return (
        f"[{_quoted(wallet.program_id)},{_quoted(wallet.member_key)},{_quoted(wallet.currency_id)},"
        f'{sequence},"{change.type}",'
        f"{change.available},{change.pending},{change.held},{change.debt},"
        f'"{change.account}",{program_delta},{available_after},'
        f"{_quoted(cause.activity_id)},{_quoted(cause.reference)},{_quoted(cause.reason)},"
        f"{micros(cause.occurred_time)},{micros(cause.now)},{_quoted(cause.explanation)},"
        f"{lot},{_instant(change.lot_available_time)},{_instant(change.lot_expire_time)},"
        f"{_instant(change.slide_time)},[{used}]]"
    )


def _instant(instant: datetime | None) -> str:
    return "null" if instant is None else str(micros(instant))


def chained(previous: bytes, canonical: str) -> bytes:
    """SHA-256 over the previous entry's hash (nothing for the first) and the canonical form."""
    return sha256(previous + canonical.encode()).digest()
