"""The proto lists every refusal of earning, and nothing else."""

from guerdon.earning.v1.error_reason_pb2 import ErrorReason
from services.earning import (
    program,
    refusals,
    refusals_households,
    refusals_keys,
    refusals_points,
    refusals_referrals,
    refusals_reversals,
    refusals_seals,
)
from shared import errors, programs

OWN = (
    program,
    refusals,
    refusals_households,
    refusals_keys,
    refusals_points,
    refusals_referrals,
    refusals_reversals,
    refusals_seals,
)
SHARED = (
    errors.ProgramNotFound,
    programs.ProgramVersionNotFound,
    programs.PublicationScheduled,
    programs.PublishTimePassed,
    errors.MemberNotFound,
    errors.IdempotencyKeyReused,
    errors.EtagMismatch,
    errors.FieldViolations,
    errors.MalformedRequest,
    errors.InvalidPageToken,
    errors.Overloaded,
    errors.NotReady,
    errors.Interrupted,
    errors.Internal,
)


def test_the_proto_has_one_value_for_each_refusal() -> None:
    own = {
        each.reason
        for each in errors.registered().values()
        if each.__module__ in {each.__name__ for each in OWN}
    }
    listed = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118
    assert listed - {"UNSPECIFIED"} == own | {each.reason for each in SHARED}
