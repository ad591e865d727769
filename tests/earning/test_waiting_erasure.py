"""What a caller wrote of a return that came before its purchase goes with its member."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from tests.earning.callers import Caller, calling, refused
from tests.earning.nodes import PROGRAM, order, purchase
from tests.earning.test_members_erasure import nothing_due, places

STATE = activity_pb2.ReversalState
CANARY = "for Ms Canary"
WAITING = "waiting_reversals.reason"


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(database_url, tmp_path) as made:
        yield made


async def back(caller: Caller, reversal_id: str, activity_id: str, amount: int) -> None:
    made = order(reversal_id, activity_id, amount=amount)
    made.reason = CANARY
    await caller.earning.ReverseActivity(pb.ReverseActivityRequest(program_id=PROGRAM, order=made))


async def state(caller: Caller, reversal_id: str, activity_id: str) -> tuple[int, str]:
    request = pb.GetReversalRequest(
        program_id=PROGRAM, activity_id=activity_id, reversal_id=reversal_id
    )
    found = (await caller.earning.GetReversal(request)).reversal
    return found.state, found.rejected_reason


async def test_the_reason_of_a_return_that_was_rejected_is_nowhere_after_an_erasure(
    caller: Caller, database_url: str
) -> None:
    await back(caller, "v-1", "a-1", 9_999)
    await caller.record(purchase("a-1", "ann", amount=2_000))
    assert await state(caller, "v-1", "a-1") == (
        STATE.REVERSAL_STATE_REJECTED,
        "AMOUNT_NOT_RETURNABLE",
    )
    assert WAITING in await places(database_url, CANARY)
    await caller.erase()
    await nothing_due(database_url)
    assert await places(database_url, CANARY) == set()
    assert (await state(caller, "v-1", "a-1"))[0] == STATE.REVERSAL_STATE_REJECTED
    assert await caller.verified() == []


async def test_the_reason_of_a_return_whose_purchase_was_refused_is_blanked_as_well(
    caller: Caller, database_url: str
) -> None:
    await caller.enroll("ann")
    await caller.freeze("ann")
    await back(caller, "v-1", "a-1", 500)
    refusal = await refused(caller.record(purchase("a-1", "ann", amount=2_000)))
    assert refusal[1] == "MEMBER_FROZEN"
    assert (await state(caller, "v-1", "a-1"))[0] == STATE.REVERSAL_STATE_REJECTED
    await caller.erase()
    await nothing_due(database_url)
    assert await places(database_url, CANARY) == set()
    assert await caller.verified() == []


async def test_of_a_return_that_was_applied_the_books_keep_their_word_and_nothing_else_does(
    caller: Caller, database_url: str
) -> None:
    await back(caller, "v-1", "card-7", 500)
    await caller.record(purchase("card-7", "old", amount=2_000))
    await caller.enroll("ann")
    await caller.merge("old", "ann")
    await caller.erase()
    await nothing_due(database_url)
    assert await places(database_url, CANARY) == {"entries.reason", "reversals.reason"}
    assert await caller.verified() == []


async def test_reasons_of_other_members_returns_stay(caller: Caller, database_url: str) -> None:
    await back(caller, "v-1", "a-1", 9_999)
    await back(caller, "v-2", "b-1", 9_999)
    await caller.record(purchase("a-1", "ann", amount=2_000))
    await caller.record(purchase("b-1", "bob", amount=2_000))
    await caller.erase()
    await nothing_due(database_url)
    assert WAITING in await places(database_url, CANARY)
