"""Activities name the hold that paid for a part of them, and reversals give its points back."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, column in (("activities", "points_hold_id"), ("holds", "activity_id")):
        op.add_column(table, sa.Column(column, sa.Text(), nullable=False, server_default=""))
    op.add_column(
        "reversals",
        sa.Column("points_given_back", sa.BigInteger(), nullable=False, server_default="0"),
    )


def downgrade() -> None:
    op.drop_column("reversals", "points_given_back")
    op.drop_column("holds", "activity_id")
    op.drop_column("activities", "points_hold_id")
