"""Members, what they spent by day, what of it counted, and their levels; the kernel's tables."""

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
    _ladder_starts()
    _members()
    _membership_changes()
    _memberships()
    _parked_events()
    _parked_members()
    _program_versions()
    _qualified_activities()
    _request_keys()
    _simulated_clock()
    _spend_days()
    _member_identifiers()


def downgrade() -> None:
    op.drop_table("member_identifiers")
    op.drop_table("spend_days")
    op.drop_table("simulated_clock")
    op.drop_table("request_keys")
    op.drop_table("qualified_activities")
    op.drop_table("program_versions")
    op.drop_table("parked_members")
    op.drop_table("parked_events")
    op.drop_table("memberships")
    op.drop_table("membership_changes")
    op.drop_table("members")
    op.drop_table("ladder_starts")
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


def _ladder_starts() -> None:
    op.create_table(
        "ladder_starts",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("ladder_id", sa.Text(), nullable=False),
        sa.Column("start_time", sa.BigInteger(), nullable=False),
        sa.Column("program_version", sa.Integer(), nullable=False),
        sa.Column("level_id", sa.Text(), nullable=False),
        sa.Column("filled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "ladder_id", name=op.f("pk_ladder_starts")),
    )


def _members() -> None:
    op.create_table(
        "members",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("enroll_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "member_key", name=op.f("pk_members")),
    )


def _membership_changes() -> None:
    op.create_table(
        "membership_changes",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("ladder_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("level_id", sa.Text(), nullable=False),
        sa.Column("level_rank", sa.Integer(), nullable=False),
        sa.Column("previous_level_id", sa.Text(), nullable=False),
        sa.Column("effective_time", sa.BigInteger(), nullable=False),
        sa.Column("decide_time", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("program_version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "level_id <> previous_level_id", name=op.f("ck_membership_changes_level_changes")
        ),
        sa.CheckConstraint("sequence >= 1", name=op.f("ck_membership_changes_sequence")),
        sa.PrimaryKeyConstraint(
            "program_id", "member_key", "ladder_id", "sequence", name=op.f("pk_membership_changes")
        ),
    )


def _memberships() -> None:
    op.create_table(
        "memberships",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("ladder_id", sa.Text(), nullable=False),
        sa.Column("level_id", sa.Text(), nullable=False),
        sa.Column("effective_time", sa.BigInteger(), nullable=False),
        sa.Column("since_time", sa.BigInteger(), nullable=False),
        sa.Column("before_level_id", sa.Text(), nullable=False),
        sa.Column("before_since_time", sa.BigInteger(), nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("sequence >= 1", name=op.f("ck_memberships_sequence")),
        sa.PrimaryKeyConstraint(
            "program_id", "member_key", "ladder_id", name=op.f("pk_memberships")
        ),
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


def _qualified_activities() -> None:
    op.create_table(
        "qualified_activities",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("activity_id", sa.Text(), nullable=False),
        sa.Column("ladder_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("program_version", sa.Integer(), nullable=False),
        sa.Column("lines", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor_total", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor_given_back", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_minor >= 0", name=op.f("ck_qualified_activities_amount_minor")),
        sa.PrimaryKeyConstraint(
            "program_id",
            "member_key",
            "activity_id",
            "ladder_id",
            name=op.f("pk_qualified_activities"),
        ),
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


def _simulated_clock() -> None:
    op.create_table(
        "simulated_clock",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("now", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("one = 1", name=op.f("ck_simulated_clock_one")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_simulated_clock")),
    )


def _spend_days() -> None:
    op.create_table(
        "spend_days",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("ladder_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "program_id", "member_key", "ladder_id", "day", name=op.f("pk_spend_days")
        ),
    )


def _member_identifiers() -> None:
    op.create_table(
        "member_identifiers",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["program_id", "member_key"],
            ["members.program_id", "members.member_key"],
            name=op.f("fk_member_identifiers_program_id_member_key_members"),
        ),
        sa.PrimaryKeyConstraint("program_id", "identifier", name=op.f("pk_member_identifiers")),
    )
    op.create_index(
        op.f("ix_member_identifiers_program_id_member_key"),
        "member_identifiers",
        ["program_id", "member_key"],
        unique=False,
    )
