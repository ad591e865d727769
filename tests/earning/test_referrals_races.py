"""Referrals when many want the same at once, and when the process dies: once, or not at all."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import cast

import grpc
import pytest
import sqlalchemy as sa

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import member_service_pb2 as members
from guerdon.earning.v1 import referral_pb2
from guerdon.earning.v1 import referral_service_pb2 as referrals_pb
from services.earning import tables, wire, wire_members, wire_referrals
from services.earning.commands import Command
from services.earning.referral_records import Referral, ReferralCode, ReferralState
from services.earning.refusals_referrals import ReferralCycle
from services.earning.world import World
from shared.batches import Run
from shared.clock import SimulatedClock
from shared.database import Database, Tx
from shared.errors import Internal
from shared.rpc.client import refusal_of
from tests.conftest import open_database
from tests.earning.callers import Caller, calling
from tests.earning.nodes import PROGRAM, START, Node, order, purchase

STATE = referral_pb2.Referral.State
CAP = 10
POLICY = {
    "referrer_points": 100,
    "friend_points": 50,
    "activity_types": ["purchase"],
    "max_per_referrer": CAP,
}
FRIENDS = [f"f-{number}" for number in range(64)]


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(database_url, tmp_path, referral=POLICY) as made:
        yield made


@pytest.fixture
async def nodes(node: Node, database: Database) -> AsyncIterator[tuple[Node, Node]]:
    """Two processes on one database; on SQLite there is one, so both are the same."""
    await node.apply(referral=POLICY)
    if database.dialect == "sqlite":
        yield node, node
        return
    other = await open_database(database.url)
    made = Node(other, SimulatedClock(START), seed=2)
    yield node, made
    await made.group_commit.close()
    await other.dispose()


async def told(call: Awaitable[object]) -> str:
    """The reason of a call's refusal, "" when it was taken."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return refusal_of(error).reason
    return ""


async def enroll(node: Node, *names: str) -> None:
    for name in names:
        request = pb.EnrollMemberRequest(
            request_id=node.request_id(), program_id=PROGRAM, member_id=name
        )
        await node.answer(wire.enroll_from_proto(request))


async def code(node: Node, name: str) -> str:
    request = referrals_pb.GetReferralCodeRequest(program_id=PROGRAM, member_id=name)
    command = wire_referrals.code_from_proto(request, node.ids.secret(16))
    return cast("ReferralCode", await node.answer(command)).code


async def claim(node: Node, name: str, given: str) -> Referral:
    request = referrals_pb.ClaimReferralRequest(
        request_id=node.request_id(), program_id=PROGRAM, member_id=name, code=given
    )
    command = wire_referrals.claim_from_proto(request, node.ids.new())
    return cast("Referral", await node.answer(command))


# Callers of one service ---------------------------------------------------------------------------


async def test_of_64_claims_of_one_friend_exactly_one_is_taken(caller: Caller) -> None:
    await asyncio.gather(*(caller.enroll(name) for name in ("ann", "bob", "cid")))
    codes = [await caller.code(name) for name in ("ann", "bob")]
    answers = await asyncio.gather(
        *(told(caller.claim_code(codes[number % 2], "cid")) for number in range(64))
    )
    assert sorted(answers) == [""] + ["ALREADY_REFERRED"] * 63
    found = await caller.referral("cid")
    assert found.referrer_member_id == ("ann", "bob")[answers.index("") % 2]


async def test_64_first_calls_for_a_code_give_the_same_one(caller: Caller) -> None:
    await caller.enroll("ann")
    codes = await asyncio.gather(*(caller.code("ann") for _ in range(64)))
    assert len(set(codes)) == 1


