"""Wallets that are due at one instant are found in the order in which they are settled."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NAME = "ix_wallets_next_time"


def upgrade() -> None:
    op.drop_index(_NAME, "wallets")
    _create(["next_time", "program_id", "member_key", "currency_id"])


def downgrade() -> None:
    op.drop_index(_NAME, "wallets")
    _create(["next_time"])


def _create(columns: list[str]) -> None:
    op.create_index(
        _NAME,
        "wallets",
        columns,
        unique=False,
        postgresql_where=sa.text("next_time IS NOT NULL"),
        sqlite_where=sa.text("next_time IS NOT NULL"),
    )
