"""Calls to any method of a cluster by its name, and messages that are altered in one place."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, cast

import grpc
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from cli.peers import Peers
from guerdon.clock.v1 import clock_service_pb2
from guerdon.earning.v1 import (
    earning_service_pb2,
    household_service_pb2,
    member_service_pb2,
    points_service_pb2,
    referral_service_pb2,
    seal_service_pb2,
    statement_service_pb2,
)
from guerdon.feed.v1 import feed_service_pb2, parked_service_pb2
from guerdon.gamification.v1 import gamification_service_pb2, leaderboard_service_pb2
from guerdon.redemption.v1 import redemption_service_pb2
from guerdon.tiers.v1 import tiers_service_pb2
from shared.errors import RemoteRefusal
from shared.rpc.client import refusal_of, refusal_of_status

# What makes a request one that was sent before.
KEYS = {"request_id", "activity_id", "reversal_id", "external_reference"}
_numbers = count()

Channels = Mapping[str, grpc.aio.Channel]
OWNERS: Mapping[str, tuple[Any, ...]] = {
    "earning": (
        earning_service_pb2,
        household_service_pb2,
        member_service_pb2,
        points_service_pb2,
        referral_service_pb2,
        seal_service_pb2,
        statement_service_pb2,
    ),
    "tiers": (tiers_service_pb2,),
    "redemption": (redemption_service_pb2,),
    "gamification": (gamification_service_pb2, leaderboard_service_pb2),
}
SHARED = (feed_service_pb2, parked_service_pb2, clock_service_pb2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method of a service, as its descriptor says it."""

    service: str
    descriptor: MethodDescriptor

    def __str__(self) -> str:
        return f"{self.service}.{self.descriptor.name}"

    @property
    def path(self) -> str:
        """The path that gRPC calls."""
        return f"/{self.descriptor.containing_service.full_name}/{self.descriptor.name}"

    @property
    def request(self) -> type[Message]:
        """The class of its requests."""
        return GetMessageClass(self.descriptor.input_type)

    @property
    def answer(self) -> type[Message]:
        """The class of its answers."""
        return GetMessageClass(self.descriptor.output_type)


def methods() -> Iterator[Method]:
    """Every method of every service; those that all serve, of each."""
    for service, modules in OWNERS.items():
        for module in (*modules, *SHARED):
            described = cast("Mapping[str, ServiceDescriptor]", module.DESCRIPTOR.services_by_name)
            for each in described.values():
                for method in each.methods:
                    yield Method(service=service, descriptor=method)


def method_of(name: str) -> Method:
    """The method of a name; of one that all services serve, that of the first."""
    return next(each for each in methods() if each.descriptor.name == name)


async def call(
    channels: Channels, called: Method, raw: bytes, *, seconds: float = 20
) -> Message | RemoteRefusal:
    """The first answer of a call with these bytes, or its refusal; ends streams after that."""
    kind = called.descriptor
    channel = channels[called.service]
    many = "stream" if kind.client_streaming else "unary"
    few = "stream" if kind.server_streaming else "unary"
    invoke = getattr(channel, f"{many}_{few}")(
        called.path, response_deserializer=called.answer.FromString
    )
    sent: object = raw
    if kind.client_streaming:
        sent = _kept_open(raw) if kind.server_streaming else iter([raw])
    begun = invoke(sent, timeout=seconds)
    try:
        if not kind.server_streaming:
            return cast("Message", await begun)
        first = await begun.read()
    except grpc.aio.AioRpcError as error:
        return refusal_of(error)
    finally:
        begun.cancel()
    return cast("Message", called.answer() if first is grpc.aio.EOF else first)


async def _kept_open(raw: bytes) -> AsyncIterator[bytes]:
    """A stream of one message that does not end before it is cancelled.

    grpc.aio's client makes INTERNAL of a refusal that comes while it still writes, and the end of a
    stream is written, too (grpc/grpc issue 36066).
    """
    yield raw
    await asyncio.Event().wait()


def refused(answer: Message | RemoteRefusal) -> RemoteRefusal:
    """The refusal of a call, or that of the first item of a batch."""
    if isinstance(answer, RemoteRefusal):
        return answer
    results = getattr(answer, "results", ())
    assert results, f"it was taken: {answer}"
    assert results[0].HasField("refused"), f"it was taken: {answer}"
    refusal = refusal_of_status(results[0].refused)
    assert isinstance(refusal, RemoteRefusal)
    return refusal


def altered(message: Message, path: str, value: object) -> Message:
    """A copy that differs at a path such as `activity.lines[0].quantity`.

    A list of n times the first item is written as (n,), and absence as None.
    """
    copy = type(message)()
    copy.CopyFrom(message)
    *above, last = re.findall(r"\w+", path)
    place: Any = copy
    for part in above:
        place = place[int(part)] if part.isdigit() else getattr(place, part)
    if value is None:
        place.ClearField(last)
    elif isinstance(value, tuple):
        items = getattr(place, last)
        (count,) = value
        first = items[0]
        del items[:]
        items.extend([first] * count)
    elif last.isdigit():
        place[int(last)] = value
    else:
        setattr(place, last, value)
    return copy


def leaves(message: Message, above: str = "") -> Iterator[tuple[str, FieldDescriptor]]:
    """The paths of all fields below a message that hold a single value, oneofs as they are set."""
    for each in message.DESCRIPTOR.fields:
        field = cast("FieldDescriptor", each)
        path = f"{above}{field.name}"
        oneof = field.containing_oneof
        if oneof is not None and message.WhichOneof(oneof.name) != field.name:
            continue
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            continue
        if field.is_repeated:
            for index, item in enumerate(getattr(message, field.name)):
                if kind is None:
                    yield f"{path}[{index}]", field
                else:
                    yield from leaves(item, f"{path}[{index}].")
        elif kind is None:
            yield path, field
        elif message.HasField(field.name):
            yield from leaves(getattr(message, field.name), f"{path}.")


def with_own_keys(message: Message) -> Message:
    """A copy with idempotency keys, and a receipt, that were never sent before."""
    paths = [path for path, field in leaves(message) if field.name in KEYS]
    if "order.reversal_id" in paths or "orders[0].reversal_id" in paths:
        paths = [path for path in paths if not path.endswith("activity_id")]
    for path in paths:
        message = altered(message, path, f"key-{next(_numbers)}")
    return message


def raw_channels(peers: Peers) -> dict[str, grpc.aio.Channel]:
    """Channels that take bytes, and try nothing again."""
    options = (("grpc.enable_retries", 0),)
    return {
        service: grpc.aio.insecure_channel(address, options=options)
        for service, address in peers.addresses.items()
    }
