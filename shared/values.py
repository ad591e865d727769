"""Values: dataclasses that nobody changes, cheap enough to be made by the thousand.

A frozen dataclass sets each field of a new object through `object.__setattr__`, three times the
price of a plain store, and a batch of a hundred activities makes ten thousand such fields. A value
has the same methods and the same promise, kept by the type checker instead: assigning to a field
of one is an error of `mypy`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

_T = TypeVar("_T")


@dataclass_transform(
    frozen_default=True, kw_only_default=True, eq_default=True, field_specifiers=(field,)
)
def value(cls: type[_T]) -> type[_T]:
    """Make a class a value: fields by name, compared and hashed by them, never assigned to."""
    made: Callable[[type[_T]], type[_T]] = dataclass(slots=True, kw_only=True, unsafe_hash=True)
    return made(cls)
