"""error_reason.proto says exactly the refusals that tiers answers."""

import re
from pathlib import Path

from guerdon.tiers.v1 import error_reason_pb2 as pb
from services.tiers import service
from shared import errors, followers, group_commit, programs

PROTO = Path(__file__).parents[2] / "protos" / "guerdon" / "tiers" / "v1" / "error_reason.proto"
# Idempotency keys belong to services whose mutations carry one, a parsed token to those that wait.
NOT_HERE = {errors.IdempotencyKeyReused}
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
    found = set()
    for kind, refusal in errors.registered().items():
        if kind.startswith("tiers.") or (refusal.__module__ == "shared.errors" and refusal.message):
            found.add(refusal)
    return (found | FROM_THE_KERNEL) - NOT_HERE


def test_every_refusal_is_in_the_proto_and_nothing_else() -> None:
    named = {name.removeprefix("ERROR_REASON_") for name in dict(pb.ErrorReason.items())}
    named -= {"UNSPECIFIED"}
    assert named == {refusal.reason for refusal in refusals()}


def test_the_proto_tells_the_code_and_an_example_of_each() -> None:
    text = PROTO.read_text(encoding="utf-8")
    by_reason = {refusal.reason: refusal for refusal in refusals()}
    for reason, refusal in by_reason.items():
        comment = re.search(rf"((?: *//.*\n)+) *ERROR_REASON_{reason} = ", text)
        assert comment is not None, reason
        assert f"// {refusal.code}: " in comment[1], reason
        assert f'"reason": "{reason}", "domain": "guerdon"' in comment[1], reason
