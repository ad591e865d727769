"""The program document of tiers: what is wrong with one, and what one means.

A document is checked as a whole and every complaint is told, with the path of its field as the
designer wrote it: `ladders[0].levels[1].net_spend_minor`.
"""

from collections.abc import Callable, Iterable, Iterator
from zoneinfo import ZoneInfo

from guerdon.earning.v1.activity_pb2 import LineItem
from guerdon.tiers.v1 import program_pb2 as pb
from services.tiers.domain import InvalidProgram
from services.tiers.ladders import (
    Item,
    Ladder,
    LadderId,
    Level,
    LevelId,
    TiersProgram,
    UpgradeEffective,
)
from shared import zones
from shared.errors import Violation
from shared.expressions import Condition, Environment, ExpressionError
from shared.rpc import validation

LINE = Environment({"line": LineItem.DESCRIPTOR})
"""What a line condition may read."""

_UPGRADES = {
    pb.UPGRADE_EFFECTIVE_AT_ONCE: UpgradeEffective.AT_ONCE,
    pb.UPGRADE_EFFECTIVE_NEXT_MIDNIGHT: UpgradeEffective.NEXT_MIDNIGHT,
}


def parse(program_id: str, version: int, content: bytes) -> TiersProgram:
    """Compile the serialized document of a version; refuses InvalidProgram."""
    document = pb.TiersProgram.FromString(content)
    check(document)
    return TiersProgram(
        program_id=program_id,
        version=version,
        zone=ZoneInfo(document.time_zone),
        ladders=tuple(_ladder(each) for each in document.ladders),
    )


def check(document: pb.TiersProgram) -> None:
    """Refuse InvalidProgram with everything that is wrong with the document."""
    found = tuple(_complaints(document))
    if found:
        raise InvalidProgram(violations=found)


def _complaints(document: pb.TiersProgram) -> Iterator[Violation]:
    yield from validation.violations(document)
    if document.time_zone and (wrong := zones.complaint(document.time_zone)):
        yield Violation(field="time_zone", description=wrong)
    yield from _repeated(
        (f"ladders[{at}].ladder_id", ladder.ladder_id) for at, ladder in enumerate(document.ladders)
    )
    for at, ladder in enumerate(document.ladders):
        yield from _ladder_complaints(f"ladders[{at}]", ladder)


def _ladder_complaints(path: str, ladder: pb.Ladder) -> Iterator[Violation]:
    yield from _repeated(
        (f"{path}.levels[{at}].level_id", level.level_id) for at, level in enumerate(ladder.levels)
    )
    for at, level in enumerate(ladder.levels):
        field = f"{path}.levels[{at}].net_spend_minor"
        if at == 0 and level.net_spend_minor != 0:
            yield Violation(field=field, description="must be 0 for the lowest level")
        below = ladder.levels[at - 1].net_spend_minor
        if at > 0 and level.net_spend_minor <= below:
            yield Violation(
                field=field, description=f"must be greater than {below}, that of the level below"
            )
    if ladder.net_spend.line_condition:
        try:
            LINE.compile(ladder.net_spend.line_condition)
        except ExpressionError as error:
            yield Violation(field=f"{path}.net_spend.line_condition", description=str(error))


def _repeated(ids: Iterable[tuple[str, str]]) -> Iterator[Violation]:
    seen: set[str] = set()
    for field, value in ids:
        if value and value in seen:
            yield Violation(field=field, description=f"{value} is there already")
        seen.add(value)


def _ladder(ladder: pb.Ladder) -> Ladder:
    condition = ladder.net_spend.line_condition
    return Ladder(
        ladder_id=LadderId(ladder.ladder_id),
        levels=tuple(
            Level(
                level_id=LevelId(level.level_id),
                display_name=level.display_name,
                net_spend_minor=level.net_spend_minor,
            )
            for level in ladder.levels
        ),
        activity_types=frozenset(ladder.net_spend.activity_types),
        line_condition=_of_line(LINE.compile(condition)) if condition else None,
        window_months=ladder.rolling_months.months,
        upgrade_effective=_UPGRADES[ladder.upgrade_effective],
        downgrade_keeps=ladder.downgrade == pb.CORRECTION_POLICY_KEEP,
        reversal_keeps=ladder.on_reversal == pb.CORRECTION_POLICY_KEEP,
    )


def _of_line(condition: Condition) -> Callable[[Item], bool]:
    """Let a condition be asked about one line; one that fails to evaluate does not match."""

    def matches(item: Item) -> bool:
        return condition.matches(line=item).matched

    return matches
