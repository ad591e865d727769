"""Reversals that came before their activity."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "waiting_reversals",
        *[sa.Column(name, sa.Text(), nullable=False) for name in ("program_id", "reversal_id")],
        sa.Column("activity_id", sa.Text(), nullable=False),
        *[
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("number", "occurred_time", "create_time")
        ],
        *[sa.Column(name, sa.Text(), nullable=False) for name in ("reason", "scope", "state")],
        sa.Column("settle_time", sa.BigInteger(), nullable=True),
        sa.Column("rejected_reason", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state IN ('waiting', 'applied', 'rejected')", name=op.f("ck_waiting_reversals_state")
        ),
        sa.CheckConstraint(
            "(state = 'waiting') = (settle_time IS NULL)",
            name=op.f("ck_waiting_reversals_settle_time"),
        ),
        sa.CheckConstraint(
            "(state = 'rejected') = (rejected_reason <> '')",
            name=op.f("ck_waiting_reversals_rejected_reason"),
        ),
        sa.PrimaryKeyConstraint("program_id", "reversal_id", name=op.f("pk_waiting_reversals")),
        sa.UniqueConstraint(
            "program_id",
            "activity_id",
            "number",
            name=op.f("uq_waiting_reversals_program_id_activity_id_number"),
        ),
    )


def downgrade() -> None:
    op.drop_table("waiting_reversals")
