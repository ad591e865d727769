"""Values of earning: members, activities, wallets, lots, entries, holds, reversals.

Points and money are integers; instants are aware UTC datetimes.
What is refused is listed in `refusals.py`. What a rule gives is decided in `rules.py`, how points
move in `ledger.py`, what a return gives back in `reversals.py`, and what a command does with all of
them in `decisions.py`.
Nothing here knows a database, a wire format or a clock.
"""

from datetime import datetime
from enum import StrEnum
from typing import NewType

from shared.values import value

ProgramId = NewType("ProgramId", str)
MemberId = NewType("MemberId", str)
MemberKey = NewType("MemberKey", str)
CurrencyId = NewType("CurrencyId", str)
ActivityId = NewType("ActivityId", str)
ReversalId = NewType("ReversalId", str)
HoldId = NewType("HoldId", str)
RuleId = NewType("RuleId", str)
LevelId = NewType("LevelId", str)
HouseholdId = NewType("HouseholdId", str)

POINTS_MAX = 10**15
"""The most points that one activity or credit may give."""
EARNED_MAX = 9 * 10**15
"""The most points a wallet may ever earn: every sum over it stays below 2^53."""
NO_ACTIVITY, NO_HOLD, NO_HOUSEHOLD = ActivityId(""), HoldId(""), HouseholdId("")
"""Stand where no activity is behind something, where no hold paid, and where no household is."""
RATIO_MAX = 2**63 - 1
"""The largest numerator or denominator of a combined multiplier: both travel as int64."""


# Values ------------------------------------------------------------------------------------------


class EntryType(StrEnum):
    """What a ledger entry books; the text is what the database holds and the hash covers."""

    EARN = "earn"
    CREDIT = "credit"
    REVERSE = "reverse"
    HOLD = "hold"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    EXPIRE = "expire"
    ACTIVATE = "activate"
    TRANSFER_IN = "transfer_in"
    TRANSFER_OUT = "transfer_out"
    ADJUST = "adjust"
    EXTEND = "extend"
    REINSTATE = "reinstate"
    REFERRAL = "referral"
    CONVERT_IN = "convert_in"
    CONVERT_OUT = "convert_out"


class Account(StrEnum):
    """The program's side of an entry; NONE when points only move within the wallet."""

    NONE = ""
    ISSUANCE = "issuance"
    REDEMPTION = "redemption"
    EXPIRY = "expiry"
    REVERSAL = "reversal"
    ADJUSTMENT = "adjustment"
    TRANSFER = "transfer"
    CONVERSION = "conversion"


class HoldState(StrEnum):
    """The state of a hold; all but OPEN are final."""

    OPEN = "open"
    CAPTURED = "captured"
    VOIDED = "voided"
    EXPIRED = "expired"


class ReversalWay(StrEnum):
    """How an activity has been reversed so far; one activity is reversed one way."""

    NONE = ""
    LINES = "lines"
    AMOUNT = "amount"


class ReversalPolicy(StrEnum):
    """What a reversal may take when the points are no longer there."""

    ONLY_THIS_ACTIVITY = "only_this_activity"
    WITHIN_BALANCE = "within_balance"
    ALLOW_DEBT = "allow_debt"


@value
class Member:
    """A member under its internal key, with the identifier that it was enrolled by."""

    program_id: ProgramId
    member_key: MemberKey
    member_id: MemberId
    enroll_time: datetime


@value
class Wallet:
    """A member's points of one currency, as the entries up to `sequence` make them.

    `debt` is what is owed, as a positive number; `available` is never below zero.
    `earned`, `spent` (less refunds), `expired` and `reversed` are lifetime sums.
    `slide_time` is the end of the points that end together, None while there never were any.
    `next_time` is the earliest instant at which the clock may change or tell anything: everything
    before it is booked. None means never.
    `frozen` is the state of the member (`member_records.Frozen`); no entry makes it.
    """

    program_id: ProgramId
    member_key: MemberKey
    currency_id: CurrencyId
    available: int = 0
    pending: int = 0
    held: int = 0
    debt: int = 0
    earned: int = 0
    spent: int = 0
    expired: int = 0
    reversed: int = 0
    sequence: int = 0
    chain_hash: bytes = b""
    slide_time: datetime | None = None
    next_time: datetime | None = None
    frozen: int = 0


@value
class Lot:
    """Points that came by one entry and end together; named by that entry's sequence.

    Without `available_time` they are pending until they are confirmed.
    Without `expire_time` they never end or, if `is_sliding`, with the wallet's `slide_time`.
    """

    lot_sequence: int
    amount: int
    remaining: int
    available_time: datetime | None
    expire_time: datetime | None
    activity_id: ActivityId
    is_pending: bool = False
    is_sliding: bool = False


@value
class LotUse:
    """What an entry did to a lot's remainder: negative when it took, positive when it gave back."""

    lot_sequence: int
    points: int


@value
class Entry:
    """One line of the ledger: the change of each account; the changes sum to zero.

    `available_after` is the balance that the entry left; `explanation` is the text that
    `explanations.written` made, empty for entries that no rule decided.
    `lot_sequence` is the lot that the entry made, activated or dated again, with its times as they
    are from then on; 0 when there is none. `slide_time` is what the entry moved the wallet's to.
    """

    program_id: ProgramId
    member_key: MemberKey
    currency_id: CurrencyId
    sequence: int
    type: EntryType
    available_delta: int
    pending_delta: int
    held_delta: int
    debt_delta: int
    program_account: Account
    program_delta: int
    available_after: int
    activity_id: ActivityId
    reference: str
    reason: str
    occurred_time: datetime
    create_time: datetime
    explanation: str
    lot_uses: tuple[LotUse, ...]
    chain_hash: bytes
    lot_sequence: int = 0
    lot_available_time: datetime | None = None
    lot_expire_time: datetime | None = None
    slide_time: datetime | None = None

    @property
    def waits_until(self) -> datetime | None:
        """When the points of an earning become available, if they wait for a while."""
        return self.lot_available_time if self.pending_delta else None


