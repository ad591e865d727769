"""What is wrong with a program document, told with the path of each field."""

import pytest

from guerdon.earning.v1.activity_pb2 import LineItem
from guerdon.tiers.v1 import program_pb2 as pb
from services.tiers import program
from services.tiers.domain import InvalidProgram
from services.tiers.ladders import UpgradeEffective
from tests.tiers.documents import giftshop, with_stamps


def complaints(document: pb.TiersProgram) -> dict[str, str]:
    """Description by path."""
    with pytest.raises(InvalidProgram) as refused:
        program.check(document)
    return {each.field: each.description for each in refused.value.violations}


def test_the_gift_shop_means_what_its_file_says() -> None:
    rules = program.parse("giftshop", 3, giftshop().SerializeToString())
    [ladder] = rules.ladders
    assert [(level.level_id, level.net_spend_minor) for level in ladder.levels] == [
        ("member", 0),
        ("silver", 50_000),
        ("gold", 200_000),
    ]
    assert (rules.version, rules.zone.key, ladder.window_months) == (3, "Europe/London", 12)
    assert ladder.upgrade_effective is UpgradeEffective.NEXT_MIDNIGHT
    assert (ladder.downgrade_keeps, ladder.reversal_keeps) == (False, False)
    assert ladder.counts_type("purchase")
    assert not ladder.counts_type("check_in")
    assert ladder.line_condition is not None
    assert ladder.line_condition(LineItem(category="product"))
    assert not ladder.line_condition(LineItem(category="postage"))


def test_thresholds_ascend_from_zero() -> None:
    document = giftshop()
    document.ladders[0].levels[0].net_spend_minor = 1
    document.ladders[0].levels[2].net_spend_minor = 50_000
    assert complaints(document) == {
        "ladders[0].levels[0].net_spend_minor": "must be 0 for the lowest level",
        "ladders[0].levels[2].net_spend_minor": (
            "must be greater than 50000, that of the level below"
        ),
    }


def test_ids_are_unique() -> None:
    document = with_stamps()
    document.ladders[1].ladder_id = "main"
    document.ladders[0].levels[2].level_id = "silver"
    assert complaints(document) == {
        "ladders[1].ladder_id": "main is there already",
        "ladders[0].levels[2].level_id": "silver is there already",
    }


@pytest.mark.parametrize("zone", ["Europe/Londn", "../etc/passwd", "/etc/passwd", "Europe", "a\0b"])
def test_the_zone_is_known(zone: str) -> None:
    document = giftshop()
    document.time_zone = zone
    assert "is no IANA time zone" in complaints(document)["time_zone"]


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("line.categry == 'product'", "LineItem has no field 'categry'"),
        ("line.category ==", "line 1"),
        ("activity.type == 'purchase'", "there is no activity"),
        ("line.amount_minor", "bool"),
        ("x" * 2_001, "2000"),
    ],
)
def test_conditions_compile(condition: str, told: str) -> None:
    document = giftshop()
    document.ladders[0].net_spend.line_condition = condition
    assert told in complaints(document)["ladders[0].net_spend.line_condition"]


def test_what_the_proto_demands_is_told_with_the_rest() -> None:
    document = giftshop()
    ladder = document.ladders[0]
    ladder.ClearField("net_spend")
    ladder.rolling_months.months = 121
    ladder.upgrade_effective = pb.UPGRADE_EFFECTIVE_UNSPECIFIED
    ladder.on_reversal = 9  # type: ignore[assignment]
    ladder.levels[1].net_spend_minor = -1
    ladder.levels[2].level_id = "Gold!"
    document.program_id = ""
    assert set(complaints(document)) == {
        "program_id",
        "ladders[0].metric",
        "ladders[0].rolling_months.months",
        "ladders[0].upgrade_effective",
        "ladders[0].on_reversal",
        "ladders[0].levels[1].net_spend_minor",
        "ladders[0].levels[2].level_id",
    }


def test_a_line_whose_condition_fails_does_not_count() -> None:
    document = giftshop()
    document.ladders[0].net_spend.line_condition = "1 / (line.quantity - 1) > 0"
    condition = program.parse("giftshop", 1, document.SerializeToString()).ladders[0].line_condition
    assert condition is not None
    assert not condition(LineItem(quantity=1))
    assert condition(LineItem(quantity=2))
