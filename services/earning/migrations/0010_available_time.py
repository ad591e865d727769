"""Activities tell when their points become available, where they wait for a while."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("activities", sa.Column("available_time", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("activities", "available_time")
