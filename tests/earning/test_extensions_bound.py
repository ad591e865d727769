"""Points that come back after their end leave a wallet within what it may have."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.earning import extensions
from services.earning.commands_points import ReinstatePoints
from services.earning.domain import (
    EARNED_MAX,
    NO_ACTIVITY,
    CurrencyId,
    Lot,
    MemberId,
    MemberKey,
    ProgramId,
    Wallet,
)
from services.earning.expiry import plain
from services.earning.refusals import PointsOutOfRange
from tests.earning.nodes import START

POINTS = CurrencyId("points")
BACK = 10
ENDED = Lot(
    lot_sequence=1,
    amount=BACK,
    remaining=0,
    available_time=START - timedelta(days=9),
    expire_time=START - timedelta(days=1),
    activity_id=NO_ACTIVITY,
)
FULL = EARNED_MAX - BACK
EMPTY = Wallet(
    program_id=ProgramId("shop"),
    member_key=MemberKey("m"),
    currency_id=POINTS,
    expired=BACK,
    sequence=2,
)
COMMAND = ReinstatePoints(
    program_id=ProgramId("shop"),
    member_id=MemberId("ann"),
    currency_id=POINTS,
    request_id="r",
    digest="",
    lot_sequence=1,
    points=BACK,
    expire_time=START + timedelta(days=1),
    actor="cara",
    reason="ill",
)
FILLED = {
    "available": replace(EMPTY, available=FULL),
    "pending": replace(EMPTY, pending=FULL),
    "held": replace(EMPTY, held=FULL),
    "all three": replace(EMPTY, available=FULL - 5, pending=3, held=2),
}


def reinstated(wallet: Wallet, lots: dict[int, Lot]) -> int:
    decided = extensions.reinstate(COMMAND, wallet, lots, BACK, plain(POINTS), START)
    return decided.answer.available_after


@pytest.mark.parametrize("wallet", FILLED.values(), ids=FILLED)
def test_points_come_back_up_to_the_most_that_a_wallet_may_have(wallet: Wallet) -> None:
    assert reinstated(wallet, {1: ENDED}) == wallet.available + BACK


@pytest.mark.parametrize("wallet", FILLED.values(), ids=FILLED)
def test_one_more_than_a_wallet_may_have_does_not_come_back(wallet: Wallet) -> None:
    over = replace(
        wallet,
        available=wallet.available + bool(wallet.available),
        pending=wallet.pending + (not wallet.available and bool(wallet.pending)),
        held=wallet.held + (not wallet.available and bool(wallet.held)),
    )
    with pytest.raises(PointsOutOfRange):
        reinstated(over, {1: ENDED})
