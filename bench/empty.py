"""The floor of every call: an empty unary call through the same server stack.

Usage: python -m bench.empty HOST:PORT

Several may share the port.
"""

import asyncio
import signal
import sys

import grpc
from google.protobuf.empty_pb2 import Empty

from shared import logs
from shared.ids import SystemIds
from shared.rpc import loop
from shared.rpc.server import RpcServer

NAME = "guerdon.bench.v1.EmptyService"
METHOD = f"/{NAME}/Call"


class _Adder:
    """Adds the one handler, as generated code would."""

    def __call__(self, servicer: object, server: grpc.aio.Server) -> None:
        del servicer
        handler = grpc.unary_unary_rpc_method_handler(
            _call, request_deserializer=Empty.FromString, response_serializer=_serialize
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(NAME, {"Call": handler}),)
        )


def _serialize(message: Empty) -> bytes:
    return message.SerializeToString()


async def _call(request: Empty, context: object) -> Empty:
    del context
    return request


async def main(address: str) -> None:
    """Serve until SIGTERM."""
    logs.configure("warning")
    server = RpcServer("bench", address, concurrency_max=1_000, ids=SystemIds(), reuse_port=True)
    server.add(_Adder(), object(), NAME)
    await server.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await server.stop(1, drain=False)


if __name__ == "__main__":
    loop.run(main(sys.argv[1]))
