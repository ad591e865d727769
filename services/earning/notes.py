"""What is kept with an entry that no rule decided: who did it, and which entry is its other half.

The other half of a transfer is of another member, that of a conversion of another currency.
A hold of a household names the household.

The text stands where an entry of an activity has its explanation, so that the hash covers it; it is
a JSON object, and an explanation of rules is a JSON array.
"""

import json
from dataclasses import fields

from services.earning.domain import NO_HOUSEHOLD, CurrencyId, HouseholdId, MemberKey
from shared.values import value


@value
class Note:
    """Who did it, who else approved it, and the entry of another wallet that belongs to it.

    What was converted has the rate: so many points, `numerator`, were got for so many. What is held
    for a household names it.
    """

    actor: str = ""
    approver: str = ""
    other_member_key: MemberKey = MemberKey("")
    other_sequence: int = 0
    other_currency_id: CurrencyId = CurrencyId("")
    numerator: int = 0
    denominator: int = 0
    household_id: HouseholdId = NO_HOUSEHOLD


NO_NOTE = Note()
_NAMES = tuple(each.name for each in fields(Note))


def written(note: Note) -> str:
    """The text of a note as it is stored and hashed; what is empty is left out."""
    said = {name: getattr(note, name) for name in _NAMES if getattr(note, name)}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")) if said else ""


def is_note(text: str) -> bool:
    """Whether a stored text is a note, not an explanation of rules."""
    return text.startswith("{")


def read(text: str) -> Note:
    """The note of a stored text; one that is none, or was tampered with, says nothing."""
    if not is_note(text):
        return NO_NOTE
    try:
        note = Note(**json.loads(text))
    except (TypeError, ValueError):
        return NO_NOTE
    kept = all(type(getattr(note, name)) is type(getattr(NO_NOTE, name)) for name in _NAMES)
    return note if kept else NO_NOTE
