"""What reversals that came before their activity do over the world that was loaded."""

from datetime import datetime

from services.earning import deciding_reversals, waiting
from services.earning.commands import Command, RecordActivity, ReverseActivity
from services.earning.decisions import Changes
from services.earning.domain import Reversal
from services.earning.events import Recorded
from services.earning.world import World
from shared.batches import Run
from shared.database import TryAgain
from shared.decision import Decision


def netted(
    world: World, command: RecordActivity, decided: Decision[Changes, Recorded], now: datetime
) -> Decision[Changes, Recorded]:
    """A decided activity with what waited for it, if anything did."""
    kept = waiting.open_ones(world.waiting.get((command.program_id, command.activity_id), {}))
    if not kept:
        return decided
    later = world.after(decided.state)

    def take_back(order: ReverseActivity, last: Changes | None) -> Decision[Changes, Reversal]:
        if last is not None:
            later.put(last)
        return deciding_reversals.reverse(later, order, now)

    return waiting.netted(decided, kept, take_back, now)


def close(world: World, run: Run[Command]) -> None:
    """Reject what waited for activities that were refused.

    Raises TryAgain for one that may be sent again: its key is given back, and what waits for it has
    to be found then.
    """
    for each in run.settled:
        command = each.command
        if each.refusal is None or not isinstance(command, RecordActivity):
            continue
        kept = world.waiting.get((command.program_id, command.activity_id))
        if not kept:
            continue
        if each.refusal.transient:
            raise TryAgain("an activity that reversals wait for may be sent again")
        refused = [waiting.not_recorded(one, run.now) for one in waiting.open_ones(kept)]
        world.put(Changes(waiting=tuple(refused)))
