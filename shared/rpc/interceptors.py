"""Everything between the wire and a handler, once for all four kinds of calls.

One interceptor wraps each method once, so that a call pays for one extra coroutine.
It limits the calls in work, parses and validates requests, maps refusals to `google.rpc.Status`,
counts, and writes one canonical line per call.
Handlers contain none of that: they answer, or raise a refusal.

What a caller is told when something else is raised:

- bytes that are no such message, or text that no database holds: INVALID_ARGUMENT
- a refusal of another service: that refusal; another service that did not answer: UNAVAILABLE
- a database that is away, or too slow, for a read: UNAVAILABLE
- a cancellation that nobody asked for: ABORTED (gRPC itself would send no status at all)
- anything else: INTERNAL with an id that finds it in the log (gRPC would send its text)
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from shared import errors, faults
from shared.clock import monotonic
from shared.group_commit import DatabaseUnavailable
from shared.ids import Ids
from shared.rpc import metrics, validation
from shared.rpc.status import DETAILS_KEY, refusal_of, status_of

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

STREAMS_MAX = 10_000
_EXEMPT = ("/grpc.health.", "/grpc.reflection.")
# Ids that the canonical line tells, where a request has them.
_TOLD = ("program_id", "request_id")
# The service has said when to ask again: the channel's own retry is for calls that never arrived.
_NO_RETRY = ("grpc-retry-pushback-ms", "-1")


@dataclass(eq=False, repr=False, kw_only=True)
class DeadlinePassed(errors.Refusal):
    """Nobody waits for the answer any more; nothing was done."""

    code = "DEADLINE_EXCEEDED"
    message = "the deadline passed before the work began"
    transient = True


class Gate:
    """How many calls of a kind may be in work at once."""

    __slots__ = ("in_work", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_work = 0

    def enter(self) -> None:
        """Count a call in; refuses Overloaded at once when too many are in work."""
        if self.in_work >= self.limit:
            raise errors.Overloaded(limit=self.limit)
        self.in_work += 1

    def leave(self) -> None:
        """Count a call out."""
        self.in_work -= 1


class Edge(grpc.aio.ServerInterceptor):
    """The one interceptor of a server.

    Calls that answer once and calls that stream are limited apart, `concurrency_max` and
    `streams_max`: watchers that stay for hours must not keep anybody else out.
    """

    def __init__(
        self, service: str, *, concurrency_max: int, ids: Ids, streams_max: int = STREAMS_MAX
    ) -> None:
        self.service = service
        self.calls = Gate(concurrency_max)
        self.streams = Gate(streams_max)
        self._ids = ids
        self._log = structlog.get_logger("shared.rpc").bind(service=service)
        self._wrapped: dict[str, Handler] = {}
        metrics.watch(service, lambda: self.calls.in_work, lambda: self.streams.in_work)

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Give the wrapped handler of a method; health and reflection stay as they are."""
        name = handler_call_details.method
        wrapped = self._wrapped.get(name)
        if wrapped is not None:
            return wrapped
        handler = await continuation(handler_call_details)
        if handler is None or name.startswith(_EXEMPT):
            return handler
        wrapped = self._wrapped[name] = _Method(self, handler, name).wrapped()
        return wrapped

    def refusal_of(self, method: str, error: BaseException) -> errors.Refusal | None:
        """What a caller is told of an exception; None when gRPC itself ends the call."""
        if isinstance(error, grpc.aio.AioRpcError):
            error = refusal_of(error)
        if isinstance(error, errors.RemoteRefusal) and error.reason == error.code:
            # It comes from the channel: its text tells addresses.
            if error.transient:
                return errors.NotReady(what="another service")
            return self._fault(method, error)
        if isinstance(error, errors.Refusal):
            return error
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            return None if task is not None and task.cancelling() else errors.Interrupted()
        if isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
            if faults.is_transient(error):
                # What writes has been tried again by now (`group_commit`); a read is the caller's.
                self._log.warning("rpc_database_away", method=method, exc_info=error)
                return DatabaseUnavailable()
            return self._fault(method, error)
        return None

    def tell(
        self,
        method: "_Method",
        began: float,
        request: Any,
        code: str,
        refusal: errors.Refusal | None = None,
    ) -> None:
        """Count a call and write its one line."""
        seconds = monotonic() - began
        method.answered(code, seconds)
        ids = {} if request is None else {name: getattr(request, name) for name in method.told}
        self._log.info(
            "rpc",
            method=method.name,
            code=code,
            reason="" if refusal is None else refusal.reason,
            seconds=round(seconds, 6),
            **ids,
        )

    def _fault(self, method: str, error: BaseException) -> errors.Internal:
        error_id = self._ids.new()
        self._log.error("rpc_fault", method=method, error_id=error_id, exc_info=error)
        return errors.Internal(error_id=error_id)


