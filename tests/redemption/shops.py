"""A shop to test with: the real earning, redemption, and a gate on the way between them.

The gate forwards every call as bytes, and can stop one just before earning gets it or just after
earning has answered: what a process that dies at that moment leaves behind.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.clock.v1 import clock_service_pb2 as clock_pb
from guerdon.clock.v1.clock_service_pb2_grpc import ClockServiceStub
from guerdon.earning.v1 import earning_service_pb2 as earning_pb
from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceStub
from guerdon.redemption.v1 import redemption_service_pb2 as pb
from guerdon.redemption.v1 import reward_pb2
from guerdon.redemption.v1.redemption_service_pb2_grpc import RedemptionServiceStub
from services.earning import service as earning_service
from services.earning.settings import Settings as EarningSettings
from services.redemption import service, tables
from services.redemption.settings import Settings
from shared.clock import SimulatedClock
from shared.database import Database
from shared.errors import RemoteRefusal
from shared.rpc.client import channel, refusal_of
from shared.rpc.server import Running
from tests.databases import EARNING
from tests.earning.nodes import document

if TYPE_CHECKING:
    # The generated modules have these names for type checkers only.
    from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceAsyncStub
    from guerdon.redemption.v1.redemption_service_pb2_grpc import RedemptionServiceAsyncStub

PROGRAM = "shop"
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
NOWHERE = "127.0.0.1:1"


class Gate(grpc.GenericRpcHandler):
    """Forwards calls to earning; `stop_at` holds one up, once."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self._stop: tuple[str, str] | None = None
        self._channel: grpc.aio.Channel | None = None
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    async def open(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        await self._server.start()

    async def close(self) -> None:
        await self._server.stop(0)
        if self._channel is not None:
            await self._channel.close()

    def stop_at(self, when: str, method: str) -> None:
        """Hold up the next call of a method "before" or "after" earning sees it."""
        self.reached.clear()
        self.go_on.clear()
        self._stop = (when, method)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """The handler of any method but health's, which is earning's own affair."""
        path = str(handler_call_details.method)
        if path.startswith("/grpc."):
            return None
        if path.endswith("/FollowEvents"):
            return grpc.unary_stream_rpc_method_handler(self._stream(path))
        return grpc.unary_unary_rpc_method_handler(self._unary(path))

    def _unary(
        self, path: str
    ) -> "Callable[[bytes, grpc.aio.ServicerContext[bytes, bytes]], Awaitable[bytes]]":
        async def call(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
            method = path.rpartition("/")[2]
            self.calls.append(method)
            await self._pause("before", method)
            assert self._channel is not None
            forward: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
            forward = self._channel.unary_unary(path)
            try:
                answer = await forward(request, timeout=10)
            except grpc.aio.AioRpcError as error:
                await self._pause("after", method)
                await context.abort(
                    error.code(), error.details() or "", tuple(error.trailing_metadata())
                )
            await self._pause("after", method)
            return answer

        return call

    def _stream(
        self, path: str
    ) -> "Callable[[bytes, grpc.aio.ServicerContext[bytes, bytes]], AsyncIterator[bytes]]":
        async def call(
            request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]"
        ) -> AsyncIterator[bytes]:
            assert self._channel is not None
            forward: grpc.aio.UnaryStreamMultiCallable[bytes, bytes]
            forward = self._channel.unary_stream(path)
            try:
                async for page in forward(request):
                    yield page
            except grpc.aio.AioRpcError as error:
                await context.abort(
                    error.code(), error.details() or "", tuple(error.trailing_metadata())
                )

        return call

    async def _pause(self, when: str, method: str) -> None:
        if self._stop == (when, method):
            self._stop = None
            self.reached.set()
            await self.go_on.wait()


@dataclass(slots=True)
class Shop:
    """Earning and redemption, running, and what callers do with them."""

    gate: Gate
    clock: SimulatedClock
    settings: Settings
    earning: "EarningServiceAsyncStub"
    running: Running
    opened: grpc.aio.Channel
    to_earning: grpc.aio.Channel
    _numbers: "count[int]" = field(default_factory=count)

    @property
    def stub(self) -> "RedemptionServiceAsyncStub":
        """Stub of redemption."""
        return RedemptionServiceStub(self.opened)

    async def restart(self) -> None:
        """End redemption in the middle of whatever it does, and start it on what is stored."""
        await self.running.stop()
        await self.opened.close()
        database = await Database.open(self.settings.database_url, schema="redemption")
        async with database.transaction() as tx:  # the time of a dead worker's leases passes
            leases = tables.kernel.intentions.update().values(lease_until_micros=0)
            await tx.execute(leases)
        await database.dispose()
        self.running = await service.start(self.settings, clock=self.clock)
        self.opened = channel(self.running.address)

    async def advance(self, to: datetime) -> None:
        """Move the clock that the services share, and let earning book what has ended by then."""
        stamp = Timestamp()
        stamp.FromDatetime(to)
        request = clock_pb.AdvanceClockRequest(to=stamp)
        await ClockServiceStub(self.to_earning).AdvanceClock(request)

    async def apply(
        self, *rewards: reward_pb2.Reward, prune: bool = False, window: int = 3600
    ) -> pb.ApplyRedemptionProgramResponse:
        """Apply a catalogue of these rewards."""
        request = pb.ApplyRedemptionProgramRequest(
            program=reward_pb2.RedemptionProgram(
                program_id=PROGRAM, cancel_window_seconds=window, rewards=rewards
            )
        )
        request.options.prune = prune
        return await self.stub.ApplyRedemptionProgram(request)

    async def enroll(self, member_id: str, points: int = 0) -> str:
        """A member with points; the token that redemption has to wait for."""
        enrolled = await self.earning.EnrollMember(
            earning_pb.EnrollMemberRequest(
                request_id=f"enroll-{member_id}", program_id=PROGRAM, member_id=member_id
            )
        )
        if points:
            await self.earning.CreditPoints(
                earning_pb.CreditPointsRequest(
                    request_id=f"credit-{member_id}",
                    program_id=PROGRAM,
                    member_id=member_id,
                    points=points,
                    reason="a gift",
                )
            )
        return str(enrolled.feed_token)

    async def redeem(
        self,
        member_id: str,
        reward_id: str = "mug",
        *,
        request_id: str = "",
        token: str = "",
        seconds: float = 20,
    ) -> pb.RedeemRewardResponse:
        """Redeem, with a new request id unless one is given."""
        request = pb.RedeemRewardRequest(
            request_id=request_id or f"redeem-{next(self._numbers)}",
            program_id=PROGRAM,
            member_id=member_id,
            reward_id=reward_id,
            wait_for_token=token,
        )
        return await self.stub.RedeemReward(request, timeout=seconds)

    async def cancel(
        self, redemption_id: str, *, request_id: str = ""
    ) -> pb.CancelRedemptionResponse:
        """Cancel, with a new request id unless one is given."""
        request = pb.CancelRedemptionRequest(
            request_id=request_id or f"cancel-{next(self._numbers)}",
            program_id=PROGRAM,
            redemption_id=redemption_id,
        )
        return await self.stub.CancelRedemption(request, timeout=20)

    async def points(self, member_id: str) -> tuple[int, int]:
        """Available and held points of a member."""
        request = earning_pb.GetWalletRequest(program_id=PROGRAM, member_id=member_id)
        wallet = (await self.earning.GetWallet(request)).wallet
        return wallet.points_available, wallet.points_held

    async def redemptions(self, member_id: str = "") -> list[reward_pb2.Redemption]:
        """The redemptions of a member, newest first."""
        request = pb.ListRedemptionsRequest(
            program_id=PROGRAM, member_id=member_id, page_size=1_000
        )
        return list((await self.stub.ListRedemptions(request)).redemptions)

    async def stock_left(self, reward_id: str = "mug") -> int:
        """What is left of a reward."""
        answer = await self.stub.ListRewards(pb.ListRewardsRequest(program_id=PROGRAM))
        return next(each.stock_left for each in answer.rewards if each.reward_id == reward_id)

    async def violations(self) -> list[tuple[str, str]]:
        """What redemption's verification finds: rule and detail."""
        found = []
        async for answer in self.stub.VerifyRedemptions(pb.VerifyRedemptionsRequest()):
            found += [(each.rule, each.detail) for each in answer.progress.violations]
        return found


def reward(
    reward_id: str = "mug",
    *,
    stock: int | None = 2,
    limit: int | None = 1,
    points: int = 500,
    kind: reward_pb2.Reward.Kind.ValueType = reward_pb2.Reward.KIND_VOUCHER,
) -> reward_pb2.Reward:
    """A reward."""
    made = reward_pb2.Reward(
        reward_id=reward_id, display_name="Mug", price_points=points, kind=kind
    )
    if stock is not None:
        made.stock_total = stock
    if limit is not None:
        made.member_limit = limit
    return made


@asynccontextmanager
async def shop_of(
    database_url: str, folder: Path, *, tiers_address: str = NOWHERE
) -> AsyncIterator[Shop]:
    """A shop whose redemption is over the URL's database; its catalogue is empty."""
    clock = SimulatedClock(NOW)
    earning = await earning_service.start(
        EarningSettings(
            database_url=await EARNING.sqlite(folder / "earning.db"),
            listen="127.0.0.1:0",
            tiers_address=NOWHERE,
            log_level="error",
        ),
        clock=clock,
    )
    gate = Gate()
    await gate.open(earning.address)
    settings = Settings(
        database_url=database_url,
        listen="127.0.0.1:0",
        earning_address=gate.address,
        tiers_address=tiers_address,
        secret_file=folder / "voucher.key",
        log_level="error",
        stop_grace=0,
    )
    running = await service.start(settings, clock=clock)
    to_earning = channel(earning.address)
    stub = EarningServiceStub(to_earning)
    shop = Shop(gate, clock, settings, stub, running, channel(running.address), to_earning)
    try:
        await stub.ApplyEarningProgram(earning_pb.ApplyEarningProgramRequest(program=document()))
        yield shop
    finally:
        gate.go_on.set()
        await shop.opened.close()
        await shop.running.stop()
        await to_earning.close()
        await gate.close()
        await earning.stop()


async def refused(call: Awaitable[object]) -> RemoteRefusal:
    """The refusal of a call that must be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return refusal_of(failed.value)
