"""Closed-loop load.

A fixed number of callers, each sending its next call when the last is answered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import grpc
import psutil
from google.protobuf.message import Message

from bench.servers import Server
from shared.clock import monotonic

WARM_UP_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a load came to: calls answered, for how long, and the server's CPU for them."""

    calls: int
    seconds: float
    server_cpu_seconds: float
    latencies: tuple[float, ...]

    @property
    def per_second(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds

    @property
    def server_cpu_us_per_call(self) -> float:
        """Microseconds of the server process's CPU time for one call."""
        return self.server_cpu_seconds / self.calls * 1e6

    def percentile(self, share: float) -> float:
        """The latency, in seconds, that this share of the calls did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Prepared:
    """Calls of one method whose requests were made before the clock runs.

    The load and what is measured share two cores: what a client spends on making requests and
    reading answers is neither's. Answers are kept as bytes, to be checked afterwards.
    """

    def __init__(
        self, channels: Sequence[grpc.aio.Channel], path: str, requests: Sequence[Message]
    ) -> None:
        self._calls: Sequence[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = [
            channel.unary_unary(path) for channel in channels
        ]
        self._requests = [request.SerializeToString() for request in requests]
        self.answers: list[bytes] = []

    async def send(self, number: int) -> None:
        """Send one; raises IndexError when more are wanted than were made."""
        call = self._calls[number % len(self._calls)]
        self.answers.append(await call(self._requests[number]))


async def closed_loop(
    call: Callable[[int], Awaitable[object]],
    *,
    callers: int,
    seconds: float,
    server: Server,
    warm_up: float = WARM_UP_SECONDS,
) -> Load:
    """Run `call(n)` with a growing n from `callers` callers at once; the warm-up does not count."""
    processes = server.processes()
    numbers = iter(range(1 << 62))
    latencies: list[float] = []
    begins = monotonic() + warm_up
    ends = begins + seconds

    async def caller() -> None:
        while (sent := monotonic()) < ends:
            await call(next(numbers))
            if sent >= begins:
                latencies.append(monotonic() - sent)

    async def cpu_at_begin() -> float:
        await asyncio.sleep(warm_up)
        return cpu_seconds(processes)

    before = asyncio.ensure_future(cpu_at_begin())
    await asyncio.gather(*(caller() for _ in range(callers)))
    took = monotonic() - begins
    return Load(
        calls=len(latencies),
        seconds=took,
        server_cpu_seconds=cpu_seconds(processes) - await before,
        latencies=tuple(latencies),
    )


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """CPU time of some processes so far."""
    times = [each.cpu_times() for each in processes]
    return float(sum(each.user + each.system for each in times))
