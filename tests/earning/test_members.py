"""Members as callers meet them: told of, named, frozen, exported, all behind real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.type.date_pb2 import Date

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import events_pb2, member_pb2
from guerdon.earning.v1 import member_service_pb2 as members_pb
from shared.rpc.client import refusal_of
from tests.earning.callers import Caller, calling, refused
from tests.earning.nodes import PROGRAM, order

STATE = member_pb2.Member.State
PROFILE = member_pb2.MemberProfile(
    birth_date=Date(year=1990, month=2, day=28),
    time_zone="Asia/Shanghai",
    language="zh-Hant",
    attributes={"shoe_size": "38"},
    segments=["vip", "runner"],
)


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(database_url, tmp_path) as made:
        yield made


def names(member: member_pb2.Member) -> list[tuple[str, str]]:
    return [(each.kind, each.identifier) for each in member.identifiers]


async def update(
    caller: Caller, profile: member_pb2.MemberProfile, *paths: str, etag: str = ""
) -> member_pb2.Member:
    request = members_pb.UpdateMemberRequest(
        **caller.key(), member_id="ann", profile=profile, etag=etag
    )
    request.update_mask.paths.extend(paths)
    return (await caller.members.UpdateMember(request)).member


async def test_a_member_is_enrolled_with_a_profile_and_shown_whole(caller: Caller) -> None:
    enrolled = await caller.enroll("ann", PROFILE)
    assert (enrolled.member_id, enrolled.state) == ("ann", STATE.STATE_ACTIVE)
    assert enrolled.profile == PROFILE
    assert not enrolled.anonymous
    assert names(enrolled) == [("member_id", "ann")]
    assert await caller.get() == enrolled


async def test_a_member_of_an_activity_is_anonymous_until_something_is_told(
    caller: Caller,
) -> None:
    await caller.buy("a-1")
    assert (await caller.get()).anonymous
    assert not (await update(caller, PROFILE, "language")).anonymous


async def test_an_update_changes_what_its_mask_names_and_nothing_else(caller: Caller) -> None:
    before = await caller.enroll("ann", PROFILE)
    other = member_pb2.MemberProfile(language="en", time_zone="Europe/London")
    after = await update(caller, other, "language", "attributes", etag=before.etag)
    assert after.profile == member_pb2.MemberProfile(
        birth_date=PROFILE.birth_date,
        time_zone="Asia/Shanghai",
        language="en",
        segments=["vip", "runner"],
    )
    assert after.etag != before.etag
    assert await caller.get() == after
    assert await refused(update(caller, other, "time_zone", etag=before.etag)) == (
        "ABORTED",
        "ETAG_MISMATCH",
    )
    assert await caller.get() == after


WRONG = [
    ({"profile": {"birth_date": {"year": 2023, "month": 2, "day": 29}}}, "profile.birth_date"),
    ({"profile": {"birth_date": {"month": 2, "day": 28}}}, "profile.birth_date"),
    ({"profile": {"time_zone": "Nowhere/Land"}}, "profile.time_zone"),
    ({"profile": {"language": "not a language"}}, "profile.language"),
    ({"profile": {"segments": ["a", "a"]}}, "profile.segments"),
    ({"profile": {"attributes": {"a": "x" * 257}}}, "profile.attributes[a]"),
    ({"paths": ["member_key"]}, "update_mask.paths[0]"),
    ({"paths": []}, "update_mask"),
]


@pytest.mark.parametrize(("wrong", "field"), WRONG, ids=[field for _, field in WRONG])
async def test_a_wrong_profile_is_refused_by_field_and_changes_nothing(
    caller: Caller, wrong: dict[str, object], field: str
) -> None:
    before = await caller.enroll("ann", PROFILE)
    request = members_pb.UpdateMemberRequest(
        **caller.key(),
        member_id="ann",
        profile=wrong.get("profile", {}),  # type: ignore[arg-type]
        update_mask=FieldMask(paths=wrong.get("paths", ["language"])),  # type: ignore[arg-type]
    )
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await caller.members.UpdateMember(request)
    refusal = refusal_of(failed.value)
    assert (refusal.code, [each.field for each in refusal.violations]) == (
        "INVALID_ARGUMENT",
        [field],
    )
    assert await caller.get() == before


async def test_the_same_update_again_is_answered_alike_and_done_once(caller: Caller) -> None:
    await caller.enroll()
    request = members_pb.UpdateMemberRequest(
        **caller.key(), member_id="ann", profile=PROFILE, update_mask=FieldMask(paths=["segments"])
    )
    first = await caller.members.UpdateMember(request)
    assert await caller.members.UpdateMember(request) == first
    assert (await caller.get()).etag == first.member.etag
    request.profile.segments.append("more")
    assert await refused(caller.members.UpdateMember(request)) == (
        "ALREADY_EXISTS",
        "IDEMPOTENCY_KEY_REUSED",
    )


async def test_members_are_listed_page_by_page_each_once(caller: Caller) -> None:
    made = {(await caller.enroll(f"m-{number}")).member_key for number in range(7)}
    request = members_pb.ListMembersRequest(program_id=PROGRAM, page_size=3)
    found: list[str] = []
    for _ in range(3):
        page = await caller.members.ListMembers(request)
        found += [each.member_key for each in page.members]
        request.page_token = page.next_page_token
    assert (found, request.page_token) == (sorted(made), "")
    request.page_token = "bm9uc2Vuc2U"
    assert (await refused(caller.members.ListMembers(request)))[1] == "INVALID_PAGE_TOKEN"


async def test_any_identifier_of_a_member_names_it_everywhere(caller: Caller) -> None:
    ann = await caller.enroll()
    added = await caller.add("card-1")
    assert names(added) == [("member_id", "ann"), ("card", "card-1")]
    await caller.buy("a-1", "card-1")
    assert (await caller.wallet("card-1")).points_available == 10
    assert (await caller.wallet("ann")).points_available == 10
    assert (await caller.get("card-1")).member_key == ann.member_key
    changed = [
        each
        for each in await caller.events(ann.member_key)
        if "MemberChanged" in each.payload.type_url
    ]
    event = events_pb2.MemberChanged.FromString(changed[-1].payload.value)
    assert [each.identifier for each in event.identifiers] == ["ann", "card-1"]


async def test_an_identifier_that_was_removed_is_free_for_others(caller: Caller) -> None:
    await caller.enroll("ann")
    await caller.enroll("bob")
    await caller.add("card-1", "ann")
    assert await refused(caller.add("card-1", "bob")) == ("ALREADY_EXISTS", "IDENTIFIER_TAKEN")
    again = await caller.add("card-1", "ann")
    assert names(await caller.remove("card-1", "ann")) == [("member_id", "ann")]
    assert names(again) == [("member_id", "ann"), ("card", "card-1")]
    assert await refused(caller.get("card-1")) == ("NOT_FOUND", "MEMBER_NOT_FOUND")
    assert names(await caller.add("card-1", "bob")) == [("member_id", "bob"), ("card", "card-1")]
    await caller.buy("a-1", "card-1")
    assert (await caller.wallet("bob")).points_available == 10


async def test_the_last_identifier_stays_and_a_strange_one_is_not_found(caller: Caller) -> None:
    await caller.enroll()
    assert await refused(caller.remove("ann")) == ("FAILED_PRECONDITION", "LAST_IDENTIFIER")
    assert await refused(caller.remove("other")) == ("NOT_FOUND", "IDENTIFIER_NOT_FOUND")
    assert await refused(caller.add("x", "nobody")) == ("NOT_FOUND", "MEMBER_NOT_FOUND")


async def test_a_member_has_at_most_100_identifiers(caller: Caller) -> None:
    await caller.enroll()
    await asyncio.gather(*(caller.add(f"card-{number}") for number in range(99)))
    assert await refused(caller.add("one-more")) == ("FAILED_PRECONDITION", "TOO_MANY_IDENTIFIERS")
    assert await refused(caller.get("one-more")) == ("NOT_FOUND", "MEMBER_NOT_FOUND")
    assert len((await caller.get()).identifiers) == 100


async def test_a_frozen_member_earns_and_spends_nothing_until_unfrozen(caller: Caller) -> None:
    await caller.buy("a-1", amount=5_000)
    held = await caller.hold(10)
    assert (await caller.freeze()).state == STATE.STATE_FROZEN
    frozen = ("FAILED_PRECONDITION", "MEMBER_FROZEN")
    assert await refused(caller.buy("a-2")) == frozen
    assert await refused(caller.hold(1)) == frozen
    credit = pb.CreditPointsRequest(**caller.key(), member_id="ann", points=1, reason="x")
    assert await refused(caller.earning.CreditPoints(credit)) == frozen
    # What was promised before goes on.
    capture = pb.CaptureHoldRequest(**caller.key(), hold_id=held.hold_id)
    await caller.earning.CaptureHold(capture)
    reverse = pb.ReverseActivityRequest(program_id=PROGRAM, order=order("r-1", "a-1", amount=1_000))
    await caller.earning.ReverseActivity(reverse)
    assert (await caller.wallet()).points_available == 30
    assert await caller.verified() == []
    # The same freeze again changes nothing; a refused activity may be sent with a new key.
    assert (await caller.freeze()).etag == (await caller.get()).etag
    assert (await caller.unfreeze()).state == STATE.STATE_ACTIVE
    assert await caller.buy("a-3") == 10
    assert await caller.verified() == []


async def test_an_export_tells_everything_that_is_stored_of_a_member(caller: Caller) -> None:
    ann = await caller.enroll("ann", PROFILE)
    await caller.enroll("bob")
    for number in range(3):
        await caller.buy(f"a-{number}")
    await caller.buy("b-1", "bob")
    held = await caller.hold(5)
    pieces = await caller.export()
    assert pieces[0].member == ann
    assert [each.points_available for piece in pieces for each in piece.wallets] == [25]
    assert [each.sequence for piece in pieces for each in piece.entries] == [4, 3, 2, 1]
    activities = {each.activity.activity_id for piece in pieces for each in piece.records}
    assert activities == {"a-0", "a-1", "a-2"}
    assert [each.hold_id for piece in pieces for each in piece.holds] == [held.hold_id]
    assert await refused(caller.export("nobody")) == ("NOT_FOUND", "MEMBER_NOT_FOUND")
