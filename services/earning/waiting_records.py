"""A reversal that came before its activity, as it is kept."""

from datetime import datetime

from services.earning.commands import ReverseActivity
from services.earning.domain import MemberKey, Reversal, ReversalState
from shared.values import value


@value
class WaitingReversal:
    """What was asked for, and what has become of it.

    `number` counts those of one activity from 1, in the order in which they came. `settle_time` is
    the instant at which the activity was recorded or refused, None until then; `rejected_reason`
    says why the reversal never will be applied, and is empty otherwise.
    """

    order: ReverseActivity
    number: int
    create_time: datetime
    state: ReversalState = ReversalState.WAITING
    settle_time: datetime | None = None
    rejected_reason: str = ""


def reversal_of(kept: WaitingReversal) -> Reversal:
    """How a reversal is shown that is not applied: it takes nothing, and is of nobody."""
    order = kept.order
    return Reversal(
        program_id=order.program_id,
        reversal_id=order.reversal_id,
        activity_id=order.activity_id,
        member_key=MemberKey(""),
        occurred_time=order.occurred_time,
        create_time=kept.create_time,
        reason=order.reason,
        points=0,
        owed=0,
        amount=0,
        lines=(),
        state=kept.state,
        rejected_reason=kept.rejected_reason,
    )
