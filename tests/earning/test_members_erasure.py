"""Erasing a member: nothing that names it stays anywhere, and the books stay and verify."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from google.type.date_pb2 import Date

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import member_pb2
from guerdon.earning.v1 import member_service_pb2 as members_pb
from services.earning import tables
from services.earning.erasure import without
from services.earning.refusals import IdentifierTaken, MemberAlreadyExists
from shared import errors
from shared.database import Database
from tests.earning.callers import Caller, calling, refused
from tests.earning.nodes import PROGRAM, order, purchase

CANARY = "canary%_7"
STATE = member_pb2.Member.State


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(database_url, tmp_path) as made:
        yield made


async def places(database_url: str, text: str) -> set[str]:
    """Columns of all tables in which a text is found."""
    database = await Database.open(database_url, schema="earning")
    found: set[str] = set()
    async with database.reading() as tx:
        for table in tables.metadata.sorted_tables:
            for row in await tx.fetch(sa.select(table)):
                for column, value in zip(table.columns, row, strict=True):
                    if isinstance(value, int):
                        continue  # an instant or an amount may have any digits
                    content = bytes(value) if isinstance(value, bytes | memoryview) else str(value)
                    whole = content if isinstance(content, bytes) else content.encode()
                    if text.encode() in whole:
                        found.add(f"{table.name}.{column.name}")
    await database.dispose()
    return found


async def nothing_due(database_url: str) -> None:
    """Wait until the job has done what erasures left to it."""
    database = await Database.open(database_url, schema="earning")
    due = sa.select(sa.func.sum(tables.members.c.is_scrub_due).label("due"))
    for _ in range(200):
        async with database.reading() as tx:
            if not (await tx.fetch(due))[0].due:
                break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("the job does not come to its end")
    await database.dispose()


async def live(caller: Caller) -> member_pb2.Member:
    """A life in which the canary is said wherever a caller can say it."""
    profile = member_pb2.MemberProfile(
        birth_date=Date(year=1977, month=7, day=7),
        attributes={CANARY: CANARY},
        segments=[CANARY],
    )
    ann = await caller.enroll(CANARY, profile)
    await caller.add(f"card {CANARY}", CANARY)
    await caller.add(f"phone {CANARY}", CANARY)
    await caller.remove(f"phone {CANARY}", CANARY)
    await caller.enroll("bob")
    assert (await refused(caller.enroll(CANARY)))[1] == "MEMBER_ALREADY_EXISTS"
    assert (await refused(caller.add(CANARY, "bob")))[1] == "IDENTIFIER_TAKEN"
    activity = purchase("a-1", CANARY, lines=[(2, 1_000)])
    activity.attributes["note"].string_value = CANARY
    await caller.record(activity)
    await caller.freeze(CANARY)
    assert (await refused(caller.buy("a-2", CANARY)))[1] == "MEMBER_FROZEN"
    await caller.unfreeze(CANARY)
    return ann


async def test_after_an_erasure_no_table_has_the_name_and_the_books_verify(
    caller: Caller, database_url: str
) -> None:
    ann = await live(caller)
    assert len(await places(database_url, CANARY)) >= 7
    erased = await caller.erase(CANARY)
    assert (erased.state, erased.member_id, list(erased.identifiers)) == (
        STATE.STATE_ERASED,
        "",
        [],
    )
    assert not erased.HasField("profile") or erased.profile == member_pb2.MemberProfile()
    assert await refused(caller.get(CANARY)) == ("NOT_FOUND", "MEMBER_NOT_FOUND")
    await nothing_due(database_url)
    assert await places(database_url, CANARY) == set()
    assert await places(database_url, "1977") == set()
    assert await caller.verified() == []
    # What was earned can still be taken back, by the record.
    reverse = pb.ReverseActivityRequest(program_id=PROGRAM, order=order("r-1", "a-1"))
    assert (await caller.earning.ReverseActivity(reverse)).reversal.points == 10
    assert await caller.verified() == []
    # The name is free: whoever comes with it now is somebody else.
    await caller.buy("a-9", CANARY)
    assert (await caller.get(CANARY)).member_key != ann.member_key


async def test_an_answer_given_before_is_given_again_without_the_name(
    caller: Caller, database_url: str
) -> None:
    request = pb.EnrollMemberRequest(**caller.key(), member_id=CANARY)
    await caller.earning.EnrollMember(request)
    taken = pb.EnrollMemberRequest(**caller.key(), member_id=CANARY)
    await refused(caller.earning.EnrollMember(taken))
    erase = members_pb.EraseMemberRequest(**caller.key(), member_id=CANARY)
    first = await caller.members.EraseMember(erase)
    await nothing_due(database_url)
    again = (await caller.earning.EnrollMember(request)).member
    assert (again.member_id, again.state) == ("", STATE.STATE_ERASED)
    assert (await refused(caller.earning.EnrollMember(taken)))[1] == "MEMBER_ALREADY_EXISTS"
    assert await caller.members.EraseMember(erase) == first


async def test_other_members_keep_what_is_told_of_them(caller: Caller, database_url: str) -> None:
    await live(caller)
    other = purchase("b-1", "bob", lines=[(1, 500)])
    other.attributes["note"].string_value = "of bob"
    await caller.record(other)
    bob = await caller.get("bob")
    await caller.erase(CANARY)
    await nothing_due(database_url)
    assert await caller.get("bob") == bob
    assert {"activities.content", "feed_events.payload"} <= await places(database_url, "of bob")


REFUSALS = [
    (MemberAlreadyExists(member_id="7"), MemberAlreadyExists(member_id="")),
    (IdentifierTaken(identifier="7"), IdentifierTaken(identifier="")),
    (IdentifierTaken(identifier="77"), IdentifierTaken(identifier="77")),
]


@pytest.mark.parametrize(("refusal", "blank"), REFUSALS, ids=repr)
def test_a_stored_refusal_loses_the_name_and_nothing_else(
    refusal: errors.Refusal, blank: errors.Refusal
) -> None:
    assert errors.load(without(errors.dump(refusal), "7")) == blank
