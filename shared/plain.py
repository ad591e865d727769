"""Small values as text and as JSON, with the standard library alone.

`shared/errors.py` stands on this, and the pure domain files stand on that; everything else stores
its values with `shared/record.py`.
"""

import re
import types
import typing
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from typing import cast


def upper_snake(name: str) -> str:
    """`InsufficientPoints` becomes `INSUFFICIENT_POINTS`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).upper()


def as_text(value: object) -> str | None:
    """Text of a value as metadata shows it; None for None."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return ",".join(as_text(each) or "" for each in value)
    if isinstance(value, date):  # and datetime, which is one
        return value.isoformat()
    return None if value is None else str(value)


def as_json(value: object) -> object:
    """What the json module can write, for `from_json` to read back."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [as_json(each) for each in value]
    if isinstance(value, date):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: as_json(getattr(value, each.name)) for each in fields(value)}
    return value


def from_json(hint: object, value: object) -> object:
    """Value of the hinted type that `as_json` made `value` of."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if value is None:
        return None
    if origin in (types.UnionType, typing.Union):
        return from_json(next(each for each in inner if each is not type(None)), value)
    if origin is tuple:
        return tuple(from_json(inner[0], each) for each in cast("list[object]", value))
    if hint is datetime or hint is date:
        return hint.fromisoformat(cast("str", value))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if isinstance(hint, type) and is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        given = cast("dict[str, object]", value)
        return hint(**{name: from_json(hints[name], each) for name, each in given.items()})
    return value