@value
class HoldShare:
    """What a household's hold has of one member, who may have ended since; as of a `Hold`."""

    member_key: MemberKey
    points: int
    captured: int
    refunded: int
    entry_sequence: int
    lots: tuple[LotUse, ...]


@value
class Hold:
    """Points set aside by the entry `entry_sequence`.

    `lots` is what the hold has out of them now: all of it while it is open, once it is captured
    what was spent and not refunded. `activity_id` is the activity that it paid for, if one said so.
    One of a household has entries and lots in `shares` alone; the member is the one who spends.
    """

    program_id: ProgramId
    hold_id: HoldId
    member_key: MemberKey
    currency_id: CurrencyId
    points: int
    captured: int
    refunded: int
    state: HoldState
    expire_time: datetime
    reference: str
    entry_sequence: int
    lots: tuple[LotUse, ...]
    activity_id: ActivityId = NO_ACTIVITY
    household_id: HouseholdId = NO_HOUSEHOLD
    shares: tuple[HoldShare, ...] = ()


@value
class BoughtLine:
    """A line as far as points depend on it: its units, and its whole amount in minor units."""

    quantity: int
    amount: int


@value
class LineRecord:
    """A line, the points it earned, and what has been returned of it so far, in total.

    `item` is the serialized line as it was bought; it is read with the line when that is returned.
    """

    line_number: int
    quantity: int
    amount: int
    points: int
    quantity_returned: int = 0
    amount_returned: int = 0
    points_returned: int = 0
    item: bytes = b""


@value
class FurtherEarning:
    """What an activity earned of a further currency; `points_reversed` is what reversals took.

    `entry_sequence` is the entry, and lot, of the points in the wallet of their currency; 0 when
    there are none. `available_time` is when they become available, where they wait for a while.
    """

    currency_id: CurrencyId
    points: int
    explanation: str
    entry_sequence: int = 0
    available_time: datetime | None = None
    points_reversed: int = 0


@value
class ActivityRecord:
    """An activity as it was decided; `content` is the serialized message without its member_id.

    `amount` is what was paid, or what the lines come to when no payment was told.
    `points_reversed` is what reversals took, from points or as debt.
    `entry_sequence` is the entry, and lot, of its points; 0 when it earned none.
    `is_erased` says that `content` has lost what its member's erasure took, so that it cannot be
    decided again.
    `available_time` is when the points become available, where they wait for a while.
    `points_hold_id` is the hold that paid for a part of it, empty when none was told.
    `further` are the earnings of further currencies, in the order of their identifiers: those with
    points, and those in which a condition went wrong.
    """

    program_id: ProgramId
    activity_id: ActivityId
    member_key: MemberKey
    type: str
    occurred_time: datetime
    source: str
    external_reference: str
    content: bytes
    currency_id: CurrencyId
    points: int
    level_id: LevelId
    program_version: int
    explanation: str
    amount: int
    entry_sequence: int
    create_time: datetime
    lines: tuple[LineRecord, ...]
    amount_reversed: int = 0
    points_reversed: int = 0
    reversal_way: ReversalWay = ReversalWay.NONE
    is_erased: bool = False
    further: tuple[FurtherEarning, ...] = ()
    available_time: datetime | None = None
    points_hold_id: HoldId = NO_HOLD


@value
class ReversedLine:
    """What one line gave back by one reversal; `item` is the serialized line as it was bought."""

    line_number: int
    quantity: int
    amount: int
    points: int
    item: bytes


@value
class FurtherReversal:
    """What a reversal took of a further currency; of `points`, `owed` became a debt.

    `line_points` are what the returned lines give back, in the order of the reversal's lines.
    """

    currency_id: CurrencyId
    points: int
    owed: int
    line_points: tuple[int, ...] = ()


@value
class PointsGivenBack:
    """Points that had paid for an activity and went back to the lots that its hold took."""

    hold_id: HoldId
    currency_id: CurrencyId
    points: int


class ReversalState(StrEnum):
    """What has become of a return; one that waits came before its activity."""

    APPLIED = "applied"
    WAITING = "waiting"
    REJECTED = "rejected"


@value
class Reversal:
    """A return as it was decided; of `points`, `owed` could not be taken and became a debt.

    One that is not applied takes nothing, and is of nobody (`member_key` is empty);
    `rejected_reason` says why it never will be.
    `further` is what it took of further currencies of which it gives points back; `given_back` are
    points that had paid for the activity, None when there are none.
    """

    program_id: ProgramId
    reversal_id: ReversalId
    activity_id: ActivityId
    member_key: MemberKey
    occurred_time: datetime
    create_time: datetime
    reason: str
    points: int
    owed: int
    amount: int
    lines: tuple[ReversedLine, ...]
    further: tuple[FurtherReversal, ...] = ()
    given_back: PointsGivenBack | None = None
    state: ReversalState = ReversalState.APPLIED
    rejected_reason: str = ""


@value
class LevelFrom:
    """The level that counts from an instant on, until the next one."""

    effective_time: datetime
    level_id: LevelId
