"""Scores: tables of cases, and sums that do not depend on the order of the activities."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gamification import boards
from services.gamification.domain import (
    Aggregation,
    BoardId,
    MemberId,
    MemberKey,
    PeriodNotValid,
    Player,
    ProgramId,
    Score,
    ScoreOutOfRange,
    ScoresNotAccepted,
    ScoreSubmitted,
    Submission,
)
from shared import errors

BEST, LAST, SUM = Aggregation.BEST, Aggregation.LAST, Aggregation.SUM
LARGEST = 2**53 - 1
START = datetime(2011, 3, 1, tzinfo=UTC)
RULES = boards.BoardRules(
    board_id=BoardId("game"),
    monthly=False,
    ascending=False,
    aggregation=BEST,
    zone=ZoneInfo("Europe/London"),
)


def at(day: int) -> datetime:
    return START + timedelta(days=day)


def held(value: int, day: int) -> Score:
    return Score(score=value, reached_time=at(day))


def sent(value: int, day: int, member: str = "ann") -> Submission:
    return Submission(member_id=MemberId(member), score=value, occurred_time=at(day))


SUBMITTED = [
    # aggregation, ascending, held, submitted, then
    (BEST, False, None, (0, 1), (0, 1)),
    (BEST, False, (5, 1), (7, 2), (7, 2)),
    (BEST, False, (7, 2), (5, 3), (7, 2)),
    (BEST, False, (7, 2), (7, 1), (7, 1)),
    (BEST, False, (7, 2), (7, 3), (7, 2)),
    (BEST, True, (7, 2), (5, 3), (5, 3)),
    (BEST, True, (5, 2), (7, 3), (5, 2)),
    (BEST, False, (-5, 1), (-4, 2), (-4, 2)),
    (LAST, False, (9, 2), (1, 3), (1, 3)),
    (LAST, False, (9, 2), (1, 1), (9, 2)),
    (LAST, False, (9, 2), (1, 2), (1, 2)),
    (SUM, False, None, (0, 1), None),
    (SUM, False, None, (4, 1), (4, 1)),
    (SUM, False, (4, 1), (0, 9), (4, 1)),
    (SUM, False, (4, 3), (-6, 2), (-2, 3)),
    (SUM, False, (4, 3), (-4, 5), (0, 5)),
    (SUM, False, (LARGEST - 1, 1), (1, 2), (LARGEST, 2)),
    (SUM, False, (1 - LARGEST, 1), (-1, 2), (-LARGEST, 2)),
]


@pytest.mark.parametrize(("aggregation", "ascending", "before", "submitted", "after"), SUBMITTED)
def test_a_submission_comes_to_a_score(
    aggregation: Aggregation,
    ascending: bool,  # noqa: FBT001 - a column of the table
    before: tuple[int, int] | None,
    submitted: tuple[int, int],
    after: tuple[int, int] | None,
) -> None:
    score = held(*before) if before else None
    result = boards.submit(score, sent(*submitted), aggregation, ascending=ascending)
    assert result == (held(*after) if after else None)


@pytest.mark.parametrize(
    ("aggregation", "before", "submitted"),
    [
        (BEST, None, 2**53),
        (BEST, None, -(2**53)),
        (LAST, 3, 2**63 - 1),
        (SUM, LARGEST, 1),
        (SUM, -LARGEST, -1),
        (SUM, 5, 2**53),
    ],
)
def test_a_score_that_a_double_cannot_hold_is_refused(
    aggregation: Aggregation, before: int | None, submitted: int
) -> None:
    score = held(before, 1) if before is not None else None
    with pytest.raises(ScoreOutOfRange):
        boards.submit(score, sent(submitted, 2), aggregation, ascending=False)


@given(st.permutations([(3, 1), (0, 9), (8, 4), (1, 2), (1, 6)]))
def test_the_sum_of_activities_and_when_it_was_reached_do_not_depend_on_their_order(
    gains: list[tuple[int, int]],
) -> None:
    score = None
    for amount, day in gains:
        score = boards.gain(score, amount, at(day))
    assert score == held(13, 6)


@given(st.permutations([(LARGEST, 1), (LARGEST, 3), (5, 2)]))
def test_a_sum_stops_at_the_largest_score(gains: list[tuple[int, int]]) -> None:
    score = None
    for amount, day in gains:
        score = boards.gain(score, amount, at(day))
    assert score == held(LARGEST, 3)


def test_an_activity_without_value_puts_nobody_on_a_board() -> None:
    assert boards.gain(None, 0, at(1)) is None


MONTHS = [
    (datetime(2011, 3, 27, 0, 59, tzinfo=UTC), "Europe/London", "2011-03"),
    (datetime(2011, 3, 31, 22, 59, tzinfo=UTC), "Europe/London", "2011-03"),
    (datetime(2011, 3, 31, 23, 0, tzinfo=UTC), "Europe/London", "2011-04"),
    (datetime(2010, 12, 31, 23, 59, tzinfo=UTC), "Europe/London", "2010-12"),
    (datetime(2010, 12, 31, 16, 0, tzinfo=UTC), "Asia/Shanghai", "2011-01"),
]


@pytest.mark.parametrize(("instant", "zone", "month"), MONTHS)
def test_a_month_is_that_of_the_programs_zone(instant: datetime, zone: str, month: str) -> None:
    rules = replace(RULES, monthly=True, zone=ZoneInfo(zone))
    assert rules.period_of(instant) == month
    assert rules.period_named("", instant) == month


@pytest.mark.parametrize(
    "name", ["all", "2011", "2011-13", "2011-00", "2011-3", "0000-01", "²011-01"]
)
def test_a_monthly_board_knows_no_other_periods_than_months(name: str) -> None:
    with pytest.raises(PeriodNotValid):
        replace(RULES, monthly=True).period_named(name, START)


def test_an_all_time_board_has_one_period() -> None:
    assert RULES.period_named("all", START) == RULES.period_named("", START) == "all"
    with pytest.raises(PeriodNotValid):
        RULES.period_named("2011-03", START)


def test_every_submission_of_a_request_has_its_own_answer_and_they_count_in_their_order() -> None:
    ann = Player(program_id=ProgramId("shop"), member_key=MemberKey("a" * 32))
    violation = errors.Violation(field="occurred_time", description="value is required")
    request = (
        sent(5, 1),
        sent(1, 1, "nobody"),
        sent(2**53, 1),
        sent(9, 2),
        replace(sent(9, 2), violations=(violation,)),
        sent(7, 3, "card-1"),
    )
    players = {MemberId("ann"): ann, MemberId("card-1"): ann}
    decision = boards.submit_scores(players, request, RULES)

    results = decision.answer.results
    refusals = [errors.load(each.refusal).reason if each.refusal else "" for each in results]
    assert refusals == [
        "",
        "MEMBER_NOT_FOUND",
        "SCORE_OUT_OF_RANGE",
        "",
        "FIELD_VIOLATIONS",
        "",
    ]
    assert [each.score for each in results if not each.refusal] == [5, 9, 9]
    (after,) = decision.state
    assert after.scores == {(BoardId("game"), "all"): held(9, 2)}
    submitted = [event for event in decision.events if isinstance(event, ScoreSubmitted)]
    assert [(event.score, event.score_after) for event in submitted] == [(5, 5), (9, 9), (7, 9)]


def test_a_board_fed_by_activities_takes_no_submissions() -> None:
    with pytest.raises(ScoresNotAccepted):
        boards.submit_scores({}, [sent(1, 1)], replace(RULES, aggregation=None))
