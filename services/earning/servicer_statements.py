"""Statements, as callers see them: protobuf in, protobuf out."""

from guerdon.earning.v1 import statement_service_pb2 as pb
from guerdon.earning.v1 import statement_service_pb2_grpc as pb_grpc
from services.earning import answers
from services.earning.domain import CurrencyId, MemberId, ProgramId
from services.earning.queries_statements import StatementQueries
from services.earning.statements import Balance, Statement
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
            statement=_statement(page.statement),
            entries=[answers.entry_to_proto(each) for each in page.entries],
            next_page_token=page.next_page_token,
        )


def _statement(of: Statement) -> pb.Statement:
    made = pb.Statement(
        month=of.month,
        currency_id=of.currency_id,
        opening=_balance(of.opening),
        points_earned=of.earned,
        points_spent=of.spent,
        points_expired=of.expired,
        points_reversed=of.reversed,
        points_transferred=of.transferred,
        points_adjusted=of.adjusted,
        closing=_balance(of.closing),
        entry_count=of.entry_count,
    )
    made.start_time.FromDatetime(of.start_time)
    made.end_time.FromDatetime(of.end_time)
    return made


def _balance(of: Balance) -> pb.StatementBalance:
    return pb.StatementBalance(
        points_available=of.available,
        points_pending=of.pending,
        points_held=of.held,
        points_debt=of.debt,
        points_total=of.total,
    )
