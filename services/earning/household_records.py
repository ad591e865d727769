"""Households as they are kept, answered and told."""

from datetime import datetime
from hashlib import sha256

from services.earning.domain import HouseholdId, MemberKey, ProgramId
from services.earning.referral_records import CODE_ALPHABET
from shared.values import value

NOBODY = MemberKey("")
"""Stands where an invitation is for whoever has the code, and where nobody has accepted it."""
_CODE_CHARS = 16

# Records and answers -----------------------------------------------------------------------------


@value
class Joined:
    """A member of a household, with its place in the order in which members joined, from 1."""

    member_key: MemberKey
    number: int
    join_time: datetime


@value
class Household:
    """Members who pool their points, in the order in which they joined; `joined` counts them all.

    Without members it was dissolved at `dissolve_time`, and the head is whoever was it then.
    """

    program_id: ProgramId
    household_id: HouseholdId
    head_key: MemberKey
    create_time: datetime
    joined: int
    members: tuple[Joined, ...]
    dissolve_time: datetime | None = None


@value
class Membership:
    """The household that a member is in or, from `leave_time` on, the last one that it was in."""

    program_id: ProgramId
    member_key: MemberKey
    household_id: HouseholdId
    number: int
    join_time: datetime
    leave_time: datetime | None = None


@value
class Invitation:
    """What lets one member join: the one that it names, or whoever has the code."""

    program_id: ProgramId
    code: str
    household_id: HouseholdId
    member_key: MemberKey
    create_time: datetime
    accepted_by: MemberKey = NOBODY


@value
class Housed:
    """What a decision changes of a household: itself, members that come or go, an invitation."""

    household: Household | None = None
    memberships: tuple[Membership, ...] = ()
    invitation: Invitation | None = None


def invitation_code(chance: bytes) -> str:
    """A code out of chance, one of 30^16: no other invitation has it."""
    number = int.from_bytes(sha256(chance).digest())
    chars = []
    for _ in range(_CODE_CHARS):
        number, place = divmod(number, len(CODE_ALPHABET))
        chars.append(CODE_ALPHABET[place])
    return "".join(chars)


# Events ------------------------------------------------------------------------------------------


@value
class HouseholdMembershipChanged:
    """A member joined a household or left it, or came to be its head."""

    program_id: ProgramId
    member_key: MemberKey
    household_id: HouseholdId
    is_member: bool
    is_head: bool


@value
class HouseholdPolicy:
    """How members pool points: how many, who spends, and how long who left stays outside."""

    max_members: int
    cool_off_days: int = 0
    only_head_spends: bool = False
