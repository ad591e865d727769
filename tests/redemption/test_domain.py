"""Redemption decided: who may have what, what is kept of a refusal, what goes back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.redemption import domain, refusals
from services.redemption.domain import (
    Attempt,
    MemberKey,
    ProgramId,
    Redemption,
    RedemptionId,
    Reward,
    RewardId,
    RewardKind,
    Shelf,
    State,
    TierGate,
    Voucher,
)
from shared import errors
from shared.decision import Decision

NOW = datetime(2011, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MUG = Reward(
    reward_id=RewardId("mug"),
    kind=RewardKind.VOUCHER,
    price_points=500,
    currency_id="",
    stock_total=2,
    member_limit=1,
    tier_gate=None,
    redeemable_from=None,
    redeemable_until=None,
)
GOLD_ONLY = TierGate(ladder_id="main", level_ids=frozenset({"gold"}))


def shelf(taken: int = 0, stock_total: int | None = 2) -> Shelf:
    return Shelf(
        program_id=ProgramId("p"),
        reward_id=RewardId("mug"),
        stock_total=stock_total,
        taken=taken,
    )


def redeem(attempt: Attempt, reward: Reward = MUG) -> Decision[Attempt, Redemption]:
    return domain.redeem(
        attempt,
        reward,
        redemption_id=RedemptionId("r1"),
        member_key=MemberKey("m"),
        program_version=3,
        now=NOW,
    )


def fresh() -> Attempt:
    return Attempt(shelf=shelf(), slots=frozenset())


def completed() -> Attempt:
    issued = domain.issue(redeem(fresh()).state, "h1", Voucher(code_hash="x", hint="ABCD"), NOW)
    return domain.complete(issued.state, NOW).state


REFUSED = [
    # the reward, the attempt, the reason
    (replace(MUG, redeemable_from=NOW + HOUR), fresh(), "REWARD_NOT_REDEEMABLE"),
    (replace(MUG, redeemable_until=NOW), fresh(), "REWARD_NOT_REDEEMABLE"),
    (replace(MUG, tier_gate=GOLD_ONLY), replace(fresh(), level_id="silver"), "TIER_NOT_ELIGIBLE"),
    (replace(MUG, tier_gate=GOLD_ONLY), fresh(), "TIER_NOT_ELIGIBLE"),
    (MUG, replace(fresh(), slots=frozenset({1})), "MEMBER_LIMIT_REACHED"),
    (MUG, replace(fresh(), shelf=shelf(taken=2)), "SOLD_OUT"),
    (replace(MUG, stock_total=0), replace(fresh(), shelf=shelf(stock_total=0)), "SOLD_OUT"),
    # several at once: the first that a caller should fix is told
    (MUG, Attempt(shelf=shelf(taken=2), slots=frozenset({1})), "MEMBER_LIMIT_REACHED"),
]


@pytest.mark.parametrize(("reward", "attempt", "reason"), REFUSED)
def test_a_refused_attempt_is_kept_as_failed_with_its_reason(
    reward: Reward, attempt: Attempt, reason: str
) -> None:
    decision = redeem(attempt, reward)
    assert decision.answer.state is State.FAILED
    assert decision.answer.failure_reason == reason
    assert errors.load(decision.answer.refusal).reason == reason
    assert decision.intentions == ()
    assert (decision.state.shelf, decision.state.slots) == (attempt.shelf, attempt.slots)
    assert len(decision.events) == 1


def test_a_pending_redemption_reserves_stock_and_slot_and_intends_the_rest() -> None:
    decision = redeem(fresh())
    assert decision.answer.state is State.PENDING
    assert decision.answer.points == 500
    assert decision.answer.program_version == 3
    assert decision.state.shelf.taken == 1
    assert decision.state.slots == {1}
    assert [intention.intention_id for intention in decision.intentions] == ["redeem:r1"]


def test_the_lowest_free_slot_is_taken() -> None:
    decision = redeem(replace(fresh(), slots=frozenset({1, 3})), replace(MUG, member_limit=3))
    assert decision.answer.slot == 2


def test_without_limits_neither_slot_nor_stock_refuses() -> None:
    unlimited = replace(MUG, member_limit=None, stock_total=None)
    decision = redeem(Attempt(shelf=shelf(10**6, None), slots=frozenset()), unlimited)
    assert decision.answer.state is State.PENDING
    assert decision.answer.slot == 0
    assert decision.state.shelf.left is None


def test_completion_closes_the_intention_once() -> None:
    state = completed()
    assert state.redemption is not None
    assert (state.redemption.state, state.redemption.hold_id) == (State.COMPLETED, "h1")
    again = domain.complete(state, NOW + HOUR)
    assert again.state == state
    assert again.events == ()
    assert again.closes == ("redeem:r1",)


def test_a_failure_gives_stock_and_slot_back_once() -> None:
    refusal = refusals.InsufficientPoints(points_needed=500, points_available=20)
    failed = domain.fail(redeem(fresh()).state, refusal, NOW)
    assert failed.state.shelf.taken == 0
    assert failed.state.slots == frozenset()
    assert failed.answer.failure_reason == "INSUFFICIENT_POINTS"
    again = domain.fail(failed.state, refusal, NOW)
    assert again.state == failed.state


def test_a_late_failure_does_not_undo_a_completed_redemption() -> None:
    refusal = refusals.HoldLost(redemption_id="r1")
    decision = domain.fail(completed(), refusal, NOW)
    assert decision.answer.state is State.COMPLETED


def test_a_voucher_is_issued_once() -> None:
    issued = domain.issue(redeem(fresh()).state, "h1", Voucher(code_hash="x", hint="ABCD"), NOW)
    again = domain.issue(issued.state, "h2", Voucher(code_hash="y", hint="EFGH"), NOW)
    assert (again.answer.hold_id, again.answer.voucher_hint) == ("h1", "ABCD")


def test_a_cancellation_gives_stock_and_slot_back_when_the_points_are_back() -> None:
    cancelling = domain.cancel(completed(), HOUR, NOW)
    assert cancelling.answer.state is State.CANCELLING
    assert cancelling.state.shelf.taken == 1
    done = domain.finish_cancel(cancelling.state, NOW)
    assert done.answer.state is State.CANCELLED
    assert (done.state.shelf.taken, done.state.slots) == (0, frozenset())
    assert done.closes == ("cancel:r1",)
    assert domain.finish_cancel(done.state, NOW).state == done.state


@pytest.mark.parametrize(
    ("after", "reason"), [(HOUR - timedelta(microseconds=1), ""), (HOUR, "CANCEL_WINDOW_CLOSED")]
)
def test_a_redemption_can_be_cancelled_until_its_window_closes(
    after: timedelta, reason: str
) -> None:
    if not reason:
        assert domain.cancel(completed(), HOUR, NOW + after).answer.state is State.CANCELLING
        return
    with pytest.raises(errors.Refusal) as refused:
        domain.cancel(completed(), HOUR, NOW + after)
    assert refused.value.reason == reason


def test_only_a_completed_redemption_can_be_cancelled() -> None:
    with pytest.raises(refusals.RedemptionNotCompleted):
        domain.cancel(redeem(fresh()).state, HOUR, NOW)
