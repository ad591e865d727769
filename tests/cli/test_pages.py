"""The tables that people see: they fit a narrow terminal and print what they are given as it is."""

from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from cli import apply, demo, documents, pages, retail, verify
from guerdon.feed.v1 import program_document_pb2 as pb
from guerdon.gamification.v1 import leaderboard_pb2
from guerdon.tiers.v1.program_pb2 import TiersProgram

SUMMARY = {
    "members": 1234,
    "purchases": 20_000,
    "reversals": 56,
    "skipped_lines": 5,
    "return_lines": 636,
    "unmatched_return_lines": 107,
    "unmatched_return_units": 1457,
    "points_issued": 1_234_567,
    "points_bonus": 12_000,
    "points_reversed": 3_210,
    "points_redeemed": 50_000,
    "points_available": 1_193_357,
    "points_debt": 17,
    "tiers": {"member": 1000, "silver": 200, "gold": 34},
    "badges": {"regular": 60, "explorer": 12, "monthly-habit": 0},
    "top10": [["12346", 99_999]],
    "redemptions": {
        "five-pounds": {"completed": 100, "SOLD_OUT": 7, "INSUFFICIENT_POINTS": 900},
        "ten-pounds": {"completed": 1, "SOLD_OUT": 0, "INSUFFICIENT_POINTS": 1233},
    },
    "verify_violations": 0,
    "seconds": 12.3,
}
SHOWN = demo.Shown(
    top=[leaderboard_pb2.LeaderboardRow(rank=1, member_id="12346", score=99_999)],
    badges_of_top={"12346": ["Regular", "Explorer", "Monthly habit"]},
    near_levels=[
        demo.NearLevel(customer="777", level="silver", next_level="gold", missing_minor=105)
    ],
    near_rewards=[demo.NearReward(customer="888", points_available=995, points_missing=5)],
)


def printed(page: RenderableType) -> str:
    console = Console(width=80, no_color=True)
    with console.capture() as capture:
        console.print(page)
    text = capture.get()
    assert max(map(len, text.splitlines()), default=0) <= 80
    return text


def test_the_demo_shows_points_tiers_badges_ranks_redemptions_and_who_came_close() -> None:
    text = printed(pages.demo_page(SUMMARY, SHOWN))
    for words in (
        "Points of 1234 members, 20000 purchases, 56 returns",
        "1,234,567",
        "silver",
        "badge monthly-habit",
        "Regular, Explorer, Monthly habit",
        "99,999",
        "sold out",
        "£1.05",
        "888",
    ):
        assert words in text
    (ten,) = [line.split() for line in text.splitlines() if "ten-pounds" in line]
    assert ten == ["ten-pounds", "1", "0", "1233"]


def test_an_empty_shop_has_a_page_too() -> None:
    nothing: dict[str, object] = {
        key: 0 if isinstance(value, int) else {} for key, value in SUMMARY.items()
    }
    shown = demo.Shown(top=[], badges_of_top={}, near_levels=[], near_rewards=[])
    assert "Top ten" in printed(pages.demo_page(nothing, shown))


def applied(*differences: pb.Difference) -> apply.Applied:
    document = documents.Document(
        service="tiers", file=Path("shop/tiers.yaml"), message=TiersProgram(), lines={}
    )
    return apply.Applied(document=document, version=3, etag="e", differences=differences)


def test_a_difference_shows_what_was_and_what_will_be() -> None:
    change = pb.Difference(
        path="ladders[main].levels[gold]",
        change=pb.Difference.CHANGE_CHANGED,
        before="1",
        after="2",
    )
    text = printed(pages.difference_table([applied(change)]))
    assert ["~", "tiers.yaml", "ladders[main].levels[gold]", "1", "2"] in [
        line.split() for line in text.splitlines()
    ]
    assert printed(pages.versions_table([applied(change)])).split()[-3:] == ["tiers", "3", "1"]


@pytest.mark.parametrize("planned", [[], [applied()]])
def test_no_difference_is_said_in_words(planned: list[apply.Applied]) -> None:
    assert printed(pages.difference_table(planned)) == "Nothing differs from what is in force.\n"


def test_what_people_write_is_no_markup() -> None:
    odd = "line.sku in [a, b][/bold]"
    broken = retail.BrokenRow(line=7, invoice="[red]5", complaint=odd)
    violation = verify.Violation(service="earning", rule="r", subject="[/x]", detail="[bold]d")
    difference = pb.Difference(path="[/p]", change=pb.Difference.CHANGE_ADDED, after=odd)
    assert all(part in printed(pages.broken_table([broken])) for part in ("7", "[red]5", odd))
    text = printed(pages.violations_table([violation]))
    assert all(part in text for part in ("earning", "[/x]", "[bold]d"))
    assert odd in printed(pages.difference_table([applied(difference)]))


def test_a_verification_without_violations_says_so() -> None:
    assert printed(pages.violations_table([])) == "Verified: nothing is violated.\n"


def test_long_texts_are_cut_and_addresses_are_listed() -> None:
    change = pb.Difference(path="a", change=pb.Difference.CHANGE_ADDED, after="x" * 500)
    assert "…" in printed(pages.difference_table([applied(change)]))
    text = printed(pages.addresses_table({"earning": "127.0.0.1:50051"}, "redis://127.0.0.1:1/0"))
    assert "127.0.0.1:50051" in text
    assert "redis://127.0.0.1:1/0" in text
