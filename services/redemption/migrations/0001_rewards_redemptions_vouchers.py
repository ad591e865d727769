"""Members and levels, shelves and slots, redemptions and vouchers; the kernel's tables."""

import sqlalchemy as sa
from alembic import op

from shared.sqltypes import now_micros

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _feed_cursors()
    _feed_events()
    _feed_heads()
    _feed_identity()
    _intentions()
    _member_identifiers()
    _members()
    _parked_events()
    _parked_members()
    _program_versions()
    _redemptions()
    _request_keys()
    _shelves()
    _simulated_clock()
    _slots()
    _tier_timeline()
    _vouchers()


def downgrade() -> None:
    op.drop_table("vouchers")
    op.drop_table("tier_timeline")
    op.drop_table("slots")
    op.drop_table("simulated_clock")
    op.drop_table("shelves")
    op.drop_table("request_keys")
    op.drop_table("redemptions")
    op.drop_table("program_versions")
    op.drop_table("parked_members")
    op.drop_table("parked_events")
    op.drop_table("members")
    op.drop_table("member_identifiers")
    op.drop_table("intentions")
    op.drop_table("feed_identity")
    op.drop_table("feed_heads")
    op.drop_table("feed_events")
    op.drop_table("feed_cursors")


def _feed_cursors() -> None:
    op.create_table(
        "feed_cursors",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("incarnation", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "partition", name=op.f("pk_feed_cursors")),
        postgresql_with={"fillfactor": 10},
    )


def _feed_events() -> None:
    op.create_table(
        "feed_events",
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "position", name=op.f("pk_feed_events")),
    )


def _feed_heads() -> None:
    op.create_table(
        "feed_heads",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("position >= 0", name=op.f("ck_feed_heads_position")),
        sa.PrimaryKeyConstraint("partition", name=op.f("pk_feed_heads")),
        postgresql_with={"fillfactor": 10},
    )


def _feed_identity() -> None:
    op.create_table(
        "feed_identity",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("incarnation", sa.Text(), nullable=False),
        sa.Column("partitions", sa.Integer(), nullable=False),
        sa.CheckConstraint("one = 1", name=op.f("ck_feed_identity_one")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_feed_identity")),
    )


def _intentions() -> None:
    op.create_table(
        "intentions",
        sa.Column("intention_id", sa.Text(), nullable=False),
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "next_attempt_micros", sa.BigInteger(), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column(
            "lease_until_micros", sa.BigInteger(), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("close_time", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("intention_id", name=op.f("pk_intentions")),
    )
    op.create_index(
        "ix_intentions_open",
        "intentions",
        ["next_attempt_micros"],
        unique=False,
        postgresql_where=sa.text("close_time IS NULL"),
        sqlite_where=sa.text("close_time IS NULL"),
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
        "ix_member_identifiers_program_id_member_key",
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


def _parked_events() -> None:
    op.create_table(
        "parked_events",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("event", sa.LargeBinary(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column(
            "create_time_micros", sa.BigInteger(), server_default=now_micros(), nullable=False
        ),
        sa.PrimaryKeyConstraint("source", "partition", "position", name=op.f("pk_parked_events")),
    )
    op.create_index(
        op.f("ix_parked_events_source_partition_member_key_position"),
        "parked_events",
        ["source", "partition", "member_key", "position"],
        unique=False,
    )


def _parked_members() -> None:
    op.create_table(
        "parked_members",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column(
            "create_time_micros", sa.BigInteger(), server_default=now_micros(), nullable=False
        ),
        sa.PrimaryKeyConstraint(
            "source", "partition", "member_key", name=op.f("pk_parked_members")
        ),
    )


def _program_versions() -> None:
    op.create_table(
        "program_versions",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("etag", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("cursors", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f("ck_program_versions_version")),
        sa.PrimaryKeyConstraint("program_id", "version", name=op.f("pk_program_versions")),
    )


def _redemptions() -> None:
    op.create_table(
        "redemptions",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("redemption_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("reward_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("currency_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("failure_reason", sa.Text(), nullable=False),
        sa.Column("refusal", sa.Text(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("hold_id", sa.Text(), nullable=False),
        sa.Column("voucher_hint", sa.Text(), nullable=False),
        sa.Column("program_version", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(state = 'failed') = (failure_reason <> '')",
            name=op.f("ck_redemptions_failure_has_reason"),
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'completed', 'cancelling', 'cancelled', 'failed')",
            name=op.f("ck_redemptions_state_known"),
        ),
        sa.CheckConstraint("points >= 1", name=op.f("ck_redemptions_points_positive")),
        sa.PrimaryKeyConstraint("program_id", "redemption_id", name=op.f("pk_redemptions")),
    )
    op.create_index(
        "ix_redemptions_member",
        "redemptions",
        ["program_id", "member_key", "create_time", "redemption_id"],
        unique=False,
    )
    op.create_index(
        "ix_redemptions_time",
        "redemptions",
        ["program_id", "create_time", "redemption_id"],
        unique=False,
    )


def _request_keys() -> None:
    op.create_table(
        "request_keys",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.Column("partition", sa.Integer(), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column(
            "create_time_micros", sa.BigInteger(), server_default=now_micros(), nullable=False
        ),
        sa.PrimaryKeyConstraint("program_id", "scope", "request_id", name=op.f("pk_request_keys")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(
        op.f("ix_request_keys_create_time_micros"),
        "request_keys",
        ["create_time_micros"],
        unique=False,
        postgresql_using="brin",
    )


def _shelves() -> None:
    op.create_table(
        "shelves",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("reward_id", sa.Text(), nullable=False),
        sa.Column("stock_total", sa.BigInteger(), nullable=True),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "stock_total IS NULL OR taken <= stock_total", name=op.f("ck_shelves_never_oversold")
        ),
        sa.CheckConstraint("taken >= 0", name=op.f("ck_shelves_taken_not_negative")),
        sa.PrimaryKeyConstraint("program_id", "reward_id", name=op.f("pk_shelves")),
    )


def _simulated_clock() -> None:
    op.create_table(
        "simulated_clock",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("now", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("one = 1", name=op.f("ck_simulated_clock_one")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_simulated_clock")),
    )


def _slots() -> None:
    op.create_table(
        "slots",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("reward_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("redemption_id", sa.Text(), nullable=False),
        sa.CheckConstraint("slot >= 1", name=op.f("ck_slots_slot_from_one")),
        sa.PrimaryKeyConstraint(
            "program_id", "reward_id", "member_key", "slot", name=op.f("pk_slots")
        ),
    )


def _tier_timeline() -> None:
    op.create_table(
        "tier_timeline",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("ladder_id", sa.Text(), nullable=False),
        sa.Column("effective_time", sa.BigInteger(), nullable=False),
        sa.Column("level_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "program_id", "member_key", "ladder_id", "effective_time", name=op.f("pk_tier_timeline")
        ),
    )


def _vouchers() -> None:
    op.create_table(
        "vouchers",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("code_hash", sa.Text(), nullable=False),
        sa.Column("redemption_id", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("issue_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "code_hash", name=op.f("pk_vouchers")),
    )
    op.create_index(
        "uq_vouchers_redemption", "vouchers", ["program_id", "redemption_id"], unique=True
    )
