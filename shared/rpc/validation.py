"""What the protos say about their own fields, enforced (protovalidate), and what they cannot say.

Two things hold for every message without being written in each proto: text has no U+0000, which
databases refuse, a Timestamp is an instant of the years 1 to 9999, and a Duration is well-formed.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cache

import protovalidate
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from shared import errors
from shared.rpc import wording

_validator = protovalidate.Validator()
_SECONDS_MIN, _SECONDS_MAX, _NANOS_MAX = -62_135_596_800, 253_402_300_799, 999_999_999
_DURATION_SECONDS_MAX = 315_576_000_000
_NUL = b"\0"

Find = Callable[[Message, str], Iterator[errors.Violation]]


def violations(message: Message, received: bytes | None = None) -> tuple[errors.Violation, ...]:
    """What is wrong with a message, each with the path of its field, such as `lines[3].quantity`.

    `received` are the bytes that the message was parsed from, where they are at hand.
    Items of a batch and documents (marked IGNORE_ALWAYS) are left to a call of their own.
    """
    told: list[errors.Violation] = []
    missing: set[str] = set()
    for found in _validator.collect_violations(message):
        path = _path(found.proto)
        if found.proto.rule_id == "string.min_len":
            missing.add(path)
        elif path in missing:
            continue  # a text that is not there has no form either
        told.append(errors.Violation(field=path, description=wording.words(message, found)))
    for find in _times(message.DESCRIPTOR):
        told.extend(find(message, ""))
    # A zero byte is mostly a number: only then is it worth looking for one in the text.
    if _NUL in (message.SerializeToString() if received is None else received):
        told.extend(_nuls(message, ""))
    return tuple(told)


def check(message: Message, received: bytes | None = None) -> None:
    """Refuse FieldViolations when something is wrong with a message."""
    found = violations(message, received)
    if found:
        raise errors.FieldViolations(violations=found)


@cache
def _times(descriptor: Descriptor) -> tuple[Find, ...]:
    """What looks at the Timestamps and Durations of a message type; empty for most types."""
    return tuple(_finder(field) for field in _on_the_way(descriptor, frozenset()))


def _on_the_way(descriptor: Descriptor, above: frozenset[str]) -> Iterable[FieldDescriptor]:
    """Fields that are such times or lead to some; a type within itself is looked at once."""
    for field in descriptor.fields:
        inner = field.message_type
        if inner is None or _is_left_alone(field) or inner.GetOptions().map_entry:
            continue
        below = above | {descriptor.full_name, inner.full_name}
        if inner.full_name in _TIMES or (
            inner.full_name not in above and any(_on_the_way(inner, below))
        ):
            yield field


def _finder(field: FieldDescriptor) -> Find:
    name, many, inner = field.name, field.is_repeated, field.message_type
    is_right, words = _TIMES.get(inner.full_name, (None, "")) if inner is not None else (None, "")

    def find(message: Message, above: str) -> Iterator[errors.Violation]:
        if many:
            for index, each in enumerate(getattr(message, name)):
                yield from inside(each, f"{above}{name}[{index}]")
        elif message.HasField(name):
            yield from inside(getattr(message, name), f"{above}{name}")

    def inside(value: Message, path: str) -> Iterator[errors.Violation]:
        if is_right is None:
            for deeper in _times(value.DESCRIPTOR):
                yield from deeper(value, f"{path}.")
        elif not is_right(value):
            yield errors.Violation(field=path, description=words)

    return find


def _is_instant(stamp: Message) -> bool:
    seconds, nanos = stamp.seconds, stamp.nanos  # type: ignore[attr-defined]
    return bool(_SECONDS_MIN <= seconds <= _SECONDS_MAX and 0 <= nanos <= _NANOS_MAX)


def _is_duration(duration: Message) -> bool:
    seconds, nanos = duration.seconds, duration.nanos  # type: ignore[attr-defined]
    in_range = abs(seconds) <= _DURATION_SECONDS_MAX and abs(nanos) <= _NANOS_MAX
    return bool(in_range and seconds * nanos >= 0)


_TIMES: dict[str, tuple[Callable[[Message], bool], str]] = {
    "google.protobuf.Timestamp": (_is_instant, "must be an instant from 0001 to 9999"),
    "google.protobuf.Duration": (
        _is_duration,
        "must be at most 315576000000 seconds and 999999999 nanoseconds, both of one sign",
    ),
}


def _nuls(message: Message, above: str) -> Iterator[errors.Violation]:
    """Texts with U+0000 in them, however deep."""
    for field, value in message.ListFields():
        if _is_left_alone(field):
            continue
        path = f"{above}{field.name}"
        for place, each in _each(field, value, path):
            if isinstance(each, str):
                if "\0" in each:
                    yield errors.Violation(field=place, description="must not contain U+0000")
            elif isinstance(each, Message):
                yield from _nuls(each, f"{place}.")


def _each(field: FieldDescriptor, value: object, path: str) -> Iterator[tuple[str, object]]:
    """The values of a field with the path of each; of a map, its keys too."""
    if not field.is_repeated:
        yield path, value
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        for key, each in value.items():  # type: ignore[attr-defined]
            yield f"{path}[{key!r}]", key
            yield f"{path}[{key!r}]", each
    else:
        for index, each in enumerate(value):  # type: ignore[arg-type]
            yield f"{path}[{index}]", each


@cache
def _is_left_alone(field: FieldDescriptor) -> bool:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    return validate_pb2.IGNORE_ALWAYS in {rules.ignore, rules.repeated.items.ignore}


def _path(violation: object) -> str:
    parts: list[str] = []
    for element in violation.field.elements:  # type: ignore[attr-defined]
        parts.append(f".{element.field_name}" if parts else str(element.field_name))
        subscript = element.subscript
        if subscript is not None:
            parts.append(f"[{getattr(subscript, 'value', subscript)}]")
    return "".join(parts)
