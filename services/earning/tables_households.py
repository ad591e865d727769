"""The tables of households, in the schema of `tables.py`."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from shared.database import Instant


def household_tables(metadata: MetaData) -> tuple[Table, Table, Table, Table]:
    """Households, who is or was last in which, invitations, and what holds have of members."""
    households = Table(
        "households",
        metadata,
        *_texts("program_id", "household_id", "head_key"),
        Column("create_time", Instant, nullable=False),
        Column("joined", Integer, nullable=False),
        Column("dissolve_time", Instant),
        PrimaryKeyConstraint("program_id", "household_id"),
        CheckConstraint("joined >= 1", name="joined"),
    )
    # A member is in at most one: it has one row, of the household that it is in or was in last.
    members = Table(
        "household_members",
        metadata,
        *_texts("program_id", "member_key", "household_id"),
        Column("number", Integer, nullable=False),
        Column("join_time", Instant, nullable=False),
        Column("leave_time", Instant),
        PrimaryKeyConstraint("program_id", "member_key"),
        CheckConstraint("number >= 1", name="number"),
        Index("ix_household_members_household", "program_id", "household_id"),
    )
    invitations = Table(
        "household_invitations",
        metadata,
        *_texts("program_id", "code", "household_id", "member_key"),
        Column("create_time", Instant, nullable=False),
        *_texts("accepted_by"),
        PrimaryKeyConstraint("program_id", "code"),
        Index("ix_household_invitations_member", "program_id", "household_id", "member_key"),
    )
    # `lots` is JSON text, as that of `holds`.
    shares = Table(
        "hold_shares",
        metadata,
        *_texts("program_id", "hold_id", "member_key", "currency_id"),
        *[
            Column(name, BigInteger, nullable=False)
            for name in ("points", "captured", "refunded", "entry_sequence")
        ],
        *_texts("lots"),
        PrimaryKeyConstraint("program_id", "hold_id", "member_key"),
        CheckConstraint("points > 0", name="points"),
        CheckConstraint("captured >= 0 AND captured <= points", name="captured"),
        CheckConstraint("refunded >= 0 AND refunded <= captured", name="refunded"),
        Index("ix_hold_shares_wallet", "program_id", "member_key", "currency_id"),
    )
    return households, members, invitations, shares


def _texts(*names: str) -> list[Column[str]]:
    return [Column(name, Text, nullable=False) for name in names]
