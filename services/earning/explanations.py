"""How points came about, as it is kept with the ledger entry for ever.

The text is a JSON array, hashed with the entry; parts that most activities lack come last and are
left out. It also keeps what was looked up to decide, so that an audit decides again from what is
stored; of personal data it keeps the verdict alone.
"""

import json
from json.encoder import encode_basestring as _quoted  # a text as JSON has it, not as ASCII
from typing import NamedTuple

FAILED = "the condition failed: "
"""Stands in the reason of a rule whose condition went wrong while it ran."""

# Tuples rather than dataclasses: every rule of every activity makes one, and JSON writes them.


class RuleOutcome(NamedTuple):
    """What one rule contributed; `reason` says why it did not apply.

    Of a rule that did, `reason` says which line does not count because the condition failed there.
    `points` is what a base, flat or bonus rule alone would give, rounded down. `granted` is the
    rule's part of the points that were given: a multiplier's is what it brought. The granted points
    of all rules add up.
    """

    rule_id: str
    matched: bool
    reason: str = ""
    amount: int = 0
    points: int = 0
    numerator: int = 0
    denominator: int = 0
    granted: int = 0

    @property
    def failed(self) -> bool:
        """Whether a condition of the rule went wrong while it ran."""
        return FAILED in self.reason


class CapOutcome(NamedTuple):
    """A cap or budget that was looked at: how many points it had left, and how many it counted.

    For a budget the period is "" and `cap_id` the rule. `cut` says whether it left points out.
    What it counted was given in the end, after every other cap.
    """

    cap_id: str
    period: str
    left: int
    counted: int
    cut: bool = False


class Looked(NamedTuple):
    """What was looked up to decide, beyond the activity and the level.

    `counts` are pairs of an activity type and how many the member had before; `segments` are the
    member's; `carried` is the remainder before and after, as texts of ratios.
    """

    counts: tuple[tuple[str, int], ...] = ()
    segments: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()


NOTHING_LOOKED = Looked()


class Explanation(NamedTuple):
    """How points came about, down to the share of each line; `wanted` is what caps cut from."""

    program_version: int
    level_id: str
    numerator: int
    denominator: int
    rules: tuple[RuleOutcome, ...]
    line_points: tuple[int, ...]
    wanted: int = -1
    caps: tuple[CapOutcome, ...] = ()
    looked: Looked = NOTHING_LOOKED


_PLAIN = (-1, (), NOTHING_LOOKED)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_TEXTS_MAX = 4_096
_texts: dict[RuleOutcome, str] = {}
_WRITTEN_MAX = 1_024
_written: dict[str, Explanation] = {}
"""What was written last: an event and an answer are about to be made of it."""


def written(explanation: Explanation) -> str:
    """The text of an explanation as it is stored and hashed: a JSON array of its parts in order."""
    outcomes = ",".join(
        [
            _text(each) if each.matched else _texts.get(each) or _remembered(each)
            for each in explanation.rules
        ]
    )
    text = (
        f"[{explanation.program_version},{_quoted(explanation.level_id)},"
        f"{explanation.numerator},{explanation.denominator},[{outcomes}],"
        f"[{','.join(map(str, explanation.line_points))}]"
    )
    rest = explanation[6:]
    text += "]" if rest == _PLAIN else f",{_encode(rest)[1:]}"
    if len(_written) >= _WRITTEN_MAX:
        _written.clear()
    _written[text] = explanation
    return text


def _text(outcome: RuleOutcome) -> str:
    return (
        f"[{_quoted(outcome.rule_id)},{'true' if outcome.matched else 'false'},"
        f"{_quoted(outcome.reason)},{outcome.amount},{outcome.points},"
        f"{outcome.numerator},{outcome.denominator},{outcome.granted}]"
    )


def _remembered(outcome: RuleOutcome) -> str:
    """The text of a rule that does not apply, which comes again."""
    if len(_texts) >= _TEXTS_MAX:
        _texts.clear()
    text = _texts[outcome] = _text(outcome)
    return text


def read(text: str) -> Explanation:
    """The explanation of a text that `written` made."""
    return _written.get(text) or _read(text)


def _read(text: str) -> Explanation:
    version, level_id, numerator, denominator, outcomes, line_points, *rest = json.loads(text)
    wanted, caps, looked = rest or _PLAIN
    counts, segments, carried = looked
    return Explanation(
        program_version=version,
        level_id=level_id,
        numerator=numerator,
        denominator=denominator,
        rules=tuple(RuleOutcome(*outcome) for outcome in outcomes),
        line_points=tuple(line_points),
        wanted=wanted,
        caps=tuple(CapOutcome(*cap) for cap in caps),
        looked=Looked(
            counts=tuple((str(kind), int(count)) for kind, count in counts),
            segments=tuple(segments),
            carried=tuple(carried),
        ),
    )


def given_back(cap: CapOutcome, points: int, taken: int) -> int:
    """What of a cap's count is given back once so many of the points were taken back, in all."""
    return cap.counted * taken // points if points else 0
