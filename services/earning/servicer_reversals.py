"""Reads about reversals, as callers see them: protobuf in, protobuf out."""

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import earning_service_pb2_grpc as pb_grpc
from services.earning import answers
from services.earning.domain import ActivityId, ProgramId, ReversalId
from services.earning.queries_reversals import ReversalQueries
from shared.rpc.interceptors import Context


class ReversalServicer(pb_grpc.EarningServiceServicer):
    """The part of EarningService that shows reversals; the rest is in `servicer.py`."""

    def __init__(self, reversals: ReversalQueries) -> None:
        self._reversals = reversals

    async def GetReversal(
        self, request: pb.GetReversalRequest, context: Context
    ) -> pb.GetReversalResponse:
        """Give a reversal as it is now."""
        del context
        found = await self._reversals.reversal(
            ProgramId(request.program_id),
            ActivityId(request.activity_id),
            ReversalId(request.reversal_id),
        )
        return pb.GetReversalResponse(reversal=answers.reversal_to_proto(found))

    async def ListReversals(
        self, request: pb.ListReversalsRequest, context: Context
    ) -> pb.ListReversalsResponse:
        """List the reversals of an activity, also those that wait for it."""
        del context
        page = await self._reversals.reversals(
            ProgramId(request.program_id),
            ActivityId(request.activity_id),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListReversalsResponse(
            reversals=[answers.reversal_to_proto(each) for each in page.reversals],
            next_page_token=page.next_page_token,
        )
