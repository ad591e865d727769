"""What earning is told to do with points by hand; the rest is in `commands.py`."""

from dataclasses import field
from datetime import datetime
from typing import TypeAlias

from services.earning.domain import CurrencyId, MemberId, ProgramId
from services.earning.points_records import AdjustmentId
from shared.keys import RequestKey
from shared.values import value

_PARTITION_CHARS = 4
_KEY_CHARS = 32


def adjustment_id(member_key: str, unique: str) -> AdjustmentId:
    """A new adjustment's identifier: it begins as its member's key does, with the partition."""
    return AdjustmentId(member_key[:_PARTITION_CHARS] + unique)


@value
class _Asked:
    """What every command carries."""

    program_id: ProgramId
    request_id: str
    digest: str

    def _key(self, scope: str) -> RequestKey:
        return RequestKey(
            program_id=self.program_id,
            scope=scope,
            request_id=self.request_id,
            digest=self.digest,
        )


@value
class TransferPoints(_Asked):
    """Move points from one member to another."""

    from_member_id: MemberId
    to_member_id: MemberId
    currency_id: CurrencyId
    points: int
    reason: str

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return self._key("transfer_points")

    @property
    def routing(self) -> str:
        """Identifier of the member who gives."""
        return self.from_member_id


@value
class ConvertPoints(_Asked):
    """Turn points of one currency into points of another."""

    member_id: MemberId
    from_currency_id: CurrencyId
    to_currency_id: CurrencyId
    points: int
    reason: str

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return self._key("convert_points")

    @property
    def routing(self) -> str:
        """Identifier of the member."""
        return self.member_id


@value
class AdjustPoints(_Asked):
    """Give or take points by hand; `unique` makes the new adjustment's identifier."""

    member_id: MemberId
    currency_id: CurrencyId
    points: int
    actor: str
    reason: str
    unique: str = field(compare=False)

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return self._key("adjust_points")

    @property
    def routing(self) -> str:
        """Identifier of the member."""
        return self.member_id


@value
class _Deciding(_Asked):
    """What decides an adjustment that waits."""

    adjustment_id: AdjustmentId
    actor: str

    @property
    def routing(self) -> str:
        """Partition of the adjustment's member."""
        return self.adjustment_id[:_PARTITION_CHARS].ljust(_KEY_CHARS, "0")


@value
class ApproveAdjustment(_Deciding):
    """Book an adjustment that waits."""

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return self._key("approve_adjustment")


@value
class RejectAdjustment(_Deciding):
    """End an adjustment that waits without booking it."""

    reason: str

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return self._key("reject_adjustment")


@value
class _Dating(_Asked):
    """What gives a lot another end."""

    member_id: MemberId
    currency_id: CurrencyId
    lot_sequence: int
    expire_time: datetime
    actor: str
    reason: str

    @property
    def routing(self) -> str:
        """Identifier of the member."""
        return self.member_id


@value
class ExtendPoints(_Dating):
    """Let a lot end later or, with lot 0, all lots that end before an instant."""

    expiring_before: datetime | None

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return self._key("extend_points")


@value
class ReinstatePoints(_Dating):
    """Bring points of a lot back that have ended; 0 means all."""

    points: int

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return self._key("reinstate_points")


OneMember: TypeAlias = AdjustPoints | ExtendPoints | ReinstatePoints
DecideAdjustment: TypeAlias = ApproveAdjustment | RejectAdjustment
MovePoints: TypeAlias = TransferPoints | ConvertPoints | OneMember | DecideAdjustment
