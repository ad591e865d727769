"""Program documents that come into force at a set time, are listed and rolled back."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from guerdon.earning.v1 import program_pb2
from guerdon.feed.v1 import program_document_pb2 as pb
from shared import document_wire, errors
from shared.clock import SimulatedClock
from shared.database import Database, Tx
from shared.documents import Applied, ProgramDocuments
from shared.programs import (
    Programs,
    ProgramVersionNotFound,
    PublicationDue,
    PublicationScheduled,
    PublishTimePassed,
    Scheduled,
    Versioned,
)
from tests.shared.feeds import TABLES, prepared

PARTITIONS = 4
NOON = datetime(2026, 12, 23, 12, tzinfo=UTC)
EVE = datetime(2026, 12, 24, tzinfo=UTC)
LATER = datetime(2026, 12, 26, 9, tzinfo=UTC)
CLASSIC = "classic"


@dataclass(eq=False, kw_only=True)
class SoldAlready(errors.FailedPrecondition):
    """What the documents of these tests say of the currency BAD when it comes into force."""

    message = "it is sold already"


class Documents(ProgramDocuments[program_pb2.EarningProgram, str]):
    """Documents that are compiled to their currency."""

    kind = program_pb2.EarningProgram

    def check(self, document: program_pb2.EarningProgram) -> None:
        if not document.money_currency_code:
            raise errors.FieldViolations(
                violations=(errors.Violation(field="money_currency_code", description="is empty"),)
            )

    async def took_effect(
        self, tx: Tx, before: Versioned[str] | None, after: Versioned[str], now: datetime
    ) -> None:
        if after.program == "BAD":
            raise SoldAlready


def _compile(program_id: str, version: int, content: bytes) -> str:
    return program_pb2.EarningProgram.FromString(content).money_currency_code


@dataclass(frozen=True)
class Copy:
    """One process of a service: nothing in its memory is another's."""

    database: Database
    clock: SimulatedClock
    programs: Programs[str]
    documents: Documents

    async def apply(
        self,
        currency: str,
        at: datetime | None = None,
        *,
        etag: str = "",
        cancel: bool = False,
        validate_only: bool = False,
        program_id: str = CLASSIC,
    ) -> Applied:
        document = program_pb2.EarningProgram(program_id=program_id, money_currency_code=currency)
        return await self.documents.apply(
            document,
            author="ann",
            etag=etag,
            validate_only=validate_only,
            prune=True,
            publish_time=at,
            cancel_scheduled=cancel,
        )

    async def in_force(self) -> str:
        """The document that a decision made now meets."""

        async def decide() -> str:
            async with self.database.transaction() as tx:
                found = await self.programs.current(tx, [CLASSIC], self.clock.now())
            return found[CLASSIC].program if found else ""

        return await self.documents.published(decide)

    async def listed(self) -> list[tuple[int, str]]:
        page = await self.documents.versions(CLASSIC, page_size=0, page_token="")
        named = [
            pb.ProgramVersion.State.Name(each.state).removeprefix("STATE_")
            for each in document_wire.versions_to_proto(page)
        ]
        return [(each.version, name) for each, name in zip(page.versions, named, strict=True)]


def copy_of(database: Database, now: datetime = NOON) -> Copy:
    programs = Programs(TABLES, _compile, partitions=PARTITIONS, sources=("earning",))
    clock = SimulatedClock(now)
    return Copy(database, clock, programs, Documents(database, programs, clock))


@pytest.fixture
async def copy(database: Database) -> Copy:
    return copy_of(await prepared(database))


async def _move_cursor(database: Database, partition: int, position: int) -> None:
    row = {"source": "earning", "partition": partition, "position": position, "incarnation": ""}
    async with database.transaction() as tx:
        await tx.upsert(
            TABLES.feed_cursors, [row], key=("source", "partition"), update=("position",)
        )


async def test_a_scheduled_version_decides_nothing_before_its_time(copy: Copy) -> None:
    await copy.apply("EUR")
    made = await copy.apply("USD", EVE)
    assert (made.version, made.scheduled and made.scheduled.version) == (1, 2)
    assert [each.path for each in made.differences] == ["money_currency_code"]
    copy.clock.advance(EVE - timedelta(microseconds=1))
    assert await copy.in_force() == "EUR"
    assert await copy.listed() == [(2, "SCHEDULED"), (1, "IN_FORCE")]


