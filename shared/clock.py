"""Business time: one clock that is passed in, the system's or a simulated one.

The simulated clock is stored in the service's own database, survives a restart, never goes back,
and is moved only by replays and tests. Durations inside a process are measured with `monotonic`;
leases use the database's clock.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from shared import errors
from shared.database import Database
from shared.tables import KernelTables

_ONLY_ROW = 1


class Clock(Protocol):
    """Where business time comes from."""

    @property
    def is_simulated(self) -> bool:
        """Whether the clock stands still until it is moved."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""


@dataclass(eq=False, repr=False, kw_only=True)
class ClockGoesBack(errors.FailedPrecondition):
    """A simulated clock moves forward only."""

    message = "the clock stands at {now} and does not go back to {to}"
    now: datetime
    to: datetime


@dataclass(eq=False, repr=False, kw_only=True)
class ClockNotSimulated(errors.FailedPrecondition):
    """The service runs on the system's clock, which nobody moves."""

    message = "this service runs on the system's clock; start it with GUERDON_CLOCK=simulated"


class SystemClock:
    """The system's clock."""

    is_simulated = False

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        return datetime.now(UTC)


class SimulatedClock:
    """A clock that stands still until it is moved, and never goes back."""

    is_simulated = True

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """The instant at which the clock stands, aware, in UTC."""
        return self._now

    def advance(self, to: datetime) -> None:
        """Move the clock forward; refuses ClockGoesBack."""
        if to < self._now:
            raise ClockGoesBack(now=self._now, to=to)
        self._now = to.astimezone(UTC)


class ClockStore:
    """Keeps the simulated clock of one service in its database."""

    def __init__(self, database: Database, tables: KernelTables) -> None:
        self._database = database
        self._table = tables.simulated_clock

    async def load(self, start: datetime) -> SimulatedClock:
        """The stored clock, which never stands earlier than `start`."""
        async with self._database.transaction() as tx:
            rows = await tx.select(self._table, [(_ONLY_ROW,)], key=("one",), lock=True)
            stored: datetime | None = rows[0].now if rows else None
            now = start if stored is None else max(stored, start)
            await tx.upsert(
                self._table, [{"one": _ONLY_ROW, "now": now}], key=("one",), update=("now",)
            )
        return SimulatedClock(now)

    async def advance(self, clock: SimulatedClock, to: datetime) -> None:
        """Move the clock forward, stored first; refuses ClockGoesBack."""
        async with self._database.transaction() as tx:
            rows = await tx.select(self._table, [(_ONLY_ROW,)], key=("one",), lock=True)
            stored: datetime = rows[0].now if rows else clock.now()
            if to < stored:
                raise ClockGoesBack(now=stored, to=to)
            await tx.upsert(
                self._table, [{"one": _ONLY_ROW, "now": to}], key=("one",), update=("now",)
            )
        clock.advance(max(to, clock.now()))


def monotonic() -> float:
    """Seconds on a clock that never jumps, for durations."""
    return time.monotonic()