async def test_of_64_friends_at_once_the_referrer_is_rewarded_for_exactly_10(
    caller: Caller,
) -> None:
    await asyncio.gather(*(caller.enroll(name) for name in ("ann", *FRIENDS)))
    given = await caller.code("ann")
    await asyncio.gather(*(caller.claim_code(given, name) for name in FRIENDS))
    await asyncio.gather(*(caller.buy(f"first-{name}", name) for name in FRIENDS))
    found = Counter([(await caller.referral(name)).state for name in FRIENDS])
    assert found == {STATE.STATE_REWARDED: CAP, STATE.STATE_CAPPED: 64 - CAP}
    assert (await caller.wallet("ann")).points_available == 100 * CAP
    assert {(await caller.wallet(name)).points_available for name in FRIENDS} == {60}
    assert await caller.verified() == []


async def test_the_first_activity_sent_64_times_rewards_once(caller: Caller) -> None:
    await asyncio.gather(*(caller.enroll(name) for name in ("ann", "bob")))
    await caller.come_by("ann", "bob")
    assert set(await asyncio.gather(*(caller.buy("first-1", "bob") for _ in range(64)))) == {10}
    assert [len(await caller.entries(name)) for name in ("ann", "bob")] == [1, 2]
    assert await caller.verified() == []


# Two processes ------------------------------------------------------------------------------------


async def test_claims_purchases_and_returns_at_once_in_two_processes_agree(
    nodes: tuple[Node, Node],
) -> None:
    names = FRIENDS[:32]
    await enroll(nodes[0], "ann", *names)
    given = await code(nodes[0], "ann")

    async def friend(number: int, name: str) -> None:
        at, other = nodes[number % 2], nodes[1 - number % 2]
        await asyncio.gather(
            claim(at, name, given),
            other.record(purchase(f"first-{name}", name, lines=[(1, 1_000)])),
            return_exceptions=True,
        )
        await other.record(purchase(f"second-{name}", name, lines=[(1, 1_000)]))
        if number % 4 == 0:
            await asyncio.gather(
                at.reverse(order(f"back-1-{name}", f"first-{name}")),
                other.reverse(order(f"back-2-{name}", f"second-{name}")),
            )

    await asyncio.wait_for(
        asyncio.gather(*(friend(number, name) for number, name in enumerate(names))), timeout=120
    )
    assert await nodes[0].verify() == []
    wallet = await nodes[0].wallet("ann")
    assert wallet.available <= 100 * CAP
    assert wallet.debt == 0


async def test_claims_that_would_close_a_circle_together_never_all_succeed(
    nodes: tuple[Node, Node],
) -> None:
    for round_ in range(4):
        size = (2, 3, 4, 16)[round_]
        names = [f"m-{round_}-{number}" for number in range(size)]
        await enroll(nodes[0], *names)
        codes = [await code(nodes[0], name) for name in names]
        answers = await asyncio.gather(
            *(claim(nodes[at % 2], names[at], codes[(at + 1) % size]) for at in range(size)),
            return_exceptions=True,
        )
        assert sum(isinstance(each, Referral) for each in answers) == size - 1
        assert sum(isinstance(each, ReferralCycle) for each in answers) == 1


async def test_friends_who_buy_while_their_referrers_are_merged_reward_whoever_stays(
    nodes: tuple[Node, Node],
) -> None:
    names = FRIENDS[:8]
    await enroll(nodes[0], "ann", "old", *names)
    given = await code(nodes[0], "old")
    for name in names:
        await claim(nodes[0], name, given)
    merge = members.MergeMembersRequest(
        request_id="merge-1", program_id=PROGRAM, source_member_id="old", target_member_id="ann"
    )
    await asyncio.gather(
        nodes[1].answer(wire_members.command_from_proto(merge)),
        *(
            nodes[at % 2].record(purchase(f"first-{name}", name, lines=[(1, 1_000)]))
            for at, name in enumerate(names)
        ),
    )
    assert (await nodes[0].wallet("ann")).available == 100 * len(names)
    assert await nodes[0].verify() == []


# A process that dies ------------------------------------------------------------------------------


