"""Versions of program documents that come into force at a set time."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "program_schedules",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("etag", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("publish_time", sa.BigInteger(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.CheckConstraint("version >= 1", name=op.f("ck_program_schedules_version")),
        sa.PrimaryKeyConstraint("program_id", name=op.f("pk_program_schedules")),
    )
    op.add_column("program_versions", sa.Column("publish_time", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("program_versions", "publish_time")
    op.drop_table("program_schedules")
