"""The table of reversals that came before their activity, in the schema of `tables.py`."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

from shared.database import Instant


def waiting_table(metadata: MetaData) -> Table:
    """What was asked for (`scope` is JSON text: which, and its parts), and what became of it."""
    return Table(
        "waiting_reversals",
        metadata,
        *[Column(name, Text, nullable=False) for name in ("program_id", "reversal_id")],
        Column("activity_id", Text, nullable=False),
        Column("number", BigInteger, nullable=False),
        Column("occurred_time", Instant, nullable=False),
        Column("create_time", Instant, nullable=False),
        *[Column(name, Text, nullable=False) for name in ("reason", "scope", "state")],
        Column("settle_time", Instant),
        Column("rejected_reason", Text, nullable=False),
        PrimaryKeyConstraint("program_id", "reversal_id"),
        # They are applied in the order in which they came.
        UniqueConstraint("program_id", "activity_id", "number"),
        CheckConstraint("state IN ('waiting', 'applied', 'rejected')", name="state"),
        CheckConstraint("(state = 'waiting') = (settle_time IS NULL)", name="settle_time"),
        CheckConstraint("(state = 'rejected') = (rejected_reason <> '')", name="rejected_reason"),
    )
