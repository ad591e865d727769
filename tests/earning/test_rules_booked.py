"""Rules that look beyond the activity, booked: caps, budgets, counts, remainders, members."""

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from google.type.date_pb2 import Date

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import member_pb2
from services.earning import explanations, tables, wire
from services.earning.refusals import CapExceeded, CurrencyNotSpendable
from shared.database import Database
from tests.earning.nodes import PROGRAM, START, Node, order, purchase

BASE = {"rule_id": "base", "base": {"points": 1, "per_amount_minor": 100}}
DAY = {"cap_id": "day", "period": "PERIOD_DAY", "points": 100}
CALLERS = 64


async def points(node: Node, name: str, pounds: int, **fields: object) -> int:
    activity = purchase(name, amount=pounds * 100, **fields)  # type: ignore[arg-type]
    return (await node.record(activity)).points


async def enroll(node: Node, member_id: str, profile: member_pb2.MemberProfile) -> None:
    request = pb.EnrollMemberRequest(
        request_id=f"e-{member_id}", program_id=PROGRAM, member_id=member_id, profile=profile
    )
    await node.answer(wire.enroll_from_proto(request))


async def test_a_cap_counts_through_the_day_and_begins_anew_the_next(node: Node) -> None:
    await node.apply(rules=[BASE], caps=[DAY])
    assert [await points(node, f"a-{at}", 40) for at in range(4)] == [40, 40, 20, 0]
    await node.advance(days=1)
    tomorrow = START + timedelta(days=1)
    assert await points(node, "b-1", 128, occurred=tomorrow) == 100
    # A late till sends what was bought yesterday: yesterday is full.
    assert await points(node, "b-2", 5) == 0
    assert await node.verify() == []


@pytest.mark.parametrize(
    ("period", "first", "last", "next_", "given"),
    [
        ("DAY", "2026-03-29T00:00", "2026-03-29T23:59:59.999999", "2026-03-30T00:00", 60),
        # A week begins on Monday, and the one of New Year is one week.
        ("WEEK", "2025-12-29T00:00", "2026-01-04T23:59:59.999999", "2026-01-05T00:00", 60),
        ("MONTH", "2026-03-01T00:00", "2026-03-31T23:59:59.999999", "2026-04-01T00:00", 60),
        ("YEAR", "2026-01-01T00:00", "2026-12-31T23:59:59.999999", "2027-01-01T00:00", 60),
        ("LIFETIME", "2026-01-01T00:00", "2026-12-31T23:59:59.999999", "2027-01-01T00:00", 0),
    ],
)
async def test_a_cap_counts_from_the_first_moment_of_its_period_to_the_last(
    node: Node, period: str, first: str, last: str, next_: str, given: int
) -> None:
    """By the clock on the wall in Berlin, where each period begins while it is yesterday in UTC."""
    zone = ZoneInfo("Europe/Berlin")
    cap = {"cap_id": "most", "period": f"PERIOD_{period}", "points": 100}
    await node.apply(rules=[BASE], caps=[cap], time_zone=zone.key)
    node.clock.advance(datetime(2027, 1, 2, tzinfo=UTC))
    moments = [datetime.fromisoformat(each).replace(tzinfo=zone) for each in (first, last, next_)]
    booked = [
        await points(node, f"a-{at}", 60, occurred=each.astimezone(UTC))
        for at, each in enumerate(moments)
    ]
    assert booked == [60, 40, given]
    await node.reverse(order("r-1", "a-0"))
    assert await points(node, "a-3", 100, occurred=moments[1].astimezone(UTC)) == 60
    assert await node.verify() == []


async def test_a_reversal_gives_allowance_back_to_the_period_that_it_came_from(node: Node) -> None:
    await node.apply(rules=[BASE], caps=[DAY])
    assert await points(node, "a-1", 90) == 90
    await node.advance(days=1)
    tomorrow = START + timedelta(days=1)
    assert await points(node, "b-1", 100, occurred=tomorrow) == 100
    await node.reverse(order("r-1", "a-1", amount=3_000))
    assert await points(node, "a-2", 50) == 40, "10 were left, and 30 came back"
    assert await points(node, "b-2", 50, occurred=tomorrow) == 0
    await node.reverse(order("r-2", "a-1"))
    assert await points(node, "a-3", 100) == 60
    assert await node.verify() == []


async def test_a_cap_that_refuses_leaves_nothing_behind(node: Node) -> None:
    await node.apply(rules=[BASE], caps=[{**DAY, "excess": "EXCESS_REFUSE"}])
    assert await points(node, "a-1", 90) == 90
    with pytest.raises(CapExceeded, match="cap day has 10 points left, 20 are wanted"):
        await points(node, "a-2", 20)
    assert await points(node, "a-3", 10) == 10
    assert (await node.wallet()).available == 100
    assert await node.verify() == []


async def test_64_callers_never_pass_one_members_cap(node: Node, second: Node) -> None:
    await node.apply(rules=[BASE], caps=[{**DAY, "points": 1_000}])
    given = await asyncio.gather(
        *(points((node, second)[at % 2], f"a-{at}", 30) for at in range(CALLERS))
    )
    assert sum(given) == 1_000 == (await node.wallet()).available
    assert await node.verify() == []


async def test_64_members_never_pass_one_budget(node: Node, second: Node) -> None:
    welcome = {"rule_id": "welcome", "bonus": {"points": 30}, "budget_points": 1_000}
    await node.apply(rules=[welcome])
    given = await asyncio.gather(
        *(
            points((node, second)[at % 2], f"a-{at}", 1, member_id=f"m-{at}")
            for at in range(CALLERS)
        )
    )
    assert sorted(given) == [0] * 30 + [10] + [30] * 33
    assert await node.verify() == []


