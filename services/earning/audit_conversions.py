"""Compares the two entries of each conversion, which are of one member, with one another.

The rules that violations name are listed in `audit.py`.
"""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from services.earning import notes
from services.earning.audit import DETAIL_MAX, Violation
from services.earning.audit_columns import EntryColumns
from services.earning.domain import EntryType, ProgramId

_OUT, _IN = EntryType.CONVERT_OUT.value, EntryType.CONVERT_IN.value
CONVERSIONS = frozenset({_OUT, _IN})
_Place: TypeAlias = tuple[str, str, int]
"""Member, currency and number of an entry."""


def audit(program_id: ProgramId, entries: Iterable[EntryColumns]) -> Iterator[Violation]:
    """What does not agree in conversions; `entries` are all of those types of some members."""
    found = {each[:3]: each for each in entries}
    for place, entry in found.items():
        note = notes.read(entry[16])
        other = found.get((place[0], note.other_currency_id, note.other_sequence))
        if other is None or _told(other) != (place, note.numerator, note.denominator):
            yield _violation(program_id, place, "the other half of it, at the same rate", other)
        elif entry[3] == _OUT and not _agree(entry, other, note):
            rate = f"{note.numerator} for each {note.denominator} of {entry[9]}, by one request"
            yield _violation(program_id, place, rate, other)


def _told(entry: EntryColumns) -> tuple[_Place, int, int]:
    """What an entry names as its other half, and its rate."""
    note = notes.read(entry[16])
    place = entry[0], str(note.other_currency_id), note.other_sequence
    return place, note.numerator, note.denominator


def _agree(out: EntryColumns, into: EntryColumns, note: notes.Note) -> bool:
    """Whether what came is what went at the rate, by one request at one instant."""
    exact = -into[9] * note.denominator == out[9] * note.numerator
    return exact and out[9] > 0 and into[3] == _IN and into[12:16] == out[12:16]


def _violation(
    program_id: ProgramId, place: _Place, expected: str, found: EntryColumns | None
) -> Violation:
    told = None if found is None else (*found[:4], found[9], *found[12:17])
    return Violation(
        rule="conversions_agree",
        subject=f"{program_id}/{place[0]}/{place[1]}#{place[2]}",
        detail=f"expected {expected}, found {told}"[:DETAIL_MAX],
    )
