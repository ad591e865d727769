"""Drives redemptions to their end: hold the points, issue, capture; or give everything back.

Every call of earning carries a key made of the redemption, so that it happens once however often it
is sent; every step that is taken commits before the next begins. A step that fails for a passing
reason raises, and the intention is driven again from what was committed. A refusal for good ends
the redemption as failed, with the held points given back.
"""

import json
from datetime import timedelta

import grpc
from google.protobuf.duration_pb2 import Duration

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceStub
from services.redemption import refusals, store, vouchers
from services.redemption.commands import Complete, Fail, FinishCancel, Issue
from services.redemption.domain import Redemption, RewardKind, State, Voucher
from services.redemption.ends import Ends
from shared import errors
from shared.database import Database
from shared.decision import Intention
from shared.group_commit import GroupCommit
from shared.rpc.client import refusal_of

_CALL_SECONDS = 5.0
_HOLD = timedelta(days=1)
_FINAL = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE"}
"""Codes of refusals about the request itself: sending it again changes nothing."""


class Sagas:
    """The handlers of redemption's intentions."""

    def __init__(
        self,
        database: Database,
        group_commit: GroupCommit,
        earning: grpc.aio.Channel,
        ends: Ends,
        *,
        secret: bytes,
    ) -> None:
        self._database = database
        self._group_commit = group_commit
        self._earning = EarningServiceStub(earning)
        self._ends = ends
        self._secret = secret

    async def redeem(self, intention: Intention) -> None:
        """Complete or fail a pending redemption; raises what may pass, to be driven again."""
        redemption = await self._redemption(intention)
        if redemption.state is not State.PENDING:
            return  # whoever ended it has closed the intention
        hold_id = redemption.hold_id
        if not hold_id:
            held = await self._hold(redemption)
            if isinstance(held, errors.Refusal):
                await self._fail(redemption, held)
                return
            hold_id = held
            await self._group_commit.submit(self._issue(redemption, hold_id))
        if await self._capture(redemption, hold_id):
            await self._end(
                Complete(
                    program_id=redemption.program_id,
                    redemption_id=redemption.redemption_id,
                    member_key=redemption.member_key,
                )
            )
            return
        await self._void(redemption, hold_id)
        await self._fail(redemption, refusals.HoldLost(redemption_id=redemption.redemption_id))

    async def cancel(self, intention: Intention) -> None:
        """Give the points of a cancelled redemption back; raises to be driven again."""
        redemption = await self._redemption(intention)
        if redemption.state is not State.CANCELLING:
            return
        await self._refund(redemption)
        await self._end(
            FinishCancel(
                program_id=redemption.program_id,
                redemption_id=redemption.redemption_id,
                member_key=redemption.member_key,
            )
        )

    async def _redemption(self, intention: Intention) -> Redemption:
        key = (intention.program_id, str(json.loads(intention.payload)["redemption_id"]))
        async with self._database.reading() as tx:
            return (await store.redemptions(tx, [key]))[key]

    def _issue(self, redemption: Redemption, hold_id: str) -> Issue:
        voucher = None
        if redemption.kind is RewardKind.VOUCHER:
            code = vouchers.code_for(self._secret, redemption.program_id, redemption.redemption_id)
            voucher = Voucher(
                code_hash=vouchers.stored_hash(self._secret, code),
                hint=code[-vouchers.HINT_CHARS :],
            )
        return Issue(
            program_id=redemption.program_id,
            redemption_id=redemption.redemption_id,
            member_key=redemption.member_key,
            hold_id=hold_id,
            voucher=voucher,
        )

    async def _fail(self, redemption: Redemption, refusal: errors.Refusal) -> None:
        await self._end(
            Fail(
                program_id=redemption.program_id,
                redemption_id=redemption.redemption_id,
                member_key=redemption.member_key,
                refusal=errors.dump(refusal),
            )
        )

    async def _end(self, command: Complete | Fail | FinishCancel) -> None:
        self._ends.tell(command.request_key, await self._group_commit.submit(command))

    # What earning is asked ---------------------------------------------------------------------

    async def _hold(self, redemption: Redemption) -> str | errors.Refusal:
        """Set the points aside: the hold, or why the member cannot have the reward."""
        duration = Duration()
        duration.FromTimedelta(_HOLD)
        try:
            answer = await self._earning.HoldPoints(
                pb.HoldPointsRequest(
                    request_id=f"hold:{redemption.redemption_id}",
                    program_id=redemption.program_id,
                    member_key=redemption.member_key,
                    currency_id=redemption.currency_id,
                    points=redemption.points,
                    hold_duration=duration,
                    reference=redemption.redemption_id,
                    from_household=redemption.from_household,
                ),
                timeout=_CALL_SECONDS,
            )
        except grpc.aio.AioRpcError as error:
            return _refusal_of_hold(_final(error))
        return answer.hold.hold_id

    async def _capture(self, redemption: Redemption, hold_id: str) -> bool:
        """Spend the held points; False when the hold is lost."""
        try:
            await self._earning.CaptureHold(
                pb.CaptureHoldRequest(
                    request_id=f"capture:{redemption.redemption_id}",
                    program_id=redemption.program_id,
                    hold_id=hold_id,
                ),
                timeout=_CALL_SECONDS,
            )
        except grpc.aio.AioRpcError as error:
            refusal = _final(error)
            # Nobody else knows the hold: when it is captured, it was by us, long ago.
            return refusal.metadata().get("state") == "captured"
        return True

    async def _void(self, redemption: Redemption, hold_id: str) -> None:
        """Give held points back; one that is closed or gone holds none."""
        try:
            await self._earning.VoidHold(
                pb.VoidHoldRequest(
                    request_id=f"void:{redemption.redemption_id}",
                    program_id=redemption.program_id,
                    hold_id=hold_id,
                ),
                timeout=_CALL_SECONDS,
            )
        except grpc.aio.AioRpcError as error:
            refusal = _final(error)
            if refusal.reason not in {"HOLD_CLOSED", "HOLD_NOT_FOUND"}:
                raise refusal from error

    async def _refund(self, redemption: Redemption) -> None:
        """Give captured points back to their lots."""
        try:
            await self._earning.RefundCapture(
                pb.RefundCaptureRequest(
                    request_id=f"refund:{redemption.redemption_id}",
                    program_id=redemption.program_id,
                    hold_id=redemption.hold_id,
                ),
                timeout=_CALL_SECONDS,
            )
        except grpc.aio.AioRpcError as error:
            refusal = _final(error)
            if refusal.metadata().get("points_refundable") != "0":
                raise refusal from error


def _final(error: grpc.aio.AioRpcError) -> errors.RemoteRefusal:
    """Earning's refusal; raises it when it may pass, or is no answer to what was asked."""
    refusal = refusal_of(error)
    if refusal.transient or refusal.code not in _FINAL:
        raise refusal from error
    return refusal


def _refusal_of_hold(refusal: errors.RemoteRefusal) -> errors.Refusal:
    """What the caller is told when the points cannot be held."""
    told = refusal.metadata()
    if refusal.reason == "INSUFFICIENT_POINTS":
        return refusals.InsufficientPoints(
            points_needed=int(told["points_needed"]),
            points_available=int(told["points_available"]),
        )
    return refusals.PointsRefused(earning_reason=refusal.reason)
