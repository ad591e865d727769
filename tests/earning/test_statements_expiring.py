"""A statement tells which points end with its month, and in the three after it."""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cli import auditing
from guerdon.earning.v1 import statement_service_pb2 as pb
from guerdon.earning.v1.statement_service_pb2_grpc import StatementServiceStub
from services.earning.expiry import (
    AfterDays,
    AfterMonths,
    CurrencyPolicy,
    EndOfPeriod,
    PendingFor,
    Period,
    Sliding,
)
from services.earning.statements import ExpiringMonth, Open, expiring_months
from shared import errors
from shared.database import Database
from shared.ids import SeededIds
from tests.earning.callers import calling
from tests.earning.nodes import PROGRAM, Node, opened, order, purchase
from tests.earning.test_ledger_time import LONDON, POINTS, policy, use
from tests.earning.test_points import DATED
from tests.earning.test_statements import at, read

MICROSECOND = timedelta(microseconds=1)
MAY = at("2025-05-31T23:00:00+00:00")
JUNE = at("2025-06-30T23:00:00+00:00")  # its last instant, in London
JULY = at("2025-07-31T23:00:00+00:00")
ENDS = [("2025-06", JUNE), ("2025-07", JULY)]


@pytest.fixture
async def dated(database: Database) -> AsyncIterator[Node]:
    async with opened(database, {POINTS: policy(AfterDays(days=40))}) as node:
        await node.enroll("ann")
        await node.enroll("bob")
        yield node


def points_at(remaining: int, end: datetime | None) -> Open:
    return Open(remaining=remaining, expire_time=end)


EXPIRING: list[tuple[str, list[Open], datetime | None, list[tuple[str, int]]]] = [
    ("nothing", [], None, []),
    ("what never ends is not told", [points_at(5, None)], JUNE, []),
    ("the last midnight is the month's that it ends", [points_at(5, JUNE)], None, [("2025-06", 5)]),
    ("an instant later is the next", [points_at(5, JUNE + MICROSECOND)], None, [("2025-07", 5)]),
    ("later than all is not told", [points_at(5, JULY + MICROSECOND)], None, []),
    ("what is overdue is the first's", [points_at(5, MAY)], None, [("2025-06", 5)]),
    (
        "months add up",
        [points_at(5, JUNE), points_at(6, MAY), points_at(7, JULY)],
        None,
        [("2025-06", 11), ("2025-07", 7)],
    ),
    (
        "sliding points end with the wallet",
        [Open(remaining=5, expire_time=None, is_sliding=True), points_at(1, JUNE)],
        JULY,
        [("2025-06", 1), ("2025-07", 5)],
    ),
    (
        "what waits is not available",
        [Open(remaining=5, expire_time=JUNE, is_pending=True)],
        None,
        [],
    ),
]


@pytest.mark.parametrize(("what", "lots", "slide", "expected"), EXPIRING)
def test_points_are_told_in_the_month_of_their_last_usable_day(
    what: str, lots: list[Open], slide: datetime | None, expected: list[tuple[str, int]]
) -> None:
    found = expiring_months(lots, slide, ENDS)
    assert [(each.month, each.points) for each in found] == expected, what


async def told(node: Node, month: str) -> list[tuple[str, int]]:
    return [(each.month, each.points) for each in (await read(node, month)).statement.expiring]


async def test_a_month_that_is_over_tells_for_ever_what_was_to_end_then(dated: Node) -> None:
    """What became of it since, by whatever way, is told by later months."""
    await dated.credit(10)  # until 11 July
    await dated.advance(days=20)
    await dated.credit(20)  # 21 June, until 31 July
    await dated.advance(days=8)
    await dated.credit(30)  # 29 June, until 8 August
    await dated.advance(days=5)
    before = [("2025-07", 30), ("2025-08", 30)]
    assert await told(dated, "2025-06") == before
    assert await told(dated, "2025-07") == before
    held = await dated.hold(15)
    assert await told(dated, "2025-07") == [("2025-07", 15), ("2025-08", 30)]
    await dated.extend(2, at("2025-09-30T23:00:00+00:00"))
    await dated.void(held.hold_id)
    assert await told(dated, "2025-07") == [("2025-07", 10), ("2025-08", 30), ("2025-09", 20)]
    await dated.transfer(12, "ann", "bob")
    assert await told(dated, "2025-07") == [("2025-08", 28), ("2025-09", 20)]
    for days in (40, 60, 100):
        await dated.advance(days=days)
        await dated.settle()
    assert await told(dated, "2025-06") == before
    assert await told(dated, "2025-07") == [("2025-08", 28), ("2025-09", 20)]
    assert await told(dated, "2025-08") == [("2025-09", 20)]
    assert await told(dated, "2025-12") == []
    assert (await read(dated, "2025-08")).statement.expired == 28


async def test_points_that_end_with_a_month_are_told_with_that_month(dated: Node) -> None:
    use(dated, policy(EndOfPeriod(period=Period.QUARTER)))
    await dated.credit(10)
    (found,) = (await read(dated, "2025-06")).statement.expiring
    assert found == ExpiringMonth(month="2025-06", points=10, first_expire_time=JUNE)


