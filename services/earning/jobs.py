"""What runs on the clock: holds end, pending points become available, points end.

A hold ends, and points come and go, at their instants for every decision; the jobs only book it and
tell members ahead. The state says what is due, behind the lock of the wallet: so each thing is
booked once, whoever runs the jobs, in however many processes, and after any time without them.
Both go a piece at a time, the earliest first; nothing but a piece is in memory.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import structlog
from prometheus_client import Counter

from services.earning import store_reads
from services.earning.commands import Command, ExpireHold
from services.earning.commands_ledger import SettleWallet
from services.earning.store_reads import DueWallet
from shared import errors
from shared.clock import Clock
from shared.database import Database
from shared.jobs import Job

logger = structlog.get_logger(__name__)

_PIECE = 500
_WALLETS = 4_000
# A wallet has at most as many lots as entries: a batch of 128 decisions has at most 4,096.
_ENTRIES_A_DECISION = 32
_COUNTED_MAX = 10_000
_LOGGED_EVERY = 50_000

done_total = Counter(
    "guerdon_earning_job_items_total",
    "Holds and wallets that the jobs of earning have worked off, or could not.",
    ["job", "outcome"],
)


class Sink(Protocol):
    """Where commands go; the group commit is one."""

    async def submit_many(self, commands: Sequence[Command], *, wait: bool) -> Sequence[object]:
        """Decide them; come back when all are settled."""


class ExpireHolds:
    """Books the end of holds, a piece at a time."""

    def __init__(self, database: Database, sink: Sink, clock: Clock) -> None:
        self._database = database
        self._sink = sink
        self._clock = clock

    def job(self) -> Job:
        """The job, for the runner."""
        return Job(name="expire_holds", due=self.due, run=self.run)

    async def due(self) -> int:
        """Number of open holds whose time is over."""
        async with self._database.reading() as tx:
            return await store_reads.due_count(tx, self._clock.now())

    async def run(self) -> int:
        """Expire some holds; how many it did. Raises the refusal of one that could not be."""
        async with self._database.reading() as tx:
            due = await store_reads.due_holds(tx, self._clock.now(), _PIECE)
        commands = [ExpireHold(program_id=program, hold_id=hold) for program, hold in due]
        for result in await self._sink.submit_many(commands, wait=True):
            if isinstance(result, errors.Refusal):
                raise result
        done_total.labels("expire_holds", "done").inc(len(due))
        return len(due)


class SettleWallets:
    """Books what the clock has made due of wallets, a piece at a time.

    A wallet that cannot be settled is logged, counted and passed over until the next round; the
    others do not wait for it.
    """

    def __init__(
        self, database: Database, sink: Sink, clock: Clock, *, piece: int = _WALLETS
    ) -> None:
        self._database = database
        self._sink = sink
        self._clock = clock
        self._piece = piece
        self._after: DueWallet | None = None
        self._done = 0
        self._logged = 0

    def job(self) -> Job:
        """The job, for the runner."""
        return Job(name="settle_wallets", due=self.due, run=self.run)

    async def due(self) -> int:
        """Number of wallets of which something is due; more than 10,000 are not counted."""
        async with self._database.reading() as tx:
            return await store_reads.due_wallet_count(tx, self._clock.now(), _COUNTED_MAX)

    async def run(self) -> int:
        """Settle some wallets; how many it did, 0 at the end of a round."""
        async with self._database.reading() as tx:
            due = await store_reads.due_wallets(tx, self._clock.now(), self._after, self._piece)
        if not due:
            if self._done:
                logger.info("wallets_settled", done=self._done)
            self._after, self._done, self._logged = None, 0, 0
            return 0
        commands = [
            SettleWallet(
                program_id=each.program_id,
                member_key=each.member_key,
                currency_id=each.currency_id,
                weight=1 + each.entries // _ENTRIES_A_DECISION,
            )
            for each in due
        ]
        refused = 0
        # Without waiting for room: the whole piece is in the queue, so that batches are full.
        results = await self._sink.submit_many(commands, wait=False)
        for each, result in zip(due, results, strict=True):
            if isinstance(result, errors.Refusal):
                refused += 1
                logger.warning(
                    "wallet_not_settled",
                    program=each.program_id,
                    member_key=each.member_key,
                    reason=result.reason,
                )
        self._after = due[-1]
        self._done += len(due) - refused
        done_total.labels("settle_wallets", "done").inc(len(due) - refused)
        done_total.labels("settle_wallets", "refused").inc(refused)
        self._tell(due[-1].next_time)
        return len(due)

    def _tell(self, reached: datetime) -> None:
        """Say how far a long round is."""
        if self._done - self._logged >= _LOGGED_EVERY:
            self._logged = self._done
            logger.info("wallets_settling", done=self._done, reached=reached.isoformat())
