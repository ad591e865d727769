"""Decides stored activities again, by the version of the rules that decided them.

Where nothing was looked up but the level, and no rule asks who did what when, the decision depends
on the level and on what was done: it is remembered, because the same is bought again and again.
"""

from services.earning import evaluation, explanations, wire
from services.earning.audit_activities import ActivityColumns
from services.earning.domain import LevelId
from services.earning.explanations import Explanation
from services.earning.rules import Facts, Program, Rules

_REMEMBERED_MAX = 20_000


class Decisions:
    """Decisions of one version of a program, whose document is `content`."""

    def __init__(self, program: Program, content: bytes) -> None:
        self.program = program
        self.is_remembered = _asks_only_what(program.rules, content)
        self._remembered: dict[tuple[str, bytes], tuple[Explanation, str]] = {}

    def again(self, activity: ActivityColumns) -> tuple[Explanation, str]:
        """The explanation of deciding an activity again, and its text.

        Raises ValueError or TypeError where what was looked up cannot be read, DecodeError where
        the activity cannot, or a refusal.
        """
        if not self.is_remembered:
            return self._decided(activity)
        key = (activity[4], wire.likeness(activity[2]))
        known = self._remembered.get(key)
        if known is None:
            known = self._decided(activity)
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[key] = known
        return known

    def _decided(self, activity: ActivityColumns) -> tuple[Explanation, str]:
        rules, facts = self.program.rules, Facts(level_id=LevelId(activity[4]))
        if not rules.is_plain:
            facts = evaluation.looked_up(rules, explanations.read(activity[6]))
        again = evaluation.decide(rules, wire.deed_of(activity[2]), facts).explanation
        return again, explanations.written(again)


def _asks_only_what(rules: Rules, content: bytes) -> bool:
    """Whether rules ask neither for names nor for the time; a field that is read is named."""
    return (
        rules.is_plain
        and not rules.money.rates
        and not any(rule.schedule is not None for rule in rules.rules)
        and not any(name.encode() in content for name in wire.UNLIKE)
    )
