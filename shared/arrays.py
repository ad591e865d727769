"""Columns of values as PostgreSQL array literals.

An array travels as one text, cast by the server (`$1::text::bigint[]`), because asyncpg's binary
encoder looks at every element several times in Python: 100 rows of 4 columns cost 390 µs of CPU
that way, 160 µs this way.
A value of the wrong type is a TypeError, never part of another element.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

Encode: TypeAlias = Callable[[Sequence[object]], str]
_SEPARATOR = "\0"


def texts(values: Sequence[object]) -> str:
    """Literal of a text[]; ValueError for a text with U+0000, which PostgreSQL has no place for."""
    if None in values:
        return _with_nulls(values, str, lambda value: texts((value,))[1:-1])
    # All of them are escaped as one text, between separators that none of them may contain.
    joined = _SEPARATOR.join(cast("Sequence[str]", values))
    if joined.count(_SEPARATOR) != len(values) - 1:
        raise ValueError("a text with U+0000 cannot be stored")
    escaped = joined.replace("\\", "\\\\").replace('"', '\\"')
    return '{"' + escaped.replace(_SEPARATOR, '","') + '"}'


def integers(values: Sequence[object]) -> str:
    """Literal of a smallint[], integer[] or bigint[]."""
    if None not in values:
        return "{" + ",".join(map(int.__repr__, cast("Sequence[int]", values))) + "}"
    return _with_nulls(values, int, lambda value: int.__repr__(cast("int", value)))


def several_integers(values: Sequence[object]) -> str:
    """Literal of a text[] of literals of integers, for rows that have several of them each."""
    return texts([integers(cast("Sequence[object]", value)) for value in values])


def booleans(values: Sequence[object]) -> str:
    """Literal of a boolean[]."""
    return _with_nulls(values, bool, lambda value: "t" if value else "f")


def contents(values: Sequence[object]) -> str:
    """Literal of a bytea[]."""
    if None not in values:
        hexes = '","\\\\x'.join(map(bytes.hex, cast("Sequence[bytes]", values)))
        return '{"\\\\x' + hexes + '"}'
    return _with_nulls(values, bytes, lambda value: f'"\\\\x{cast("bytes", value).hex()}"')


def _with_nulls(
    values: Sequence[object], type_: type[object], encode: Callable[[object], str]
) -> str:
    parts: list[str] = []
    for value in values:
        if value is not None and not isinstance(value, type_):
            raise TypeError(f"expected {type_.__name__}, found {type(value).__name__}")
        parts.append("NULL" if value is None else encode(value))
    return "{" + ",".join(parts) + "}"
