"""Statements, as callers see them: protobuf in, protobuf out."""

from guerdon.earning.v1 import statement_service_pb2 as pb
from guerdon.earning.v1 import statement_service_pb2_grpc as pb_grpc
from services.earning import answers
from services.earning.domain import CurrencyId, MemberId, ProgramId
from services.earning.queries_statements import StatementQueries
from services.earning.wire_statements import statement_to_proto
from shared.rpc.interceptors import Context

NAME = "guerdon.earning.v1.StatementService"


class StatementServicer(pb_grpc.StatementServiceServicer):
    """Serves statements."""

    def __init__(self, queries: StatementQueries) -> None:
        self._queries = queries

    async def GetStatement(
        self, request: pb.GetStatementRequest, context: Context
    ) -> pb.GetStatementResponse:
        """Give a month of a member's wallet."""
        del context
        page = await self._queries.statement(
            ProgramId(request.program_id),
            MemberId(request.member_id),
            CurrencyId(request.currency_id),
            request.month,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.GetStatementResponse(
            statement=statement_to_proto(page.statement),
            entries=[answers.entry_to_proto(each) for each in page.entries],
            next_page_token=page.next_page_token,
        )
