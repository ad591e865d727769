"""Recomputes what an activity earned of further currencies, and says what does not agree.

The rules that violations name are listed in `audit.py`; what `audit.py` asks of the first currency
is asked here of each further one.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from services.earning import evaluation, explanations, further
from services.earning.audit import DETAIL_MAX, Violation
from services.earning.domain import (
    ActivityRecord,
    CurrencyId,
    Entry,
    EntryType,
    FurtherEarning,
    Reversal,
)
from services.earning.rules import Deed, Facts, Program, Rules
from shared.values import value


@value
class Taken:
    """What a reversal took of a currency; `line_points` is the text that is stored."""

    reversal_id: str
    points: int
    line_points: str


def audit_activity(
    record: ActivityRecord,
    entries: Mapping[CurrencyId, Entry],
    reversals: Mapping[CurrencyId, Sequence[Taken]],
    returns: Iterable[Reversal],
) -> Iterator[Violation]:
    """What does not agree between further earnings, their entries and their reversals.

    `returns` are the activity's reversals themselves, whose lines those of currencies are of.
    """
    lines: dict[str, tuple[int, ...]] = {
        each.reversal_id: tuple([line.line_number for line in each.lines]) for each in returns
    }
    for each in record.further:
        try:
            explanation = explanations.read(each.explanation)
        except (ValueError, TypeError):
            yield _violation("activity_lines", record, each.currency_id, "explanation unreadable")
            continue
        checks = (
            ("activity_entry", *_booked(record, each, entries.get(each.currency_id))),
            ("activity_lines", *_shares(record, each, explanation)),
        )
        for rule, expected, found in checks:
            if expected != found:
                detail = f"expected {expected}, found {found}"
                yield _violation(rule, record, each.currency_id, detail)
        if len(explanation.line_points) == len(record.lines):
            taken = reversals.get(each.currency_id, ())
            yield from _returned(record, each, taken)
            yield from _returned_lines(record, each, taken, lines)
    known = {each.currency_id for each in record.further}
    for currency_id in sorted(reversals.keys() - known):
        detail = "expected nothing to reverse, found a reversal"
        yield _violation("activity_reversals", record, currency_id, detail)


def _booked(
    record: ActivityRecord, earning: FurtherEarning, entry: Entry | None
) -> tuple[object, object]:
    expected: tuple[object, ...] = ()
    if earning.points:
        expected = (
            EntryType.EARN,
            record.activity_id,
            earning.points,
            earning.explanation,
            record.occurred_time,
            record.create_time,
            earning.available_time,
        )
    found: tuple[object, ...] = ()
    if entry is not None:
        found = (
            entry.type,
            entry.activity_id,
            -entry.program_delta,
            entry.explanation,
            entry.occurred_time,
            entry.create_time,
            entry.waits_until,
        )
    return expected, found


def _shares(
    record: ActivityRecord, earning: FurtherEarning, explanation: explanations.Explanation
) -> tuple[object, object]:
    expected = (
        record.program_version,
        record.level_id,
        len(record.lines),
        earning.points if record.lines else 0,
    )
    found = (
        explanation.program_version,
        explanation.level_id,
        len(explanation.line_points),
        sum(explanation.line_points),
    )
    return expected, found


def _returned(
    record: ActivityRecord, earning: FurtherEarning, reversals: Sequence[Taken]
) -> Iterator[Violation]:
    """The sum of the reversals is what is stored, and no more than the returned units come to."""
    total = sum([each.points for each in reversals])
    most = further.due(earning, record)
    if total != earning.points_reversed or total > most:
        detail = f"expected {total}, at most {most}, found {earning.points_reversed}"
        yield _violation("activity_reversals", record, earning.currency_id, detail)


def _returned_lines(
    record: ActivityRecord,
    earning: FurtherEarning,
    reversals: Sequence[Taken],
    lines: Mapping[str, tuple[int, ...]],
) -> Iterator[Violation]:
    """What the lines gave back by all reversals is what their returned units come to."""
    if any(not each.line_points for each in reversals):
        return  # reversals of before it was told by lines
    expected = further.due_of_lines(earning, record) if lines and any(lines.values()) else []
    found = [0] * len(expected)
    for each in reversals:
        numbers = lines.get(each.reversal_id, ())
        points = _numbers(each.line_points)
        if points is None or len(points) != len(numbers) or max(numbers, default=0) > len(found):
            detail = f"expected points of {len(numbers)} lines, found {each.line_points}"
            yield _violation("activity_reversals", record, earning.currency_id, detail)
            return
        for number, given in zip(numbers, points, strict=True):
            found[number - 1] += given
    if found != expected:
        detail = f"expected {expected} by lines, found {found}"
        yield _violation("activity_reversals", record, earning.currency_id, detail)


def _numbers(text: str) -> list[int] | None:
    """The whole numbers of a stored text; None when it is not a list of them."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if isinstance(found, list) and all(type(each) is int for each in found):
        return found
    return None


def audit_decision(record: ActivityRecord, program: Program, deed: Deed) -> Iterator[Violation]:
    """Whether the rules that decided an activity still give what was written down.

    Where nothing was, they give nothing; as far as nothing else had to be looked up to say so.
    """
    stored = {each.currency_id: each for each in record.further}
    for rules in program.others:
        earning = stored.pop(rules.currency_id, None)
        if earning is not None:
            yield from _again(record, rules, earning, deed)
        elif rules.is_plain:
            given = evaluation.decide(rules, deed, Facts(level_id=record.level_id)).points
            if given:
                detail = f"expected {given} points, found nothing"
                yield _violation("activity_recomputed", record, rules.currency_id, detail)
    for currency_id in stored:
        detail = "expected no rules of this currency, found an earning"
        yield _violation("activity_recomputed", record, currency_id, detail)


def _again(
    record: ActivityRecord, rules: Rules, earning: FurtherEarning, deed: Deed
) -> Iterator[Violation]:
    try:
        facts = evaluation.looked_up(rules, explanations.read(earning.explanation))
    except (ValueError, TypeError):
        return  # `audit_activity` says that it cannot be read
    again = explanations.written(evaluation.decide(rules, deed, facts).explanation)
    if again != earning.explanation:
        detail = f"expected {again}, found {earning.explanation}"
        yield _violation("activity_recomputed", record, rules.currency_id, detail)


def audit_orphans(
    earned: Iterable[Entry], recorded: set[tuple[str, CurrencyId]]
) -> Iterator[Violation]:
    """Entries that booked further earnings of activities, without a record of the earning."""
    for entry in earned:
        if (entry.activity_id, entry.currency_id) not in recorded:
            yield Violation(
                rule="activity_entry",
                subject=f"{entry.program_id}/{entry.activity_id}/{entry.currency_id}",
                detail="expected a record of the earning, found none",
            )


def _violation(
    rule: str, record: ActivityRecord, currency_id: CurrencyId, detail: str
) -> Violation:
    subject = f"{record.program_id}/{record.activity_id}/{currency_id}"
    return Violation(rule=rule, subject=subject, detail=detail[:DETAIL_MAX])
