"""Refusals as `google.rpc.Status`, and back."""

from collections.abc import Iterable
from itertools import islice

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from shared import errors

DOMAIN = "guerdon"
DETAILS_KEY = "grpc-status-details-bin"
# A Status travels in the trailing metadata, of which 8 KiB pass everywhere, and its message goes
# beside it once more, with three bytes for each that is not ASCII. Beyond that the caller is told
# RESOURCE_EXHAUSTED and nothing else. So it tells the first things that are wrong, and the
# beginning of long texts; all limits are in bytes of UTF-8.
_MESSAGE_BYTES, _TEXT_BYTES = 512, 256
_METADATA_BYTES, _VIOLATIONS_BYTES, _PAIRS_MAX = 1_792, 1_792, 16
_TRANSIENT = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "DEADLINE_EXCEEDED", "CANCELLED"}


def status_of(refusal: errors.Refusal) -> status_pb2.Status:
    """The Status of a refusal.

    One ErrorInfo, a BadRequest where the shape is wrong, RetryInfo where waiting helps.
    """
    details: list[Message] = [
        error_details_pb2.ErrorInfo(
            reason=refusal.reason,
            domain=DOMAIN,
            metadata=dict(_first(refusal.metadata().items(), _METADATA_BYTES)),
        )
    ]
    wrong = _first(
        ((each.field, each.description) for each in refusal.violations_of()), _VIOLATIONS_BYTES
    )
    if wrong:
        bad = error_details_pb2.BadRequest()
        for field, description in wrong:
            bad.field_violations.add(field=field, description=description)
        details.append(bad)
    wait = getattr(refusal, "retry_after_seconds", None)
    if wait is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(wait * 1000))
        details.append(retry)
    return status_pb2.Status(
        code=code_pb2.Code.Value(refusal.code),
        message=_cut(str(refusal), _MESSAGE_BYTES),
        details=_packed(details),
    )


def refusal_of_status(status: status_pb2.Status) -> errors.RemoteRefusal:
    """The refusal that a Status carries."""
    code = code_pb2.Code.Name(status.code)
    reason, metadata = code, dict[str, str]()
    violations: tuple[errors.Violation, ...] = ()
    wait: float | None = None
    for detail in status.details:
        info, bad, retry = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.BadRequest(),
            error_details_pb2.RetryInfo(),
        )
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            violations = tuple(
                errors.Violation(field=each.field, description=each.description)
                for each in bad.field_violations
            )
        elif detail.Unpack(retry):
            wait = retry.retry_delay.ToMilliseconds() / 1000
    return errors.RemoteRefusal(
        code=code,
        reason=reason,
        text=status.message,
        fields_text=metadata,
        violations=violations,
        transient=code in _TRANSIENT,
        retry_after_seconds=wait,
    )


def refusal_of(error: grpc.aio.AioRpcError) -> errors.RemoteRefusal:
    """The refusal behind a failed call.

    One that never reached a service has its code as the reason.
    """
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            return refusal_of_status(status_pb2.Status.FromString(value))
    code = error.code().name
    return errors.RemoteRefusal(
        code=code,
        reason=code,
        text=error.details() or code,
        fields_text={},
        transient=code in _TRANSIENT,
    )


def _first(pairs: Iterable[tuple[str, str]], bytes_max: int) -> list[tuple[str, str]]:
    """The first pairs of texts, each text cut, that have so many bytes together."""
    found: list[tuple[str, str]] = []
    left = bytes_max
    for pair in islice(pairs, _PAIRS_MAX):
        first, second = (_cut(text, _TEXT_BYTES) for text in pair)
        left -= len(first.encode()) + len(second.encode())
        if left < 0:
            break
        found.append((first, second))
    return found


def _cut(text: str, bytes_max: int) -> str:
    """The beginning of a text that has at most so many bytes, whole characters only."""
    if len(text) * 4 <= bytes_max:
        return text
    return text.encode()[:bytes_max].decode(errors="ignore")


def _packed(details: Iterable[Message]) -> list[AnyMessage]:
    packed: list[AnyMessage] = []
    for detail in details:
        box = AnyMessage()
        box.Pack(detail, deterministic=True)  # equal refusals are equal bytes
        packed.append(box)
    return packed
