"""How points move: lots in order of use, holds, debt, and the chain of hashes."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.earning import ledger, ledger_holds
from services.earning.domain import (
    EARNED_MAX,
    Account,
    ActivityId,
    Entry,
    EntryType,
    Lot,
    LotUse,
    ReversalPolicy,
    Wallet,
)
from services.earning.expiry import plain
from services.earning.ledger import Cause, Movement
from services.earning.refusals import PointsOutOfRange
from tests.earning.samples import CURRENCY, NOW, wallet

CAUSE = Cause(now=NOW, occurred_time=NOW, activity_id=ActivityId("a-1"))
DAY = timedelta(days=1)
PLAIN = plain(CURRENCY)
OWN, WITHIN, DEBT = (
    ReversalPolicy.ONLY_THIS_ACTIVITY,
    ReversalPolicy.WITHIN_BALANCE,
    ReversalPolicy.ALLOW_DEBT,
)


def lot(sequence: int, remaining: int, *, expires_in_days: int | None = None) -> Lot:
    return Lot(
        lot_sequence=sequence,
        amount=remaining,
        remaining=remaining,
        available_time=NOW,
        expire_time=None if expires_in_days is None else NOW + expires_in_days * DAY,
        activity_id=ActivityId(f"a-{sequence}"),
    )


class Books:
    """A wallet with its lots, moved by movements; checks what must always hold."""

    def __init__(self, *lots: Lot) -> None:
        self.lots = {each.lot_sequence: each for each in lots}
        available = sum(each.remaining for each in lots)
        self.wallet: Wallet = wallet(
            available=available, earned=available, sequence=max(self.lots, default=0)
        )

    def book(self, movement: Movement) -> Entry:
        self.wallet = movement.wallet
        changed = {each.lot_sequence: each for each in movement.changed}
        made = {movement.made.lot_sequence: movement.made} if movement.made else {}
        self.lots |= changed | made
        entry = movement.entry
        deltas = entry.available_delta + entry.pending_delta + entry.held_delta
        assert deltas + entry.debt_delta + entry.program_delta == 0
        assert (entry.program_account is Account.NONE) == (entry.program_delta == 0)
        assert sum(each.remaining for each in self.lots.values()) == self.wallet.available
        assert min(self.wallet.available, self.wallet.held, self.wallet.debt) >= 0
        assert all(0 <= each.remaining <= each.amount for each in self.lots.values())
        return entry

    def credit(self, points: int) -> Entry:
        return self.book(ledger.credit(self.wallet, points, EntryType.EARN, CAUSE, PLAIN))

    def hold(self, points: int) -> Entry:
        return self.book(ledger_holds.set_aside(self.wallet, self.lots, points, CAUSE))

    def give_back(self, held: tuple[LotUse, ...]) -> Entry:
        parted = ledger_holds.part(self.wallet, self.lots, held, 0)
        return self.book(ledger_holds.give_back_held(self.wallet, self.lots, parted, CAUSE, PLAIN))

    def spend(self, held: tuple[LotUse, ...], points: int) -> tuple[Entry, tuple[LotUse, ...]]:
        """Spend a part of what is held; the entry, and what is out of the lots from then on."""
        parted = ledger_holds.part(self.wallet, self.lots, held, points)
        movement = ledger_holds.spend_held(self.wallet, self.lots, parted, CAUSE, PLAIN)
        return self.book(movement), parted.kept

    def refund(self, spent: tuple[LotUse, ...], points: int) -> tuple[Entry, tuple[LotUse, ...]]:
        left = -ledger.total(spent) - points
        parted = ledger_holds.part(self.wallet, self.lots, spent, left)
        movement = ledger_holds.give_back_spent(self.wallet, self.lots, parted, CAUSE, PLAIN)
        return self.book(movement), parted.kept

    def take_back(self, own_lot: int, points: int, policy: ReversalPolicy = DEBT) -> Entry | None:
        movement = ledger.take_back(self.wallet, self.lots, (own_lot,), points, policy, CAUSE)
        return self.book(movement) if movement else None

    def remaining(self) -> dict[int, int]:
        return {sequence: each.remaining for sequence, each in self.lots.items()}


def uses(entry: Entry | None) -> dict[int, int]:
    assert entry is not None
    return {use.lot_sequence: use.points for use in entry.lot_uses}


def test_a_credit_makes_a_lot_named_by_its_entry() -> None:
    books = Books()
    entry = books.credit(100)
    assert (entry.sequence, entry.available_delta, entry.program_delta) == (1, 100, -100)
    assert entry.program_account is Account.ISSUANCE
    assert books.remaining() == {1: 100}
    assert (books.wallet.available, books.wallet.earned) == (100, 100)


@pytest.mark.parametrize(
    ("debt", "points", "available", "debt_left", "remaining"),
    [(30, 100, 70, 0, 70), (100, 100, 0, 0, 0), (150, 100, 0, 50, 0), (0, 100, 100, 0, 100)],
)
def test_a_credit_repays_debt_first(
    debt: int, points: int, available: int, debt_left: int, remaining: int
) -> None:
    books = Books()
    books.wallet = replace(books.wallet, debt=debt)
    entry = books.credit(points)
    assert (books.wallet.available, books.wallet.debt) == (available, debt_left)
    assert books.lots[1] == replace(lot(1, points), remaining=remaining)
    assert uses(entry) == ({1: remaining - points} if remaining != points else {})
    assert entry.program_delta == -points


def test_a_wallet_cannot_earn_more_than_it_can_hold() -> None:
    books = Books()
    books.wallet = replace(books.wallet, earned=EARNED_MAX - 1)
    books.credit(1)
    with pytest.raises(PointsOutOfRange):
        books.credit(1)


def test_lots_are_used_by_expiry_then_by_age_and_those_that_never_expire_last() -> None:
    books = Books(
        lot(1, 10),
        lot(2, 10, expires_in_days=9),
        lot(3, 10, expires_in_days=2),
        lot(4, 10, expires_in_days=9),
        lot(5, 10),
    )
    assert uses(books.hold(35)) == {3: -10, 2: -10, 4: -10, 1: -5}
    assert books.remaining() == {1: 5, 2: 0, 3: 0, 4: 0, 5: 10}


def test_a_void_gives_points_back_to_their_lots() -> None:
    books = Books(lot(1, 10), lot(2, 10, expires_in_days=1))
    before = books.lots
    held = books.hold(15)
    entry = books.give_back(held.lot_uses)
    assert uses(entry) == {1: 5, 2: 10}
    assert books.lots == before
    assert (entry.available_delta, entry.held_delta, entry.program_delta) == (15, -15, 0)


def test_a_part_capture_spends_what_was_used_first_and_gives_the_rest_back() -> None:
    books = Books(lot(1, 10), lot(2, 10, expires_in_days=1))
    held = books.hold(15)
    entry, _ = books.spend(held.lot_uses, 12)
    assert uses(entry) == {1: 3}
    assert books.remaining() == {1: 8, 2: 0}
    assert (entry.held_delta, entry.available_delta, entry.program_delta) == (-15, 3, 12)
    assert (books.wallet.spent, books.wallet.held, books.wallet.available) == (12, 0, 8)


def test_refunds_give_back_what_was_used_last_first_until_everything_is_back() -> None:
    books = Books(lot(1, 10), lot(2, 10, expires_in_days=1))
    held = books.hold(15).lot_uses
    _, left = books.spend(held, 12)
    given = []
    for points in (1, 4, 7):
        entry, left = books.refund(left, points)
        given.append(uses(entry))
    assert left == ()
    assert given == [{1: 1}, {1: 1, 2: 3}, {2: 7}]
    assert books.remaining() == {1: 10, 2: 10}
    assert books.wallet.spent == 0


def test_what_comes_back_from_a_hold_repays_debt_first() -> None:
    books = Books(lot(1, 10), lot(2, 10, expires_in_days=1))
    held = books.hold(20).lot_uses
    books.take_back(1, 15)
    assert (books.wallet.available, books.wallet.debt) == (0, 15)
    entry = books.give_back(held)
    assert uses(entry) == {1: 5}
    assert (entry.available_delta, entry.debt_delta, entry.held_delta) == (5, 15, -20)
    assert (books.wallet.available, books.wallet.debt) == (5, 0)


@pytest.mark.parametrize(
    ("policy", "points", "taken", "owed"),
    [
        (OWN, 8, {2: -8}, 0),
        (OWN, 12, {2: -10}, 0),
        (WITHIN, 12, {2: -10, 3: -2}, 0),
        (WITHIN, 40, {1: -10, 2: -10, 3: -10}, 0),
        (DEBT, 12, {2: -10, 3: -2}, 0),
        (DEBT, 40, {1: -10, 2: -10, 3: -10}, 10),
    ],
)
def test_a_reversal_takes_its_own_lot_then_others_then_debt(
    policy: ReversalPolicy, points: int, taken: dict[int, int], owed: int
) -> None:
    books = Books(lot(1, 10), lot(2, 10), lot(3, 10, expires_in_days=1))
    entry = books.take_back(2, points, policy)
    assert entry is not None
    assert uses(entry) == taken
    assert books.wallet.debt == owed
    assert books.wallet.reversed == owed - sum(taken.values())


@pytest.mark.parametrize("policy", [OWN, WITHIN])
def test_a_reversal_that_can_take_nothing_books_nothing(policy: ReversalPolicy) -> None:
    assert Books().take_back(1, 10, policy) is None


def test_each_entry_is_hashed_over_the_one_before() -> None:
    books = Books()
    first, second = books.credit(10), books.credit(10)
    assert first.chain_hash != second.chain_hash
    assert books.wallet.chain_hash == second.chain_hash
    again = Books()
    assert again.credit(10).chain_hash == first.chain_hash
    again.wallet = replace(again.wallet, chain_hash=b"other")
    assert again.credit(10).chain_hash != second.chain_hash


@pytest.mark.parametrize(
    "cause",
    [
        replace(CAUSE, reason="x"),
        replace(CAUSE, reference="x"),
        replace(CAUSE, explanation="x"),
        replace(CAUSE, activity_id=ActivityId("a-2")),
        replace(CAUSE, now=NOW + timedelta(microseconds=1)),
        replace(CAUSE, occurred_time=NOW + timedelta(microseconds=1)),
    ],
)
def test_the_hash_covers_the_cause_of_an_entry(cause: Cause) -> None:
    plain = ledger.credit(wallet(), 5, EntryType.EARN, CAUSE, PLAIN).entry.chain_hash
    assert ledger.credit(wallet(), 5, EntryType.EARN, cause, PLAIN).entry.chain_hash != plain


def test_uses_of_one_lot_become_one_use_and_what_cancels_out_is_left_out() -> None:
    several = [
        LotUse(lot_sequence=lot_, points=points) for lot_, points in ((2, 5), (1, 3), (2, -5))
    ]
    assert ledger.merged(several) == (LotUse(lot_sequence=1, points=3),)
