"""What earning is told to do with members; the rest is in `commands.py`.

Each names its member by an identifier, and carries the digest of its request.
"""

from typing import TypeAlias

from services.earning.domain import MemberId, ProgramId
from services.earning.member_records import Profile
from shared.keys import RequestKey
from shared.values import value


@value
class _Asked:
    """What every command about a member carries."""

    program_id: ProgramId
    request_id: str
    member_id: MemberId
    digest: str

    @property
    def routing(self) -> str:
        """Identifier of the member."""
        return self.member_id

    def _key(self, scope: str) -> RequestKey:
        return RequestKey(
            program_id=self.program_id,
            scope=scope,
            request_id=self.request_id,
            digest=self.digest,
        )


@value
class UpdateMember(_Asked):
    """Change the fields of the profile that `fields` names; an empty etag fits every version."""

    profile: Profile
    fields: frozenset[str]
    etag: str

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return self._key("update_member")


@value
class AddIdentifier(_Asked):
    """Give a member one more identifier."""

    kind: str
    identifier: MemberId

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return self._key("add_identifier")


@value
class RemoveIdentifier(_Asked):
    """Take an identifier from a member."""

    identifier: MemberId

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return self._key("remove_identifier")


@value
class ClaimCard(_Asked):
    """Give a member a card, with what it has earned when it is nobody's."""

    card_id: MemberId

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return self._key("claim_card")


@value
class MergeMembers(_Asked):
    """Make one member of two; `member_id` names the target, which stays."""

    source_member_id: MemberId

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return self._key("merge_members")


@value
class FreezeMember(_Asked):
    """Stop a member from earning and spending."""

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return self._key("freeze_member")


@value
class UnfreezeMember(_Asked):
    """Let a frozen member earn and spend again."""

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return self._key("unfreeze_member")


@value
class EraseMember(_Asked):
    """Remove identifiers and personal data of a member for good."""

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return self._key("erase_member")


ChangeMember: TypeAlias = (
    UpdateMember
    | AddIdentifier
    | RemoveIdentifier
    | ClaimCard
    | MergeMembers
    | FreezeMember
    | UnfreezeMember
    | EraseMember
)
SCOPES = (
    "enroll_member",
    "update_member",
    "add_identifier",
    "remove_identifier",
    "claim_card",
    "merge_members",
    "freeze_member",
    "unfreeze_member",
    "erase_member",
)
"""Scopes of the keys whose stored answer is a member."""
