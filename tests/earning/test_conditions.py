"""Conditions remember their answers by what they read, and only where that is certain."""

import pytest

from guerdon.earning.v1.activity_pb2 import Activity, LineItem
from guerdon.earning.v1.member_pb2 import MemberProfile
from services.earning import conditions
from services.earning.domain import LevelId
from services.earning.expiry import UTC_ZONE
from services.earning.matching import Scene
from services.earning.program_rules import ACTIVITY, LINE
from services.earning.rules import Deed, Facts


def scene(tier: str = "", member: object = None) -> Scene:
    """What conditions are asked about, with an empty activity."""
    deed = Deed(type="visit", amount=None, lines=(), view=Activity(), line_views=())
    return Scene(deed, Facts(level_id=LevelId(tier), member=member), UTC_ZONE)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('line.category == "product"', ("category",)),
        ('line . sku.startsWith("line.x") && line.quantity > 1', ("quantity", "sku")),
        ("'line' == line.merchant", ("merchant",)),
        ("true", ()),
        ("line == line", None),
        ("[line.sku, line].size() == 2", None),
        ("has(line.sku) || [1].exists(line, line > 0)", None),
        ("line.nothing == 1", None),
        ('line.sku == "ü"', None),
        ("line.sku == '' // line.category", None),
    ],
)
def test_what_a_text_reads_of_a_line_is_told_where_it_is_certain(
    text: str, fields: tuple[str, ...] | None
) -> None:
    assert conditions.fields_read(text, "line", LineItem.DESCRIPTOR) == fields


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('tier == "silver"', ()),
        ('activity.type == "visit" && tier != ""', ("type",)),
        ("activity.lines.size() > 0", None),
        ("has(activity.payment)", None),
        ("activity.payment.amount_minor > 5", None),
        ('activity.attributes["x"].bool_value', None),
        ('activity.occurred_time > timestamp("2025-01-01T00:00:00Z")', None),
    ],
)
def test_messages_maps_and_lists_are_asked_about_every_time(
    text: str, fields: tuple[str, ...] | None
) -> None:
    assert conditions.fields_read(text, "activity", Activity.DESCRIPTOR) == fields


def test_a_remembered_answer_is_the_engine_s() -> None:
    text = 'line.category == "product" && line.quantity > 2'
    asked = conditions.on_line(LINE.compile(text), LineItem.DESCRIPTOR)
    for _ in range(2):
        for quantity in (1, 3):
            for category in ("product", "postage"):
                why = asked(LineItem(category=category, quantity=quantity))
                assert (why == "") == (category == "product" and quantity > 2)


def test_a_level_is_part_of_what_is_remembered() -> None:
    asked = conditions.on_activity(
        ACTIVITY.compile('tier == "gold"'), ACTIVITY, Activity.DESCRIPTOR
    )
    assert [asked(scene(tier=tier)) for tier in ("gold", "", "gold")] == [
        "",
        conditions.FALSE,
        "",
    ]


def test_a_condition_that_fails_says_why() -> None:
    asked = conditions.on_line(LINE.compile("1 / line.quantity > 0"), LineItem.DESCRIPTOR)
    assert "divi" in asked(LineItem(quantity=0))
    assert asked(LineItem(quantity=1)) == ""


def test_what_is_remembered_is_bounded() -> None:
    asked = conditions.on_line(LINE.compile('line.sku == "5"'), LineItem.DESCRIPTOR)
    answers = [asked(LineItem(sku=str(number))) for number in range(3_000)]
    assert [number for number, why in enumerate(answers) if not why] == [5]


def test_a_condition_about_the_member_is_asked_for_each_member() -> None:
    asked = conditions.on_activity(
        ACTIVITY.compile('member.language == "de"'), ACTIVITY, Activity.DESCRIPTOR
    )
    profiles = [MemberProfile(language=each) for each in ("de", "en", "de")]
    assert [asked(scene(member=each)) == "" for each in profiles] == [True, False, True]
    assert not conditions.mentions('tier == "member"', "member")
