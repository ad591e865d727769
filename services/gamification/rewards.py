"""Pays completed challenges: drives the intentions that their completions left.

The request id of the payment is the intention's id, derived from program, challenge, member and
period: however often it is sent, earning credits it once. The intention is closed by a command in
the transaction that notes the outcome. A refusal for good is noted too, published and shown; only
what may pass is tried again.
"""

import grpc
import structlog

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceStub
from services.gamification.domain import CreditOrder, MemberKey, ProgramId, SettleReward
from services.gamification.wire import timestamp
from shared import record
from shared.decision import Intention
from shared.group_commit import GroupCommit
from shared.rpc.client import refusal_of

_CALL_SECONDS = 5.0

logger = structlog.get_logger(__name__)


class RewardPayer:
    """Handler of `credit_points` intentions."""

    def __init__(self, earning: grpc.aio.Channel, group_commit: GroupCommit) -> None:
        self._stub = EarningServiceStub(earning)
        self._group_commit = group_commit

    async def pay(self, intention: Intention) -> None:
        """Credit the points and note the outcome; raises a transient refusal to be driven again."""
        order = record.loads(CreditOrder, intention.payload)
        failure = ""
        try:
            await self._stub.CreditPoints(
                pb.CreditPointsRequest(
                    request_id=intention.intention_id,
                    program_id=intention.program_id,
                    member_key=intention.member_key,
                    points=order.points,
                    occurred_time=timestamp(order.occurred_time),
                    reason=order.reason,
                ),
                timeout=_CALL_SECONDS,
            )
        except grpc.aio.AioRpcError as error:
            refusal = refusal_of(error)
            if refusal.transient or not _is_final(refusal.code):
                raise refusal from error
            failure = refusal.reason
            logger.warning(
                "reward_refused",
                program_id=intention.program_id,
                member_key=intention.member_key,
                challenge_id=order.challenge_id,
                reason=failure,
            )
        await self._group_commit.submit(
            SettleReward(
                program_id=ProgramId(intention.program_id),
                member_key=MemberKey(intention.member_key),
                challenge_id=order.challenge_id,
                intention_id=intention.intention_id,
                points=order.points,
                failure_reason=failure,
            )
        )


def _is_final(code: str) -> bool:
    """Whether a refusal is about the request itself, so that sending it again changes nothing."""
    return code in {
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "FAILED_PRECONDITION",
        "OUT_OF_RANGE",
    }
