"""Levels from purchases and returns: tables of cases."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tiers.domain import Command, EnterLadders, UnknownMemberKeyError
from services.tiers.ladders import (
    LadderId,
    LadderStart,
    LevelId,
    Reason,
    UpgradeEffective,
)
from tests.tiers.cases import (
    MEMBER,
    PROGRAM,
    STARTED,
    Story,
    Thing,
    at,
    buy,
    give_back,
    in_force,
    join,
    ladder,
)

MIDNIGHT = at("2010-12-02 00:00")
NOON = at("2010-12-01 12:00")


@pytest.mark.parametrize(
    ("pence", "level"),
    [
        (0, "member"),
        (1, "member"),
        (49_999, "member"),
        (50_000, "silver"),
        (199_999, "silver"),
        (200_000, "gold"),
        (10**15, "gold"),
    ],
)
def test_a_purchase_reaches_the_highest_level_whose_threshold_it_meets(
    pence: int, level: str
) -> None:
    story = Story.of(in_force(), join(), buy("1", NOON, pence))
    assert story.decided() == level
    assert story.level(MIDNIGHT) == level


def test_every_member_begins_on_the_lowest_level_from_its_enrolment_on() -> None:
    story = Story.of(in_force(), join(NOON))
    [change] = story.changes
    assert (change.level_id, change.level_rank, change.previous_level_id) == ("member", 0, "")
    assert (change.effective_time, change.decide_time, change.sequence) == (NOON, NOON, 1)
    assert change.reason is Reason.ENROLLED


def test_a_level_counts_from_the_next_midnight_and_not_a_microsecond_before() -> None:
    story = Story.of(in_force(), join(), buy("1", NOON, 50_000))
    assert story.level(MIDNIGHT - timedelta(microseconds=1)) == "member"
    assert story.level(MIDNIGHT) == "silver"
    assert story.changes[-1].reason is Reason.EARNED


def test_a_level_at_once_counts_from_the_next_instant() -> None:
    rules = in_force(ladder(effective=UpgradeEffective.AT_ONCE))
    story = Story.of(rules, join(), buy("1", NOON, 50_000))
    assert story.level(NOON) == "member"
    assert story.level(NOON + timedelta(microseconds=1)) == "silver"


@pytest.mark.parametrize(
    ("decided", "effective"),
    [
        # In summer the local midnight is an hour before that of UTC.
        (datetime(2010, 7, 1, 22, 59, 59, tzinfo=UTC), datetime(2010, 7, 1, 23, tzinfo=UTC)),
        (datetime(2010, 7, 1, 23, tzinfo=UTC), datetime(2010, 7, 2, 23, tzinfo=UTC)),
        # The day on which the clock goes forward has 23 hours, the one on which it goes back 25.
        (datetime(2010, 3, 28, 0, tzinfo=UTC), datetime(2010, 3, 28, 23, tzinfo=UTC)),
        (datetime(2010, 10, 30, 23, tzinfo=UTC), datetime(2010, 11, 1, 0, tzinfo=UTC)),
        (datetime(2010, 12, 31, 23, 59, tzinfo=UTC), datetime(2011, 1, 1, tzinfo=UTC)),
    ],
)
def test_midnight_is_that_of_the_programs_zone(decided: datetime, effective: datetime) -> None:
    story = Story.of(in_force(), join(), buy("1", decided, 50_000))
    assert story.changes[-1].effective_time == effective


def test_where_the_clock_skips_midnight_the_day_begins_with_the_jump() -> None:
    zone = ZoneInfo("Asia/Beirut")  # 00:00 became 01:00 on 2010-03-28
    rules = in_force(zone=zone)
    story = Story.of(rules, join(), buy("1", at("2010-03-27 12:00", zone), 50_000))
    assert story.changes[-1].effective_time == datetime(2010, 3, 27, 22, tzinfo=UTC)


def test_the_purchase_before_midnight_in_summer_time_counts_on_its_local_day() -> None:
    late = datetime(2010, 7, 1, 22, 30, tzinfo=UTC)  # 23:30 in London
    later = datetime(2010, 7, 1, 23, 30, tzinfo=UTC)  # 00:30 of the next day
    story = Story.of(in_force(), join(), buy("1", late, 100), buy("2", later, 200))
    assert story.spend() == {date(2010, 7, 1): 100, date(2010, 7, 2): 200}


def test_a_return_takes_the_level_away_from_the_next_midnight() -> None:
    story = Story.of(
        in_force(),
        join(),
        buy("1", NOON, 50_000),
        give_back("1", NOON + timedelta(days=2), (1, 1)),
    )
    assert story.level(at("2010-12-03 23:59")) == "silver"
    assert story.level(at("2010-12-04 00:00")) == "member"
    assert story.changes[-1].reason is Reason.REVERSED


def test_a_level_won_and_lost_on_one_day_is_never_held() -> None:
    story = Story.of(
        in_force(),
        join(),
        buy("1", NOON, 50_000),
        give_back("1", NOON + timedelta(hours=1), (1, 50_000)),
    )
    assert [change.level_id for change in story.changes] == ["member", "silver", "member"]
    assert story.level(MIDNIGHT) == "member"
    membership = story.member.standings[LadderId("main")].membership
    assert membership is not None
    # It was member all along: the superseded decision breaks nothing.
    assert membership.held_at(MIDNIGHT) == ("member", STARTED + timedelta(days=1))
    assert not membership.upcoming_at(NOON)


def test_a_return_counts_on_the_day_of_its_purchase() -> None:
    story = Story.of(
        in_force(),
        join(),
        buy("1", NOON, 300),
        buy("2", NOON + timedelta(days=30), 100),
        give_back("1", NOON + timedelta(days=30), (1, 120)),
    )
    assert story.spend() == {date(2010, 12, 1): 180, date(2010, 12, 31): 100}


def test_only_lines_that_match_count_and_only_they_are_taken_back() -> None:
    postage = Thing(900, "postage")
    story = Story.of(in_force(), join(), buy("1", NOON, 100, postage, 200))
    assert story.spend() == {date(2010, 12, 1): 300}
    story.tell(give_back("1", NOON, (1, 40), (2, 900)))
    assert story.spend() == {date(2010, 12, 1): 260}


def test_a_changed_condition_still_takes_back_what_counted() -> None:
    story = Story.of(in_force(), join(), buy("1", NOON, 100, Thing(900, "postage")))
    story.rules = in_force(ladder(condition=lambda item: not hasattr(item, "nothing")), version=2)
    story.tell(give_back("1", NOON, (1, 100), (2, 900)))
    assert story.spend() == {}


def test_a_return_of_what_never_counted_takes_nothing() -> None:
    story = Story.of(
        in_force(), join(), buy("1", NOON, Thing(900, "postage")), give_back("1", NOON, (1, 900))
    )
    assert story.spend() == {}
    story.tell(give_back("unheard-of", NOON, (1, 900)))
    assert story.spend() == {}


def test_returns_by_amount_take_the_share_that_counted_and_the_last_one_the_remainder() -> None:
    story = Story.of(in_force(), join(), buy("1", NOON, 100, Thing(200, "postage")))
    taken = []
    for _ in range(3):
        before = sum(story.spend().values())
        story.tell(give_back("1", NOON, amount=100))
        taken.append(before - sum(story.spend().values()))
    assert taken == [33, 33, 34]


def test_an_activity_without_lines_counts_its_payment_where_there_is_no_condition() -> None:
    rules = in_force(ladder(condition=None), ladder("products"))
    story = Story.of(rules, join(), buy("1", NOON, paid=70_000))
    assert story.decided() == "silver"
    assert story.decided("products") == "member"
    story.tell(give_back("1", NOON, amount=30_000))
    assert story.spend() == {date(2010, 12, 1): 40_000}
    assert story.decided() == "member"


def test_activities_of_other_types_neither_count_nor_decide() -> None:
    story = Story.of(
        in_force(), join(), buy("1", NOON, 50_000), buy("2", NOON, 1, activity_type="check_in")
    )
    years_later = NOON + timedelta(days=800)
    story.tell(buy("3", years_later, 10**6, activity_type="check_in"))
    story.tell(give_back("3", years_later, (1, 10**6), activity_type="check_in"))
    assert story.decided() == "silver"


@pytest.mark.parametrize(
    ("bought", "decided", "months", "counts"),
    [
        ("2010-02-28", "2011-02-28", 12, False),
        ("2010-03-01", "2011-02-28", 12, True),
        # 29 February less a year is the 28th, which is outside.
        ("2011-02-28", "2012-02-29", 12, False),
        ("2011-03-01", "2012-02-29", 12, True),
        ("2012-02-29", "2013-02-28", 12, True),
        ("2012-02-29", "2013-03-01", 12, False),
        # 31 March, May and July less a month: the last of a shorter one.
        ("2011-02-28", "2011-03-31", 1, False),
        ("2011-03-01", "2011-03-31", 1, True),
        ("2011-04-30", "2011-05-31", 1, False),
        ("2011-06-30", "2011-07-30", 1, False),
        ("2011-06-30", "2011-07-29", 1, True),
        ("2001-06-15", "2011-06-15", 120, False),
        ("2001-06-16", "2011-06-15", 120, True),
    ],
)
def test_the_window_ends_with_the_day_of_the_decision(
    bought: str, decided: str, months: int, counts: object
) -> None:
    rules = in_force(ladder(months=months))
    story = Story.of(
        rules,
        join(at("2001-01-01 00:00")),
        buy("1", at(f"{bought} 12:00"), 50_000),
        buy("2", at(f"{decided} 12:00"), Thing(5, "postage")),
    )
    assert story.decided() == ("silver" if counts else "member")


def test_what_occurs_after_the_day_of_the_decision_counts_later() -> None:
    tomorrow = NOON + timedelta(days=1)
    story = Story.of(in_force(), join(), buy("1", tomorrow, 50_000, decided=NOON))
    assert story.decided() == "member"
    assert story.tell(buy("2", tomorrow, 0)).decided() == "silver"


def test_a_purchase_finds_that_the_window_has_moved_on() -> None:
    story = Story.of(in_force(), join(), buy("1", NOON, 50_000))
    story.tell(buy("2", NOON + timedelta(days=365), 10))
    assert story.decided() == "member"
    assert story.changes[-1].reason is Reason.REVIEWED


@pytest.mark.parametrize(
    ("downgrade_keeps", "reversal_keeps", "after_return", "after_purchase"),
    [
        (False, False, "member", "member"),
        (False, True, "silver", "member"),
        (True, False, "member", "member"),
        (True, True, "silver", "silver"),
    ],
)
def test_policies_say_whether_a_level_is_kept(
    downgrade_keeps: bool,  # noqa: FBT001
    reversal_keeps: bool,  # noqa: FBT001
    after_return: str,
    after_purchase: str,
) -> None:
    rules = in_force(ladder(downgrade_keeps=downgrade_keeps, reversal_keeps=reversal_keeps))
    story = Story.of(rules, join(), buy("1", NOON, 50_000), give_back("1", NOON, (1, 50_000)))
    assert story.decided() == after_return
    assert story.tell(buy("2", NOON, 1)).decided() == after_purchase


def test_an_equal_decision_says_nothing() -> None:
    story = Story.of(in_force(), join(), buy("1", NOON, 60_000), buy("2", NOON, 60_000))
    story.tell(give_back("1", NOON, (1, 60_000)))
    assert [change.level_id for change in story.changes] == ["member", "silver"]


def test_each_ladder_has_its_own_level() -> None:
    rules = in_force(
        ladder(), ladder("stamps", levels=(("none", 0), ("stamp", 100)), condition=None)
    )
    story = Story.of(rules, join(), buy("1", NOON, Thing(100, "postage")))
    assert (story.decided(), story.decided("stamps")) == ("member", "stamp")


def test_a_negative_net_spend_is_the_lowest_level() -> None:
    story = Story.of(in_force(), join(), buy("1", NOON, 100))
    story.tell(give_back("1", NOON, (1, 200)))
    assert story.spend() == {date(2010, 12, 1): -100}
    assert story.decided() == "member"


def test_a_decision_by_a_clock_that_went_back_stands_in_the_place_of_the_last() -> None:
    rules = in_force(ladder(effective=UpgradeEffective.AT_ONCE))
    story = Story.of(rules, join(), buy("1", NOON, 50_000))
    story.tell(give_back("1", NOON - timedelta(seconds=5), (1, 50_000)))
    assert story.changes[-1].effective_time == story.changes[-2].effective_time
    assert story.level(NOON + timedelta(days=1)) == "member"


# Members and ladders that came one before the other ----------------------------------------------


def test_a_member_of_a_program_without_ladders_is_only_remembered() -> None:
    story = Story.of(None, join(NOON), buy("1", NOON, 50_000))
    assert story.changes == []
    assert story.member.enroll_time == NOON
    assert story.member.identifiers == ("17850",)


@pytest.mark.parametrize("first", ["job", "purchase"])
def test_a_later_ladder_takes_earlier_members_in_from_its_beginning(first: str) -> None:
    begun = NOON + timedelta(days=10)
    start = LadderStart(start_time=begun, program_version=3, level_id=LevelId("member"))
    rules = replace(in_force(version=4), starts={LadderId("main"): start})
    story = Story.of(None, join(NOON), buy("0", NOON, 10**6))
    story.rules = rules
    enter = EnterLadders(program_id=PROGRAM, member_key=MEMBER)
    purchase = buy("1", begun + timedelta(days=1), 50_000)
    story.tell(*((enter, purchase) if first == "job" else (purchase, enter)))
    assert [(c.level_id, c.program_version) for c in story.changes] == [
        ("member", 3),
        ("silver", 4),
    ]
    assert story.changes[0].effective_time == begun
    assert story.changes[0].reason is Reason.ENROLLED
    assert story.spend() == {date(2010, 12, 12): 50_000}


def test_an_event_of_a_member_that_never_joined_is_no_refusal() -> None:
    with pytest.raises(UnknownMemberKeyError):
        Story.of(in_force(), buy("1", NOON, 1))


def test_a_repeated_enrolment_changes_only_identifiers() -> None:
    story = Story.of(in_force(), join(NOON), join(NOON + timedelta(days=1)))
    assert len(story.changes) == 1
    assert story.member.enroll_time == NOON


def test_a_level_that_the_ladder_no_longer_has_is_replaced_at_the_next_purchase() -> None:
    story = Story.of(in_force(), join(), buy("1", NOON, 60_000))
    story.rules = in_force(ladder(levels=(("member", 0), ("bronze", 10_000))), version=2)
    story.tell(buy("2", NOON, 1))
    assert story.changes[-1].level_id == "bronze"
    assert story.changes[-1].reason is Reason.REVIEWED


# Order within a day ------------------------------------------------------------------------------


@st.composite
def days_of_one_member(draw: st.DrawFn) -> tuple[list[Command], list[Command]]:
    """One day of one member in two orders; in both, returns come after their purchase."""
    purchases: list[Command] = []
    returns: dict[int, list[Command]] = {}
    for number in range(draw(st.integers(1, 5))):
        pence = draw(st.integers(0, 120_000))
        purchases.append(buy(str(number), NOON + timedelta(seconds=number), pence))
        parts = draw(st.lists(st.integers(0, pence // 2), max_size=2))
        returns[number] = [
            give_back(str(number), NOON + timedelta(minutes=number), (1, part)) for part in parts
        ]

    def one_order() -> list[Command]:
        told: list[Command] = []
        for number in draw(st.permutations(range(len(purchases)))):
            # A purchase anywhere after what is told, each of its returns anywhere after it.
            place = draw(st.integers(0, len(told)))
            told.insert(place, purchases[number])
            for taken in returns[number]:
                told.insert(draw(st.integers(place + 1, len(told))), taken)
        return told

    return one_order(), one_order()


@given(days_of_one_member())
def test_the_order_of_a_days_events_changes_neither_spend_nor_the_level_of_midnight(
    orders: tuple[list[Command], list[Command]],
) -> None:
    stories = [Story.of(in_force(), join(), *order) for order in orders]
    assert stories[0].spend() == stories[1].spend()
    assert stories[0].decided() == stories[1].decided()
    assert stories[0].level(MIDNIGHT) == stories[1].level(MIDNIGHT) == stories[0].decided()
    for story in stories:
        levels = [change.level_id for change in story.changes]
        times = [change.effective_time for change in story.changes]
        assert all(a != b for a, b in pairwise(levels))
        assert times == sorted(times)
        assert [c.sequence for c in story.changes] == list(range(1, len(levels) + 1))