async def test_a_decision_at_the_set_instant_is_made_with_the_new_version(copy: Copy) -> None:
    await copy.apply("EUR")
    await copy.apply("USD", EVE)
    copy.clock.advance(EVE)
    assert await copy.in_force() == "USD"
    assert await copy.listed() == [(2, "IN_FORCE"), (1, "PAST")]
    page = await copy.documents.versions(CLASSIC, page_size=0, page_token="")
    assert [(each.create_time, each.publish_time) for each in page.versions] == [
        (NOON, EVE),
        (NOON, NOON),
    ]


async def test_the_job_is_due_at_the_set_instant_and_publishes_once(copy: Copy) -> None:
    job = copy.documents.job()
    await copy.apply("EUR", EVE)
    assert await job.due() == 0
    copy.clock.advance(EVE)
    assert (await job.due(), await job.run(), await job.due(), await job.run()) == (1, 1, 0, 0)
    async with copy.database.reading() as tx:
        assert (await copy.programs.require(tx, CLASSIC)).program == "EUR"


async def test_the_first_version_of_a_program_may_be_scheduled(copy: Copy) -> None:
    made = await copy.apply("EUR", EVE)
    assert (made.version, made.etag) == (0, "")
    with pytest.raises(errors.ProgramNotFound):
        await copy.documents.get(CLASSIC, 0)
    waiting = await copy.documents.get(CLASSIC, 1)
    assert isinstance(waiting, Scheduled)
    assert await copy.listed() == [(1, "SCHEDULED")]
    copy.clock.advance(EVE)
    assert await copy.in_force() == "EUR"


async def test_a_version_comes_into_force_though_nothing_ran_for_days(copy: Copy) -> None:
    await copy.apply("EUR")
    await copy.apply("USD", EVE)
    restarted = copy_of(copy.database, LATER)
    assert await restarted.in_force() == "USD"
    found = await restarted.documents.get(CLASSIC, 0)
    assert found.publish_time == EVE


async def test_scheduling_again_replaces_what_is_scheduled(copy: Copy) -> None:
    await copy.apply("EUR")
    await copy.apply("USD", EVE)
    await copy.apply("GBP", LATER)
    assert await copy.listed() == [(2, "SCHEDULED"), (1, "IN_FORCE")]
    copy.clock.advance(EVE)
    assert await copy.in_force() == "EUR"
    copy.clock.advance(LATER)
    assert await copy.in_force() == "GBP"


async def test_scheduling_the_same_again_changes_nothing(copy: Copy) -> None:
    await copy.apply("EUR")
    first = (await copy.apply("USD", EVE)).scheduled
    copy.clock.advance(NOON + timedelta(hours=1))
    assert (await copy.apply("USD", EVE)).scheduled == first


async def test_what_differs_in_nothing_is_not_scheduled(copy: Copy) -> None:
    await copy.apply("EUR")
    assert (await copy.apply("EUR", EVE)).scheduled is None
    assert await copy.listed() == [(1, "IN_FORCE")]


async def test_an_apply_at_once_does_not_go_past_what_is_scheduled(copy: Copy) -> None:
    await copy.apply("EUR")
    await copy.apply("USD", EVE)
    with pytest.raises(PublicationScheduled) as refused:
        await copy.apply("GBP")
    assert refused.value == PublicationScheduled(program_id=CLASSIC, version=2, publish_time=EVE)
    same = await copy.apply("EUR")
    assert (same.version, same.scheduled is not None) == (1, True)


async def test_an_apply_that_cancels_what_is_scheduled_takes_its_number(copy: Copy) -> None:
    await copy.apply("EUR")
    await copy.apply("USD", EVE)
    made = await copy.apply("GBP", cancel=True)
    assert (made.version, made.scheduled) == (2, None)
    copy.clock.advance(LATER)
    assert await copy.in_force() == "GBP"


