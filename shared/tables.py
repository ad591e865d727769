"""Tables that every service has besides its own: keys, feed, cursors, intentions, programs, clock.

`kernel_tables(metadata)` puts all of them on a service's metadata, and each service's first
migration creates them.
Business instants are the injected clock's (`Instant`); those named `…_micros` are the database's
real clock, because they are about work and not about business.
"""

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from shared.sqltypes import Instant, now_micros

# Rows that are written twice in one transaction leave room for the second version on the page, so
# that PostgreSQL need not touch an index for it.
_ROOM = {"fillfactor": 70}


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTables:
    """Every kernel table of one service."""

    request_keys: Table
    feed_identity: Table
    feed_heads: Table
    feed_events: Table
    feed_cursors: Table
    parked_members: Table
    parked_events: Table
    intentions: Table
    program_versions: Table
    program_schedules: Table
    simulated_clock: Table


def kernel_tables(metadata: MetaData) -> KernelTables:
    """Create the kernel tables on `metadata`; once per metadata."""
    return KernelTables(
        request_keys=_request_keys(metadata),
        feed_identity=_feed_identity(metadata),
        feed_heads=_feed_heads(metadata),
        feed_events=_feed_events(metadata),
        feed_cursors=_feed_cursors(metadata),
        parked_members=_parked_members(metadata),
        parked_events=_parked_events(metadata),
        intentions=_intentions(metadata),
        program_versions=_program_versions(metadata),
        program_schedules=_program_schedules(metadata),
        simulated_clock=_simulated_clock(metadata),
    )


def _request_keys(metadata: MetaData) -> Table:
    """One row per request that was decided: what was asked (digest) and what was answered.

    `answer` or `refusal` is JSON text, set in the transaction that claimed the key; `partition` and
    `position` are the event that a reader has to wait for.
    """
    return Table(
        "request_keys",
        metadata,
        Column("program_id", Text, nullable=False),
        Column("scope", Text, nullable=False),
        Column("request_id", Text, nullable=False),
        Column("digest", Text, nullable=False),
        Column("answer", Text),
        Column("refusal", Text),
        Column("partition", Integer),
        Column("position", BigInteger),
        Column("create_time_micros", BigInteger, nullable=False, server_default=now_micros()),
        PrimaryKeyConstraint("program_id", "scope", "request_id"),
        # Only for the job that forgets old keys; BRIN, so that a key costs no entry of it.
        Index(None, "create_time_micros", postgresql_using="brin"),
        postgresql_with=_ROOM,
    )


def _feed_identity(metadata: MetaData) -> Table:
    """One row: which feed this is. A restored backup must get another incarnation."""
    return Table(
        "feed_identity",
        metadata,
        Column("one", Integer, primary_key=True, autoincrement=False),
        Column("incarnation", Text, nullable=False),
        Column("partitions", Integer, nullable=False),
        CheckConstraint("one = 1", name="one"),
    )


def _feed_heads(metadata: MetaData) -> Table:
    """One row per partition: position of its last event. Locked last in every transaction."""
    return Table(
        "feed_heads",
        metadata,
        Column("partition", Integer, primary_key=True, autoincrement=False),
        Column("position", BigInteger, nullable=False),
        CheckConstraint("position >= 0", name="position"),
        postgresql_with={"fillfactor": 10},
    )


def _feed_events(metadata: MetaData) -> Table:
    """The feed: positions 1..n in each partition, without a gap, in the order of the commits."""
    return Table(
        "feed_events",
        metadata,
        Column("partition", Integer, nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("program_id", Text, nullable=False),
        Column("member_key", Text, nullable=False),
        Column("type", Text, nullable=False),
        Column("payload", LargeBinary, nullable=False),
        Column("create_time", Instant, nullable=False),
        PrimaryKeyConstraint("partition", "position"),
    )


def _feed_cursors(metadata: MetaData) -> Table:
    """How far another service's feed has been applied here, stored with the effects."""
    return Table(
        "feed_cursors",
        metadata,
        Column("source", Text, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("incarnation", Text, nullable=False),
        PrimaryKeyConstraint("source", "partition"),
        postgresql_with={"fillfactor": 10},
    )


def _parked_members(metadata: MetaData) -> Table:
    """Members whose event (at `position`) could not be applied; later ones wait behind it."""
    return Table(
        "parked_members",
        metadata,
        Column("source", Text, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("member_key", Text, nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("create_time_micros", BigInteger, nullable=False, server_default=now_micros()),
        PrimaryKeyConstraint("source", "partition", "member_key"),
    )


def _parked_events(metadata: MetaData) -> Table:
    """Events that wait, whole; `error` is empty for those that only wait behind another one."""
    return Table(
        "parked_events",
        metadata,
        Column("source", Text, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("member_key", Text, nullable=False),
        Column("event", LargeBinary, nullable=False),
        Column("error", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("create_time_micros", BigInteger, nullable=False, server_default=now_micros()),
        PrimaryKeyConstraint("source", "partition", "position"),
        Index(None, "source", "partition", "member_key", "position"),
    )


def _intentions(metadata: MetaData) -> Table:
    """Calls that must still happen, and for a while those that have (`close_time`)."""
    return Table(
        "intentions",
        metadata,
        Column("intention_id", Text, primary_key=True),
        Column("program_id", Text, nullable=False),
        Column("member_key", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("payload", Text, nullable=False),
        Column("attempts", Integer, nullable=False, server_default=text("0")),
        Column("next_attempt_micros", BigInteger, nullable=False, server_default=text("0")),
        Column("lease_owner", Text),
        Column("lease_until_micros", BigInteger, nullable=False, server_default=text("0")),
        Column("last_error", Text),
        Column("create_time", Instant, nullable=False),
        Column("close_time", Instant),
        # The few that are open, in the order in which they are due.
        Index(
            "ix_intentions_open",
            "next_attempt_micros",
            postgresql_where=text("close_time IS NULL"),
            sqlite_where=text("close_time IS NULL"),
        ),
    )


def _program_versions(metadata: MetaData) -> Table:
    """Every version of every program document, and where it stands in each followed feed.

    `publish_time` is NULL where a version came into force when it was made.
    """
    return Table(
        "program_versions",
        metadata,
        Column("program_id", Text, nullable=False),
        Column("version", Integer, nullable=False),
        Column("etag", Text, nullable=False),
        Column("author", Text, nullable=False),
        Column("content", LargeBinary, nullable=False),
        Column("cursors", Text, nullable=False),
        Column("create_time", Instant, nullable=False),
        Column("publish_time", Instant),
        PrimaryKeyConstraint("program_id", "version"),
        CheckConstraint("version >= 1", name="version"),
    )


def _program_schedules(metadata: MetaData) -> Table:
    """The version of a program that comes into force later, at most one; it has no place yet.

    `failure` says why its publication was refused when its time had come.
    """
    return Table(
        "program_schedules",
        metadata,
        Column("program_id", Text, primary_key=True),
        Column("version", Integer, nullable=False),
        Column("etag", Text, nullable=False),
        Column("author", Text, nullable=False),
        Column("content", LargeBinary, nullable=False),
        Column("create_time", Instant, nullable=False),
        Column("publish_time", Instant, nullable=False),
        Column("failure", Text),
        CheckConstraint("version >= 1", name="version"),
    )


def _simulated_clock(metadata: MetaData) -> Table:
    """One row: what a simulated clock says; none where the clock is the system's."""
    return Table(
        "simulated_clock",
        metadata,
        Column("one", Integer, primary_key=True, autoincrement=False),
        Column("now", Instant, nullable=False),
        CheckConstraint("one = 1", name="one"),
    )
