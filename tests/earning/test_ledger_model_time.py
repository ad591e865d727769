"""The ledger against a small model in which points wait for a day and live for two.

The model keeps lots as a list and knows no entry, no hash and no job; it shares no code with the
service. It books everything at its instant, while the service is looked at whenever the story has
it: after each step the wallet is what the model says, and at the end a verification finds nothing.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from services.earning.domain import CurrencyId
from services.earning.expiry import AfterDays, CurrencyPolicy, PendingFor
from services.earning.refusals import HoldClosed, InsufficientPoints
from services.earning.refusals_points import (
    ExpiryNotLater,
    LotNotFound,
    ReinstateExceedsExpired,
)
from tests.earning.nodes import order, purchase
from tests.earning.stories import Stories, told

T = TypeVar("T")
POINTS = CurrencyId("points")
HOLD_HOURS = 5
WAITS, LIVES_DAYS = 24, 2
POLICY = CurrencyPolicy(
    currency_id=POINTS,
    zone=ZoneInfo("Africa/Lagos"),  # an hour ahead all year: days of 24 hours
    expiry=AfterDays(days=LIVES_DAYS),
    pending=PendingFor(duration=timedelta(hours=WAITS)),
)


def end_of(hour: int) -> int:
    """When points end that become available at an hour of the story, which begins at 13 local."""
    return ((13 + hour) // 24 + LIVES_DAYS + 1) * 24 - 13


@dataclass
class Points:
    """A lot."""

    number: int
    left: int
    available: int
    ends: int
    waits: bool
    sequence: int = 0
    expired: int = 0

    @property
    def place(self) -> tuple[int, int]:
        return self.ends, self.number


@dataclass
class Held:
    """A hold, or what was spent by one: what it has out of which lots."""

    expires: int
    taken: list[tuple[Points, int]]
    state: str = "open"

    @property
    def points(self) -> int:
        return sum(points for _, points in self.taken)


@dataclass
class Model:
    """One member's books at `hour`."""

    hour: int = 0
    debt: int = 0
    earned: int = 0
    reversed: int = 0
    spent: int = 0
    expired: int = 0
    lots: list[Points] = field(default_factory=list)
    holds: dict[str, Held] = field(default_factory=dict)
    bought: dict[str, Points] = field(default_factory=dict)
    given: list[tuple[int, int]] = field(default_factory=list)

    @property
    def available(self) -> int:
        return sum(lot.left for lot in self.lots if not lot.waits)

    @property
    def held(self) -> int:
        return sum(each.points for each in self.holds.values() if each.state == "open")

    def holds_of(self, lot: Points) -> bool:
        open_ = [each for each in self.holds.values() if each.state == "open"]
        return any(taken is lot for each in open_ for taken, _ in each.taken)

    @property
    def dated(self) -> list[Points]:
        """Lots that the service has a number for."""
        return [lot for lot in self.lots if lot.sequence]

    def add(self, points: int, *, waits: bool, sequence: int = 0, earns: bool = True) -> Points:
        begins = self.hour + (WAITS if waits else 0)
        lot = Points(len(self.lots), points, begins, end_of(begins), waits, sequence)
        self.lots.append(lot)
        self.earned += points * earns
        if not waits:
            self.repay(lot, points)
        return lot

    def repay(self, lot: Points, most: int) -> int:
        repaid = min(self.debt, most)
        self.debt -= repaid
        lot.left -= repaid
        return repaid

    def pass_to(self, hour: int) -> None:
        """Hour by hour: what waited becomes available, and what ends goes."""
        while self.hour < hour:
            self.hour += 1
            for lot in self.lots:
                if lot.waits and lot.available <= self.hour:
                    lot.waits = False
                    self.repay(lot, lot.left)
            self.end()

    def end(self) -> None:
        for lot in self.lots:
            if lot.ends <= self.hour and not lot.waits:
                self.expired += lot.left
                lot.expired += lot.left
                lot.left = 0

    def take(self, points: int, first: Points | None = None) -> list[tuple[Points, int]]:
        lots = sorted((lot for lot in self.lots if not lot.waits), key=lambda lot: lot.place)
        taken = []
        for lot in [first, *lots] if first else lots:
            part = min(points, lot.left)
            if part:
                lot.left -= part
                points -= part
                taken.append((lot, part))
        return taken

    def part(self, held: Held, keep: int) -> None:
        """Keep what is to be used first; the rest goes back, repays debt, and may end at once."""
        kept, back = [], []
        for lot, points in sorted(held.taken, key=lambda each: each[0].place):
            stays = min(keep, points)
            keep -= stays
            if stays:
                kept.append((lot, stays))
            if points > stays:
                back.append((lot, points - stays))
        held.taken = kept
        for lot, points in back:
            lot.left += points
        for lot, points in back:
            self.repay(lot, points)
        self.end()


