"""How points move: double entry, lots, holds, debt, and the hash chain of a wallet.

Every movement makes one entry whose changes sum to zero, and says which lots it made or used.
Always: available = sum of what remains in the lots; held = sum of the open holds; a lot's amount =
what remains + what its uses took; sequence counts the entries from 1; spendable is never below 0.
A credit, and whatever comes back to the wallet, repays debt first.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from json.encoder import encode_basestring as _quoted  # a text as JSON has it, not as ASCII

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
from services.earning.refusals import PointsOutOfRange
from shared.values import value

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NEVER = datetime.max.replace(tzinfo=UTC)


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
    """The change of each account of a wallet; the program's account takes the opposite."""

    type: EntryType
    account: Account = Account.NONE
    available: int = 0
    pending: int = 0
    held: int = 0
    debt: int = 0
    earned: int = 0
    spent: int = 0
    reversed: int = 0


# Lots --------------------------------------------------------------------------------------------


def use_order(lot: Lot) -> tuple[datetime, int]:
    """Earliest expiry first, then earliest earned; what never expires comes last."""
    return lot.expire_time or _NEVER, lot.lot_sequence


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
        _with_remaining(lots[use.lot_sequence], lots[use.lot_sequence].remaining + use.points)
        for use in uses
    )


def _with_remaining(lot: Lot, remaining: int) -> Lot:
    return Lot(
        lot_sequence=lot.lot_sequence,
        amount=lot.amount,
        remaining=remaining,
        available_time=lot.available_time,
        expire_time=lot.expire_time,
        activity_id=lot.activity_id,
    )


# Movements ---------------------------------------------------------------------------------------


def credit(wallet: Wallet, points: int, type_: EntryType, cause: Cause) -> Movement:
    """Issue at least one point: debt is repaid first. Refuses PointsOutOfRange."""
    if wallet.earned + points > EARNED_MAX:
        raise PointsOutOfRange(what="points that a wallet ever earned", limit=EARNED_MAX)
    repaid = min(wallet.debt, points)
    change = Change(
        type=type_,
        account=Account.ISSUANCE,
        available=points - repaid,
        debt=repaid,
        earned=points,
    )
    sequence = wallet.sequence + 1
    uses = (LotUse(lot_sequence=sequence, points=-repaid),) if repaid else ()
    posted, entry = post(wallet, change, uses, cause)
    made = Lot(
        lot_sequence=sequence,
        amount=points,
        remaining=points - repaid,
        available_time=cause.now,
        expire_time=None,
        activity_id=cause.activity_id,
    )
    return Movement(wallet=posted, entry=entry, made=made)


def take_back(
    wallet: Wallet,
    lots: Mapping[int, Lot],
    own_lot: int,
    points: int,
    policy: ReversalPolicy,
    cause: Cause,
) -> Movement | None:
    """Take reversed points: from the activity's own lot, then others, then as debt (*policy*).

    None when nothing could be taken.
    """
    own = [lots[own_lot]] if own_lot in lots else []
    uses = take(own, points)
    if policy is not ReversalPolicy.ONLY_THIS_ACTIVITY:
        others = sorted(
            (lot for lot in lots.values() if lot.lot_sequence != own_lot), key=use_order
        )
        uses += take(others, points + total(uses))
    taken = -total(uses)
    owed = points - taken if policy is ReversalPolicy.ALLOW_DEBT else 0
    if not taken + owed:
        return None
    change = Change(
        type=EntryType.REVERSE,
        account=Account.REVERSAL,
        available=-taken,
        debt=-owed,
        reversed=taken + owed,
    )
    return _moved(wallet, lots, change, uses, cause)


def set_aside(wallet: Wallet, lots: Mapping[int, Lot], points: int, cause: Cause) -> Movement:
    """Move available points, at most what there is, to the held ones, out of their lots."""
    uses = take(sorted(lots.values(), key=use_order), points)
    change = Change(type=EntryType.HOLD, available=-points, held=points)
    return _moved(wallet, lots, change, uses, cause)


