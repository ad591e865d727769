"""Members pool their points: who is in which household, all behind real gRPC."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from guerdon.clock.v1 import clock_service_pb2 as clock_pb
from guerdon.clock.v1.clock_service_pb2_grpc import ClockServiceStub
from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import events_pb2, household_pb2
from guerdon.earning.v1 import household_service_pb2 as households_pb
from guerdon.earning.v1 import member_service_pb2 as members_pb
from tests.earning.callers import Caller, calling, refused
from tests.earning.nodes import PROGRAM, START, document, stamp

POLICY: dict[str, object] = {"max_members": 3, "cool_off_days": 30}
MEMBERS = ("ann", "bob", "cy", "di")
IN_ONE = ("FAILED_PRECONDITION", "ALREADY_IN_HOUSEHOLD")
IN_NONE = ("FAILED_PRECONDITION", "NOT_IN_HOUSEHOLD")
NO_HOUSEHOLD = ("NOT_FOUND", "HOUSEHOLD_NOT_FOUND")
NO_INVITATION = ("NOT_FOUND", "INVITATION_NOT_FOUND")


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(database_url, tmp_path, households=POLICY) as made:
        for name in MEMBERS:
            await made.enroll(name)
        yield made


def members(household: household_pb2.Household) -> list[str]:
    """Who is in a household; the head first."""
    names = [each.member_id for each in household.members]
    assert not names or household.head_member_id in names
    return sorted(names, key=lambda name: name != household.head_member_id)


async def told(caller: Caller, member_id: str) -> list[tuple[bool, bool]]:
    """Whether a member was told to be in a household, and its head, from the first on."""
    key = (await caller.get(member_id)).member_key
    found = []
    for event in await caller.events(key):
        if event.payload.Is(events_pb2.HouseholdMembershipChanged.DESCRIPTOR):
            change = events_pb2.HouseholdMembershipChanged.FromString(event.payload.value)
            found.append((change.is_member, change.is_head))
    return found


async def advance(caller: Caller, days: float) -> None:
    await ClockServiceStub(caller.channel).AdvanceClock(
        clock_pb.AdvanceClockRequest(to=stamp(START + timedelta(days=days)))
    )


# Coming ------------------------------------------------------------------------------------------


async def test_a_member_joins_the_household_whose_invitation_it_accepts(caller: Caller) -> None:
    household_id = await caller.found("ann")
    code = await caller.invite(household_id, "bob")
    joined = await caller.accept(f" {code[:8].lower()}-{code[8:]}", "bob")
    assert members(joined) == ["ann", "bob"]
    assert joined == (await caller.home("bob")).household == (await caller.home("ann")).household
    assert await told(caller, "ann") == [(True, True)]
    assert await told(caller, "bob") == [(True, False)]
    assert await caller.verified() == []


async def test_an_invitation_lets_one_member_join_and_only_the_one_it_names(
    caller: Caller,
) -> None:
    household_id = await caller.found("ann")
    named = await caller.invite(household_id, "bob")
    assert await caller.invite(household_id, "bob") == named
    assert await refused(caller.accept(named, "cy")) == NO_INVITATION
    anyone = await caller.invite(household_id)
    await caller.accept(anyone, "cy")
    assert await refused(caller.accept(anyone, "di")) == NO_INVITATION
    assert await refused(caller.accept("2" * 16, "di")) == NO_INVITATION
    await caller.accept(named, "bob")
    assert members((await caller.home("ann")).household) == ["ann", "cy", "bob"]


async def test_nobody_is_in_two_households(caller: Caller) -> None:
    household_id = await caller.house("ann", "bob")
    other = await caller.found("cy")
    assert await refused(caller.found("bob")) == IN_ONE
    assert await refused(caller.invite(other, "bob")) == IN_ONE
    assert await refused(caller.accept(await caller.invite(other), "bob")) == IN_ONE
    assert (await caller.home("bob")).household.household_id == household_id


async def test_a_household_has_as_many_members_as_the_program_allows(caller: Caller) -> None:
    household_id = await caller.found("ann")
    codes = [await caller.invite(household_id) for _ in range(3)]
    await caller.accept(codes[0], "bob")
    await caller.accept(codes[1], "cy")
    full = ("FAILED_PRECONDITION", "HOUSEHOLD_FULL")
    assert await refused(caller.accept(codes[2], "di")) == full
    assert await refused(caller.invite(household_id, "di")) == full
    await caller.leave("cy")
    assert members(await caller.accept(codes[2], "di")) == ["ann", "bob", "di"]


async def test_a_request_that_is_sent_again_changes_nothing_again(caller: Caller) -> None:
    create = households_pb.CreateHouseholdRequest(
        request_id="c-1", program_id=PROGRAM, member_id="ann"
    )
    first = await caller.households.CreateHousehold(create)
    assert await caller.households.CreateHousehold(create) == first
    code = await caller.invite(first.household.household_id)
    accept = households_pb.AcceptInvitationRequest(
        request_id="a-1", program_id=PROGRAM, member_id="bob", code=code
    )
    joined = await caller.households.AcceptInvitation(accept)
    assert await caller.households.AcceptInvitation(accept) == joined
    assert len(await told(caller, "bob")) == 1
    accept.member_id = "cy"
    assert await refused(caller.households.AcceptInvitation(accept)) == (
        "ALREADY_EXISTS",
        "IDEMPOTENCY_KEY_REUSED",
    )


# Going -------------------------------------------------------------------------------------------


async def test_when_the_head_leaves_whoever_joined_next_is_the_head(caller: Caller) -> None:
    household_id = await caller.house("ann", "cy", "bob")
    assert members(await caller.leave("ann")) == ["cy", "bob"]
    assert await refused(caller.home("ann")) == IN_NONE
    assert await told(caller, "cy") == [(True, False), (True, True)]
    assert await told(caller, "bob") == [(True, False)]
    assert await told(caller, "ann") == [(True, True), (False, False)]
    assert await refused(caller.put_out(household_id, "cy")) == (
        "FAILED_PRECONDITION",
        "HEAD_NOT_REMOVED",
    )
    assert members(await caller.put_out(household_id, "bob")) == ["cy"]
    assert await refused(caller.put_out(household_id, "bob")) == IN_NONE
    assert await caller.verified() == []


async def test_the_last_one_that_leaves_dissolves_the_household(caller: Caller) -> None:
    household_id = await caller.house("ann", "bob")
    code = await caller.invite(household_id, "cy")
    await caller.leave("bob")
    ended = await caller.leave("ann")
    assert members(ended) == []
    assert ended.HasField("dissolve_time")
    assert not ended.head_member_id
    assert await refused(caller.accept(code, "cy")) == NO_INVITATION
    assert await refused(caller.invite(household_id)) == NO_HOUSEHOLD
    assert await refused(caller.dissolve(household_id)) == NO_HOUSEHOLD
    assert await refused(caller.leave("ann")) == IN_NONE


async def test_all_members_leave_a_household_that_is_dissolved(caller: Caller) -> None:
    household_id = await caller.house("ann", "bob")
    assert (await caller.dissolve(household_id)).household_id == household_id
    for name in ("ann", "bob"):
        assert await refused(caller.home(name)) == IN_NONE
        assert (await told(caller, name))[-1] == (False, False)
    assert await caller.verified() == []


async def test_who_left_a_household_waits_before_joining_another_but_may_come_back(
    caller: Caller,
) -> None:
    household_id = await caller.house("ann", "bob")
    other = await caller.found("cy")
    await caller.leave("bob")
    cooling = ("FAILED_PRECONDITION", "HOUSEHOLD_COOL_OFF")
    assert await refused(caller.found("bob")) == cooling
    assert await refused(caller.accept(await caller.invite(other, "bob"), "bob")) == cooling
    assert members(await caller.accept(await caller.invite(household_id, "bob"), "bob")) == [
        "ann",
        "bob",
    ]
    await caller.leave("bob")
    await advance(caller, 29.9)
    assert await refused(caller.found("bob")) == cooling
    await advance(caller, 30.1)
    assert members(await caller.accept(await caller.invite(other, "bob"), "bob")) == ["cy", "bob"]


# Members who change ------------------------------------------------------------------------------


async def test_a_member_that_is_merged_gives_its_place_to_the_other(caller: Caller) -> None:
    await caller.house("cy", "bob")
    await caller.merge("cy", "ann")
    assert members((await caller.home("bob")).household) == ["ann", "bob"]
    assert await told(caller, "ann") == [(True, True)]
    assert await caller.verified() == []


async def test_of_two_members_of_a_household_that_become_one_one_stays(caller: Caller) -> None:
    await caller.house("bob", "ann", "cy")
    await caller.merge("bob", "ann")
    assert members((await caller.home("cy")).household) == ["ann", "cy"]
    assert await told(caller, "ann") == [(True, False), (True, True)]
    assert await caller.verified() == []


async def test_members_of_different_households_cannot_become_one(caller: Caller) -> None:
    await caller.house("ann", "di")
    await caller.found("cy")
    assert await refused(caller.merge("di", "cy")) == ("FAILED_PRECONDITION", "HOUSEHOLDS_DIFFER")
    await caller.leave("di")
    await caller.merge("di", "cy")
    assert members((await caller.home("cy")).household) == ["cy"]


async def test_nobody_gets_round_the_wait_by_becoming_another_member(caller: Caller) -> None:
    await caller.house("ann", "bob")
    await caller.leave("bob")
    await caller.merge("bob", "cy")
    assert await refused(caller.found("cy")) == ("FAILED_PRECONDITION", "HOUSEHOLD_COOL_OFF")


async def test_a_member_that_is_erased_leaves_and_the_next_one_is_the_head(
    caller: Caller,
) -> None:
    household_id = await caller.house("ann", "bob", "cy")
    await caller.erase("ann")
    found = await caller.home("cy")
    assert members(found.household) == ["bob", "cy"]
    assert found.household.household_id == household_id
    await caller.erase("bob")
    await caller.erase("cy")
    request = households_pb.ListHouseholdsRequest(program_id=PROGRAM)
    assert not (await caller.households.ListHouseholds(request)).households
    assert await caller.verified() == []


async def test_a_frozen_member_joins_nothing_and_may_leave(caller: Caller) -> None:
    household_id = await caller.found("ann")
    code = await caller.invite(household_id, "bob")
    await caller.freeze("bob")
    frozen = ("FAILED_PRECONDITION", "MEMBER_FROZEN")
    assert await refused(caller.accept(code, "bob")) == frozen
    assert await refused(caller.found("bob")) == frozen
    await caller.freeze("ann")
    await caller.leave("ann")
    assert await refused(caller.home("ann")) == IN_NONE


# Reads -------------------------------------------------------------------------------------------


async def test_a_household_shows_what_all_have_and_what_each_has(caller: Caller) -> None:
    household_id = await caller.house("ann", "bob", "cy")
    for name, points in (("ann", 10), ("bob", 20), ("cy", 40)):
        await caller.credit(points, name)
    await caller.freeze("cy")
    (balance,) = (await caller.home("bob")).balances
    assert (balance.currency_id, balance.points_available) == ("points", 30)
    assert [(each.member_id, each.points_available, each.frozen) for each in balance.members] == [
        ("ann", 10, False),
        ("bob", 20, False),
        ("cy", 40, True),
    ]
    request = households_pb.GetHouseholdRequest(program_id=PROGRAM, household_id=household_id)
    assert (await caller.households.GetHousehold(request)).balances[0] == balance


async def test_households_are_listed_a_page_at_a_time(caller: Caller) -> None:
    made = [await caller.found(name) for name in ("ann", "bob", "cy")]
    await caller.leave("bob")
    request = households_pb.ListHouseholdsRequest(program_id=PROGRAM, page_size=1)
    found: list[str] = []
    while True:
        page = await caller.households.ListHouseholds(request)
        found += [each.household_id for each in page.households]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert found == sorted([made[0], made[2]])
    request.page_token = "nothing"
    assert await refused(caller.households.ListHouseholds(request)) == (
        "INVALID_ARGUMENT",
        "INVALID_PAGE_TOKEN",
    )


async def test_an_export_names_the_household_of_a_member(caller: Caller) -> None:
    household_id = await caller.house("ann", "bob")
    pieces = await caller.export("bob")
    assert [each.household_id for each in pieces if each.household_id] == [household_id]
    await caller.leave("bob")
    assert not any(each.household_id for each in await caller.export("bob"))


async def test_a_member_is_shown_with_its_household_as_long_as_it_is_in_it(caller: Caller) -> None:
    household_id = await caller.house("ann", "bob")

    async def homes() -> dict[str, str]:
        request = members_pb.ListMembersRequest(program_id=PROGRAM)
        listed = (await caller.members.ListMembers(request)).members
        for each in listed:
            one = members_pb.GetMemberRequest(program_id=PROGRAM, member_id=each.member_id)
            shown = (await caller.members.GetMember(one)).member
            assert shown.household_id == each.household_id
        return {each.member_id: each.household_id for each in listed if each.household_id}

    assert await homes() == {"ann": household_id, "bob": household_id}
    await caller.leave("bob")
    assert await homes() == {"ann": household_id}


# Refusals ----------------------------------------------------------------------------------------


async def test_a_program_without_a_policy_has_no_households(caller: Caller) -> None:
    household_id = await caller.house("ann", "bob")
    request = pb.ApplyEarningProgramRequest(program=document())
    request.options.prune = True
    await caller.earning.ApplyEarningProgram(request)
    offered = ("FAILED_PRECONDITION", "HOUSEHOLDS_NOT_OFFERED")
    assert await refused(caller.found("cy")) == offered
    assert await refused(caller.invite(household_id)) == offered
    assert await refused(caller.pool(1)) == offered
    assert members(await caller.leave("ann")) == ["bob"]


@pytest.mark.parametrize(
    ("method", "fields", "expected"),
    [
        ("CreateHousehold", {"member_id": "zoe"}, "MEMBER_NOT_FOUND"),
        ("CreateHousehold", {"member_id": "ann", "program_id": "x"}, "PROGRAM_NOT_FOUND"),
        ("InviteMember", {"household_id": "h"}, "HOUSEHOLD_NOT_FOUND"),
        ("InviteMember", {"household_id": "h", "program_id": "x"}, "PROGRAM_NOT_FOUND"),
        ("AcceptInvitation", {"member_id": "zoe", "code": "c"}, "MEMBER_NOT_FOUND"),
        ("AcceptInvitation", {"member_id": "ann", "code": "c"}, "INVITATION_NOT_FOUND"),
        ("RemoveMember", {"household_id": "h", "member_id": "ann"}, "HOUSEHOLD_NOT_FOUND"),
        ("LeaveHousehold", {"member_id": "zoe"}, "MEMBER_NOT_FOUND"),
        ("LeaveHousehold", {"member_id": "ann"}, "NOT_IN_HOUSEHOLD"),
        ("DissolveHousehold", {"household_id": "h"}, "HOUSEHOLD_NOT_FOUND"),
        ("DissolveHousehold", {"household_id": "h", "program_id": "x"}, "PROGRAM_NOT_FOUND"),
        ("GetHousehold", {"household_id": "h"}, "HOUSEHOLD_NOT_FOUND"),
        ("GetHousehold", {"member_id": "zoe"}, "MEMBER_NOT_FOUND"),
        ("GetHousehold", {"member_id": "ann"}, "NOT_IN_HOUSEHOLD"),
        ("ListHouseholds", {"program_id": "x"}, "PROGRAM_NOT_FOUND"),
    ],
)
async def test_what_is_not_there_is_named(
    caller: Caller, method: str, fields: dict[str, str], expected: str
) -> None:
    named = {"program_id": PROGRAM, **fields}
    if method not in {"GetHousehold", "ListHouseholds"}:
        named["request_id"] = "r-1"
    request = getattr(households_pb, f"{method}Request")(**named)
    assert (await refused(getattr(caller.households, method)(request)))[1] == expected
