"""Members, activities and their returns, the ledger, and levels."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _activities()
    _activity_lines()
    _entries()
    _holds()
    _lot_uses()
    _lots()
    _member_identifiers()
    _members()
    _receipts()
    _reversals()
    _tier_timeline()
    _wallets()
    for table in ("entries", "lot_uses"):
        _append_only(table)


def downgrade() -> None:
    op.drop_table("wallets")
    op.drop_table("tier_timeline")
    op.drop_table("reversals")
    op.drop_table("receipts")
    op.drop_table("members")
    op.drop_table("member_identifiers")
    op.drop_table("lots")
    op.drop_table("lot_uses")
    op.drop_table("holds")
    op.drop_table("entries")
    op.drop_table("activity_lines")
    op.drop_table("activities")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION entries_append_only")
        op.execute("DROP FUNCTION lot_uses_append_only")


def _append_only(table: str) -> None:
    """Refuse every UPDATE and DELETE."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ "
            f"BEGIN RAISE EXCEPTION '{table} are append only' "
            "USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
        )
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} are append only'); END"
        )


def _activities() -> None:
    op.create_table(
        "activities",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("activity_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("occurred_time", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("external_reference", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("currency_id", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("level_id", sa.Text(), nullable=False),
        sa.Column("program_version", sa.Integer(), nullable=False),
        sa.Column("explanation", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("entry_sequence", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("amount_reversed", sa.BigInteger(), nullable=False),
        sa.Column("points_reversed", sa.BigInteger(), nullable=False),
        sa.Column("reversal_way", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "reversal_way IN ('', 'lines', 'amount')", name=op.f("ck_activities_reversal_way")
        ),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_activities_amount")),
        sa.CheckConstraint("amount_reversed >= 0", name=op.f("ck_activities_amount_reversed")),
        sa.CheckConstraint("points >= 0", name=op.f("ck_activities_points")),
        sa.CheckConstraint(
            "points_reversed >= 0 AND points_reversed <= points",
            name=op.f("ck_activities_points_reversed"),
        ),
        sa.PrimaryKeyConstraint("program_id", "activity_id", name=op.f("pk_activities")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(
        op.f("ix_activities_program_id_member_key_create_time_activity_id"),
        "activities",
        ["program_id", "member_key", "create_time", "activity_id"],
        unique=False,
    )


def _activity_lines() -> None:
    op.create_table(
        "activity_lines",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("activity_id", sa.Text(), nullable=False),
        sa.Column("line_number", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("quantity_returned", sa.BigInteger(), nullable=False),
        sa.Column("amount_returned", sa.BigInteger(), nullable=False),
        sa.Column("points_returned", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "amount_returned >= 0 AND amount_returned <= amount",
            name=op.f("ck_activity_lines_amount"),
        ),
        sa.CheckConstraint(
            "points_returned >= 0 AND points_returned <= points",
            name=op.f("ck_activity_lines_points"),
        ),
        sa.CheckConstraint("quantity >= 1", name=op.f("ck_activity_lines_quantity")),
        sa.CheckConstraint(
            "quantity_returned >= 0 AND quantity_returned <= quantity",
            name=op.f("ck_activity_lines_quantity_returned"),
        ),
        sa.PrimaryKeyConstraint(
            "program_id", "activity_id", "line_number", name=op.f("pk_activity_lines")
        ),
    )


def _entries() -> None:
    op.create_table(
        "entries",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("currency_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("available_delta", sa.BigInteger(), nullable=False),
        sa.Column("pending_delta", sa.BigInteger(), nullable=False),
        sa.Column("held_delta", sa.BigInteger(), nullable=False),
        sa.Column("debt_delta", sa.BigInteger(), nullable=False),
        sa.Column("program_account", sa.Text(), nullable=False),
        sa.Column("program_delta", sa.BigInteger(), nullable=False),
        sa.Column("available_after", sa.BigInteger(), nullable=False),
        sa.Column("activity_id", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("occurred_time", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("explanation", sa.Text(), nullable=False),
        sa.Column("chain_hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("available_after >= 0", name=op.f("ck_entries_available_after")),
        sa.CheckConstraint(
            "available_delta + pending_delta + held_delta + debt_delta + program_delta = 0",
            name=op.f("ck_entries_zero_sum"),
        ),
        sa.CheckConstraint("sequence >= 1", name=op.f("ck_entries_sequence")),
        sa.PrimaryKeyConstraint(
            "program_id", "member_key", "currency_id", "sequence", name=op.f("pk_entries")
        ),
    )


def _holds() -> None:
    op.create_table(
        "holds",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("hold_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("currency_id", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("captured", sa.BigInteger(), nullable=False),
        sa.Column("refunded", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("expire_time", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("entry_sequence", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "captured = 0 OR state = 'captured'", name=op.f("ck_holds_captured_state")
        ),
        sa.CheckConstraint(
            "state IN ('open', 'captured', 'voided', 'expired')", name=op.f("ck_holds_state")
        ),
        sa.CheckConstraint("captured >= 0 AND captured <= points", name=op.f("ck_holds_captured")),
        sa.CheckConstraint("points > 0", name=op.f("ck_holds_points")),
        sa.CheckConstraint(
            "refunded >= 0 AND refunded <= captured", name=op.f("ck_holds_refunded")
        ),
        sa.PrimaryKeyConstraint("program_id", "hold_id", name=op.f("pk_holds")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(
        "ix_holds_open",
        "holds",
        ["expire_time"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
        sqlite_where=sa.text("state = 'open'"),
    )
    op.create_index(
        op.f("ix_holds_program_id_member_key_currency_id"),
        "holds",
        ["program_id", "member_key", "currency_id"],
        unique=False,
    )


def _lot_uses() -> None:
    op.create_table(
        "lot_uses",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("currency_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("lot_sequence", sa.BigInteger(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("points <> 0", name=op.f("ck_lot_uses_points")),
        sa.PrimaryKeyConstraint(
            "program_id",
            "member_key",
            "currency_id",
            "sequence",
            "lot_sequence",
            name=op.f("pk_lot_uses"),
        ),
    )


def _lots() -> None:
    op.create_table(
        "lots",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("currency_id", sa.Text(), nullable=False),
        sa.Column("lot_sequence", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("remaining", sa.BigInteger(), nullable=False),
        sa.Column("is_open", sa.SmallInteger(), nullable=False),
        sa.Column("available_time", sa.BigInteger(), nullable=False),
        sa.Column("expire_time", sa.BigInteger(), nullable=True),
        sa.Column("activity_id", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "is_open = CASE WHEN remaining > 0 THEN 1 ELSE 0 END", name=op.f("ck_lots_is_open")
        ),
        sa.CheckConstraint(
            "remaining >= 0 AND remaining <= amount", name=op.f("ck_lots_remaining")
        ),
        sa.PrimaryKeyConstraint(
            "program_id", "member_key", "currency_id", "lot_sequence", name=op.f("pk_lots")
        ),
        postgresql_with={"fillfactor": 70},
    )


def _member_identifiers() -> None:
    op.create_table(
        "member_identifiers",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "identifier", name=op.f("pk_member_identifiers")),
    )
    op.create_index(
        op.f("ix_member_identifiers_program_id_member_key"),
        "member_identifiers",
        ["program_id", "member_key"],
        unique=False,
    )


def _members() -> None:
    op.create_table(
        "members",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("enroll_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "member_key", name=op.f("pk_members")),
    )


def _receipts() -> None:
    op.create_table(
        "receipts",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("external_reference", sa.Text(), nullable=False),
        sa.Column("activity_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "program_id", "source", "external_reference", name=op.f("pk_receipts")
        ),
    )


def _reversals() -> None:
    op.create_table(
        "reversals",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("reversal_id", sa.Text(), nullable=False),
        sa.Column("activity_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("occurred_time", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("owed", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.Text(), nullable=False),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_reversals_amount")),
        sa.CheckConstraint("owed >= 0 AND owed <= points", name=op.f("ck_reversals_owed")),
        sa.PrimaryKeyConstraint("program_id", "reversal_id", name=op.f("pk_reversals")),
    )
    op.create_index(
        op.f("ix_reversals_program_id_activity_id"),
        "reversals",
        ["program_id", "activity_id"],
        unique=False,
    )


def _tier_timeline() -> None:
    op.create_table(
        "tier_timeline",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("ladder_id", sa.Text(), nullable=False),
        sa.Column("effective_time", sa.BigInteger(), nullable=False),
        sa.Column("level_id", sa.Text(), nullable=False),
        sa.Column("level_rank", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "program_id", "member_key", "ladder_id", "effective_time", name=op.f("pk_tier_timeline")
        ),
    )


def _wallets() -> None:
    op.create_table(
        "wallets",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("currency_id", sa.Text(), nullable=False),
        sa.Column("available", sa.BigInteger(), nullable=False),
        sa.Column("pending", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("debt", sa.BigInteger(), nullable=False),
        sa.Column("earned", sa.BigInteger(), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.Column("expired", sa.BigInteger(), nullable=False),
        sa.Column("reversed", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("chain_hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("available >= 0", name=op.f("ck_wallets_available")),
        sa.CheckConstraint("debt >= 0", name=op.f("ck_wallets_debt")),
        sa.CheckConstraint("earned >= 0", name=op.f("ck_wallets_earned")),
        sa.CheckConstraint("expired >= 0", name=op.f("ck_wallets_expired")),
        sa.CheckConstraint("held >= 0", name=op.f("ck_wallets_held")),
        sa.CheckConstraint("pending >= 0", name=op.f("ck_wallets_pending")),
        sa.CheckConstraint("reversed >= 0", name=op.f("ck_wallets_reversed")),
        sa.CheckConstraint("spent >= 0", name=op.f("ck_wallets_spent")),
        sa.PrimaryKeyConstraint("program_id", "member_key", "currency_id", name=op.f("pk_wallets")),
        postgresql_with={"fillfactor": 70},
    )
