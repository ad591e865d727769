"""What activities earn of a program's further currencies."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "activity_earnings",
        *_ids("program_id", "activity_id", "currency_id"),
        *_numbers("points", "points_reversed", "entry_sequence"),
        sa.Column("available_time", sa.BigInteger(), nullable=True),
        *_ids("explanation"),
        sa.CheckConstraint("points >= 0", name=op.f("ck_activity_earnings_points")),
        sa.CheckConstraint(
            "points_reversed >= 0 AND points_reversed <= points",
            name=op.f("ck_activity_earnings_points_reversed"),
        ),
        sa.PrimaryKeyConstraint(
            "program_id", "activity_id", "currency_id", name=op.f("pk_activity_earnings")
        ),
        postgresql_with={"fillfactor": 70},
    )
    op.create_table(
        "reversal_earnings",
        *_ids("program_id", "reversal_id", "currency_id", "activity_id"),
        *_numbers("points", "owed"),
        sa.CheckConstraint("owed >= 0 AND owed <= points", name=op.f("ck_reversal_earnings_owed")),
        sa.PrimaryKeyConstraint(
            "program_id", "reversal_id", "currency_id", name=op.f("pk_reversal_earnings")
        ),
    )
    op.create_index(
        op.f("ix_reversal_earnings_program_id_activity_id"),
        "reversal_earnings",
        ["program_id", "activity_id"],
    )


def downgrade() -> None:
    op.drop_table("reversal_earnings")
    op.drop_table("activity_earnings")


def _ids(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]
