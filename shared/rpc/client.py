"""Channels to the services.

Balanced, health-checked, retried where that is safe, never without a deadline.
"""

import json

import grpc
import grpc_health.v1.health_pb2  # noqa: F401 - the channel's health checks need its descriptors

from shared.rpc.status import refusal_of, refusal_of_status

__all__ = ["channel", "refusal_of", "refusal_of_status"]

DEADLINE_SECONDS = 30
_MESSAGE_BYTES_MAX = 16 * 1024 * 1024
# Streams live as long as somebody watches: no deadline of the channel's own.
_STREAMS = {
    "guerdon.feed.v1.FeedService": ("FollowEvents",),
    "guerdon.earning.v1.EarningService": ("StreamActivities", "VerifyLedger"),
    "guerdon.tiers.v1.TiersService": ("VerifyTiers",),
    "guerdon.redemption.v1.RedemptionService": ("VerifyRedemptions",),
    "guerdon.gamification.v1.GamificationService": ("VerifyGamification",),
    "guerdon.gamification.v1.LeaderboardService": ("WatchLeaderboard",),
}
# Safe on every method: each mutation carries an idempotency key.
_RETRY = {
    "maxAttempts": 4,
    "initialBackoff": "0.05s",
    "maxBackoff": "1s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def channel(address: str, *, deadline_seconds: int = DEADLINE_SECONDS) -> grpc.aio.Channel:
    """A channel to a service at host:port, or to all its copies at dns:///name:port.

    Calls without a deadline get `deadline_seconds`; UNAVAILABLE is retried; a server that answers
    nothing is given up after the ping timeout.
    """
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": ""},
        "methodConfig": [
            {"name": [{}], "timeout": f"{deadline_seconds}s", "retryPolicy": _RETRY},
            {
                "name": [
                    {"service": service, "method": method}
                    for service, methods in _STREAMS.items()
                    for method in methods
                ],
            },
        ],
    }
    return grpc.aio.insecure_channel(
        address,
        options=(
            ("grpc.service_config", json.dumps(config)),
            ("grpc.enable_retries", 1),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.http2.ping_timeout_ms", 5_000),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.max_reconnect_backoff_ms", 2_000),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
        ),
    )
