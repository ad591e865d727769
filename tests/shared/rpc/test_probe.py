"""The health check of the containers, against a real server."""

import asyncio

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from shared.rpc import probe


async def test_a_server_that_serves_is_healthy_until_it_says_otherwise() -> None:
    servicer = health.HealthServicer()
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        assert await asyncio.to_thread(probe.serves, f"127.0.0.1:{port}")
        await servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        assert not await asyncio.to_thread(probe.serves, f"127.0.0.1:{port}")
    finally:
        await server.stop(None)


def test_an_address_where_nobody_listens_is_not_healthy() -> None:
    assert not probe.serves("127.0.0.1:1", timeout_seconds=0.5)
