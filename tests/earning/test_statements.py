"""A month's statement says what a wallet had, what moved and what it has; months chain."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from guerdon.earning.v1 import statement_service_pb2 as pb
from guerdon.earning.v1.statement_service_pb2_grpc import StatementServiceStub
from services.earning import statements
from services.earning.domain import CurrencyId, MemberId, ProgramId
from services.earning.queries_statements import StatementQueries
from services.earning.refusals import MonthNotBegun
from services.earning.statements import Balance, Statement, StatementPage
from shared import errors
from shared.ids import SeededIds
from tests.earning.callers import calling, refused
from tests.earning.nodes import PROGRAM, Node, order, purchase


async def read(
    node: Node, month: str, member_id: str = "ann", *, size: int = 0, token: str = ""
) -> StatementPage:
    queries = StatementQueries(node.database, node.programs, node.clock)
    return await queries.statement(
        ProgramId(PROGRAM),
        MemberId(member_id),
        CurrencyId(""),
        month,
        page_size=size,
        page_token=token,
    )


def moves(of: Statement) -> int:
    return of.earned - of.spent - of.expired - of.reversed + of.transferred + of.adjusted


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_a_month_says_what_moved_and_has_its_entries(node: Node) -> None:
    await node.enroll("bob")
    await node.record(purchase("a1", "ann", lines=[(1, 10_000)]))
    await node.record(purchase("a2", "ann", lines=[(1, 3_000)]))
    held = await node.hold(40)
    await node.capture(held.hold_id, 30)
    await node.refund(held.hold_id, 5)
    await node.transfer(10, "ann", "bob")
    await node.adjust(7)
    await node.reverse(order("back", "a2"))
    await node.hold(3)
    page = await read(node, "2025-06")
    said = page.statement
    assert (said.earned, said.spent, said.expired, said.reversed) == (130, 25, 0, 30)
    assert (said.transferred, said.adjusted) == (-10, 7)
    assert said.opening == Balance()
    assert said.closing == Balance(available=69, held=3)
    assert moves(said) == said.closing.total == 72
    assert [each.sequence for each in page.entries] == list(range(said.entry_count, 0, -1))
    assert (await read(node, "2025-06", "bob")).statement.transferred == 10


async def test_an_entry_belongs_to_the_month_of_its_booking_in_the_programs_zone(
    node: Node,
) -> None:
    """July of London begins an hour before that of Greenwich."""
    await node.enroll("ann")
    node.clock.advance(at("2025-06-30T22:59:59.999999+00:00"))
    await node.credit(1)
    node.clock.advance(at("2025-06-30T23:00:00+00:00"))
    await node.credit(20)
    june, july = [(await read(node, month)).statement for month in ("2025-06", "2025-07")]
    assert (june.earned, july.earned) == (1, 20)
    assert june.end_time == july.start_time == at("2025-06-30T23:00:00+00:00")
    assert june.closing == july.opening == Balance(available=1)


async def something(
    node: Node, number: int, bought: list[str], between: Callable[[int, int], int]
) -> None:
    match between(0, 6):
        case 0 | 1:
            name = f"a{number}"
            lines = [(1, between(100, 20_000))]
            await node.record(purchase(name, "ann", lines, occurred=node.clock.now()))
            bought.append(name)
        case 2:
            await node.transfer(
                between(1, 30), *(("ann", "bob") if between(0, 2) else ("bob", "ann"))
            )
        case 3:
            await node.adjust(between(-20, 20) or 1)
        case 4 if bought:
            name = bought.pop()
            await node.reverse(order(f"b-{name}", name, occurred=node.clock.now()))
        case _:
            held = await node.hold(between(1, 20))
            if between(0, 10) < 7:
                await node.capture(held.hold_id, between(1, held.points + 1))


@pytest.mark.parametrize("seed", [1, 2])
async def test_months_chain_and_add_up_whatever_happens_in_them(node: Node, seed: int) -> None:
    ids = SeededIds(seed)

    def between(low: int, high: int) -> int:
        return low + int(ids.fraction() * (high - low))

    await node.enroll("ann")
    await node.enroll("bob")
    bought: list[str] = []
    months = ["2025-06", "2025-07", "2025-08", "2025-09", "2025-10", "2025-11"]
    closed: list[StatementPage] = []
    for number in range(40):
        with suppress(errors.Refusal):  # not enough points: the next one
            await something(node, number, bought, between)
        node.clock.advance(node.clock.now() + timedelta(hours=between(1, 160)))
        over = [each for each in months if await is_over(node, each)]
        if len(over) > len(closed):
            closed.append(await read(node, over[len(closed)]))
    node.clock.advance(max(node.clock.now(), at("2025-11-30T00:00Z")))
    found = [(await read(node, month)).statement for month in months]
    for one, other in pairwise(found):
        assert one.closing == other.opening
        assert one.end_time == other.start_time
    for each in found:
        assert each.opening.total + moves(each) == each.closing.total
    wallet = await node.wallet()
    assert found[0].opening == Balance()
    assert sum(each.entry_count for each in found) == wallet.sequence
    last = found[-1].closing
    assert (last.available, last.pending) == (wallet.available, wallet.pending)
    assert (last.held, last.debt) == (wallet.held, wallet.debt)
    assert len(closed) >= 2
    for page in closed:  # a month that is over says for ever what it said first
        assert await read(node, page.statement.month) == page


async def is_over(node: Node, month: str) -> bool:
    try:
        return (await read(node, month)).statement.end_time <= node.clock.now()
    except MonthNotBegun:
        return False


async def test_the_entries_of_a_month_come_in_pages(node: Node) -> None:
    await node.enroll("ann")
    await node.credit(1)
    await node.advance(days=30)
    for points in range(5):
        await node.credit(points + 1)
    first = await read(node, "2025-07", size=2)
    second = await read(node, "2025-07", size=2, token=first.next_page_token)
    third = await read(node, "2025-07", size=2, token=second.next_page_token)
    sequences = [each.sequence for page in (first, second, third) for each in page.entries]
    assert sequences == [6, 5, 4, 3, 2]
    assert third.next_page_token == ""
    assert first.statement == third.statement
    with pytest.raises(errors.InvalidPageToken):
        await read(node, "2025-06", token=first.next_page_token)


async def test_a_month_without_entries_opens_and_closes_alike(node: Node) -> None:
    await node.enroll("ann")
    await node.credit(9)
    node.clock.advance(at("2099-12-01T00:00Z"))
    for month, points in (("2025-05", 0), ("2025-07", 9), ("1999-12", 0), ("2099-12", 9)):
        page = await read(node, month)
        assert (page.statement.opening.total, page.statement.closing.total) == (points, points)
        assert page.entries == ()
    with pytest.raises(errors.MemberNotFound):
        await read(node, "2025-06", "zoe")


def test_a_year_ends_with_december() -> None:
    assert statements.day_after(statements.first_day("2025-12")).isoformat() == "2026-01-01"
    assert statements.day_after(statements.first_day("2025-11")).isoformat() == "2025-12-01"


async def test_a_month_that_has_not_begun_in_the_programs_zone_has_no_statement(
    node: Node,
) -> None:
    await node.apply(time_zone="Asia/Shanghai")
    await node.record(purchase("a1", lines=[(1, 500)]))
    begin = at("2025-07-01T00:00+08:00")
    node.clock.advance(begin - timedelta(microseconds=1))
    with pytest.raises(MonthNotBegun, match=r"month 2025-07 begins at 2025-06-30 16:00:00\+00:00"):
        await read(node, "2025-07")
    node.clock.advance(begin)
    assert (await read(node, "2025-07")).statement.opening == Balance(available=5)


async def test_a_merged_member_s_statement_is_that_of_the_other(
    database_url: str, tmp_path: Path
) -> None:
    async with calling(database_url, tmp_path) as caller:
        await caller.buy("p1", "ann")
        await caller.buy("p2", "bob", 2_000)
        await caller.merge("ann", "bob")
        stub = StatementServiceStub(caller.channel)
        request = pb.GetStatementRequest(program_id=PROGRAM, member_id="ann", month="2025-06")
        found = await stub.GetStatement(request)
        assert found.statement.points_earned == 20
        assert found.statement.points_transferred == 10
        assert found.statement.closing.points_total == 30
        assert len(found.entries) == found.statement.entry_count
        await caller.erase("bob")
        assert await refused(stub.GetStatement(request)) == ("NOT_FOUND", "MEMBER_NOT_FOUND")
        request.month = "2025-13"
        code, reason = await refused(stub.GetStatement(request))
        assert (code, reason) == ("INVALID_ARGUMENT", "FIELD_VIOLATIONS")
