"""Refusals become a Status and come back as what they were."""

from dataclasses import dataclass

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


def test_a_status_stays_below_what_trailers_carry() -> None:
    long = errors.FieldViolations(
        violations=tuple(
            errors.Violation(field="f" * 999, description="d" * 9_999) for _ in range(999)
        )
    )
    assert status_of(long).ByteSize() < 12_000
    assert status_of(errors.MemberNotFound(member_id="m" * 100_000)).ByteSize() < 2_000
