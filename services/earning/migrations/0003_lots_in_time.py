"""Lots that become available and end, and the instants at which the clock looks at wallets.

What is added has a default: the version before this one goes on writing while it is replaced.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("lot_available_time", "lot_expire_time", "slide_time"):
        op.add_column("entries", sa.Column(name, sa.BigInteger(), nullable=True))
    op.add_column("entries", _number("lot_sequence"))
    for name in ("is_pending", "is_sliding"):
        op.add_column("lots", _flag(name))
    with op.batch_alter_table("lots") as batch:
        batch.alter_column("available_time", existing_type=sa.BigInteger(), nullable=True)
    for name in ("slide_time", "next_time"):
        op.add_column("wallets", sa.Column(name, sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_wallets_next_time",
        "wallets",
        ["next_time"],
        unique=False,
        postgresql_where=sa.text("next_time IS NOT NULL"),
        sqlite_where=sa.text("next_time IS NOT NULL"),
    )
    op.add_column("holds", sa.Column("lots", sa.Text(), nullable=False, server_default="[]"))


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")


def _flag(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.SmallInteger(), nullable=False, server_default="0")


def downgrade() -> None:
    op.drop_column("holds", "lots")
    op.drop_index("ix_wallets_next_time", "wallets")
    for name in ("next_time", "slide_time"):
        op.drop_column("wallets", name)
    with op.batch_alter_table("lots") as batch:
        batch.alter_column("available_time", existing_type=sa.BigInteger(), nullable=False)
    for name in ("is_sliding", "is_pending"):
        op.drop_column("lots", name)
    for name in ("lot_sequence", "slide_time", "lot_expire_time", "lot_available_time"):
        op.drop_column("entries", name)
