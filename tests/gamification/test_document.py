"""Documents: what an activity means under one, and every complaint with its field."""

from collections.abc import Callable

import pytest

from guerdon.earning.v1 import events_pb2
from guerdon.gamification.v1 import program_pb2 as pb
from services.gamification import complaints
from services.gamification.document import Program, compile_program
from services.gamification.domain import Deed, InvalidProgram
from tests.gamification.peers import Customer, at, giftshop, with_games

ANN = Customer.of("ann")
NOON = at("2011-03-31T12:00")
LAST_MINUTE = at("2011-03-31T23:30")  # half past midnight in London, in April


def compiled(document: pb.GamificationProgram) -> Program:
    complaints.check(document)
    return compile_program("giftshop", 7, document.SerializeToString())


def deed_of(program: Program, *skus: str, category: str = "product", points: int = 10) -> Deed:
    message = ANN.buys("1", LAST_MINUTE, *skus, points=points, category=category).message
    assert isinstance(message, events_pb2.ActivityRecorded)
    return program.deed(
        message.record.activity,
        points=message.record.points,
        occurred_time=LAST_MINUTE,
        decide_time=NOON,
    )


def test_a_purchase_of_products_counts_in_every_challenge_and_on_both_boards() -> None:
    deed = deed_of(compiled(giftshop()), "10002", "10003", "10002")
    counted = {str(each.challenge_id): each for each in deed.contributions}
    assert set(counted) == {"regular", "explorer", "monthly-habit"}
    assert counted["explorer"].values == {"10002", "10003"}
    assert counted["monthly-habit"].month == "2011-04"
    assert counted["regular"].rewards.points == 200
    assert [(each.board_id, each.period, each.amount) for each in deed.gains] == [
        ("top-earners", "all", 10),
        ("spend", "2011-04", 300),
    ]
    assert (deed.program_version, deed.decide_time) == (7, NOON)


def test_a_purchase_without_products_counts_only_where_points_are_counted() -> None:
    deed = deed_of(compiled(giftshop()), "POST", category="postage", points=3)
    assert deed.contributions == ()
    assert [(each.board_id, each.amount) for each in deed.gains] == [("top-earners", 3)]


def test_what_is_worth_nothing_puts_nobody_on_a_board() -> None:
    assert deed_of(compiled(giftshop()), "POST", category="postage", points=0).gains == ()


def test_a_type_or_condition_that_does_not_match_counts_nowhere() -> None:
    document = giftshop()
    document.challenges[0].activity_types[:] = ["check_in"]
    document.challenges[1].condition = "activity.payment.amount_minor > 1000"
    document.challenges[2].condition = 'activity.attributes["shop"].string_value == "x"'
    deed = deed_of(compiled(document), "10002")
    assert deed.contributions == ()


Change = Callable[[pb.GamificationProgram], object]
COMPLAINTS: list[tuple[Change, str, str]] = [
    (lambda d: d.ClearField("program_id"), "program_id", ""),
    (lambda d: setattr(d, "time_zone", "Europe/Lundon"), "time_zone", "no IANA time zone"),
    (lambda d: setattr(d, "time_zone", "../etc/passwd"), "time_zone", "no IANA time zone"),
    (lambda d: d.badges.add(badge_id="regular"), "badges[3].badge_id", "is there already"),
    (lambda d: d.badges.add(badge_id="Ünfit"), "badges[3].badge_id", ""),
    (
        lambda d: setattr(d.challenges[1], "challenge_id", "regular"),
        "challenges[1].challenge_id",
        "is there already",
    ),
    (
        lambda d: setattr(d.challenges[0].rewards, "badge_id", "medal"),
        "challenges[0].rewards.badge_id",
        "medal is no badge",
    ),
    (
        lambda d: setattr(d.challenges[0], "line_condition", "line.skuu == 'x'"),
        "challenges[0].line_condition",
        "skuu",
    ),
    (
        lambda d: setattr(d.challenges[0], "condition", "activity.type"),
        "challenges[0].condition",
        "bool",
    ),
    (
        lambda d: setattr(d.challenges[1].distinct, "of", "line.quantity"),
        "challenges[1].distinct.of",
        "string",
    ),
    (
        lambda d: setattr(d.challenges[1].distinct, "target", 1001),
        "challenges[1].distinct.target",
        "1000",
    ),
    (
        lambda d: setattr(d.challenges[2].streak, "consecutive_months", 1),
        "challenges[2].streak.consecutive_months",
        "2",
    ),
    (lambda d: d.challenges[0].ClearField("count"), "challenges[0].objective", ""),
    (lambda d: setattr(d.challenges[0], "on_reversal", 9), "challenges[0].on_reversal", ""),
    (lambda d: setattr(d.leaderboards[0], "period", 0), "leaderboards[0].period", ""),
    (
        lambda d: setattr(d.leaderboards[0].activity, "line_condition", "true"),
        "leaderboards[0].activity.line_condition",
        "VALUE_LINE_AMOUNT",
    ),
    (
        lambda d: setattr(d.leaderboards[1], "board_id", "top-earners"),
        "leaderboards[1].board_id",
        "is there already",
    ),
    (
        lambda d: setattr(d.leaderboards[2].submitted, "aggregation", 0),
        "leaderboards[2].submitted.aggregation",
        "",
    ),
]


@pytest.mark.parametrize(("change", "field", "words"), COMPLAINTS, ids=[c[1] for c in COMPLAINTS])
def test_a_complaint_names_the_field(change: Change, field: str, words: str) -> None:
    document = with_games(giftshop())
    change(document)
    with pytest.raises(InvalidProgram) as refused:
        complaints.check(document)
    found = [each for each in refused.value.violations if each.field == field]
    assert found, refused.value.violations
    assert any(words in each.description for each in found)


def test_all_complaints_are_told_at_once() -> None:
    document = giftshop()
    document.time_zone = "nowhere"
    document.challenges[0].rewards.badge_id = "medal"
    document.leaderboards[0].period = pb.Leaderboard.PERIOD_UNSPECIFIED
    with pytest.raises(InvalidProgram) as refused:
        complaints.check(document)
    assert len(refused.value.violations) == 3
