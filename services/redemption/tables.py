"""The schema of redemption.

Stock is a CHECK on the shelf, and a member's limit is a primary key of numbered slots, so that
neither can be broken by two processes. Codes are stored as keyed hashes only.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
)

from shared.sqltypes import Instant, new_metadata
from shared.tables import kernel_tables

metadata = new_metadata()
kernel = kernel_tables(metadata)

members = Table(
    "members",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("member_key", Text, primary_key=True),
    Column("enroll_time", Instant, nullable=False),
)

member_identifiers = Table(
    "member_identifiers",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("identifier", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("member_key", Text, nullable=False),
    Column("assign_time", Instant, nullable=False),
    Index("ix_member_identifiers_program_id_member_key", "program_id", "member_key"),
)

tier_timeline = Table(
    "tier_timeline",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("member_key", Text, primary_key=True),
    Column("ladder_id", Text, primary_key=True),
    Column("effective_time", Instant, primary_key=True),
    Column("level_id", Text, nullable=False),
)

shelves = Table(
    "shelves",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("reward_id", Text, primary_key=True),
    Column("stock_total", BigInteger),
    Column("taken", BigInteger, nullable=False),
    CheckConstraint("taken >= 0", name="taken_not_negative"),
    CheckConstraint("stock_total IS NULL OR taken <= stock_total", name="never_oversold"),
)

slots = Table(
    "slots",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("reward_id", Text, primary_key=True),
    Column("member_key", Text, primary_key=True),
    Column("slot", Integer, primary_key=True),
    Column("redemption_id", Text, nullable=False),
    CheckConstraint("slot >= 1", name="slot_from_one"),
)

redemptions = Table(
    "redemptions",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("redemption_id", Text, primary_key=True),
    Column("member_key", Text, nullable=False),
    Column("reward_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("currency_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("failure_reason", Text, nullable=False),
    Column("refusal", Text, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("hold_id", Text, nullable=False),
    Column("voucher_hint", Text, nullable=False),
    Column("program_version", Integer, nullable=False),
    Column("create_time", Instant, nullable=False),
    Column("update_time", Instant, nullable=False),
    Column("from_household", SmallInteger, nullable=False, server_default="0"),
    CheckConstraint("points >= 1", name="points_positive"),
    CheckConstraint(
        "state IN ('pending', 'completed', 'cancelling', 'cancelled', 'failed')", name="state_known"
    ),
    CheckConstraint("(state = 'failed') = (failure_reason <> '')", name="failure_has_reason"),
    Index("ix_redemptions_member", "program_id", "member_key", "create_time", "redemption_id"),
    Index("ix_redemptions_time", "program_id", "create_time", "redemption_id"),
)

vouchers = Table(
    "vouchers",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("code_hash", Text, primary_key=True),
    Column("redemption_id", Text, nullable=False),
    Column("hint", Text, nullable=False),
    Column("issue_time", Instant, nullable=False),
    Index("uq_vouchers_redemption", "program_id", "redemption_id", unique=True),
)
