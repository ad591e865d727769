"""Households when many want the same at once, and when the process dies: once, or not at all."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import cast

import grpc
import pytest
import sqlalchemy as sa

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import household_service_pb2 as households_pb
from guerdon.earning.v1 import member_service_pb2 as members_pb
from services.earning import tables, wire, wire_households, wire_members
from services.earning.commands import Command
from services.earning.domain import Hold
from services.earning.household_records import Household, Invitation
from services.earning.refusals import InsufficientPoints
from services.earning.refusals_households import NotInHousehold
from services.earning.world import World
from shared.batches import Run
from shared.clock import SimulatedClock
from shared.database import Database, Tx
from shared.errors import Internal, MemberNotFound, Refusal
from shared.rpc.client import refusal_of
from tests.conftest import open_database
from tests.earning.callers import Caller, calling
from tests.earning.nodes import PROGRAM, START, Node, order, purchase
from tests.earning.test_referrals_races import enroll, told

CALLERS = 64
POLICY = {"max_members": 4, "cool_off_days": 30}
JOINERS = [f"m-{number}" for number in range(CALLERS)]


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(database_url, tmp_path, households=POLICY) as made:
        yield made


@pytest.fixture
async def nodes(node: Node, database: Database) -> AsyncIterator[tuple[Node, Node]]:
    """Two processes on one database; on SQLite there is one, so both are the same."""
    await node.apply(households=POLICY)
    if database.dialect == "sqlite":
        yield node, node
        return
    other = await open_database(database.url)
    made = Node(other, SimulatedClock(START), seed=2)
    yield node, made
    await made.group_commit.close()
    await other.dispose()


async def held(call: Awaitable[object]) -> str:
    """The hold that a call gave, or the reason of its refusal."""
    try:
        return cast("Hold", await call).hold_id
    except grpc.aio.AioRpcError as error:
        return refusal_of(error).reason


async def found(node: Node, head: str) -> str:
    request = households_pb.CreateHouseholdRequest(
        request_id=node.request_id(), program_id=PROGRAM, member_id=head
    )
    command = wire_households.create_from_proto(request, node.ids.new())
    return cast("Household", await node.answer(command)).household_id


async def invite(node: Node, household_id: str) -> str:
    request = households_pb.InviteMemberRequest(
        request_id=node.request_id(), program_id=PROGRAM, household_id=household_id
    )
    command = wire_households.invite_from_proto(request, node.ids.secret(16))
    return cast("Invitation", await node.answer(command)).code


def accepting(node: Node, code: str, name: str) -> Command:
    request = households_pb.AcceptInvitationRequest(
        request_id=node.request_id(), program_id=PROGRAM, member_id=name, code=code
    )
    return wire_households.accept_from_proto(request)


def leaving(node: Node, name: str) -> Command:
    request = households_pb.LeaveHouseholdRequest(
        request_id=node.request_id(), program_id=PROGRAM, member_id=name
    )
    return wire_households.leave_from_proto(request)


def pooling(node: Node, name: str, points: int) -> Command:
    request = pb.HoldPointsRequest(
        request_id=node.request_id(),
        program_id=PROGRAM,
        member_id=name,
        points=points,
        from_household=True,
    )
    return wire.hold_from_proto(request, node.ids.new())


async def house(node: Node, *names: str) -> str:
    household_id = await found(node, names[0])
    for name in names[1:]:
        await node.answer(accepting(node, await invite(node, household_id), name))
    return household_id


async def tried(call: Awaitable[object]) -> str:
    """The reason of a refusal, "" when it was taken."""
    try:
        await call
    except Refusal as refusal:
        return refusal.reason
    return ""


# Callers of one service ---------------------------------------------------------------------------


async def test_of_64_who_accept_one_invitation_exactly_one_joins(caller: Caller) -> None:
    await asyncio.gather(*(caller.enroll(name) for name in ("ann", *JOINERS)))
    code = await caller.invite(await caller.found("ann"))
    answers = await asyncio.gather(*(told(caller.accept(code, name)) for name in JOINERS))
    assert Counter(answers) == {"": 1, "INVITATION_NOT_FOUND": CALLERS - 1}
    joined = (await caller.home("ann")).household.members
    assert [each.member_id for each in joined] == ["ann", JOINERS[answers.index("")]]
    assert await caller.verified() == []


async def test_of_64_who_want_the_last_places_as_many_join_as_there_are(caller: Caller) -> None:
    await asyncio.gather(*(caller.enroll(name) for name in ("ann", *JOINERS)))
    household_id = await caller.found("ann")
    codes = await asyncio.gather(*(caller.invite(household_id) for _ in JOINERS))
    answers = await asyncio.gather(
        *(told(caller.accept(code, name)) for code, name in zip(codes, JOINERS, strict=True))
    )
    assert Counter(answers) == {"": 3, "HOUSEHOLD_FULL": CALLERS - 3}
    assert len((await caller.home("ann")).household.members) == 4
    assert await caller.verified() == []


async def test_of_64_who_make_one_member_a_household_exactly_one_does(caller: Caller) -> None:
    await caller.enroll("ann")
    answers = await asyncio.gather(*(told(caller.found("ann")) for _ in range(CALLERS)))
    assert Counter(answers) == {"": 1, "ALREADY_IN_HOUSEHOLD": CALLERS - 1}


async def test_64_holds_of_three_members_at_once_take_what_there_is_and_no_more(
    caller: Caller,
) -> None:
    names = ("ann", "bob", "cy")
    for name in names:
        await caller.enroll(name)
        await caller.credit(100, name)
    await caller.house(*names)
    answers = await asyncio.gather(
        *(held(caller.pool(10, names[number % 3])) for number in range(CALLERS))
    )
    assert answers.count("INSUFFICIENT_POINTS") == CALLERS - 30
    assert [(await caller.wallet(name)).points_available for name in names] == [0, 0, 0]
    assert [(await caller.wallet(name)).points_held for name in names] == [100, 100, 100]
    assert await caller.verified() == []


# Two processes ------------------------------------------------------------------------------------


async def test_holds_of_the_pool_and_of_each_member_at_once_in_two_processes_agree(
    nodes: tuple[Node, Node],
) -> None:
    names = ("ann", "bob", "cy")
    await enroll(nodes[0], *names)
    for name in names:
        await nodes[0].credit(100, name)
    await house(nodes[0], *names)

    async def spend(number: int) -> None:
        node, name = nodes[number % 2], names[number % 3]
        if number % 4 == 3:
            await tried(node.hold(7, name))
            return
        try:
            hold = cast("Hold", await node.answer(pooling(node, name, 11)))
        except InsufficientPoints:
            return
        other = nodes[1 - number % 2]
        if number % 3:
            await other.capture(hold.hold_id, 5)
            await node.refund(hold.hold_id, 3)

    await asyncio.wait_for(
        asyncio.gather(*(spend(number) for number in range(CALLERS))), timeout=120
    )
    assert await nodes[0].verify() == []
    wallets = [await nodes[0].wallet(name) for name in names]
    assert sum([each.available + each.held + each.spent for each in wallets]) == 300


async def test_members_that_come_and_go_while_others_spend_are_in_one_household_or_none(
    nodes: tuple[Node, Node],
) -> None:
    await enroll(nodes[0], "ann", "bob", *JOINERS[:16])
    homes = [await found(nodes[0], name) for name in ("ann", "bob")]
    for name in ("ann", "bob", *JOINERS[:16]):
        await nodes[0].credit(20, name)

    # Nobody is invited to a household that is full.
    invited = [[await invite(nodes[0], home) for home in homes] for _ in JOINERS[:16]]

    async def comes_and_goes(number: int, name: str) -> None:
        node, other = nodes[number % 2], nodes[1 - number % 2]
        codes = invited[number][:: -1 if number % 2 else 1]
        await asyncio.gather(
            *(
                tried(at.answer(accepting(at, code, name)))
                for at, code in zip((node, other), codes, strict=True)
            ),
        )
        await asyncio.gather(
            tried(node.answer(pooling(node, name, 30))),
            tried(other.answer(pooling(other, ("ann", "bob")[number % 2], 30))),
            *([tried(other.answer(leaving(other, name)))] if number % 3 else []),
        )

    everyone = (comes_and_goes(number, name) for number, name in enumerate(JOINERS[:16]))
    await asyncio.wait_for(asyncio.gather(*everyone), timeout=120)
    assert await nodes[0].verify() == []
    async with nodes[0].database.reading() as tx:
        rows = await tx.core.execute(
            sa.select(tables.household_members.c.household_id).where(
                tables.household_members.c.leave_time.is_(None)
            )
        )
        counted = Counter([row.household_id for row in rows])
    assert set(counted) == set(homes)
    assert max(counted.values()) <= 4


async def test_members_who_are_merged_while_their_household_spends_agree(
    nodes: tuple[Node, Node],
) -> None:
    names = ["ann", "bob", "cy"]
    spare = [f"s-{number}" for number in range(8)]
    await enroll(nodes[0], *names, *spare)
    await house(nodes[0], *names)
    for name in (*names, *spare):
        await nodes[0].credit(100, name)

    async def merges(number: int, source: str) -> None:
        merge = members_pb.MergeMembersRequest(
            request_id=f"merge-{number}",
            program_id=PROGRAM,
            source_member_id=source,
            target_member_id="cy",
        )
        await tried(nodes[number % 2].answer(wire_members.command_from_proto(merge)))

    async def spends(number: int) -> None:
        node, other = nodes[number % 2], nodes[1 - number % 2]
        try:
            hold = cast("Hold", await node.answer(pooling(node, names[number % 3], 5)))
        except (MemberNotFound, NotInHousehold):  # ann and bob may be no more
            return
        await other.capture(hold.hold_id)
        await node.refund(hold.hold_id, 2)

    await asyncio.wait_for(
        asyncio.gather(
            *(merges(number, name) for number, name in enumerate([*spare, "ann", "bob"])),
            *(spends(number) for number in range(24)),
        ),
        timeout=120,
    )
    assert await nodes[0].verify() == []


# A process that dies ------------------------------------------------------------------------------


async def test_a_crash_before_the_commit_leaves_all_wallets_as_they_were(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = nodes[0]
    await enroll(node, "ann", "bob")
    for name in ("ann", "bob"):
        await node.credit(10, name)
    await house(node, "ann", "bob")
    saved = node.work.save

    async def dies(tx: Tx, world: World, run: Run[Command]) -> None:
        await saved(tx, world, run)
        raise RuntimeError("killed")

    command = pooling(node, "ann", 15)
    with monkeypatch.context() as patched:
        patched.setattr(node.work, "save", dies)
        with pytest.raises(Internal):
            await node.answer(command)
    assert [(await node.wallet(name)).available for name in ("ann", "bob")] == [10, 10]
    assert await node.verify() == []
    first, again = await node.answer(command), await node.answer(command)
    assert first == again
    assert [(await node.wallet(name)).available for name in ("ann", "bob")] == [0, 5]
    assert await node.verify() == []


async def test_what_one_batch_does_comes_out_as_one_after_the_other(
    nodes: tuple[Node, Node],
) -> None:
    node = nodes[0]
    await enroll(node, "ann", "bob")
    await node.credit(10, "ann")
    await node.credit(10, "bob")
    code = await invite(node, await found(node, "ann"))
    results = await node.results(
        [
            pooling(node, "ann", 15),
            accepting(node, code, "bob"),
            pooling(node, "ann", 15),
            leaving(node, "bob"),
            pooling(node, "ann", 1),
            pooling(node, "bob", 1),
            accepting(node, code, "bob"),
        ]
    )
    assert [getattr(each, "reason", "") for each in results] == [
        "INSUFFICIENT_POINTS",
        "",
        "",
        "",
        "INSUFFICIENT_POINTS",
        "NOT_IN_HOUSEHOLD",
        "INVITATION_NOT_FOUND",
    ]
    assert [(await node.wallet(name)).available for name in ("ann", "bob")] == [0, 5]
    assert await node.verify() == []


# Programs without ---------------------------------------------------------------------------------


async def test_a_program_without_households_asks_for_none_of_their_tables(node: Node) -> None:
    async with node.database.transaction() as tx:
        for table in (
            tables.hold_shares,
            tables.household_invitations,
            tables.household_members,
            tables.households,
        ):
            await tx.core.execute(sa.schema.DropTable(table))
    await node.record(purchase("a-1", lines=[(1, 1_000)]))
    hold = await node.hold(5)
    await node.capture(hold.hold_id)
    await node.reverse(order("r-1", "a-1"))
    assert (await node.wallet()).debt == 5
