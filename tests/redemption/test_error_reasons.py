"""error_reason.proto says exactly the refusals that redemption answers."""

import re
from pathlib import Path

from guerdon.redemption.v1 import error_reason_pb2 as pb
from services.redemption import service
from shared import errors, followers, group_commit, programs

PROTO = Path(__file__).parents[2] / "protos/guerdon/redemption/v1/error_reason.proto"
FROM_THE_KERNEL = {
    programs.ProgramVersionNotFound,
    programs.PublicationScheduled,
    programs.PublishTimePassed,
    followers.MalformedFeedToken,
    group_commit.DatabaseUnavailable,
    group_commit.TooContended,
}


def refusals() -> set[type[errors.Refusal]]:
    """Concrete refusals of the service and of every service."""
    assert service
    return FROM_THE_KERNEL | {
        refusal
        for kind, refusal in errors.registered().items()
        if kind.startswith("redemption.")
        or (refusal.__module__ == "shared.errors" and refusal.message)
    }


def test_every_refusal_is_in_the_proto_and_nothing_else() -> None:
    named = {
        name.removeprefix("ERROR_REASON_") for name in pb.ErrorReason.DESCRIPTOR.values_by_name
    }
    assert named - {"UNSPECIFIED"} == {refusal.reason for refusal in refusals()}


def test_the_proto_tells_the_code_and_an_example_of_each() -> None:
    text = PROTO.read_text(encoding="utf-8")
    for refusal in refusals():
        reason = refusal.reason
        comment = re.search(rf"((?: *//.*\n)+) *ERROR_REASON_{reason} = ", text)
        assert comment is not None, reason
        assert f"// {refusal.code}: " in comment[1], reason
        assert f'"reason": "{reason}", "domain": "guerdon"' in comment[1], reason
