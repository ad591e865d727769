"""The schema of tiers: members, what they spent by day, what counted, levels and decisions.

Every key leads with the program and then the member, whose key begins with its partition: what a
verification of one partition reads is a range of each table.
Amounts are minor units; days are local days of the program.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from shared.sqltypes import Day, Instant, new_metadata
from shared.tables import kernel_tables

metadata = new_metadata()
kernel = kernel_tables(metadata)

members = Table(
    "members",
    metadata,
    Column("program_id", Text, nullable=False),
    Column("member_key", Text, nullable=False),
    Column("enroll_time", Instant, nullable=False),
    PrimaryKeyConstraint("program_id", "member_key"),
)

member_identifiers = Table(
    "member_identifiers",
    metadata,
    Column("program_id", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("member_key", Text, nullable=False),
    Column("assign_time", Instant, nullable=False),
    PrimaryKeyConstraint("program_id", "identifier"),
    ForeignKeyConstraint(
        ["program_id", "member_key"], ["members.program_id", "members.member_key"]
    ),
    Index(None, "program_id", "member_key"),
)

# Net spend of one local day; negative only if more was returned than the activity had.
spend_days = Table(
    "spend_days",
    metadata,
    Column("program_id", Text, nullable=False),
    Column("member_key", Text, nullable=False),
    Column("ladder_id", Text, nullable=False),
    Column("day", Day, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    PrimaryKeyConstraint("program_id", "member_key", "ladder_id", "day"),
)

# What of an activity counted, by the ladder of its time: `lines` is a JSON list of line numbers.
qualified_activities = Table(
    "qualified_activities",
    metadata,
    Column("program_id", Text, nullable=False),
    Column("member_key", Text, nullable=False),
    Column("activity_id", Text, nullable=False),
    Column("ladder_id", Text, nullable=False),
    Column("day", Day, nullable=False),
    Column("program_version", Integer, nullable=False),
    Column("lines", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("amount_minor_total", BigInteger, nullable=False),
    Column("amount_minor_given_back", BigInteger, nullable=False),
    PrimaryKeyConstraint("program_id", "member_key", "activity_id", "ladder_id"),
    CheckConstraint("amount_minor >= 0", name="amount_minor"),
)

# The level decided last, and the one that is held until it is effective.
memberships = Table(
    "memberships",
    metadata,
    Column("program_id", Text, nullable=False),
    Column("member_key", Text, nullable=False),
    Column("ladder_id", Text, nullable=False),
    Column("level_id", Text, nullable=False),
    Column("effective_time", Instant, nullable=False),
    Column("since_time", Instant, nullable=False),
    Column("before_level_id", Text, nullable=False),
    Column("before_since_time", Instant),
    Column("sequence", BigInteger, nullable=False),
    PrimaryKeyConstraint("program_id", "member_key", "ladder_id"),
    CheckConstraint("sequence >= 1", name="sequence"),
)

# Every decision, append-only. One is superseded when the next has the same effective_time.
membership_changes = Table(
    "membership_changes",
    metadata,
    Column("program_id", Text, nullable=False),
    Column("member_key", Text, nullable=False),
    Column("ladder_id", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("level_id", Text, nullable=False),
    Column("level_rank", Integer, nullable=False),
    Column("previous_level_id", Text, nullable=False),
    Column("effective_time", Instant, nullable=False),
    Column("decide_time", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    Column("program_version", Integer, nullable=False),
    PrimaryKeyConstraint("program_id", "member_key", "ladder_id", "sequence"),
    CheckConstraint("sequence >= 1", name="sequence"),
    CheckConstraint("level_id <> previous_level_id", name="level_changes"),
)

# When each ladder was first applied. `filled`: every member has a level on it.
ladder_starts = Table(
    "ladder_starts",
    metadata,
    Column("program_id", Text, nullable=False),
    Column("ladder_id", Text, nullable=False),
    Column("start_time", Instant, nullable=False),
    Column("program_version", Integer, nullable=False),
    Column("level_id", Text, nullable=False),
    Column("filled", Boolean, nullable=False),
    PrimaryKeyConstraint("program_id", "ladder_id"),
)
