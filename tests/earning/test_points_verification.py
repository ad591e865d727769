"""Whoever tampers with an adjustment, or with one side of a transfer, is found out."""

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import points_service_pb2 as points_pb
from services.earning import tables, wire, wire_points
from services.earning.points_records import Adjustment
from shared.database import Database
from tests.earning.nodes import PROGRAM, Node, opened
from tests.earning.tampering import found_after

MOVED = tables.adjustments
# Of what nothing was booked for, nothing can be recomputed.
UNTOLD = {"create_time", "rejection_reason"}
COLUMNS = [column.name for column in MOVED.columns if column.name not in UNTOLD]


@pytest.fixture
async def node(database: Database) -> AsyncIterator[Node]:
    """Ann was given points by two actors, and gave some of them to bob."""
    async with opened(database) as made:
        await made.apply(adjustment_approval_above_points=50)
        for name in ("ann", "bob"):
            request = pb.EnrollMemberRequest(
                request_id=made.request_id(), program_id=PROGRAM, member_id=name
            )
            await made.answer(wire.enroll_from_proto(request))
        asked = await adjust(made, 60)
        approve = points_pb.ApproveAdjustmentRequest(
            request_id=made.request_id(),
            program_id=PROGRAM,
            adjustment_id=asked.adjustment_id,
            actor="dan",
        )
        await made.answer(wire_points.decide_from_proto(approve))
        transfer = points_pb.TransferPointsRequest(
            request_id=made.request_id(),
            program_id=PROGRAM,
            from_member_id="ann",
            to_member_id="bob",
            points=25,
        )
        await made.answer(wire_points.transfer_from_proto(transfer))
        assert await made.verify() == []
        yield made


async def adjust(node: Node, points: int) -> Adjustment:
    request = points_pb.AdjustPointsRequest(
        request_id=node.request_id(),
        program_id=PROGRAM,
        member_id="ann",
        points=points,
        actor="cara",
        reason="a late parcel",
    )
    answer = await node.answer(wire_points.adjust_from_proto(request, node.ids.new()))
    assert isinstance(answer, Adjustment)
    return answer


@pytest.mark.parametrize("name", COLUMNS)
async def test_a_change_of_any_column_of_a_booked_adjustment_is_found(
    node: Node, name: str
) -> None:
    column = MOVED.columns[name]
    other = 7 if isinstance(column.type, sa.BigInteger) or name.endswith("_time") else "other"
    change = sa.update(MOVED).values({name: sa.literal_column(repr(other))})
    found = await found_after(node, change)
    assert found & {"adjustments_equal_entries", "refused by the database"}


async def test_an_adjustment_that_was_removed_is_found(node: Node) -> None:
    assert await found_after(node, sa.delete(MOVED)) == {"adjustments_equal_entries"}


async def test_points_that_left_and_never_came_are_found(sqlite_database: Database) -> None:
    async with opened(sqlite_database) as made:
        request = pb.EnrollMemberRequest(
            request_id=made.request_id(), program_id=PROGRAM, member_id="ann"
        )
        await made.answer(wire.enroll_from_proto(request))
        await adjust(made, 20)
        change = sa.update(tables.entries).values(program_account="transfer")
        assert "transfers_zero_sum" in await found_after(made, change)
