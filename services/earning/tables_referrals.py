"""The tables of referrals; they belong to the schema of `tables.py`."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from shared.database import Instant


def referral_tables(metadata: MetaData) -> tuple[Table, Table, Table]:
    """Codes by which friends come, referrals, and the ledger entries that they made."""
    codes = Table(
        "referral_codes",
        metadata,
        *_texts("program_id", "code", "member_key"),
        Column("create_time", Instant, nullable=False),
        PrimaryKeyConstraint("program_id", "code"),
        Index("ix_referral_codes_member", "program_id", "member_key"),
    )
    referrals = Table(
        "referrals",
        metadata,
        *_texts("program_id", "referral_id", "friend_key", "referrer_key", "state"),
        Column("claim_time", Instant, nullable=False),
        *_texts("currency_id"),
        *_numbers(
            "friend_points",
            "referrer_points",
            "friend_points_reversed",
            "referrer_points_reversed",
        ),
        *_texts("activity_id"),
        Column("reward_time", Instant),
        Column("reverse_time", Instant),
        PrimaryKeyConstraint("program_id", "referral_id"),
        CheckConstraint("state IN ('claimed', 'rewarded', 'reversed', 'capped')", name="state"),
        CheckConstraint("(state = 'claimed') = (reward_time IS NULL)", name="reward_time"),
        CheckConstraint("(state = 'reversed') = (reverse_time IS NOT NULL)", name="reverse_time"),
        # One referrer per member, whatever two processes do.
        Index("ux_referrals_friend", "program_id", "friend_key", unique=True),
        Index("ix_referrals_referrer", "program_id", "referrer_key", "claim_time", "referral_id"),
        Index("ix_referrals_activity", "program_id", "activity_id"),
    )
    # Each side is given points once, and they are taken back once.
    entries = Table(
        "referral_entries",
        metadata,
        *_texts("program_id", "referral_id", "side", "type", "member_key", "currency_id"),
        *_numbers("sequence", "points"),
        PrimaryKeyConstraint("program_id", "referral_id", "side", "type"),
        CheckConstraint("side IN ('friend', 'referrer')", name="side"),
        CheckConstraint("type IN ('referral', 'reverse')", name="type"),
        CheckConstraint("points > 0", name="points"),
        Index("ix_referral_entries_wallet", "program_id", "member_key", "currency_id", "sequence"),
    )
    return codes, referrals, entries


def _texts(*names: str) -> list[Column[str]]:
    return [Column(name, Text, nullable=False) for name in names]


def _numbers(*names: str) -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in names]
