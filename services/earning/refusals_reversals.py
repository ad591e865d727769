"""What is refused of reversals that come before their activity, and of reads about reversals."""

from dataclasses import dataclass

from shared import errors


@dataclass(eq=False, repr=False, kw_only=True)
class ReversalNotFound(errors.NotFound):
    """The activity has no such reversal, nor does one wait for it."""

    message = "no reversal {reversal_id}"
    reversal_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class TooManyWaitingReversals(errors.FailedPrecondition):
    """No more reversals may wait for the activity."""

    message = "{limit} reversals wait for activity {activity_id}"
    activity_id: str
    limit: int
