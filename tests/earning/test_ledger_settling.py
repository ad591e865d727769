"""What the clock makes due of a wallet: in order of time, once, however late it is looked at."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.earning import ledger, ledger_holds, ledger_settling, ledger_transfers
from services.earning.audit_wallets import WalletAudit
from services.earning.domain import ActivityId, EntryType, Lot, MemberKey, ReversalPolicy
from services.earning.expiry import (
    AfterDays,
    AfterMonths,
    CurrencyPolicy,
    Expiry,
    Pending,
    PendingFor,
    Sliding,
    UntilConfirmed,
)
from services.earning.ledger import Cause
from services.earning.ledger_books import Books
from services.earning.ledger_settling import Reminder, settle
from tests.earning import columns
from tests.earning.samples import CURRENCY, NOW, wallet

LONDON = ZoneInfo("Europe/London")
DAY = timedelta(days=1)


def policy(
    expiry: Expiry | None = None,
    pending: Pending | None = None,
    reminder_days: tuple[int, ...] = (),
) -> CurrencyPolicy:
    return CurrencyPolicy(
        currency_id=CURRENCY,
        zone=LONDON,
        expiry=expiry,
        pending=pending,
        reminder_days=reminder_days,
    )


def cause(now: datetime, activity: str = "") -> Cause:
    return Cause(now=now, occurred_time=now, activity_id=ActivityId(activity))


def books(**changes: int) -> Books:
    return Books.of(wallet(**changes), {})


def earn(made: Books, points: int, how: CurrencyPolicy, now: datetime, activity: str = "") -> Lot:
    settle(made, how, now)
    movement = ledger.credit(made.wallet, points, EntryType.EARN, cause(now, activity), how)
    made.book(movement)
    assert movement.made is not None
    return movement.made


def check(made: Books) -> None:
    """What always holds of a wallet and its lots, and that an audit of the entries agrees."""
    open_lots = made.lots.values()
    assert made.wallet.available == sum(lot.remaining for lot in open_lots if not lot.is_pending)
    assert made.wallet.pending == sum(lot.remaining for lot in open_lots if lot.is_pending)
    assert all(0 <= lot.remaining <= lot.amount for lot in open_lots)
    audit = WalletAudit(made.began)
    for movement in made.movements:
        entry = movement.entry
        uses = [(use.lot_sequence, use.points) for use in entry.lot_uses]
        audit.add([columns.of_entry(entry)], {entry.sequence: uses})
    lots = [columns.of_lot(made.wallet, lot) for lot in open_lots]
    audit.finish(columns.of_wallet(made.wallet), lots, (), (), 0)
    unstored = {"holds_equal_entries", "adjustments_equal_entries"}  # only the books are here
    assert [each for each in audit.violations if each.rule not in unstored] == []


# Pending ------------------------------------------------------------------------------------------


def test_pending_points_become_available_at_their_instant_and_live_from_then_on() -> None:
    made, how = books(), policy(AfterDays(days=10), PendingFor(duration=3 * DAY))
    earn(made, 100, how, NOW)
    assert (made.wallet.available, made.wallet.pending, made.wallet.earned) == (0, 100, 100)
    settle(made, how, NOW + 3 * DAY - timedelta(microseconds=1))
    assert made.wallet.pending == 100
    settle(made, how, NOW + 9 * DAY)  # late: it counts from the instant, not from the look
    assert (made.wallet.available, made.wallet.pending) == (100, 0)
    assert made.movements[-1].entry.occurred_time == NOW + 3 * DAY
    lot = made.lots[1]
    assert (lot.available_time, lot.is_pending) == (NOW + 3 * DAY, False)
    assert lot.expire_time == datetime(2025, 6, 14, 23, tzinfo=UTC)
    check(made)


def test_debt_is_repaid_when_pending_points_become_available_and_not_before() -> None:
    made, how = books(debt=30), policy(None, PendingFor(duration=DAY))
    earn(made, 100, how, NOW)
    assert (made.wallet.debt, made.wallet.pending) == (30, 100)
    settle(made, how, NOW + DAY)
    assert (made.wallet.debt, made.wallet.pending, made.wallet.available) == (0, 0, 70)


def test_points_that_wait_to_be_confirmed_are_never_made_available_by_the_clock() -> None:
    made, how = books(), policy(AfterMonths(months=1), UntilConfirmed())
    lot = earn(made, 100, how, NOW)
    assert made.wallet.next_time is None
    settle(made, how, NOW + 4_000 * DAY)
    assert made.wallet.pending == 100
    confirmed = NOW + 100 * DAY
    made.book(ledger_settling.activate(made.wallet, lot, confirmed, cause(confirmed), how))
    assert made.lots[1].expire_time == datetime(2025, 10, 9, 23, tzinfo=UTC)
    settle(made, how, datetime(2025, 10, 9, 23, tzinfo=UTC))
    assert (made.wallet.available, made.wallet.expired) == (0, 100)
    check(made)


def test_a_reversal_takes_the_activity_s_own_pending_points_first_and_never_others() -> None:
    made, how = books(), policy(None, PendingFor(duration=DAY))
    own, other = earn(made, 100, how, NOW, "a-1"), earn(made, 100, how, NOW, "a-2")
    debt = ReversalPolicy.ALLOW_DEBT
    for points, pending, owed in ((40, 160, 0), (90, 100, 30)):
        movement = ledger.take_back(
            made.wallet, made.lots, (own.lot_sequence,), points, debt, cause(NOW, "a-1")
        )
        assert movement is not None
        made.book(movement)
        assert (made.wallet.pending, made.wallet.debt) == (pending, owed)
    assert made.lots[other.lot_sequence].remaining == 100
    check(made)


# Ends ---------------------------------------------------------------------------------------------


def test_lots_that_end_together_end_by_one_entry() -> None:
    made, how = books(), policy(AfterDays(days=1))
    for hour in range(3):
        earn(made, 10, how, NOW + timedelta(hours=hour))
    earn(made, 5, how, NOW + DAY)
    settle(made, how, NOW + 10 * DAY)
    ends = [each.entry for each in made.movements if each.entry.type is EntryType.EXPIRE]
    assert [(each.available_delta, len(each.lot_uses)) for each in ends] == [(-30, 3), (-5, 1)]
    assert [each.occurred_time for each in ends] == [
        datetime(2025, 6, 2, 23, tzinfo=UTC),
        datetime(2025, 6, 3, 23, tzinfo=UTC),
    ]
    assert made.wallet.next_time is None
    check(made)


def test_sliding_points_live_as_long_as_something_is_earned_in_time() -> None:
    made, how = books(), policy(Sliding(months=1))
    for month in (6, 7, 8):
        earn(made, 10, how, datetime(2025, month, 20, 12, tzinfo=UTC))
    assert made.wallet.available == 30
    assert made.wallet.slide_time == datetime(2025, 9, 20, 23, tzinfo=UTC)
    settle(made, how, datetime(2025, 9, 20, 23, tzinfo=UTC))
    assert (made.wallet.available, made.wallet.expired) == (0, 30)
    earn(made, 10, how, datetime(2025, 12, 1, 12, tzinfo=UTC))
    assert made.wallet.available == 10
    check(made)


def test_an_earn_that_comes_too_late_does_not_revive_sliding_points() -> None:
    made, how = books(), policy(Sliding(months=1))
    earn(made, 10, how, NOW)
    earn(made, 5, how, NOW + 60 * DAY)
    assert (made.wallet.available, made.wallet.expired) == (5, 10)
    check(made)


def test_a_spend_moves_the_end_of_sliding_points_and_a_void_does_not() -> None:
    made, how = books(), policy(Sliding(months=1))
    earn(made, 10, how, NOW)
    end = made.wallet.slide_time
    later = NOW + 10 * DAY
    held = made.book(ledger_holds.set_aside(made.wallet, made.lots, 6, cause(later)))
    back = ledger_holds.part(made.wallet, made.lots, held.lot_uses, 0)
    void = ledger_holds.give_back_held(made.wallet, made.lots, back, cause(later), how)
    assert void.wallet.slide_time == end
    kept = ledger_holds.part(made.wallet, made.lots, held.lot_uses, 6)
    spent = ledger_holds.spend_held(made.wallet, made.lots, kept, cause(later), how)
    assert end is not None
    assert spent.wallet.slide_time == end + 10 * DAY


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, AfterMonths(months=6)),
        (AfterMonths(months=6), None),
        (AfterMonths(months=6), AfterDays(days=1)),
        (None, Sliding(months=1)),
        (AfterMonths(months=6), Sliding(months=1)),
    ],
)
def test_a_policy_change_never_dates_old_lots_again(
    before: Expiry | None, after: Expiry | None
) -> None:
    """P12: "never" made "6 months" stamped old points, and back again cleared all dates."""
    made = books()
    old = earn(made, 100, policy(before), NOW)
    earn(made, 10, policy(after), NOW + DAY)
    kept = made.lots[old.lot_sequence]
    assert (kept.expire_time, kept.is_sliding) == (old.expire_time, False)
    settle(made, policy(after), NOW + 1_000 * DAY)
    assert made.lots[old.lot_sequence].remaining == (100 if before is None else 0)
    check(made)


def test_a_shorter_sliding_policy_takes_nothing_off_what_was_promised() -> None:
    made = books()
    earn(made, 100, policy(Sliding(months=12)), NOW)
    promised = made.wallet.slide_time
    earn(made, 10, policy(Sliding(months=1)), NOW + DAY)
    assert made.wallet.slide_time == promised


def test_expired_points_leave_with_what_was_spent_of_them() -> None:
    """P9: elsewhere expired credits left the sum while their debits stayed."""
    made, how = books(), policy(AfterDays(days=1))
    earn(made, 100, how, NOW)
    held = made.book(ledger_holds.set_aside(made.wallet, made.lots, 60, cause(NOW)))
    kept = ledger_holds.part(made.wallet, made.lots, held.lot_uses, 60)
    made.book(ledger_holds.spend_held(made.wallet, made.lots, kept, cause(NOW), how))
    earn(made, 30, how, NOW + DAY)
    settle(made, how, NOW + 2 * DAY)
    assert (made.wallet.available, made.wallet.spent, made.wallet.expired) == (30, 60, 40)
    check(made)


def test_credits_of_every_kind_end_and_not_only_those_earned() -> None:
    """P9: elsewhere only lots labelled as earned ended."""
    made, how = books(), policy(AfterDays(days=1))
    made.book(ledger.credit(made.wallet, 10, EntryType.CREDIT, cause(NOW), how))
    made.book(ledger_transfers.adjust(made.wallet, made.lots, 20, cause(NOW), how))
    settle(made, how, NOW + 9 * DAY)
    assert (made.wallet.available, made.wallet.expired) == (0, 30)
    check(made)


# Reminders ----------------------------------------------------------------------------------------


def test_members_are_told_30_and_7_days_ahead_once() -> None:
    """P10: expiry with reminders and a pending period."""
    made = books()
    how = policy(AfterDays(days=60), PendingFor(duration=5 * DAY), reminder_days=(30, 7))
    earn(made, 100, how, NOW)
    earn(made, 11, how, NOW + timedelta(hours=1))
    end = datetime(2025, 8, 5, 23, tzinfo=UTC)
    told: list[tuple[datetime, Reminder]] = []
    for hour in range(0, 70 * 24, 5):
        now = NOW + timedelta(hours=hour)
        told += [(now, each) for each in settle(made, how, now)]
    assert [each for _, each in told] == [
        Reminder(points=111, expire_time=end, days=30),
        Reminder(points=111, expire_time=end, days=7),
    ]
    for now, each in told:
        assert timedelta(0) <= now - (end - each.days * DAY) < timedelta(hours=5)


def test_after_days_without_the_job_each_reminder_is_told_once_and_none_of_what_has_ended() -> None:
    made, how = books(), policy(AfterDays(days=60), reminder_days=(30, 7, 3))
    earn(made, 100, how, NOW)
    assert [each.days for each in settle(made, how, NOW + 55 * DAY)] == [30, 7]
    assert settle(made, how, NOW + 56 * DAY) == []
    assert settle(made, how, NOW + 90 * DAY) == []
    assert made.wallet.expired == 100


def test_nobody_is_told_ahead_of_the_day_on_which_points_came() -> None:
    made, how = books(), policy(AfterDays(days=10), reminder_days=(30, 7))
    earn(made, 100, how, NOW)
    assert [each.days for each in settle(made, how, NOW + 9 * DAY)] == [7]


# Whoever looks, and whenever ----------------------------------------------------------------------

HOURS = st.integers(0, 24 * 40)
POLICIES = st.builds(
    policy,
    expiry=st.sampled_from(
        [None, AfterDays(days=3), AfterDays(days=9), AfterMonths(months=1), Sliding(months=1)]
    ),
    pending=st.sampled_from([None, PendingFor(duration=2 * DAY), PendingFor(duration=45 * DAY)]),
    reminder_days=st.just((7, 2)),
)
STORIES = st.lists(st.tuples(HOURS, st.integers(1, 50), POLICIES), min_size=1, max_size=8)


@given(story=STORIES, looks=st.lists(HOURS, max_size=12), debt=st.integers(0, 60))
def test_it_does_not_matter_how_often_the_clock_is_looked_at(
    story: list[tuple[int, int, CurrencyPolicy]], looks: list[int], debt: int
) -> None:
    """Looked at in between or only at the end: the same balances and lots, each reminder once."""
    how = story[0][2]
    earned = [(hours, points) for hours, points, _ in story]

    def run(looked: list[int]) -> tuple[Books, list[Reminder]]:
        made, told = books(debt=debt), list[Reminder]()
        for hours, points in sorted([*earned, *((at, 0) for at in looked)]):
            now = NOW + timedelta(hours=hours)
            told += settle(made, how, now)
            if points:
                earn(made, points, how, now)
        told += settle(made, how, NOW + 60 * DAY)
        check(made)
        return made, told

    often, told_often = run(looks)
    once, told_once = run([])
    assert _plain(often) == _plain(once)
    assert len(set(told_often)) == len(told_often)
    assert set(told_once) <= set(told_often)


def _plain(made: Books) -> tuple[object, ...]:
    """A wallet and lots without what only says which entry made them."""
    lots = sorted(
        [replace(lot, lot_sequence=0) for lot in made.lots.values() if lot.remaining],
        key=lambda lot: (lot.expire_time or NOW, lot.available_time or NOW, lot.remaining),
    )
    return replace(made.wallet, sequence=0, chain_hash=b""), lots


@given(story=STORIES, at=st.integers(0, 24 * 200))
def test_what_is_settled_is_settled(story: list[tuple[int, int, CurrencyPolicy]], at: int) -> None:
    made = books()
    for hours, points, how in sorted(story, key=lambda step: step[0]):
        earn(made, points, how, NOW + timedelta(hours=hours))
    now = NOW + timedelta(hours=40 * 24 + at)
    settle(made, story[0][2], now)
    before, count = made.wallet, len(made.movements)
    assert settle(made, story[0][2], now) == []
    assert (made.wallet, len(made.movements)) == (before, count)
    check(made)


# Extension, reinstatement, transfers, corrections -------------------------------------------------


def test_a_lot_that_is_extended_ends_when_it_was_said() -> None:
    made, how = books(), policy(AfterDays(days=1))
    lot = earn(made, 10, how, NOW)
    until = NOW + 50 * DAY
    made.book(ledger_settling.extend(made.wallet, lot, until, cause(NOW), how))
    settle(made, how, NOW + 49 * DAY)
    assert made.wallet.available == 10
    settle(made, how, until)
    assert (made.wallet.available, made.wallet.expired) == (0, 10)
    check(made)


def test_points_that_are_reinstated_repay_debt_and_end_again() -> None:
    made, how = books(), policy(AfterDays(days=1))
    lot = earn(made, 10, how, NOW)
    now = NOW + 5 * DAY
    settle(made, how, now)
    movement = ledger.take_back(
        made.wallet, made.lots, (lot.lot_sequence,), 4, ReversalPolicy.ALLOW_DEBT, cause(now)
    )
    assert movement is not None
    made.book(movement)
    until = now + 10 * DAY
    lot = made.lots[lot.lot_sequence]
    made.book(ledger_settling.reinstate(made.wallet, lot, 10, until, cause(now), how))
    assert (made.wallet.available, made.wallet.debt, made.wallet.expired) == (6, 0, 0)
    settle(made, how, until)
    assert made.wallet.expired == 6
    check(made)


@given(
    amounts=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20)), min_size=1, max_size=6),
    points=st.integers(1, 200),
    debt=st.integers(0, 40),
)
def test_points_that_change_hands_keep_their_ends(
    amounts: list[tuple[int, int]], points: int, debt: int
) -> None:
    giving = books()
    taking = Books.of(replace(wallet(debt=debt), member_key=MemberKey("01ff" + "0" * 28)), {})
    for amount, days in amounts:
        earn(giving, amount, policy(AfterDays(days=days)), NOW)
    points = min(points, giving.wallet.available)
    how = policy(AfterDays(days=1))
    expected = ledger.take(ledger.usable(giving.wallet, giving.lots), points)
    for movement in ledger_transfers.transfer(
        giving.wallet, giving.lots, taking.wallet, points, cause(NOW), how
    ):
        gives = movement.wallet.member_key == giving.wallet.member_key
        (giving if gives else taking).book(movement)
    check(giving)
    check(taking)
    ends = {use.lot_sequence: giving.lots[use.lot_sequence].expire_time for use in expected}
    assert [(lot.amount, lot.expire_time) for lot in taking.lots.values()] == [
        (-use.points, ends[use.lot_sequence]) for use in expected
    ]
    assert taking.wallet.available == max(0, points - debt)
    assert taking.wallet.debt == max(0, debt - points)


@given(own=st.integers(0, 60), debt=st.integers(0, 60), theirs=st.integers(0, 60))
def test_a_wallet_that_is_handed_over_leaves_nothing_behind(
    own: int, debt: int, theirs: int
) -> None:
    pending = policy(None, PendingFor(duration=DAY))
    giving = books(debt=debt)
    if own:
        earn(giving, own, pending, NOW)
    taking = Books.of(replace(wallet(), member_key=MemberKey("01ff" + "0" * 28)), {})
    if theirs:
        earn(taking, theirs, policy(AfterDays(days=3)), NOW)
    for movement in ledger_transfers.hand_over(
        giving.wallet, giving.lots, taking.wallet, taking.lots, cause(NOW), pending
    ):
        gives = movement.wallet.member_key == giving.wallet.member_key
        (giving if gives else taking).book(movement)
    left = giving.wallet
    assert (left.available, left.pending, left.debt) == (0, 0, 0)
    assert (taking.wallet.pending, taking.wallet.debt) == (own, max(0, debt - theirs))
    settle(taking, pending, NOW + DAY)
    assert taking.wallet.available - taking.wallet.debt == own + theirs - debt
    check(giving)
    check(taking)


def test_an_adjustment_takes_at_most_what_is_available() -> None:
    made, how = books(), policy(AfterDays(days=1))
    earn(made, 10, how, NOW)
    made.book(ledger_transfers.adjust(made.wallet, made.lots, -10, cause(NOW), how))
    assert (made.wallet.available, made.wallet.earned) == (0, 10)
    assert made.lots[1].remaining == 0
    check(made)
