"""Channels to the services: balanced, health-checked, retried, never without a deadline."""

import json
from typing import Any, Self

import grpc

from shared.rpc.status import refusal_of, refusal_of_status

__all__ = ["channel", "refusal_of", "refusal_of_status"]

DEADLINE_SECONDS = 30.0
_MESSAGE_BYTES_MAX = 16 * 1024 * 1024
_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": ""},
    "methodConfig": [
        {
            "name": [{}],
            # Safe on every method: each mutation carries an idempotency key.
            # A service that answers UNAVAILABLE itself says that it is not to be asked again.
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}
OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.enable_retries", 1),
    # A frozen server answers no ping. Without the ping timeout, a call would hang for a minute
    # even so: the keepalive timeout alone does not end it.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
)


def channel(address: str, *, deadline_seconds: float = DEADLINE_SECONDS) -> grpc.aio.Channel:
    """A channel to a service at host:port, or to all its copies at dns:///name:port.

    Unary calls without a timeout get `deadline_seconds`; streams live as long as somebody watches.
    Calls that did not arrive are sent again; a server that answers nothing is given up after the
    ping timeout; one that says NOT_SERVING gets no new calls.
    """
    return BoundedChannel(
        grpc.aio.insecure_channel(address, options=OPTIONS), deadline_seconds=deadline_seconds
    )


def own_channel(address: str) -> grpc.aio.Channel:
    """A channel with a connection of its own, which gRPC otherwise shares within a process.

    Workers of one port are dealt connections, not calls: a caller that wants all of them has
    several such channels.
    """
    options = (*OPTIONS, ("grpc.use_local_subchannel_pool", 1))
    return BoundedChannel(
        grpc.aio.insecure_channel(address, options=options), deadline_seconds=DEADLINE_SECONDS
    )


class BoundedChannel(grpc.aio.Channel):
    """A channel whose unary calls always have a deadline.

    A client interceptor would do the same, with a task of its own for every call.
    """

    def __init__(self, inner: grpc.aio.Channel, *, deadline_seconds: float) -> None:
        self._inner = inner
        self._deadline_seconds = deadline_seconds

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._inner.close()

    async def close(self, grace: float | None = None) -> None:
        """Close the channel; calls in work get `grace` seconds."""
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 - gRPC's signature
        """Connectivity as it is now."""
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the connectivity is another one."""
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until calls can be sent."""
        await self._inner.channel_ready()

    def unary_unary(self, *args: Any, **options: Any) -> Any:
        """A method that takes one message and gives one, with the default deadline."""
        call: Any = self._inner.unary_unary(*args, **options)
        default = self._deadline_seconds

        def bounded(request: Any, *, timeout: float | None = None, **rest: Any) -> Any:
            return call(request, timeout=default if timeout is None else timeout, **rest)

        return bounded

    def unary_stream(self, *args: Any, **options: Any) -> Any:
        """A method that takes one message and gives many."""
        return self._inner.unary_stream(*args, **options)

    def stream_unary(self, *args: Any, **options: Any) -> Any:
        """A method that takes many messages and gives one."""
        return self._inner.stream_unary(*args, **options)

    def stream_stream(self, *args: Any, **options: Any) -> Any:
        """A method that takes many messages and gives many."""
        return self._inner.stream_stream(*args, **options)
