"""Channels and servers together: deadlines, retries, health, and restarts that nobody notices."""

import asyncio
import json
import time
from collections import Counter
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shared.ids import SeededIds
from shared.rpc import client, server
from shared.rpc.client import channel, refusal_of
from shared.rpc.interceptors import Context
from shared.rpc.server import RpcServer
from tests.shared.rpc.scripted import NAME, Request, Response, Script, Stub, add, echo, served

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def started(script: Script, listen: str = "127.0.0.1:0") -> RpcServer:
    copy = RpcServer("copy", listen, concurrency_max=100, ids=SeededIds(1))
    copy.add(add, script, NAME)
    await copy.start()
    return copy


def over_all(*copies: RpcServer) -> grpc.aio.Channel:
    return channel("ipv4:" + ",".join(copy.address for copy in copies))


async def test_a_call_without_a_deadline_gets_one() -> None:
    async with served(deadline_seconds=0.2) as rig:
        told: list[float | None] = []

        async def one(request: Request, context: Context) -> Response:
            told.append(context.time_remaining())
            await asyncio.sleep(request.after_position)
            return Response()

        rig.script.one = one
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await rig.stub.one(Request(after_position=60))
        assert failed.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert refusal_of(failed.value).transient
        await rig.stub.one(Request(), timeout=100)
        assert told[0] is not None
        assert told[0] <= 0.2
        assert told[1] is not None
        assert told[1] > 90, "a caller's own deadline stays"


async def test_a_stream_lives_as_long_as_it_is_watched() -> None:
    async with served(deadline_seconds=0.1) as rig:

        async def many(request: Request, context: Context) -> Any:
            for number in range(request.page_size):
                yield Response(head_position=number)
                await asyncio.sleep(0.1)

        rig.script.many = many
        assert len([each async for each in rig.stub.many(Request(page_size=4))]) == 4


def test_a_frozen_server_is_given_up_after_a_ping_timeout() -> None:
    options = dict(client.OPTIONS)
    assert options["grpc.keepalive_time_ms"] == 10_000
    assert options["grpc.keepalive_timeout_ms"] == 5_000
    assert options["grpc.http2.ping_timeout_ms"] == 5_000, "the keepalive's alone does not end it"
    assert options["grpc.keepalive_permit_without_calls"] == 1
    patience = dict(server.OPTIONS)["grpc.http2.min_ping_interval_without_data_ms"]
    assert patience < options["grpc.keepalive_time_ms"], "else servers call the pings an abuse"


def test_only_unavailable_is_sent_again() -> None:
    config = json.loads(str(dict(client.OPTIONS)["grpc.service_config"]))
    (method,) = config["methodConfig"]
    assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert config["loadBalancingConfig"] == [{"round_robin": {}}]
    assert config["healthCheckConfig"] == {"serviceName": ""}


async def test_a_request_beyond_the_limit_is_refused() -> None:
    async with served() as rig:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await rig.stub.raw(b"x" * (server.MESSAGE_BYTES_MAX + 1), timeout=5)
        assert failed.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_address_that_is_taken_is_an_os_error() -> None:
    first = await started(echo())
    with pytest.raises(OSError, match="copy cannot listen on"):
        await started(echo(), first.address)
    await first.stop(0, drain=False)


async def test_calls_are_spread_over_the_copies_that_serve() -> None:
    answered: Counter[str] = Counter()

    def counting(name: str) -> Script:
        script = echo()

        async def one(request: Request, context: Context) -> Response:
            answered[name] += 1
            return Response()

        script.one = one
        return script

    left, right = await started(counting("left")), await started(counting("right"))
    async with over_all(left, right) as over:
        stub = Stub(over)
        await _until(lambda: min(answered["left"], answered["right"]) > 0, stub)
        await right._tell(NOT_SERVING)
        await asyncio.sleep(0.2)
        answered.clear()
        for _ in range(20):
            await stub.one(Request())
        assert answered == {"left": 20}
    await left.stop(0, drain=False)
    await right.stop(0, drain=False)


async def _until(found: Any, stub: Stub) -> None:
    async with asyncio.timeout(5):
        while not found():
            await stub.one(Request())


async def test_a_server_that_stops_says_so_first_and_finishes_what_it_began() -> None:
    script, entered, gate = echo(), asyncio.Event(), asyncio.Event()

    async def one(request: Request, context: Context) -> Response:
        entered.set()
        await gate.wait()
        return Response(head_position=1)

    script.one = one
    copy = await started(script)
    async with channel(copy.address) as over:
        call = asyncio.ensure_future(Stub(over).one(Request()))
        await entered.wait()
        watch: Any = health_pb2_grpc.HealthStub(over)
        states = aiter(watch.Watch(health_pb2.HealthCheckRequest()))
        assert (await anext(states)).status == SERVING
        stopping = asyncio.ensure_future(copy.stop(5))
        assert (await asyncio.wait_for(anext(states), 0.5)).status == NOT_SERVING
        assert not stopping.done()
        assert not call.done()
        await asyncio.sleep(1.2)
        gate.set()
        assert (await call).head_position == 1
        await asyncio.wait_for(stopping, 6)


async def test_nobody_notices_that_one_copy_after_the_other_is_restarted() -> None:
    script = echo()

    async def one(request: Request, context: Context) -> Response:
        await asyncio.sleep(0.005)
        return Response(head_position=request.after_position)

    script.one = one
    copies = [await started(script), await started(script)]
    answered, failed, over_now = 0, list[grpc.aio.AioRpcError](), asyncio.Event()
    async with over_all(*copies) as over:
        stub = Stub(over)

        async def caller() -> None:
            nonlocal answered
            while not over_now.is_set():
                try:
                    await stub.one(Request(after_position=answered))
                    answered += 1
                except grpc.aio.AioRpcError as error:
                    failed.append(error)

        callers = [asyncio.ensure_future(caller()) for _ in range(8)]
        for index, copy in enumerate(list(copies)):
            await copy.stop(5)
            copies[index] = await started(script, copy.address)
            await asyncio.sleep(0.5)
        over_now.set()
        await asyncio.gather(*callers)
    for copy in copies:
        await copy.stop(0, drain=False)
    assert failed == []
    assert answered > 500


async def test_a_server_that_comes_back_is_found_again() -> None:
    copy = await started(echo())
    async with channel(copy.address) as over:
        stub = Stub(over)
        await stub.one(Request())
        await copy.stop(0, drain=False)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.one(Request())
        assert refusal_of(failed.value).transient
        copy = await started(echo(), copy.address)
        began = time.monotonic()
        await stub.one(Request(), wait_for_ready=True)
        assert time.monotonic() - began < 5
    await copy.stop(0, drain=False)
