"""Serves the clock of a service: read it, and move it when it is simulated."""

from collections.abc import Callable
from datetime import UTC

from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.clock.v1 import clock_service_pb2 as pb
from guerdon.clock.v1 import clock_service_pb2_grpc as pb_grpc
from shared.clock import Clock, ClockNotSimulated, ClockStore, SimulatedClock
from shared.rpc.interceptors import Context

SERVICE_NAME = "guerdon.clock.v1.ClockService"


class ClockServicer(pb_grpc.ClockServiceServicer):
    """Serves one service's clock; `on_advance` wakes what waits for the clock."""

    def __init__(
        self, clock: Clock, store: ClockStore | None, on_advance: Callable[[], None] = lambda: None
    ) -> None:
        self._clock = clock
        self._store = store
        self._on_advance = on_advance

    async def GetClock(self, request: pb.GetClockRequest, context: Context) -> pb.GetClockResponse:
        """Tell what the clock says."""
        del request, context
        return pb.GetClockResponse(now=self._now(), simulated=self._clock.is_simulated)

    async def AdvanceClock(
        self, request: pb.AdvanceClockRequest, context: Context
    ) -> pb.AdvanceClockResponse:
        """Move a simulated clock forward; refuses ClockNotSimulated and ClockGoesBack."""
        del context
        if not isinstance(self._clock, SimulatedClock) or self._store is None:
            raise ClockNotSimulated
        await self._store.advance(self._clock, request.to.ToDatetime(tzinfo=UTC))
        self._on_advance()
        return pb.AdvanceClockResponse(now=self._now())

    def _now(self) -> Timestamp:
        stamp = Timestamp()
        stamp.FromDatetime(self._clock.now())
        return stamp
