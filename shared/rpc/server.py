"""A gRPC server with what every service serves beside its own.

Health, reflection, and an orderly end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from shared.ids import Ids
from shared.rpc import metrics
from shared.rpc.interceptors import Edge

_log = structlog.get_logger(__name__)
#: The largest request, which every call in work may hold at once.
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_concurrent_streams", 1_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A client looks for new copies when it connects anew.
    ("grpc.max_connection_age_ms", 3_600_000),
    ("grpc.max_connection_age_grace_ms", 600_000),
)
_NOT_SERVING_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A service that runs: where it listens, and how to stop it."""

    name: str
    address: str
    port: int
    stop: Callable[[], Awaitable[None]]


class RpcServer:
    """One server of one service."""

    def __init__(
        self,
        name: str,
        listen: str,
        *,
        concurrency_max: int,
        ids: Ids,
        metrics_port: int = 0,
        reuse_port: bool = False,
    ) -> None:
        self.name = name
        self.port = 0
        self.edge = Edge(name, concurrency_max=concurrency_max, ids=ids)
        self._listen = listen
        self._metrics_port = metrics_port
        self._end_metrics: Callable[[], None] | None = None
        self._server = grpc.aio.server(
            interceptors=(self.edge,),
            options=(*OPTIONS, ("grpc.so_reuseport", int(reuse_port))),
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._names = [health.SERVICE_NAME, reflection.SERVICE_NAME]

    def add(
        self, adder: Callable[[Any, grpc.aio.Server], None], servicer: object, name: str
    ) -> None:
        """Serve a servicer under its full service name."""
        adder(servicer, self._server)
        self._names.append(name)

    async def start(self) -> int:
        """Listen, and say so in health; gives the port. OSError when the address is taken."""
        reflection.enable_server_reflection(self._names, self._server)
        try:
            self.port = self._server.add_insecure_port(self._listen)
        except RuntimeError as error:
            raise OSError(f"{self.name} cannot listen on {self._listen}: {error}") from error
        if self._metrics_port:
            host = self._listen.rpartition(":")[0]
            self._end_metrics = metrics.serve(self._metrics_port, host)
        await self._server.start()
        await self._tell(health_pb2.HealthCheckResponse.SERVING)
        _log.info("listening", service=self.name, port=self.port)
        return self.port

    @property
    def address(self) -> str:
        """Where the server listens."""
        return f"{self._listen.rpartition(':')[0]}:{self.port}"

    async def stop(self, grace: float, *, drain: bool = True) -> None:
        """Say NOT_SERVING, let balancers notice, finish the calls in work within `grace` seconds.

        Then stop.
        """
        await self._tell(health_pb2.HealthCheckResponse.NOT_SERVING)
        if drain:
            await asyncio.sleep(min(_NOT_SERVING_SECONDS, grace))
        await self._server.stop(grace)
        if self._end_metrics is not None:
            await asyncio.to_thread(self._end_metrics)

    async def _tell(self, status: int) -> None:
        for name in ("", *self._names):
            await self._health.set(name, status)
