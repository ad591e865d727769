"""A verification finds whatever was changed behind the service's back."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from services.earning import tables
from shared.database import Database
from tests.earning.nodes import START, Node, opened, order, purchase
from tests.earning.tampering import found_after, tampering


async def story(node: Node) -> None:
    """Something of everything, for two members."""
    for member in ("ann", "bob"):
        await node.record(purchase(f"{member}-1", member, [(3, 10_000), (2, 555)], receipt=member))
        await node.record(purchase(f"{member}-2", member, [(1, 700)], category="postage"))
        await node.credit(40, member)
        first = await node.hold(30, member)
        await node.capture(first.hold_id, 20)
        await node.refund(first.hold_id, 5)
        await node.hold(10, member)
        await node.reverse(order(f"{member}-v", f"{member}-1", lines=[(1, 2)]))
        paid = purchase(f"{member}-3", member, amount=2_000)
        paid.payment.points_hold_id = first.hold_id
        await node.record(paid)
        await node.reverse(order(f"{member}-w", f"{member}-3", amount=500))
        for number, units in enumerate(([(1, 1)], [(1, 9)])):
            await node.reverse(order(f"{member}-x{number}", f"{member}-4", lines=units))
        await node.record(purchase(f"{member}-4", member, [(3, 900)]))
        await node.reverse(order(f"{member}-y", f"{member}-never"))
    assert await node.verify() == []


@pytest.fixture
async def books(database: Database) -> AsyncIterator[Node]:
    """A ledger in which something of everything happened."""
    async with opened(database) as node:
        await story(node)
        yield node


@pytest.fixture
async def sqlite_books(sqlite_database: Database) -> AsyncIterator[Node]:
    """The same, on SQLite."""
    async with opened(sqlite_database) as node:
        await story(node)
        yield node


def _changed(name: str, value: object) -> object:
    """Another value that the column could have."""
    if value is None:
        return START
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    if isinstance(value, datetime):
        return value + timedelta(microseconds=1)
    if isinstance(value, int):
        return value + 1
    others = {"earn": "credit", "issuance": "expiry", "": "x"}
    assert isinstance(value, str), name
    return others.get(value, f"{value}x")


TAMPERED = [
    (table, column.name)
    for table in (tables.entries, tables.lot_uses, tables.wallets, tables.lots)
    for column in table.columns
    # A CHECK keeps is_open with what remains; frozen is no entry's doing; the clock may look at a
    # wallet too early (too late is found, see below).
    if column.name not in {"is_open", "frozen", "next_time"}
]


@pytest.mark.parametrize(
    ("table", "name"), TAMPERED, ids=[f"{table.name}-{name}" for table, name in TAMPERED]
)
async def test_a_change_of_any_column_of_any_row_is_found(
    sqlite_books: Node, table: sa.Table, name: str
) -> None:
    """Every row in turn: changed, found, and changed back."""
    node = sqlite_books
    async with node.database.reading() as tx:
        rows = await tx.fetch(sa.select(table))
    keys = list(table.primary_key.columns)
    for row in rows:
        old = getattr(row, name)
        new = _changed(name, old)
        places = [key == getattr(row, key.name) for key in keys]
        found = await found_after(node, sa.update(table).where(*places).values({name: new}))
        assert found, (row, new)
        if found != {"refused by the database"}:
            moved = [key == (new if key.name == name else getattr(row, key.name)) for key in keys]
            back = sa.update(table).where(*moved).values({name: old})
            assert await found_after(node, back) == set()


@pytest.mark.parametrize("table", ["entries", "lot_uses", "wallets", "lots", "holds", "reversals"])
async def test_a_row_that_was_removed_is_found(books: Node, table: str) -> None:
    found = tables.metadata.tables[table]
    async with books.database.reading() as tx:
        row = (await tx.fetch(sa.select(found)))[0]
    places = [key == getattr(row, key.name) for key in found.primary_key.columns]
    assert await found_after(books, sa.delete(found).where(*places))


CHANGES: list[tuple[str, dict[str, object], str]] = [
    ("activities", {"points": 1_000}, "activity_lines"),
    ("activities", {"amount_reversed": 7}, "activity_reversals"),
    ("activities", {"level_id": "gold"}, "activity_lines"),
    ("activities", {"content": b""}, "activity_recomputed"),
    ("activities", {"entry_sequence": 99}, "activity_entry"),
    ("activities", {"points": 0, "points_reversed": 0}, "activity_entry"),
    ("activities", {"member_key": "nobody"}, "activity_entry"),
    ("activities", {"currency_id": "other"}, "activity_entry"),
    ("activities", {"occurred_time": START - timedelta(days=1)}, "activity_entry"),
    ("activities", {"create_time": START - timedelta(days=1)}, "activity_entry"),
    ("activities", {"available_time": START}, "activity_entry"),
    ("activities", {"explanation": "[]"}, "activity_entry"),
    ("activity_lines", {"points": 999}, "activity_lines"),
    ("activity_lines", {"quantity_returned": 1}, "activity_reversals"),
    ("reversals", {"points": 1, "owed": 0}, "activity_reversals"),
    ("holds", {"captured": 0, "refunded": 0}, "holds_equal_entries"),
    ("holds", {"points": 999}, "holds_equal_entries"),
    ("holds", {"lots": "[[1,-1]]"}, "holds_equal_entries"),
    ("holds", {"activity_id": ""}, "activity_paid"),
    ("activities", {"points_hold_id": ""}, "activity_paid"),
    ("reversals", {"points_given_back": 4}, "activity_paid"),
    ("reversals", {"points_given_back": 6}, "activity_paid"),
    ("entries", {"type": "gift"}, "entry_type"),
    ("entries", {"type": "credit"}, "activity_entry"),
    ("entries", {"activity_id": "other"}, "activity_entry"),
    ("entries", {"explanation": "{}"}, "entry_chain"),
]


@pytest.mark.parametrize(("table", "values", "rule"), CHANGES)
async def test_what_was_changed_is_named(
    books: Node, table: str, values: dict[str, object], rule: str
) -> None:
    found = tables.metadata.tables[table]
    assert rule in await found_after(books, sa.update(found).values(values))


async def test_swapped_entries_are_found(sqlite_books: Node) -> None:
    async with tampering(sqlite_books.database) as change:
        for new, old in ((100, 1), (1, 2), (2, 100)):
            moved = sa.update(tables.entries).where(tables.entries.c.sequence == old)
            await change(moved.values(sequence=new))
    assert {each.rule for each in await sqlite_books.verify()} >= {"entry_chain"}


async def test_progress_ends_with_everything_done(books: Node) -> None:
    last: dict[str, tuple[int, int]] = {}
    async for progress in books.verification.run(""):
        last[progress.stage] = (progress.done, progress.total)
    assert last == {"wallets": (2, 2), "activities": (8, 8), "waiting": (4, 4)}
