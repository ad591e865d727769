"""Points and status miles in one program, as callers meet them, behind real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from guerdon.clock.v1 import clock_service_pb2 as clock_pb
from guerdon.clock.v1.clock_service_pb2_grpc import ClockServiceStub
from guerdon.earning.v1 import activity_pb2, events_pb2, ledger_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from shared.rpc.client import refusal_of
from tests.earning.callers import Caller, calling, refused
from tests.earning.nodes import PROGRAM, START, document, order, purchase, stamp

POINTS = {"currency_id": "points"}
MILES = {"currency_id": "status-miles", "not_spendable": True, "expiry": {"after_months": 12}}
BASE = {"rule_id": "base", "base": {"points": 1, "per_amount_minor": 100}}
MILE = {
    "rule_id": "mile",
    "currency_id": "status-miles",
    "activity_types": ["purchase"],
    "base": {"points": 3, "per_amount_minor": 200},
}
BOTH: dict[str, object] = {"currencies": [POINTS, MILES], "rules": [BASE, MILE]}
CALLERS = 64


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(database_url, tmp_path, **BOTH) as made:
        yield made


async def wallet(
    caller: Caller, currency_id: str = "", member_id: str = "ann"
) -> ledger_pb2.Wallet:
    request = pb.GetWalletRequest(program_id=PROGRAM, member_id=member_id, currency_id=currency_id)
    return (await caller.earning.GetWallet(request)).wallet


async def available(caller: Caller, member_id: str = "ann") -> tuple[int, int]:
    """Points and miles that a member has."""
    points, miles = [await wallet(caller, each, member_id) for each in ("points", "status-miles")]
    return points.points_available, miles.points_available


async def reverse(caller: Caller, made: pb.ReversalOrder) -> activity_pb2.Reversal:
    request = pb.ReverseActivityRequest(program_id=PROGRAM, order=made)
    return (await caller.earning.ReverseActivity(request)).reversal


async def apply(caller: Caller, **changes: object) -> pb.ApplyEarningProgramResponse:
    request = pb.ApplyEarningProgramRequest(program=document(**changes))
    request.options.prune = True
    return await caller.earning.ApplyEarningProgram(request)


async def advance(caller: Caller, days: int) -> None:
    clock = ClockServiceStub(caller.channel)
    await clock.AdvanceClock(clock_pb.AdvanceClockRequest(to=stamp(START + timedelta(days=days))))


def miles(record: activity_pb2.ActivityRecord) -> tuple[int, list[int]]:
    """Miles of a record, and of each of its lines."""
    (further,) = record.further_earnings
    assert further.currency_id == "status-miles"
    return further.points, list(further.line_points)


# Earning -----------------------------------------------------------------------------------------


async def test_a_purchase_earns_of_every_currency_and_says_how(caller: Caller) -> None:
    activity = purchase("a-1", lines=[(2, 1_000), (1, 550)])
    record = (await caller.record(activity)).record
    assert (record.currency_id, record.points) == ("points", 15)
    assert miles(record) == (23, [15, 8])
    assert [each.rule_id for each in record.explanation.rules] == ["base"]
    explained = record.further_earnings[0].explanation
    assert [(each.rule_id, each.points_granted) for each in explained.rules] == [("mile", 23)]
    assert await available(caller) == (15, 23)
    assert (await wallet(caller)).currency_id == "points"
    listed = await caller.earning.ListActivities(
        pb.ListActivitiesRequest(program_id=PROGRAM, member_id="ann")
    )
    assert list(listed.records[0].further_earnings) == list(record.further_earnings)
    assert await caller.verified() == []


async def test_a_retry_is_answered_alike_and_books_no_mile_twice(caller: Caller) -> None:
    activity = purchase("a-1", lines=[(2, 1_000)])
    first = await caller.record(activity)
    assert (await caller.record(activity)).record == first.record
    batch = await caller.earning.BatchRecordActivities(
        pb.BatchRecordActivitiesRequest(
            program_id=PROGRAM, activities=[activity, purchase("a-2", lines=[(1, 200)])]
        )
    )
    assert batch.results[0].recorded.record == first.record
    assert miles(batch.results[1].recorded.record) == (3, [3])
    assert await available(caller) == (12, 18)


async def test_a_preview_shows_all_currencies_also_those_that_get_nothing(caller: Caller) -> None:
    async def preview(type_: str, member_id: str = "ann") -> activity_pb2.ActivityRecord:
        activity = purchase("p-1", member_id, amount=1_000, type_=type_)
        request = pb.PreviewActivityRequest(program_id=PROGRAM, activity=activity)
        return (await caller.earning.PreviewActivity(request)).record

    await caller.enroll()
    assert miles(await preview("purchase")) == (15, [])
    assert miles(await preview("purchase", "somebody new")) == (15, [])
    nothing = await preview("visit")
    assert miles(nothing) == (0, [])
    (outcome,) = nothing.further_earnings[0].explanation.rules
    assert not outcome.matched
    assert outcome.reason
    assert await available(caller) == (0, 0)
    visited = await caller.record(purchase("v-1", amount=1_000, type_="visit"))
    assert not visited.record.further_earnings
    assert await available(caller) == (10, 0)


async def test_the_feed_tells_what_was_earned_and_taken_back_of_each(caller: Caller) -> None:
    record = (await caller.record(purchase("a-1", lines=[(2, 1_000), (1, 550)]))).record
    taken = await reverse(caller, order("r-1", "a-1", lines=[(2, 1)]))
    events = [each.payload for each in await caller.events((await caller.get()).member_key)]
    recorded, reversed_ = events_pb2.ActivityRecorded(), events_pb2.ActivityReversed()
    assert events[1].Unpack(recorded)
    assert events[2].Unpack(reversed_)
    assert list(recorded.record.further_earnings) == list(record.further_earnings)
    assert reversed_.reversal == taken


async def test_64_callers_at_once_earn_both_currencies_whole(caller: Caller) -> None:
    async def buy(number: int) -> None:
        await caller.record(purchase(f"a-{number}", lines=[(2, 1_000)]))
        if number % 4 == 0:
            await reverse(caller, order(f"r-{number}", f"a-{number}", lines=[(1, 1)]))

    await asyncio.gather(*(buy(number) for number in range(CALLERS)))
    assert await available(caller) == (10 * CALLERS - 5 * 16, 15 * CALLERS - 8 * 16 + 16)
    assert await caller.verified() == []


# Taking back -------------------------------------------------------------------------------------


async def test_a_return_takes_each_currency_s_share(caller: Caller) -> None:
    await caller.record(purchase("a-1", lines=[(3, 1_000), (1, 550)]))
    assert await available(caller) == (15, 23)
    first = await reverse(caller, order("r-1", "a-1", lines=[(1, 2)]))
    (further,) = first.further_reversals
    assert (first.points, further.currency_id, further.points, list(further.line_points)) == (
        6,
        "status-miles",
        10,
        [10],
    )
    again = await reverse(caller, order("r-1", "a-1", lines=[(1, 2)]))
    assert again == first
    rest = await reverse(caller, order("r-2", "a-1"))
    assert [each.points for each in rest.further_reversals] == [13]
    assert list(rest.further_reversals[0].line_points) == [5, 8]
    assert await available(caller) == (0, 0)
    assert await caller.verified() == []


async def test_a_return_takes_back_what_rules_gave_that_are_gone(caller: Caller) -> None:
    await caller.record(purchase("a-1", amount=1_000))
    doubled = {**BASE, "base": {"points": 2, "per_amount_minor": 100}}
    await apply(caller, currencies=[POINTS, MILES], rules=[doubled])
    taken = await reverse(caller, order("r-1", "a-1", amount=500))
    assert (taken.points, [each.points for each in taken.further_reversals]) == (5, [7])
    assert not (await caller.record(purchase("a-2", amount=100))).record.further_earnings
    assert await available(caller) == (7, 8)
    assert await caller.verified() == []


async def test_what_cannot_be_taken_of_a_currency_is_owed_in_that_currency(
    caller: Caller,
) -> None:
    await apply(caller, currencies=[POINTS, {"currency_id": "status-miles"}], rules=[BASE, MILE])
    await caller.record(purchase("a-1", amount=10_000))
    request = pb.HoldPointsRequest(
        **caller.key(), member_id="ann", currency_id="status-miles", points=120
    )
    hold = (await caller.earning.HoldPoints(request)).hold
    assert hold.currency_id == "status-miles"
    capture = pb.CaptureHoldRequest(**caller.key(), hold_id=hold.hold_id)
    await caller.earning.CaptureHold(capture)
    taken = await reverse(caller, order("r-1", "a-1", amount=5_000))
    assert (taken.points, taken.points_owed) == (50, 0)
    assert [(each.points, each.points_owed) for each in taken.further_reversals] == [(75, 45)]
    assert (await wallet(caller)).points_debt == 0
    assert (await wallet(caller, "status-miles")).points_debt == 45
    await caller.record(purchase("a-2", amount=10_000))
    assert await available(caller) == (150, 105)
    assert await caller.verified() == []


async def test_caps_and_budgets_of_a_currency_come_back_with_it(caller: Caller) -> None:
    cap = {
        "cap_id": "miles-a-day",
        "period": "PERIOD_DAY",
        "points": 100,
        "currency_id": "status-miles",
    }
    await apply(caller, currencies=[POINTS, MILES], rules=[BASE, MILE], caps=[cap])

    async def buy(activity_id: str) -> tuple[int, list[int]]:
        record = (await caller.record(purchase(activity_id, amount=5_000))).record
        assert record.points == 50
        return (
            record.further_earnings[0].points if record.further_earnings else 0,
            [
                each.points_counted
                for part in record.further_earnings
                for each in part.explanation.caps
            ],
        )

    assert [await buy(f"a-{at}") for at in range(3)] == [(75, [75]), (25, [25]), (0, [])]
    await reverse(caller, order("r-1", "a-0", amount=2_000))
    assert await buy("a-3") == (30, [30])
    assert await caller.verified() == []


async def test_each_currency_keeps_a_remainder_of_its_own(caller: Caller) -> None:
    await apply(
        caller,
        currencies=[POINTS, {**MILES, "carry_remainder": True}],
        rules=[BASE, {**MILE, "base": {"points": 1, "per_amount_minor": 10_000}}],
    )

    async def earned(at: int) -> list[int]:
        record = (await caller.record(purchase(f"a-{at}", amount=6_050))).record
        return [record.points, *[each.points for each in record.further_earnings]]

    assert [await earned(at) for at in range(4)] == [[60], [60, 1], [60], [60, 1]]
    assert await caller.verified() == []


# Asking for a currency ---------------------------------------------------------------------------


async def test_requests_name_a_currency_or_mean_the_first(caller: Caller) -> None:
    await caller.record(purchase("a-1", amount=1_000))

    async def credit(currency_id: str, member_id: str = "ann") -> None:
        request = pb.CreditPointsRequest(
            **caller.key(), member_id=member_id, points=7, currency_id=currency_id, reason="gift"
        )
        await caller.earning.CreditPoints(request)

    await credit("")
    await credit("status-miles")
    assert await available(caller) == (17, 22)
    for currency_id, types in (
        ("", [ledger_pb2.ENTRY_TYPE_CREDIT, ledger_pb2.ENTRY_TYPE_EARN]),
        ("status-miles", [ledger_pb2.ENTRY_TYPE_CREDIT, ledger_pb2.ENTRY_TYPE_EARN]),
    ):
        listed = await caller.earning.ListEntries(
            pb.ListEntriesRequest(program_id=PROGRAM, member_id="ann", currency_id=currency_id)
        )
        assert [each.type for each in listed.entries] == types
    assert await refused(wallet(caller, "yards")) == ("NOT_FOUND", "CURRENCY_NOT_FOUND")
    assert await refused(credit("yards")) == ("NOT_FOUND", "CURRENCY_NOT_FOUND")
    assert await refused(credit("status-miles", "zoe")) == ("NOT_FOUND", "MEMBER_NOT_FOUND")
    summary = await caller.earning.GetLedgerSummary(
        pb.GetLedgerSummaryRequest(program_id=PROGRAM, currency_id="status-miles")
    )
    assert (summary.points_earned, summary.points_credited) == (15, 7)


async def test_miles_that_only_count_are_not_held(caller: Caller) -> None:
    await caller.record(purchase("a-1", amount=1_000))

    async def hold(currency_id: str) -> ledger_pb2.Hold:
        request = pb.HoldPointsRequest(
            **caller.key(), member_id="ann", points=5, currency_id=currency_id
        )
        return (await caller.earning.HoldPoints(request)).hold

    assert (await hold("points")).currency_id == "points"
    refusal = await refused(hold("status-miles"))
    assert refusal == ("FAILED_PRECONDITION", "CURRENCY_NOT_SPENDABLE")
    assert await available(caller) == (5, 15)


async def test_a_currency_that_is_appended_begins_with_empty_wallets(caller: Caller) -> None:
    await caller.record(purchase("a-1", amount=1_000))
    stars = {"currency_id": "stars"}
    star = {"rule_id": "star", "currency_id": "stars", "bonus": {"points": 1}}
    await apply(caller, currencies=[POINTS, MILES, stars], rules=[BASE, MILE, star])
    assert (await wallet(caller, "stars")).points_available == 0
    record = (await caller.record(purchase("a-2", amount=1_000))).record
    assert [(each.currency_id, each.points) for each in record.further_earnings] == [
        ("stars", 1),
        ("status-miles", 15),
    ]
    assert (await wallet(caller, "stars")).points_available == 1
    # What was earned before the currency was there is taken back without it.
    taken = await reverse(caller, order("r-1", "a-1"))
    assert [each.currency_id for each in taken.further_reversals] == ["status-miles"]
    assert await caller.verified() == []


# Over time ---------------------------------------------------------------------------------------


async def test_each_currency_ends_by_its_own_policy(caller: Caller) -> None:
    await caller.record(purchase("a-1", amount=1_000))
    shown = await wallet(caller, "status-miles")
    assert [each.points for each in shown.expiring] == [15]
    assert not (await wallet(caller)).expiring
    await advance(caller, 364)
    assert await available(caller) == (10, 15)
    await advance(caller, 367)
    assert await available(caller) == (10, 0)
    assert await caller.verified() == []


async def test_each_currency_waits_by_its_own_policy_until_it_is_confirmed(
    caller: Caller,
) -> None:
    waiting = {**MILES, "pending_until_confirmed": True}
    briefly = {**POINTS, "pending_duration": "86400s"}
    await apply(caller, currencies=[briefly, waiting], rules=[BASE, MILE])
    record = (await caller.record(purchase("a-1", amount=1_000))).record
    assert not record.further_earnings[0].HasField("available_time")
    request = pb.ConfirmActivityRequest(**caller.key(), activity_id="a-1")
    assert await available(caller) == (0, 0)
    await advance(caller, 2)
    assert await available(caller) == (10, 0)
    confirmed = await caller.earning.ConfirmActivity(request)
    assert confirmed.entry.type == ledger_pb2.ENTRY_TYPE_ACTIVATE
    assert await available(caller) == (10, 15)
    assert await refused(
        caller.earning.ConfirmActivity(pb.ConfirmActivityRequest(**caller.key(), activity_id="a-1"))
    ) == ("FAILED_PRECONDITION", "ACTIVITY_NOT_PENDING")
    assert await caller.verified() == []


async def test_points_and_miles_that_wait_for_a_while_say_until_when(caller: Caller) -> None:
    briefly = {"pending_duration": "86400s"}
    await apply(
        caller, currencies=[{**POINTS, **briefly}, {**MILES, **briefly}], rules=[BASE, MILE]
    )
    record = (await caller.record(purchase("a-1", amount=1_000))).record
    tomorrow = stamp(START + timedelta(days=1))
    assert record.further_earnings[0].available_time == tomorrow
    listed = await caller.earning.ListActivities(
        pb.ListActivitiesRequest(program_id=PROGRAM, member_id="ann")
    )
    assert listed.records[0].further_earnings[0].available_time == tomorrow
    assert (record.available_time, listed.records[0].available_time) == (tomorrow, tomorrow)
    assert await available(caller) == (0, 0)
    # Pending miles of the activity are taken first.
    await reverse(caller, order("r-1", "a-1", amount=500))
    assert (await wallet(caller, "status-miles")).points_pending == 8
    await advance(caller, 2)
    assert await available(caller) == (5, 8)
    assert await caller.verified() == []


# Members -----------------------------------------------------------------------------------------


async def test_a_merge_moves_the_wallets_of_every_currency(caller: Caller) -> None:
    await caller.record(purchase("a-1", "ann", amount=1_000))
    await caller.record(purchase("b-1", "bob", amount=2_000))
    await caller.merge("bob", "ann")
    assert await available(caller) == (30, 45)
    taken = await reverse(caller, order("r-1", "b-1", amount=1_000))
    assert [(each.points, each.points_owed) for each in taken.further_reversals] == [(15, 0)]
    assert await available(caller) == (20, 30)
    assert await caller.verified() == []


async def test_a_frozen_member_gets_nothing_of_any_currency_and_gives_back_of_all(
    caller: Caller,
) -> None:
    await caller.record(purchase("a-1", amount=1_000))
    await caller.freeze()
    frozen = ("FAILED_PRECONDITION", "MEMBER_FROZEN")
    assert await refused(caller.record(purchase("a-2", amount=1_000))) == frozen
    credit = pb.CreditPointsRequest(
        **caller.key(), member_id="ann", points=7, currency_id="status-miles", reason="gift"
    )
    assert await refused(caller.earning.CreditPoints(credit)) == frozen
    await reverse(caller, order("r-1", "a-1", amount=500))
    assert await available(caller) == (5, 8)
    # A currency that comes while a member is frozen finds it frozen, and thawed like the others.
    stars = {"currency_id": "stars"}
    star = {"rule_id": "star", "currency_id": "stars", "bonus": {"points": 1}}
    await apply(caller, currencies=[POINTS, MILES, stars], rules=[BASE, MILE, star])
    assert await refused(caller.record(purchase("a-3", amount=1_000))) == frozen
    await caller.unfreeze()
    await caller.record(purchase("a-4", amount=1_000))
    assert await available(caller) == (15, 23)
    assert await caller.verified() == []


async def test_an_export_tells_of_every_currency_and_an_erasure_keeps_the_books(
    caller: Caller,
) -> None:
    await caller.record(purchase("a-1", amount=1_000))
    told = await caller.export()
    wallets = [each for part in told for each in part.wallets]
    entries = [each for part in told for each in part.entries]
    records = [each for part in told for each in part.records]
    assert sorted(each.currency_id for each in wallets) == ["points", "status-miles"]
    assert sorted(each.currency_id for each in entries) == ["points", "status-miles"]
    assert [miles(each) for each in records] == [(15, [])]
    await caller.erase()
    with pytest.raises(grpc.aio.AioRpcError) as gone:
        await wallet(caller, "status-miles")
    assert refusal_of(gone.value).reason == "MEMBER_NOT_FOUND"
    assert await caller.verified() == []


# The document ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currencies", "field", "words"),
    [
        ([POINTS], 1, "here stays status-miles, nothing is there"),
        ([POINTS, {"currency_id": "miles"}], 1, "here stays status-miles, miles is there"),
        ([MILES, POINTS], 0, "here stays points, status-miles is there"),
        ([POINTS, {"currency_id": "stars"}, MILES], 1, "here stays status-miles, stars is there"),
    ],
    ids=["removed", "renamed", "reordered", "inserted"],
)
async def test_currencies_are_only_appended(
    sqlite_url: str, tmp_path: Path, currencies: list[dict[str, object]], field: int, words: str
) -> None:
    async with calling(sqlite_url, tmp_path, **BOTH) as caller:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await apply(caller, currencies=currencies, rules=[BASE])
        refusal = refusal_of(failed.value)
        assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "INVALID_PROGRAM")
        told = refusal.violations_of()[0]
        assert told.field == f"currencies[{field}].currency_id"
        assert told.description == (
            f"currencies are only appended: {words}; begin with points, status-miles"
        )
        appended = [POINTS, MILES, {"currency_id": "stars"}]
        assert (await apply(caller, currencies=appended, rules=[BASE, MILE])).applied.version == 2


async def test_a_rollback_to_before_a_currency_was_there_is_refused(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with calling(sqlite_url, tmp_path) as caller:
        await apply(caller, **BOTH)
        request = pb.RollbackEarningProgramRequest(program_id=PROGRAM, version=1)
        refusal = await refused(caller.earning.RollbackEarningProgram(request))
        assert refusal == ("INVALID_ARGUMENT", "INVALID_PROGRAM")
