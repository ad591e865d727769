"""The table of adjustments; it belongs to the schema of `tables.py`."""

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


def adjustments(metadata: MetaData) -> Table:
    """Corrections by hand: those that wait, those that were booked and those that were rejected."""
    return Table(
        "adjustments",
        metadata,
        Column("program_id", Text, nullable=False),
        Column("adjustment_id", Text, nullable=False),
        Column("member_key", Text, nullable=False),
        Column("currency_id", Text, nullable=False),
        Column("points", BigInteger, nullable=False),
        Column("actor", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("create_time", Instant, nullable=False),
        Column("decider", Text, nullable=False),
        Column("rejection_reason", Text, nullable=False),
        Column("decide_time", Instant),
        Column("entry_sequence", BigInteger, nullable=False),
        PrimaryKeyConstraint("program_id", "adjustment_id"),
        CheckConstraint("points <> 0", name="points"),
        CheckConstraint("state IN ('awaiting_approval', 'booked', 'rejected')", name="state"),
        CheckConstraint("(state = 'booked') = (entry_sequence > 0)", name="entry_sequence"),
        CheckConstraint(
            "(state = 'awaiting_approval') = (decide_time IS NULL)", name="decide_time"
        ),
        Index("ix_adjustments_state", "program_id", "state", "create_time", "adjustment_id"),
        Index("ix_adjustments_wallet", "program_id", "member_key", "currency_id"),
    )
