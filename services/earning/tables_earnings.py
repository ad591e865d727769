"""Tables of what activities earn of a program's further currencies; in other programs, empty."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from shared.database import Instant

# Reversals change a row of `activity_earnings` again and again.
_ROOM = {"fillfactor": 70}


def further_tables(metadata: MetaData) -> tuple[Table, Table]:
    """`activity_earnings` and `reversal_earnings`; the first currency is in the rows they hang on.

    Of a reversal's points, `owed` could not be taken and became a debt; `line_points` is JSON text:
    what each returned line gives back, empty for one of before there was such a column.
    """
    activity_earnings = Table(
        "activity_earnings",
        metadata,
        *_ids("program_id", "activity_id", "currency_id"),
        *_numbers("points", "points_reversed", "entry_sequence"),
        Column("available_time", Instant),
        *_ids("explanation"),
        PrimaryKeyConstraint("program_id", "activity_id", "currency_id"),
        CheckConstraint("points >= 0", name="points"),
        CheckConstraint(
            "points_reversed >= 0 AND points_reversed <= points", name="points_reversed"
        ),
        postgresql_with=_ROOM,
    )
    reversal_earnings = Table(
        "reversal_earnings",
        metadata,
        *_ids("program_id", "reversal_id", "currency_id", "activity_id"),
        *_numbers("points", "owed"),
        Column("line_points", Text, nullable=False, server_default=""),
        PrimaryKeyConstraint("program_id", "reversal_id", "currency_id"),
        CheckConstraint("owed >= 0 AND owed <= points", name="owed"),
        Index(None, "program_id", "activity_id"),
    )
    return activity_earnings, reversal_earnings


def _ids(*names: str) -> list[Column[str]]:
    return [Column(name, Text, nullable=False) for name in names]


def _numbers(*names: str) -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in names]
