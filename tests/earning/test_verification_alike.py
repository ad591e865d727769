"""What was bought alike is decided again once, where nothing else could decide it otherwise."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
import sqlalchemy as sa
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from guerdon.earning.v1.activity_pb2 import Activity
from services.earning import documents, tables
from services.earning.audit_decisions import Decisions, likeness
from shared.database import Database
from tests.earning.nodes import PARTITIONS, PROGRAM, SHOP, START, Node, opened, purchase

BONUS: dict[str, object] = {"rule_id": "bonus", "bonus": {"points": 7}}
HOLIDAY = {"from_date": "2025-06-02", "until_date": "2025-06-02"}


@pytest.fixture
async def node(sqlite_database: Database) -> AsyncIterator[Node]:
    async with opened(sqlite_database) as made:
        yield made


async def remembers(node: Node) -> bool:
    """Whether decisions of the version in force are remembered by what was done."""
    programs = documents.programs(PARTITIONS)
    async with node.database.reading() as tx:
        found = await programs.require(tx, PROGRAM)
    return Decisions(found.program, found.version.content).is_remembered


def rules(*more: dict[str, object]) -> Sequence[object]:
    known = SHOP["rules"]
    assert isinstance(known, list)
    return [*known, *more]


@pytest.mark.parametrize(
    ("rule", "alike"),
    [
        ({"condition": 'activity.source == "till"'}, True),
        ({"condition": 'tier == ""'}, True),
        ({"condition": 'activity.activity_id == "p-1"'}, False),
        ({"condition": 'activity.external_reference.startsWith("r-1")'}, False),
        ({"condition": "activity.occurred_time.getDayOfMonth() == 1"}, False),
        ({"schedule": HOLIDAY}, False),
        ({"nth": {"number": 2}}, False),
        ({"occasion": {"kind": "KIND_ENROLLMENT_ANNIVERSARY"}}, False),
        ({"caps": [{"cap_id": "c", "period": "PERIOD_LIFETIME", "points": 10}]}, False),
    ],
    ids=str,
)
async def test_a_rule_that_asks_more_than_what_was_bought_is_asked_again(
    node: Node, *, rule: dict[str, object], alike: bool
) -> None:
    """Two purchases of the same, a day apart, of which the rule may apply to one."""
    await node.apply(rules=rules({**BONUS, **rule}))
    for number in (1, 2):
        bought = purchase(f"p-{number}", lines=[(1, 1_000)], receipt=f"r-{number}")
        bought.occurred_time.FromDatetime(START + timedelta(days=number - 1))
        if number > 1:
            await node.advance(days=1)
        await node.record(bought)
    assert await node.verify() == []
    assert await remembers(node) is alike


async def test_what_was_bought_alike_is_compared_each_time(node: Node) -> None:
    for number in (1, 2, 3):
        await node.record(purchase(f"p-{number}", lines=[(1, 1_000)]))
    assert await remembers(node)
    where = tables.activities.c.activity_id == "p-2"
    other = sa.func.replace(tables.activities.c.explanation, "1000", "1001")
    async with node.database.transaction() as tx:
        change = sa.update(tables.activities).where(where).values(explanation=other)
        assert (await tx.core.execute(change)).rowcount == 1
    found = await node.verify()
    assert {each.subject for each in found} == {f"{PROGRAM}/p-2"}
    assert "activity_recomputed" in {each.rule for each in found}


SHORT_OR_LONG = st.text(max_size=3) | st.integers(min_value=120, max_value=140).map("x".__mul__)


@given(
    names=st.tuples(SHORT_OR_LONG, SHORT_OR_LONG, SHORT_OR_LONG, SHORT_OR_LONG),
    seconds=st.integers(min_value=-(2**40), max_value=2**40),
    amount=st.none() | st.integers(min_value=0, max_value=2**40),
    told=st.text(max_size=3),
)
def test_activities_are_alike_that_differ_in_nothing_but_who_did_it_when(
    names: tuple[str, str, str, str], seconds: int, amount: int | None, told: str
) -> None:
    """Whether or not it needs to be read whole, and whatever identifier it should have."""
    activity_id, type_, source, reference = names
    made = Activity(
        activity_id=activity_id, type=type_, source=source, external_reference=reference
    )
    made.occurred_time.seconds = seconds
    if amount is not None:
        made.payment.amount_minor = amount
    content = made.SerializeToString(deterministic=True)
    for name in ("activity_id", "external_reference", "occurred_time"):
        made.ClearField(name)
    alike = made.SerializeToString(deterministic=True)
    assert likeness(content, activity_id) == likeness(content, told) == alike


@pytest.mark.parametrize("length", [63, 64, 65, 127, 128])
@pytest.mark.parametrize("letter", ["a", "é", "字"])
def test_a_long_reference_of_any_letters_is_read_whole(letter: str, length: int) -> None:
    made = Activity(activity_id="p-1", type="purchase", external_reference=letter * length)
    made.occurred_time.seconds = 5
    content = made.SerializeToString(deterministic=True)
    assert likeness(content, "p-1") == Activity(type="purchase").SerializeToString()


@pytest.mark.parametrize(
    ("part", "other"),
    [
        (b"\x22\x02\x08\x05", b"\x22\x02\x08\xff"),
        (b"\x22\x02\x08\x05", b"\x22\x7f\x08\x05"),
        (b"\x32\x03r-1", b"\x32\x03r-\xff"),
        (b"\x32\x03r-1", b"\x32\x7fr-1"),
    ],
    ids=["time", "length of the time", "reference", "length of the reference"],
)
def test_what_cannot_be_read_is_alike_to_nothing(part: bytes, other: bytes) -> None:
    made = Activity(activity_id="p-1", type="purchase", external_reference="r-1")
    made.occurred_time.seconds = 5
    content = made.SerializeToString(deterministic=True)
    assert part in content
    with pytest.raises((ValueError, DecodeError)):
        likeness(content.replace(part, other), "p-1")
