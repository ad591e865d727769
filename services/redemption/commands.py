"""What can be asked of redemption: by callers, by the worker of intentions, by followed events."""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from services.redemption.domain import CANCEL, REDEEM, MemberKey, RedemptionId, Voucher
from shared import record
from shared.keys import RequestKey
from shared.names import NameMember


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeem:
    """A member asks for a reward; `redemption_id` is new, and not part of what is asked."""

    program_id: str
    request_id: str
    member_id: str
    reward_id: str
    redemption_id: RedemptionId
    from_household: bool = False

    @property
    def request_key(self) -> RequestKey:
        """The caller's key."""
        asked: tuple[str, ...] = (self.member_id, self.reward_id)
        if self.from_household:
            asked = (*asked, "from_household")
        return _key(self.program_id, "redeem", self.request_id, asked)

    @property
    def routing(self) -> str:
        """The member, as the caller names it."""
        return self.member_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """A caller cancels a completed redemption."""

    program_id: str
    request_id: str
    redemption_id: RedemptionId

    @property
    def request_key(self) -> RequestKey:
        """The caller's key."""
        return _key(self.program_id, "cancel", self.request_id, (self.redemption_id,))

    @property
    def routing(self) -> str:
        """The redemption: its member is not known yet."""
        return self.redemption_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What the worker has learned of a redemption; repeating a step changes nothing."""

    program_id: str
    redemption_id: RedemptionId
    member_key: MemberKey

    @property
    def request_key(self) -> RequestKey | None:
        """No key: the redemption's state tells what has been done."""
        return None

    @property
    def routing(self) -> str:
        """The member's key."""
        return self.member_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue(Step):
    """The points are held: note the hold and issue the voucher (None for a reward without one)."""

    hold_id: str
    voucher: Voucher | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete(Step):
    """The points are captured."""

    @property
    def request_key(self) -> RequestKey:
        """The key under which callers find the end."""
        return end_key(self.program_id, REDEEM, self.redemption_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail(Step):
    """Earning refused; `refusal` is what the caller is told (`errors.dump`)."""

    refusal: str

    @property
    def request_key(self) -> RequestKey:
        """The key under which callers find the end."""
        return end_key(self.program_id, REDEEM, self.redemption_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishCancel(Step):
    """The points are back in their lots."""

    @property
    def request_key(self) -> RequestKey:
        """The key under which callers find the end."""
        return end_key(self.program_id, CANCEL, self.redemption_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinMember:
    """A member joined; `identifiers` are (kind, identifier)."""

    program_id: str
    member_key: MemberKey
    identifiers: tuple[tuple[str, str], ...]
    enroll_time: datetime

    @property
    def request_key(self) -> None:
        """No key: the cursor of the feed sees to it that it happens once."""
        return

    @property
    def routing(self) -> str:
        """The member's key."""
        return self.member_key


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteLevel:
    """A member's level from an instant on."""

    program_id: str
    member_key: MemberKey
    ladder_id: str
    level_id: str
    effective_time: datetime

    @property
    def request_key(self) -> None:
        """No key: the cursor of the feed sees to it that it happens once."""
        return

    @property
    def routing(self) -> str:
        """The member's key."""
        return self.member_key


Command: TypeAlias = (
    Redeem | Cancel | Issue | Complete | Fail | FinishCancel | JoinMember | NoteLevel | NameMember
)


def end_key(program_id: str, kind: str, redemption_id: str) -> RequestKey:
    """The key of the one command that ends an intention of a kind.

    A redemption is completed or failed under one key, so that the first of the two stands, and a
    caller who comes back later finds the end as it was, with its place in the feed, whatever has
    happened since.
    """
    return _key(program_id, f"{kind}_end", redemption_id, (kind,))


def _key(program_id: str, scope: str, request_id: str, asked: tuple[str, ...]) -> RequestKey:
    return RequestKey(
        program_id=program_id, scope=scope, request_id=request_id, digest=record.digest(asked)
    )
