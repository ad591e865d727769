"""What earning is told to do; what it answers and publishes is in `events.py`.

Commands carry the digest of the request that they were made of: the same key with another digest is
refused. Followed and clock-driven commands have no key: the cursor, or the state, says whether they
were done.
"""

from collections.abc import Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta
from typing import TypeAlias

from services.earning.commands_households import AboutHousehold
from services.earning.commands_ledger import ConfirmActivity, SettleWallet
from services.earning.commands_members import ChangeMember
from services.earning.commands_points import MovePoints
from services.earning.commands_referrals import AboutReferral
from services.earning.domain import (
    ActivityId,
    BoughtLine,
    CurrencyId,
    HoldId,
    LevelFrom,
    MemberId,
    MemberKey,
    ProgramId,
    ReversalId,
)
from services.earning.member_records import NO_PROFILE, Profile
from services.earning.reversals import Amount, Lines, Whole
from shared.keys import Identity, RequestKey
from shared.values import value

_PARTITION_CHARS = 4
_KEY_CHARS = 32
RECORD_ACTIVITY, REVERSE_ACTIVITY = "record_activity", "reverse_activity"
"""Scopes of the keys of activities and of reversals."""


def _key(program_id: str, scope: str, request_id: str, digest: str) -> RequestKey:
    return RequestKey(program_id=program_id, scope=scope, request_id=request_id, digest=digest)


def activity_key(program_id: str, activity_id: str) -> Identity:
    """Identity of the key of an activity, by which reversals may come before it."""
    return (program_id, RECORD_ACTIVITY, activity_id)


def hold_id(member_key: str, unique: str) -> HoldId:
    """A new hold's identifier: it begins as its member's key does, with the partition."""
    return HoldId(member_key[:_PARTITION_CHARS] + unique)


def _routing_of_hold(hold_id: str) -> str:
    """A key in the partition of the hold's member."""
    return hold_id[:_PARTITION_CHARS].ljust(_KEY_CHARS, "0")


@value
class MemberName:
    """A member as a request names it: by an identifier or, within the cluster, by its key."""

    member_id: MemberId
    member_key: MemberKey

    @property
    def text(self) -> str:
        """Whichever of the two was given."""
        return self.member_key or self.member_id


@value
class EnrollMember:
    """Enrol a member under an identifier that nobody has."""

    program_id: ProgramId
    request_id: str
    member_id: MemberId
    profile: Profile = NO_PROFILE
    digest: str

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return _key(self.program_id, "enroll_member", self.request_id, self.digest)

    @property
    def routing(self) -> str:
        """Identifier of the member."""
        return self.member_id


@value
class RecordActivity:
    """Record what a member did.

    `content` is the serialized activity without its member_id; `view` and `line_views` are what
    conditions read of it; `amount` is None without a payment, `currency_code` is then empty;
    `paid_in_points` is the part of the amount that was, `points_hold_id` the hold that paid it.
    `is_awaited` says that reversals of it may have come before it.
    """

    program_id: ProgramId
    activity_id: ActivityId
    member_id: MemberId
    type: str
    occurred_time: datetime
    source: str
    external_reference: str
    amount: int | None
    currency_code: str
    paid_in_points: int
    points_hold_id: HoldId
    lines: tuple[BoughtLine, ...]
    content: bytes
    digest: str
    view: object = field(compare=False, repr=False)
    line_views: Sequence[object] = field(compare=False, repr=False)
    is_awaited: bool = False

    @property
    def request_key(self) -> RequestKey:
        """Key of the activity."""
        return _key(self.program_id, "record_activity", self.activity_id, self.digest)

    def awaited(self) -> "RecordActivity":
        """The same, told that reversals may wait for it."""
        return replace(self, is_awaited=True)

    @property
    def routing(self) -> str:
        """Identifier of the member."""
        return self.member_id


@value
class ReverseActivity:
    """Take back what an activity gave, in whole or in part."""

    program_id: ProgramId
    reversal_id: ReversalId
    activity_id: ActivityId
    occurred_time: datetime
    scope: Whole | Lines | Amount
    reason: str
    digest: str

    @property
    def request_key(self) -> RequestKey:
        """Key of the reversal."""
        return _key(self.program_id, REVERSE_ACTIVITY, self.reversal_id, self.digest)

    @property
    def routing(self) -> str:
        """Activity: its member is known only to the database."""
        return self.activity_id


@value
class CreditPoints:
    """Issue points on behalf of another service; `occurred_time` is None for now."""

    program_id: ProgramId
    request_id: str
    member: MemberName
    currency_id: CurrencyId
    points: int
    occurred_time: datetime | None
    reason: str
    digest: str

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return _key(self.program_id, "credit_points", self.request_id, self.digest)

    @property
    def routing(self) -> str:
        """Name of the member."""
        return self.member.text


@value
class HoldPoints:
    """Set points aside for a while; `unique` makes the new hold's identifier.

    With `from_household` they are those of all members of the member's household.
    """

    program_id: ProgramId
    request_id: str
    member: MemberName
    currency_id: CurrencyId
    points: int
    duration: timedelta
    reference: str
    unique: str = field(compare=False)
    digest: str
    from_household: bool = False

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return _key(self.program_id, "hold_points", self.request_id, self.digest)

    @property
    def routing(self) -> str:
        """Name of the member."""
        return self.member.text


@value
class CaptureHold:
    """Spend held points; 0 means all of them."""

    program_id: ProgramId
    request_id: str
    hold_id: HoldId
    points: int
    digest: str

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return _key(self.program_id, "capture_hold", self.request_id, self.digest)

    @property
    def routing(self) -> str:
        """Partition of the hold's member."""
        return _routing_of_hold(self.hold_id)


@value
class VoidHold:
    """Give held points back."""

    program_id: ProgramId
    request_id: str
    hold_id: HoldId
    digest: str

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return _key(self.program_id, "void_hold", self.request_id, self.digest)

    @property
    def routing(self) -> str:
        """Partition of the hold's member."""
        return _routing_of_hold(self.hold_id)


@value
class RefundCapture:
    """Give captured points back; 0 means all that is left."""

    program_id: ProgramId
    request_id: str
    hold_id: HoldId
    points: int
    digest: str

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return _key(self.program_id, "refund_capture", self.request_id, self.digest)

    @property
    def routing(self) -> str:
        """Partition of the hold's member."""
        return _routing_of_hold(self.hold_id)


@value
class ExpireHold:
    """Give the points of a hold back whose time is over; nothing happens when it is closed."""

    program_id: ProgramId
    hold_id: HoldId
    request_key: None = None

    @property
    def routing(self) -> str:
        """Partition of the hold's member."""
        return _routing_of_hold(self.hold_id)


@value
class KeepLevel:
    """Keep a level that tiers decided; of two from the same instant the later decision stands."""

    program_id: ProgramId
    member_key: MemberKey
    ladder_id: str
    level: LevelFrom
    level_rank: int
    request_key: None = None

    @property
    def routing(self) -> str:
        """Key of the member."""
        return self.member_key


Command: TypeAlias = (
    EnrollMember
    | RecordActivity
    | ReverseActivity
    | CreditPoints
    | HoldPoints
    | CaptureHold
    | VoidHold
    | RefundCapture
    | ExpireHold
    | KeepLevel
    | ConfirmActivity
    | SettleWallet
    | ChangeMember
    | MovePoints
    | AboutReferral
    | AboutHousehold
)
MemberCommand: TypeAlias = CreditPoints | HoldPoints
HoldCommand: TypeAlias = CaptureHold | VoidHold | RefundCapture | ExpireHold