async def test_what_is_in_force_applied_again_cancels_and_makes_no_version(copy: Copy) -> None:
    await copy.apply("EUR")
    await copy.apply("USD", EVE)
    assert (await copy.apply("EUR", cancel=True)).scheduled is None
    assert await copy.listed() == [(1, "IN_FORCE")]


@pytest.mark.parametrize("validate_only", [False, True])
async def test_a_time_that_has_passed_is_refused(copy: Copy, *, validate_only: bool) -> None:
    with pytest.raises(PublishTimePassed):
        await copy.apply("EUR", NOON, validate_only=validate_only)


async def test_validating_a_scheduled_apply_stores_nothing(copy: Copy) -> None:
    await copy.apply("EUR")
    looked = await copy.apply("USD", EVE, validate_only=True)
    assert (len(looked.differences), looked.scheduled) == (1, None)
    assert await copy.listed() == [(1, "IN_FORCE")]


async def test_a_scheduled_apply_checks_the_etag_of_what_is_in_force(copy: Copy) -> None:
    first = await copy.apply("EUR")
    await copy.apply("USD")
    with pytest.raises(errors.EtagMismatch):
        await copy.apply("GBP", EVE, etag=first.etag)


async def test_the_place_in_the_feed_is_that_of_the_moment_it_comes_into_force(copy: Copy) -> None:
    await copy.apply("EUR")
    await _move_cursor(copy.database, 1, 3)
    await copy.apply("USD", EVE)
    await _move_cursor(copy.database, 1, 8)
    copy.clock.advance(LATER)
    await copy.documents.publish_due()
    async with copy.database.reading() as tx:
        met = [
            await copy.programs.version_for(
                tx, CLASSIC, source="earning", partition=1, position=position
            )
            for position in (4, 8, 9)
        ]
    assert met == [1, 1, 2]


async def test_publishing_waits_for_a_follower_that_applies_an_event(copy: Copy) -> None:
    await copy.apply("EUR")
    await copy.apply("USD", EVE)
    copy.clock.advance(EVE)
    async with copy.database.transaction() as tx:
        key = ("source", "partition")
        await tx.select(TABLES.feed_cursors, [("earning", 0)], key=key, lock=True)
        publishing = asyncio.create_task(copy.documents.publish_due())
        await asyncio.sleep(0.05)
        row = {"source": "earning", "partition": 0, "position": 7}
        await tx.update(TABLES.feed_cursors, [row], key=key)
        assert not publishing.done()
    await publishing
    async with copy.database.reading() as tx:
        found = await copy.programs.require(tx, CLASSIC)
    assert found.version.cursors["earning"][0] == 7


async def test_of_many_copies_one_puts_a_version_in_force(copy: Copy) -> None:
    names = [f"program-{number}" for number in range(5)]
    for name in names:
        await copy.apply("EUR", EVE, program_id=name)
    copies = [copy_of(copy.database, EVE) for _ in range(16)]
    done = await asyncio.gather(*(each.documents.publish_due() for each in copies))
    assert sum(done) == len(names)
    async with copy.database.reading() as tx:
        found = await copy.programs.current(tx, names, LATER)
    assert sorted(found) == names


async def test_applies_that_race_leave_gapless_versions_and_at_most_one_scheduled(
    copy: Copy,
) -> None:
    copies = [copy_of(copy.database) for _ in range(8)]

    def attempt(number: int, each: Copy) -> Awaitable[Applied]:
        currency = f"A{number:02}"
        return each.apply(currency, EVE if number % 3 == 1 else None, cancel=number % 3 == 2)

    done = await asyncio.gather(
        *(attempt(number, copies[number % 8]) for number in range(24)), return_exceptions=True
    )
    refused = [each for each in done if isinstance(each, BaseException)]
    assert all(isinstance(each, PublicationScheduled) for each in refused)
    listed = await copy.listed()
    assert [number for number, _ in listed] == list(range(len(listed), 0, -1))
    states = [state for _, state in listed]
    assert states.count("IN_FORCE") == 1
    assert states.count("SCHEDULED") <= 1