def spend_held(
    wallet: Wallet,
    lots: Mapping[int, Lot],
    held: Sequence[LotUse],
    points: int,
    cause: Cause,
) -> Movement:
    """End a hold by spending `points` of it, first used first; the rest goes back to its lots."""
    held_points = -total(held)
    back = _given_back(_ordered(held, lots), skip=points, points=held_points - points)
    repaid, uses = _repaying(wallet, lots, back)
    change = Change(
        type=EntryType.CAPTURE,
        account=Account.REDEMPTION,
        held=-held_points,
        available=held_points - points - repaid,
        debt=repaid,
        spent=points,
    )
    return _moved(wallet, lots, change, uses, cause)


def give_back_held(
    wallet: Wallet, lots: Mapping[int, Lot], held: Sequence[LotUse], cause: Cause
) -> Movement:
    """End a hold by giving all of it back to its lots."""
    points = -total(held)
    back = _given_back(_ordered(held, lots), skip=0, points=points)
    repaid, uses = _repaying(wallet, lots, back)
    change = Change(type=EntryType.VOID, held=-points, available=points - repaid, debt=repaid)
    return _moved(wallet, lots, change, uses, cause)


def give_back_spent(
    wallet: Wallet,
    lots: Mapping[int, Lot],
    held: Sequence[LotUse],
    remaining_captured: int,
    points: int,
    cause: Cause,
) -> Movement:
    """Refund `points` of what is still captured of a hold; what was used last goes back first."""
    kept = remaining_captured - points
    back = _given_back(_ordered(held, lots), skip=kept, points=points)
    repaid, uses = _repaying(wallet, lots, back)
    change = Change(
        type=EntryType.REFUND,
        account=Account.REDEMPTION,
        available=points - repaid,
        debt=repaid,
        spent=-points,
    )
    return _moved(wallet, lots, change, uses, cause)


def _ordered(held: Sequence[LotUse], lots: Mapping[int, Lot]) -> list[LotUse]:
    return sorted(held, key=lambda use: use_order(lots[use.lot_sequence]))


def _given_back(held: Sequence[LotUse], *, skip: int, points: int) -> list[LotUse]:
    """Uses that give `points` back, passing over the first `skip` points of what was taken."""
    back = []
    for use in held:
        passed = min(skip, -use.points)
        skip -= passed
        if part := min(points, -use.points - passed):
            back.append(LotUse(lot_sequence=use.lot_sequence, points=part))
            points -= part
    return back


def _repaying(
    wallet: Wallet, lots: Mapping[int, Lot], back: Sequence[LotUse]
) -> tuple[int, tuple[LotUse, ...]]:
    """How much debt is repaid from what comes back, and the uses with that taken out again."""
    repaid = min(wallet.debt, total(back))
    if not repaid:
        return 0, tuple(back)
    returned = [_with_remaining(lots[use.lot_sequence], use.points) for use in back]
    return repaid, merged((*back, *take(returned, repaid)))


def _moved(
    wallet: Wallet,
    lots: Mapping[int, Lot],
    change: Change,
    uses: Iterable[LotUse],
    cause: Cause,
) -> Movement:
    in_order = merged(uses)
    posted, entry = post(wallet, change, in_order, cause)
    return Movement(wallet=posted, entry=entry, changed=after(lots, in_order))


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
        expired=wallet.expired,
        reversed=wallet.reversed + change.reversed,
        sequence=sequence,
        chain_hash=chain_hash,
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

    The columns are those of `Entry` up to `explanation`, in that order, with instants as
    microseconds; uses are pairs of lot and points in the order of the lots. Nothing is escaped but
    what JSON demands.
    """
    used = ",".join([f"[{use.lot_sequence},{use.points}]" for use in uses])
    return (
        f"[{_quoted(wallet.program_id)},{_quoted(wallet.member_key)},{_quoted(wallet.currency_id)},"
        f'{sequence},"{change.type.value}",'
        f"{change.available},{change.pending},{change.held},{change.debt},"
        f'"{change.account.value}",{program_delta},{available_after},'
        f"{_quoted(cause.activity_id)},{_quoted(cause.reference)},{_quoted(cause.reason)},"
        f"{micros(cause.occurred_time)},{micros(cause.now)},{_quoted(cause.explanation)},[{used}]]"
    )


def chained(previous: bytes, canonical: str) -> bytes:
    """SHA-256 over the previous entry's hash (nothing for the first) and the canonical form."""
    return sha256(previous + canonical.encode()).digest()
