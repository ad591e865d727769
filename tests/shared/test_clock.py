"""Business time: the system's clock, and a simulated one that is stored and never goes back."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.clock.v1 import clock_service_pb2 as pb
from guerdon.clock.v1.clock_service_pb2_grpc import (
    ClockServiceStub,
    add_ClockServiceServicer_to_server,
)
from shared.clock import Clock, ClockGoesBack, ClockStore, SimulatedClock, SystemClock, monotonic
from shared.database import Database, new_metadata
from shared.ids import SeededIds
from shared.rpc.client import channel, refusal_of
from shared.rpc.clock_servicer import SERVICE_NAME, ClockServicer
from shared.rpc.server import RpcServer
from shared.tables import kernel_tables

START = datetime(2011, 1, 4, tzinfo=UTC)
DAY = timedelta(days=1)
METADATA = new_metadata()
TABLES = kernel_tables(METADATA)


@pytest.fixture
async def store(database: Database) -> ClockStore:
    async with database.transaction() as tx:
        await tx.core.run_sync(METADATA.create_all)
    return ClockStore(database, TABLES)


def test_the_systems_clock_is_aware_and_in_utc() -> None:
    clock = SystemClock()
    assert clock.now().utcoffset() == timedelta(0)
    assert not clock.is_simulated
    assert monotonic() <= monotonic()


def test_a_simulated_clock_stands_still_until_it_is_moved() -> None:
    clock = SimulatedClock(START)
    assert clock.now() == clock.now() == START
    clock.advance(START + DAY)
    clock.advance(START + DAY)
    assert clock.now() == START + DAY
    assert clock.is_simulated


def test_a_simulated_clock_tells_utc_whatever_zone_it_was_given() -> None:
    east = timezone(timedelta(hours=9))
    clock = SimulatedClock(START.astimezone(east))
    clock.advance((START + DAY).astimezone(east))
    assert clock.now().utcoffset() == timedelta(0)
    assert clock.now() == START + DAY


def test_a_simulated_clock_never_goes_back() -> None:
    clock = SimulatedClock(START)
    with pytest.raises(ClockGoesBack) as refused:
        clock.advance(START - DAY)
    assert refused.value.metadata() == {
        "now": "2011-01-04T00:00:00+00:00",
        "to": "2011-01-03T00:00:00+00:00",
    }
    assert clock.now() == START


async def test_a_simulated_clock_survives_a_restart(store: ClockStore) -> None:
    clock = await store.load(START)
    assert clock.now() == START
    await store.advance(clock, START + DAY)
    again = await store.load(START)
    assert again.now() == START + DAY


async def test_a_later_start_moves_a_stored_clock_and_an_earlier_one_does_not(
    store: ClockStore,
) -> None:
    await store.load(START)
    assert (await store.load(START + DAY)).now() == START + DAY
    assert (await store.load(START)).now() == START + DAY


async def test_a_refused_move_changes_neither_the_clock_nor_the_store(store: ClockStore) -> None:
    clock = await store.load(START)
    with pytest.raises(ClockGoesBack):
        await store.advance(clock, START - DAY)
    assert clock.now() == (await store.load(START)).now() == START


async def test_two_processes_cannot_turn_one_clock_back(store: ClockStore) -> None:
    mine, other = await store.load(START), await store.load(START)
    await store.advance(other, START + 5 * DAY)
    with pytest.raises(ClockGoesBack):
        await store.advance(mine, START + DAY)
    await store.advance(mine, START + 6 * DAY)
    assert mine.now() == START + 6 * DAY


async def test_moves_at_once_end_at_the_latest(store: ClockStore) -> None:
    clock = await store.load(START)
    moves = [store.advance(clock, START + number * DAY) for number in (3, 1, 2)]
    outcomes = await asyncio.gather(*moves, return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, ClockGoesBack) for outcome in outcomes)
    assert clock.now() == (await store.load(START)).now() == START + 3 * DAY


async def serving(clock: Clock, store: ClockStore | None, woken: list[int]) -> RpcServer:
    server = RpcServer("clock", "127.0.0.1:0", concurrency_max=9, ids=SeededIds(1))
    servicer = ClockServicer(clock, store, lambda: woken.append(1))
    server.add(add_ClockServiceServicer_to_server, servicer, SERVICE_NAME)
    await server.start()
    return server


async def test_a_simulated_clock_is_read_and_moved_by_call(store: ClockStore) -> None:
    woken: list[int] = []
    server = await serving(await store.load(START), store, woken)
    async with channel(server.address) as over:
        stub = ClockServiceStub(over)
        found = await stub.GetClock(pb.GetClockRequest())
        assert found.simulated
        assert found.now.ToDatetime(tzinfo=UTC) == START
        to = Timestamp()
        to.FromDatetime(START + DAY)
        moved = await stub.AdvanceClock(pb.AdvanceClockRequest(to=to))
        assert moved.now == to
        assert woken == [1]
        to.FromDatetime(START)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.AdvanceClock(pb.AdvanceClockRequest(to=to))
        assert refusal_of(failed.value).reason == "CLOCK_GOES_BACK"
        assert woken == [1]
    await server.stop(0, drain=False)


async def test_the_systems_clock_is_not_moved_by_call() -> None:
    server = await serving(SystemClock(), None, [])
    async with channel(server.address) as over:
        stub = ClockServiceStub(over)
        assert not (await stub.GetClock(pb.GetClockRequest())).simulated
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.AdvanceClock(pb.AdvanceClockRequest(to=Timestamp(seconds=1)))
        assert refusal_of(failed.value).reason == "CLOCK_NOT_SIMULATED"
    await server.stop(0, drain=False)
