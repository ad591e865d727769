"""Base rules that give points for one and the same purchase: they add up, which may not be meant.

It is allowed, so it is told and not refused. What a condition asks cannot be told from its text:
rules that have one are left alone.
"""

from collections.abc import Iterator
from itertools import combinations

from google.protobuf.message import Message

from guerdon.earning.v1.program_pb2 import EarningProgram, EarningRule

_NARROWING = ("activity_types", "merchants", "categories", "channels", "levels")


def notes(document: Message) -> Iterator[str]:
    """A sentence for each pair of rules of an earning document; none for other documents."""
    if not isinstance(document, EarningProgram) or not document.currencies:
        return
    first = document.currencies[0].currency_id
    bases = [
        each
        for each in document.rules
        if each.WhichOneof("effect") == "base" and not (each.condition or each.line_condition)
    ]
    for one, other in combinations(bases, 2):
        currency_id = one.currency_id or first
        if currency_id == (other.currency_id or first) and _meet(one, other):
            yield (
                f"Rules {one.rule_id} and {other.rule_id} both give {currency_id} for what both "
                f"count, and add up; put them into one group if only the first is meant."
            )


def _meet(one: EarningRule, other: EarningRule) -> bool:
    """Whether nothing in two rules keeps them from giving points for one purchase."""
    if one.group and one.group == other.group:
        return False
    for name in _NARROWING:
        mine, others = set(getattr(one, name)), set(getattr(other, name))
        if mine and others and not mine & others:
            return False
    return not (_ends_before(one, other) or _ends_before(other, one))


def _ends_before(one: EarningRule, other: EarningRule) -> bool:
    """Whether the last day of one rule is before the first of another; days are ISO texts."""
    last, first = one.schedule.until_date, other.schedule.from_date
    return bool(last and first and last < first)
