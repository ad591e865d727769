"""The verification finds what was tampered with, whatever it is, and nothing else."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.redemption import tables
from shared.database import Database
from tests.redemption.shops import NOW, PROGRAM, Shop, refused, reward, shop_of

_r, _v, _i = tables.redemptions, tables.vouchers, tables.kernel.intentions
_completed = _r.c.state == "completed"
_cancelled = _r.c.state == "cancelled"
_failed = _r.c.state == "failed"

TAMPERED: list[tuple[Sequence[sa.Executable], set[str]]] = [
    ([tables.shelves.update().values(taken=2)], {"shelf_equals_redemptions"}),
    ([tables.shelves.delete()], {"redemption_has_shelf"}),
    ([tables.slots.delete()], {"slot_taken_by_redemption"}),
    (
        [tables.slots.update().values(redemption_id="x")],
        {"slot_taken_by_redemption", "slot_has_redemption"},
    ),
    (
        [_r.update().where(_completed).values(slot=2), tables.slots.update().values(slot=2)],
        {"slot_within_limit"},
    ),
    ([_r.update().where(_failed).values(refusal="")], {"failure_has_reason"}),
    ([_v.delete()], {"completed_has_voucher"}),
    ([_v.update().values(hint="XXXX")], {"completed_has_voucher"}),
    (
        [
            _v.insert().values(
                program_id=PROGRAM, code_hash="x", redemption_id="x", hint="", issue_time=NOW
            )
        ],
        {"voucher_has_redemption"},
    ),
    ([_i.update().values(close_time=None, lease_until_micros=2**62)], {"intention_has_work"}),
    ([_r.update().where(_completed).values(state="pending")], {"work_has_intention"}),
    ([_r.update().where(_completed).values(hold_id="x")], {"captured_once"}),
    ([_r.update().where(_completed).values(points=1)], {"captured_once"}),
    ([_r.update().where(_cancelled).values(points=1)], {"refunded_once"}),
    (
        [
            _r.update()
            .where(_cancelled)
            .values(state="failed", failure_reason="SOLD_OUT", refusal="x", hold_id="h"),
        ],
        {"nothing_kept"},
    ),
]


async def prepared(shop: Shop) -> None:
    """One redemption that is completed, one that is cancelled, one that has failed."""
    await shop.apply(reward(stock=2))
    await shop.redeem("ann", token=await shop.enroll("ann", 500))
    second = await shop.redeem("bob", token=await shop.enroll("bob", 500))
    await shop.cancel(second.redemption.redemption_id)
    await refused(shop.redeem("cy", token=await shop.enroll("cy", 20)))
    assert await shop.violations() == []


@pytest.mark.parametrize("number", range(len(TAMPERED)))
async def test_what_was_tampered_with_is_found(
    sqlite_url: str, tmp_path: Path, number: int
) -> None:
    statements, rules = TAMPERED[number]
    async with shop_of(sqlite_url, tmp_path) as shop:
        await prepared(shop)
        database = await Database.open(sqlite_url, schema="redemption")
        async with database.transaction() as tx:
            for statement in statements:
                await tx.execute(statement)
        await database.dispose()
        assert {rule for rule, _ in await shop.violations()} == rules


async def test_a_healthy_shop_has_no_violations_on_either_database(shop: Shop) -> None:
    await prepared(shop)
    assert [each.state for each in await shop.redemptions()] != []
