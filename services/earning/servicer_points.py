"""Points that are moved by hand, as callers see it: protobuf in, protobuf out."""

from typing import cast

from guerdon.earning.v1 import points_pb2
from guerdon.earning.v1 import points_service_pb2 as pb
from guerdon.earning.v1 import points_service_pb2_grpc as pb_grpc
from services.earning import answers, wire_points
from services.earning.domain import Entry, ProgramId
from services.earning.points_records import (
    Adjustment,
    AdjustmentId,
    Converted,
    Extended,
    Transferred,
)
from services.earning.queries_points import Named, PointsQueries
from shared.group_commit import GroupCommit
from shared.ids import Ids
from shared.rpc.interceptors import Context

NAME = "guerdon.earning.v1.PointsService"


class PointsServicer(pb_grpc.PointsServiceServicer):
    """Serves transfers, conversions and corrections. `ids` makes the identifiers of adjustments."""

    def __init__(self, group_commit: GroupCommit, queries: PointsQueries, ids: Ids) -> None:
        self._group_commit = group_commit
        self._queries = queries
        self._ids = ids

    # Transfers -----------------------------------------------------------------------------------

    async def TransferPoints(
        self, request: pb.TransferPointsRequest, context: Context
    ) -> pb.TransferPointsResponse:
        """Move points from one member to another."""
        del context
        outcome = await self._group_commit.submit(wire_points.transfer_from_proto(request))
        transfer = wire_points.transfer_to_proto(request, cast("Transferred", outcome.answer))
        return pb.TransferPointsResponse(transfer=transfer, feed_token=outcome.token)

    async def ConvertPoints(
        self, request: pb.ConvertPointsRequest, context: Context
    ) -> pb.ConvertPointsResponse:
        """Turn points of one currency into points of another."""
        del context
        outcome = await self._group_commit.submit(wire_points.convert_from_proto(request))
        conversion = wire_points.conversion_to_proto(request, cast("Converted", outcome.answer))
        return pb.ConvertPointsResponse(conversion=conversion, feed_token=outcome.token)

    # Adjustments ---------------------------------------------------------------------------------

    async def AdjustPoints(
        self, request: pb.AdjustPointsRequest, context: Context
    ) -> pb.AdjustPointsResponse:
        """Give or take points by hand."""
        del context
        command = wire_points.adjust_from_proto(request, self._ids.new())
        outcome = await self._group_commit.submit(command)
        adjustment = wire_points.adjustment_to_proto(
            cast("Adjustment", outcome.answer), request.member_id
        )
        return pb.AdjustPointsResponse(adjustment=adjustment, feed_token=outcome.token)

    async def ApproveAdjustment(
        self, request: pb.ApproveAdjustmentRequest, context: Context
    ) -> pb.ApproveAdjustmentResponse:
        """Book an adjustment that waits."""
        del context
        adjustment, token = await self._decided(request)
        return pb.ApproveAdjustmentResponse(adjustment=adjustment, feed_token=token)

    async def RejectAdjustment(
        self, request: pb.RejectAdjustmentRequest, context: Context
    ) -> pb.RejectAdjustmentResponse:
        """End an adjustment that waits without booking it."""
        del context
        adjustment, token = await self._decided(request)
        return pb.RejectAdjustmentResponse(adjustment=adjustment, feed_token=token)

    async def GetAdjustment(
        self, request: pb.GetAdjustmentRequest, context: Context
    ) -> pb.GetAdjustmentResponse:
        """Give an adjustment."""
        del context
        found = await self._queries.adjustment(
            ProgramId(request.program_id), AdjustmentId(request.adjustment_id)
        )
        return pb.GetAdjustmentResponse(adjustment=_named(found))

    async def ListAdjustments(
        self, request: pb.ListAdjustmentsRequest, context: Context
    ) -> pb.ListAdjustmentsResponse:
        """List the adjustments of a program."""
        del context
        page = await self._queries.adjustments(
            ProgramId(request.program_id),
            wire_points.states_from_proto(request.state),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListAdjustmentsResponse(
            adjustments=[_named(each) for each in page.adjustments],
            next_page_token=page.next_page_token,
        )

    # Ends ----------------------------------------------------------------------------------------

    async def ExtendPoints(
        self, request: pb.ExtendPointsRequest, context: Context
    ) -> pb.ExtendPointsResponse:
        """Let points end later."""
        del context
        outcome = await self._group_commit.submit(wire_points.extend_from_proto(request))
        extended = cast("Extended", outcome.answer)
        return pb.ExtendPointsResponse(
            entries=[answers.entry_to_proto(each) for each in extended.entries],
            has_more=extended.has_more,
            feed_token=outcome.token,
        )

    async def ReinstatePoints(
        self, request: pb.ReinstatePointsRequest, context: Context
    ) -> pb.ReinstatePointsResponse:
        """Bring points back that have ended."""
        del context
        outcome = await self._group_commit.submit(wire_points.reinstate_from_proto(request))
        entry = answers.entry_to_proto(cast("Entry", outcome.answer))
        return pb.ReinstatePointsResponse(entry=entry, feed_token=outcome.token)

    # Helpers -------------------------------------------------------------------------------------

    async def _decided(self, request: wire_points.Deciding) -> tuple[points_pb2.Adjustment, str]:
        outcome = await self._group_commit.submit(wire_points.decide_from_proto(request))
        named = await self._queries.named(cast("Adjustment", outcome.answer))
        return _named(named), outcome.token


def _named(found: Named) -> points_pb2.Adjustment:
    return wire_points.adjustment_to_proto(found.adjustment, found.member_id)