async def test_a_budget_gets_back_what_is_returned(node: Node) -> None:
    welcome = {"rule_id": "welcome", "bonus": {"points": 30}, "budget_points": 50}
    await node.apply(rules=[welcome])
    assert [await points(node, f"a-{at}", 1) for at in range(3)] == [30, 20, 0]
    await node.reverse(order("r-1", "a-0"))
    assert await points(node, "a-3", 1) == 30
    assert await node.verify() == []


async def test_of_64_purchases_at_once_exactly_one_is_the_first(node: Node, second: Node) -> None:
    first = {"rule_id": "first", "bonus": {"points": 500}, "nth": {"number": 1}}
    await node.apply(rules=[BASE, first])
    given = await asyncio.gather(
        *(points((node, second)[at % 2], f"a-{at}", 1) for at in range(CALLERS))
    )
    assert sorted(given) == [1] * 63 + [501]
    assert await node.verify() == []


async def test_a_first_purchase_that_was_returned_was_the_first(node: Node) -> None:
    first = {
        "rule_id": "first",
        "activity_types": ["purchase"],
        "multiplier": {"numerator": 5, "denominator": 1},
        "nth": {"number": 1},
    }
    await node.apply(rules=[BASE, first])
    assert await points(node, "v-1", 10, type_="visit") == 10
    assert await points(node, "a-1", 100) == 500
    await node.reverse(order("r-1", "a-1"))
    assert await points(node, "a-2", 100) == 100
    assert (await node.wallet()).available == 110
    assert await node.verify() == []


async def test_what_rounding_left_is_kept_for_the_next_purchase(node: Node) -> None:
    hundred = {"rule_id": "base", "base": {"points": 1, "per_amount_minor": 10_000}}
    await node.apply(
        rules=[hundred], currencies=[{"currency_id": "points", "carry_remainder": True}]
    )
    assert [await points(node, f"a-{at}", 60) for at in range(5)] == [0, 1, 0, 1, 1]
    assert await points(node, "b-1", 60, member_id="bob") == 0
    assert await node.verify() == []


async def test_a_birthday_counts_within_its_window_and_is_kept_nowhere(
    node: Node, database: Database
) -> None:
    birthday = {
        "rule_id": "birthday",
        "multiplier": {"numerator": 2, "denominator": 1},
        "occasion": {"kind": "KIND_BIRTHDAY", "days_before": 2, "days_after": 1},
    }
    await node.apply(rules=[BASE, birthday])
    for member_id, day in (("on", 1), ("before", 3), ("after", 31), ("past", 4)):
        month = 5 if day == 31 else 6
        profile = member_pb2.MemberProfile(birth_date=Date(year=1979, month=month, day=day))
        await enroll(node, member_id, profile)
    given = {
        name: await points(node, f"a-{name}", 10, member_id=name)
        for name in ("on", "before", "after", "past", "unknown")
    }
    assert given == {"on": 20, "before": 20, "after": 20, "past": 10, "unknown": 10}
    async with database.reading() as tx:
        for table in (tables.entries, tables.activities, tables.kernel.feed_events):
            for row in await tx.fetch(table.select()):
                assert "1979" not in repr(tuple(row))
    assert await node.verify() == []


async def test_segments_and_attributes_of_the_member_decide(node: Node) -> None:
    rules = [
        BASE,
        {"rule_id": "vip", "bonus": {"points": 5}, "segments": ["vip"]},
        {
            "rule_id": "green",
            "bonus": {"points": 7},
            "condition": '"colour" in member.attributes && member.attributes["colour"] == "green"',
        },
    ]
    await node.apply(rules=rules)
    await enroll(node, "ann", member_pb2.MemberProfile(segments=["vip"]))
    await enroll(node, "bob", member_pb2.MemberProfile(attributes={"colour": "green"}))
    assert await points(node, "a-1", 1) == 6
    assert await points(node, "b-1", 1, member_id="bob") == 8
    assert await points(node, "c-1", 1, member_id="cat") == 1
    assert await node.verify() == []


async def test_a_preview_explains_caps_and_counts_nothing(node: Node) -> None:
    await node.apply(rules=[BASE], caps=[DAY])
    command = wire.record_from_proto(PROGRAM, purchase("p-1", amount=12_800))
    for _ in range(3):
        seen = await node.queries.preview(command)
        explanation = explanations.read(seen.explanation)
        assert (seen.points, explanation.wanted) == (100, 128)
    assert await points(node, "a-1", 90) == 90
    assert (await node.queries.preview(command)).points == 10


async def test_the_document_says_when_points_become_available_and_when_they_end(
    node: Node,
) -> None:
    currency = {
        "currency_id": "points",
        "pending_duration": "259200s",
        "expiry": {"after_months": 6},
    }
    await node.apply(rules=[BASE], currencies=[currency])
    assert await points(node, "a-1", 10) == 10
    wallet = await node.wallet()
    assert (wallet.available, wallet.pending) == (0, 10)
    await node.advance(days=3)
    assert (await node.wallet()).available == 10
    await node.advance(days=180)
    assert (await node.wallet()).available == 10
    await node.advance(days=4)
    assert (await node.wallet()).available == 0
    await node.settle()
    assert (await node.wallet()).expired == 10
    assert await node.verify() == []


async def test_points_that_only_count_are_not_held(node: Node) -> None:
    await node.apply(rules=[BASE], currencies=[{"currency_id": "points", "not_spendable": True}])
    assert await points(node, "a-1", 100) == 100
    with pytest.raises(CurrencyNotSpendable, match="points of currency points cannot be spent"):
        await node.hold(10)
    assert (await node.wallet()).available == 100
