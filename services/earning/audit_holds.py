"""Recomputes holds and adjustments of a wallet from its entries.

What goes back to which lot is decided again. The rules that violations name are listed in
`audit.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from services.earning import ledger_holds, notes
from services.earning.audit_columns import EntryColumns, LotTimes, Micros, Use
from services.earning.domain import (
    NO_HOUSEHOLD,
    ActivityId,
    CurrencyId,
    EntryType,
    Hold,
    HoldState,
    HouseholdId,
    Lot,
    LotUse,
    MemberKey,
    ProgramId,
    Wallet,
)
from services.earning.notes import Note
from services.earning.points_records import Adjustment, AdjustmentState
from shared.database import from_micros

_HOLD, _CAPTURE = EntryType.HOLD.value, EntryType.CAPTURE.value
_VOID, _REFUND, _ADJUST = EntryType.VOID.value, EntryType.REFUND.value, EntryType.ADJUST.value
TOLD = frozenset({_HOLD, _CAPTURE, _VOID, _REFUND, _ADJUST})
"""Entries that rows of holds and adjustments tell of as well."""

Differs: TypeAlias = Callable[[str, str, object, object], None]
"""Takes a rule, the name of a hold or adjustment, what is expected of it and what was found."""


@dataclass(slots=True)
class _Held:
    """What the entries say of one hold; `lots` are in the order of use."""

    sequence: int
    points: int = 0
    captured: int = 0
    refunded: int = 0
    is_open: bool = True
    lots: tuple[Use, ...] = ()
    household_id: HouseholdId = NO_HOUSEHOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class _Adjusted:
    """What an entry says of an adjustment."""

    sequence: int
    points: int
    reason: str
    note: Note
    create_time: datetime


class HoldsAudit:
    """Follows the entries of one wallet that holds and adjustments tell of."""

    def __init__(self) -> None:
        self._holds: dict[str, _Held] = {}
        self._adjusted: dict[str, _Adjusted] = {}

    def add(
        self,
        columns: EntryColumns,
        uses: Sequence[Use],
        lots: Mapping[int, LotTimes],
        slide_time: Micros,
    ) -> None:
        """Take an entry; `lots` are as they are before it."""
        type_, delta, reference = columns[3], columns[9], columns[12]
        if type_ == _HOLD:
            self._holds[reference] = _Held(
                sequence=columns[2],
                points=columns[6],
                lots=tuple(uses),
                household_id=notes.read(columns[16]).household_id,
            )
            return
        if type_ == _ADJUST:
            self._adjusted[reference] = _Adjusted(
                sequence=columns[2],
                points=-delta,
                reason=columns[13],
                note=notes.read(columns[16]),
                create_time=from_micros(columns[15]),
            )
            return
        held = self._holds.get(reference)
        if held is None:
            return
        if type_ == _VOID:
            held.is_open, held.lots = False, ()
            return
        if type_ == _CAPTURE:
            held.captured, held.is_open = delta, False
        else:
            held.refunded -= delta
        if all(lot in lots for lot, _ in held.lots):
            held.lots = _kept(held, lots, slide_time)

    def finish(
        self, holds: Iterable[Hold], adjustments: Iterable[Adjustment], differs: Differs
    ) -> int:
        """Compare with what is stored; the points of the holds that are stored as open."""
        stored = {str(hold.hold_id): hold for hold in holds}
        for hold_id in sorted(self._holds.keys() | stored.keys()):
            hold = stored.get(hold_id)
            made = self._holds.get(hold_id)
            differs("holds_equal_entries", hold_id, made, hold and _held_by(hold))
        booked = {
            str(each.adjustment_id): _adjusted_as(each)
            for each in adjustments
            if each.state is AdjustmentState.BOOKED
        }
        for name in sorted(self._adjusted.keys() | booked.keys()):
            differs("adjustments_equal_entries", name, self._adjusted.get(name), booked.get(name))
        return sum([hold.points for hold in stored.values() if hold.state is HoldState.OPEN])


def _kept(held: _Held, lots: Mapping[int, LotTimes], slide_time: Micros) -> tuple[Use, ...]:
    """What a hold keeps of its lots once it is captured, or refunded in part."""
    wallet = Wallet(
        program_id=ProgramId(""),
        member_key=MemberKey(""),
        currency_id=CurrencyId(""),
        slide_time=_instant(slide_time),
    )
    uses = [LotUse(lot_sequence=lot, points=points) for lot, points in held.lots]
    taken = {lot: _lot(lot, lots[lot]) for lot, _ in held.lots}
    kept = ledger_holds.part(wallet, taken, uses, held.captured - held.refunded).kept
    return tuple([(use.lot_sequence, use.points) for use in kept])


def _lot(number: int, times: LotTimes) -> Lot:
    """A lot that was used up: what remains of it does not matter to what a hold has of it."""
    amount, available, end, activity, is_pending, slides = times
    return Lot(
        lot_sequence=number,
        amount=amount,
        remaining=0,
        available_time=_instant(available),
        expire_time=_instant(end),
        activity_id=ActivityId(activity),
        is_pending=bool(is_pending),
        is_sliding=bool(slides),
    )


def _instant(micros: Micros) -> datetime | None:
    return None if micros is None else from_micros(micros)


def _held_by(hold: Hold) -> _Held:
    return _Held(
        sequence=hold.entry_sequence,
        points=hold.points,
        captured=hold.captured,
        refunded=hold.refunded,
        is_open=hold.state is HoldState.OPEN,
        lots=tuple([(use.lot_sequence, use.points) for use in hold.lots]),
        household_id=hold.household_id,
    )


def _adjusted_as(booked: Adjustment) -> _Adjusted:
    return _Adjusted(
        sequence=booked.entry_sequence,
        points=booked.points,
        reason=booked.reason,
        note=Note(actor=booked.actor, approver=booked.decider),
        create_time=booked.decide_time or booked.create_time,
    )