async def test_applies_that_race_with_the_set_instant_come_after_it(copy: Copy) -> None:
    await copy.apply("EUR")
    await copy.apply("USD", EVE)
    copies = [copy_of(copy.database, EVE) for _ in range(6)]
    done = await asyncio.gather(
        *(each.apply(f"B{number:02}") for number, each in enumerate(copies))
    )
    assert sorted(each.version for each in done) == [3, 4, 5, 6, 7, 8]
    second = await copy.documents.get(CLASSIC, 2)
    assert (_compile(CLASSIC, 2, second.content), second.publish_time) == ("USD", EVE)


async def test_a_publication_that_is_refused_is_set_aside_and_the_program_goes_on(
    copy: Copy,
) -> None:
    await copy.apply("EUR")
    await copy.apply("BAD", EVE)
    copy.clock.advance(EVE)
    assert await copy.in_force() == "EUR"
    assert await copy.listed() == [(2, "REFUSED"), (1, "IN_FORCE")]
    waiting = await copy.documents.get(CLASSIC, 2)
    assert isinstance(waiting, Scheduled)
    assert waiting.failure == "SOLD_ALREADY: it is sold already"
    assert await copy.documents.job().due() == 0
    made = await copy.apply("USD")
    assert (made.version, made.scheduled) == (2, None)


async def test_what_decides_says_that_a_version_is_due(copy: Copy) -> None:
    await copy.apply("EUR", EVE)
    async with copy.database.reading() as tx:
        with pytest.raises(PublicationDue):
            await copy.programs.current(tx, [CLASSIC], EVE)
        assert await copy.programs.current(tx, [CLASSIC]) == {}


async def test_a_rollback_makes_a_new_version_of_the_old_content(copy: Copy) -> None:
    for currency in ("EUR", "USD", "GBP"):
        await copy.apply(currency)
    made = await _rollback(copy, 1)
    assert (made.version, await copy.in_force()) == (4, "EUR")
    assert (await _rollback(copy, 1)).version == 4


async def test_a_rollback_may_be_scheduled_and_is_refused_like_an_apply(copy: Copy) -> None:
    first = await copy.apply("EUR")
    await copy.apply("USD")
    with pytest.raises(errors.EtagMismatch):
        await _rollback(copy, 1, etag=first.etag)
    await _rollback(copy, 1, at=EVE)
    assert await copy.in_force() == "USD"
    with pytest.raises(PublicationScheduled):
        await copy.apply("GBP")
    copy.clock.advance(EVE)
    assert await copy.in_force() == "EUR"


async def test_a_rollback_to_what_never_was_in_force_is_refused(copy: Copy) -> None:
    with pytest.raises(errors.ProgramNotFound):
        await _rollback(copy, 1)
    await copy.apply("EUR")
    await copy.apply("USD", EVE)
    with pytest.raises(ProgramVersionNotFound):
        await _rollback(copy, 2)


async def _rollback(
    copy: Copy, version: int, *, etag: str = "", at: datetime | None = None
) -> Applied:
    return await copy.documents.rollback(
        CLASSIC, version, author="ann", etag=etag, validate_only=False, publish_time=at
    )


async def test_versions_are_listed_page_by_page_newest_first(copy: Copy) -> None:
    for number in range(5):
        await copy.apply(f"C{number:02}")
    await copy.apply("USD", EVE)
    pages, token = [], ""
    while True:
        page = await copy.documents.versions(CLASSIC, page_size=2, page_token=token)
        pages.append([each.version for each in page.versions])
        token = page.next_page_token
        if not token:
            break
    assert pages == [[6, 5], [4, 3], [2, 1]]
    with pytest.raises(errors.InvalidPageToken):
        await copy.documents.versions("stay", page_size=2, page_token="x")
    with pytest.raises(errors.ProgramNotFound):
        await copy.documents.versions("stay", page_size=2, page_token="")


@pytest.mark.parametrize(
    "broken", [lambda copy: copy.apply(""), lambda copy: copy.apply("", EVE)], ids=["now", "later"]
)
async def test_a_wrong_document_is_refused_whenever_it_is_to_count(
    copy: Copy, broken: Callable[[Copy], Awaitable[Applied]]
) -> None:
    with pytest.raises(errors.FieldViolations):
        await broken(copy)