class _Method:
    """One method of a servicer, wrapped."""

    def __init__(self, edge: Edge, handler: Any, name: str) -> None:
        self.name = name
        self.answered = metrics.method(edge.service, name)
        self._edge = edge
        self._handler = handler
        self._parse: Callable[[bytes], Message] = handler.request_deserializer
        owner = getattr(self._parse, "__self__", None)
        fields = owner.DESCRIPTOR.fields_by_name if owner is not None else {}
        many = handler.request_streaming
        self.told = () if many else tuple(each for each in _TOLD if each in fields)
        self._type = owner.DESCRIPTOR.full_name if owner is not None else "request of this method"

    def wrapped(self) -> Handler:
        """The handler that gRPC calls; it takes bytes, so that parsing is ours."""
        handler, encode = self._handler, self._handler.response_serializer
        if handler.request_streaming and handler.response_streaming:
            behaviour = self._answering_often(handler.stream_stream, self._each)
            return grpc.stream_stream_rpc_method_handler(behaviour, None, encode)
        if handler.request_streaming:
            answering = self._answering_once(handler.stream_unary, self._each, encode)
            return grpc.stream_unary_rpc_method_handler(answering, None, None)
        if handler.response_streaming:
            behaviour = self._answering_often(handler.unary_stream, self._one)
            return grpc.unary_stream_rpc_method_handler(behaviour, None, encode)
        answering = self._answering_once(handler.unary_unary, self._one, encode)
        return grpc.unary_unary_rpc_method_handler(answering, None, None)

    def _answering_once(
        self,
        behaviour: Callable[[Any, Context], Awaitable[Any]],
        read: Callable[[Any], Any],
        encode: Callable[[Any], bytes],
    ) -> Callable[[Any, Context], Awaitable[bytes]]:
        edge, gate = self._edge, self._edge.calls

        async def call(received: Any, context: Context) -> bytes:
            began, request = monotonic(), None
            try:
                gate.enter()
                try:
                    _check_deadline(context)
                    request = read(received)
                    answer = encode(await behaviour(request, context))
                finally:
                    gate.leave()
            except BaseException as error:
                refusal = self._ended(error, began, request, context)
                if refusal is None:
                    raise
            else:
                edge.tell(self, began, request, "OK")
                return answer
            await _abort(context, refusal)
            return b""  # never reached: aborting raises

        return call

    def _answering_often(
        self, behaviour: Callable[[Any, Context], Any], read: Callable[[Any], Any]
    ) -> Callable[[Any, Context], AsyncIterator[Any]]:
        edge, gate = self._edge, self._edge.streams

        async def call(received: Any, context: Context) -> AsyncIterator[Any]:
            began, request = monotonic(), None
            try:
                gate.enter()
                try:
                    request = read(received)
                    async with aclosing(behaviour(request, context)) as answers:
                        async for answer in answers:
                            yield answer
                finally:
                    gate.leave()
            except BaseException as error:
                refusal = self._ended(error, began, request, context)
                if refusal is None:
                    raise
            else:
                edge.tell(self, began, request, "OK")
                return
            await _abort(context, refusal)

        return call

    def _ended(
        self, error: BaseException, began: float, request: Any, context: Context
    ) -> errors.Refusal | None:
        """Tell of a call that was not answered, and give what the caller is told."""
        refusal = self._edge.refusal_of(self.name, error)
        code = refusal.code if refusal is not None else _code_of(error, context)
        self._edge.tell(self, began, request, code, refusal)
        return refusal

    def _one(self, received: bytes) -> Message:
        """The request, valid by its proto; refuses MalformedRequest and FieldViolations."""
        try:
            request = self._parse(received)
        except DecodeError:
            raise errors.MalformedRequest(message_type=self._type) from None
        validation.check(request, received)
        return request

    async def _each(self, received: AsyncIterator[bytes]) -> AsyncIterator[Message]:
        async for one in received:
            yield self._one(one)


def _check_deadline(context: Context) -> None:
    """Refuse DeadlinePassed: under overload, work that nobody waits for is the work to leave."""
    remaining = context.time_remaining()
    if remaining is not None and remaining <= 0:
        raise DeadlinePassed


def _code_of(error: BaseException, context: Context) -> str:
    """The code of a call that gRPC ends: by its own abort, or because its caller went away."""
    if not isinstance(error, grpc.aio.AbortError):
        return "CANCELLED"
    number = context.code()
    return next(
        (code.name for code in grpc.StatusCode if number in (code, code.value[0])), "UNKNOWN"
    )


async def _abort(context: Context, refusal: errors.Refusal) -> None:
    status = status_of(refusal)
    trailing: list[tuple[str, str | bytes]] = [(DETAILS_KEY, status.SerializeToString())]
    if refusal.code == "UNAVAILABLE":
        trailing.append(_NO_RETRY)
    await context.abort(
        grpc.StatusCode[refusal.code], status.message, trailing_metadata=tuple(trailing)
    )
