"""What earning is told about households; the rest is in `commands.py`."""

from dataclasses import field
from typing import ClassVar, TypeAlias

from services.earning.domain import HouseholdId, MemberId, ProgramId
from shared.keys import RequestKey
from shared.values import value


@value
class AboutHousehold:
    """What every command about households carries; `SCOPE` is that of its key."""

    SCOPE: ClassVar[str] = ""

    program_id: ProgramId
    request_id: str
    digest: str

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return RequestKey(
            program_id=self.program_id,
            scope=self.SCOPE,
            request_id=self.request_id,
            digest=self.digest,
        )

    @property
    def routing(self) -> str:
        """Key of the request, of one that names neither a member nor a household."""
        return self.request_id


@value
class CreateHousehold(AboutHousehold):
    """Make a household with one member; `unique` identifies it."""

    SCOPE: ClassVar[str] = "create_household"

    member_id: MemberId
    unique: str = field(compare=False)

    @property
    def routing(self) -> str:
        """Identifier of the member."""
        return self.member_id


@value
class InviteMember(AboutHousehold):
    """Invite a member, or whoever has the code, which comes out of `chance`."""

    SCOPE: ClassVar[str] = "invite_member"

    household_id: HouseholdId
    member_id: MemberId
    chance: bytes = field(compare=False)

    @property
    def routing(self) -> str:
        """The household."""
        return self.household_id


@value
class AcceptInvitation(AboutHousehold):
    """Let a member join by an invitation."""

    SCOPE: ClassVar[str] = "accept_invitation"

    member_id: MemberId
    code: str

    @property
    def routing(self) -> str:
        """Identifier of the member."""
        return self.member_id


@value
class RemoveMember(AboutHousehold):
    """Take a member out of its household."""

    SCOPE: ClassVar[str] = "remove_member"

    household_id: HouseholdId
    member_id: MemberId

    @property
    def routing(self) -> str:
        """The household."""
        return self.household_id


@value
class LeaveHousehold(AboutHousehold):
    """Let a member leave its household."""

    SCOPE: ClassVar[str] = "leave_household"

    member_id: MemberId

    @property
    def routing(self) -> str:
        """Identifier of the member."""
        return self.member_id


@value
class DissolveHousehold(AboutHousehold):
    """Let all members of a household leave."""

    SCOPE: ClassVar[str] = "dissolve_household"

    household_id: HouseholdId

    @property
    def routing(self) -> str:
        """The household."""
        return self.household_id


OfHousehold: TypeAlias = InviteMember | RemoveMember | DissolveHousehold
OfMember: TypeAlias = (
    CreateHousehold | InviteMember | AcceptInvitation | RemoveMember | LeaveHousehold
)
