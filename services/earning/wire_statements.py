"""Statements as messages."""

from guerdon.earning.v1 import statement_service_pb2 as pb
from services.earning.statements import Balance, Statement


def statement_to_proto(of: Statement) -> pb.Statement:
    """A month of a wallet."""
    made = pb.Statement(
        month=of.month,
        currency_id=of.currency_id,
        opening=_balance(of.opening),
        points_earned=of.earned,
        points_spent=of.spent,
        points_expired=of.expired,
        points_reversed=of.reversed,
        points_transferred=of.transferred,
        points_converted=of.converted,
        points_adjusted=of.adjusted,
        closing=_balance(of.closing),
        entry_count=of.entry_count,
    )
    for each in of.expiring:
        month = made.expiring.add(month=each.month, points=each.points)
        month.first_expire_time.FromDatetime(each.first_expire_time)
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
