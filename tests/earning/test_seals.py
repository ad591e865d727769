"""Days are sealed once, exactly, whatever happens at midnight; and what is sealed stays proved."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf import json_format

from guerdon.clock.v1 import clock_service_pb2
from guerdon.clock.v1.clock_service_pb2_grpc import ClockServiceStub
from guerdon.earning.v1 import seal_service_pb2 as pb
from services.earning import seals, store_seals, tables, wire
from services.earning.domain import CurrencyId, MemberId, ProgramId
from services.earning.jobs_seals import SealDays
from services.earning.queries_seals import SealQueries
from services.earning.seals import Seal
from shared.database import Database
from tests.conftest import open_database
from tests.databases import EARNING
from tests.earning.callers import Caller, calling, refused
from tests.earning.nodes import PROGRAM, START, Node, opened, purchase
from tests.earning.tampering import tampering

# The clocks of London are set forward in the night to 29 March 2026.
BEFORE_SPRING = datetime.fromisoformat("2026-03-26T12:00:00+00:00")
SEALS, CHUNKS, ENTRIES = tables.seals, tables.seal_chunks, tables.entries


async def sealed(node: Node) -> list[Seal]:
    async with node.database.reading() as tx:
        return await store_seals.all_of(tx, ProgramId(PROGRAM))


async def buy(node: Node, member_id: str, amount: int = 1_000) -> None:
    activity = purchase(
        f"a-{node.request_id()}", member_id, lines=[(1, amount)], occurred=node.clock.now()
    )
    await node.record(activity)


async def test_a_day_is_sealed_a_minute_after_it_is_over_with_what_was_booked_in_it(
    node: Node,
) -> None:
    await buy(node, "ann")
    await buy(node, "bob", 2_500)
    await buy(node, "ann")
    await node.hold(4)
    node.clock.advance(datetime.fromisoformat("2025-06-01T23:00:59.999999+00:00"))
    await buy(node, "cid")  # on the second of June, in London
    assert await node.seal_days.due() == 0
    assert await node.seal_days.run() == 0
    await node.advance(microseconds=1)
    assert await node.seal() == 1
    (found,) = await sealed(node)
    assert (found.day, found.time_zone) == (date(2025, 6, 1), "Europe/London")
    assert found.end_time == datetime.fromisoformat("2025-06-01T23:00:00+00:00")
    assert found.totals == {"points": (2, 4, 41, 0, 4, 0)}
    assert found.previous_hash == b""
    assert await node.verify() == []


async def test_days_without_service_are_sealed_one_by_one_as_they_would_have_been(
    tmp_path: Path,
) -> None:
    """One copy runs through the clock change of spring, the other seals all of it afterwards."""
    days = 6
    found: list[list[Seal]] = []
    for name, is_down in (("up", False), ("down", True)):
        database = await open_database(await EARNING.sqlite(tmp_path / f"{name}.db"))
        async with opened(database) as node:
            node.clock.advance(BEFORE_SPRING)
            if not is_down:
                await node.seal()
            for number in range(days):
                await buy(node, f"m{number}")
                await buy(node, "ann", 100 * number)
                await node.advance(days=1)
                if not is_down:
                    await node.seal()
            await node.seal()
            found.append(await sealed(node))
            assert await node.verify() == []
        await database.dispose()
    up, down = found
    assert [each.day for each in up] == [
        date(2025, 6, 1) + timedelta(days=number) for number in range(len(up))
    ]
    assert up[-1].day == date(2026, 3, 31)
    lengths = {later.day: later.end_time - each.end_time for each, later in pairwise(up)}
    hours = {day: length for day, length in lengths.items() if length != timedelta(days=1)}
    assert hours == {
        date(2025, 10, 26): timedelta(hours=25),
        date(2026, 3, 29): timedelta(hours=23),
    }
    assert [(each.day, each.end_time, each.totals) for each in up] == [
        (each.day, each.end_time, each.totals) for each in down
    ]
    assert up[-1].wallets == days + 1
    for some in found:
        assert [each.previous_hash for each in some[1:]] == [each.seal_hash for each in some[:-1]]


async def test_seals_made_late_are_those_that_a_twin_made_in_time(database: Database) -> None:
    """The same ledger is sealed in time, and again from nothing after everything was booked."""
    async with opened(database) as node:
        for number in range(4):
            await buy(node, "ann", 1_000 + number)
            await buy(node, f"m{number}")
            await node.advance(days=1)
            await node.seal()
        in_time = await sealed(node)
        assert len(in_time) == 4
        await unsealed(node)
        node.seal_days = SealDays(node.database, node.programs, node.clock)
        assert await node.seal() == 4
        late = await sealed(node)
        assert [each.seal_hash for each in late] == [each.seal_hash for each in in_time]
        assert [each.totals for each in late] == [each.totals for each in in_time]
        assert await node.verify() == []


async def unsealed(node: Node) -> None:
    """Take all seals away, as nobody can without undoing what the database guards."""
    async with tampering(node.database) as change:
        await change(sa.delete(SEALS))
        await change(sa.delete(CHUNKS))


async def test_several_copies_of_the_job_make_each_seal_once(node: Node) -> None:
    for number in range(5):
        await buy(node, f"m{number}")
        await node.advance(days=1)
    copies = [SealDays(node.database, node.programs, node.clock) for _ in range(4)]

    async def work(copy: SealDays) -> None:
        while await copy.due():
            await copy.run()

    await asyncio.gather(*map(work, copies))
    found = await sealed(node)
    assert [each.day for each in found] == [
        date(2025, 6, 1) + timedelta(days=number) for number in range(5)
    ]
    assert [each.wallets for each in found] == [1, 2, 3, 4, 5]
    assert await node.verify() == []


async def test_a_sealing_goes_on_behind_what_another_process_has_done(node: Node) -> None:
    names = [f"m{number}" for number in range(2_100)]
    activities = [purchase(f"a-{name}", name, lines=[(1, 100)]) for name in names]
    await node.results([wire.record_from_proto(PROGRAM, each) for each in activities])
    await node.enroll("zoe")  # has a key and no wallet
    await node.advance(days=1)
    one, other = (
        SealDays(node.database, node.programs, node.clock, chunks_a_piece=1) for _ in range(2)
    )
    assert await one.run() == 1_024
    later = [  # on the next day, between two pieces
        purchase(f"b-{name}", name, lines=[(1, 100)], occurred=node.clock.now())
        for name in (*names[:1_000], "newcomer")
    ]
    await node.results([wire.record_from_proto(PROGRAM, each) for each in later])
    assert await other.run() == 1_024
    assert await sealed(node) == []
    assert await one.run() == 53
    (found,) = await sealed(node)
    assert found.totals == {"points": (2_100, 2_100, 2_100, 0, 0, 0)}
    async with node.database.reading() as tx:
        chunks = await store_seals.chunks(tx, ProgramId(PROGRAM), found.day)
    assert [(each.number, each.leaves) for each in chunks] == [(0, 1_024), (1, 1_024), (2, 52)]
    assert await node.verify() == []
    queries = SealQueries(node.database, node.programs)
    for name in (names[0], names[1_050], names[2_099]):
        proof = await queries.proof(ProgramId(PROGRAM), MemberId(name), CurrencyId(""), "")
        leaf = proof.leaf
        hashed = seals.leaf_hash(leaf.member_key, leaf.currency_id, 1, leaf.chain_hash)
        assert seals.climbed(hashed, proof.steps) == found.root
        assert len(proof.steps) in {7, 8, 11, 12}


async def test_a_lane_that_read_the_clock_before_midnight_is_waited_for(node: Node) -> None:
    """Its entry is of the day although it is committed long after the day is over."""
    await buy(node, "ann")
    read, go_on = asyncio.Event(), asyncio.Event()
    decide = node.executor._decide

    async def slow(tx: Any, plan: Any, now: datetime) -> None:
        read.set()
        await go_on.wait()
        await decide(tx, plan, now)

    node.executor._decide = slow  # type: ignore[method-assign]
    late = asyncio.create_task(buy(node, "ann"))
    await read.wait()
    await node.advance(days=1)
    runs = asyncio.create_task(node.seal_days.run())
    finished, _ = await asyncio.wait({runs}, timeout=1)
    assert await sealed(node) == []  # PostgreSQL's job looks again later, SQLite's waits its turn
    assert not finished or runs.result() == 0
    go_on.set()
    await late
    await runs
    await node.seal()
    (found,) = await sealed(node)
    assert found.totals == {"points": (1, 2, 20, 0, 0, 0)}
    assert await node.verify() == []


async def rewrite(node: Node, sequence: int) -> None:
    """Give a wallet a point more in one entry, and make everything that hangs on it agree."""
    async with node.database.reading() as tx:
        rows = await tx.fetch(
            sa.select(ENTRIES).where(ENTRIES.c.sequence >= sequence).order_by(ENTRIES.c.sequence)
        )
        before = await tx.fetch(
            sa.select(ENTRIES.c.chain_hash).where(ENTRIES.c.sequence == sequence - 1)
        )
    chain = bytes(before[0].chain_hash) if before else b""
    async with tampering(node.database) as change:
        for row in rows:
            is_first = row.sequence == sequence
            values: dict[str, Any] = {"reason": "never was" if is_first else row.reason}
            chain = sha256(chain + canonical({**row._mapping, **values}).encode()).digest()
            await change(
                sa.update(ENTRIES)
                .where(ENTRIES.c.sequence == row.sequence)
                .values(**values, chain_hash=chain)
            )
        await change(sa.update(tables.wallets).values(chain_hash=chain))


def canonical(row: dict[str, Any]) -> str:
    """The canonical form of an entry that makes, uses or dates one lot of its own."""

    def instant(name: str) -> int | None:
        value = row[name]
        return None if value is None else (value - EPOCH) // timedelta(microseconds=1)

    head = [
        *(row[name] for name in ("program_id", "member_key", "currency_id", "sequence", "type")),
        *(row[name] for name in ("available_delta", "pending_delta", "held_delta", "debt_delta")),
        *(row[name] for name in ("program_account", "program_delta", "available_after")),
        *(row[name] for name in ("activity_id", "reference", "reason")),
        *(instant(name) for name in ("occurred_time", "create_time")),
        *(row[name] for name in ("explanation", "lot_sequence")),
        *(instant(name) for name in ("lot_available_time", "lot_expire_time", "slide_time")),
        [],
    ]
    return json.dumps(head, separators=(",", ":"), ensure_ascii=False)


EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


async def test_an_entry_that_was_changed_is_found_though_its_wallet_s_chain_was_made_anew(
    node: Node,
) -> None:
    await node.enroll("ann")
    await node.credit(5)
    await node.credit(6)
    await node.advance(days=1)
    await node.credit(7)
    await rewrite(node, 2)
    assert await node.verify() == []  # nothing was sealed yet: nobody can know
    await node.seal()
    await node.credit(8)
    await rewrite(node, 3)  # booked after the day that is sealed
    assert await node.verify() == []
    await rewrite(node, 1)
    assert {each.rule for each in await node.verify()} == {"seal_root", "seal_chunks"}


@pytest.mark.parametrize(
    ("table", "values", "rules"),
    [
        (SEALS, {"totals": '[["points",1,3,19,0,0,0]]'}, {"seal_totals", "seal_chain"}),
        (SEALS, {"root": b"r" * 32}, {"seal_root", "seal_chain"}),
        (SEALS, {"seal_hash": b"s" * 32}, {"seal_chain"}),
        (SEALS, {"time_zone": "Nowhere/Else"}, {"seal_chain", "seal_days"}),
        (SEALS, {"end_time": START}, {"seal_days", "seal_chain", "seal_root", "seal_totals"}),
        (CHUNKS, {"root": b"r" * 32}, {"seal_chunks"}),
        (CHUNKS, {"last_member_key": "zz"}, {"seal_chunks"}),
    ],
)
async def test_a_seal_that_was_changed_is_found(
    node: Node, table: sa.Table, values: dict[str, object], rules: set[str]
) -> None:
    await node.enroll("ann")
    await node.credit(5)
    await node.advance(days=2)
    await node.seal()
    async with tampering(node.database) as change:
        await change(sa.update(table).where(table.c.day == date(2025, 6, 2)).values(**values))
    assert rules <= {each.rule for each in await node.verify()} <= {*rules, "seal_chunks"}


async def test_a_seal_that_was_taken_away_is_found(node: Node) -> None:
    await node.enroll("ann")
    await node.credit(5)
    await node.advance(days=3)
    await node.seal()
    async with tampering(node.database) as change:
        await change(sa.delete(SEALS).where(SEALS.c.day == date(2025, 6, 2)))
    assert {each.rule for each in await node.verify()} == {"seal_days", "seal_chain"}


async def test_a_program_that_moves_to_another_zone_goes_on_with_the_next_day(node: Node) -> None:
    await node.enroll("ann")
    await node.credit(5)
    await node.advance(days=1)
    await node.seal()
    await node.apply(time_zone="Asia/Shanghai")
    await node.credit(5)
    await node.advance(days=2)
    await node.seal()
    found = [
        (each.day.day, each.time_zone, each.end_time.isoformat()) for each in await sealed(node)
    ]
    assert found == [
        (1, "Europe/London", "2025-06-01T23:00:00+00:00"),
        (2, "Europe/London", "2025-06-02T23:00:00+00:00"),
        (3, "Asia/Shanghai", "2025-06-03T16:00:00+00:00"),
    ]
    assert await node.verify() == []


# Behind gRPC -------------------------------------------------------------------------------------


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(database_url, tmp_path) as made:
        yield made


async def advance(caller: Caller, **parts: float) -> None:
    clock = ClockServiceStub(caller.channel)
    now = (await clock.GetClock(clock_service_pb2.GetClockRequest())).now
    request = clock_service_pb2.AdvanceClockRequest()
    request.to.FromMicroseconds(
        now.ToMicroseconds() + timedelta(**parts) // timedelta(microseconds=1)
    )
    await clock.AdvanceClock(request)


async def until_sealed(caller: Caller, days: int) -> None:
    async with asyncio.timeout(30):
        while len(await caller.listed_seals()) < days:
            pass


async def test_a_wallet_is_proved_with_the_lines_of_the_docs(caller: Caller) -> None:
    for name in ("ann", "bob", "cid", "dan", "eve"):
        await caller.buy(f"p-{name}", name)
    await advance(caller, days=1)
    await until_sealed(caller, 1)
    await caller.buy("later", "ann")
    page = (Path(__file__).parents[2] / "docs" / "audits.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    by_hand: dict[str, Any] = {}
    exec(code, by_hand)
    for name in ("ann", "bob", "cid", "dan", "eve"):
        proof = await caller.proof(name)
        said = json_format.MessageToDict(proof)
        assert by_hand["root"](said) == proof.seal.root
        assert proof.sequence == 1
        said["sequence"] = "2"
        assert by_hand["root"](said) != proof.seal.root
        end = proof.seal.end_time.ToMicroseconds()
        assert by_hand["seal_hash"](said["seal"], end) == proof.seal.seal_hash
    assert await caller.verified() == []


async def test_seals_are_listed_by_pages_and_given_by_day(caller: Caller) -> None:
    await caller.buy("p1")
    await advance(caller, days=3)
    await until_sealed(caller, 3)
    first = await caller.seals.ListSeals(pb.ListSealsRequest(program_id=PROGRAM, page_size=2))
    assert [each.day for each in first.seals] == ["2025-06-03", "2025-06-02"]
    rest = await caller.seals.ListSeals(
        pb.ListSealsRequest(program_id=PROGRAM, page_size=2, page_token=first.next_page_token)
    )
    assert [each.day for each in rest.seals] == ["2025-06-01"]
    assert rest.next_page_token == ""
    latest = await caller.seals.GetSeal(pb.GetSealRequest(program_id=PROGRAM))
    assert latest.seal == first.seals[0]
    one = await caller.seals.GetSeal(pb.GetSealRequest(program_id=PROGRAM, day="2025-06-01"))
    assert one.seal == rest.seals[0]


async def test_what_is_not_sealed_is_refused_by_name(caller: Caller) -> None:
    await caller.buy("p1")
    latest = pb.GetSealRequest(program_id=PROGRAM)
    with pytest.raises(
        grpc.aio.AioRpcError, match="no seal yet: a day is sealed soon after its end"
    ):
        await caller.seals.GetSeal(latest)
    await advance(caller, days=1)
    await until_sealed(caller, 1)
    await caller.buy("p2", "late")
    assert await refused(caller.proof("late")) == ("NOT_FOUND", "WALLET_NOT_SEALED")
    assert await refused(caller.proof("zoe")) == ("NOT_FOUND", "MEMBER_NOT_FOUND")
    for day in ("2025-06-02", "2025-02-30"):
        assert await refused(caller.proof("ann", day)) == ("NOT_FOUND", "SEAL_NOT_FOUND")


async def test_an_erased_member_stays_in_the_seals_and_the_books_verify(caller: Caller) -> None:
    await caller.buy("p1")
    await caller.buy("p2", "bob")
    await advance(caller, days=1)
    await until_sealed(caller, 1)
    await caller.erase("ann")
    await caller.merge("bob", (await caller.enroll("cid")).member_id)
    assert await caller.verified() == []
    await advance(caller, days=1)
    await until_sealed(caller, 2)
    assert await caller.verified() == []


@pytest.mark.parametrize("verb", ["update", "delete"])
@pytest.mark.parametrize("table", [SEALS, CHUNKS])
async def test_the_database_refuses_to_change_what_is_sealed(
    node: Node, table: sa.Table, verb: str
) -> None:
    await buy(node, "ann")
    await node.advance(days=1)
    await node.seal()
    change = sa.update(table).values(root=b"r") if verb == "update" else sa.delete(table)
    with pytest.raises(sa.exc.IntegrityError, match="append only"):
        async with node.database.transaction() as tx:
            await tx.core.execute(change)
