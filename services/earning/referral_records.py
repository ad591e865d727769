"""Referrals as they are kept, answered and told."""

from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import NewType

from services.earning.domain import (
    NO_ACTIVITY,
    ActivityId,
    CurrencyId,
    EntryType,
    MemberKey,
    ProgramId,
)
from services.earning.pieces import Piece
from shared.values import value

ReferralId = NewType("ReferralId", str)

CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Digits and capitals without 0, 1, I, L, O and U: none is taken for another, or makes words."""
_CODE_CHARS = 8
_IGNORED = str.maketrans("", "", " -")
REASON = "referral"
"""Reason of the entries that referrals make."""

# Records and answers -----------------------------------------------------------------------------


class ReferralState(StrEnum):
    """What has become of a referral; REVERSED is final."""

    CLAIMED = "claimed"
    REWARDED = "rewarded"
    REVERSED = "reversed"
    CAPPED = "capped"


class Side(StrEnum):
    """Which of the two members of a referral."""

    FRIEND = "friend"
    REFERRER = "referrer"


@value
class Referral:
    """A friend who came by a member's code; the points are those booked for it.

    `activity_id` is the friend's activity that brought the rewards.
    """

    program_id: ProgramId
    referral_id: ReferralId
    friend_key: MemberKey
    referrer_key: MemberKey
    state: ReferralState
    claim_time: datetime
    currency_id: CurrencyId = CurrencyId("")
    friend_points: int = 0
    referrer_points: int = 0
    friend_points_reversed: int = 0
    referrer_points_reversed: int = 0
    activity_id: ActivityId = NO_ACTIVITY
    reward_time: datetime | None = None
    reverse_time: datetime | None = None


@value
class Booking:
    """An entry that a referral made: REFERRAL gave points to one side, REVERSE took them back."""

    program_id: ProgramId
    referral_id: ReferralId
    side: Side
    type: EntryType
    member_key: MemberKey
    currency_id: CurrencyId
    sequence: int
    points: int


def lot_of(booking: Booking) -> Piece:
    """The lot that a booking made; one that took points back made none."""
    return booking.program_id, booking.member_key, booking.currency_id, booking.sequence


@value
class Referred:
    """What a decision changes of a referral, and what it booked for it."""

    referral: Referral
    bookings: tuple[Booking, ...] = ()


@value
class ReferralCode:
    """The code that a member gives to friends."""

    code: str


def code_of(chance: bytes, attempt: int) -> str:
    """A code out of chance; another one for each attempt."""
    number = int.from_bytes(sha256(chance + attempt.to_bytes(4)).digest())
    chars = []
    for _ in range(_CODE_CHARS):
        number, place = divmod(number, len(CODE_ALPHABET))
        chars.append(CODE_ALPHABET[place])
    return "".join(chars)


def read_code(text: str) -> str:
    """A code as it is kept, of one that somebody typed."""
    return text.translate(_IGNORED).upper()


# Events ------------------------------------------------------------------------------------------


@value
class ReferralChanged:
    """A referral was claimed, rewarded, capped or reversed; told of one of the two members."""

    referral: Referral
    side: Side
