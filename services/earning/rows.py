"""Rows of the tables as values of the domain, and back; no statement is here."""

from collections.abc import Iterable
from datetime import datetime
from typing import TypeAlias, cast

import orjson

from services.earning.domain import (
    Account,
    ActivityId,
    ActivityRecord,
    Entry,
    EntryType,
    Hold,
    HoldState,
    LevelFrom,
    LineRecord,
    Lot,
    LotUse,
    ReversalWay,
    Wallet,
)
from shared import record
from shared.database import Row

_Instant: TypeAlias = datetime | None
_LotValues: TypeAlias = tuple[
    str, str, str, int, int, int, int, _Instant, _Instant, ActivityId, int, int
]


def wallet_row(wallet: Wallet) -> dict[str, object]:
    """Columns of `wallets`."""
    return {
        "program_id": wallet.program_id,
        "member_key": wallet.member_key,
        "currency_id": wallet.currency_id,
        "available": wallet.available,
        "pending": wallet.pending,
        "held": wallet.held,
        "debt": wallet.debt,
        "earned": wallet.earned,
        "spent": wallet.spent,
        "expired": wallet.expired,
        "reversed": wallet.reversed,
        "sequence": wallet.sequence,
        "chain_hash": wallet.chain_hash,
        "slide_time": wallet.slide_time,
        "next_time": wallet.next_time,
        "frozen": wallet.frozen,
    }


def wallet_of(row: Row) -> Wallet:
    """The wallet of a row of `wallets`."""
    return Wallet(
        program_id=row.program_id,
        member_key=row.member_key,
        currency_id=row.currency_id,
        available=row.available,
        pending=row.pending,
        held=row.held,
        debt=row.debt,
        earned=row.earned,
        spent=row.spent,
        expired=row.expired,
        reversed=row.reversed,
        sequence=row.sequence,
        chain_hash=bytes(row.chain_hash),
        slide_time=row.slide_time,
        next_time=row.next_time,
        frozen=row.frozen,
    )


def entry_row(entry: Entry) -> dict[str, object]:
    """Columns of `entries`; its lot uses are rows of their own."""
    return {
        "program_id": entry.program_id,
        "member_key": entry.member_key,
        "currency_id": entry.currency_id,
        "sequence": entry.sequence,
        "type": entry.type,
        "available_delta": entry.available_delta,
        "pending_delta": entry.pending_delta,
        "held_delta": entry.held_delta,
        "debt_delta": entry.debt_delta,
        "program_account": entry.program_account,
        "program_delta": entry.program_delta,
        "available_after": entry.available_after,
        "activity_id": entry.activity_id,
        "reference": entry.reference,
        "reason": entry.reason,
        "occurred_time": entry.occurred_time,
        "create_time": entry.create_time,
        "explanation": entry.explanation,
        "chain_hash": entry.chain_hash,
        "lot_sequence": entry.lot_sequence,
        "lot_available_time": entry.lot_available_time,
        "lot_expire_time": entry.lot_expire_time,
        "slide_time": entry.slide_time,
    }


def entry_of(row: Row, lot_uses: tuple[LotUse, ...]) -> Entry:
    """The entry of a row of `entries` and its uses, in the order of the lots.

    Raises ValueError for a type or an account that does not exist.
    """
    return Entry(
        program_id=row.program_id,
        member_key=row.member_key,
        currency_id=row.currency_id,
        sequence=row.sequence,
        type=EntryType(row.type),
        available_delta=row.available_delta,
        pending_delta=row.pending_delta,
        held_delta=row.held_delta,
        debt_delta=row.debt_delta,
        program_account=Account(row.program_account),
        program_delta=row.program_delta,
        available_after=row.available_after,
        activity_id=row.activity_id,
        reference=row.reference,
        reason=row.reason,
        occurred_time=row.occurred_time,
        create_time=row.create_time,
        explanation=row.explanation,
        lot_uses=lot_uses,
        chain_hash=bytes(row.chain_hash),
        lot_sequence=row.lot_sequence,
        lot_available_time=row.lot_available_time,
        lot_expire_time=row.lot_expire_time,
        slide_time=row.slide_time,
    )


def use_rows(entry: Entry) -> list[dict[str, object]]:
    """Columns of `lot_uses`, one row for each lot that the entry used."""
    return [
        {
            "program_id": entry.program_id,
            "member_key": entry.member_key,
            "currency_id": entry.currency_id,
            "sequence": entry.sequence,
            "lot_sequence": use.lot_sequence,
            "points": use.points,
        }
        for use in entry.lot_uses
    ]


def use_of(row: Row) -> LotUse:
    """The use of a row of `lot_uses`."""
    return LotUse(lot_sequence=row.lot_sequence, points=row.points)


def lot_row(wallet: tuple[str, str, str], lot: Lot) -> dict[str, object]:
    """Columns of `lots`; `wallet` is its program, member and currency."""
    return {
        **lot_change_row(wallet, lot),
        "amount": lot.amount,
        "available_time": lot.available_time,
        "expire_time": lot.expire_time,
        "activity_id": lot.activity_id,
        "is_pending": 1 if lot.is_pending else 0,
        "is_sliding": 1 if lot.is_sliding else 0,
    }


def lot_change_row(wallet: tuple[str, str, str], lot: Lot) -> dict[str, object]:
    """Columns of `lots` that uses change, and the key."""
    return {
        "program_id": wallet[0],
        "member_key": wallet[1],
        "currency_id": wallet[2],
        "lot_sequence": lot.lot_sequence,
        "remaining": lot.remaining,
        "is_open": 1 if lot.remaining else 0,
    }


