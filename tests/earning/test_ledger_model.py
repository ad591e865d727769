"""The ledger against a small sequential model: any story, step by step, the same balances.

The model keeps a signed balance, what each hold took, and floors of totals for returns; it shares
no code with the service. After each step the wallet is what the model says, and every few steps, as
at the end, a verification finds nothing.
"""

from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from services.earning.refusals import (
    AmountNotReturnable,
    CaptureExceedsHold,
    HoldClosed,
    InsufficientPoints,
    QuantityNotReturnable,
    RefundExceedsCapture,
    ReversalWayChanged,
)
from shared import errors
from tests.earning.nodes import order, purchase
from tests.earning.stories import Stories, told

T = TypeVar("T")
HOLD_SECONDS = 60


@dataclass
class Bought:
    """An activity: per line its units, amount and points, and what was returned."""

    lines: list[tuple[int, int, int]]
    units: list[int]
    amount: int = 0
    way: str = ""

    @property
    def points(self) -> int:
        return sum(line[2] for line in self.lines)

    @property
    def total(self) -> int:
        return sum(line[1] for line in self.lines)

    def given_back(self) -> int:
        if self.way == "amount":
            return self.points * self.amount // self.total
        pairs = zip(self.lines, self.units, strict=True)
        return sum(points * back // units for (units, _, points), back in pairs)


@dataclass
class Set:
    """A hold."""

    points: int
    expires: int
    state: str = "open"
    captured: int = 0
    refunded: int = 0


@dataclass
class Model:
    """One member's books: `balance` is what is available, or owed when it is below zero."""

    balance: int = 0
    earned: int = 0
    reversed: int = 0
    seconds: int = 0
    given: int = 0
    bought: dict[str, Bought] = field(default_factory=dict)
    holds: dict[str, Set] = field(default_factory=dict)

    @property
    def held(self) -> int:
        return sum(each.points for each in self.holds.values() if each.state == "open")

    @property
    def spent(self) -> int:
        return sum(each.captured - each.refunded for each in self.holds.values())


def shares(amounts: list[int]) -> tuple[int, list[int]]:
    """Points of a purchase at one for 100, and the shares of its lines."""
    points = sum(amounts) // 100
    if not points:
        return 0, [0] * len(amounts)
    exact = [
        (points * amount // sum(amounts), points * amount % sum(amounts)) for amount in amounts
    ]
    left = points - sum(whole for whole, _ in exact)
    order_ = sorted(range(len(amounts)), key=lambda line: (-exact[line][1], line))
    return points, [whole + (line in order_[:left]) for line, (whole, _) in enumerate(exact)]


class Ledger(Stories):
    """Runs a story against the service and the model."""

    def __init__(self) -> None:
        super().__init__()
        # A member of its own for each story: the database is made once.
        self.member = f"m-{self.stories}"
        self.model = Model()
        self.steps = 0
        self.run(self.node.record(purchase(self.name("start"), self.member)))
        self.other = f"{self.member}-other"
        self.run(self.node.enroll(self.other))

    def refuses(
        self, work: Coroutine[object, object, object], refused: type[errors.Refusal]
    ) -> None:
        with pytest.raises(refused):
            self.run(work)

    def name(self, what: str) -> str:
        self.steps += 1
        return f"{self.member}-{what}-{self.steps}"

    @rule(
        lines=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 2_000)), min_size=1, max_size=4)
    )
    def record(self, lines: list[tuple[int, int]]) -> None:
        name = self.name("a")
        points, by_line = shares([amount for _, amount in lines])
        recorded = self.run(self.node.record(purchase(name, self.member, lines)))
        assert recorded.points == points
        self.model.bought[name] = Bought(
            [(units, amount, part) for (units, amount), part in zip(lines, by_line, strict=True)],
            [0] * len(lines),
        )
        self.model.balance += points
        self.model.earned += points

    @rule(points=st.integers(1, 60))
    def credit(self, points: int) -> None:
        self.run(self.node.credit(points, self.member, self.name("c")))
        self.model.balance += points
        self.model.earned += points

    @rule(points=st.integers(-60, 60).filter(bool))
    def adjust(self, points: int) -> None:
        work = self.node.adjust(points, self.member)
        if -points > max(0, self.model.balance):
            self.refuses(work, InsufficientPoints)
            return
        self.run(work)
        self.model.balance += points

    @rule(points=st.integers(1, 60))
    def give(self, points: int) -> None:
        work = self.node.transfer(points, self.member, self.other)
        if points > max(0, self.model.balance):
            self.refuses(work, InsufficientPoints)
            return
        self.run(work)
        self.model.balance -= points
        self.model.given += points

    @rule(points=st.integers(1, 60))
    def get(self, points: int) -> None:
        work = self.node.transfer(points, self.other, self.member)
        if points > self.model.given:
            self.refuses(work, InsufficientPoints)
            return
        self.run(work)
        self.model.given -= points
        self.model.balance += points

    @precondition(lambda self: self.model.bought)
    @rule(data=st.data())
    def reverse_lines(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.bought)))
        bought = self.model.bought[name]
        line = data.draw(st.integers(0, len(bought.lines) - 1))
        units = data.draw(st.integers(1, bought.lines[line][0]))
        work = self.node.reverse(order(self.name("v"), name, lines=[(line + 1, units)]))
        if bought.way == "amount":
            self.refuses(work, ReversalWayChanged)
        elif units + bought.units[line] > bought.lines[line][0]:
            self.refuses(work, QuantityNotReturnable)
        else:
            before = bought.given_back()
            bought.way = "lines"
            bought.units[line] += units
            self.take(self.run(work).points, bought.given_back() - before)

    @precondition(lambda self: self.model.bought)
    @rule(data=st.data())
    def reverse_amount(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.bought)))
        bought = self.model.bought[name]
        amount = data.draw(st.integers(1, max(1, bought.total)))
        work = self.node.reverse(order(self.name("v"), name, amount=amount))
        if bought.way == "lines":
            self.refuses(work, ReversalWayChanged)
        elif amount > bought.total - bought.amount:
            self.refuses(work, AmountNotReturnable)
        else:
            before = bought.given_back() if bought.way else 0
            bought.way = "amount"
            bought.amount += amount
            self.take(self.run(work).points, bought.given_back() - before)

    def take(self, taken: int, expected: int) -> None:
        assert taken == expected
        self.model.balance -= expected
        self.model.reversed += expected

    @rule(points=st.integers(1, 80))
    def hold(self, points: int) -> None:
        work = self.node.hold(points, self.member, seconds=HOLD_SECONDS, request_id=self.name("h"))
        if points > max(0, self.model.balance):
            self.refuses(work, InsufficientPoints)
            return
        hold = self.run(work)
        self.model.holds[hold.hold_id] = Set(points, self.model.seconds + HOLD_SECONDS)
        self.model.balance -= points

    def a_hold(self, data: st.DataObject) -> tuple[str, Set, bool]:
        hold_id = data.draw(st.sampled_from(sorted(self.model.holds)))
        held = self.model.holds[hold_id]
        return hold_id, held, held.state == "open" and held.expires > self.model.seconds

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data())
    def capture(self, data: st.DataObject) -> None:
        hold_id, held, is_open = self.a_hold(data)
        points = data.draw(st.integers(1, held.points + 1))
        work = self.node.capture(hold_id, points)
        if not is_open:
            self.refuses(work, HoldClosed)
        elif points > held.points:
            self.refuses(work, CaptureExceedsHold)
        else:
            self.run(work)
            held.state, held.captured = "captured", points
            self.model.balance += held.points - points

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        hold_id, held, is_open = self.a_hold(data)
        work = self.node.void(hold_id)
        if is_open:
            self.run(work)
            held.state = "voided"
            self.model.balance += held.points
        else:
            self.refuses(work, HoldClosed)

    @precondition(lambda self: any(h.state == "captured" for h in self.model.holds.values()))
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        captured = [name for name, each in self.model.holds.items() if each.state == "captured"]
        hold_id = data.draw(st.sampled_from(sorted(captured)))
        held = self.model.holds[hold_id]
        points = data.draw(st.integers(1, held.captured))
        work = self.node.refund(hold_id, points)
        if points > held.captured - held.refunded:
            self.refuses(work, RefundExceedsCapture)
        else:
            self.run(work)
            held.refunded += points
            self.model.balance += points

    @rule(seconds=st.integers(1, HOLD_SECONDS))
    def time_goes_by(self, seconds: int) -> None:
        self.run(self.node.advance(seconds=seconds))
        self.run(self.node.expire_holds.run())
        self.model.seconds += seconds
        for held in self.model.holds.values():
            if held.state == "open" and held.expires <= self.model.seconds:
                held.state = "expired"
                self.model.balance += held.points

    @invariant()
    def wallet_is_what_the_model_says(self) -> None:
        wallet = self.run(self.node.wallet(self.member))
        model = self.model
        assert (wallet.available, wallet.debt) == (max(0, model.balance), max(0, -model.balance))
        assert (wallet.held, wallet.spent) == (model.held, model.spent)
        assert self.run(self.node.wallet(self.other)).available == model.given
        assert (wallet.earned, wallet.reversed) == (model.earned, model.reversed)


async def test_every_story_on_sqlite_ends_as_the_model_says(sqlite_url: str) -> None:
    assert await told(Ledger, sqlite_url, examples=60, steps=30) >= 60


async def test_every_story_on_postgresql_ends_as_the_model_says(postgres_url: str) -> None:
    assert await told(Ledger, postgres_url, examples=10, steps=30) >= 10
