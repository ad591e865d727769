"""Challenges: how activities come to progress, progress to a completion, a completion to a reward.

Progress is a fold that does not depend on the order of the activities: a number, a set of values, a
set of months. A completed challenge stops growing and forgets what it grew from, so that what is
shown afterwards does not depend on the order either.
"""

import hashlib
import json
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime

from services.gamification.domain import (
    ALL_TIME,
    CREDIT_POINTS,
    BadgeAwarded,
    ChallengeCompleted,
    ChallengeId,
    Completion,
    Contribution,
    Deed,
    MemberKey,
    Objective,
    ObjectiveKind,
    Period,
    Player,
    ProgramId,
    Progress,
    RewardFailed,
    RewardPaid,
    RewardState,
    SettleReward,
)
from shared.decision import Decision, Event, Intention

_NOT_STARTED = Progress()


def reached(progress: Progress, objective: Objective) -> int:
    """How much of the objective is reached, at most its target.

    For a streak it is the run of months that ends with the latest month: what the next month would
    add to.
    """
    if progress.completion is not None:
        return objective.target
    match objective.kind:
        case ObjectiveKind.COUNT:
            value = progress.count
        case ObjectiveKind.DISTINCT:
            value = len(progress.elements)
        case ObjectiveKind.STREAK:
            value = _latest_run(_month_numbers(progress.elements))
    return min(value, objective.target)


def grow(progress: Progress, contribution: Contribution) -> Progress:
    """Progress with one more activity; an activity that adds nothing gives the same progress."""
    match contribution.objective.kind:
        case ObjectiveKind.COUNT:
            return replace(progress, count=progress.count + 1)
        case ObjectiveKind.DISTINCT:
            elements = progress.elements | contribution.values
        case ObjectiveKind.STREAK:
            elements = progress.elements | {contribution.month}
    return progress if elements == progress.elements else replace(progress, elements=elements)


def is_reached(progress: Progress, objective: Objective) -> bool:
    """Whether the objective is reached; a streak anywhere among the months counts."""
    if objective.kind is ObjectiveKind.STREAK:
        return _longest_run(_month_numbers(progress.elements)) >= objective.target
    return reached(progress, objective) >= objective.target


def count_activity(player: Player, deed: Deed) -> Decision[Player, None]:
    """Let an activity count in the challenges that the member has not completed yet."""
    progress = dict(player.progress)
    badges = player.badges
    events: list[Event] = []
    intentions: list[Intention] = []
    for contribution in deed.contributions:
        held = progress.get(contribution.challenge_id, _NOT_STARTED)
        if held.completion is not None:
            continue
        grown = grow(held, contribution)
        if is_reached(grown, contribution.objective):
            completion = _completion(contribution, deed.decide_time)
            grown = Progress(completion=completion)
            events.append(_completed(player, contribution, deed, completion))
            if completion.badge_id and completion.badge_id not in badges:
                badges |= {completion.badge_id}
                events.append(_awarded(player, contribution, deed))
            if completion.reward_state is RewardState.OWED:
                intentions.append(_credit(player, contribution, deed))
        progress[contribution.challenge_id] = grown
    return Decision(
        state=replace(player, progress=progress, badges=badges),
        answer=None,
        events=tuple(events),
        intentions=tuple(intentions),
    )


def settle_reward(player: Player, command: SettleReward) -> Decision[Player, None]:
    """Note that the points of a completion were credited, or why they never will be.

    Settling twice changes nothing: the first outcome stands.
    """
    held = player.progress.get(command.challenge_id, _NOT_STARTED)
    completion = held.completion
    if completion is None or completion.reward_state is not RewardState.OWED:
        return Decision(state=player, answer=None, closes=(command.intention_id,))
    settled = replace(
        completion,
        reward_state=RewardState.FAILED if command.failure_reason else RewardState.PAID,
        failure_reason=command.failure_reason,
    )
    progress = {**player.progress, command.challenge_id: replace(held, completion=settled)}
    return Decision(
        state=replace(player, progress=progress),
        answer=None,
        events=(_settled(command),),
        closes=(command.intention_id,),
    )


def reward_request_id(
    program_id: ProgramId, challenge_id: ChallengeId, member_key: MemberKey, period: Period
) -> str:
    """Idempotency key of the one payment of a completion: 48 characters, the same for ever."""
    told = f"{program_id}\x00{challenge_id}\x00{member_key}\x00{period}".encode()
    return f"challenge-{hashlib.sha256(told).hexdigest()[:38]}"


def _completion(contribution: Contribution, decide_time: datetime) -> Completion:
    rewards = contribution.rewards
    return Completion(
        complete_time=decide_time,
        points=rewards.points,
        badge_id=rewards.badge_id,
        reward_state=RewardState.OWED if rewards.points else RewardState.NOTHING_OWED,
    )


def _completed(
    player: Player, contribution: Contribution, deed: Deed, completion: Completion
) -> ChallengeCompleted:
    return ChallengeCompleted(
        program_id=player.program_id,
        member_key=player.member_key,
        challenge_id=contribution.challenge_id,
        program_version=deed.program_version,
        complete_time=completion.complete_time,
        occurred_time=deed.occurred_time,
        points=completion.points,
        badge_id=completion.badge_id,
    )


def _awarded(player: Player, contribution: Contribution, deed: Deed) -> BadgeAwarded:
    return BadgeAwarded(
        program_id=player.program_id,
        member_key=player.member_key,
        badge_id=contribution.rewards.badge_id,
        challenge_id=contribution.challenge_id,
        award_time=deed.decide_time,
    )


def _credit(player: Player, contribution: Contribution, deed: Deed) -> Intention:
    """The intention to pay; its payload is the JSON form of `domain.CreditOrder`."""
    payload = {
        "challenge_id": contribution.challenge_id,
        "points": contribution.rewards.points,
        "reason": contribution.rewards.reason,
        "occurred_time": deed.occurred_time.isoformat(),
    }
    return Intention(
        intention_id=reward_request_id(
            player.program_id, contribution.challenge_id, player.member_key, ALL_TIME
        ),
        kind=CREDIT_POINTS,
        payload=json.dumps(payload, ensure_ascii=False),
        program_id=player.program_id,
        member_key=player.member_key,
    )


def _settled(command: SettleReward) -> RewardPaid | RewardFailed:
    if command.failure_reason:
        return RewardFailed(
            program_id=command.program_id,
            member_key=command.member_key,
            challenge_id=command.challenge_id,
            points=command.points,
            request_id=command.intention_id,
            reason=command.failure_reason,
        )
    return RewardPaid(
        program_id=command.program_id,
        member_key=command.member_key,
        challenge_id=command.challenge_id,
        points=command.points,
        request_id=command.intention_id,
    )


def _month_numbers(elements: AbstractSet[str]) -> list[int]:
    """Months such as "2011-03" as running numbers, ascending."""
    return sorted(int(text[:4]) * 12 + int(text[5:7]) for text in elements)


def _runs(months: list[int]) -> list[int]:
    """Lengths of the runs of months in a row, in their order."""
    runs: list[int] = []
    for place, month in enumerate(months):
        if place and month == months[place - 1] + 1:
            runs[-1] += 1
        else:
            runs.append(1)
    return runs


def _latest_run(months: list[int]) -> int:
    return _runs(months)[-1] if months else 0


def _longest_run(months: list[int]) -> int:
    return max(_runs(months), default=0)
