"""What a version of the program document means: which activities count, and for what."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from guerdon.earning.v1.activity_pb2 import Activity, LineItem
from guerdon.gamification.v1 import program_pb2 as pb
from services.gamification.boards import BoardRules, month_of
from services.gamification.complaints import ACTIVITY, ACTIVITY_AND_LINE, LINE
from services.gamification.domain import (
    Aggregation,
    BadgeId,
    BoardId,
    ChallengeId,
    Contribution,
    Deed,
    Gain,
    Objective,
    ObjectiveKind,
    ProgramId,
    Rewards,
)
from services.gamification.ranking import Layout, Ties
from shared.expressions import Condition

_VALUE_LENGTH_MAX = 128

_AGGREGATIONS = {
    pb.SubmittedSource.AGGREGATION_BEST: Aggregation.BEST,
    pb.SubmittedSource.AGGREGATION_LAST: Aggregation.LAST,
    pb.SubmittedSource.AGGREGATION_SUM: Aggregation.SUM,
}
_TIES = {
    pb.Leaderboard.TIE_POLICY_DENSE: Ties.DENSE,
    pb.Leaderboard.TIE_POLICY_STRICT: Ties.STRICT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which activities count, and which of their lines.

    An empty set of types means all. A condition that fails to evaluate does not match.
    """

    activity_types: frozenset[str]
    condition: Condition | None
    line_condition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A challenge, compiled; `of` gives the different values of a distinct objective."""

    challenge_id: ChallengeId
    filter: Filter
    objective: Objective
    rewards: Rewards
    of: Condition | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A leaderboard, compiled; `filter` is None when its scores are submitted."""

    rules: BoardRules
    layout: Layout
    filter: Filter | None
    counts_points: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A version of a document, compiled. `document` is what it was compiled from."""

    program_id: ProgramId
    version: int
    zone: ZoneInfo
    document: pb.GamificationProgram
    challenges: tuple[Challenge, ...]
    boards: Mapping[BoardId, Board]
    badges: Mapping[BadgeId, pb.Badge]
    line_conditions: Mapping[str, Condition]

    def deed(
        self, activity: Activity, *, points: int, occurred_time: datetime, decide_time: datetime
    ) -> Deed:
        """What an activity that earned `points` adds to challenges and boards."""
        seen = _Seen(activity, self.line_conditions)
        month = month_of(occurred_time, self.zone)
        contributions = tuple(
            found
            for challenge in self.challenges
            if (found := _contribution(challenge, seen, month)) is not None
        )
        gains = tuple(
            Gain(
                board_id=board.rules.board_id,
                period=board.rules.period_of(occurred_time),
                amount=amount,
            )
            for board in self.boards.values()
            if (amount := _amount(board, seen, points))
        )
        return Deed(
            program_version=self.version,
            occurred_time=occurred_time,
            decide_time=decide_time,
            contributions=contributions,
            gains=gains,
        )


class _Seen:
    """One activity, with what its line conditions picked: each condition is asked once."""

    def __init__(self, activity: Activity, line_conditions: Mapping[str, Condition]) -> None:
        self.activity = activity
        self._line_conditions = line_conditions
        self._lines: dict[str, list[LineItem]] = {}

    def lines(self, condition: str) -> list[LineItem]:
        """Lines that match a condition; all of them for an empty one."""
        found = self._lines.get(condition)
        if found is None:
            found = list(self.activity.lines)
            if condition:
                matches = self._line_conditions[condition].matches
                found = [line for line in found if matches(line=line).matched]
            self._lines[condition] = found
        return found

    def passes(self, filter_: Filter) -> bool:
        """Whether the activity counts, its lines aside."""
        if filter_.activity_types and self.activity.type not in filter_.activity_types:
            return False
        condition = filter_.condition
        return condition is None or condition.matches(activity=self.activity).matched


def _contribution(challenge: Challenge, seen: _Seen, month: str) -> Contribution | None:
    """What an activity adds to a challenge, None when it does not count in it."""
    if not seen.passes(challenge.filter):
        return None
    lines = seen.lines(challenge.filter.line_condition)
    if challenge.filter.line_condition and not lines:
        return None
    values: frozenset[str] = frozenset()
    if challenge.of is not None:
        values = frozenset(_values(challenge.of, seen.activity, lines))
        if not values:
            return None
    return Contribution(
        challenge_id=challenge.challenge_id,
        objective=challenge.objective,
        rewards=challenge.rewards,
        values=values,
        month=month,
    )


def _values(of: Condition, activity: Activity, lines: Sequence[LineItem]) -> Iterator[str]:
    """Different values of an activity: of each of its lines that count.

    An activity without lines has one value: that of an empty line.
    """
    for line in lines or (LineItem(),):
        value = of.evaluate(activity=activity, line=line)
        if isinstance(value, str) and 0 < len(value) <= _VALUE_LENGTH_MAX:
            yield value


def _amount(board: Board, seen: _Seen, points: int) -> int:
    """Value of an activity on a board: 0 when it does not count there."""
    if board.filter is None or not seen.passes(board.filter):
        return 0
    if board.counts_points:
        return points
    return sum(line.amount_minor for line in seen.lines(board.filter.line_condition))


# Compiling ---------------------------------------------------------------------------------------


def compile_program(program_id: str, version: int, content: bytes) -> Program:
    """Compile the serialized document of a version, which was checked before it was stored."""
    document = pb.GamificationProgram.FromString(content)
    zone = ZoneInfo(document.time_zone)
    texts = {challenge.line_condition for challenge in document.challenges}
    texts |= {board.activity.line_condition for board in document.leaderboards}
    return Program(
        program_id=ProgramId(program_id),
        version=version,
        zone=zone,
        document=document,
        challenges=tuple(_challenge(each) for each in document.challenges),
        boards={BoardId(each.board_id): _board(each, zone) for each in document.leaderboards},
        badges={BadgeId(each.badge_id): each for each in document.badges},
        line_conditions={text: LINE.compile(text) for text in sorted(texts) if text},
    )


def objective_of(challenge: pb.Challenge) -> Objective:
    """What a challenge of a document counts."""
    match challenge.WhichOneof("objective"):
        case "distinct":
            return Objective(kind=ObjectiveKind.DISTINCT, target=challenge.distinct.target)
        case "streak":
            months = challenge.streak.consecutive_months
            return Objective(kind=ObjectiveKind.STREAK, target=months)
        case _:
            return Objective(kind=ObjectiveKind.COUNT, target=challenge.count.target)


def _challenge(challenge: pb.Challenge) -> Challenge:
    rewards = challenge.rewards
    return Challenge(
        challenge_id=ChallengeId(challenge.challenge_id),
        filter=_filter(challenge),
        objective=objective_of(challenge),
        rewards=Rewards(
            points=rewards.points,
            reason=rewards.reason or challenge.display_name or challenge.challenge_id,
            badge_id=BadgeId(rewards.badge_id),
        ),
        of=(
            ACTIVITY_AND_LINE.compile(challenge.distinct.of, result="string")
            if challenge.distinct.of
            else None
        ),
    )


def _board(board: pb.Leaderboard, zone: ZoneInfo) -> Board:
    ascending = board.order == pb.Leaderboard.ORDER_ASCENDING
    submitted = board.WhichOneof("source") == "submitted"
    return Board(
        rules=BoardRules(
            board_id=BoardId(board.board_id),
            monthly=board.period == pb.Leaderboard.PERIOD_MONTHLY,
            ascending=ascending,
            aggregation=_AGGREGATIONS[board.submitted.aggregation] if submitted else None,
            zone=zone,
        ),
        layout=Layout(ascending=ascending, ties=_TIES.get(board.tie_policy, Ties.COMPETITION)),
        filter=None if submitted else _filter(board.activity),
        counts_points=board.activity.value == pb.ActivitySource.VALUE_POINTS,
    )


def _filter(source: pb.Challenge | pb.ActivitySource) -> Filter:
    return Filter(
        activity_types=frozenset(source.activity_types),
        condition=ACTIVITY.compile(source.condition) if source.condition else None,
        line_condition=source.line_condition,
    )
