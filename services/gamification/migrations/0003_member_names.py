"""Names of members carry the instant from which they count."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("assign_time", sa.BigInteger(), nullable=False, server_default="0")
    with op.batch_alter_table("member_identifiers") as batch:
        batch.add_column(column)
    with op.batch_alter_table("member_identifiers") as batch:
        batch.alter_column("assign_time", server_default=None)
    op.create_index(
        op.f("ix_member_identifiers_program_id_member_key"),
        "member_identifiers",
        ["program_id", "member_key"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_member_identifiers_program_id_member_key"), "member_identifiers")
    with op.batch_alter_table("member_identifiers") as batch:
        batch.drop_column("assign_time")
