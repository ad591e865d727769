"""Codes by which members bring friends, referrals, and the ledger entries that they made."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "referral_codes",
        *_texts("program_id", "code", "member_key"),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "code", name=op.f("pk_referral_codes")),
    )
    op.create_index("ix_referral_codes_member", "referral_codes", ["program_id", "member_key"])
    op.create_table(
        "referrals",
        *_texts("program_id", "referral_id", "friend_key", "referrer_key", "state"),
        sa.Column("claim_time", sa.BigInteger(), nullable=False),
        *_texts("currency_id"),
        *_numbers(
            "friend_points",
            "referrer_points",
            "friend_points_reversed",
            "referrer_points_reversed",
        ),
        *_texts("activity_id"),
        sa.Column("reward_time", sa.BigInteger(), nullable=True),
        sa.Column("reverse_time", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "state IN ('claimed', 'rewarded', 'reversed', 'capped')",
            name=op.f("ck_referrals_state"),
        ),
        sa.CheckConstraint(
            "(state = 'claimed') = (reward_time IS NULL)", name=op.f("ck_referrals_reward_time")
        ),
        sa.CheckConstraint(
            "(state = 'reversed') = (reverse_time IS NOT NULL)",
            name=op.f("ck_referrals_reverse_time"),
        ),
        sa.PrimaryKeyConstraint("program_id", "referral_id", name=op.f("pk_referrals")),
    )
    op.create_index("ux_referrals_friend", "referrals", ["program_id", "friend_key"], unique=True)
    op.create_index(
        "ix_referrals_referrer",
        "referrals",
        ["program_id", "referrer_key", "claim_time", "referral_id"],
    )
    op.create_index("ix_referrals_activity", "referrals", ["program_id", "activity_id"])
    op.create_table(
        "referral_entries",
        *_texts("program_id", "referral_id", "side", "type", "member_key", "currency_id"),
        *_numbers("sequence", "points"),
        sa.CheckConstraint("side IN ('friend', 'referrer')", name=op.f("ck_referral_entries_side")),
        sa.CheckConstraint(
            "type IN ('referral', 'reverse')", name=op.f("ck_referral_entries_type")
        ),
        sa.CheckConstraint("points > 0", name=op.f("ck_referral_entries_points")),
        sa.PrimaryKeyConstraint(
            "program_id", "referral_id", "side", "type", name=op.f("pk_referral_entries")
        ),
    )
    op.create_index(
        "ix_referral_entries_wallet",
        "referral_entries",
        ["program_id", "member_key", "currency_id", "sequence"],
    )


def downgrade() -> None:
    op.drop_table("referral_entries")
    op.drop_table("referrals")
    op.drop_table("referral_codes")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]
