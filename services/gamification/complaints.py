"""What is wrong with a program document of gamification.

A document is checked as a whole and every complaint is told, with the path of its field as the
designer wrote it: `challenges[0].rewards.badge_id`.
"""

from collections.abc import Iterable, Iterator

from guerdon.earning.v1.activity_pb2 import Activity, LineItem
from guerdon.gamification.v1 import program_pb2 as pb
from services.gamification.domain import InvalidProgram
from shared import zones
from shared.errors import Violation
from shared.expressions import Environment, ExpressionError, Result
from shared.rpc import validation

ACTIVITY = Environment({"activity": Activity.DESCRIPTOR})
"""What a condition may read."""
LINE = Environment({"line": LineItem.DESCRIPTOR})
"""What a line condition may read."""
ACTIVITY_AND_LINE = Environment({"activity": Activity.DESCRIPTOR, "line": LineItem.DESCRIPTOR})
"""What the expression of a distinct objective may read."""


def check(document: pb.GamificationProgram) -> None:
    """Refuse InvalidProgram with everything that is wrong with the document."""
    found = tuple(_complaints(document))
    if found:
        raise InvalidProgram(violations=found)


def _complaints(document: pb.GamificationProgram) -> Iterator[Violation]:
    yield from validation.violations(document)
    if document.time_zone and (wrong := zones.complaint(document.time_zone)):
        yield Violation(field="time_zone", description=wrong)
    yield from _repeated(
        (f"badges[{at}].badge_id", x.badge_id) for at, x in enumerate(document.badges)
    )
    yield from _repeated(
        (f"challenges[{at}].challenge_id", x.challenge_id)
        for at, x in enumerate(document.challenges)
    )
    yield from _repeated(
        (f"leaderboards[{at}].board_id", x.board_id) for at, x in enumerate(document.leaderboards)
    )
    badges = {badge.badge_id for badge in document.badges}
    for at, challenge in enumerate(document.challenges):
        yield from _challenge_complaints(f"challenges[{at}]", challenge, badges)
    for at, board in enumerate(document.leaderboards):
        yield from _board_complaints(f"leaderboards[{at}]", board)


def _challenge_complaints(
    path: str, challenge: pb.Challenge, badges: set[str]
) -> Iterator[Violation]:
    yield from _expression(f"{path}.condition", challenge.condition, ACTIVITY, "bool")
    yield from _expression(f"{path}.line_condition", challenge.line_condition, LINE, "bool")
    of = challenge.distinct.of
    yield from _expression(f"{path}.distinct.of", of, ACTIVITY_AND_LINE, "string")
    badge_id = challenge.rewards.badge_id
    if badge_id and badge_id not in badges:
        yield Violation(
            field=f"{path}.rewards.badge_id", description=f"{badge_id} is no badge of this document"
        )


def _board_complaints(path: str, board: pb.Leaderboard) -> Iterator[Violation]:
    source, path = board.activity, f"{path}.activity"
    yield from _expression(f"{path}.condition", source.condition, ACTIVITY, "bool")
    yield from _expression(f"{path}.line_condition", source.line_condition, LINE, "bool")
    if source.line_condition and source.value != pb.ActivitySource.VALUE_LINE_AMOUNT:
        yield Violation(
            field=f"{path}.line_condition",
            description="may only be set when the value is VALUE_LINE_AMOUNT",
        )


def _expression(
    field: str, text: str, environment: Environment, result: Result
) -> Iterator[Violation]:
    if not text:
        return
    try:
        environment.compile(text, result=result)
    except ExpressionError as error:
        yield Violation(field=field, description=str(error))


def _repeated(ids: Iterable[tuple[str, str]]) -> Iterator[Violation]:
    seen: set[str] = set()
    for field, value in ids:
        if value and value in seen:
            yield Violation(field=field, description=f"{value} is there already")
        seen.add(value)
