"""Reversals that come before their activity: they wait, and are netted when it is recorded.

They are then applied in the order in which they came, each exactly as if it had been asked for
right after the activity (`semantics.md`, "Reversal"): what an activity leaves nothing to give back
for is rejected, with the reason of the refusal.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from services.earning.commands import ReverseActivity
from services.earning.decisions import Changes
from services.earning.domain import Reversal, ReversalState
from services.earning.events import Recorded
from services.earning.refusals import ActivityNotFound
from services.earning.refusals_reversals import TooManyWaitingReversals
from services.earning.waiting_records import WaitingReversal, reversal_of
from shared import errors
from shared.decision import Decision

MAX = 100
"""Reversals that may wait for one activity, whose transaction applies them all."""


def wait(
    command: ReverseActivity, before: Mapping[int, WaitingReversal], now: datetime
) -> Decision[Changes, Reversal]:
    """Let a reversal wait behind those that do already. Refuses TooManyWaitingReversals.

    One that waits although its key was forgotten meanwhile is answered as it is.
    """
    for each in before.values():
        if each.order.reversal_id == command.reversal_id:
            return Decision(state=Changes(), answer=reversal_of(each))
    if len(before) >= MAX:
        raise TooManyWaitingReversals(activity_id=command.activity_id, limit=MAX)
    kept = WaitingReversal(order=command, number=len(before) + 1, create_time=now)
    return Decision(state=Changes(waiting=(kept,)), answer=reversal_of(kept))


def open_ones(kept: Mapping[int, WaitingReversal]) -> list[WaitingReversal]:
    """Those that still wait, in the order in which they came."""
    return [kept[number] for number in sorted(kept) if kept[number].state is ReversalState.WAITING]


def netted(
    recorded: Decision[Changes, Recorded],
    waiting: Iterable[WaitingReversal],
    take_back: Callable[[ReverseActivity, Changes | None], Decision[Changes, Reversal]],
    now: datetime,
) -> Decision[Changes, Recorded]:
    """A decided activity, and over it the reversals that waited for it.

    `take_back` decides a reversal over what was decided last: None right after the activity. Raises
    its transient refusals; any other rejects the reversal alone.
    """
    then, events = list(recorded.state.then), list(recorded.events)
    last: Changes | None = None
    for each in waiting:
        try:
            taken = take_back(each.order, last)
        except errors.Refusal as refusal:
            if refusal.transient:
                raise
            then.append(Changes(waiting=(rejected(each, refusal, now),)))
            continue
        last = taken.state
        applied = replace(each, state=ReversalState.APPLIED, settle_time=now)
        then += [taken.state, Changes(waiting=(applied,))]
        events += taken.events
    return Decision(
        state=replace(recorded.state, then=tuple(then)),
        answer=recorded.answer,
        events=tuple(events),
        intentions=recorded.intentions,
        closes=recorded.closes,
    )


def rejected(kept: WaitingReversal, refusal: errors.Refusal, now: datetime) -> WaitingReversal:
    """A reversal that will never be applied."""
    return replace(
        kept, state=ReversalState.REJECTED, settle_time=now, rejected_reason=refusal.reason
    )


def not_recorded(kept: WaitingReversal, now: datetime) -> WaitingReversal:
    """A reversal whose activity was refused, for good: there is nothing to reverse."""
    return rejected(kept, ActivityNotFound(activity_id=kept.order.activity_id), now)
