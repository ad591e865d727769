"""Corrections of wallets by hand, with who asked for them and who decided them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "adjustments",
        sa.Column("program_id", sa.Text(), nullable=False),
        sa.Column("adjustment_id", sa.Text(), nullable=False),
        sa.Column("member_key", sa.Text(), nullable=False),
        sa.Column("currency_id", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("decider", sa.Text(), nullable=False),
        sa.Column("rejection_reason", sa.Text(), nullable=False),
        sa.Column("decide_time", sa.BigInteger(), nullable=True),
        sa.Column("entry_sequence", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("points <> 0", name=op.f("ck_adjustments_points")),
        sa.CheckConstraint(
            "state IN ('awaiting_approval', 'booked', 'rejected')",
            name=op.f("ck_adjustments_state"),
        ),
        sa.CheckConstraint(
            "(state = 'booked') = (entry_sequence > 0)",
            name=op.f("ck_adjustments_entry_sequence"),
        ),
        sa.CheckConstraint(
            "(state = 'awaiting_approval') = (decide_time IS NULL)",
            name=op.f("ck_adjustments_decide_time"),
        ),
        sa.PrimaryKeyConstraint("program_id", "adjustment_id", name=op.f("pk_adjustments")),
    )
    op.create_index(
        "ix_adjustments_state",
        "adjustments",
        ["program_id", "state", "create_time", "adjustment_id"],
    )
    op.create_index(
        "ix_adjustments_wallet", "adjustments", ["program_id", "member_key", "currency_id"]
    )


def downgrade() -> None:
    op.drop_table("adjustments")
