"""Further currencies, purely: any split of a return takes back exactly what was earned of each."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.earning import counts, explanations, further, ledger
from services.earning.commands import ReverseActivity
from services.earning.decisions import Changes, reverse
from services.earning.domain import (
    ActivityRecord,
    CurrencyId,
    EntryType,
    FurtherEarning,
    LineRecord,
    Reversal,
    ReversalId,
    ReversalPolicy,
    Wallet,
)
from services.earning.expiry import plain
from services.earning.explanations import CapOutcome, Explanation
from services.earning.further import Purse
from services.earning.ledger import Cause
from services.earning.money import Money
from services.earning.reversals import Amount, Lines, ReturnedUnits, Whole
from services.earning.rules import Program, Rules
from services.earning.stacking import MultiplierPolicy
from shared.decision import Decision
from tests.earning.samples import CURRENCY, KEY, NOW, PROGRAM, record

MILES = CurrencyId("miles")


def explained(*line_points: int, caps: tuple[CapOutcome, ...] = ()) -> str:
    return explanations.written(Explanation(1, "", 1, 1, (), line_points, caps=caps))


def bought(lines: list[tuple[int, int, int, int]]) -> ActivityRecord:
    """Lines are quantity, amount, points and miles."""
    made = record(
        lines=tuple(
            LineRecord(line_number=number, quantity=quantity, amount=amount, points=points)
            for number, (quantity, amount, points, _) in enumerate(lines, start=1)
        )
    )
    return _with_miles(made, sum(each[3] for each in lines), [each[3] for each in lines])


def paid(amount: int, points: int, miles: int) -> ActivityRecord:
    return _with_miles(record(points=points, amount=amount), miles, [])


def _with_miles(made: ActivityRecord, miles: int, by_line: list[int]) -> ActivityRecord:
    earning = FurtherEarning(
        currency_id=MILES,
        points=miles,
        explanation=explained(*by_line),
        entry_sequence=1 if miles else 0,
    )
    shares = [line.points for line in made.lines]
    return replace(made, explanation=explained(*shares), further=(earning,))


class Books:
    """A member's two wallets, on which an activity is booked and returned."""

    def __init__(
        self, activity: ActivityRecord, policy: ReversalPolicy = ReversalPolicy.ALLOW_DEBT
    ) -> None:
        self.activity = activity
        self.program = Program(
            program_id=PROGRAM,
            currency_id=CURRENCY,
            money_currency_code="GBP",
            rules=Rules(
                version=1,
                rules=(),
                multiplier_policy=MultiplierPolicy.MULTIPLY,
                money=Money(currency_code="GBP"),
            ),
            currencies={each: plain(each) for each in (CURRENCY, MILES)},
            reversal_policy=policy,
        )
        self.purses = {
            currency_id: self._earned(currency_id, points)
            for currency_id, points in (
                (CURRENCY, activity.points),
                (MILES, activity.further[0].points),
            )
        }
        self.numbers = 0

    def _earned(self, currency_id: CurrencyId, points: int) -> Purse:
        wallet = Wallet(program_id=PROGRAM, member_key=KEY, currency_id=currency_id)
        purse = Purse(wallet=wallet, lots={}, policy=plain(currency_id))
        if not points:
            return purse
        cause = Cause(now=NOW, occurred_time=NOW, activity_id=self.activity.activity_id)
        movement = ledger.credit(wallet, points, EntryType.EARN, cause, purse.policy)
        assert movement.made is not None
        lots = {movement.made.lot_sequence: movement.made}
        return replace(purse, wallet=movement.wallet, lots=lots)

    def give_back(self, scope: Whole | Lines | Amount) -> Reversal:
        self.numbers += 1
        command = ReverseActivity(
            program_id=PROGRAM,
            reversal_id=ReversalId(f"r-{self.numbers}"),
            activity_id=self.activity.activity_id,
            occurred_time=NOW,
            scope=scope,
            reason="",
            digest="",
        )
        first = self.purses[CURRENCY]
        decided = reverse(command, self.program, self.activity, first.wallet, first.lots, NOW)
        decided = further.taken_back(decided, self.activity, self.program, self.purses)
        self._take(decided)
        return decided.answer

    def _take(self, decided: Decision[Changes, Reversal]) -> None:
        assert decided.state.reversed_activity is not None
        assert decided.state.reversal == decided.answer
        self.activity = decided.state.reversed_activity
        for movement in decided.state.movements:
            purse = self.purses[movement.wallet.currency_id]
            lots = {**purse.lots, **{each.lot_sequence: each for each in movement.changed}}
            lots = {key: each for key, each in lots.items() if each.remaining}
            self.purses[movement.wallet.currency_id] = replace(
                purse, wallet=movement.wallet, lots=lots
            )

    @property
    def miles(self) -> Wallet:
        return self.purses[MILES].wallet


