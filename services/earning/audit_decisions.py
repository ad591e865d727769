"""Decides stored activities again, by the version of the rules that decided them.

Where nothing was looked up but the level, and no rule asks who did what when, the decision depends
on the level and on what was done: it is remembered, because the same is bought again and again.
"""

from contextlib import suppress

from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.earning.v1.activity_pb2 import Activity
from services.earning import evaluation, explanations, wire
from services.earning.audit_activities import ActivityColumns, Shares, shares_of
from services.earning.domain import LevelId
from services.earning.rules import Facts, Program, Rules

_REMEMBERED_MAX = 20_000
_UNLIKE = ("activity_id", "external_reference", "occurred_time")
"""Fields by which stored activities differ in which the same was done."""
_ID, _TYPE, _TIME, _SOURCE, _REFERENCE = (
    Activity.DESCRIPTOR.fields_by_name[name].number << 3 | 2
    for name in ("activity_id", "type", "occurred_time", "source", "external_reference")
)
_SHORT = 128


class Decisions:
    """Decisions of one version of a program, whose document is `content`."""

    def __init__(self, program: Program, content: bytes) -> None:
        self.program = program
        self.is_remembered = _asks_only_what(program.rules, content)
        self._remembered: dict[tuple[str, bytes], tuple[str, Shares]] = {}

    def again(self, activity: ActivityColumns) -> tuple[str, Shares]:
        """The text of the explanation of deciding an activity again, and the shares in it.

        Raises ValueError or TypeError where what was looked up cannot be read, DecodeError where
        the activity cannot, or a refusal.
        """
        if not self.is_remembered:
            return self._decided(activity)
        key = (activity[4], likeness(activity[2], activity[0]))
        known = self._remembered.get(key)
        if known is None:
            known = self._decided(activity)
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[key] = known
        return known

    def _decided(self, activity: ActivityColumns) -> tuple[str, Shares]:
        rules, facts = self.program.rules, Facts(level_id=LevelId(activity[4]))
        if not rules.is_plain:
            facts = evaluation.looked_up(rules, explanations.read(activity[6]))
        again = evaluation.decide(rules, wire.deed_of(activity[2]), facts).explanation
        return explanations.written(again), shares_of(again)


def _asks_only_what(rules: Rules, content: bytes) -> bool:
    """Whether rules ask neither for names nor for the time; a field that is read is named."""
    return (
        rules.is_plain
        and not rules.money.rates
        and not any(rule.schedule is not None for rule in rules.rules)
        and not any(name.encode() in content for name in _UNLIKE)
    )


def likeness(content: bytes, activity_id: str) -> bytes:
    """A stored activity without the fields of `_UNLIKE`.

    `activity_id` is what the activity should have. Raises ValueError or DecodeError.
    """
    with suppress(IndexError):
        if (cut := _cut(content, activity_id.encode())) is not None:
            return cut
    view = Activity.FromString(content)
    view.ClearField("activity_id")
    view.ClearField("external_reference")
    view.ClearField("occurred_time")
    return view.SerializeToString(deterministic=True)


def _cut(content: bytes, name: bytes) -> bytes | None:
    """The same without reading the rest, None where the fields are not short and in their order."""
    type_ = 2 + len(name)
    if content[0] != _ID or content[1] != len(name) or len(name) >= _SHORT:
        return None
    time = type_ + 2 + content[type_ + 1]
    rest = time + 2 + content[time + 1]
    if (
        not content.startswith(name, 2)
        or content[type_] != _TYPE
        or content[type_ + 1] >= _SHORT
        or content[time] != _TIME
        or content[time + 1] >= _SHORT
    ):
        return None
    Timestamp.FromString(content[time + 2 : rest])
    reference = rest + 2 + content[rest + 1] if content[rest] == _SOURCE else rest
    if max(content[rest + 1], content[reference + 1]) >= _SHORT:
        return None
    after = reference
    if content[reference] == _REFERENCE:
        after += 2 + content[reference + 1]
        content[reference + 2 : after].decode()
    if after > len(content):
        return None
    return content[type_:time] + content[rest:reference] + content[after:]
