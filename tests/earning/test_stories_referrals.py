"""Of the points of a referral it is said who brought whom, and what the friend did for them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import referral_pb2
from tests.earning.callers import Caller, calling
from tests.earning.nodes import PROGRAM

SIDE = pb.ReferralSide
STATE = referral_pb2.Referral.State
POLICY = {"referrer_points": 100, "friend_points": 50, "activity_types": ["purchase"]}


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(database_url, tmp_path, referral=POLICY) as made:
        yield made


async def why(caller: Caller, member_id: str, sequence: int) -> pb.ExplainEntryResponse:
    request = pb.ExplainEntryRequest(program_id=PROGRAM, member_id=member_id, sequence=sequence)
    return await caller.earning.ExplainEntry(request)


async def brought(caller: Caller) -> str:
    """Bob comes by ann's code and buys; the referral's identifier."""
    for name in ("ann", "bob"):
        await caller.enroll(name)
    claimed = await caller.come_by("ann", "bob")
    await caller.buy("first-1", "bob")
    return claimed.referral_id


async def test_both_rewards_say_who_brought_whom_and_what_the_friend_did(caller: Caller) -> None:
    name = await brought(caller)
    ann, bob = await why(caller, "ann", 1), await why(caller, "bob", 2)
    assert ann.lines[0] == (
        f"Referral {name} gave 100 points: member bob had come by the member's code, "
        "and that one's activity first-1 was the first to qualify."
    )
    assert bob.lines[0] == (
        f"Referral {name} gave 50 points: the member had come by the code of member ann, "
        "and its activity first-1 was the first to qualify."
    )
    for told, side, other in (
        (ann, SIDE.REFERRAL_SIDE_REFERRER, "bob"),
        (bob, SIDE.REFERRAL_SIDE_FRIEND, "ann"),
    ):
        assert (told.referral_side, told.other_member_id) == (side, other)
        assert told.referral == await caller.referral("bob")
    assert not (await why(caller, "bob", 1)).HasField("referral")


async def test_what_a_return_took_says_what_it_had_been_given_for(caller: Caller) -> None:
    name = await brought(caller)
    await caller.give_back("first-1")
    ann, bob = await why(caller, "ann", 2), await why(caller, "bob", 4)
    assert ann.lines[0] == (
        f"Referral {name} took 100 points back, given for bringing member bob: "
        "all of activity first-1 was returned."
    )
    assert bob.lines[0] == (
        f"Referral {name} took 50 points back, given for coming by the code of member ann: "
        "all of activity first-1 was returned."
    )
    assert ann.referral.state == bob.referral.state == STATE.STATE_REVERSED
    returned = await why(caller, "bob", 3)
    assert returned.referral_side == SIDE.REFERRAL_SIDE_UNSPECIFIED
    assert returned.lines[0].startswith("Reversal ")


async def test_whoever_nothing_names_any_more_is_another_member(caller: Caller) -> None:
    name = await brought(caller)
    await caller.erase("bob")
    ann = await why(caller, "ann", 1)
    assert ann.lines[0].startswith(f"Referral {name} gave 100 points: another member had come")
    assert ann.other_member_id == ann.referral.friend_member_id == ""
    assert ann.referral.referrer_member_id == "ann"


async def test_after_a_merge_the_other_side_has_the_name_of_whoever_goes_on(
    caller: Caller,
) -> None:
    await brought(caller)
    await caller.enroll("abe")
    await caller.merge("ann", "abe")
    bob = await why(caller, "bob", 2)
    assert bob.other_member_id == "abe"
    assert bob.referral == await caller.referral("bob")
    await caller.give_back("first-1")
    abe = await why(caller, "abe", 2)
    assert abe.referral_side == SIDE.REFERRAL_SIDE_REFERRER
    assert (abe.referral.friend_member_id, abe.referral.referrer_member_id) == ("bob", "abe")
