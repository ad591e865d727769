"""Redeems and cancels for callers, who wait until it is finished.

What is decided at once is answered at once. The rest is an intention that outlives the call: a
caller who gives up, or whose connection breaks, finds the end by sending the same request again.
"""

from dataclasses import dataclass
from typing import cast

from services.redemption import vouchers
from services.redemption.commands import Cancel, Redeem, end_key
from services.redemption.domain import CANCEL, REDEEM, Redemption, RedemptionId, RewardKind, State
from services.redemption.ends import Ends
from shared import errors
from shared.group_commit import GroupCommit
from shared.ids import Ids

_WAIT_SECONDS_MAX = 25.0
_ANSWER_SECONDS = 0.25
"""What is left of a deadline for the answer's way back."""


class VoucherSecretChangedError(Exception):
    """The secret is not the one that a code was made with: the code cannot be shown any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeemed:
    """A completed redemption with its code ("" without a voucher), and its place in the feed."""

    redemption: Redemption
    voucher_code: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """A cancelled redemption, and the place of that in the feed."""

    redemption: Redemption
    token: str


class Redeeming:
    """Asks for redemptions and cancellations, and waits for their end."""

    def __init__(self, group_commit: GroupCommit, ends: Ends, ids: Ids, *, secret: bytes) -> None:
        self._group_commit = group_commit
        self._ends = ends
        self._ids = ids
        self._secret = secret

    async def redeem(
        self,
        program_id: str,
        request_id: str,
        member_id: str,
        reward_id: str,
        *,
        from_household: bool = False,
        seconds: float | None,
    ) -> Redeemed:
        """Redeem a reward; a repeat is answered with the end of the first, whatever came after it.

        `seconds` is what is left for the call, None for no limit. Refuses what the API lists, and
        NotReady when the end has not come in time.
        """
        outcome = await self._group_commit.submit(
            Redeem(
                program_id=program_id,
                request_id=request_id,
                member_id=member_id,
                reward_id=reward_id,
                redemption_id=RedemptionId(self._ids.new()),
                from_household=from_household,
            )
        )
        ended, token = cast("Redemption", outcome.answer), outcome.token
        if ended.state is State.PENDING:
            key = end_key(program_id, REDEEM, ended.redemption_id)
            end = await self._ends.wait(key, seconds=_wait(seconds), look=outcome.repeated)
            ended, token = cast("Redemption", end.answer), end.token
        if ended.state is State.FAILED:
            raise errors.load(ended.refusal)
        return Redeemed(redemption=ended, voucher_code=self._code(ended), token=token)

    async def cancel(
        self, program_id: str, request_id: str, redemption_id: str, *, seconds: float | None
    ) -> Cancelled:
        """Cancel a completed redemption and wait until its points are back."""
        outcome = await self._group_commit.submit(
            Cancel(
                program_id=program_id,
                request_id=request_id,
                redemption_id=RedemptionId(redemption_id),
            )
        )
        key = end_key(program_id, CANCEL, redemption_id)
        end = await self._ends.wait(key, seconds=_wait(seconds), look=outcome.repeated)
        return Cancelled(redemption=cast("Redemption", end.answer), token=end.token)

    def _code(self, redemption: Redemption) -> str:
        """The code of a completed redemption, made again: only its hash is stored."""
        if redemption.kind is not RewardKind.VOUCHER:
            return ""
        code = vouchers.code_for(self._secret, redemption.program_id, redemption.redemption_id)
        if not code.endswith(redemption.voucher_hint):
            raise VoucherSecretChangedError(redemption.redemption_id)
        return code


def _wait(seconds: float | None) -> float:
    """How long to wait for an end in a call that has so many seconds left."""
    if seconds is None:
        return _WAIT_SECONDS_MAX
    return min(seconds - _ANSWER_SECONDS, _WAIT_SECONDS_MAX)
