"""Scores: how activities and submissions come to one score per member, board and period.

The sums do not depend on the order of the activities: values are never negative, a sum stops at the
largest score that can be held, and it was reached when the latest of its activities happened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from services.gamification.domain import (
    ALL_TIME,
    SCORE_LIMIT,
    Aggregation,
    BoardId,
    Gain,
    MemberId,
    Period,
    PeriodNotValid,
    Player,
    Score,
    ScoreOutOfRange,
    ScoresNotAccepted,
    ScoreSubmitted,
    Submission,
    SubmissionResult,
    SubmittedScores,
)
from shared import errors
from shared.decision import Decision, Event

_MONTH_LENGTH = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRules:
    """What decides scores and order on a board; `zone` is where its months begin.

    `aggregation` is None for a board that is fed by activities.
    """

    board_id: BoardId
    monthly: bool
    ascending: bool
    aggregation: Aggregation | None
    zone: ZoneInfo

    def period_of(self, instant: datetime) -> Period:
        """Period that an instant belongs to: "all", or the month in the program's zone."""
        return month_of(instant, self.zone) if self.monthly else ALL_TIME

    def period_named(self, name: str, now: datetime) -> Period:
        """Period that a request names; empty: the one that runs now. Refuses PeriodNotValid."""
        if not name:
            return self.period_of(now)
        if self.monthly and not _is_month(name):
            raise PeriodNotValid(period=name, expected="a month like 2011-03")
        if not self.monthly and name != ALL_TIME:
            raise PeriodNotValid(period=name, expected='the period "all"')
        return Period(name)


def month_of(instant: datetime, zone: ZoneInfo) -> Period:
    """Calendar month of an instant in a zone, such as "2011-03"."""
    local = instant.astimezone(zone)
    return Period(f"{local.year:04}-{local.month:02}")


def gain(score: Score | None, amount: int, occurred_time: datetime) -> Score | None:
    """Score with the value of one more activity; a value of 0 changes nothing.

    The sum stops at the largest score that can be held.
    """
    if not amount:
        return score
    if score is None:
        return Score(score=min(amount, SCORE_LIMIT - 1), reached_time=occurred_time)
    return Score(
        score=min(score.score + amount, SCORE_LIMIT - 1),
        reached_time=max(score.reached_time, occurred_time),
    )


def submit(
    score: Score | None, submission: Submission, aggregation: Aggregation, *, ascending: bool
) -> Score | None:
    """Score with one more submission. Refuses ScoreOutOfRange for it or for the sum.

    For `BEST` the earliest of equal submissions reached it; for `LAST` an earlier submission that
    arrives later changes nothing; for `SUM` the latest submission reached it.
    """
    value, at = submission.score, submission.occurred_time
    check_range(value)
    if score is None:
        if aggregation is Aggregation.SUM and not value:
            return None
        return Score(score=value, reached_time=at)
    match aggregation:
        case Aggregation.BEST:
            if value == score.score:
                return replace(score, reached_time=min(score.reached_time, at))
            better = value < score.score if ascending else value > score.score
            return Score(score=value, reached_time=at) if better else score
        case Aggregation.LAST:
            return Score(score=value, reached_time=at) if at >= score.reached_time else score
        case Aggregation.SUM:
            if not value:
                return score
            check_range(score.score + value)
            return Score(score=score.score + value, reached_time=max(score.reached_time, at))


def check_range(score: int) -> None:
    """Refuse ScoreOutOfRange for a score that a sorted set would not hold exactly."""
    if not -SCORE_LIMIT < score < SCORE_LIMIT:
        raise ScoreOutOfRange(score=score)


def count_gains(player: Player, gains: tuple[Gain, ...], occurred_time: datetime) -> Player:
    """Let the values of an activity count on every board that it is about."""
    scores = dict(player.scores)
    for each in gains:
        changed = gain(scores.get((each.board_id, each.period)), each.amount, occurred_time)
        if changed is not None:
            scores[each.board_id, each.period] = changed
    return replace(player, scores=scores)


def submit_scores(
    players: Mapping[MemberId, Player],
    submissions: Sequence[Submission],
    rules: BoardRules,
) -> Decision[tuple[Player, ...], SubmittedScores]:
    """Settle the submissions of a request in their order, each for itself.

    `players` are the members that the submissions name, as far as they are known. A refused
    submission is answered with its refusal and changes nothing.
    Refuses ScoresNotAccepted when the board is fed by activities.
    """
    if rules.aggregation is None:
        raise ScoresNotAccepted(board_id=rules.board_id)
    current = {player.member_key: player for player in players.values()}
    events: list[Event] = []
    results: list[SubmissionResult] = []
    for submission in submissions:
        try:
            player = _player(players, submission)
            player = current[player.member_key]
            period = rules.period_of(submission.occurred_time)
            place = (rules.board_id, period)
            score = submit(
                player.scores.get(place),
                submission,
                rules.aggregation,
                ascending=rules.ascending,
            )
        except errors.Refusal as refusal:
            results.append(
                SubmissionResult(member_id=submission.member_id, refusal=errors.dump(refusal))
            )
            continue
        if score is not None:
            current[player.member_key] = replace(player, scores={**player.scores, place: score})
        after = score.score if score is not None else 0
        results.append(SubmissionResult(member_id=submission.member_id, period=period, score=after))
        events.append(
            ScoreSubmitted(
                program_id=player.program_id,
                member_key=player.member_key,
                board_id=rules.board_id,
                period=period,
                score=submission.score,
                occurred_time=submission.occurred_time,
                score_after=after,
            )
        )
    return Decision(
        state=tuple(current.values()),
        answer=SubmittedScores(results=tuple(results)),
        events=tuple(events),
    )


def _player(players: Mapping[MemberId, Player], submission: Submission) -> Player:
    """Refusals in the order in which a caller should fix them: shape, then existence."""
    if submission.violations:
        raise errors.FieldViolations(violations=submission.violations)
    player = players.get(submission.member_id)
    if player is None:
        raise errors.MemberNotFound(member_id=submission.member_id)
    return player


def _is_month(name: str) -> bool:
    return (
        len(name) == _MONTH_LENGTH
        and name[4] == "-"
        and (name[:4] + name[5:]).isascii()
        and (name[:4] + name[5:]).isdigit()
        and "01" <= name[5:] <= "12"
        and name[:4] != "0000"
    )
