"""Refusals become a Status and come back as what they were."""

from dataclasses import dataclass
from urllib.parse import quote

import pytest
from google.rpc import code_pb2

from shared import errors
from shared.rpc.status import refusal_of_status, status_of


@dataclass(eq=False, repr=False, kw_only=True)
class TooFar(errors.OutOfRange):
    """A refusal with a field that is not told when it is None."""

    message = "{metres} metres are too far"
    metres: int
    reason_given: str | None = None


@pytest.mark.parametrize(
    ("refusal", "code", "fields", "violations", "wait"),
    [
        (TooFar(metres=3), "OUT_OF_RANGE", {"metres": "3"}, (), None),
        (
            errors.InvalidPageToken(),
            "INVALID_ARGUMENT",
            {"field": "page_token"},
            (
                errors.Violation(
                    field="page_token", description="page_token does not belong to this query"
                ),
            ),
            None,
        ),
        (
            errors.NotReady(what="x", retry_after_seconds=2),
            "UNAVAILABLE",
            {"what": "x", "retry_after_seconds": "2"},
            (),
            2.0,
        ),
    ],
)
def test_a_refusal_comes_back_as_it_went(
    refusal: errors.Refusal,
    code: str,
    fields: dict[str, str],
    violations: tuple[errors.Violation, ...],
    wait: float | None,
) -> None:
    status = status_of(refusal)
    assert code_pb2.Code.Name(status.code) == code
    back = refusal_of_status(status)
    assert (back.code, back.reason, str(back)) == (refusal.code, refusal.reason, str(refusal))
    assert back.fields_text == fields
    assert back.violations == violations
    assert back.retry_after_seconds == wait
    assert back.transient == refusal.transient
    assert status_of(back) == status, "a refusal that is passed on is the same"


def test_a_status_of_somebody_else_has_its_code_as_the_reason() -> None:
    bare = status_of(errors.Interrupted())
    del bare.details[:]
    back = refusal_of_status(bare)
    assert (back.code, back.reason, back.fields_text) == ("ABORTED", "ABORTED", {})


@pytest.mark.parametrize("letter", ["d", "é", "界", "🎁"])
def test_a_status_stays_below_what_trailers_carry(letter: str) -> None:
    long = errors.FieldViolations(
        violations=tuple(
            errors.Violation(field=letter * 999, description=letter * 9_999) for _ in range(999)
        )
    )
    unknown = errors.MemberNotFound(member_id=letter * 100_000)
    for status in (status_of(long), status_of(unknown)):
        # As trailers carry it: in base 64, and the message beside it with escapes.
        assert status.ByteSize() * 4 / 3 + len(quote(status.message)) < 8_000
        assert status.message
        assert status_of(refusal_of_status(status)) == status
    told = refusal_of_status(status_of(long)).violations
    assert [len(each.field.encode()) > 200 for each in told] == [True] * 3


def test_a_status_tells_sixteen_short_complaints() -> None:
    violations = tuple(
        errors.Violation(field=f"rewards[{at}].stock_total", description="must be at least 5")
        for at in range(20)
    )
    told = refusal_of_status(status_of(errors.FieldViolations(violations=violations))).violations
    assert told == violations[:16]
