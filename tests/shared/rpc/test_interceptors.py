"""The edge of every server: what callers are told, and what they are never told."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from shared import errors
from shared.rpc.client import refusal_of
from shared.rpc.interceptors import Context
from shared.rpc.status import DETAILS_KEY
from tests.shared.rpc.scripted import Request, Response, Served, served

SECRET = "postgres://app:hunter2@10.0.0.3/ledger"


@dataclass(eq=False, repr=False, kw_only=True)
class PurseTooSmall(errors.FailedPrecondition):
    """A refusal of a service."""

    message = "needs {points_needed}, has {points_available}"
    points_needed: int
    points_available: int


@pytest.fixture
async def rig() -> AsyncIterator[Served]:
    async with served() as running:
        yield running


def raising(error: BaseException) -> Any:
    async def one(request: Request, context: Context) -> Response:
        del request, context
        raise error

    return one


def raising_after_one(error: BaseException) -> Any:
    async def many(request: Any, context: Context) -> AsyncIterator[Response]:
        del request, context
        yield Response(head_position=1)
        raise error

    return many


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value


async def drained(stream: Any) -> list[int]:
    return [each.head_position async for each in stream]


async def requests(*positions: int) -> AsyncIterator[Request]:
    for position in positions:
        yield Request(after_position=position)


def on_the_wire(error: grpc.aio.AioRpcError) -> str:
    """Everything that a caller was sent, as one text."""
    return repr((error.details(), tuple(error.trailing_metadata()), error.debug_error_string()))


async def test_all_four_kinds_of_calls_are_answered(rig: Served) -> None:
    assert (await rig.stub.one(Request(after_position=7))).head_position == 7
    assert await drained(rig.stub.many(Request(after_position=7, page_size=3))) == [7, 8, 9]
    assert (await rig.stub.gather(requests(1, 2, 3))).head_position == 6
    assert await drained(rig.stub.talk(requests(4, 5))) == [4, 5]


async def test_a_refusal_is_a_status_with_its_reason_and_its_fields(rig: Served) -> None:
    rig.script.one = raising(PurseTooSmall(points_needed=300, points_available=120))
    error = await failure(rig.stub.one(Request()))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "needs 300, has 120"
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())[DETAILS_KEY])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("PURSE_TOO_SMALL", "guerdon")
    assert info.metadata == {"points_needed": "300", "points_available": "120"}
    assert len(status.details) == 1


async def test_every_kind_of_call_can_be_refused(rig: Served) -> None:
    refusal = PurseTooSmall(points_needed=1, points_available=0)
    rig.script.many = rig.script.talk = raising_after_one(refusal)
    rig.script.gather = raising(refusal)
    for call in (
        drained(rig.stub.many(Request())),
        rig.stub.gather(requests(1)),
        drained(rig.stub.talk(requests(1))),
    ):
        assert refusal_of(await failure(call)).reason == "PURSE_TOO_SMALL"


async def test_unavailable_says_when_to_ask_again_and_is_not_retried_by_the_channel(
    rig: Served,
) -> None:
    asked = 0

    async def one(request: Request, context: Context) -> Response:
        nonlocal asked
        asked += 1
        raise errors.NotReady(what="board spring", retry_after_seconds=3)

    rig.script.one = one
    refusal = refusal_of(await failure(rig.stub.one(Request())))
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "NOT_READY")
    assert refusal.retry_after_seconds == 3
    assert refusal.transient
    assert asked == 1


async def test_bytes_that_are_no_message_are_the_callers_fault(rig: Served) -> None:
    refusal = refusal_of(await failure(rig.stub.raw(b"\xff\xff\xff", timeout=5)))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
    assert refusal.fields_text == {"message_type": "guerdon.feed.v1.ReadEventsRequest"}


async def test_a_violation_names_the_field_and_the_limit(rig: Served) -> None:
    for call in (
        rig.stub.one(Request(page_size=5_000)),
        drained(rig.stub.many(Request(page_size=5_000))),
        drained(rig.stub.talk(_one_wrong())),
    ):
        error = await failure(call)
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        (violation,) = refusal_of(error).violations
        assert violation.field == "page_size"
        assert "1000" in violation.description


async def _one_wrong() -> AsyncIterator[Request]:
    yield Request(page_size=5_000)


async def test_text_that_no_database_holds_is_refused(rig: Served) -> None:
    (violation,) = refusal_of(await failure(rig.stub.one(Request(incarnation="a\0b")))).violations
    assert (violation.field, violation.description) == ("incarnation", "must not contain U+0000")


async def test_a_thousand_violations_still_fit_into_the_trailers(rig: Served) -> None:
    wrong = tuple(
        errors.Violation(field=f"items[{number}].{'x' * 500}", description="é" * 5_000)
        for number in range(1_000)
    )
    rig.script.one = raising(errors.FieldViolations(violations=wrong))
    refusal = refusal_of(await failure(rig.stub.one(Request())))
    assert refusal.reason == "FIELD_VIOLATIONS"
    assert refusal.fields_text == {"violations": "1000"}
    assert refusal.violations[0].field.startswith("items[0].")


@pytest.mark.parametrize("kind", ["one", "many", "gather", "talk"])
async def test_a_fault_tells_an_id_and_nothing_else(rig: Served, kind: str) -> None:
    fault = RuntimeError(f"cannot connect to {SECRET}")
    rig.script.one = rig.script.gather = raising(fault)
    rig.script.many = rig.script.talk = raising_after_one(fault)
    calls: dict[str, Any] = {
        "one": lambda: rig.stub.one(Request()),
        "many": lambda: drained(rig.stub.many(Request())),
        "gather": lambda: rig.stub.gather(requests(1)),
        "talk": lambda: drained(rig.stub.talk(requests(1))),
    }
    with capture_logs() as lines:
        error = await failure(calls[kind]())
    refusal = refusal_of(error)
    assert (refusal.code, refusal.reason) == ("INTERNAL", "INTERNAL")
    assert "hunter2" not in on_the_wire(error)
    assert "connect" not in on_the_wire(error)
    logged = [line for line in lines if line["event"] == "rpc_fault"]
    assert [line["error_id"] for line in logged] == [refusal.fields_text["error_id"]]
    assert logged[0]["exc_info"] is fault


@pytest.mark.parametrize("letter", ["x", "é", "界", "🎁"])
@pytest.mark.parametrize("length", [100, 300, 5_000])
async def test_however_much_is_wrong_the_refusal_arrives(
    rig: Served, letter: str, length: int
) -> None:
    """A Status beyond what a trailer holds would arrive as RESOURCE_EXHAUSTED, without a word."""
    violations = tuple(
        errors.Violation(field=f"items[{number}]." + letter * length, description=letter * length)
        for number in range(50)
    )
    rig.script.one = raising(errors.FieldViolations(violations=violations))
    refusal = refusal_of(await failure(rig.stub.one(Request())))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FIELD_VIOLATIONS")
    assert refusal.violations_of()[0].field.startswith("items[0]." + letter * 50)


@pytest.mark.parametrize("kind", ["one", "many"])
@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(SECRET),
        TimeoutError(),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.AdminShutdownError(SECRET),
        asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
    ],
)
async def test_a_database_that_is_away_is_unavailable(
    rig: Served, error: Exception, kind: str
) -> None:
    rig.script.one, rig.script.many = raising(error), raising_after_one(error)
    with capture_logs() as lines:
        call = rig.stub.one(Request()) if kind == "one" else drained(rig.stub.many(Request()))
        failed = await failure(call)
    refusal = refusal_of(failed)
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DATABASE_UNAVAILABLE")
    assert "hunter2" not in on_the_wire(failed)
    logged = [line for line in lines if line["event"] == "rpc_database_away"]
    assert [line["exc_info"] for line in logged] == [error]


async def test_an_answer_that_is_no_message_is_a_fault_of_ours(rig: Served) -> None:
    async def one(request: Request, context: Context) -> Any:
        del request, context

    rig.script.one = one
    assert refusal_of(await failure(rig.stub.one(Request()))).reason == "INTERNAL"


async def test_an_abort_of_the_handlers_own_passes(rig: Served) -> None:
    async def one(request: Request, context: Context) -> Response:
        del request
        await context.abort(grpc.StatusCode.DATA_LOSS, "said by hand")
        return Response()

    rig.script.one = one
    with capture_logs() as lines:
        error = await failure(rig.stub.one(Request()))
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "said by hand")
    assert [line["code"] for line in lines if line["event"] == "rpc"] == ["DATA_LOSS"]


async def test_a_cancellation_that_nobody_asked_for_is_aborted(rig: Served) -> None:
    rig.script.one = rig.script.gather = raising(asyncio.CancelledError())
    rig.script.many = rig.script.talk = raising_after_one(asyncio.CancelledError())
    for call in (
        rig.stub.one(Request()),
        drained(rig.stub.many(Request())),
        rig.stub.gather(requests(1)),
        drained(rig.stub.talk(requests(1))),
    ):
        error = await failure(asyncio.wait_for(call, 5))
        assert (error.code(), refusal_of(error).reason) == (
            grpc.StatusCode.ABORTED,
            "INTERRUPTED",
        )


async def test_a_caller_who_leaves_ends_the_handler(rig: Served) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def one(request: Request, context: Context) -> Response:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return Response()

    rig.script.one = one
    call = rig.stub.one(Request())
    await began.wait()
    with capture_logs() as lines:
        call.cancel()
        await asyncio.wait_for(ended.wait(), 5)
        await asyncio.sleep(0.05)
    assert [line["code"] for line in lines if line["event"] == "rpc"] == ["CANCELLED"]
    assert rig.server.edge.calls.in_work == 0


async def test_a_watcher_who_leaves_ends_the_stream_and_its_count(rig: Served) -> None:
    ended = asyncio.Event()

    async def many(request: Request, context: Context) -> AsyncIterator[Response]:
        try:
            while True:
                yield Response(head_position=1)
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    rig.script.many = many
    stream = rig.stub.many(Request())
    await anext(aiter(stream))
    assert rig.server.edge.streams.in_work == 1
    stream.cancel()
    await asyncio.wait_for(ended.wait(), 5)
    await asyncio.sleep(0.05)
    assert rig.server.edge.streams.in_work == 0


async def test_a_peers_refusal_goes_on_to_the_caller(rig: Served) -> None:
    async with served() as peer:
        peer.script.one = raising(PurseTooSmall(points_needed=2, points_available=1))

        async def one(request: Request, context: Context) -> Response:
            del context
            answer: Response = await peer.stub.one(request)
            return answer

        rig.script.one = one
        assert refusal_of(await failure(rig.stub.one(Request()))).reason == "PURSE_TOO_SMALL"


async def test_a_peer_that_is_not_there_is_not_named(rig: Served) -> None:
    async with served() as peer:
        address = peer.server.address
        await peer.server.stop(0, drain=False)

        async def one(request: Request, context: Context) -> Response:
            del context
            answer: Response = await peer.stub.one(request)
            return answer

        rig.script.one = one
        error = await failure(rig.stub.one(Request()))
    assert refusal_of(error).reason == "NOT_READY"
    assert address not in on_the_wire(error)


async def test_too_many_calls_are_refused_at_once_while_health_answers() -> None:
    async with served(concurrency_max=4) as rig:
        entered, gate = asyncio.Semaphore(0), asyncio.Event()

        async def one(request: Request, context: Context) -> Response:
            entered.release()
            await gate.wait()
            return Response()

        rig.script.one = one
        inside = [asyncio.ensure_future(rig.stub.one(Request())) for _ in range(4)]
        for _ in range(4):
            await entered.acquire()
        refusal = refusal_of(await failure(asyncio.wait_for(rig.stub.one(Request()), 1)))
        assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        assert refusal.fields_text == {"limit": "4"}
        health: Any = health_pb2_grpc.HealthStub(rig.channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert await drained(rig.stub.many(Request(page_size=2))) == [0, 1], "streams count apart"
        gate.set()
        await asyncio.gather(*inside)
        assert rig.server.edge.calls.in_work == 0
        assert (await rig.stub.one(Request())) == Response()


async def test_refused_calls_are_counted_out_again() -> None:
    async with served(concurrency_max=2) as rig:
        rig.script.one = raising(PurseTooSmall(points_needed=1, points_available=0))
        for _ in range(10):
            await failure(rig.stub.one(Request()))
            await failure(rig.stub.one(Request(page_size=5_000)))
            await failure(rig.stub.raw(b"\xff", timeout=5))
        assert rig.server.edge.calls.in_work == 0


async def test_each_call_is_one_line(rig: Served) -> None:
    refused = raising(PurseTooSmall(points_needed=1, points_available=0))
    with capture_logs() as lines:
        await rig.stub.one(Request())
        rig.script.one = refused
        await failure(rig.stub.one(Request()))
    told = [
        (line["service"], line["method"], line["code"], line["reason"])
        for line in lines
        if line["event"] == "rpc"
    ]
    method = "/guerdon.test.v1.ScriptedService/One"
    assert told == [
        ("scripted", method, "OK", ""),
        ("scripted", method, "FAILED_PRECONDITION", "PURSE_TOO_SMALL"),
    ]
