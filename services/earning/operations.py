"""What a batch of commands does: whom it locks, how it is decided, what it saves.

`loading.py` says what a batch needs, `deciding.py` what each command does with it, and
`store_writes.py` writes what they changed.
Previews load the same without claims and locks, and save nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from services.earning import deciding, deciding_waiting, loading, store_writes, wire
from services.earning.commands import Command, RecordActivity
from services.earning.counts import BudgetKey
from services.earning.decisions import Changes
from services.earning.documents import EarningPrograms
from services.earning.events import Recorded
from services.earning.store_budgets import BudgetsShort
from services.earning.world import World
from shared.batches import Run
from shared.database import Tx
from shared.decision import Decision, Event
from shared.feed_log import FeedRecord
from shared.ids import Ids


class EarningWork:
    """What the executor of batches needs to know of earning; `ids` makes the keys of members."""

    def __init__(self, programs: EarningPrograms, ids: Ids) -> None:
        self._programs = programs
        self._ids = ids
        self._short: dict[BudgetKey, int] = {}

    async def load(self, tx: Tx, commands: Sequence[Command], now: datetime) -> World:
        """Claim, lock and load what the commands are about."""
        return await loading.load(
            tx, self._programs, self._ids, commands, now, claim=True, short=self._short
        )

    async def preview(
        self, tx: Tx, commands: Sequence[RecordActivity], now: datetime
    ) -> list[Recorded | Exception]:
        """Decide each activity as it would be decided now, in a transaction that only reads.

        Nothing is put into the world, so that each is decided as if it were alone.
        """
        world = await loading.load(tx, self._programs, self._ids, commands, now, claim=False)
        world.is_preview = True
        return [self._previewed(world, each, now) for each in commands]

    def _previewed(
        self, world: World, command: RecordActivity, now: datetime
    ) -> Recorded | Exception:
        try:
            return cast("Recorded", self.decide(world, command, now).answer)
        except Exception as error:  # noqa: BLE001 - it belongs to the one that asked
            return error

    def decide(self, world: World, command: Command, now: datetime) -> Decision[Changes, object]:
        """Decide one command over the world as it is; pure, and raises its refusal."""
        return deciding.DECIDERS[type(command)](world, command, now)

    async def save(self, tx: Tx, world: World, run: Run[Command]) -> None:
        """Write what the commands changed."""
        if world.waiting:
            deciding_waiting.close(world, run)
        try:
            await store_writes.save(tx, world)
        except BudgetsShort as short:
            self._short |= short.budgets
            raise

    def answer_type(self, command: Command) -> type[object]:
        """Type of the command's answer."""
        return deciding.ANSWERS[type(command)]

    def event_to_feed(self, event: Event) -> FeedRecord:
        """Event as the feed keeps it."""
        return wire.event_to_feed(event)
