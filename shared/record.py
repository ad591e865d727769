"""Values as JSON text and back, driven by their types.

Used for what is stored and read again by this code: answers kept with an idempotency key,
explanations in the ledger, payloads of intentions.
Writing is orjson's native path (about a microsecond for a small dataclass); reading follows the
type hints, with one decoder built per type and kept.

Types: dataclasses, NewType, `X | None`, `tuple[X, ...]`, `tuple[X, Y]`, `dict[K, X]`,
`frozenset[X]`, Literal, Enum, datetime (UTC), date, timedelta (whole microseconds), Fraction,
bytes (base64), int, str, bool, object (whatever JSON says).
There is no float: amounts, rates and scores are integers or fractions.
"""

import base64
import hashlib
import types
import typing
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from fractions import Fraction
from functools import cache
from typing import TypeAlias, TypeVar, cast

import orjson

T = TypeVar("T")
Decoder: TypeAlias = Callable[[object], object]

_WRITE = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
_MICROSECOND = timedelta(microseconds=1)


def dumps(value: object) -> str:
    """Write a value as JSON text; raises TypeError for a type that `loads` would not know."""
    return orjson.dumps(value, _other, _WRITE).decode()


def loads(type_: type[T], text: str | bytes) -> T:
    """Read a value of `type_` from text that `dumps` wrote.

    Fields that are missing take their default, so that a field may be added to a stored type.
    Fields that are no longer known are ignored.
    Raises TypeError or ValueError when the text does not fit the type.
    """
    return cast("T", decoder(cast("Hashable", type_))(orjson.loads(text)))


def digest(value: object) -> str:
    """SHA-256, 64 hex characters, of the canonical text of a value (keys sorted)."""
    return hashlib.sha256(orjson.dumps(value, _other, _WRITE | orjson.OPT_SORT_KEYS)).hexdigest()


@cache
def decoder(type_: Hashable) -> Decoder:
    """Give the function that turns parsed JSON into a value of `type_`; built once per type."""
    if isinstance(type_, typing.NewType):
        return decoder(type_.__supertype__)
    origin = typing.get_origin(type_)
    if origin is not None:
        return _generic(origin, typing.get_args(type_))
    if type_ in _LEAVES:
        return _LEAVES[type_]
    if isinstance(type_, type) and issubclass(type_, Enum):
        return type_
    if isinstance(type_, type) and is_dataclass(type_):
        return _dataclass(type_)
    raise TypeError(f"{type_!r} cannot be read from a record")


def _generic(origin: object, args: tuple[Hashable, ...]) -> Decoder:
    if origin is typing.Union or origin is types.UnionType:
        return _union(args)
    if origin is typing.Literal:
        return lambda raw: raw
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        each = decoder(args[0])
        return lambda raw: tuple([each(item) for item in cast("list[object]", raw)])
    if origin is tuple:
        parts = [decoder(arg) for arg in args]
        return lambda raw: tuple(
            part(item) for part, item in zip(parts, cast("list[object]", raw), strict=True)
        )
    if origin is frozenset:
        member = decoder(args[0])
        return lambda raw: frozenset(member(item) for item in cast("list[object]", raw))
    if isinstance(origin, type) and issubclass(origin, typing.Mapping):
        key, item = _key(args[0]), decoder(args[1])
        return lambda raw: {
            key(name): item(value) for name, value in cast("dict[str, object]", raw).items()
        }
    raise TypeError(f"{origin!r} cannot be read from a record")


def _union(args: tuple[Hashable, ...]) -> Decoder:
    rest = set(args) - {types.NoneType}
    if len(rest) == 1:
        inner = decoder(rest.pop())
        return lambda raw: None if raw is None else inner(raw)
    if set(args) <= {int, str, bool, types.NoneType}:
        return lambda raw: raw
    raise TypeError(f"a union of {args!r} is ambiguous in a record")


def _key(type_: Hashable) -> Decoder:
    """Decode a mapping's key: JSON has text only."""
    if isinstance(type_, typing.NewType):
        return _key(type_.__supertype__)
    if type_ is int:
        return lambda raw: int(cast("str", raw))
    return decoder(type_)


def _dataclass(cls: type) -> Decoder:
    # Built when first used, so that a type may refer to itself.
    parts: list[tuple[str, Decoder]] = []

    def read(raw: object) -> object:
        if not parts:
            hints = typing.get_type_hints(cls)
            parts.extend((f.name, decoder(hints[f.name])) for f in fields(cls) if f.init)
        if not isinstance(raw, dict):
            raise TypeError(f"{cls.__qualname__} cannot be read from {type(raw).__name__}")
        return cls(**{name: part(raw[name]) for name, part in parts if name in raw})

    return read


def _exactly(type_: type) -> Decoder:
    def read(raw: object) -> object:
        if type(raw) is not type_:
            raise TypeError(f"expected {type_.__name__}, found {raw!r}")
        return raw

    return read


def _other(value: object) -> object:
    """Write what orjson does not write by itself."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, timedelta):
        return value // _MICROSECOND
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, frozenset):
        return sorted(cast("frozenset[str]", value))
    if isinstance(value, typing.Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__qualname__} cannot be written to a record")


_LEAVES: dict[object, Decoder] = {
    int: _exactly(int),
    str: _exactly(str),
    bool: _exactly(bool),
    types.NoneType: _exactly(types.NoneType),
    None: _exactly(types.NoneType),
    object: lambda raw: raw,
    bytes: lambda raw: base64.b64decode(cast("str", raw), validate=True),
    datetime: lambda raw: datetime.fromisoformat(cast("str", raw)).astimezone(UTC),
    date: lambda raw: date.fromisoformat(cast("str", raw)),
    timedelta: lambda raw: cast("int", raw) * _MICROSECOND,
    Fraction: lambda raw: Fraction(cast("str", raw)),
}
