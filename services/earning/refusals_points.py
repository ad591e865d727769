"""What is refused of points that are moved by hand."""

from dataclasses import dataclass

from shared import errors


@dataclass(eq=False, repr=False, kw_only=True)
class AdjustmentNotFound(errors.NotFound):
    """No adjustment of the program has this identifier."""

    message = "no adjustment {adjustment_id}"
    adjustment_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class AdjustmentClosed(errors.FailedPrecondition):
    """The adjustment has come to its end."""

    message = "adjustment {adjustment_id} is {state}"
    adjustment_id: str
    state: str


@dataclass(eq=False, repr=False, kw_only=True)
class SameActor(errors.FailedPrecondition):
    """Whoever asked for an adjustment does not approve it."""

    message = "{actor} asked for the adjustment, and another actor has to approve it"
    actor: str
