"""Progress: a table of cases, and the property that the order of activities does not matter."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gamification import challenges
from services.gamification.domain import (
    ALL_TIME,
    BadgeAwarded,
    BadgeId,
    ChallengeCompleted,
    ChallengeId,
    Contribution,
    Deed,
    MemberKey,
    Objective,
    ObjectiveKind,
    Player,
    ProgramId,
    Progress,
    RewardFailed,
    RewardPaid,
    Rewards,
    RewardState,
    SettleReward,
)

NOW = datetime(2011, 3, 1, tzinfo=UTC)
COUNT, DISTINCT, STREAK = ObjectiveKind.COUNT, ObjectiveKind.DISTINCT, ObjectiveKind.STREAK
PLAYER = Player(program_id=ProgramId("shop"), member_key=MemberKey("00ff" + "0" * 28))
REWARDS = Rewards(points=200, reason="Five purchases", badge_id=BadgeId("regular"))


def contribution(
    kind: ObjectiveKind, target: int, values: str = "", month: str = "2011-01"
) -> Contribution:
    return Contribution(
        challenge_id=ChallengeId(kind.value),
        objective=Objective(kind=kind, target=target),
        rewards=REWARDS,
        values=frozenset(values),
        month=month,
    )


def deed(*contributions: Contribution, day: int = 0) -> Deed:
    occurred = datetime(2011, 1, 1, tzinfo=UTC) + timedelta(days=day)
    return Deed(
        program_version=3,
        occurred_time=occurred,
        decide_time=NOW,
        contributions=contributions,
        gains=(),
    )


def months(*names: str) -> Progress:
    return Progress(elements=frozenset(names))


REACHED = [
    # kind, target, progress, reached, complete
    (COUNT, 5, Progress(), 0, False),
    (COUNT, 5, Progress(count=4), 4, False),
    (COUNT, 5, Progress(count=5), 5, True),
    (COUNT, 5, Progress(count=9), 5, True),
    (DISTINCT, 3, Progress(elements=frozenset("ab")), 2, False),
    (DISTINCT, 3, Progress(elements=frozenset("abcd")), 3, True),
    (STREAK, 3, months(), 0, False),
    (STREAK, 3, months("2011-01"), 1, False),
    (STREAK, 3, months("2010-12", "2011-01"), 2, False),
    (STREAK, 3, months("2010-11", "2010-12", "2011-01"), 3, True),
    (STREAK, 3, months("2010-12", "2011-02", "2011-03"), 2, False),
    (STREAK, 3, months("2010-12", "2011-01", "2011-03"), 1, False),
    (STREAK, 2, months("2010-12", "2011-01", "2011-03"), 1, True),
]


@pytest.mark.parametrize(("kind", "target", "progress", "reached", "complete"), REACHED)
def test_what_is_reached_and_whether_that_completes(
    kind: ObjectiveKind,
    target: int,
    progress: Progress,
    reached: int,
    complete: bool,  # noqa: FBT001 - a column of the table
) -> None:
    objective = Objective(kind=kind, target=target)
    assert challenges.reached(progress, objective) == reached
    assert challenges.is_reached(progress, objective) is complete


def test_the_activity_that_reaches_the_target_completes_the_challenge_and_pays_it_once() -> None:
    player = PLAYER
    for day in range(4):
        decision = challenges.count_activity(player, deed(contribution(COUNT, 5), day=day))
        assert (decision.events, decision.intentions) == ((), ())
        player = decision.state

    decision = challenges.count_activity(player, deed(contribution(COUNT, 5), day=4))

    completed, awarded = decision.events
    assert isinstance(completed, ChallengeCompleted)
    assert (completed.points, completed.badge_id, completed.program_version) == (200, "regular", 3)
    assert completed.occurred_time == datetime(2011, 1, 5, tzinfo=UTC)
    assert isinstance(awarded, BadgeAwarded)
    (intention,) = decision.intentions
    assert intention.kind == "credit_points"
    assert len(intention.intention_id) == 48
    assert decision.state.badges == {"regular"}

    again = challenges.count_activity(decision.state, deed(contribution(COUNT, 5), day=9))
    assert again.state == decision.state
    assert (again.events, again.intentions) == ((), ())


def test_a_badge_that_two_challenges_award_is_awarded_once() -> None:
    both = deed(contribution(COUNT, 1), contribution(DISTINCT, 1, "a"))
    decision = challenges.count_activity(PLAYER, both)
    kinds = [type(event) for event in decision.events]
    assert kinds == [ChallengeCompleted, BadgeAwarded, ChallengeCompleted]
    assert len({intention.intention_id for intention in decision.intentions}) == 2


def test_the_payment_has_one_request_id_for_ever_and_another_for_every_other_completion() -> None:
    def request_id(program: str, challenge: str, member: str) -> str:
        return challenges.reward_request_id(
            ProgramId(program), ChallengeId(challenge), MemberKey(member), ALL_TIME
        )

    assert request_id("p", "c", "m") == request_id("p", "c", "m")
    ids = {request_id(*each) for each in [("p", "c", "m"), ("q", "c", "m"), ("p", "d", "m")]}
    assert len(ids) == 3
    assert request_id("p", "c", "dm") != request_id("p", "cd", "m")


@pytest.mark.parametrize(
    ("reason", "state", "event"),
    [("", RewardState.PAID, RewardPaid), ("MEMBER_NOT_FOUND", RewardState.FAILED, RewardFailed)],
)
def test_a_reward_is_settled_once_and_the_first_outcome_stands(
    reason: str, state: RewardState, event: type[object]
) -> None:
    won = challenges.count_activity(PLAYER, deed(contribution(COUNT, 1)))
    command = SettleReward(
        program_id=PLAYER.program_id,
        member_key=PLAYER.member_key,
        challenge_id=ChallengeId("count"),
        intention_id=won.intentions[0].intention_id,
        points=200,
        failure_reason=reason,
    )
    settled = challenges.settle_reward(won.state, command)
    completion = settled.state.progress[ChallengeId("count")].completion
    assert completion is not None
    assert (completion.reward_state, completion.failure_reason) == (state, reason)
    assert [type(each) for each in settled.events] == [event]
    assert settled.closes == (command.intention_id,)

    other = replace(command, failure_reason="" if reason else "POINTS_OUT_OF_RANGE")
    again = challenges.settle_reward(settled.state, other)
    assert (again.state, again.events) == (settled.state, ())
    assert again.closes == (command.intention_id,)


@st.composite
def shuffled_deeds(draw: st.DrawFn) -> tuple[list[Deed], list[Deed]]:
    made = [
        deed(
            contribution(COUNT, 4),
            contribution(DISTINCT, 5, values),
            contribution(STREAK, 3, month=f"{2010 + month // 12}-{month % 12 + 1:02}"),
            day=day,
        )
        for day, (values, month) in enumerate(
            draw(
                st.lists(st.tuples(st.text("abcdefgh", max_size=3), st.integers(0, 15)), max_size=9)
            )
        )
    ]
    return made, draw(st.permutations(made))


@given(shuffled_deeds())
def test_any_order_of_the_same_activities_gives_the_same_progress_and_badges(
    pair: tuple[list[Deed], list[Deed]],
) -> None:
    ends = []
    for deeds in pair:
        player, points, events = PLAYER, 0, 0
        for each in deeds:
            decision = challenges.count_activity(player, each)
            player, points = decision.state, points + len(decision.intentions)
            events += len(decision.events)
        ends.append((player, points, events))
    assert ends[0] == ends[1]
