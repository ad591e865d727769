"""Members, progress, badges, scores and the heads of boards; the kernel's tables."""

import sqlalchemy as sa
from alembic import op

from shared.sqltypes import now_micros

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _members()
    _achievements()
    _boards()
    _feed()
    _parked()
    _work()
    _documents()


def _members() -> None:
    op.create_table(
        "member_identifiers",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "identifier", name=op.f("pk_member_identifiers")),
    )
    op.create_table(
        "members",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("member_id", sa.Text(), nullable=False),
        sa.Column("enroll_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "member_key", name=op.f("pk_members")),
    )


def _achievements() -> None:
    op.create_table(
        "badges",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("badge_id", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("challenge_id", sa.Text(), nullable=False),
        sa.Column("award_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "program_id", "member_key", "badge_id", "period", name=op.f("pk_badges")
        ),
    )
    op.create_index(
        op.f("ix_badges_program_id_badge_id"), "badges", ["program_id", "badge_id"], unique=False
    )
    op.create_table(
        "progress",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("challenge_id", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("activity_count", sa.BigInteger(), nullable=False),
        sa.Column("elements", sa.Text(), nullable=False),
        sa.Column("complete_time", sa.BigInteger(), nullable=True),
        sa.Column("reward_points", sa.BigInteger(), nullable=False),
        sa.Column("reward_badge_id", sa.Text(), nullable=False),
        sa.Column("reward_state", sa.Text(), nullable=False),
        sa.Column("reward_failure", sa.Text(), nullable=False),
        sa.CheckConstraint("activity_count >= 0", name=op.f("ck_progress_activity_count")),
        sa.CheckConstraint("reward_points >= 0", name=op.f("ck_progress_reward_points")),
        sa.PrimaryKeyConstraint(
            "program_id", "member_key", "challenge_id", "period", name=op.f("pk_progress")
        ),
    )


def _boards() -> None:
    op.create_table(
        "board_heads",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("board_id", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("position >= 0", name=op.f("ck_board_heads_position")),
        sa.PrimaryKeyConstraint(
            "program_id", "board_id", "period", "partition", name=op.f("pk_board_heads")
        ),
        postgresql_with={"fillfactor": 10},
    )
    op.create_table(
        "scores",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("board_id", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("score", sa.BigInteger(), nullable=False),
        sa.Column("reached_time", sa.BigInteger(), nullable=False),
        sa.Column("changed_position", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "score > -9007199254740992 AND score < 9007199254740992", name=op.f("ck_scores_score")
        ),
        sa.PrimaryKeyConstraint(
            "program_id", "member_key", "board_id", "period", name=op.f("pk_scores")
        ),
    )
    op.create_index(
        op.f("uq_scores_changed_position"),
        "scores",
        ["program_id", "board_id", "period", "partition", "changed_position"],
        unique=True,
    )


def _feed() -> None:
    op.create_table(
        "feed_cursors",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("incarnation", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "partition", name=op.f("pk_feed_cursors")),
        postgresql_with={"fillfactor": 10},
    )
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
    op.create_table(
        "feed_heads",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("position >= 0", name=op.f("ck_feed_heads_position")),
        sa.PrimaryKeyConstraint("partition", name=op.f("pk_feed_heads")),
        postgresql_with={"fillfactor": 10},
    )
    op.create_table(
        "feed_identity",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("incarnation", sa.Text(), nullable=False),
        sa.Column("partitions", sa.Integer(), nullable=False),
        sa.CheckConstraint("one = 1", name=op.f("ck_feed_identity_one")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_feed_identity")),
    )


def _parked() -> None:
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
            "create_time_micros",
            sa.BigInteger(),
            server_default=now_micros(),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("source", "partition", "position", name=op.f("pk_parked_events")),
    )
    op.create_index(
        op.f("ix_parked_events_source_partition_member_key_position"),
        "parked_events",
        ["source", "partition", "member_key", "position"],
        unique=False,
    )
    op.create_table(
        "parked_members",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column(
            "create_time_micros",
            sa.BigInteger(),
            server_default=now_micros(),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint(
            "source", "partition", "member_key", name=op.f("pk_parked_members")
        ),
    )


def _work() -> None:
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
        op.f("ix_intentions_open"),
        "intentions",
        ["next_attempt_micros"],
        unique=False,
        postgresql_where=sa.text("close_time IS NULL"),
        sqlite_where=sa.text("close_time IS NULL"),
    )


def _documents() -> None:
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
            "create_time_micros",
            sa.BigInteger(),
            server_default=now_micros(),
            nullable=False,
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
    op.create_table(
        "simulated_clock",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("now", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("one = 1", name=op.f("ck_simulated_clock_one")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_simulated_clock")),
    )


def downgrade() -> None:
    for table in (
        "simulated_clock",
        "scores",
        "request_keys",
        "progress",
        "program_versions",
        "parked_members",
        "parked_events",
        "members",
        "member_identifiers",
        "intentions",
        "feed_identity",
        "feed_heads",
        "feed_events",
        "feed_cursors",
        "board_heads",
        "badges",
    ):
        op.drop_table(table)
