"""What reversals took of further currencies says so for each line; of older ones it is not told."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "reversal_earnings",
        sa.Column("line_points", sa.Text(), nullable=False, server_default=""),
    )


def downgrade() -> None:
    op.drop_column("reversal_earnings", "line_points")
