"""The schema of earning: members, activities, the ledger, levels; and the kernel's tables.

Every key starts with the program. Points and money are BIGINT, instants microseconds.
What must hold whatever two processes do is a CHECK, a UNIQUE or a trigger here.
"""

from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    event,
    text,
)

from services.earning import tables_points, tables_referrals, tables_seals
from services.earning.tables_earnings import further_tables
from services.earning.tables_households import household_tables
from services.earning.tables_triggers import append_only
from services.earning.tables_waiting import waiting_table
from shared.database import Day, Instant, new_metadata
from shared.tables import kernel_tables

metadata = new_metadata()
kernel = kernel_tables(metadata)

# Rows that are changed again and again leave room on their page, so that no index has to follow.
_ROOM = {"fillfactor": 70}


def _id(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _not_negative(*names: str) -> list[CheckConstraint]:
    return [CheckConstraint(f"{name} >= 0", name=name) for name in names]


members = Table(
    "members",
    metadata,
    _id("program_id"),
    _id("member_key"),
    Column("enroll_time", Instant, nullable=False),
    _id("state"),
    Column("is_anonymous", SmallInteger, nullable=False),
    _id("merged_into"),
    Column("version", Integer, nullable=False),
    Column("is_scrub_due", SmallInteger, nullable=False),
    PrimaryKeyConstraint("program_id", "member_key"),
    CheckConstraint("state IN ('active', 'frozen', 'merged', 'erased')", name="state"),
    CheckConstraint("(state = 'merged') = (merged_into <> '')", name="merged_into"),
    Index(
        "ix_members_merged_into",
        "program_id",
        "merged_into",
        postgresql_where=text("merged_into <> ''"),
        sqlite_where=text("merged_into <> ''"),
    ),
    Index(
        "ix_members_scrub_due",
        "program_id",
        "member_key",
        postgresql_where=text("is_scrub_due = 1"),
        sqlite_where=text("is_scrub_due = 1"),
    ),
)

# The only place of personal data; no row until something is told. `attributes` and `segments` are
# JSON text.
member_profiles = Table(
    "member_profiles",
    metadata,
    _id("program_id"),
    _id("member_key"),
    Column("birth_date", Day),
    _id("time_zone"),
    _id("language"),
    _id("attributes"),
    _id("segments"),
    PrimaryKeyConstraint("program_id", "member_key"),
)

# The only place where a member's key and the names that callers have for it meet.
member_identifiers = Table(
    "member_identifiers",
    metadata,
    _id("program_id"),
    _id("identifier"),
    _id("kind"),
    _id("member_key"),
    Column("assign_time", Instant, nullable=False),
    PrimaryKeyConstraint("program_id", "identifier"),
    Index(None, "program_id", "member_key"),
)

# Of two levels from the same instant the later decision stands: it overwrites the row.
tier_timeline = Table(
    "tier_timeline",
    metadata,
    _id("program_id"),
    _id("member_key"),
    _id("ladder_id"),
    Column("effective_time", Instant, nullable=False),
    _id("level_id"),
    Column("level_rank", Integer, nullable=False),
    PrimaryKeyConstraint("program_id", "member_key", "ladder_id", "effective_time"),
)

wallets = Table(
    "wallets",
    metadata,
    _id("program_id"),
    _id("member_key"),
    _id("currency_id"),
    _number("available"),
    _number("pending"),
    _number("held"),
    _number("debt"),
    _number("earned"),
    _number("spent"),
    _number("expired"),
    _number("reversed"),
    _number("sequence"),
    Column("chain_hash", LargeBinary, nullable=False),
    Column("slide_time", Instant),
    Column("next_time", Instant),
    Column("frozen", SmallInteger, nullable=False),
    PrimaryKeyConstraint("program_id", "member_key", "currency_id"),
    *_not_negative(
        "available", "pending", "held", "debt", "earned", "spent", "expired", "reversed"
    ),
    Index(
        "ix_wallets_next_time",
        "next_time",
        "program_id",
        "member_key",
        "currency_id",
        postgresql_where=text("next_time IS NOT NULL"),
        sqlite_where=text("next_time IS NOT NULL"),
    ),
    postgresql_with=_ROOM,
)

# Append only: triggers below refuse every change.
entries = Table(
    "entries",
    metadata,
    _id("program_id"),
    _id("member_key"),
    _id("currency_id"),
    _number("sequence"),
    _id("type"),
    _number("available_delta"),
    _number("pending_delta"),
    _number("held_delta"),
    _number("debt_delta"),
    _id("program_account"),
    _number("program_delta"),
    _number("available_after"),
    _id("activity_id"),
    _id("reference"),
    _id("reason"),
    Column("occurred_time", Instant, nullable=False),
    Column("create_time", Instant, nullable=False),
    _id("explanation"),
    Column("chain_hash", LargeBinary, nullable=False),
    _number("lot_sequence"),
    Column("lot_available_time", Instant),
    Column("lot_expire_time", Instant),
    Column("slide_time", Instant),
    PrimaryKeyConstraint("program_id", "member_key", "currency_id", "sequence"),
    CheckConstraint("sequence >= 1", name="sequence"),
    CheckConstraint(
        "available_delta + pending_delta + held_delta + debt_delta + program_delta = 0",
        name="zero_sum",
    ),
    CheckConstraint("available_after >= 0", name="available_after"),
)

# `is_open` says whether anything remains, so that a wallet's used-up lots need not be read.
lots = Table(
    "lots",
    metadata,
    _id("program_id"),
    _id("member_key"),
    _id("currency_id"),
    _number("lot_sequence"),
    _number("amount"),
    _number("remaining"),
    Column("is_open", SmallInteger, nullable=False),
    Column("available_time", Instant),
    Column("expire_time", Instant),
    _id("activity_id"),
    Column("is_pending", SmallInteger, nullable=False),
    Column("is_sliding", SmallInteger, nullable=False),
    PrimaryKeyConstraint("program_id", "member_key", "currency_id", "lot_sequence"),
    CheckConstraint("remaining >= 0 AND remaining <= amount", name="remaining"),
    CheckConstraint("is_open = CASE WHEN remaining > 0 THEN 1 ELSE 0 END", name="is_open"),
    postgresql_with=_ROOM,
)

# Append only, as the entries whose hash covers them.
lot_uses = Table(
    "lot_uses",
    metadata,
    _id("program_id"),
    _id("member_key"),
    _id("currency_id"),
    _number("sequence"),
    _number("lot_sequence"),
    _number("points"),
    PrimaryKeyConstraint("program_id", "member_key", "currency_id", "sequence", "lot_sequence"),
    CheckConstraint("points <> 0", name="points"),
)

# `lots` is JSON text: pairs of a lot and what the hold has out of it, below zero.
# `activity_id` is what a captured hold paid for, empty when nothing said so.
holds = Table(
    "holds",
    metadata,
    _id("program_id"),
    _id("hold_id"),
    _id("member_key"),
    _id("currency_id"),
    _number("points"),
    _number("captured"),
    _number("refunded"),
    _id("state"),
    Column("expire_time", Instant, nullable=False),
    _id("reference"),
    _number("entry_sequence"),
    _id("lots"),
    Column("activity_id", Text, nullable=False, server_default=""),
    Column("household_id", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("program_id", "hold_id"),
    CheckConstraint("points > 0", name="points"),
    CheckConstraint("captured >= 0 AND captured <= points", name="captured"),
    CheckConstraint("refunded >= 0 AND refunded <= captured", name="refunded"),
    CheckConstraint("state IN ('open', 'captured', 'voided', 'expired')", name="state"),
    CheckConstraint("captured = 0 OR state = 'captured'", name="captured_state"),
    Index(
        "ix_holds_open",
        "expire_time",
        postgresql_where=text("state = 'open'"),
        sqlite_where=text("state = 'open'"),
    ),
    Index(None, "program_id", "member_key", "currency_id"),
    postgresql_with=_ROOM,
)

activities = Table(
    "activities",
    metadata,
    _id("program_id"),
    _id("activity_id"),
    _id("member_key"),
    _id("type"),
    Column("occurred_time", Instant, nullable=False),
    _id("source"),
    _id("external_reference"),
    Column("content", LargeBinary, nullable=False),
    _id("currency_id"),
    _number("points"),
    _id("level_id"),
    Column("program_version", Integer, nullable=False),
    _id("explanation"),
    _number("amount"),
    _number("entry_sequence"),
    Column("create_time", Instant, nullable=False),
    Column("available_time", Instant),
    _number("amount_reversed"),
    _number("points_reversed"),
    _id("reversal_way"),
    Column("is_erased", SmallInteger, nullable=False),
    Column("points_hold_id", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("program_id", "activity_id"),
    *_not_negative("points", "amount"),
    CheckConstraint("amount_reversed >= 0", name="amount_reversed"),
    CheckConstraint("points_reversed >= 0 AND points_reversed <= points", name="points_reversed"),
    CheckConstraint("reversal_way IN ('', 'lines', 'amount')", name="reversal_way"),
    Index(None, "program_id", "member_key", "create_time", "activity_id"),
    postgresql_with=_ROOM,
)

activity_lines = Table(
    "activity_lines",
    metadata,
    _id("program_id"),
    _id("activity_id"),
    Column("line_number", Integer, nullable=False),
    _number("quantity"),
    _number("amount"),
    _number("points"),
    _number("quantity_returned"),
    _number("amount_returned"),
    _number("points_returned"),
    PrimaryKeyConstraint("program_id", "activity_id", "line_number"),
    CheckConstraint("quantity >= 1", name="quantity"),
    CheckConstraint(
        "quantity_returned >= 0 AND quantity_returned <= quantity", name="quantity_returned"
    ),
    CheckConstraint("amount_returned >= 0 AND amount_returned <= amount", name="amount"),
    CheckConstraint("points_returned >= 0 AND points_returned <= points", name="points"),
)

# The business key: one receipt is credited once, whatever key it is sent with, for ever.
receipts = Table(
    "receipts",
    metadata,
    _id("program_id"),
    _id("source"),
    _id("external_reference"),
    _id("activity_id"),
    PrimaryKeyConstraint("program_id", "source", "external_reference"),
)

# `lines` is JSON text: [line number, units, amount, points] of each returned line.
reversals = Table(
    "reversals",
    metadata,
    _id("program_id"),
    _id("reversal_id"),
    _id("activity_id"),
    _id("member_key"),
    Column("occurred_time", Instant, nullable=False),
    Column("create_time", Instant, nullable=False),
    _id("reason"),
    _number("points"),
    _number("owed"),
    _number("amount"),
    _id("lines"),
    Column("points_given_back", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("program_id", "reversal_id"),
    CheckConstraint("owed >= 0 AND owed <= points", name="owed"),
    CheckConstraint("amount >= 0", name="amount"),
    Index(None, "program_id", "activity_id"),
)

activity_earnings, reversal_earnings = further_tables(metadata)
waiting_reversals = waiting_table(metadata)

# What caps counted for members, and what rules with a budget gave: rows that are waited for.
cap_counts = Table(
    "cap_counts",
    metadata,
    _id("program_id"),
    _id("member_key"),
    _id("cap_id"),
    _id("period"),
    _number("points"),
    PrimaryKeyConstraint("program_id", "member_key", "cap_id", "period"),
    *_not_negative("points"),
    postgresql_with=_ROOM,
)
budgets = Table(
    "budgets",
    metadata,
    _id("program_id"),
    _id("rule_id"),
    _number("points"),
    PrimaryKeyConstraint("program_id", "rule_id"),
    *_not_negative("points"),
    postgresql_with=_ROOM,
)
remainders = Table(
    "remainders",
    metadata,
    _id("program_id"),
    _id("member_key"),
    _id("currency_id"),
    _id("remainder"),  # a fraction of a point, as the text of a ratio
    PrimaryKeyConstraint("program_id", "member_key", "currency_id"),
    postgresql_with=_ROOM,
)
adjustments = tables_points.adjustments(metadata)
referral_codes, referrals, referral_entries = tables_referrals.referral_tables(metadata)
households, household_members, household_invitations, hold_shares = household_tables(metadata)
seals, seal_chunks = tables_seals.seal_tables(metadata)


for _table in (entries, lot_uses, seals, seal_chunks):
    for _dialect, _statement in append_only(_table.name):
        _ddl = DDL(_statement)  # type: ignore[no-untyped-call]
        event.listen(_table, "after_create", _ddl.execute_if(dialect=_dialect))
