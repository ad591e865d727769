"""Values, commands, events and refusals of gamification.

Progress is folded in `challenges.py`, scores in `boards.py`, ranks are told in `ranking.py`.
Nothing here knows a database, a wire format or a clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NewType

from shared import errors

ProgramId = NewType("ProgramId", str)
MemberKey = NewType("MemberKey", str)
MemberId = NewType("MemberId", str)
ChallengeId = NewType("ChallengeId", str)
BadgeId = NewType("BadgeId", str)
BoardId = NewType("BoardId", str)
Period = NewType("Period", str)

ALL_TIME = Period("all")
SCORE_LIMIT = 2**53
"""Scores are below it in absolute value: a double holds every such integer exactly."""
CREDIT_POINTS = "credit_points"
"""Kind of the intention that pays a completed challenge."""


# Progress ----------------------------------------------------------------------------------------


class ObjectiveKind(Enum):
    """What a challenge counts."""

    COUNT = "count"
    DISTINCT = "distinct"
    STREAK = "streak"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What has to be reached: activities, different values, or calendar months in a row."""

    kind: ObjectiveKind
    target: int


class RewardState(Enum):
    """Whether the points of a completion have been credited."""

    NOTHING_OWED = "nothing_owed"
    OWED = "owed"
    PAID = "paid"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewards:
    """What a completion gives: points (0: none) with the words for them, a badge ("": none)."""

    points: int = 0
    reason: str = ""
    badge_id: BadgeId = BadgeId("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """That a challenge was completed, when that was decided, and what became of its reward."""

    complete_time: datetime
    points: int
    badge_id: BadgeId
    reward_state: RewardState
    failure_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a member has reached in a challenge.

    `count` is the number of activities; `elements` are the different values, or months such as
    "2011-03". A completed challenge keeps its completion and nothing else.
    """

    count: int = 0
    elements: frozenset[str] = frozenset()
    completion: Completion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What one activity adds to one challenge under the document's version in force.

    `values` are the different values of a distinct objective; `month` is the calendar month of the
    activity in the program's zone, such as "2011-03".
    """

    challenge_id: ChallengeId
    objective: Objective
    rewards: Rewards
    values: frozenset[str] = frozenset()
    month: str = ""


# Scores ------------------------------------------------------------------------------------------


class Aggregation(Enum):
    """How submissions come to one score."""

    BEST = "best"
    LAST = "last"
    SUM = "sum"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A member's score on a board and the `occurred_time` of the change that reached it."""

    score: int
    reached_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What one activity adds to a score; at least 0."""

    board_id: BoardId
    period: Period
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """An activity as the version in force sees it: what it adds to challenges and to boards."""

    program_version: int
    occurred_time: datetime
    decide_time: datetime
    contributions: tuple[Contribution, ...]
    gains: tuple[Gain, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """Everything about one member that a decision may read or change."""

    program_id: ProgramId
    member_key: MemberKey
    progress: Mapping[ChallengeId, Progress] = field(default_factory=dict)
    badges: frozenset[BadgeId] = frozenset()
    scores: Mapping[tuple[BoardId, Period], Score] = field(default_factory=dict)


# Commands ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollMember:
    """Followed: a member joined; of `identifiers` (kind, identifier) the first names the member."""

    program_id: ProgramId
    member_key: MemberKey
    identifiers: tuple[tuple[str, str], ...]
    enroll_time: datetime
    request_key: None = None

    @property
    def routing(self) -> str:
        """The member, so that its commands stay in order."""
        return self.member_key


@dataclass(frozen=True, slots=True, kw_only=True)
class CountActivity:
    """Followed: an activity was recorded and earned points.

    `activity` is the earning service's message as it came: only compiled conditions look into it.
    `decide_time` is the publisher's instant of the record, as of which challenges are completed.
    """

    program_id: ProgramId
    member_key: MemberKey
    activity: object
    points: int
    occurred_time: datetime
    decide_time: datetime
    request_key: None = None

    @property
    def routing(self) -> str:
        """The member, so that its commands stay in order."""
        return self.member_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One score of a SubmitScores request; `violations` say what is wrong with its shape."""

    member_id: MemberId
    score: int
    occurred_time: datetime
    violations: tuple[errors.Violation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleReward:
    """The earning service credited a reward, or refused it for good (then `failure_reason`)."""

    program_id: ProgramId
    member_key: MemberKey
    challenge_id: ChallengeId
    intention_id: str
    points: int
    failure_reason: str = ""
    request_key: None = None

    @property
    def routing(self) -> str:
        """The member, so that its commands stay in order."""
        return self.member_key


# Answers -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionResult:
    """What became of one submission: the score after it, or the stored form of a refusal."""

    member_id: MemberId
    period: Period = Period("")
    score: int = 0
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedScores:
    """What became of every submission of a request, in its order."""

    results: tuple[SubmissionResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditOrder:
    """Payload of the intention that pays a reward."""

    challenge_id: ChallengeId
    points: int
    reason: str
    occurred_time: datetime


# Events ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeCompleted:
    """A member completed a challenge."""

    program_id: ProgramId
    member_key: MemberKey
    challenge_id: ChallengeId
    program_version: int
    complete_time: datetime
    occurred_time: datetime
    points: int
    badge_id: BadgeId


@dataclass(frozen=True, slots=True, kw_only=True)
class BadgeAwarded:
    """A member got a badge."""

    program_id: ProgramId
    member_key: MemberKey
    badge_id: BadgeId
    challenge_id: ChallengeId
    award_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardPaid:
    """The points of a completion were credited."""

    program_id: ProgramId
    member_key: MemberKey
    challenge_id: ChallengeId
    points: int
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardFailed:
    """The points of a completion were refused for good."""

    program_id: ProgramId
    member_key: MemberKey
    challenge_id: ChallengeId
    points: int
    request_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSubmitted:
    """A submitted score was accepted."""

    program_id: ProgramId
    member_key: MemberKey
    board_id: BoardId
    period: Period
    score: int
    occurred_time: datetime
    score_after: int


# Refusals ----------------------------------------------------------------------------------------


@dataclass(eq=False, repr=False, kw_only=True)
class InvalidProgram(errors.FieldViolations):
    """The document means nothing in one or more fields."""


@dataclass(eq=False, repr=False, kw_only=True)
class LeaderboardNotFound(errors.NotFound):
    """The program has no such board."""

    message = "no leaderboard {board_id}"
    board_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class PeriodNotValid(errors.InvalidArgument):
    """The board has no periods of this form."""

    message = "{period} is not {expected}"
    period: str
    expected: str
    field: str = "period"


@dataclass(eq=False, repr=False, kw_only=True)
class BoardNotReady(errors.Unavailable):
    """The index of the board is being rebuilt."""

    message = "leaderboard {board_id} of {period} is being rebuilt"
    board_id: str
    period: str


@dataclass(eq=False, repr=False, kw_only=True)
class StandingNotFound(errors.NotFound):
    """The member has no score on the board."""

    message = "{member_id} has no score on {board_id} of {period}"
    member_id: str
    board_id: str
    period: str


@dataclass(eq=False, repr=False, kw_only=True)
class ScoresNotAccepted(errors.FailedPrecondition):
    """The board is fed by activities, not by submissions."""

    message = "the scores of {board_id} come from activities"
    board_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class ScoreOutOfRange(errors.OutOfRange):
    """The score, or the sum that it would make, cannot be held exactly."""

    message = "{score} is not below {limit} in absolute value"
    score: int
    limit: int = SCORE_LIMIT
