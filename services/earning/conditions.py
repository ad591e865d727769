"""Conditions as rules ask them, with answers remembered by what a condition reads.

Asking the engine costs some ten microseconds for each rule and line; most conditions read one or
two plain fields that have few values (`line.category == "product"`, `tier == "silver"`). What a
text reads is told by its words alone; where that is not certain, the engine is asked every time.
"""

import re
from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from guerdon.earning.v1 import member_pb2
from services.earning.explanations import FAILED
from services.earning.rules import Asked, Condition, LineCondition, Measure
from shared import expressions

FALSE = "the condition is false"
NOBODY = member_pb2.MemberProfile()
"""What conditions read of a member of whom nothing is known."""

MEASURE_MAX = 10**15
_REMEMBERED_MAX = 1_024
_TEXTS = re.compile(
    r'"""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\'|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'',
    re.DOTALL,
)
_WORDS = re.compile(r"[A-Za-z_]\w*|\S")


def on_activity(
    condition: expressions.Condition, environment: expressions.Environment, activity: Descriptor
) -> Condition:
    """A condition over `activity`, `tier` and `member`; one about the member is always asked.

    Conditions about one activity share what they hand to the engine.
    """

    def ask(scene: Asked) -> str:
        if scene.bound is None:
            scene.bound = environment.bind(
                activity=scene.view, tier=scene.level_id, member=scene.member or NOBODY
            )
        return _why_not(condition.asked_of(cast("expressions.Bound", scene.bound)))

    fields = fields_read(condition.text, "activity", activity)
    if fields is None or mentions(condition.text, "member"):
        return ask
    remembered: dict[object, str] = {}
    if not fields:

        def recall_level(scene: Asked) -> str:
            known = remembered.get(scene.level_id)
            return _remember(remembered, scene.level_id, ask(scene)) if known is None else known

        return recall_level

    def recall(scene: Asked) -> str:
        view = scene.view
        key = (scene.level_id, *[getattr(view, field) for field in fields])
        known = remembered.get(key)
        return _remember(remembered, key, ask(scene)) if known is None else known

    return recall


def measuring(expression: expressions.Condition, environment: expressions.Environment) -> Measure:
    """A whole number that an activity measures, by an expression over `activity`."""

    def ask(scene: Asked) -> tuple[int, str]:
        if scene.bound is None:
            scene.bound = environment.bind(
                activity=scene.view, tier=scene.level_id, member=scene.member or NOBODY
            )
        number, error = expression.number(cast("expressions.Bound", scene.bound))
        if not error and not 0 <= number <= MEASURE_MAX:
            error = f"the measure is {number}, outside 0 to {MEASURE_MAX}"
        return (0, FAILED + error) if error else (number, "")

    return ask


def on_line(condition: expressions.Condition, line: Descriptor) -> LineCondition:
    """A condition over `line`."""

    def ask(view: object) -> str:
        return _why_not(condition.matches(line=view))

    fields = fields_read(condition.text, "line", line)
    if fields is None:
        return ask
    remembered: dict[object, str] = {}
    if len(fields) == 1:
        (field,) = fields

        def recall_field(view: object) -> str:
            value = getattr(view, field)
            known = remembered.get(value)
            return _remember(remembered, value, ask(view)) if known is None else known

        return recall_field

    def recall(view: object) -> str:
        key = tuple([getattr(view, field) for field in fields])
        known = remembered.get(key)
        return _remember(remembered, key, ask(view)) if known is None else known

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


def _remember(remembered: dict[object, str], key: object, answer: str) -> str:
    if len(remembered) >= _REMEMBERED_MAX:
        remembered.clear()
    remembered[key] = answer
    return answer


def _why_not(verdict: expressions.Verdict) -> str:
    if verdict.matched:
        return ""
    return FAILED + verdict.error if verdict.error else FALSE
