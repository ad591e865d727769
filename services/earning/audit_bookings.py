"""Compares the entries of a range of members with what other rows, and each other, tell of them.

Activities are taken as columns, as wallets are (`audit_columns.py`): each is met once, by the entry
that booked it. The rules that violations name are listed in `audit.py`.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TypeAlias

from services.earning import audit_conversions, store_audit
from services.earning.audit import Violation
from services.earning.audit_activities import violation
from services.earning.audit_columns import EntryColumns, Micros
from services.earning.domain import Entry, EntryType, ProgramId

BookedColumns: TypeAlias = tuple[str, str, str, int, int, str, int, int, Micros]
"""Of an activity its identifier, member, currency and number of its entry, points, explanation,
when it occurred, was recorded and is available."""

_EARN, _REFERRAL, _REVERSE, _REFUND = (
    each.value for each in (EntryType.EARN, EntryType.REFERRAL, EntryType.REVERSE, EntryType.REFUND)
)


class Bookings:
    """Takes the entries of a range; odd ones are left out, as their wallets say so.

    `earned` (of further currencies), `referred` and `refunded` are entries that rows other than
    activities tell of.
    """

    def __init__(
        self, program_id: ProgramId, activities: Iterable[BookedColumns], first: str | None
    ) -> None:
        """`activities` are those of the same members; `first` is the first currency, if known."""
        self._program_id = program_id
        self._first = first
        self._activities = {each[0]: each for each in activities}
        self._violations: list[Violation] = []
        self.earned: list[Entry] = []
        self.referred: list[Entry] = []
        self.refunded: list[Entry] = []
        self._converted: list[EntryColumns] = []

    def take(self, run: Iterable[EntryColumns]) -> None:
        """Compare entries of one wallet with the activities that they booked."""
        for columns in run:
            type_ = columns[3]
            if type_ == _EARN:
                self._book(columns)
            elif type_ == _REFERRAL or (type_ == _REVERSE and not columns[11]):
                self.referred += self._entry(columns)
            elif type_ == _REFUND and columns[11]:
                self.refunded += self._entry(columns)
            elif type_ in audit_conversions.CONVERSIONS:
                self._converted.append(columns)

    def finish(self) -> list[Violation]:
        """What is wrong, activities whose points no entry booked, and conversions, included."""
        for name, told in self._activities.items():
            self._say(name, tuple(told[1:]) if told[4] else "no entry", "nothing that is its own")
        self._violations += audit_conversions.audit(self._program_id, self._converted)
        return self._violations

    def _book(self, columns: EntryColumns) -> None:
        """Compare an entry with its activity, which is not looked for again."""
        name = columns[11]
        told = self._activities.get(name)
        if told is None or told[1:4] != columns[:3]:
            if columns[1] == self._first:
                self._say(name, "a record", f"entry {columns[2]} of {columns[0]} without it")
            elif self._first is not None:
                self.earned += self._entry(columns)
            return
        del self._activities[name]
        waits_until = columns[19] if columns[5] else None
        found = (-columns[9], columns[16], columns[14], columns[15], waits_until)
        if told[4:] != found or not told[4]:
            self._say(name, tuple(told[4:]), found)

    def _entry(self, columns: EntryColumns) -> Iterator[Entry]:
        with suppress(ValueError):
            yield store_audit.entry_of(self._program_id, columns)

    def _say(self, name: str, expected: object, found: object) -> None:
        self._violations.append(
            violation("activity_entry", self._program_id, name, expected, found)
        )
