"""Asks a server whether it serves; the health check of the containers.

Usage: python -m shared.rpc.probe [HOST:PORT]; the exit status is 0 when it serves.
"""

import sys

import grpc
from grpc_health.v1 import health_pb2

TIMEOUT_SECONDS = 2.0


def serves(address: str, timeout_seconds: float = TIMEOUT_SECONDS) -> bool:
    """Tells whether the server at host:port answers in time that it serves."""
    with grpc.insecure_channel(address) as channel:
        try:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            answer = check(health_pb2.HealthCheckRequest(), timeout=timeout_seconds)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(0 if serves(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051") else 1)
