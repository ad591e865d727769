"""Metrics of calls are always on, and shown where the settings say."""

import asyncio
import socket
import urllib.request

import grpc
import pytest
from prometheus_client.registry import REGISTRY

from shared.ids import SeededIds
from shared.rpc.client import channel
from shared.rpc.server import RpcServer
from tests.shared.rpc.scripted import NAME, Request, Stub, add, echo

METHOD = f"/{NAME}/One"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def calls(code: str) -> float:
    labels = {"service": "measured", "method": METHOD, "code": code}
    return REGISTRY.get_sample_value("guerdon_rpc_calls_total", labels) or 0


def page(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


async def test_calls_are_counted_by_code_timed_and_shown() -> None:
    port = free_port()
    server = RpcServer(
        "measured", "127.0.0.1:0", concurrency_max=9, ids=SeededIds(1), metrics_port=port
    )
    server.add(add, echo(), NAME)
    await server.start()
    ok, wrong = calls("OK"), calls("INVALID_ARGUMENT")
    async with channel(server.address) as over:
        stub = Stub(over)
        for _ in range(3):
            await stub.one(Request())
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.one(Request(page_size=-1))
    assert (calls("OK") - ok, calls("INVALID_ARGUMENT") - wrong) == (3, 1)
    shown = await asyncio.to_thread(page, port)
    assert f'guerdon_rpc_seconds_count{{method="{METHOD}",service="measured"}}' in shown
    assert 'guerdon_rpc_in_work{kind="call",service="measured"} 0.0' in shown
    await server.stop(0, drain=False)
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(page, port)
