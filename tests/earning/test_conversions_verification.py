"""Whoever tampers with one side of a conversion is found out, whatever the chain of hashes says."""

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from guerdon.earning.v1 import earning_service_pb2 as pb
from services.earning import audit_conversions, notes, tables, wire
from services.earning.audit_columns import EntryColumns
from services.earning.domain import CurrencyId, ProgramId
from shared.database import Database
from tests.earning.nodes import PROGRAM, Node, opened
from tests.earning.tampering import found_after

ENTRIES = tables.entries
IN, OUT = (ENTRIES.c.type == each for each in ("convert_in", "convert_out"))
RULE = "conversions_agree"


@pytest.fixture
async def node(database: Database) -> AsyncIterator[Node]:
    """Ann has turned 40 crumbs into 10 petals, and 4 of these into 12 crumbs."""
    async with opened(database) as made:
        await made.apply(
            currencies=[{"currency_id": each} for each in ("points", "petals", "crumbs")],
            conversions=[
                {
                    "conversion_id": f"{of}-{to}",
                    "from_currency_id": of,
                    "to_currency_id": to,
                    "numerator": numerator,
                    "denominator": denominator,
                }
                for of, to, numerator, denominator in (
                    ("crumbs", "petals", 1, 4),
                    ("petals", "crumbs", 3, 1),
                )
            ],
        )
        await made.enroll("ann")
        request = pb.CreditPointsRequest(
            request_id=made.request_id(),
            program_id=PROGRAM,
            member_id="ann",
            currency_id="crumbs",
            points=60,
        )
        await made.answer(wire.credit_from_proto(request))
        await made.convert(40, "crumbs", "petals")
        await made.convert(4, "petals", "crumbs")
        assert await made.verify() == []
        yield made


@pytest.mark.parametrize("side", [IN, OUT], ids=["in", "out"])
@pytest.mark.parametrize(
    "change",
    [
        {"explanation": ""},
        {"explanation": '{"other_sequence":[],"other_currency_id":"petals"}'},
        {"reference": "another"},
        {"reason": "another"},
        {"type": "credit"},
        {"program_delta": ENTRIES.c.program_delta + 1},
    ],
    ids=["nothing", "unreadable", "request", "reason", "type", "points"],
)
async def test_a_change_of_one_side_is_found(
    node: Node, change: dict[str, object], side: sa.ColumnElement[bool]
) -> None:
    found = await found_after(node, sa.update(ENTRIES).where(side).values(change))
    assert found & {RULE, "refused by the database"}


async def test_a_side_that_was_removed_is_found(node: Node) -> None:
    assert RULE in await found_after(node, sa.delete(ENTRIES).where(IN))


def half(
    type_: str, currency: str, points: int, rate: tuple[int, int], reference: str = "q-1"
) -> EntryColumns:
    """An entry of ann's with number 1, whose other half is number 1 of the other currency."""
    other = CurrencyId("petals" if currency == "crumbs" else "crumbs")
    note = notes.Note(
        other_currency_id=other, other_sequence=1, numerator=rate[0], denominator=rate[1]
    )
    # fmt: off
    return (
        "ann", currency, 1, type_, -points, 0, 0, 0, "conversion", points, 0, "", reference, "",
        7, 7, notes.written(note), b"", 0, None, None, None,
    )
    # fmt: on


@pytest.mark.parametrize(
    ("out", "into", "wrong"),
    [
        (half("convert_out", "crumbs", 40, (1, 4)), half("convert_in", "petals", -10, (1, 4)), 0),
        (half("convert_out", "crumbs", 41, (1, 4)), half("convert_in", "petals", -10, (1, 4)), 1),
        (half("convert_out", "crumbs", 40, (1, 4)), half("convert_in", "petals", -11, (1, 4)), 1),
        (half("convert_out", "crumbs", 40, (1, 4)), half("convert_in", "petals", -10, (2, 8)), 2),
        (half("convert_out", "crumbs", 0, (1, 4)), half("convert_in", "petals", 0, (1, 4)), 1),
        (half("convert_out", "crumbs", 40, (1, 4)), half("convert_out", "petals", -10, (1, 4)), 2),
        (
            half("convert_out", "crumbs", 40, (1, 4)),
            half("convert_in", "petals", -10, (1, 4), "q-2"),
            1,
        ),
    ],
)
def test_both_sides_agree_with_the_rate_that_is_kept_with_them(
    out: EntryColumns, into: EntryColumns, wrong: int
) -> None:
    found = list(audit_conversions.audit(ProgramId("shop"), [out, into]))
    assert [each.rule for each in found] == [RULE] * wrong


@pytest.mark.parametrize(
    "alone",
    [half("convert_out", "crumbs", 40, (1, 4)), half("convert_in", "petals", -10, (1, 4))],
)
def test_a_side_without_the_other_is_found(alone: EntryColumns) -> None:
    (found,) = audit_conversions.audit(ProgramId("shop"), [alone])
    assert (found.rule, found.subject) == (RULE, f"shop/ann/{alone[1]}#1")
