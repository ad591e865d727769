"""Refusals: their code, reason, fields and message, and how they are stored."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum

import pytest

from shared import errors
from shared.plain import upper_snake


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    name: str
    day: date


@dataclass(eq=False, repr=False, kw_only=True)
class PointsShort(errors.FailedPrecondition):
    message = "needs {points_needed} points, {points_available} available"
    points_needed: int
    points_available: int


@dataclass(eq=False, repr=False, kw_only=True)
class Everything(errors.InvalidArgument):
    message = "{field} is wrong"
    field: str
    colour: Colour
    at: datetime
    on: date
    open: bool
    names: tuple[str, ...]
    inner: Inner
    inners: tuple[Inner, ...] = ()
    maybe: int | None = None


EVERYTHING = Everything(
    field="x.y",
    colour=Colour.RED,
    at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    on=date(2026, 2, 28),
    open=True,
    names=("a", "b"),
    inner=Inner(name="n", day=date(2026, 1, 1)),
    inners=(Inner(name="m", day=date(2026, 1, 2)),),
)


def test_the_class_is_the_reason_and_the_fields_are_the_metadata() -> None:
    refusal = PointsShort(points_needed=300, points_available=120)
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "POINTS_SHORT")
    assert str(refusal) == "needs 300 points, 120 available"
    assert refusal.metadata() == {"points_needed": "300", "points_available": "120"}
    assert repr(refusal) == "PointsShort(points_needed=300, points_available=120)"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("InsufficientPoints", "INSUFFICIENT_POINTS"),
        ("RFMSegmentUnknown", "RFM_SEGMENT_UNKNOWN"),
        ("Over18Only", "OVER18_ONLY"),
    ],
)
def test_reasons_are_upper_snake(name: str, reason: str) -> None:
    assert upper_snake(name) == reason


@pytest.mark.parametrize(
    ("refusal", "code", "transient"),
    [
        (errors.Overloaded(limit=3), "RESOURCE_EXHAUSTED", True),
        (errors.Interrupted(), "ABORTED", True),
        (errors.EtagMismatch(expected="a", actual="b"), "ABORTED", False),
        (errors.NotReady(what="x"), "UNAVAILABLE", True),
        (errors.Internal(error_id="1"), "INTERNAL", True),
        (errors.IdempotencyKeyReused(request_id="r"), "ALREADY_EXISTS", False),
        (errors.ProgramNotFound(program_id="p"), "NOT_FOUND", False),
        (errors.MalformedRequest(message_type="m"), "INVALID_ARGUMENT", False),
    ],
)
def test_each_has_its_code_and_says_whether_it_passes(
    refusal: errors.Refusal,
    code: str,
    transient: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert (refusal.code, refusal.transient) == (code, transient)
    assert errors.load(errors.dump(refusal)) == refusal


def test_metadata_is_text() -> None:
    assert EVERYTHING.metadata() == {
        "field": "x.y",
        "colour": "red",
        "at": "2026-01-02T03:04:05.000006+00:00",
        "on": "2026-02-28",
        "open": "true",
        "names": "a,b",
        "inner": str(EVERYTHING.inner),
        "inners": str(EVERYTHING.inners[0]),
    }


def test_a_stored_refusal_is_equal_to_the_original() -> None:
    assert errors.load(errors.dump(EVERYTHING)) == EVERYTHING


def test_a_refusal_that_is_gone_answers_as_it_did() -> None:
    text = errors.dump(PointsShort(points_needed=3, points_available=1))
    renamed = errors.load(text.replace("tests.POINTS_SHORT", "tests.POINTS_SHORT_OF_OLD"))
    changed = errors.load(text.replace('"points_needed":3,', ""))
    for loaded in (renamed, changed):
        assert isinstance(loaded, errors.RemoteRefusal)
        assert (loaded.code, loaded.reason) == ("FAILED_PRECONDITION", "POINTS_SHORT")
        assert str(loaded) == "needs 3 points, 1 available"
        assert not loaded.transient
    assert renamed.metadata() == {"points_needed": "3", "points_available": "1"}


def test_a_remote_refusal_is_stored_and_comes_back_the_same() -> None:
    remote = errors.RemoteRefusal(
        code="NOT_FOUND",
        reason="REWARD_NOT_FOUND",
        text="no reward mug",
        fields_text={"reward_id": "mug"},
    )
    loaded = errors.load(errors.dump(remote))
    assert (loaded.code, loaded.reason, str(loaded)) == (
        "NOT_FOUND",
        "REWARD_NOT_FOUND",
        "no reward mug",
    )
    assert loaded.metadata() == {"reward_id": "mug"}
    other = errors.RemoteRefusal(code="NOT_FOUND", reason="X", text="", fields_text={})
    assert remote == errors.load(errors.dump(remote)) != other


def test_refusals_of_different_values_differ() -> None:
    one = PointsShort(points_needed=1, points_available=0)
    assert one == PointsShort(points_needed=1, points_available=0)
    assert one != PointsShort(points_needed=2, points_available=0)
    assert one != errors.Interrupted()


def test_violations_are_told_by_field() -> None:
    violations = tuple(errors.Violation(field=f"f{i}", description="is wrong") for i in range(5))
    refusal = errors.FieldViolations(violations=violations)
    assert str(refusal) == "f0: is wrong; f1: is wrong; f2: is wrong; and 2 more"
    assert refusal.violations_of() == violations
    assert EVERYTHING.violations_of() == (
        errors.Violation(field="x.y", description="x.y is wrong"),
    )
    assert errors.Interrupted().violations_of() == ()


def test_a_message_mentions_only_fields() -> None:
    with pytest.raises(TypeError, match=r"mentions \['pionts'\]"):

        @dataclass(eq=False, repr=False, kw_only=True)
        class Misspelt(errors.NotFound):
            message = "{pionts} points"
            points: int


def test_a_field_that_hides_what_a_refusal_has_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"reserved fields: \['code'\]"):

        @dataclass(eq=False, repr=False, kw_only=True)
        class Hiding(errors.NotFound):
            message = "{code}"
            code: str  # type: ignore[misc]


def test_one_service_gives_a_reason_to_one_class() -> None:
    class Twice(errors.NotFound):
        message = "first"

    def again() -> None:
        class Twice(errors.NotFound):
            message = "second"

    with pytest.raises(TypeError, match=r"tests\.TWICE is defined"):
        again()
    assert errors.registered()["tests.TWICE"] is Twice


def test_services_in_one_process_may_use_the_same_reason() -> None:
    kinds = []
    for service in ("bakery", "brewery"):
        namespace = {"__module__": f"services.{service}.domain"}
        made = type("ShelfEmpty", (errors.NotFound,), namespace)
        kinds += [kind for kind, known in errors.registered().items() if known is made]
    assert kinds == ["bakery.SHELF_EMPTY", "brewery.SHELF_EMPTY"]
