"""Returns that come before their purchase: they wait, and are netted when it is recorded."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import grpc
import pytest

from guerdon.earning.v1 import activity_pb2, events_pb2, ledger_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from services.earning import tables, wire
from services.earning.commands import Command
from services.earning.domain import Reversal, ReversalState
from services.earning.refusals import ActivityNotFound
from shared import keys
from shared.database import Database
from shared.rpc.client import refusal_of
from shared.work import Outcome
from tests.earning.callers import Caller, calling, refused
from tests.earning.nodes import PROGRAM, START, Node, opened, order, purchase

CALLERS = 64
STATE = activity_pb2.ReversalState
TYPE = ledger_pb2.EntryType
LINES = [(2, 1_000), (1, 500)]


class Calling(Protocol):
    def __call__(self, **changes: object) -> AbstractAsyncContextManager[Caller]: ...


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Calling:
    """Opens a shop whose program differs from the usual one."""

    def opened_(**changes: object) -> AbstractAsyncContextManager[Caller]:
        return calling(database_url, tmp_path, **changes)

    return opened_


@pytest.fixture
async def caller(shop: Calling) -> AsyncIterator[Caller]:
    async with shop() as made:
        yield made


async def back(
    caller: Caller,
    reversal_id: str,
    activity_id: str = "a-1",
    *,
    amount: int = 0,
    lines: Sequence[tuple[int, int]] = (),
) -> activity_pb2.Reversal:
    made = order(reversal_id, activity_id, amount=amount, lines=lines)
    request = pb.ReverseActivityRequest(program_id=PROGRAM, order=made)
    return (await caller.earning.ReverseActivity(request)).reversal


async def get(caller: Caller, reversal_id: str, activity_id: str = "a-1") -> activity_pb2.Reversal:
    request = pb.GetReversalRequest(
        program_id=PROGRAM, activity_id=activity_id, reversal_id=reversal_id
    )
    return (await caller.earning.GetReversal(request)).reversal


async def listed(
    caller: Caller, activity_id: str = "a-1", page_size: int = 0
) -> list[activity_pb2.Reversal]:
    found: list[activity_pb2.Reversal] = []
    token = ""
    while True:
        request = pb.ListReversalsRequest(
            program_id=PROGRAM, activity_id=activity_id, page_size=page_size, page_token=token
        )
        page = await caller.earning.ListReversals(request)
        assert not page_size or len(page.reversals) <= page_size
        found += page.reversals
        token = page.next_page_token
        if not token:
            return found


async def told(call: Awaitable[object]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return refusal_of(error).reason
    return ""


async def test_a_return_that_comes_before_its_purchase_waits_and_is_netted_on_arrival(
    caller: Caller,
) -> None:
    early = await back(caller, "v-1", lines=[(1, 1)])
    assert (early.state, early.points, list(early.lines)) == (STATE.REVERSAL_STATE_WAITING, 0, [])
    assert await get(caller, "v-1") == early
    made = await caller.record(purchase("a-1", lines=LINES))
    assert made.record.points == 15
    wallet = await caller.wallet()
    assert (wallet.points_available, wallet.points_earned, wallet.points_reversed) == (10, 15, 5)
    assert [each.type for each in await caller.entries()] == [
        TYPE.ENTRY_TYPE_REVERSE,
        TYPE.ENTRY_TYPE_EARN,
    ]
    applied = await get(caller, "v-1")
    assert (applied.state, applied.points) == (STATE.REVERSAL_STATE_APPLIED, 5)
    assert [(each.line_number, each.item.sku) for each in applied.lines] == [(1, "s1")]
    key = (await caller.get()).member_key
    events = await caller.events(key)
    assert [each.payload.type_url.rpartition(".")[2] for each in events] == [
        "MemberEnrolled",
        "ActivityRecorded",
        "ActivityReversed",
    ]
    last = events_pb2.ActivityReversed.FromString(events[-1].payload.value)
    assert last.reversal == applied
    assert await caller.verified() == []


async def test_both_get_an_equal_answer_when_they_are_sent_again(caller: Caller) -> None:
    early = await back(caller, "v-1")
    made = await caller.record(purchase("a-1", lines=LINES))
    assert await back(caller, "v-1") == early
    assert await caller.record(purchase("a-1", lines=LINES)) == made
    assert await refused(caller.record(purchase("a-1", lines=[(1, 1)]))) == (
        "ALREADY_EXISTS",
        "IDEMPOTENCY_KEY_REUSED",
    )
    assert await told(back(caller, "v-1", amount=1)) == "IDEMPOTENCY_KEY_REUSED"
    assert len(await caller.entries()) == 2
    assert await caller.verified() == []


async def test_several_are_applied_in_the_order_in_which_they_came(caller: Caller) -> None:
    for reversal_id, units in (("z", [(1, 1)]), ("y", [(1, 2)]), ("x", [(2, 1)]), ("w", [(9, 1)])):
        await back(caller, reversal_id, lines=units)
    await back(caller, "v", amount=100)
    await caller.record(purchase("a-1", lines=LINES))
    await back(caller, "u")
    found = {each.reversal_id: each for each in await listed(caller)}
    assert {name: (each.points, each.rejected_reason) for name, each in found.items()} == {
        "z": (5, ""),
        "y": (0, "QUANTITY_NOT_RETURNABLE"),
        "x": (5, ""),
        "w": (0, "LINE_NOT_FOUND"),
        "v": (0, "REVERSAL_WAY_CHANGED"),
        "u": (5, ""),
    }
    assert found["y"].state == STATE.REVERSAL_STATE_REJECTED
    assert (await caller.wallet()).points_available == 0
    assert await caller.verified() == []


async def test_a_program_may_refuse_them(shop: Calling) -> None:
    async with shop(early_reversal_policy="EARLY_REVERSAL_POLICY_REFUSE") as caller:
        assert await refused(back(caller, "v-1")) == ("NOT_FOUND", "ACTIVITY_NOT_FOUND")
        await caller.record(purchase("a-1", lines=LINES))
        assert (await caller.wallet()).points_available == 15
        assert await listed(caller) == []


async def test_what_waits_for_an_activity_that_is_refused_is_rejected(caller: Caller) -> None:
    await back(caller, "v-1")
    old = purchase("a-1", lines=LINES, occurred=START - timedelta(days=999))
    assert await told(caller.record(old)) == "OCCURRED_TIME_NOT_ACCEPTED"
    rejected = await get(caller, "v-1")
    assert rejected.state == STATE.REVERSAL_STATE_REJECTED
    assert rejected.rejected_reason == "ACTIVITY_NOT_FOUND"
    assert await refused(back(caller, "v-2")) == ("NOT_FOUND", "ACTIVITY_NOT_FOUND")
    assert await caller.verified() == []


async def test_at_most_100_wait_for_an_activity(caller: Caller) -> None:
    orders = [order(f"v-{number}", "a-1", amount=10) for number in range(101)]
    request = pb.BatchReverseActivitiesRequest(program_id=PROGRAM, orders=orders)
    results = (await caller.earning.BatchReverseActivities(request)).results
    assert [each.WhichOneof("outcome") for each in results] == ["reversed"] * 100 + ["refused"]
    assert await told(back(caller, "more")) == "TOO_MANY_WAITING_REVERSALS"
    await caller.record(purchase("a-1", amount=2_000))
    assert (await caller.wallet()).points_available == 10
    assert await caller.verified() == []


async def test_reversals_are_listed_a_page_at_a_time_those_that_wait_last(caller: Caller) -> None:
    assert await listed(caller) == []
    for number in range(5):
        await back(caller, f"v-{number}", amount=600)
    assert [each.reversal_id for each in await listed(caller, page_size=2)] == [
        f"v-{number}" for number in range(5)
    ]
    await caller.record(purchase("a-1", amount=2_000))
    found = await listed(caller, page_size=2)
    assert [each.reversal_id for each in found] == [f"v-{number}" for number in range(5)]
    assert [each.state for each in found] == [STATE.REVERSAL_STATE_APPLIED] * 3 + [
        STATE.REVERSAL_STATE_REJECTED
    ] * 2
    assert found == await listed(caller, page_size=3) == await listed(caller)
    request = pb.ListReversalsRequest(program_id=PROGRAM, activity_id="a-1", page_token="x")
    assert await told(caller.earning.ListReversals(request)) == "INVALID_PAGE_TOKEN"
    assert await refused(get(caller, "v-9")) == ("NOT_FOUND", "REVERSAL_NOT_FOUND")
    assert await refused(get(caller, "v-1", "a-2")) == ("NOT_FOUND", "REVERSAL_NOT_FOUND")


async def test_points_that_paid_go_back_with_a_return_that_had_waited(caller: Caller) -> None:
    await caller.enroll()
    await caller.credit(40)
    held = await caller.hold(40)
    capture = pb.CaptureHoldRequest(**caller.key(), hold_id=held.hold_id)
    await caller.earning.CaptureHold(capture)
    await back(caller, "v-1", amount=10_000)
    made = purchase("a-1", amount=20_000)
    made.payment.paid_in_points_minor = 4_000
    made.payment.points_hold_id = held.hold_id
    await caller.record(made)
    applied = await get(caller, "v-1")
    assert (applied.points, applied.given_back.points) == (80, 20)
    assert applied.given_back.hold_id == held.hold_id
    assert (await caller.wallet()).points_available == 100
    assert await caller.verified() == []


async def test_several_currencies_are_netted_together(shop: Calling) -> None:
    rules = [
        {
            "rule_id": f"of-{currency}",
            "currency_id": currency,
            "base": {"points": points, "per_amount_minor": 100},
        }
        for currency, points in (("points", 1), ("miles", 3))
    ]
    currencies = [{"currency_id": "points"}, {"currency_id": "miles"}]
    async with shop(currencies=currencies, rules=rules) as caller:
        await back(caller, "v-1", amount=500)
        await caller.record(purchase("a-1", amount=2_000))
        applied = await get(caller, "v-1")
        assert applied.points == 5
        assert [(each.currency_id, each.points) for each in applied.further_reversals] == [
            ("miles", 15)
        ]
        request = pb.GetWalletRequest(program_id=PROGRAM, member_id="ann", currency_id="miles")
        assert (await caller.earning.GetWallet(request)).wallet.points_available == 45
        assert await caller.verified() == []


async def test_a_referral_that_the_netted_return_undoes_is_taken_back(shop: Calling) -> None:
    referral = {"referrer_points": 100, "friend_points": 100, "activity_types": ["purchase"]}
    async with shop(referral=referral) as caller:
        await caller.enroll("ann")
        await caller.enroll("bob")
        await caller.come_by("ann", "bob")
        await back(caller, "v-1")
        await caller.record(purchase("a-1", "bob", lines=LINES))
        for member_id in ("ann", "bob"):
            assert (await caller.wallet(member_id)).points_available == 0
        assert await caller.verified() == []


async def test_a_member_whose_return_had_waited_is_merged_exported_and_erased(
    caller: Caller,
) -> None:
    await back(caller, "v-1", amount=500)
    await caller.record(purchase("a-1", "card-7", amount=2_000))
    await caller.enroll("ann")
    await caller.merge("card-7", "ann")
    await back(caller, "v-2", amount=500)
    assert (await caller.wallet()).points_available == 10
    assert await caller.export()
    await caller.erase()
    assert [each.points for each in await listed(caller)] == [5, 5]
    assert await caller.verified() == []


async def test_of_64_at_once_every_return_is_netted_whichever_comes_first(caller: Caller) -> None:
    purchases = [
        caller.record(purchase(f"a-{number}", f"m-{number % 4}", amount=2_000))
        for number in range(CALLERS // 2)
    ]
    returns = [
        back(caller, f"v-{number}", f"a-{number}", amount=1_000) for number in range(CALLERS // 2)
    ]
    mixed: list[Awaitable[object]] = []
    for number, pair in enumerate(zip(purchases, returns, strict=True)):
        mixed += pair if number % 2 else pair[::-1]
    await asyncio.gather(*mixed)
    for number in range(CALLERS // 2):
        found = await get(caller, f"v-{number}", f"a-{number}")
        assert (found.state, found.points) == (STATE.REVERSAL_STATE_APPLIED, 10)
    for member in range(4):
        assert (await caller.wallet(f"m-{member}")).points_available == 80
    assert await caller.verified() == []


async def test_63_returns_race_their_purchase_and_never_more_than_it_earned_is_taken(
    caller: Caller,
) -> None:
    calls: list[Awaitable[object]] = [
        told(back(caller, f"v-{number}", amount=100)) for number in range(CALLERS - 1)
    ]
    calls.insert(CALLERS // 2, told(caller.record(purchase("a-1", amount=4_000))))
    reasons = await asyncio.gather(*calls)
    assert set(reasons) <= {"", "AMOUNT_NOT_RETURNABLE"}
    found = await listed(caller)
    applied = [each for each in found if each.state == STATE.REVERSAL_STATE_APPLIED]
    assert [each.points for each in applied] == [1] * 40
    rejected = [each.rejected_reason for each in found if each not in applied]
    assert len(rejected) + reasons.count("AMOUNT_NOT_RETURNABLE") == CALLERS - 1 - 40
    assert set(rejected) <= {"AMOUNT_NOT_RETURNABLE"}
    assert (await caller.wallet()).points_available == 0
    assert await caller.verified() == []


# Within a batch, and between processes -----------------------------------------------------------


def reversing(reversal_id: str, activity_id: str, amount: int = 0) -> Command:
    return wire.reverse_from_proto(PROGRAM, order(reversal_id, activity_id, amount=amount))


async def test_a_return_and_its_purchase_behind_it_in_one_batch_are_netted(node: Node) -> None:
    results = await node.results(
        [
            reversing("v-1", "a-1", 500),
            wire.record_from_proto(PROGRAM, purchase("a-1", amount=2_000)),
            reversing("v-2", "a-1", 500),
        ]
    )
    states = [
        each.answer.state
        for each in results
        if isinstance(each, Outcome) and isinstance(each.answer, Reversal)
    ]
    assert states == [ReversalState.WAITING, ReversalState.APPLIED]
    assert (await node.wallet()).available == 10
    assert await node.verify() == []


async def test_in_one_batch_a_refused_purchase_rejects_what_came_before_and_refuses_what_follows(
    node: Node,
) -> None:
    old = purchase("a-1", amount=2_000, occurred=START - timedelta(days=999))
    results = await node.results(
        [reversing("v-1", "a-1"), wire.record_from_proto(PROGRAM, old), reversing("v-2", "a-1")]
    )
    assert isinstance(results[2], ActivityNotFound)
    async with node.database.reading() as tx:
        kept = await tx.fetch(tables.waiting_reversals.select())
    assert [(each.reversal_id, each.state) for each in kept] == [("v-1", "rejected")]
    assert await node.verify() == []


async def test_two_processes_meet_at_the_key_of_the_activity(database: Database) -> None:
    async with opened(database) as here:
        there = Node(database, here.clock, seed=2)
        calls: list[Awaitable[object]] = []
        for number in range(CALLERS // 2):
            calls.append(here.record(purchase(f"a-{number}", f"m-{number}", amount=2_000)))
            calls.append(there.reverse(order(f"v-{number}", f"a-{number}")))
        await asyncio.gather(*calls)
        for number in range(CALLERS // 2):
            assert (await here.wallet(f"m-{number}")).available == 0
        assert await here.verify() == []
        await there.group_commit.close()


async def test_the_key_of_an_activity_that_something_waits_for_is_never_forgotten(
    node: Node,
) -> None:
    await node.reverse(order("v-1", "a-1"))
    await node.record(purchase("a-2", "bob", amount=2_000))
    async with node.database.transaction() as tx:
        keys_ = tables.kernel.request_keys
        await tx.execute(keys_.update().values(create_time_micros=0))
        assert await keys.forget(tx, keys_, before_micros=1) == 2
    await node.record(purchase("a-1", amount=2_000))
    assert (await node.wallet()).available == 0


TAMPERED: list[tuple[str, str, dict[str, object], str]] = [
    ("waiting_reversals", "v-1", {"reason": "another"}, "waiting_reversals"),
    ("waiting_reversals", "v-1", {"occurred_time": START + timedelta(days=1)}, "waiting_reversals"),
    ("waiting_reversals", "v-1", {"settle_time": START + timedelta(days=1)}, "waiting_reversals"),
    ("waiting_reversals", "v-1", {"scope": '["amount",501]'}, "waiting_reversals"),
    ("waiting_reversals", "v-1", {"number": 9}, "waiting_reversals"),
    ("waiting_reversals", "v-1", {"activity_id": "a-9"}, "waiting_reversals"),
    (
        "waiting_reversals",
        "v-1",
        {"state": "rejected", "rejected_reason": "NOTHING_LEFT_TO_REVERSE"},
        "waiting_reversals",
    ),
    ("waiting_reversals", "v-1", {"state": "waiting", "settle_time": None}, "waiting_reversals"),
    (
        "waiting_reversals",
        "v-2",
        {"rejected_reason": "NOTHING_LEFT_TO_REVERSE"},
        "waiting_reversals",
    ),
    ("waiting_reversals", "v-2", {"state": "applied", "rejected_reason": ""}, "waiting_reversals"),
    ("waiting_reversals", "v-3", {"state": "applied", "settle_time": START}, "waiting_reversals"),
    ("reversals", "v-1", {"reason": "another"}, "waiting_reversals"),
    ("reversals", "v-1", {"reversal_id": "v-9"}, "waiting_reversals"),
]


@pytest.mark.parametrize(("table", "reversal_id", "values", "rule"), TAMPERED)
async def test_a_verification_finds_what_is_changed_of_them(
    node: Node, table: str, reversal_id: str, values: dict[str, object], rule: str
) -> None:
    await node.reverse(order("v-1", "a-1", amount=500))
    await node.reverse(order("v-2", "a-1", amount=5_000))
    await node.reverse(order("v-3", "a-2"))
    await node.record(purchase("a-1", amount=2_000))
    assert await node.verify() == []
    found = tables.metadata.tables[table]
    async with node.database.transaction() as tx:
        change = found.update().where(found.c.reversal_id == reversal_id).values(**values)
        assert await tx.execute(change) == 1
    assert rule in {each.rule for each in await node.verify()}


async def test_a_verification_finds_a_return_that_nothing_would_wake(node: Node) -> None:
    await node.record(purchase("a-2", amount=2_000))
    await node.reverse(order("v-1", "a-1"))
    request_keys = tables.kernel.request_keys
    async with node.database.transaction() as tx:
        await tx.execute(request_keys.delete().where(request_keys.c.request_id == "a-1"))
    assert [each.rule for each in await node.verify()] == ["waiting_reversals"]