lines = st.lists(
    st.tuples(
        st.integers(1, 7), st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 10_000)
    ),
    min_size=1,
    max_size=4,
)


@given(lines, st.lists(st.tuples(st.integers(0, 3), st.integers(1, 7)), max_size=8))
def test_any_split_by_units_takes_back_what_each_line_earned_of_each_currency(
    bought_lines: list[tuple[int, int, int, int]], parts: list[tuple[int, int]]
) -> None:
    books = Books(bought(bought_lines))
    left = [each[0] for each in bought_lines]
    taken = [0] * len(left)

    def returned(answer: Reversal) -> None:
        by_line = answer.further[0].line_points if answer.further else (0,) * len(answer.lines)
        assert sum(each.points for each in answer.further) == sum(by_line)
        for line, points in zip(answer.lines, by_line, strict=True):
            at = line.line_number - 1
            left[at] -= line.quantity
            taken[at] += points
            quantity, _, _, miles = bought_lines[at]
            assert taken[at] == miles * (quantity - left[at]) // quantity
        assert books.activity.further[0].points_reversed == sum(taken)

    for line, units in parts:
        at = line % len(left)
        if quantity := min(units, left[at]):
            some = ReturnedUnits(line_number=at + 1, quantity=quantity)
            returned(books.give_back(Lines(lines=(some,))))
    if any(left):
        returned(books.give_back(Whole()))
    assert books.miles.available == 0
    assert books.miles.reversed == sum(each[3] for each in bought_lines)


@given(
    st.integers(1, 100_000),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.lists(st.integers(1, 50_000), max_size=6),
)
def test_any_split_by_amount_takes_back_the_floor_of_the_total_so_far(
    amount: int, points: int, miles: int, parts: list[int]
) -> None:
    books = Books(paid(amount, points, miles))
    returned = 0
    for part in parts:
        if part > amount - returned:
            break
        books.give_back(Amount(amount=part))
        returned += part
        assert books.miles.reversed == miles * returned // amount
        assert books.activity.further[0].points_reversed == books.miles.reversed
    if returned < amount:
        books.give_back(Whole())
    assert (books.miles.available, books.miles.debt) == (0, 0)
    assert books.miles.reversed == miles


def test_what_has_no_amount_is_taken_back_whole() -> None:
    books = Books(paid(0, 30, 7))
    answer = books.give_back(Whole())
    assert (answer.points, answer.further[0].points) == (30, 7)
    assert books.miles.available == 0


@pytest.mark.parametrize(
    ("policy", "points", "owed", "available"),
    [
        (ReversalPolicy.ALLOW_DEBT, 100, 60, 0),
        (ReversalPolicy.WITHIN_BALANCE, 40, 0, 0),
        (ReversalPolicy.ONLY_THIS_ACTIVITY, 40, 0, 0),
    ],
)
def test_each_currency_follows_the_policy_of_reversals_by_itself(
    policy: ReversalPolicy, points: int, owed: int, available: int
) -> None:
    books = Books(paid(1_000, 10, 100), policy)
    purse = books.purses[MILES]
    lot = purse.lots[1]
    spent = replace(purse.wallet, available=40)
    books.purses[MILES] = replace(purse, wallet=spent, lots={1: replace(lot, remaining=40)})
    answer = books.give_back(Whole())
    assert (answer.points, answer.owed) == (10, 0)
    assert [(each.points, each.owed) for each in answer.further] == [(points, owed)]
    assert books.miles.available == available


def test_each_cap_gets_back_by_the_points_of_its_own_currency() -> None:
    cap = CapOutcome("miles-a-day", "2025-06-01", 100, 80)
    other = CapOutcome("points-a-day", "2025-06-01", 100, 10)
    made = paid(1_000, 10, 80)
    made = replace(
        made,
        explanation=explained(caps=(other,)),
        further=(replace(made.further[0], explanation=explained(caps=(cap,))),),
    )
    after = replace(made, further=(replace(made.further[0], points_reversed=20),))
    given_back = counts.uncounted((PROGRAM, KEY), made, after)
    assert given_back is not None
    assert given_back.caps == (
        (("points-a-day", "2025-06-01"), 0),
        (("miles-a-day", "2025-06-01"), -20),
    )