async def test_a_crash_before_the_commit_leaves_neither_the_activity_nor_its_rewards(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = nodes[0]
    await enroll(node, "ann", "bob")
    await claim(node, "bob", await code(node, "ann"))
    saved = node.work.save

    async def dies(tx: Tx, world: World, run: Run[Command]) -> None:
        await saved(tx, world, run)
        raise RuntimeError("killed")

    first = purchase("first-1", "bob", lines=[(1, 1_000)])
    with monkeypatch.context() as patched:
        patched.setattr(node.work, "save", dies)
        with pytest.raises(Internal):
            await node.record(first)
    assert [(await node.wallet(name)).sequence for name in ("ann", "bob")] == [0, 0]
    assert await node.verify() == []
    await node.record(first)
    await node.record(first)
    wallets = [await node.wallet(name) for name in ("ann", "bob")]
    assert [(each.available, each.sequence) for each in wallets] == [(100, 1), (60, 2)]
    with monkeypatch.context() as patched:
        patched.setattr(node.work, "save", dies)
        with pytest.raises(Internal):
            await node.reverse(order("back-1", "first-1"))
    assert [(await node.wallet(name)).available for name in ("ann", "bob")] == [100, 60]
    assert await node.verify() == []
    await node.reverse(order("back-1", "first-1"))
    assert [(await node.wallet(name)).available for name in ("ann", "bob")] == [0, 0]
    assert await node.verify() == []


async def test_what_one_batch_claims_earns_and_returns_comes_out_as_one_after_the_other(
    nodes: tuple[Node, Node],
) -> None:
    node = nodes[0]
    await enroll(node, "ann")
    given = await code(node, "ann")
    enrol = pb.EnrollMemberRequest(request_id="e-1", program_id=PROGRAM, member_id="bob")
    asked = referrals_pb.ClaimReferralRequest(
        request_id="c-1", program_id=PROGRAM, member_id="bob", code=given
    )
    late = referrals_pb.ClaimReferralRequest(
        request_id="c-2", program_id=PROGRAM, member_id="cid", code=given
    )
    results = await node.results(
        [
            wire.enroll_from_proto(enrol),
            wire_referrals.claim_from_proto(asked, node.ids.new()),
            wire.record_from_proto(PROGRAM, purchase("first-1", "bob", lines=[(1, 1_000)])),
            wire.reverse_from_proto(PROGRAM, order("back-1", "first-1")),
            wire.record_from_proto(PROGRAM, purchase("second-1", "bob", lines=[(1, 1_000)])),
            wire.record_from_proto(PROGRAM, purchase("first-2", "cid", lines=[(1, 1_000)])),
            wire_referrals.claim_from_proto(late, node.ids.new()),
        ]
    )
    reasons = [getattr(each, "reason", "") for each in results]
    assert reasons == [""] * 6 + ["NOT_A_NEWCOMER"]
    wallets = [await node.wallet(name) for name in ("ann", "bob", "cid")]
    assert [(each.available, each.sequence) for each in wallets] == [(0, 2), (10, 5), (10, 1)]
    assert await node.verify() == []


# Programs without ---------------------------------------------------------------------------------


async def test_a_program_without_referrals_asks_for_none_of_their_tables(node: Node) -> None:
    async with node.database.transaction() as tx:
        for table in (tables.referral_entries, tables.referrals, tables.referral_codes):
            await tx.core.execute(sa.schema.DropTable(table))
    await node.record(purchase("a-1", lines=[(1, 1_000)]))
    hold = await node.hold(5)
    await node.capture(hold.hold_id)
    await node.reverse(order("r-1", "a-1"))
    assert (await node.wallet()).debt == 5


def test_the_states_of_referrals_are_those_of_the_proto() -> None:
    names = {f"STATE_{each.name}" for each in ReferralState}
    assert names == set(STATE.keys()) - {"STATE_UNSPECIFIED"}
