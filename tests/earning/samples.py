"""Values that tests of earning begin with."""

from datetime import UTC, datetime

from services.earning.domain import (
    ActivityId,
    ActivityRecord,
    CurrencyId,
    LevelId,
    LineRecord,
    MemberKey,
    ProgramId,
    Wallet,
)

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
PROGRAM = ProgramId("shop")
CURRENCY = CurrencyId("points")
KEY = MemberKey("00ff" + "0" * 28)


def wallet(**changes: int) -> Wallet:
    return Wallet(program_id=PROGRAM, member_key=KEY, currency_id=CURRENCY, **changes)  # type: ignore[arg-type]


def record(
    *, points: int | None = None, amount: int | None = None, lines: tuple[LineRecord, ...] = ()
) -> ActivityRecord:
    """A purchase whose points and amount are those of its lines unless they are given."""
    return ActivityRecord(
        program_id=PROGRAM,
        activity_id=ActivityId("a-1"),
        member_key=KEY,
        type="purchase",
        occurred_time=NOW,
        source="shop",
        external_reference="",
        content=b"",
        currency_id=CURRENCY,
        points=sum(line.points for line in lines) if points is None else points,
        level_id=LevelId(""),
        program_version=1,
        explanation="",
        amount=sum(line.amount for line in lines) if amount is None else amount,
        entry_sequence=1,
        create_time=NOW,
        lines=lines,
    )
