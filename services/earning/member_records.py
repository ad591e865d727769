"""Members as they are kept: what names them, what is told of them, what has become of them.

Personal data is in `Profile` and nowhere else; ledgers, events and boards know the key alone.
"""

from datetime import date, datetime
from enum import IntEnum, StrEnum

from services.earning.domain import Member, MemberId, MemberKey, ProgramId
from shared.values import value

IDENTIFIERS_MAX = 100
"""The most identifiers that a member may have."""
MEMBER_ID = "member_id"
"""Kind of the identifier that a member is enrolled by."""
CARD = "card"
"""Kind of an identifier that was claimed."""


class MemberState(StrEnum):
    """What has become of a member; MERGED and ERASED are final."""

    ACTIVE = "active"
    FROZEN = "frozen"
    MERGED = "merged"
    ERASED = "erased"


class Frozen(IntEnum):
    """The member's state as each of its wallets carries it, read under the wallet's lock."""

    NO = 0
    YES = 1
    MERGED = 2
    ERASED = 3


FROZEN_OF = {
    MemberState.ACTIVE: Frozen.NO,
    MemberState.FROZEN: Frozen.YES,
    MemberState.MERGED: Frozen.MERGED,
    MemberState.ERASED: Frozen.ERASED,
}


@value
class MemberIdentifier:
    """A name that callers have for a member, and since when."""

    kind: str
    identifier: MemberId
    assign_time: datetime


@value
class Profile:
    """What a caller tells of a member; `attributes` are sorted by name."""

    birth_date: date | None = None
    time_zone: str = ""
    language: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    segments: tuple[str, ...] = ()


NO_PROFILE = Profile()


@value
class MemberRecord:
    """A member whole; `version` counts its changes.

    `is_anonymous` says that it is known by what was recorded only. `merged_into` is empty but for a
    merged one.
    """

    program_id: ProgramId
    member_key: MemberKey
    enroll_time: datetime
    state: MemberState = MemberState.ACTIVE
    is_anonymous: bool = True
    merged_into: MemberKey = MemberKey("")
    version: int = 1
    identifiers: tuple[MemberIdentifier, ...] = ()
    profile: Profile = NO_PROFILE

    @property
    def member_id(self) -> MemberId:
        """The identifier that answers show: the enrolled one, or the first; empty without any."""
        first = min(self.identifiers, key=_rank, default=None)
        return first.identifier if first is not None else MemberId("")

    @property
    def names(self) -> frozenset[MemberId]:
        """Texts of the identifiers."""
        return frozenset(each.identifier for each in self.identifiers)

    @property
    def etag(self) -> str:
        """Changes with every change."""
        return f"{self.version}-{self.member_key[-8:]}"


def _rank(identifier: MemberIdentifier) -> tuple[bool, datetime, str]:
    return identifier.kind != MEMBER_ID, identifier.assign_time, identifier.identifier


def in_order(identifiers: tuple[MemberIdentifier, ...]) -> tuple[MemberIdentifier, ...]:
    """The enrolled ones first, each kind in the order in which they were given."""
    return tuple(sorted(identifiers, key=_rank))


def newcomer(member: Member) -> MemberRecord:
    """The record of a member that an activity enrols."""
    name = MemberIdentifier(
        kind=MEMBER_ID, identifier=member.member_id, assign_time=member.enroll_time
    )
    return MemberRecord(
        program_id=member.program_id,
        member_key=member.member_key,
        enroll_time=member.enroll_time,
        identifiers=(name,),
    )