async def test_sliding_points_are_told_by_the_end_that_they_had_then(dated: Node) -> None:
    use(dated, policy(Sliding(months=2)))
    await dated.credit(10)
    await dated.advance(days=40)
    assert await told(dated, "2025-06") == [("2025-08", 10)]
    await dated.credit(5)
    assert await told(dated, "2025-06") == [("2025-08", 10)]
    assert await told(dated, "2025-07") == [("2025-09", 15)]


async def test_points_that_wait_are_told_once_they_are_available(dated: Node) -> None:
    use(dated, policy(AfterDays(days=40), PendingFor(duration=timedelta(days=30))))
    await dated.record(purchase("a-1", "ann", [(1, 1_000)]))
    assert await told(dated, "2025-06") == []
    await dated.advance(days=31)
    await dated.settle()
    assert await told(dated, "2025-06") == []
    assert await told(dated, "2025-07") == [("2025-08", 10)]


POLICIES = [
    policy(AfterDays(days=25)),
    policy(AfterMonths(months=2)),
    policy(EndOfPeriod(period=Period.MONTH, further=1)),
    policy(Sliding(months=1)),
    policy(AfterDays(days=30), PendingFor(duration=timedelta(days=9)), grace_days=20),
    policy(),
]


async def something(node: Node, number: int, between: Callable[[int, int], int]) -> None:
    match between(0, 8):
        case 0 | 1 | 2:
            lines = [(1, between(100, 9_000))]
            await node.record(purchase(f"a{number}", "ann", lines, occurred=node.clock.now()))
        case 3:
            await node.transfer(
                between(1, 30), *(("ann", "bob") if between(0, 2) else ("bob", "ann"))
            )
        case 4:
            name = f"a{between(0, number + 1)}"
            await node.reverse(order(f"b{number}", name, occurred=node.clock.now()))
        case 5:
            until = node.clock.now() + timedelta(days=between(10, 90))
            await node.extend(between(1, 12), until)
        case 6:
            await node.credit(between(1, 60), ("ann", "bob")[between(0, 2)])
        case _:
            held = await node.hold(between(1, 20))
            if between(0, 2):
                await node.capture(held.hold_id, between(1, held.points + 1))
                await node.refund(held.hold_id)


async def now(node: Node, month: str) -> list[tuple[str, int]]:
    """What the wallet itself says that is to end, by month, in this one and the three after it."""
    year, number = map(int, month.split("-"))
    months = [
        f"{year + (number - 1 + more) // 12}-{(number - 1 + more) % 12 + 1:02}" for more in range(4)
    ]
    sums: dict[str, int] = {}
    for each in (await node.wallet_now()).expiring:
        name = f"{(each.expire_time - MICROSECOND).astimezone(LONDON):%Y-%m}"
        sums[name] = sums.get(name, 0) + each.points
    return [(name, sums[name]) for name in months if name in sums]


@pytest.mark.parametrize("how", POLICIES, ids=lambda how: str(how.expiry))
async def test_the_running_month_tells_what_the_wallet_itself_does(
    dated: Node, how: CurrencyPolicy
) -> None:
    use(dated, how)
    ids = SeededIds(1)

    def between(low: int, high: int) -> int:
        return low + int(ids.fraction() * (high - low))

    closed: dict[str, list[tuple[str, int]]] = {}
    last, told_of = "", 0
    for number in range(40):
        with suppress(errors.Refusal):  # not enough points, no such lot: the next one
            await something(dated, number, between)
        dated.clock.advance(dated.clock.now() + timedelta(hours=between(1, 160)))
        await dated.settle()
        month = f"{dated.clock.now().astimezone(LONDON):%Y-%m}"
        found = await told(dated, month)
        assert found == await now(dated, month)
        told_of += bool(found)
        if last not in {"", month}:
            closed[last] = await told(dated, last)
        last = month
    for month, found in closed.items():  # a month that is over says for ever what it said first
        assert await told(dated, month) == found
    assert len(closed) > 2
    assert told_of > 5 or how.expiry is None
    assert await dated.verify() == []


async def test_callers_and_the_command_are_shown_what_ends_next(
    database_url: str, tmp_path: Path
) -> None:
    async with calling(database_url, tmp_path, currencies=DATED) as caller:
        await caller.enroll()
        await caller.credit(20)  # for ten days
        stub = StatementServiceStub(caller.channel)
        request = pb.GetStatementRequest(program_id=PROGRAM, member_id="ann", month="2025-06")
        found = await stub.GetStatement(request)
        (month,) = found.statement.expiring
        assert (month.month, month.points) == ("2025-06", 20)
        assert month.first_expire_time.ToDatetime(UTC) == at("2025-06-11T23:00:00+00:00")
        shown = StringIO()
        Console(file=shown, width=100).print(auditing.statement_page(found))
        assert "ending in 2025-06" in shown.getvalue()
