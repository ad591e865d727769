"""The two nights of a year when the clocks change, in three zones: caps, ends, waits, jobs.

Lord Howe's clocks change by half an hour.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.earning.domain import EntryType
from tests.earning.nodes import Node, purchase

CHANGES = [
    ("Europe/London", "2025-10-26", 25.0),
    ("Europe/London", "2026-03-29", 23.0),
    ("America/New_York", "2025-11-02", 25.0),
    ("America/New_York", "2026-03-08", 23.0),
    ("Australia/Lord_Howe", "2025-10-05", 23.5),
    ("Australia/Lord_Howe", "2026-04-05", 24.5),
]
each_change = pytest.mark.parametrize(("zone", "day", "hours"), CHANGES)
MOMENT = timedelta(microseconds=1)


def midnight(zone: str, day: str, later: int = 0) -> datetime:
    """The first moment of a day, or of one so many days later, in a zone."""
    local = datetime.fromisoformat(day) + timedelta(days=later)
    return local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


async def bought(node: Node, name: str, points: int, when: datetime) -> int:
    made = purchase(name, lines=[(1, points * 100)], occurred=when)
    return (await node.record(made)).points


async def types(node: Node) -> list[EntryType]:
    return [entry.type for entry in reversed(await node.entries())]


@each_change
async def test_the_day_of_a_cap_is_as_long_as_the_day_is(
    node: Node, zone: str, day: str, hours: float
) -> None:
    first, next_ = midnight(zone, day), midnight(zone, day, later=1)
    assert next_ - first == timedelta(hours=hours)
    cap = {"cap_id": "day", "period": "PERIOD_DAY", "points": 10}
    await node.apply(time_zone=zone, caps=[cap])
    node.clock.advance(next_)
    assert await bought(node, "before", 8, first - MOMENT) == 8
    assert await bought(node, "first", 8, first) == 8
    assert await bought(node, "last", 8, next_ - MOMENT) == 2
    assert await bought(node, "next", 8, next_) == 8


@each_change
async def test_points_that_live_a_day_end_at_the_midnight_after_it_and_are_booked_once(
    node: Node, zone: str, day: str, hours: float
) -> None:
    currency = {"currency_id": "points", "expiry": {"after_days": 1}, "reminder_days": [0]}
    await node.apply(time_zone=zone, currencies=[currency])
    node.clock.advance(midnight(zone, day, later=-1) + timedelta(hours=12))
    await bought(node, "eve", 5, node.clock.now())
    node.clock.advance(midnight(zone, day) + timedelta(hours=12))
    await bought(node, "change", 7, node.clock.now())
    ends = midnight(zone, day, later=1)
    node.clock.advance(ends - MOMENT)
    assert await node.settle() == 0
    assert (await node.wallet()).available == 12
    node.clock.advance(ends)
    assert await node.settle() == 1
    assert await node.settle() == 0
    assert (await node.wallet()).available == 7
    node.clock.advance(ends + timedelta(days=10))
    assert await node.settle() == 1
    assert await types(node) == [EntryType.EARN] * 2 + [EntryType.EXPIRE] * 2
    wallet = await node.wallet()
    assert (wallet.available, wallet.expired) == (0, 12)
    assert await node.verify() == []
    del hours


@each_change
async def test_a_wait_of_a_day_is_24_hours_whatever_the_wall_clock_does(
    node: Node, zone: str, day: str, hours: float
) -> None:
    currency = {"currency_id": "points", "pending_duration": "86400s"}
    await node.apply(time_zone=zone, currencies=[currency])
    earned = midnight(zone, day)
    node.clock.advance(earned)
    await bought(node, "wait", 9, earned)
    node.clock.advance(earned + timedelta(hours=24) - MOMENT)
    assert (await node.wallet()).available == 0
    node.clock.advance(earned + timedelta(hours=24))
    assert (await node.wallet()).available == 9
    assert await node.settle() == 1
    assert await types(node) == [EntryType.EARN, EntryType.ACTIVATE]
    assert (midnight(zone, day, later=1) == node.clock.now()) is (hours == 24)


@pytest.mark.parametrize("zone", ["Europe/London", "America/New_York", "Australia/Lord_Howe"])
async def test_a_job_that_slept_through_both_changes_books_every_day_once(
    node: Node, zone: str
) -> None:
    currency = {"currency_id": "points", "expiry": {"after_days": 2}, "reminder_days": [0]}
    await node.apply(time_zone=zone, currencies=[currency])
    days = [day for each, day, _ in CHANGES if each == zone]
    bought_at = sorted(
        midnight(zone, day, later=later) + timedelta(hours=13)
        for day in days
        for later in range(-2, 3)
    )
    for number, when in enumerate(bought_at):
        node.clock.advance(when)
        await bought(node, f"a-{number}", 3, when)
    node.clock.advance(bought_at[-1] + timedelta(days=30))
    assert await node.settle() == 1
    expired = [entry for entry in await node.entries() if entry.type is EntryType.EXPIRE]
    assert -sum(entry.available_delta for entry in expired) == 3 * len(bought_at)
    assert (await node.wallet()).available == 0
    assert await node.verify() == []
