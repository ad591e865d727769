"""What callers are answered, as protobuf; nothing is decided here."""

from collections.abc import Iterable

from guerdon.feed.v1 import verification_pb2
from guerdon.redemption.v1 import redemption_service_pb2 as pb
from guerdon.redemption.v1 import reward_pb2
from services.redemption import wire
from services.redemption.domain import State
from services.redemption.queries import Named, RewardCounts
from services.redemption.verification import Progress
from shared.programs import Scheduled, Version


def named_to_proto(named: Named) -> reward_pb2.Redemption:
    """A redemption, with an identifier of its member."""
    return wire.redemption_to_proto(named.redemption, named.member_id)


def version_to_proto(version: Version | Scheduled) -> reward_pb2.RedemptionProgramVersion:
    """A version of the document as it was applied."""
    return reward_pb2.RedemptionProgramVersion(
        version=version.version,
        program=reward_pb2.RedemptionProgram.FromString(version.content),
        author=version.author,
        etag=version.etag,
    )


def summary_to_proto(rewards: Iterable[RewardCounts]) -> pb.GetRedemptionSummaryResponse:
    """The totals of every reward, by identifier."""
    answer = pb.GetRedemptionSummaryResponse()
    for each in sorted(rewards, key=lambda counts: counts.reward_id):
        in_work = each.by_state.get(State.PENDING, 0) + each.by_state.get(State.CANCELLING, 0)
        answer.rewards.append(
            pb.RewardSummary(
                reward_id=each.reward_id,
                pending_count=in_work,
                completed_count=each.by_state.get(State.COMPLETED, 0),
                cancelled_count=each.by_state.get(State.CANCELLED, 0),
                failed_counts=each.failed,
                stock_left=each.stock_left,
            )
        )
    return answer


def progress_to_proto(progress: Progress) -> pb.VerifyRedemptionsResponse:
    """How far a verification is."""
    return pb.VerifyRedemptionsResponse(
        progress=verification_pb2.VerificationProgress(
            stage=progress.stage,
            done=progress.done,
            total=progress.total,
            violations=[
                verification_pb2.Violation(
                    rule=each.rule, subject=each.subject[:256], detail=each.detail[:1024]
                )
                for each in progress.violations
            ],
        )
    )
