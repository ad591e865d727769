"""What is written to a record is read back equal."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from fractions import Fraction
from typing import NewType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import record

Points = NewType("Points", int)


class Kind(Enum):
    BASE = "base"
    BONUS = "bonus"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    points: Points
    inner: "Part | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    kind: Kind
    parts: tuple[Part, ...]
    by_name: dict[str, Part]
    by_number: dict[int, str]
    at: datetime
    day: date
    content: bytes
    rate: Fraction
    ttl: timedelta
    tags: frozenset[str]
    pair: tuple[int, str] | None
    open: bool


parts = st.recursive(
    st.builds(Part, points=st.integers(-(2**63), 2**63 - 1)),
    lambda inner: st.builds(Part, points=st.just(1), inner=inner),
    max_leaves=3,
)
texts = st.text(st.characters(codec="utf-8"))
wholes = st.builds(
    Whole,
    kind=st.sampled_from(Kind),
    parts=st.lists(parts, max_size=3).map(tuple),
    by_name=st.dictionaries(texts, parts, max_size=2),
    by_number=st.dictionaries(st.integers(0, 9), texts),
    at=st.datetimes(timezones=st.just(UTC)),
    day=st.dates(),
    content=st.binary(),
    rate=st.fractions(),
    ttl=st.integers(0, 2**50).map(lambda micros: timedelta(microseconds=micros)),
    tags=st.frozensets(texts),
    pair=st.none() | st.tuples(st.integers(0, 9), texts),
    open=st.booleans(),
)


@given(wholes)
def test_a_value_comes_back_equal(value: Whole) -> None:
    assert record.loads(Whole, record.dumps(value)) == value


@dataclass(frozen=True, slots=True, kw_only=True)
class Older:
    points: int
    gone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Newer:
    points: int
    notes: tuple[str, ...] = field(default=("none",))


def test_fields_may_come_and_go() -> None:
    text = record.dumps(Older(points=1, gone="x"))
    assert record.loads(Newer, text) == Newer(points=1)


@pytest.mark.parametrize("text", ['{"points": 1.5}', '{"points": "1"}', '{"points": true}', "[]"])
def test_a_value_of_another_type_is_refused(text: str) -> None:
    with pytest.raises(TypeError):
        record.loads(Older, text)


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert record.digest({"a": 1, "b": 2}) == record.digest({"b": 2, "a": 1})
    assert record.digest(Part(points=Points(1))) != record.digest(Part(points=Points(2)))


def test_what_cannot_be_read_is_not_written() -> None:
    with pytest.raises(TypeError):
        record.dumps(object())
    with pytest.raises(TypeError):
        record.loads(float, "1.5")
