"""Everything that is stored of a member is told to it: also referrals, codes and statements."""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from guerdon.earning.v1 import referral_pb2
from services.earning.domain import MemberId, ProgramId
from services.earning.queries_exports import of_months
from services.earning.queries_members import MemberQueries
from services.earning.statements import Statement
from tests.earning.callers import Caller, calling
from tests.earning.nodes import PROGRAM, Node

STATE = referral_pb2.Referral.State
POLICY = {"referrer_points": 100, "friend_points": 50, "activity_types": ["purchase"]}


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(database_url, tmp_path, referral=POLICY) as made:
        yield made


async def referrals(caller: Caller, member_id: str) -> list[tuple[str, str, int]]:
    return [
        (each.friend_member_id, each.referrer_member_id, each.state)
        for piece in await caller.export(member_id)
        for each in piece.referrals
    ]


async def codes(caller: Caller, member_id: str) -> list[str]:
    return [code for piece in await caller.export(member_id) for code in piece.referral_codes]


async def test_an_export_tells_how_a_member_came_and_whom_it_brought_and_names_nobody_else(
    caller: Caller,
) -> None:
    for name in ("ann", "bob", "cid", "dan"):
        await caller.enroll(name)
    await caller.come_by("ann", "bob")
    await caller.buy("first-1", "bob")
    await caller.come_by("bob", "cid")
    assert await referrals(caller, "bob") == [
        ("bob", "", STATE.STATE_REWARDED),
        ("", "bob", STATE.STATE_CLAIMED),
    ]
    assert await codes(caller, "bob") == [await caller.code("bob")]
    assert await referrals(caller, "dan") == []
    assert await codes(caller, "dan") == []
    text = "".join(str(piece) for piece in await caller.export("bob"))
    assert not [name for name in ("ann", "cid", "dan") if f'"{name}"' in text]


async def test_what_was_merged_into_a_member_is_told_with_it(caller: Caller) -> None:
    for name in ("ann", "bob", "old", "cid"):
        await caller.enroll(name)
    given = [await caller.code(name) for name in ("old", "bob")]
    await caller.come_by("ann", "old")
    await caller.buy("first-1", "old")
    await caller.come_by("old", "cid")
    await caller.merge("old", "bob")
    assert await referrals(caller, "bob") == [
        ("bob", "", STATE.STATE_REWARDED),
        ("", "bob", STATE.STATE_CLAIMED),
    ]
    assert sorted(await codes(caller, "bob")) == sorted(given)
    told = [each for piece in await caller.export("bob") for each in piece.statements]
    moved = sorted((each.points_earned, each.points_transferred) for each in told)
    assert moved == [(0, 60), (60, -60)]


async def test_members_who_became_one_are_told_their_referral_once(caller: Caller) -> None:
    for name in ("ann", "bob"):
        await caller.enroll(name)
    await caller.come_by("ann", "bob")
    await caller.merge("bob", "ann")
    assert await referrals(caller, "ann") == [("ann", "ann", STATE.STATE_CLAIMED)]


async def test_an_export_has_the_statement_of_each_month_in_which_something_was_booked(
    node: Node,
) -> None:
    """July of London begins an hour before that of Greenwich; from July to May nothing happens."""
    await node.enroll("ann")
    await node.enroll("bob")
    instants = [
        "2025-06-30T22:59:59+00:00",
        "2025-06-30T23:00:00+00:00",
        "2026-05-02T00:00:00+00:00",
        "2026-06-30T22:59:59+00:00",
    ]
    for number, instant in enumerate(instants):
        node.clock.advance(datetime.fromisoformat(instant))
        await node.credit(10**number)
    told = await statements(node, "ann")
    assert [(each.month, each.earned, each.opening.total) for each in told] == [
        ("2025-06", 1, 0),
        ("2025-07", 10, 1),
        ("2026-05", 100, 11),
        ("2026-06", 1_000, 111),
    ]
    assert await statements(node, "bob") == []
    wallet = await node.wallet("ann")
    for size in (1, 2, 3, 4):
        pages = of_months(node.database, node.programs, wallet, size)
        pieces = [piece async for piece in pages]
        assert [each for piece in pieces for each in piece] == told
        assert max(len(piece) for piece in pieces) == size


async def statements(node: Node, member_id: str) -> list[Statement]:
    queries = MemberQueries(node.database, node.programs, node.clock)
    pieces = queries.export(ProgramId(PROGRAM), MemberId(member_id))
    return [each async for piece in pieces for each in piece.statements]
