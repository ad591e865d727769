"""The tables of daily seals; they belong to the schema of `tables.py`."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from shared.database import Day, Instant


def seal_tables(metadata: MetaData) -> tuple[Table, Table]:
    """Seals, one for each day of a program, and the chunks of their trees; both append only.

    `totals` is JSON text. Chunks of a day that has no seal yet say how far its sealing is.
    """
    seals = Table(
        "seals",
        metadata,
        _id("program_id"),
        Column("day", Day, nullable=False),
        _id("time_zone"),
        Column("end_time", Instant, nullable=False),
        _hash("root"),
        _id("totals"),
        _hash("previous_hash"),
        _hash("seal_hash"),
        Column("seal_time", Instant, nullable=False),
        PrimaryKeyConstraint("program_id", "day"),
    )
    chunks = Table(
        "seal_chunks",
        metadata,
        _id("program_id"),
        Column("day", Day, nullable=False),
        Column("number", Integer, nullable=False),
        _id("first_member_key"),
        _id("first_currency_id"),
        _id("last_member_key"),
        _id("last_currency_id"),
        Column("leaves", BigInteger, nullable=False),
        _id("totals"),
        _hash("root"),
        PrimaryKeyConstraint("program_id", "day", "number"),
        CheckConstraint("number >= 0", name="number"),
        CheckConstraint("leaves > 0", name="leaves"),
    )
    return seals, chunks


def _id(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _hash(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)
