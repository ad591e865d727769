"""Conditions as rules ask them, with answers remembered by what a condition reads.

Asking the engine costs some ten microseconds for each rule and line; most conditions read one or
two plain fields that have few values (`line.category == "product"`, `tier == "silver"`). What a
text reads is told by its words alone; where that is not certain, the engine is asked every time.
"""

import re
from collections.abc import Callable

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from services.earning.rules import Condition, LineCondition
from shared import expressions

FALSE = "the condition is false"

_REMEMBERED_MAX = 1_024
_TEXTS = re.compile(
    r'"""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\'|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'',
    re.DOTALL,
)
_WORDS = re.compile(r"[A-Za-z_]\w*|\S")


def on_activity(condition: expressions.Condition, activity: Descriptor) -> Condition:
    """A condition over `activity`, `tier` and `member`; one about the member is always asked."""

    def ask(view: object, tier: str, member: object) -> str:
        return _why_not(condition.matches(activity=view, tier=tier, member=member))

    fields = fields_read(condition.text, "activity", activity)
    if fields is None or mentions(condition.text, "member"):
        return ask
    remembered: dict[object, str] = {}

    def recall(view: object, tier: str, member: object) -> str:
        key = (tier, *[getattr(view, field) for field in fields])
        return _recalled(remembered, key, lambda: ask(view, tier, member))

    return recall


def on_line(condition: expressions.Condition, line: Descriptor) -> LineCondition:
    """A condition over `line`."""

    def ask(view: object) -> str:
        return _why_not(condition.matches(line=view))

    fields = fields_read(condition.text, "line", line)
    if fields is None:
        return ask
    remembered: dict[object, str] = {}

    def recall(view: object) -> str:
        key = tuple([getattr(view, field) for field in fields])
        return _recalled(remembered, key, lambda: ask(view))

    return recall


def mentions(text: str, variable: str) -> bool:
    """Whether an expression may read a variable: whether the word is there, outside of texts."""
    return variable in _WORDS.findall(_TEXTS.sub(" ", text))


def fields_read(text: str, variable: str, message: Descriptor) -> tuple[str, ...] | None:
    """Plain fields of a variable that an expression reads; None when it may read anything else.

    Every mention of the variable must be a plain field of it: `line.sku`, not `line`, `has(line.x)`
    of a message, `activity.lines` or a variable of a macro with the same name.
    """
    if len(text) != len(text.encode()) or "//" in text:
        return None  # comments, and letters that a word of the language cannot have
    words = _WORDS.findall(_TEXTS.sub(" ", text))
    fields: set[str] = set()
    for at, word in enumerate(words):
        if word != variable or (at and words[at - 1] == "."):
            continue
        if len(words) < at + 3 or words[at + 1] != ".":
            return None
        field = message.fields_by_name.get(words[at + 2])
        if field is None or not _is_plain(field) or words[at + 3 : at + 4] == ["("]:
            return None
        fields.add(words[at + 2])
    return tuple(sorted(fields))


def _is_plain(field: FieldDescriptor) -> bool:
    return not field.is_repeated and field.message_type is None and not field.has_presence


def _recalled(remembered: dict[object, str], key: object, ask: Callable[[], str]) -> str:
    known = remembered.get(key)
    if known is None:
        if len(remembered) >= _REMEMBERED_MAX:
            remembered.clear()
        known = remembered[key] = ask()
    return known


def _why_not(verdict: expressions.Verdict) -> str:
    return "" if verdict.matched else verdict.error or FALSE
