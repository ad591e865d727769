"""Counts the rules whose conditions went wrong while they ran, for those who watch a program.

Such a rule did not apply, or not to the line on which it failed; the activity was recorded, and
its explanation says what went wrong.
"""

from collections.abc import Iterable

from prometheus_client import Counter

from services.earning.domain import ActivityRecord
from services.earning.explanations import FAILED, read

failed_total = Counter(
    "guerdon_earning_rule_failures_total",
    "Activities for which a condition of a rule went wrong while it ran.",
    ["program", "rule"],
)


def count(records: Iterable[ActivityRecord]) -> None:
    """Count what failed for activities that are being recorded; most explanations say nothing."""
    for record in records:
        if FAILED in record.explanation:
            _count(record, record.explanation)
        for each in record.further:
            if FAILED in each.explanation:
                _count(record, each.explanation)


def _count(record: ActivityRecord, explanation: str) -> None:
    for outcome in read(explanation).rules:
        if outcome.failed:
            failed_total.labels(record.program_id, outcome.rule_id).inc()
