"""Households, their members and invitations, and holds that take of all of their wallets."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "households",
        *_texts("program_id", "household_id", "head_key"),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("joined", sa.Integer(), nullable=False),
        sa.Column("dissolve_time", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("joined >= 1", name=op.f("ck_households_joined")),
        sa.PrimaryKeyConstraint("program_id", "household_id", name=op.f("pk_households")),
    )
    op.create_table(
        "household_members",
        *_texts("program_id", "member_key", "household_id"),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("join_time", sa.BigInteger(), nullable=False),
        sa.Column("leave_time", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("number >= 1", name=op.f("ck_household_members_number")),
        sa.PrimaryKeyConstraint("program_id", "member_key", name=op.f("pk_household_members")),
    )
    op.create_index(
        "ix_household_members_household", "household_members", ["program_id", "household_id"]
    )
    op.create_table(
        "household_invitations",
        *_texts("program_id", "code", "household_id", "member_key"),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        *_texts("accepted_by"),
        sa.PrimaryKeyConstraint("program_id", "code", name=op.f("pk_household_invitations")),
    )
    op.create_index(
        "ix_household_invitations_member",
        "household_invitations",
        ["program_id", "household_id", "member_key"],
    )
    op.create_table(
        "hold_shares",
        *_texts("program_id", "hold_id", "member_key", "currency_id"),
        *[
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("points", "captured", "refunded", "entry_sequence")
        ],
        *_texts("lots"),
        sa.CheckConstraint("points > 0", name=op.f("ck_hold_shares_points")),
        sa.CheckConstraint(
            "captured >= 0 AND captured <= points", name=op.f("ck_hold_shares_captured")
        ),
        sa.CheckConstraint(
            "refunded >= 0 AND refunded <= captured", name=op.f("ck_hold_shares_refunded")
        ),
        sa.PrimaryKeyConstraint("program_id", "hold_id", "member_key", name=op.f("pk_hold_shares")),
    )
    op.create_index(
        "ix_hold_shares_wallet", "hold_shares", ["program_id", "member_key", "currency_id"]
    )
    op.add_column("holds", sa.Column("household_id", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("holds", "household_id")
    for table in ("hold_shares", "household_invitations", "household_members", "households"):
        op.drop_table(table)


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]
