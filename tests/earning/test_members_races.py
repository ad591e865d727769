"""Many callers at once: an identifier has one owner, and nothing slips past a state."""

import asyncio
from collections.abc import AsyncIterator, Awaitable

import pytest

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import member_pb2
from guerdon.earning.v1 import member_service_pb2 as members_pb
from services.earning import wire, wire_members
from services.earning.member_records import MemberRecord, MemberState
from services.earning.refusals import IdentifierTaken, MemberAlreadyExists, MemberFrozen
from shared import errors
from shared.clock import SimulatedClock
from shared.database import Database
from tests.conftest import open_database
from tests.earning.callers import Key
from tests.earning.nodes import PROGRAM, START, Node, purchase


@pytest.fixture
async def nodes(node: Node, database: Database) -> AsyncIterator[tuple[Node, Node]]:
    """Two processes on one database; on SQLite there is one, so it is the same."""
    if database.dialect == "sqlite":
        yield node, node
        return
    other = await open_database(database.url)
    made = Node(other, SimulatedClock(START), seed=2)
    yield node, made
    await made.group_commit.close()
    await other.dispose()


async def told(call: Awaitable[object]) -> object:
    """The answer of a call, or its refusal."""
    try:
        return await call
    except errors.Refusal as refusal:
        return refusal


def key(node: Node) -> Key:
    return Key(request_id=node.request_id(), program_id=PROGRAM)


def enroll(node: Node, member_id: str) -> Awaitable[object]:
    request = pb.EnrollMemberRequest(**key(node), member_id=member_id)
    return told(node.answer(wire.enroll_from_proto(request)))


def add(node: Node, member_id: str, identifier: str) -> Awaitable[object]:
    request = members_pb.AddIdentifierRequest(
        **key(node),
        member_id=member_id,
        identifier=member_pb2.MemberIdentifier(kind="card", identifier=identifier),
    )
    return told(node.answer(wire_members.command_from_proto(request)))


def change(
    node: Node,
    request: type[
        members_pb.FreezeMemberRequest
        | members_pb.UnfreezeMemberRequest
        | members_pb.EraseMemberRequest
    ],
    member_id: str = "ann",
) -> Awaitable[object]:
    made = request(**key(node), member_id=member_id)
    return told(node.answer(wire_members.command_from_proto(made)))


async def test_of_64_callers_who_add_one_identifier_one_gets_it(nodes: tuple[Node, Node]) -> None:
    await asyncio.gather(*(enroll(nodes[0], f"m-{number}") for number in range(64)))
    answers = await asyncio.gather(
        *(add(nodes[number % 2], f"m-{number}", "card") for number in range(64))
    )
    winners = [each for each in answers if isinstance(each, MemberRecord)]
    assert len(winners) == 1
    assert sum(isinstance(each, IdentifierTaken) for each in answers) == 63
    await nodes[0].record(purchase("a-1", "card", lines=[(1, 1_000)]))
    assert (await nodes[0].wallet(winners[0].member_id)).available == 10


async def test_an_identifier_that_is_added_and_enrolled_at_once_has_one_owner(
    nodes: tuple[Node, Node],
) -> None:
    await enroll(nodes[0], "ann")
    for number in range(16):
        card = f"card-{number}"
        added, enrolled, recorded = await asyncio.gather(
            add(nodes[number % 2], "ann", card),
            enroll(nodes[1 - number % 2], card),
            told(nodes[1].record(purchase(f"a-{number}", card, lines=[(1, 100)]))),
        )
        assert not isinstance(recorded, errors.Refusal)
        assert isinstance(added, MemberRecord | IdentifierTaken)
        assert isinstance(enrolled, MemberRecord | MemberAlreadyExists)
        assert not (isinstance(added, MemberRecord) and isinstance(enrolled, MemberRecord))
    assert await nodes[0].verify() == []


async def test_no_activity_earns_after_the_freeze_was_answered(nodes: tuple[Node, Node]) -> None:
    await nodes[0].record(purchase("first", lines=[(1, 100)]))
    answered = asyncio.Event()
    late: list[object] = []

    async def buyer(number: int) -> None:
        for step in range(12):
            after = answered.is_set()
            activity = purchase(f"a-{number}-{step}", lines=[(1, 100)])
            answer = await told(nodes[number % 2].record(activity))
            if after:
                late.append(answer)

    async def freezer() -> None:
        await asyncio.sleep(0.05)
        frozen = await change(nodes[1], members_pb.FreezeMemberRequest)
        assert isinstance(frozen, MemberRecord)
        answered.set()

    await asyncio.gather(freezer(), *(buyer(number) for number in range(16)))
    assert late
    assert all(isinstance(each, MemberFrozen) for each in late)
    assert await nodes[0].verify() == []


async def test_an_erasure_at_the_same_time_as_activities_leaves_the_books_right(
    nodes: tuple[Node, Node],
) -> None:
    await nodes[0].record(purchase("first", lines=[(1, 100)]))
    answers = await asyncio.gather(
        *(
            told(nodes[number % 2].record(purchase(f"a-{number}", lines=[(1, 100)])))
            for number in range(32)
        ),
        change(nodes[1], members_pb.EraseMemberRequest),
    )
    erased = answers[-1]
    assert isinstance(erased, MemberRecord)
    assert erased.state is MemberState.ERASED
    # Those that came later enrolled somebody else under the name that had become free.
    assert not any(isinstance(each, errors.Refusal) for each in answers)
    assert await nodes[0].verify() == []


async def test_64_freezes_and_unfreezes_at_once_end_in_one_state_everywhere(
    nodes: tuple[Node, Node],
) -> None:
    await nodes[0].record(purchase("first", lines=[(1, 100)]))
    kinds = (members_pb.FreezeMemberRequest, members_pb.UnfreezeMemberRequest)
    await asyncio.gather(*(change(nodes[at % 2], kinds[at // 2 % 2]) for at in range(64)))
    assert await nodes[0].verify() == []  # a wallet is frozen as its member is
