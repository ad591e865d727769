"""A verification finds points that were let live longer, or came back, otherwise than they may.

Whoever forges an entry may hash it properly: then it is what the entry says that is wrong.
"""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from services.earning import ledger, ledger_settling, ledger_transfers, tables
from services.earning.audit_wallets import WalletAudit
from services.earning.domain import EntryType, Lot
from services.earning.expiry import AfterDays, CurrencyPolicy
from services.earning.ledger import Cause
from services.earning.ledger_books import Books
from services.earning.ledger_settling import settle
from shared.database import Database
from tests.earning import columns
from tests.earning.nodes import START, Node, opened
from tests.earning.samples import CURRENCY, NOW, wallet
from tests.earning.tampering import found_after

DAY = timedelta(days=1)
TEN_DAYS = CurrencyPolicy(
    currency_id=CURRENCY, zone=ZoneInfo("UTC"), expiry=AfterDays(days=10), reminder_days=()
)
CAME_BACK = {"extend", "reinstate"}


# Forged entries ----------------------------------------------------------------------------------


def cause(now: datetime) -> Cause:
    return Cause(now=now, occurred_time=now)


def credited(points: int) -> tuple[Books, Lot]:
    """Points that end after ten days."""
    made = Books.of(wallet(), {})
    movement = ledger.credit(made.wallet, points, EntryType.CREDIT, cause(NOW), TEN_DAYS)
    made.book(movement)
    assert movement.made is not None
    return made, movement.made


def violated(made: Books) -> set[str]:
    audit = WalletAudit(made.began)
    for movement in made.movements:
        entry = movement.entry
        uses = [(use.lot_sequence, use.points) for use in entry.lot_uses]
        audit.add([columns.of_entry(entry)], {entry.sequence: uses})
    lots = [columns.of_lot(made.wallet, lot) for lot in made.lots.values()]
    audit.finish(columns.of_wallet(made.wallet), lots, (), (), 0)
    # Only the books are here, and no rows of adjustments.
    return {each.rule for each in audit.violations} - {"adjustments_equal_entries"}


@pytest.mark.parametrize(
    ("days", "rules"),
    [(20, set()), (12, set()), (10, {"entry_lots_time"}), (3, {"entry_lots_time"})],
)
def test_points_that_are_extended_end_later_than_before(days: int, rules: set[str]) -> None:
    made, lot = credited(100)
    until = NOW + days * DAY
    made.book(ledger_settling.extend(made.wallet, lot, until, cause(NOW + DAY), TEN_DAYS))
    assert violated(made) == rules


@pytest.mark.parametrize(
    ("points", "rules"), [(40, set()), (60, set()), (61, {"entry_lots"}), (100, {"entry_lots"})]
)
def test_no_more_points_come_back_than_had_ended(points: int, rules: set[str]) -> None:
    """Of a hundred points forty were taken away before the rest ended."""
    made, _ = credited(100)
    made.book(ledger_transfers.adjust(made.wallet, made.lots, -40, cause(NOW), TEN_DAYS))
    now = NOW + 15 * DAY
    settle(made, TEN_DAYS, now)
    lot, until = made.lots[1], now + 10 * DAY
    made.book(ledger_settling.reinstate(made.wallet, lot, points, until, cause(now), TEN_DAYS))
    assert violated(made) == rules


def test_what_came_back_twice_is_found() -> None:
    made, _ = credited(100)
    now = NOW + 15 * DAY
    settle(made, TEN_DAYS, now)
    for _ in range(2):
        lot, until = made.lots[1], now + 10 * DAY
        made.book(ledger_settling.reinstate(made.wallet, lot, 60, until, cause(now), TEN_DAYS))
    assert "entry_lots" in violated(made)


# Changed entries ---------------------------------------------------------------------------------


@pytest.fixture
async def node(database: Database) -> AsyncIterator[Node]:
    """Ann's points live longer, and bob's came back after their end."""
    currency = {"currency_id": "points", "expiry": {"after_days": 10}, "reminder_days": [0]}
    async with opened(database) as made:
        await made.apply(currencies=[currency])
        for name in ("ann", "bob"):
            await made.enroll(name)
            await made.credit(20, name)
        await made.extend(1, START + 30 * DAY)
        await made.advance(days=12)
        await made.settle()
        await made.reinstate(1, 15, START + 60 * DAY, "bob")
        assert await made.verify() == []
        yield made


CHANGED = ["create_time", "lot_sequence", "lot_available_time", "lot_expire_time", "slide_time"]


@pytest.mark.parametrize("type_", sorted(CAME_BACK))
@pytest.mark.parametrize("name", CHANGED)
async def test_a_change_of_when_points_end_is_found(node: Node, type_: str, name: str) -> None:
    change = sa.update(tables.entries).where(tables.entries.c.type == type_)
    assert "entry_chain" in await found_after(node, change.values({name: sa.literal_column("7")}))


async def test_a_use_that_points_came_back_to_is_found_when_it_is_changed(node: Node) -> None:
    change = sa.update(tables.lot_uses).where(tables.lot_uses.c.points == 15).values(points=14)
    assert {"entry_chain", "entry_lots"} <= await found_after(node, change)
