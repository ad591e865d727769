"""The schema of gamification: members, progress, badges, scores and the heads of boards.

Every key leads with the program. JSON columns hold what `shared.record` wrote.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from shared.sqltypes import Instant, new_metadata
from shared.tables import kernel_tables

metadata = new_metadata()
kernel = kernel_tables(metadata)

# Our copy of the members; `member_id` is the identifier that boards show.
members = Table(
    "members",
    metadata,
    Column("program_id", Text, nullable=False),
    Column("member_key", Text, nullable=False),
    Column("member_id", Text, nullable=False),
    Column("enroll_time", Instant, nullable=False),
    PrimaryKeyConstraint("program_id", "member_key"),
)

member_identifiers = Table(
    "member_identifiers",
    metadata,
    Column("program_id", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("member_key", Text, nullable=False),
    Column("assign_time", Instant, nullable=False),
    PrimaryKeyConstraint("program_id", "identifier"),
    Index(None, "program_id", "member_key"),
)

# One row per challenge that a member has started. `elements` is a JSON list of different values or
# of months, sorted; a completed challenge has none. The reward is that of the completion.
progress = Table(
    "progress",
    metadata,
    Column("program_id", Text, nullable=False),
    Column("member_key", Text, nullable=False),
    Column("challenge_id", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("activity_count", BigInteger, nullable=False),
    Column("elements", Text, nullable=False),
    Column("complete_time", Instant),
    Column("reward_points", BigInteger, nullable=False),
    Column("reward_badge_id", Text, nullable=False),
    Column("reward_state", Text, nullable=False),
    Column("reward_failure", Text, nullable=False),
    PrimaryKeyConstraint("program_id", "member_key", "challenge_id", "period"),
    CheckConstraint("activity_count >= 0", name="activity_count"),
    CheckConstraint("reward_points >= 0", name="reward_points"),
)

# A badge is awarded at most once per member and period.
badges = Table(
    "badges",
    metadata,
    Column("program_id", Text, nullable=False),
    Column("member_key", Text, nullable=False),
    Column("badge_id", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("challenge_id", Text, nullable=False),
    Column("award_time", Instant, nullable=False),
    PrimaryKeyConstraint("program_id", "member_key", "badge_id", "period"),
    Index(None, "program_id", "badge_id"),
)

# The authority on scores; Redis holds an index of it. `changed_position` is the place of the last
# change among the changes of the board's period and partition.
scores = Table(
    "scores",
    metadata,
    Column("program_id", Text, nullable=False),
    Column("member_key", Text, nullable=False),
    Column("board_id", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("score", BigInteger, nullable=False),
    Column("reached_time", Instant, nullable=False),
    Column("changed_position", BigInteger, nullable=False),
    PrimaryKeyConstraint("program_id", "member_key", "board_id", "period"),
    CheckConstraint("score > -9007199254740992 AND score < 9007199254740992", name="score"),
    # The projector reads on from its cursor; a position is given once.
    Index(
        "uq_scores_changed_position",
        "program_id",
        "board_id",
        "period",
        "partition",
        "changed_position",
        unique=True,
    ),
)

# One row per board, period and partition: place of its last change. Locked right before the heads
# of the feed, so that places are in the order of the commits and without a gap.
board_heads = Table(
    "board_heads",
    metadata,
    Column("program_id", Text, nullable=False),
    Column("board_id", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
    PrimaryKeyConstraint("program_id", "board_id", "period", "partition"),
    CheckConstraint("position >= 0", name="position"),
    postgresql_with={"fillfactor": 10},
)
