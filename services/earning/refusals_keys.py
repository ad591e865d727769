"""What is refused of requests that are sent again after their keys have been forgotten.

The record itself is kept for ever, and never made twice.
"""

from dataclasses import dataclass

from shared import errors


@dataclass(eq=False, repr=False, kw_only=True)
class ActivityRecordedBefore(errors.AlreadyExists):
    """The activity was recorded so long ago that its answer is forgotten."""

    message = "activity {activity_id} was recorded before; ListActivities shows it"
    activity_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class ReversalRecordedBefore(errors.AlreadyExists):
    """The reversal was recorded so long ago that its answer is forgotten."""

    message = "reversal {reversal_id} was recorded before; GetReversal shows it"
    reversal_id: str