class DatedLedger(Stories):
    """Runs a story against the service and the model."""

    def __init__(self) -> None:
        super().__init__()
        self.member = f"m-{self.stories}"
        self.model = Model()
        self.steps = 0
        # Every story begins at noon, so that the model can count in hours.
        now = self.node.clock.now()
        noon = now.replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)
        self.node.clock.advance(noon)
        self.noon = noon
        self.other = f"{self.member}-other"
        self.run(self.node.record(purchase(self.name("start"), self.member, occurred=noon)))
        self.run(self.node.enroll(self.other))

    def name(self, what: str) -> str:
        self.steps += 1
        return f"{self.member}-{what}-{self.steps}"

    @rule(points=st.integers(1, 50))
    def buy(self, points: int) -> None:
        name, now = self.name("a"), self.node.clock.now()
        lines = [(1, points * 100)]
        self.run(self.node.record(purchase(name, self.member, lines, occurred=now)))
        self.model.bought[name] = self.model.add(points, waits=True)

    @rule(points=st.integers(1, 50))
    def credit(self, points: int) -> None:
        entry = self.run(self.node.credit(points, self.member, self.name("c")))
        self.model.add(points, waits=False, sequence=entry.sequence)

    @rule(points=st.integers(-50, 50).filter(bool))
    def adjust(self, points: int) -> None:
        work = self.node.adjust(points, self.member)
        if -points > self.model.available:
            with pytest.raises(InsufficientPoints):
                self.run(work)
            return
        adjusted = self.run(work)
        if points > 0:
            self.model.add(points, waits=False, sequence=adjusted.entry_sequence, earns=False)
        else:
            self.model.take(-points)

    @rule(points=st.integers(1, 60))
    def give(self, points: int) -> None:
        work = self.node.transfer(points, self.member, self.other)
        if points > self.model.available:
            with pytest.raises(InsufficientPoints):
                self.run(work)
            return
        self.run(work)
        self.model.given += [(lot.ends, part) for lot, part in self.model.take(points)]

    @precondition(lambda self: self.model.dated)
    @rule(data=st.data(), hours=st.integers(0, 100))
    def extend(self, data: st.DataObject, hours: int) -> None:
        lot = self.model.dated[data.draw(st.integers(0, len(self.model.dated) - 1))]
        until = self.model.hour + hours
        work = self.node.extend(lot.sequence, self.noon + timedelta(hours=until), self.member)
        has_points = lot.left or (self.model.holds_of(lot) and lot.ends > self.model.hour)
        if hours == 0 or (has_points and until <= lot.ends):
            with pytest.raises(ExpiryNotLater):
                self.run(work)
        elif not has_points:
            with pytest.raises(LotNotFound):
                self.run(work)
        else:
            self.run(work)
            lot.ends = until

    @precondition(lambda self: self.model.dated)
    @rule(data=st.data(), points=st.integers(0, 60), hours=st.integers(0, 100))
    def reinstate(self, data: st.DataObject, points: int, hours: int) -> None:
        lot = self.model.dated[data.draw(st.integers(0, len(self.model.dated) - 1))]
        until = self.model.hour + hours
        end = self.noon + timedelta(hours=until)
        work = self.node.reinstate(lot.sequence, points, end, self.member)
        if not lot.expired or points > lot.expired:
            with pytest.raises(ReinstateExceedsExpired):
                self.run(work)
        elif hours == 0 or (lot.left and until < lot.ends):
            with pytest.raises(ExpiryNotLater):
                self.run(work)
        else:
            self.run(work)
            back = points or lot.expired
            lot.expired -= back
            self.model.expired -= back
            lot.left += back
            lot.ends = until
            self.model.repay(lot, back)

    @precondition(lambda self: any(lot.waits for lot in self.model.bought.values()))
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        waiting = [name for name, lot in self.model.bought.items() if lot.waits]
        name = data.draw(st.sampled_from(sorted(waiting)))
        self.run(self.node.confirm(name))
        lot = self.model.bought[name]
        lot.waits, lot.available, lot.ends = False, self.model.hour, end_of(self.model.hour)
        self.model.repay(lot, lot.left)

    @precondition(lambda self: self.model.bought)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.bought)))
        lot = self.model.bought.pop(name)
        reversal = self.run(self.node.reverse(order(self.name("v"), name)))
        taken = sum(points for _, points in self.model.take(reversal.points, lot))
        self.model.debt += reversal.points - taken
        self.model.reversed += reversal.points
        assert reversal.owed == reversal.points - taken

    @rule(points=st.integers(1, 60))
    def hold(self, points: int) -> None:
        seconds = HOLD_HOURS * 3_600
        work = self.node.hold(points, self.member, seconds=seconds, request_id=self.name("h"))
        if points > self.model.available:
            with pytest.raises(InsufficientPoints):
                self.run(work)
            return
        hold_id = self.run(work).hold_id
        taken = self.model.take(points)
        self.model.holds[hold_id] = Held(self.model.hour + HOLD_HOURS, taken)

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data())
    def capture(self, data: st.DataObject) -> None:
        hold_id = data.draw(st.sampled_from(sorted(self.model.holds)))
        held = self.model.holds[hold_id]
        points = data.draw(st.integers(1, max(1, held.points)))
        if held.state != "open":
            with pytest.raises(HoldClosed):
                self.run(self.node.capture(hold_id, points))
            return
        self.run(self.node.capture(hold_id, points))
        held.state = "captured"
        self.model.spent += points
        self.model.part(held, points)

    @precondition(lambda self: any(h.state == "open" for h in self.model.holds.values()))
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        open_ = [name for name, each in self.model.holds.items() if each.state == "open"]
        hold_id = data.draw(st.sampled_from(sorted(open_)))
        self.run(self.node.void(hold_id))
        self.model.holds[hold_id].state = "voided"
        self.model.part(self.model.holds[hold_id], 0)

    @precondition(
        lambda self: any(h.state == "captured" and h.points for h in self.model.holds.values())
    )
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        spent = [
            name
            for name, each in self.model.holds.items()
            if each.state == "captured" and each.points
        ]
        hold_id = data.draw(st.sampled_from(sorted(spent)))
        held = self.model.holds[hold_id]
        points = data.draw(st.integers(1, held.points))
        self.run(self.node.refund(hold_id, points))
        self.model.spent -= points
        self.model.part(held, held.points - points)

    @rule(hours=st.integers(1, 40), looks=st.booleans())
    def time_goes_by(self, *, hours: int, looks: bool) -> None:
        """Holds are always ended by their job; whether the other one looks is the story's."""
        until = self.model.hour + hours
        while self.model.hour < until:
            due = [each.expires for each in self.model.holds.values() if each.state == "open"]
            step = min([until, *due])
            self.run(self.node.advance(hours=step - self.model.hour))
            self.model.pass_to(step)
            self.run(self.node.expire_holds.run())
            for _, held in sorted(self.model.holds.items()):
                if held.state == "open" and held.expires <= step:
                    held.state = "expired"
                    self.model.part(held, 0)
        if looks:
            self.run(self.node.settle())

    @invariant()
    def wallet_is_what_the_model_says(self) -> None:
        wallet = self.run(self.node.wallet(self.member))
        model = self.model
        assert (wallet.available, wallet.debt) == (model.available, model.debt)
        assert wallet.pending == sum(lot.left for lot in model.lots if lot.waits)
        assert (wallet.held, wallet.spent) == (model.held, model.spent)
        assert (wallet.earned, wallet.reversed) == (model.earned, model.reversed)
        assert wallet.expired == model.expired
        other = self.run(self.node.wallet(self.other))
        assert other.available == sum(part for ends, part in model.given if ends > model.hour)


async def test_every_story_in_time_on_sqlite_ends_as_the_model_says(sqlite_url: str) -> None:
    assert await told(DatedLedger, sqlite_url, examples=40, policies={POINTS: POLICY}) >= 40


async def test_every_story_in_time_on_postgresql_ends_as_the_model_says(postgres_url: str) -> None:
    assert await told(DatedLedger, postgres_url, examples=8, policies={POINTS: POLICY}) >= 8
