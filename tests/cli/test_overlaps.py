"""Rules that give points for one purchase are told: elsewhere they paid twice unawares (P19)."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from cli import documents, overlaps
from guerdon.earning.v1.program_pb2 import EarningProgram

ROOT = Path(__file__).parents[2]
PER_POUND = {"base": {"points": 1, "per_amount_minor": 100}}


def program(one: dict[str, Any], other: dict[str, Any]) -> EarningProgram:
    rules = [{"rule_id": "one", **PER_POUND, **one}, {"rule_id": "other", **PER_POUND, **other}]
    currencies = [{"currency_id": "points"}, {"currency_id": "miles"}]
    return json_format.ParseDict({"currencies": currencies, "rules": rules}, EarningProgram())


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ({}, {}, 1),
        ({"levels": ["silver", "gold"]}, {"levels": ["gold"]}, 1),
        ({"levels": ["silver"]}, {"levels": ["gold"]}, 0),
        ({"levels": ["silver"]}, {}, 1),
        ({"activity_types": ["purchase"]}, {"activity_types": ["visit"]}, 0),
        ({"merchants": ["florist"]}, {"merchants": ["bakery"]}, 0),
        ({"categories": ["tea"]}, {"categories": ["tea", "cake"]}, 1),
        ({"channels": ["app"]}, {"channels": ["shop"], "levels": ["gold"]}, 0),
        ({"currency_id": "miles"}, {}, 0),
        ({"currency_id": "points"}, {}, 1),
        ({"group": "which"}, {"group": "which"}, 0),
        ({"group": "which"}, {"group": "when"}, 1),
        (
            {"schedule": {"until_date": "2026-05-31"}},
            {"schedule": {"from_date": "2026-06-01"}},
            False,
        ),
        (
            {"schedule": {"until_date": "2026-06-01"}},
            {"schedule": {"from_date": "2026-06-01"}},
            True,
        ),
        ({"schedule": {"recurrence": "FREQ=WEEKLY;BYDAY=FR"}}, {}, 1),
        ({"condition": 'tier == "gold"'}, {}, 0),
        ({"line_condition": 'line.category == "tea"'}, {}, 0),
    ],
)
def test_base_rules_that_may_count_one_purchase_are_told(
    one: dict[str, Any], other: dict[str, Any], told: int
) -> None:
    note = (
        "Rules one and other both give points for what both count, and add up; "
        "put them into one group if only the first is meant."
    )
    assert list(overlaps.notes(program(one, other))) == [note] * told


def test_what_is_no_base_rule_is_no_overlap() -> None:
    bonus = {"rule_id": "other", "bonus": {"points": 5}}
    made = json_format.ParseDict(
        {
            "currencies": [{"currency_id": "points"}],
            "rules": [{"rule_id": "one", **PER_POUND}, bonus],
        },
        EarningProgram(),
    )
    assert list(overlaps.notes(made)) == []


@pytest.mark.parametrize("folder", sorted(ROOT.glob("programs/*/")), ids=lambda each: each.name)
def test_the_programs_have_no_overlap_that_is_not_meant(folder: Path) -> None:
    loaded = documents.load(folder)
    assert [note for each in loaded for note in overlaps.notes(each.message)] == []
