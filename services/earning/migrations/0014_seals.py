"""Seals of days, and the chunks of their trees; neither is ever changed."""

import sqlalchemy as sa
from alembic import op

from services.earning.tables_triggers import append_only

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "seals",
        *_texts("program_id", "day", "time_zone"),
        sa.Column("end_time", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        *_texts("totals"),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False),
        sa.Column("seal_hash", sa.LargeBinary(), nullable=False),
        sa.Column("seal_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "day", name=op.f("pk_seals")),
    )
    op.create_table(
        "seal_chunks",
        *_texts("program_id", "day"),
        sa.Column("number", sa.Integer(), nullable=False),
        *_texts("first_member_key", "first_currency_id", "last_member_key", "last_currency_id"),
        sa.Column("leaves", sa.BigInteger(), nullable=False),
        *_texts("totals"),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("number >= 0", name=op.f("ck_seal_chunks_number")),
        sa.CheckConstraint("leaves > 0", name=op.f("ck_seal_chunks_leaves")),
        sa.PrimaryKeyConstraint("program_id", "day", "number", name=op.f("pk_seal_chunks")),
    )
    for table in ("seals", "seal_chunks"):
        for dialect, statement in append_only(table):
            if dialect == op.get_context().dialect.name:
                op.execute(statement)


def downgrade() -> None:
    op.drop_table("seal_chunks")
    op.drop_table("seals")
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION seal_chunks_append_only")
        op.execute("DROP FUNCTION seals_append_only")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]
