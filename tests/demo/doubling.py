"""Sends every mutation twice at once, and insists that the two answers are equal."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import grpc
from google.protobuf.message import Message

from cli.peers import Peers
from shared.rpc import client

if TYPE_CHECKING:
    from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceAsyncStub
    from guerdon.redemption.v1.redemption_service_pb2_grpc import RedemptionServiceAsyncStub

TWICE = (
    "BatchRecordActivities",
    "BatchReverseActivities",
    "RedeemReward",
)


class Doubling:
    """A stub whose mutations are sent twice."""

    def __init__(self, stub: object) -> None:
        self._stub = stub

    def __getattr__(self, method: str) -> object:
        call = getattr(self._stub, method)
        if method not in TWICE:
            return call

        async def twice(request: Message) -> Message:
            answers: list[object] = await asyncio.gather(
                call(request), call(request), return_exceptions=True
            )
            first, second = answers
            assert said(first) == said(second)
            if isinstance(first, BaseException):
                raise first
            return cast("Message", first)

        return twice


def said(answer: object) -> object:
    """What an answer says: a message, or a refusal's code, reason and metadata."""
    if isinstance(answer, grpc.aio.AioRpcError):
        refusal = client.refusal_of(answer)
        return refusal.code, refusal.reason, refusal.metadata()
    return answer


def doubled(peers: Peers) -> Peers:
    """The same services, with every mutation sent twice."""
    return replace(
        peers,
        earning=cast("EarningServiceAsyncStub", Doubling(peers.earning)),
        redemption=cast("RedemptionServiceAsyncStub", Doubling(peers.redemption)),
    )
