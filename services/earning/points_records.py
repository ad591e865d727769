"""Points that are moved by hand, as they are kept, answered and told.

Transfers between members, conversions between currencies, adjustments, and new ends of lots.
"""

from datetime import datetime
from enum import StrEnum
from math import gcd
from typing import NewType

from services.earning.domain import CurrencyId, Entry, MemberKey, ProgramId
from shared.values import value

AdjustmentId = NewType("AdjustmentId", str)

# Records and answers -----------------------------------------------------------------------------


class AdjustmentState(StrEnum):
    """What has become of an adjustment; all but AWAITING_APPROVAL are final."""

    AWAITING_APPROVAL = "awaiting_approval"
    BOOKED = "booked"
    REJECTED = "rejected"


@value
class Adjustment:
    """A correction of a wallet: who asked for it and why, and who decided it.

    `member_key` is the wallet's member, and once it is booked that of the wallet it was booked on.
    `decider` is empty while it waits, and when it needed nobody but the actor.
    """

    program_id: ProgramId
    adjustment_id: AdjustmentId
    member_key: MemberKey
    currency_id: CurrencyId
    points: int
    actor: str
    reason: str
    state: AdjustmentState
    create_time: datetime
    decider: str = ""
    rejection_reason: str = ""
    decide_time: datetime | None = None
    entry_sequence: int = 0


@value
class TransferredLot:
    """What went of one lot: the entries of both wallets, and when the points end."""

    points: int
    expire_time: datetime | None
    from_sequence: int
    to_sequence: int


@value
class Transferred:
    """Points that went from one wallet to another, lot by lot in the order of use."""

    currency_id: CurrencyId
    points: int
    create_time: datetime
    lots: tuple[TransferredLot, ...]


@value
class Conversion:
    """What a program gives for points of another currency: `numerator` for each `denominator`."""

    numerator: int
    denominator: int
    points_min: int = 0

    @property
    def points_multiple(self) -> int:
        """The fewest points that come out whole; so do its multiples, and no others."""
        return self.denominator // gcd(self.numerator, self.denominator)

    def given_for(self, points: int) -> int:
        """What points come to; they are a multiple of `points_multiple`."""
        return points * self.numerator // self.denominator


@value
class Converted:
    """Points of one currency that became points of another, and the entries of both wallets.

    Of the points `given`, `repaid` went for debt at once.
    """

    from_currency_id: CurrencyId
    to_currency_id: CurrencyId
    taken: int
    given: int
    repaid: int
    numerator: int
    denominator: int
    create_time: datetime
    expire_time: datetime | None
    from_sequence: int
    to_sequence: int


@value
class Extended:
    """Entries of lots that end later, and whether more lots end that early."""

    entries: tuple[Entry, ...]
    has_more: bool


# Events ------------------------------------------------------------------------------------------


@value
class PointsTransferred:
    """Points came from another member, or went to it when they are below zero."""

    program_id: ProgramId
    member_key: MemberKey
    currency_id: CurrencyId
    points: int
    other_member_key: MemberKey
    reason: str
    request_id: str


@value
class PointsConverted:
    """Points of one currency became points of another."""

    program_id: ProgramId
    member_key: MemberKey
    from_currency_id: CurrencyId
    to_currency_id: CurrencyId
    taken: int
    given: int
    reason: str
    request_id: str


@value
class AdjustmentChanged:
    """An adjustment was booked, waits for another actor, or was rejected."""

    adjustment: Adjustment


@value
class PointsExtended:
    """Points end later than they did."""

    program_id: ProgramId
    member_key: MemberKey
    currency_id: CurrencyId
    points: int
    expire_time: datetime
    reason: str


@value
class PointsReinstated:
    """Points that had ended came back."""

    program_id: ProgramId
    member_key: MemberKey
    currency_id: CurrencyId
    points: int
    expire_time: datetime
    reason: str
