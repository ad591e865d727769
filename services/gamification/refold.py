"""Folds the feed of earning anew and compares; what `verification.py` does between its reads.

Pure: events and what is stored are arguments. Memory holds one partition.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

from guerdon.feed.v1 import feed_service_pb2 as feed
from services.gamification import boards, challenges
from services.gamification.document import Program
from services.gamification.domain import (
    ALL_TIME,
    BoardId,
    ChallengeId,
    CountActivity,
    EnrollMember,
    MemberKey,
    Period,
    Player,
    ProgramId,
    Progress,
    RewardState,
    Score,
)
from services.gamification.incoming import commands_of
from services.gamification.operations import deed_of
from services.gamification.store import MemberPlace, ProgressPlace, ScorePlace

BadgePlace: TypeAlias = tuple[str, str, str]
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """Something that must hold and does not."""

    rule: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPlace:
    """A version of a document, and how far each partition of the feed was when it came."""

    program: Program
    places: Mapping[int, int]


@dataclass(slots=True, kw_only=True)
class Published:
    """What this service's own feed says of one partition.

    `scores` is the score after the last submission of each member, board and period; `outcomes` the
    final state of each reward.
    """

    completed: dict[ProgressPlace, int] = field(default_factory=dict)
    awarded: dict[BadgePlace, int] = field(default_factory=dict)
    outcomes: dict[ProgressPlace, RewardState] = field(default_factory=dict)
    scores: dict[ScorePlace, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One partition as it is stored, in one snapshot; `versions` newest first, by program."""

    position: int
    incarnation: str
    versions: Mapping[str, Sequence[VersionPlace]]
    members: frozenset[MemberPlace]
    progress: Mapping[ProgressPlace, Progress]
    badges: frozenset[BadgePlace]
    scores: Mapping[ScorePlace, Score]
    open_intentions: frozenset[str]
    published: Published
    parked: frozenset[str]


Players: TypeAlias = dict[MemberPlace, Player]


def fold(players: Players, stored: Stored, event: feed.Event) -> None:
    """Decide one event again, with the document in force at its place in the feed."""
    if event.member_key in stored.parked:
        return
    program = next(
        (
            version.program
            for version in stored.versions.get(event.program_id, ())
            if version.places.get(event.partition, 0) < event.position
        ),
        None,
    )
    for command in commands_of(event):
        if isinstance(command, EnrollMember):
            place = (command.program_id, command.member_key)
            players.setdefault(
                place, Player(program_id=command.program_id, member_key=command.member_key)
            )
        elif isinstance(command, CountActivity) and program is not None:
            place = (command.program_id, command.member_key)
            player = players.get(place)
            if player is None:
                continue
            deed = deed_of(program, command)
            counted = boards.count_gains(player, deed.gains, deed.occurred_time)
            players[place] = challenges.count_activity(counted, deed).state


def compare(players: Players, stored: Stored) -> Iterator[Violation]:
    """Everything that is stored otherwise than the feeds make it."""
    progress: dict[ProgressPlace, Progress] = {}
    badges: set[BadgePlace] = set()
    scores: dict[ScorePlace, Score] = {}
    for place, player in players.items():
        badges |= {(*place, badge) for badge in player.badges}
        progress |= {(*place, challenge): each for challenge, each in player.progress.items()}
        scores |= {(*place, *board): each for board, each in player.scores.items()}
    found = [
        _differences("member_equals_feed", _present(players), _present(stored.members)),
        _differences(
            "progress_equals_feed", _without_outcome(progress), _without_outcome(stored.progress)
        ),
        _differences("badge_equals_feed", _present(badges), _present(stored.badges)),
        _scores(scores, stored),
        _published(stored),
        _rewards(stored),
    ]
    for violations in found:
        for violation in violations:
            if violation.subject.split("/")[1] not in stored.parked:
                yield violation


def _scores(scores: Mapping[ScorePlace, Score], stored: Stored) -> Iterator[Violation]:
    """Sums of activities against the feed of earning, submitted scores against our own."""
    submitted = {place for place in stored.scores if place in stored.published.scores}
    fed = {place: score for place, score in stored.scores.items() if place not in submitted}
    yield from _differences("score_equals_feed", scores, fed)
    yield from _differences(
        "submitted_score_equals_feed",
        {
            place: score
            for place, score in stored.published.scores.items()
            if _counts(score, place, stored)
        },
        {place: stored.scores[place].score for place in submitted},
    )


def _counts(score: int, place: ScorePlace, stored: Stored) -> bool:
    """Whether a submission left a score: a sum of nothing but zeros does not."""
    return score != 0 or place in stored.scores


def _published(stored: Stored) -> Iterator[Violation]:
    """Each completion and each badge is published exactly once."""
    completed = {place: 1 for place, each in stored.progress.items() if each.completion}
    yield from _differences("completion_published_once", completed, stored.published.completed)
    awarded = dict.fromkeys(stored.badges, 1)
    yield from _differences("badge_published_once", awarded, stored.published.awarded)


def _rewards(stored: Stored) -> Iterator[Violation]:
    """A reward is owed with an open intention, or its outcome is published."""
    expected: dict[ProgressPlace, RewardState] = {}
    found: dict[ProgressPlace, RewardState] = {}
    for place, each in stored.progress.items():
        if each.completion is None or not each.completion.points:
            continue
        found[place] = each.completion.reward_state
        program_id, member_key, challenge_id = place
        request_id = challenges.reward_request_id(program_id, challenge_id, member_key, ALL_TIME)
        if request_id in stored.open_intentions:
            expected[place] = RewardState.OWED
        elif place in stored.published.outcomes:
            expected[place] = stored.published.outcomes[place]
    yield from _differences("reward_is_driven_to_its_end", expected, found)


def _without_outcome(progress: Mapping[ProgressPlace, Progress]) -> dict[ProgressPlace, Progress]:
    """Progress without what became of the rewards, which the feed of earning does not say."""
    return {
        place: replace(
            each,
            completion=replace(
                each.completion, reward_state=RewardState.NOTHING_OWED, failure_reason=""
            ),
        )
        if each.completion is not None
        else each
        for place, each in progress.items()
    }


def _present(places: "Mapping[K, object] | frozenset[K] | set[K]") -> dict[K, str]:
    return dict.fromkeys(places, "present")


def _differences(rule: str, expected: Mapping[K, V], found: Mapping[K, V]) -> Iterator[Violation]:
    """One violation per key whose values differ or that one side lacks."""
    if expected == found:
        return
    for key in sorted({*expected, *found}, key=str):
        wanted, actual = expected.get(key), found.get(key)
        if wanted != actual:
            parts = key if isinstance(key, tuple) else (key,)
            yield Violation(
                rule=rule,
                subject="/".join(str(part) for part in parts),
                detail=f"expected {_told(wanted)}, found {_told(actual)}",
            )


def _told(value: object) -> str:
    return "nothing" if value is None else str(value)


def progress_place(program_id: str, member_key: str, challenge_id: str) -> ProgressPlace:
    """Place of a member's progress with a challenge."""
    return ProgramId(program_id), MemberKey(member_key), ChallengeId(challenge_id)


def score_place(program_id: str, member_key: str, board_id: str, period: str) -> ScorePlace:
    """Place of a member's score."""
    return ProgramId(program_id), MemberKey(member_key), BoardId(board_id), Period(period)
