"""What earning is told about referrals; the rest is in `commands.py`."""

from dataclasses import field
from typing import TypeAlias

from services.earning.domain import MemberId, ProgramId
from shared.keys import RequestKey
from shared.values import value


@value
class MakeReferralCode:
    """Give a member a code, unless it has one; a new one comes out of `chance`."""

    program_id: ProgramId
    member_id: MemberId
    chance: bytes = field(compare=False)
    request_key: None = None

    @property
    def routing(self) -> str:
        """Identifier of the member."""
        return self.member_id


@value
class ClaimReferral:
    """Note that a member came by a code; `unique` identifies the new referral."""

    program_id: ProgramId
    request_id: str
    member_id: MemberId
    code: str
    unique: str = field(compare=False)
    digest: str

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return RequestKey(
            program_id=self.program_id,
            scope="claim_referral",
            request_id=self.request_id,
            digest=self.digest,
        )

    @property
    def routing(self) -> str:
        """Identifier of the friend."""
        return self.member_id


AboutReferral: TypeAlias = MakeReferralCode | ClaimReferral
