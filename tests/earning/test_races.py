"""Many callers at once: nothing is lost, nothing is spent twice, a key decides once."""

import asyncio

from services.earning import tables, wire
from services.earning.domain import Hold
from services.earning.refusals import InsufficientPoints
from shared.work import Outcome
from tests.earning.nodes import PROGRAM, Node, purchase


async def test_no_activity_of_64_callers_on_one_wallet_is_lost(node: Node, second: Node) -> None:
    nodes = (node, second)

    async def caller(number: int) -> None:
        for step in range(10):
            activity = purchase(f"a-{number}-{step}", lines=[(1, 100 * (number + 1))])
            await nodes[number % 2].record(activity)

    await asyncio.gather(*(caller(number) for number in range(64)))
    wallet = await node.wallet()
    assert (wallet.sequence, wallet.available) == (640, 10 * sum(range(1, 65)))
    assert await node.verify() == []


async def test_spends_of_twice_the_balance_take_exactly_the_balance(
    node: Node, second: Node
) -> None:
    await node.record(purchase("a-1", lines=[(1, 100_000)]))
    nodes = (node, second)
    results = await asyncio.gather(
        *(nodes[at % 2].hold(50, request_id=f"h-{at}") for at in range(40)),
        return_exceptions=True,
    )
    held = [each for each in results if isinstance(each, Hold)]
    assert len(held) == 20
    assert sum(isinstance(each, InsufficientPoints) for each in results) == 20
    await asyncio.gather(*(nodes[at % 2].capture(each.hold_id) for at, each in enumerate(held)))
    wallet = await node.wallet()
    assert (wallet.available, wallet.held, wallet.spent) == (0, 0, 1_000)
    assert await node.verify() == []


async def test_50_copies_of_one_request_are_decided_once_and_answered_alike(
    node: Node, second: Node
) -> None:
    command = wire.record_from_proto(PROGRAM, purchase("a-1", lines=[(1, 700)], receipt="r"))
    nodes = (node, second)
    outcomes = await asyncio.gather(
        *(nodes[at % 2].group_commit.submit(command) for at in range(50))
    )
    assert {(repr(each.answer), each.token) for each in outcomes} == {
        (repr(outcomes[0].answer), outcomes[0].token)
    }
    assert sum(not each.repeated for each in outcomes) == 1
    assert (await node.wallet()).sequence == 1


async def test_a_newcomer_whom_many_activities_name_is_enrolled_once(
    node: Node, second: Node
) -> None:
    nodes = (node, second)
    await asyncio.gather(
        *(nodes[at % 2].record(purchase(f"a-{at}", lines=[(1, 100)])) for at in range(40))
    )
    async with node.database.reading() as tx:
        members = await tx.fetch(tables.members.select())
        identifiers = await tx.fetch(tables.member_identifiers.select())
    assert (len(members), len(identifiers)) == (1, 1)
    assert (await node.wallet()).available == 40


async def test_one_of_many_copies_of_a_receipt_is_credited(node: Node, second: Node) -> None:
    nodes = (node, second)
    commands = [
        wire.record_from_proto(
            PROGRAM, purchase(f"a-{at}", f"m-{at % 7}", lines=[(1, 100)], receipt="0815")
        )
        for at in range(30)
    ]
    results = await asyncio.gather(
        *(nodes[at % 2].group_commit.submit(each) for at, each in enumerate(commands)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Outcome) for each in results) == 1
    assert await node.verify() == []
