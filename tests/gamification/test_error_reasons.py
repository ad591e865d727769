"""error_reason.proto and the Python refusals say the same."""

import json
import re
from pathlib import Path

import pytest

from guerdon.gamification.v1 import error_reason_pb2
from services.gamification import domain
from shared import errors, followers, group_commit, programs

PROTO = Path(__file__).parents[2] / "protos/guerdon/gamification/v1/error_reason.proto"
# What every service may answer, and no caller of this package can do anything else about.
OF_THE_HOUSE = {"INTERNAL", "INTERRUPTED", "MALFORMED_REQUEST"}
FROM_THE_KERNEL: set[type[errors.Refusal]] = {
    programs.ProgramVersionNotFound,
    programs.PublicationScheduled,
    programs.PublishTimePassed,
    followers.MalformedFeedToken,
    group_commit.DatabaseUnavailable,
    group_commit.TooContended,
}
COMMENT = re.compile(r"((?:  //[^\n]*\n)+)  ERROR_REASON_(\w+) = \d+;")


def refusals() -> dict[str, type[errors.Refusal]]:
    """Refusals that the methods of this package answer with, by reason."""
    found: dict[str, type[errors.Refusal]] = {each.reason: each for each in FROM_THE_KERNEL}
    for each in errors.registered().values():
        if each.__module__ in {domain.__name__, errors.__name__}:
            found[each.reason] = each
    # A class without words is a code, and never raised itself.
    return {name: each for name, each in found.items() if each.message and name not in OF_THE_HOUSE}


def test_every_refusal_is_a_value_and_every_value_a_refusal() -> None:
    values = {
        name.removeprefix("ERROR_REASON_") for name in dict(error_reason_pb2.ErrorReason.items())
    }
    assert values - {"UNSPECIFIED"} == set(refusals())


@pytest.mark.parametrize("reason", sorted(refusals()))
def test_the_comment_shows_code_and_metadata(reason: str) -> None:
    comments = {name: text for text, name in COMMENT.findall(PROTO.read_text(encoding="utf-8"))}
    text = comments[reason].replace("//", " ")
    example = json.loads(re.sub(r"\s+", " ", text[text.index("{") :]))
    refusal = refusals()[reason]
    assert text.strip().startswith(f"{refusal.code}: ")
    assert (example["reason"], example["domain"]) == (reason, "guerdon")
    fields = set(getattr(refusal, "__dataclass_fields__", {}))
    assert set(example["metadata"]) == fields
