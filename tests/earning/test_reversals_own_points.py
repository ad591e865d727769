"""Returns that may only take the activity's own points find them wherever they went."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import member_service_pb2 as members_pb
from guerdon.earning.v1 import points_service_pb2 as points_pb
from guerdon.earning.v1 import referral_pb2
from guerdon.earning.v1 import referral_service_pb2 as referrals_pb
from services.earning import (
    ledger,
    ledger_transfers,
    pieces,
    wire,
    wire_members,
    wire_referrals,
)
from services.earning.domain import (
    CurrencyId,
    Entry,
    EntryType,
    Lot,
    MemberKey,
    ProgramId,
    Wallet,
)
from services.earning.expiry import plain
from services.earning.ledger import Cause, Movement
from services.earning.pieces import Piece
from services.earning.referral_records import ReferralCode
from shared.work import Outcome
from tests.earning.callers import Caller, calling
from tests.earning.nodes import PROGRAM, START, Node, order, purchase

STATE = referral_pb2.Referral.State
REFERRER, FRIEND = 100, 50
CAUSE = Cause(now=START, occurred_time=START)
PLAIN = plain(CurrencyId("points"))
ONLY_OWN = "REVERSAL_POLICY_ONLY_THIS_ACTIVITY"
POLICY = {"referrer_points": REFERRER, "friend_points": FRIEND, "activity_types": ["purchase"]}


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(
        database_url,
        tmp_path,
        referral=POLICY,
        reversal_policy=ONLY_OWN,
    ) as made:
        yield made


async def enrolled(caller: Caller, *names: str) -> None:
    for name in names:
        await caller.enroll(name)


async def available(caller: Caller, *members: str) -> list[int]:
    return [(await caller.wallet(each)).points_available for each in members]


# Rewards of referrals ----------------------------------------------------------------------------


async def test_a_reward_is_taken_back_though_its_member_was_merged(caller: Caller) -> None:
    await enrolled(caller, "ann", "bob", "eve")
    await caller.come_by("ann", "bob")
    await caller.buy("first-1", "bob")
    await caller.credit(7, "eve")
    await caller.merge("ann", "eve")
    assert await available(caller, "eve", "bob") == [7 + REFERRER, 10 + FRIEND]
    await caller.give_back("first-1")
    assert await available(caller, "eve", "bob") == [7, 0]
    found = await caller.referral("bob")
    assert (found.state, found.referrer_points_reversed) == (STATE.STATE_REVERSED, REFERRER)
    assert await caller.verified() == []


async def test_both_rewards_are_found_however_often_their_members_were_merged(
    caller: Caller,
) -> None:
    await enrolled(caller, "ann", "bob", "eve", "last")
    await caller.come_by("ann", "bob")
    await caller.buy("first-1", "bob")
    await caller.merge("ann", "eve")
    await caller.merge("bob", "eve")
    await caller.merge("eve", "last")
    await caller.credit(7, "last")
    assert await available(caller, "last") == [10 + REFERRER + FRIEND + 7]
    await caller.give_back("first-1")
    assert await available(caller, "last") == [7]
    assert await caller.verified() == []


async def test_a_reward_that_was_given_away_is_taken_back_once_it_has_come_back(
    caller: Caller,
) -> None:
    await enrolled(caller, "ann", "bob", "eve")
    await caller.come_by("ann", "bob")
    await caller.buy("first-1", "bob")
    await caller.transfer(60, "eve", "ann")
    await caller.transfer(20, "ann", "eve")
    assert await available(caller, "ann", "eve") == [60, 40]
    await caller.credit(7, "ann")
    await caller.give_back("first-1")
    assert await available(caller, "ann", "eve") == [7, 40]
    assert (await caller.referral("bob")).referrer_points_reversed == 60
    assert await caller.verified() == []


async def test_a_merge_and_a_return_at_once_take_the_reward_whichever_comes_first(
    caller: Caller,
) -> None:
    names = [f"{who}-{number}" for number in range(16) for who in ("ann", "bob", "eve")]
    await asyncio.gather(*(caller.enroll(name) for name in names))
    for number in range(16):
        await caller.come_by(f"ann-{number}", f"bob-{number}")
        await caller.buy(f"first-{number}", f"bob-{number}")
        await caller.credit(7, f"eve-{number}")
    calls: list[Awaitable[object]] = []
    for number in range(16):
        calls.append(caller.merge(f"ann-{number}", f"eve-{number}"))
        calls.append(caller.give_back(f"first-{number}"))
    await asyncio.gather(*calls)
    for number in range(16):
        assert await available(caller, f"eve-{number}", f"bob-{number}") == [7, 0]
    assert await caller.verified() == []


async def test_a_merge_and_a_return_that_are_decided_together_take_the_reward(
    node: Node,
) -> None:
    await node.apply(referral=POLICY, reversal_policy=ONLY_OWN)
    for name in ("ann", "bob", "eve"):
        await node.enroll(name)
    asks = referrals_pb.GetReferralCodeRequest(program_id=PROGRAM, member_id="ann")
    made = await node.answer(wire_referrals.code_from_proto(asks, node.ids.secret(16)))
    claim = referrals_pb.ClaimReferralRequest(
        request_id="r-1",
        program_id=PROGRAM,
        member_id="bob",
        code=cast("ReferralCode", made).code,
    )
    await node.answer(wire_referrals.claim_from_proto(claim, node.ids.new()))
    await node.record(purchase("first-1", "bob", [(1, 1_000)]))
    merge = members_pb.MergeMembersRequest(
        request_id="m-1", program_id=PROGRAM, source_member_id="ann", target_member_id="eve"
    )
    commands = [
        wire_members.command_from_proto(merge),
        wire.reverse_from_proto(PROGRAM, order("back-1", "first-1")),
    ]
    results = await node.executor.execute(commands)
    assert all(isinstance(each, Outcome) for each in results)
    assert [(await node.wallet(each)).available for each in ("eve", "bob")] == [0, 0]
    assert await node.verify() == []


# Points of activities ----------------------------------------------------------------------------


async def spent_and_refunded(caller: Caller, source: str, target: str) -> None:
    """30 points are spent by a member that is then merged, and refunded after that."""
    held = await caller.hold(30, source)
    capture = pb.CaptureHoldRequest(**caller.key(), hold_id=held.hold_id)
    await caller.earning.CaptureHold(capture)
    await caller.merge(source, target)
    refund = pb.RefundCaptureRequest(**caller.key(), hold_id=held.hold_id)
    await caller.earning.RefundCapture(refund)


async def test_all_pieces_of_an_activity_are_taken_not_only_the_first(caller: Caller) -> None:
    await enrolled(caller, "old", "eve")
    await caller.buy("a-1", "old", 10_000)
    await caller.credit(7, "eve")
    await spent_and_refunded(caller, "old", "eve")
    assert await available(caller, "eve") == [107]
    await caller.give_back("a-1")
    assert await available(caller, "eve") == [7]
    assert await caller.verified() == []


async def test_points_that_were_given_away_are_the_activity_s_again_once_they_are_back(
    caller: Caller,
) -> None:
    await enrolled(caller, "ann", "eve")
    await caller.buy("a-1", "ann", 10_000)
    await caller.credit(7, "ann")
    await caller.transfer(100, "eve", "ann")
    await caller.transfer(80, "ann", "eve")
    await caller.give_back("a-1", amount=5_000)
    assert await available(caller, "ann", "eve") == [37, 20]
    await caller.give_back("a-1")
    assert await available(caller, "ann", "eve") == [7, 20]
    assert await caller.verified() == []


async def test_the_activity_s_own_points_go_before_those_that_end_sooner(
    database_url: str, tmp_path: Path
) -> None:
    """With everything allowed the order still matters: what is left is what ends later."""
    ends = [{"currency_id": "points", "expiry": {"after_days": 30}}]
    async with calling(database_url, tmp_path, currencies=ends) as caller:
        await enrolled(caller, "old", "eve")
        await caller.credit(7, "eve")
        await caller.buy("a-1", "old", 10_000)
        await spent_and_refunded(caller, "old", "eve")
        await caller.give_back("a-1")
        assert await available(caller, "eve") == [7]
        taken = (await caller.entries("eve"))[0].lot_uses
        assert [(each.lot_sequence, each.points) for each in taken] == [(2, -70), (3, -30)]
        assert await caller.verified() == []


async def test_pieces_of_a_further_currency_are_all_taken(
    database_url: str, tmp_path: Path
) -> None:
    changes: dict[str, object] = {
        "currencies": [{"currency_id": "points"}, {"currency_id": "miles"}],
        "rules": [
            {"rule_id": "points", "flat": {"points": 1}},
            {"rule_id": "miles", "currency_id": "miles", "flat": {"points": 100}},
        ],
        "reversal_policy": ONLY_OWN,
    }
    async with calling(database_url, tmp_path, **changes) as caller:
        await enrolled(caller, "ann", "eve")
        await caller.buy("a-1", "ann")
        for giver, taker, points in (("ann", "eve", 100), ("eve", "ann", 60), ("eve", "ann", 40)):
            request = points_pb.TransferPointsRequest(
                **caller.key(),
                from_member_id=giver,
                to_member_id=taker,
                points=points,
                currency_id="miles",
            )
            await caller.points.TransferPoints(request)
        await caller.give_back("a-1")
        asked = pb.GetWalletRequest(program_id=PROGRAM, member_id="ann", currency_id="miles")
        assert (await caller.earning.GetWallet(asked)).wallet.points_available == 0
        assert await caller.verified() == []


# Where pieces of a lot go ------------------------------------------------------------------------


@given(
    moves=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.integers(1, 40)), max_size=12
    )
)
def test_pieces_of_a_lot_are_followed_through_whatever_transfers(
    moves: list[tuple[str, str, int]],
) -> None:
    """Against points that carry the name of their lot along; nobody repays a debt here."""
    wallets = {name: wallet_of(name) for name in "abc"}
    lots: dict[str, dict[int, Lot]] = {name: {} for name in "abc"}
    marked = ledger.credit(wallets["a"], 60, EntryType.REFERRAL, CAUSE, PLAIN)
    other = ledger.credit(marked.wallet, 30, EntryType.CREDIT, CAUSE, PLAIN)
    wallets["a"] = other.wallet
    lots["a"] = {1: made_by(marked), 2: made_by(other)}
    is_marked = {("a", 1): True, ("a", 2): False}
    entries: list[Entry] = []
    for giver, taker, points in moves:
        if giver == taker or points > wallets[giver].available:
            continue
        moved = ledger_transfers.transfer(
            wallets[giver], lots[giver], wallets[taker], points, CAUSE, PLAIN
        )
        for out, into in zip(moved[::2], moved[1::2], strict=True):
            lots[giver] |= {each.lot_sequence: each for each in out.changed}
            lots[taker][made_by(into).lot_sequence] = made_by(into)
            came_of = is_marked[giver, out.entry.lot_uses[0].lot_sequence]
            is_marked[taker, made_by(into).lot_sequence] = came_of
            entries += [out.entry, into.entry]
            wallets[giver], wallets[taker] = out.wallet, into.wallet
    found: set[Piece] = {(ProgramId("shop"), MemberKey("a"), CurrencyId("points"), 1)}
    pieces.follow(found, entries)
    for name in "abc":
        numbers = pieces.within(found, ProgramId("shop"), MemberKey(name), CurrencyId("points"))
        expected = {key[1] for key, marks in is_marked.items() if marks and key[0] == name}
        assert numbers == expected


def made_by(movement: Movement) -> Lot:
    assert movement.made is not None
    return movement.made


def wallet_of(name: str) -> Wallet:
    return Wallet(
        program_id=ProgramId("shop"), member_key=MemberKey(name), currency_id=CurrencyId("points")
    )
