"""A server whose four methods, one of each kind, do what a test says."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from guerdon.feed.v1.feed_service_pb2 import ReadEventsRequest as Request
from guerdon.feed.v1.feed_service_pb2 import ReadEventsResponse as Response
from shared.ids import SeededIds
from shared.rpc.client import channel
from shared.rpc.interceptors import Context
from shared.rpc.server import RpcServer

__all__ = ["NAME", "Request", "Response", "Script", "Served", "Stub", "add", "echo", "served"]
NAME = "guerdon.test.v1.ScriptedService"


@dataclass(kw_only=True)
class Script:
    """What the methods do; each test replaces those that it is about."""

    one: Callable[[Request, Context], Any]
    many: Callable[[Request, Context], AsyncIterator[Response]]
    gather: Callable[[AsyncIterator[Request], Context], Any]
    talk: Callable[[AsyncIterator[Request], Context], AsyncIterator[Response]]


def echo() -> Script:
    """Methods that answer with the positions that they were asked about."""

    async def one(request: Request, context: Context) -> Response:
        del context
        return Response(head_position=request.after_position)

    async def many(request: Request, context: Context) -> AsyncIterator[Response]:
        del context
        for number in range(request.page_size):
            yield Response(head_position=request.after_position + number)

    async def gather(requests: AsyncIterator[Request], context: Context) -> Response:
        del context
        return Response(head_position=sum([each.after_position async for each in requests]))

    async def talk(requests: AsyncIterator[Request], context: Context) -> AsyncIterator[Response]:
        async for request in requests:
            yield await one(request, context)

    return Script(one=one, many=many, gather=gather, talk=talk)


def add(script: object, server: grpc.aio.Server) -> None:
    """Serve a script."""
    assert isinstance(script, Script)
    coding: dict[str, Any] = {
        "request_deserializer": Request.FromString,
        "response_serializer": Response.SerializeToString,
    }
    methods = {
        "One": grpc.unary_unary_rpc_method_handler(_late(script, "one"), **coding),
        "Many": grpc.unary_stream_rpc_method_handler(_late(script, "many"), **coding),
        "Gather": grpc.stream_unary_rpc_method_handler(_late(script, "gather"), **coding),
        "Talk": grpc.stream_stream_rpc_method_handler(_late(script, "talk"), **coding),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, methods),))


def _late(script: Script, name: str) -> Any:
    """A method that the script may still change."""

    def call(request: Any, context: Context) -> Any:
        return getattr(script, name)(request, context)

    return call


class Stub:
    """The four methods, over a channel."""

    def __init__(self, over: grpc.aio.Channel) -> None:
        coding: dict[str, Any] = {
            "request_serializer": Request.SerializeToString,
            "response_deserializer": Response.FromString,
        }
        self.one: Any = over.unary_unary(f"/{NAME}/One", **coding)
        self.many: Any = over.unary_stream(f"/{NAME}/Many", **coding)
        self.gather: Any = over.stream_unary(f"/{NAME}/Gather", **coding)
        self.talk: Any = over.stream_stream(f"/{NAME}/Talk", **coding)
        #: The first method again, taking and giving bytes.
        self.raw: Any = over.unary_unary(f"/{NAME}/One")


@dataclass(kw_only=True)
class Served:
    """A server that runs, and a way to call it."""

    script: Script
    server: RpcServer
    channel: grpc.aio.Channel
    stub: Stub


@asynccontextmanager
async def served(
    *, concurrency_max: int = 100, deadline_seconds: float = 10.0
) -> AsyncIterator[Served]:
    """A server that echoes until its script is changed."""
    script = echo()
    server = RpcServer("scripted", "127.0.0.1:0", concurrency_max=concurrency_max, ids=SeededIds(1))
    server.add(add, script, NAME)
    await server.start()
    async with channel(server.address, deadline_seconds=deadline_seconds) as over:
        yield Served(script=script, server=server, channel=over, stub=Stub(over))
    await server.stop(0, drain=False)