def lot_of(row: Row) -> Lot:
    """The lot of a whole row of `lots`."""
    # By place: a name is looked up for each value, and a wallet may have many lots.
    values = cast("_LotValues", row)
    _, _, _, sequence, amount, remaining, _, available, ends, activity, pending, sliding = values
    return Lot(
        lot_sequence=sequence,
        amount=amount,
        remaining=remaining,
        available_time=available,
        expire_time=ends,
        activity_id=activity,
        is_pending=bool(pending),
        is_sliding=bool(sliding),
    )


def hold_row(hold: Hold) -> dict[str, object]:
    """Columns of `holds`."""
    return {
        **hold_change_row(hold),
        "member_key": hold.member_key,
        "currency_id": hold.currency_id,
        "points": hold.points,
        "expire_time": hold.expire_time,
        "reference": hold.reference,
        "entry_sequence": hold.entry_sequence,
        "household_id": hold.household_id,
    }


def hold_change_row(hold: Hold) -> dict[str, object]:
    """Columns of `holds` that change, and the key."""
    return {
        "program_id": hold.program_id,
        "hold_id": hold.hold_id,
        "captured": hold.captured,
        "refunded": hold.refunded,
        "state": hold.state.value,
        "lots": record.dumps([(use.lot_sequence, use.points) for use in hold.lots]),
        "activity_id": hold.activity_id,
    }


def hold_of(row: Row) -> Hold:
    """The hold of a row of `holds`."""
    return Hold(
        program_id=row.program_id,
        hold_id=row.hold_id,
        member_key=row.member_key,
        currency_id=row.currency_id,
        points=row.points,
        captured=row.captured,
        refunded=row.refunded,
        state=HoldState(row.state),
        expire_time=row.expire_time,
        reference=row.reference,
        entry_sequence=row.entry_sequence,
        lots=held_lots(row.lots),
        activity_id=row.activity_id,
        household_id=row.household_id,
    )


def held_lots(text: str) -> tuple[LotUse, ...]:
    """What a hold has out of lots, as its row tells it."""
    return tuple(LotUse(lot_sequence=lot, points=points) for lot, points in orjson.loads(text))


def activity_row(made: ActivityRecord) -> dict[str, object]:
    """Columns of `activities`; its lines are rows of their own."""
    return {
        **activity_change_row(made),
        "member_key": made.member_key,
        "type": made.type,
        "occurred_time": made.occurred_time,
        "source": made.source,
        "external_reference": made.external_reference,
        "content": made.content,
        "currency_id": made.currency_id,
        "points": made.points,
        "level_id": made.level_id,
        "program_version": made.program_version,
        "explanation": made.explanation,
        "amount": made.amount,
        "entry_sequence": made.entry_sequence,
        "create_time": made.create_time,
        "available_time": made.available_time,
        "is_erased": 0,
        "points_hold_id": made.points_hold_id,
    }


def activity_change_row(made: ActivityRecord) -> dict[str, object]:
    """Columns of `activities` that reversals change, and the key."""
    return {
        "program_id": made.program_id,
        "activity_id": made.activity_id,
        "amount_reversed": made.amount_reversed,
        "points_reversed": made.points_reversed,
        "reversal_way": made.reversal_way,
    }


def activity_of(row: Row, lines: tuple[LineRecord, ...]) -> ActivityRecord:
    """The record of a row of `activities` and its lines, in their order."""
    return ActivityRecord(
        program_id=row.program_id,
        activity_id=row.activity_id,
        member_key=row.member_key,
        type=row.type,
        occurred_time=row.occurred_time,
        source=row.source,
        external_reference=row.external_reference,
        content=bytes(row.content),
        currency_id=row.currency_id,
        points=row.points,
        level_id=row.level_id,
        program_version=row.program_version,
        explanation=row.explanation,
        amount=row.amount,
        entry_sequence=row.entry_sequence,
        create_time=row.create_time,
        available_time=row.available_time,
        lines=lines,
        amount_reversed=row.amount_reversed,
        points_reversed=row.points_reversed,
        reversal_way=ReversalWay(row.reversal_way),
        is_erased=bool(row.is_erased),
        points_hold_id=row.points_hold_id,
    )


def line_rows(made: ActivityRecord) -> list[dict[str, object]]:
    """Columns of `activity_lines`, one row for each line."""
    return [
        {
            **line_change_row(made, line),
            "quantity": line.quantity,
            "amount": line.amount,
            "points": line.points,
        }
        for line in made.lines
    ]


def line_change_row(made: ActivityRecord, line: LineRecord) -> dict[str, object]:
    """Columns of `activity_lines` that returns change, and the key."""
    return {
        "program_id": made.program_id,
        "activity_id": made.activity_id,
        "line_number": line.line_number,
        "quantity_returned": line.quantity_returned,
        "amount_returned": line.amount_returned,
        "points_returned": line.points_returned,
    }


def lines_of(rows: Iterable[Row], items: tuple[bytes, ...] = ()) -> tuple[LineRecord, ...]:
    """Lines of the rows of one activity; `items` are its serialized lines, when they are needed."""
    return tuple(
        LineRecord(
            line_number=row.line_number,
            quantity=row.quantity,
            amount=row.amount,
            points=row.points,
            quantity_returned=row.quantity_returned,
            amount_returned=row.amount_returned,
            points_returned=row.points_returned,
            item=items[row.line_number - 1] if items else b"",
        )
        for row in sorted(rows, key=lambda row: int(row.line_number))
    )


def level_of(row: Row) -> LevelFrom:
    """The level of a row of `tier_timeline`."""
    return LevelFrom(effective_time=row.effective_time, level_id=row.level_id)
