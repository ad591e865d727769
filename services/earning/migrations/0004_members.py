"""Members with profiles, states and several identifiers; what erasure marks."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STATES = "state IN ('active', 'frozen', 'merged', 'erased')"


def upgrade() -> None:
    op.create_table(
        "member_profiles",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("birth_date", sa.Text(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("segments", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "member_key", name=op.f("pk_member_profiles")),
    )
    _members()
    _column("member_identifiers", sa.Column("assign_time", sa.BigInteger(), server_default="0"))
    _column("wallets", sa.Column("frozen", sa.SmallInteger(), server_default="0"))
    _column("activities", sa.Column("is_erased", sa.SmallInteger(), server_default="0"))


def _members() -> None:
    with op.batch_alter_table("members") as batch:
        for column in (
            sa.Column("state", sa.Text(), nullable=False, server_default="active"),
            sa.Column("is_anonymous", sa.SmallInteger(), nullable=False, server_default="0"),
            sa.Column("merged_into", sa.Text(), nullable=False, server_default=""),
            sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
            sa.Column("is_scrub_due", sa.SmallInteger(), nullable=False, server_default="0"),
        ):
            batch.add_column(column)
        batch.create_check_constraint(op.f("ck_members_state"), _STATES)
        batch.create_check_constraint(
            op.f("ck_members_merged_into"), "(state = 'merged') = (merged_into <> '')"
        )
    with op.batch_alter_table("members") as batch:
        for name in ("state", "is_anonymous", "merged_into", "version", "is_scrub_due"):
            batch.alter_column(name, server_default=None)
    for index, columns, where in (
        ("ix_members_merged_into", ["program_id", "merged_into"], "merged_into <> ''"),
        ("ix_members_scrub_due", ["program_id", "member_key"], "is_scrub_due = 1"),
    ):
        op.create_index(
            index,
            "members",
            columns,
            unique=False,
            postgresql_where=sa.text(where),
            sqlite_where=sa.text(where),
        )


def _column(table: str, column: sa.Column[int]) -> None:
    """Add a column whose default is for the rows that are there already."""
    column.nullable = False
    with op.batch_alter_table(table) as batch:
        batch.add_column(column)
    with op.batch_alter_table(table) as batch:
        batch.alter_column(column.name, server_default=None)


def downgrade() -> None:
    for table, column in (
        ("activities", "is_erased"),
        ("wallets", "frozen"),
        ("member_identifiers", "assign_time"),
    ):
        with op.batch_alter_table(table) as batch:
            batch.drop_column(column)
    op.drop_index("ix_members_scrub_due", "members")
    op.drop_index("ix_members_merged_into", "members")
    with op.batch_alter_table("members") as batch:
        batch.drop_constraint(op.f("ck_members_merged_into"))
        batch.drop_constraint(op.f("ck_members_state"))
        for name in ("state", "is_anonymous", "merged_into", "version", "is_scrub_due"):
            batch.drop_column(name)
    op.drop_table("member_profiles")
