"""Members bring friends: codes, claims, rewards and returns, all behind real gRPC."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import events_pb2, ledger_pb2, referral_pb2
from guerdon.earning.v1 import referral_service_pb2 as referrals_pb
from tests.earning.callers import Caller, calling, refused
from tests.earning.nodes import PROGRAM, document, purchase

STATE = referral_pb2.Referral.State
TYPE = ledger_pb2.EntryType
REFERRER, FRIEND = 100, 50
POLICY = {
    "referrer_points": REFERRER,
    "friend_points": FRIEND,
    "activity_types": ["purchase"],
    "condition": "activity.lines.size() > 0 && activity.lines[0].amount_minor >= 500",
}


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(database_url, tmp_path, referral=POLICY) as made:
        yield made


async def enrolled(caller: Caller, *names: str) -> None:
    for name in names:
        await caller.enroll(name)


async def available(caller: Caller, *members: str) -> list[int]:
    return [(await caller.wallet(each)).points_available for each in members]


async def states(caller: Caller, referrer: str = "ann") -> dict[str, int]:
    request = referrals_pb.ListReferralsRequest(program_id=PROGRAM, member_id=referrer)
    found = (await caller.referrals.ListReferrals(request)).referrals
    return {each.friend_member_id: each.state for each in found}


# Codes -------------------------------------------------------------------------------------------


async def test_a_member_has_one_code_that_is_short_and_cannot_be_misread(caller: Caller) -> None:
    await enrolled(caller, "ann", "bob")
    code = await caller.code("ann")
    assert len(code) == 8
    assert not set(code) & set("01ILOUilou- ")
    assert await caller.code("ann") == code != await caller.code("bob")
    await caller.add("card-1")
    assert await caller.code("card-1") == code
    assert await refused(caller.code("zoe")) == ("NOT_FOUND", "MEMBER_NOT_FOUND")


async def test_a_code_may_be_typed_in_small_letters_with_blanks_and_hyphens(
    caller: Caller,
) -> None:
    await enrolled(caller, "ann", "bob")
    code = (await caller.code("ann")).lower()
    claimed = await caller.claim_code(f" {code[:4]}-{code[4:]} ", "bob")
    assert (claimed.friend_member_id, claimed.referrer_member_id) == ("bob", "ann")
    assert claimed.state == STATE.STATE_CLAIMED


# Rewards -----------------------------------------------------------------------------------------


async def test_both_are_rewarded_after_the_first_activity_that_qualifies_once(
    caller: Caller,
) -> None:
    await enrolled(caller, "ann", "bob")
    await caller.come_by("ann", "bob")
    await caller.record(purchase("visit-1", "bob", type_="visit"))  # 30 points, another type
    await caller.buy("small-1", "bob", 400)  # 4 points, the condition does not hold
    assert await available(caller, "ann", "bob") == [0, 34]
    assert (await caller.referral("bob")).state == STATE.STATE_CLAIMED
    await caller.buy("first-1", "bob", 1_000)
    await caller.buy("second-1", "bob", 1_000)
    assert await available(caller, "ann", "bob") == [REFERRER, 34 + 10 + FRIEND + 10]
    found = await caller.referral("bob")
    assert (found.state, found.activity_id, found.currency_id) == (
        STATE.STATE_REWARDED,
        "first-1",
        "points",
    )
    assert (found.friend_points, found.referrer_points) == (FRIEND, REFERRER)
    for name, points in (("ann", REFERRER), ("bob", FRIEND)):
        entries = [
            each for each in await caller.entries(name) if each.type == TYPE.ENTRY_TYPE_REFERRAL
        ]
        assert [(each.reference, each.reason) for each in entries] == [
            (found.referral_id, "referral")
        ]
        assert points in {posting.points for posting in entries[0].postings}
    summary = await caller.earning.GetLedgerSummary(pb.GetLedgerSummaryRequest(program_id=PROGRAM))
    assert summary.points_referred == REFERRER + FRIEND
    assert await caller.verified() == []


async def test_both_members_events_tell_of_the_claim_and_of_the_reward(caller: Caller) -> None:
    await enrolled(caller, "ann", "bob")
    await caller.come_by("ann", "bob")
    await caller.buy("first-1", "bob")
    keys = {name: (await caller.get(name)).member_key for name in ("ann", "bob")}
    for name, other in (("ann", "bob"), ("bob", "ann")):
        events = await caller.events(keys[name])
        told = [
            events_pb2.ReferralChanged.FromString(each.payload.value)
            for each in events
            if each.payload.type_url.endswith("ReferralChanged")
        ]
        assert [each.referral.state for each in told] == [
            STATE.STATE_CLAIMED,
            STATE.STATE_REWARDED,
        ]
        assert {(each.other_member_key, each.is_friend) for each in told} == {
            (keys[other], name == "bob")
        }
        assert all(not each.referral.friend_member_id for each in told)
        credited = [each for each in events if each.payload.type_url.endswith("PointsCredited")]
        assert len(credited) == 1


async def test_a_preview_neither_shows_nor_gives_a_reward(caller: Caller) -> None:
    await enrolled(caller, "ann", "bob")
    await caller.come_by("ann", "bob")
    request = pb.PreviewActivityRequest(
        program_id=PROGRAM, activity=purchase("p-1", "bob", lines=[(1, 1_000)])
    )
    assert (await caller.earning.PreviewActivity(request)).record.points == 10
    assert (await caller.referral("bob")).state == STATE.STATE_CLAIMED
    assert await available(caller, "ann", "bob") == [0, 0]


async def test_rewards_are_of_the_currency_that_the_policy_names(
    database_url: str, tmp_path: Path
) -> None:
    currencies = [{"currency_id": "points"}, {"currency_id": "stars", "expiry": {"after_days": 9}}]
    policy = {**POLICY, "currency_id": "stars"}
    async with calling(database_url, tmp_path, referral=policy, currencies=currencies) as caller:
        await enrolled(caller, "ann", "bob")
        await caller.come_by("ann", "bob")
        await caller.buy("first-1", "bob")
        for name, points in (("ann", REFERRER), ("bob", FRIEND)):
            request = pb.GetWalletRequest(program_id=PROGRAM, member_id=name, currency_id="stars")
            wallet = (await caller.earning.GetWallet(request)).wallet
            assert wallet.points_available == points
            assert [each.points for each in wallet.expiring] == [points]
        await caller.give_back("first-1")
        assert (await caller.referral("bob")).state == STATE.STATE_REVERSED
        assert await caller.verified() == []


@pytest.mark.parametrize("side", ["friend_points", "referrer_points"])
async def test_a_policy_may_reward_one_side_alone(
    database_url: str, tmp_path: Path, side: str
) -> None:
    async with calling(database_url, tmp_path, referral={side: 70}) as caller:
        await enrolled(caller, "ann", "bob")
        await caller.come_by("ann", "bob")
        await caller.buy("first-1", "bob")
        expected = [0, 80] if side == "friend_points" else [70, 10]
        assert await available(caller, "ann", "bob") == expected
        await caller.give_back("first-1")
        assert await available(caller, "ann", "bob") == [0, 0]
        assert await caller.verified() == []


async def test_above_the_cap_the_friend_is_rewarded_and_the_referrer_is_not(
    database_url: str, tmp_path: Path
) -> None:
    policy = {**POLICY, "max_per_referrer": 2}
    async with calling(database_url, tmp_path, referral=policy) as caller:
        await enrolled(caller, "ann", "bob", "cid", "dan", "eve")
        for name in ("bob", "cid", "dan", "eve"):
            await caller.come_by("ann", name)
        for name in ("bob", "cid", "dan"):
            await caller.buy(f"first-{name}", name)
        assert await available(caller, "ann", "bob", "cid", "dan") == [200, 60, 60, 60]
        assert await states(caller) == {
            "bob": STATE.STATE_REWARDED,
            "cid": STATE.STATE_REWARDED,
            "dan": STATE.STATE_CAPPED,
            "eve": STATE.STATE_CLAIMED,
        }
        # What is taken back gives its place to the next, never to one that was capped.
        await caller.give_back("first-bob")
        await caller.buy("second-dan", "dan")
        await caller.buy("first-eve", "eve")
        assert (await states(caller))["dan"] == STATE.STATE_CAPPED
        assert (await states(caller))["eve"] == STATE.STATE_REWARDED
        await caller.give_back("first-dan")
        dan = await caller.referral("dan")
        assert (dan.state, dan.friend_points_reversed, dan.referrer_points_reversed) == (
            STATE.STATE_REVERSED,
            FRIEND,
            0,
        )
        assert await available(caller, "ann", "dan") == [200, 10]
        assert await caller.verified() == []


# Refusals ----------------------------------------------------------------------------------------


async def test_a_claim_is_refused_in_the_order_in_which_it_is_mended(caller: Caller) -> None:
    await enrolled(caller, "ann", "bob", "cid")
    code = await caller.code("ann")
    refusals = {
        ("zoe", code): ("NOT_FOUND", "MEMBER_NOT_FOUND"),
        ("bob", "NOBODYS2"): ("NOT_FOUND", "REFERRAL_CODE_NOT_FOUND"),
        ("ann", code): ("FAILED_PRECONDITION", "SELF_REFERRAL"),
    }
    for (name, given), expected in refusals.items():
        assert await refused(caller.claim_code(given, name)) == expected
    assert await refused(caller.referral("bob")) == ("NOT_FOUND", "REFERRAL_NOT_FOUND")
    await caller.claim_code(code, "bob")
    for given in (code, await caller.code("cid")):
        assert await refused(caller.claim_code(given, "bob")) == (
            "FAILED_PRECONDITION",
            "ALREADY_REFERRED",
        )


async def test_a_program_without_a_policy_offers_no_referrals(
    database_url: str, tmp_path: Path
) -> None:
    async with calling(database_url, tmp_path) as caller:
        await enrolled(caller, "ann", "bob")
        expected = ("FAILED_PRECONDITION", "REFERRALS_NOT_OFFERED")
        assert await refused(caller.code("ann")) == expected
        assert await refused(caller.claim_code("22222222", "bob")) == expected
        assert await states(caller) == {}


async def test_whoever_has_bought_is_no_newcomer_though_all_of_it_was_returned(
    caller: Caller,
) -> None:
    await enrolled(caller, "ann", "bob", "cid")
    code = await caller.code("ann")
    await caller.record(purchase("visit-1", "bob", type_="visit"))
    await caller.buy("small-1", "bob", 400)
    await caller.buy("first-1", "cid")
    await caller.give_back("first-1")
    assert await refused(caller.claim_code(code, "cid")) == (
        "FAILED_PRECONDITION",
        "NOT_A_NEWCOMER",
    )
    await caller.claim_code(code, "bob")  # nothing of bob's qualified
    await caller.merge("cid", "bob")
    assert (await caller.referral("bob")).state == STATE.STATE_CLAIMED


async def test_what_was_bought_as_a_member_that_was_merged_counts(caller: Caller) -> None:
    await enrolled(caller, "ann", "bob", "cid")
    code = await caller.code("ann")
    await caller.buy("first-1", "cid")
    await caller.merge("cid", "bob")
    assert await refused(caller.claim_code(code, "bob")) == (
        "FAILED_PRECONDITION",
        "NOT_A_NEWCOMER",
    )


async def test_nobody_comes_by_a_code_from_further_down(caller: Caller) -> None:
    await enrolled(caller, "ann", "bob", "cid", "dan")
    await caller.come_by("ann", "bob")
    await caller.come_by("bob", "cid")
    await caller.come_by("cid", "dan")
    for below in ("bob", "cid", "dan"):
        assert await refused(caller.come_by(below, "ann")) == (
            "FAILED_PRECONDITION",
            "REFERRAL_CYCLE",
        )


async def test_a_member_is_not_its_own_friend_by_any_name(caller: Caller) -> None:
    await enrolled(caller, "ann", "bob")
    await caller.add("card-1", "ann")
    code, other = await caller.code("ann"), await caller.code("bob")
    await caller.merge("bob", "ann")
    for name in ("ann", "card-1", "bob"):
        for given in (code, other):
            assert await refused(caller.claim_code(given, name)) == (
                "FAILED_PRECONDITION",
                "SELF_REFERRAL",
            )


async def test_a_frozen_member_neither_claims_nor_brings_friends(caller: Caller) -> None:
    await enrolled(caller, "ann", "bob", "cid")
    code = await caller.code("ann")
    await caller.freeze("bob")
    assert await refused(caller.claim_code(code, "bob")) == (
        "FAILED_PRECONDITION",
        "MEMBER_FROZEN",
    )
    assert await refused(caller.code("bob")) == ("FAILED_PRECONDITION", "MEMBER_FROZEN")
    await caller.freeze("ann")
    assert await refused(caller.claim_code(code, "cid")) == (
        "NOT_FOUND",
        "REFERRAL_CODE_NOT_FOUND",
    )
    await caller.unfreeze("ann")
    await caller.claim_code(code, "cid")
    await caller.freeze("ann")
    await caller.buy("first-1", "cid")  # what was promised comes, and stays frozen
    assert await available(caller, "ann", "cid") == [REFERRER, 60]


async def test_the_same_claim_again_is_answered_alike_and_done_once(caller: Caller) -> None:
    await enrolled(caller, "ann", "bob", "cid")
    code = await caller.code("ann")
    request = referrals_pb.ClaimReferralRequest(**caller.key(), member_id="bob", code=code)
    claimed = await caller.referrals.ClaimReferral(request)
    await caller.buy("first-1", "bob")
    assert await caller.referrals.ClaimReferral(request) == claimed
    request.member_id = "cid"
    assert (await refused(caller.referrals.ClaimReferral(request)))[1] == "IDEMPOTENCY_KEY_REUSED"
    own = referrals_pb.ClaimReferralRequest(**caller.key(), member_id="ann", code=code)
    for _ in range(2):
        assert (await refused(caller.referrals.ClaimReferral(own)))[1] == "SELF_REFERRAL"


# Returns -----------------------------------------------------------------------------------------


async def test_the_return_of_all_of_it_takes_back_both_rewards_and_of_a_part_none(
    caller: Caller,
) -> None:
    await enrolled(caller, "ann", "bob")
    await caller.come_by("ann", "bob")
    await caller.record(purchase("first-1", "bob", lines=[(2, 1_000), (1, 600)]))
    await caller.give_back("first-1", amount=1_000)
    assert await available(caller, "ann", "bob") == [REFERRER, 6 + FRIEND]
    assert (await caller.referral("bob")).state == STATE.STATE_REWARDED
    await caller.give_back("first-1", amount=600)
    assert await available(caller, "ann", "bob") == [0, 0]
    found = await caller.referral("bob")
    assert found.state == STATE.STATE_REVERSED
    assert (found.friend_points_reversed, found.referrer_points_reversed) == (FRIEND, REFERRER)
    await caller.buy("second-1", "bob")  # once is once
    assert await available(caller, "ann", "bob") == [0, 10]
    assert (await caller.entries("ann"))[0].reference == found.referral_id
    assert await caller.verified() == []


async def test_rewards_that_were_spent_are_owed(caller: Caller) -> None:
    await enrolled(caller, "ann", "bob", "cid")
    await caller.come_by("ann", "bob")
    await caller.buy("first-1", "bob")
    await caller.transfer(80, "cid", "ann")
    await caller.transfer(60, "cid", "bob")
    await caller.give_back("first-1")
    ann, bob = await caller.wallet("ann"), await caller.wallet("bob")
    assert (ann.points_available, ann.points_debt) == (0, 80)
    assert (bob.points_available, bob.points_debt) == (0, 60)
    assert await caller.verified() == []


async def test_what_an_older_version_gave_is_taken_back_by_one_without_referrals(
    caller: Caller,
) -> None:
    await enrolled(caller, "ann", "bob", "cid")
    await caller.come_by("ann", "bob")
    await caller.come_by("ann", "cid")
    await caller.buy("first-1", "bob")
    apply = pb.ApplyEarningProgramRequest(program=document())
    apply.options.prune = True
    await caller.earning.ApplyEarningProgram(apply)
    await caller.buy("first-2", "cid")  # nothing is offered any more
    await caller.give_back("first-1")
    assert await available(caller, "ann", "bob", "cid") == [0, 0, 10]
    assert await states(caller) == {"bob": STATE.STATE_REVERSED, "cid": STATE.STATE_CLAIMED}
    assert await caller.verified() == []


# Members that come to an end ---------------------------------------------------------------------


async def test_codes_and_friends_go_along_with_a_referrer_that_is_merged(caller: Caller) -> None:
    await enrolled(caller, "ann", "old", "bob", "cid", "dan")
    code = await caller.code("old")
    own = await caller.code("ann")
    await caller.come_by("old", "bob")
    await caller.come_by("old", "dan")
    await caller.buy("first-dan", "dan")
    await caller.merge("old", "ann")
    assert await caller.code("ann") in {code, own}
    await caller.claim_code(code, "cid")
    await caller.buy("first-1", "bob")
    await caller.buy("first-2", "cid")
    assert await available(caller, "ann") == [3 * REFERRER]
    assert set((await states(caller)).values()) == {STATE.STATE_REWARDED}
    await caller.give_back("first-dan")
    await caller.give_back("first-1")
    assert await available(caller, "ann") == [REFERRER]
    assert await caller.verified() == []


async def test_the_claim_of_a_friend_that_is_merged_goes_along(caller: Caller) -> None:
    await enrolled(caller, "ann", "bob", "new")
    await caller.come_by("ann", "bob")
    await caller.merge("bob", "new")
    assert (await refused(caller.come_by("ann", "new")))[1] == "ALREADY_REFERRED"
    await caller.buy("first-1", "new")
    assert await available(caller, "ann", "new") == [REFERRER, 60]
    await caller.enroll("last")
    await caller.merge("new", "last")
    await caller.give_back("first-1")
    assert await available(caller, "ann", "last") == [0, 0]
    assert (await caller.referral("last")).state == STATE.STATE_REVERSED
    assert await caller.verified() == []


async def test_members_who_become_one_are_not_rewarded_for_each_other(caller: Caller) -> None:
    await enrolled(caller, "ann", "bob", "cid")
    await caller.come_by("ann", "bob")
    await caller.merge("bob", "ann")
    await caller.buy("first-1", "ann")
    assert await available(caller, "ann") == [10]
    await caller.come_by("ann", "cid")
    await caller.merge("ann", "cid")
    await caller.buy("first-2", "cid")
    assert await available(caller, "cid") == [20]
    assert await caller.verified() == []


async def test_rewards_of_two_who_became_one_are_both_taken_back(caller: Caller) -> None:
    await enrolled(caller, "ann", "bob")
    await caller.come_by("ann", "bob")
    await caller.buy("first-1", "bob")
    await caller.merge("bob", "ann")
    assert await available(caller, "ann") == [10 + FRIEND + REFERRER]
    await caller.give_back("first-1")
    assert await available(caller, "ann") == [0]
    assert await caller.verified() == []


async def test_the_code_of_an_erased_member_works_no_more(caller: Caller) -> None:
    await enrolled(caller, "ann", "bob", "cid")
    code = await caller.code("ann")
    await caller.claim_code(code, "bob")
    await caller.erase("ann")
    assert await refused(caller.claim_code(code, "cid")) == (
        "NOT_FOUND",
        "REFERRAL_CODE_NOT_FOUND",
    )
    await caller.buy("first-1", "bob")  # the friend gets what was promised
    assert await available(caller, "bob") == [60]
    found = await caller.referral("bob")
    assert (found.state, found.referrer_points, found.referrer_member_id) == (
        STATE.STATE_REWARDED,
        0,
        "",
    )
    assert await caller.verified() == []


# Lists -------------------------------------------------------------------------------------------


async def test_friends_are_listed_page_by_page_the_latest_first(caller: Caller) -> None:
    names = [f"f-{number}" for number in range(7)]
    await enrolled(caller, "ann", *names)
    for name in names:
        await caller.come_by("ann", name)
    for name in names[:3]:
        await caller.buy(f"first-{name}", name)
    for state, expected in (
        (STATE.STATE_UNSPECIFIED, names),
        (STATE.STATE_CLAIMED, names[3:]),
        (STATE.STATE_REWARDED, names[:3]),
        (STATE.STATE_REVERSED, []),
    ):
        request = referrals_pb.ListReferralsRequest(
            program_id=PROGRAM, member_id="ann", state=state, page_size=2
        )
        found: list[str] = []
        while True:
            page = await caller.referrals.ListReferrals(request)
            found += [each.friend_member_id for each in page.referrals]
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        assert sorted(found) == sorted(expected)
    request.page_token = "e30"
    assert await refused(caller.referrals.ListReferrals(request)) == (
        "INVALID_ARGUMENT",
        "INVALID_PAGE_TOKEN",
    )
