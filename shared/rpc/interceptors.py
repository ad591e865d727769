"""Everything that stands between the wire and a handler, once for all four kinds of calls.

One interceptor wraps each method once: it limits the calls in work, parses and validates requests,
maps refusals to `google.rpc.Status`, counts, and writes one canonical line per call. Handlers
contain none of that.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from shared import errors
from shared.clock import monotonic
from shared.ids import Ids
from shared.rpc import metrics, validation
from shared.rpc.status import DETAILS_KEY, status_of

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

_log = structlog.get_logger("shared.rpc")
_EXEMPT = ("/grpc.health.", "/grpc.reflection.")


class Edge(grpc.aio.ServerInterceptor):
    """The one interceptor of a server."""

    def __init__(self, service: str, *, concurrency_max: int, ids: Ids) -> None:
        self.service = service
        self.concurrency_max = concurrency_max
        self.in_work = 0
        self._ids = ids
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Give the wrapped handler of a method; health and reflection stay as they are."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is not None:
            return wrapped
        handler = await continuation(handler_call_details)
        if handler is None or method.startswith(_EXEMPT):
            return handler
        wrapped = self._wrapped[method] = _wrap(self, handler, method)
        return wrapped

    def enter(self) -> None:
        """Count a call in; refuses Overloaded at once when too many are in work."""
        if self.in_work >= self.concurrency_max:
            raise errors.Overloaded(limit=self.concurrency_max)
        self.in_work += 1

    def leave(self) -> None:
        """Count a call out."""
        self.in_work -= 1

    def fault(self, method: str, error: BaseException) -> errors.Internal:
        """Log a fault of ours under an id; the refusal tells the id and nothing else."""
        error_id = self._ids.new()
        _log.error("rpc_fault", method=method, error_id=error_id, exc_info=error)
        return errors.Internal(error_id=error_id)


def _wrap(edge: Edge, handler: Any, method: str) -> Handler:
    parse: Callable[[bytes], Message] = handler.request_deserializer
    encode = handler.response_serializer
    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(
            _streaming(edge, handler.stream_stream, method, parse, many=True), None, encode
        )
    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler(
            _unary(edge, handler.stream_unary, method, parse, many=True), None, encode
        )
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(
            _streaming(edge, handler.unary_stream, method, parse, many=False), None, encode
        )
    return grpc.unary_unary_rpc_method_handler(
        _unary(edge, handler.unary_unary, method, parse, many=False), None, encode
    )


def _unary(
    edge: Edge,
    behaviour: Callable[[Any, Context], Awaitable[Any]],
    method: str,
    parse: Callable[[bytes], Message],
    *,
    many: bool,
) -> Callable[[Any, Context], Awaitable[Any]]:
    async def call(received: Any, context: Context) -> Any:
        began, refusal = monotonic(), None
        try:
            edge.enter()
            try:
                request = _parsed_each(parse, received) if many else _parsed(parse, received)
                return await behaviour(request, context)
            finally:
                edge.leave()
        except errors.Refusal as refused:
            refusal = refused
        except asyncio.CancelledError:
            if context.cancelled():
                refusal = errors.Interrupted()
                raise
            refusal = errors.Interrupted()
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - the last fence before the caller
            refusal = edge.fault(method, error)
        finally:
            _tell(edge, method, began, refusal)
        return await _abort(context, refusal)

    return call


def _streaming(
    edge: Edge,
    behaviour: Callable[[Any, Context], AsyncIterator[Any]],
    method: str,
    parse: Callable[[bytes], Message],
    *,
    many: bool,
) -> Callable[[Any, Context], AsyncIterator[Any]]:
    async def call(received: Any, context: Context) -> AsyncIterator[Any]:
        began, refusal = monotonic(), None
        try:
            edge.enter()
            try:
                request = _parsed_each(parse, received) if many else _parsed(parse, received)
                async for response in behaviour(request, context):
                    yield response
                return
            finally:
                edge.leave()
        except errors.Refusal as refused:
            refusal = refused
        except asyncio.CancelledError:
            refusal = errors.Interrupted()
            if context.cancelled():
                raise
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - the last fence before the caller
            refusal = edge.fault(method, error)
        finally:
            _tell(edge, method, began, refusal)
        await _abort(context, refusal)

    return call


def _parsed(parse: Callable[[bytes], Message], received: bytes) -> Message:
    """The request, valid by its proto; refuses MalformedRequest and FieldViolations."""
    try:
        request = parse(received)
    except DecodeError:
        owner = getattr(parse, "__self__", None)
        name = owner.DESCRIPTOR.full_name if owner is not None else "message of this method"
        raise errors.MalformedRequest(message_type=name) from None
    validation.check(request)
    return request


async def _parsed_each(
    parse: Callable[[bytes], Message], received: AsyncIterator[bytes]
) -> AsyncIterator[Message]:
    async for one in received:
        yield _parsed(parse, one)


def _tell(edge: Edge, method: str, began: float, refusal: errors.Refusal | None) -> None:
    """Count a call and write its one line."""
    seconds = monotonic() - began
    code = "OK" if refusal is None else refusal.code
    metrics.answered(edge.service, method, code, seconds)
    _log.info(
        "rpc",
        method=method,
        code=code,
        reason="" if refusal is None else refusal.reason,
        seconds=round(seconds, 6),
    )


async def _abort(context: Context, refusal: errors.Refusal) -> None:
    status = status_of(refusal)
    await context.abort(
        grpc.StatusCode[refusal.code],
        status.message,
        trailing_metadata=((DETAILS_KEY, status.SerializeToString()),),
    )
