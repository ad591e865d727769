"""Points that wait and end, while members become one: against a small model.

Each member has a list of lots; the model knows no entry, no job and no hash, and shares no code
with the service. A return takes its purchase's own points first, wherever a merge has taken them,
also while they wait; it may come before its purchase. What is given away, or goes with a merge,
keeps its end.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from guerdon.earning.v1 import member_service_pb2 as members_pb
from services.earning import wire_members
from services.earning.refusals import InsufficientPoints
from tests.earning.nodes import PROGRAM, order, purchase
from tests.earning.stories import Stories, told
from tests.earning.test_ledger_model_time import POINTS, POLICY, WAITS, end_of

T = TypeVar("T")


@dataclass
class Lot:
    """Points that came together: of which purchase, when they are available and when they end."""

    number: int
    left: int
    available: int
    ends: int
    waits: bool
    of: str = ""
    expired: int = 0


@dataclass(eq=False)
class Someone:
    """A member; one that was merged has nothing, and `is_now` says who has it."""

    name: str
    lots: list[Lot] = field(default_factory=list)
    debt: int = 0
    is_now: "Someone | None" = None

    @property
    def now(self) -> "Someone":
        return self.is_now.now if self.is_now else self

    @property
    def available(self) -> int:
        return sum(lot.left for lot in self.lots if not lot.waits)

    def repay(self, lot: Lot) -> None:
        repaid = min(self.debt, lot.left)
        self.debt -= repaid
        lot.left -= repaid

    def take(self, points: int, of: str = "") -> list[tuple[Lot, int]]:
        """The purchase's own lots first, waiting ones too; then what ends first."""
        free = sorted(
            (lot for lot in self.lots if not lot.waits), key=lambda lot: (lot.ends, lot.number)
        )
        own = [lot for lot in self.lots if of and lot.of == of]
        taken = []
        for lot in [*own, *free]:
            part = min(points, lot.left)
            if part:
                lot.left -= part
                points -= part
                taken.append((lot, part))
        return taken

    def get(self, points: int, hour: int, *, of: str = "", waits: bool = False) -> None:
        begins = hour + WAITS * waits
        self.add(Lot(0, points, begins, end_of(begins), waits, of))

    def add(self, lot: Lot) -> None:
        lot.number = len(self.lots)
        self.lots.append(lot)
        if not lot.waits:
            self.repay(lot)

    def pass_to(self, hour: int) -> None:
        """What waited becomes available, and what ends goes; all of it at that hour."""
        for lot in self.lots:
            if lot.waits and lot.available <= hour:
                lot.waits = False
                self.repay(lot)
            if lot.ends <= hour:
                lot.expired += lot.left
                lot.left = 0

    def end_in(self, target: "Someone") -> None:
        """What is owed goes first, then the points, those that end first before the others."""
        owed, self.debt = self.debt, 0
        target.debt += owed - sum(part for _, part in target.take(min(owed, target.available)))
        for lot in sorted(self.lots, key=lambda lot: (lot.ends, lot.number)):
            if lot.left:
                target.add(Lot(0, lot.left, lot.available, lot.ends, lot.waits, lot.of))
        self.lots, self.is_now = [], target


class MergedInTime(Stories):
    """Runs a story against the service and the model."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.hour = 0
        self.bought: dict[str, tuple[Someone, int]] = {}
        self.returned: list[str] = []
        # Every story begins at noon, so that the model can count in hours.
        now = self.node.clock.now()
        noon = now.replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)
        self.node.clock.advance(noon)
        self.people = [Someone(self.name(each)) for each in ("ann", "bob", "cara")]
        for each in self.people:
            self.run(self.node.enroll(each.name))

    def name(self, what: str) -> str:
        self.steps += 1
        return f"t{self.stories}-{what}-{self.steps}"

    def someone(self, data: st.DataObject) -> Someone:
        """Anybody: who was merged is meant by the old name too."""
        return data.draw(st.sampled_from(self.people))

    def records(self, name: str, who: Someone, points: int) -> None:
        now = self.node.clock.now()
        lines = [(1, points * 100)]
        self.run(self.node.record(purchase(name, who.name, lines, occurred=now)))

    @rule(data=st.data(), points=st.integers(1, 30))
    def buy(self, data: st.DataObject, points: int) -> None:
        who, name = self.someone(data), self.name("a")
        self.records(name, who, points)
        who.now.get(points, self.hour, of=name, waits=True)
        self.bought[name] = who, points

    @precondition(lambda self: self.bought)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.bought)))
        who, points = self.bought.pop(name)
        reversal = self.run(self.node.reverse(order(self.name("v"), name)))
        taken = sum(part for _, part in who.now.take(points, name))
        who.now.debt += points - taken
        assert (reversal.points, reversal.owed) == (points, points - taken)

    @rule()
    def give_back_before(self) -> None:
        name = self.name("a")
        waiting = self.run(self.node.reverse(order(self.name("v"), name)))
        assert waiting.state == "waiting"
        self.returned.append(name)

    @precondition(lambda self: self.returned)
    @rule(data=st.data(), points=st.integers(1, 30))
    def buy_what_came_back(self, data: st.DataObject, points: int) -> None:
        """Whoever it is by now: it comes to nothing."""
        self.records(self.returned.pop(0), self.someone(data), points)

    @rule(data=st.data(), points=st.integers(1, 30))
    def credit(self, data: st.DataObject, points: int) -> None:
        who = self.someone(data)
        self.run(self.node.credit(points, who.name))
        who.now.get(points, self.hour)

    @rule(data=st.data(), points=st.integers(1, 40))
    def give(self, data: st.DataObject, points: int) -> None:
        who, to = self.someone(data), self.someone(data)
        if who.now is to.now:
            return
        work = self.node.transfer(points, who.name, to.name)
        if points > who.now.available:
            with pytest.raises(InsufficientPoints):
                self.run(work)
            return
        self.run(work)
        for lot, part in who.now.take(points):
            to.now.add(Lot(0, part, lot.available, lot.ends, waits=False, of=lot.of))

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        """What waits becomes available before its time, whoever has it by then."""
        name = data.draw(st.sampled_from(self.waiting()))
        self.run(self.node.confirm(name))
        who = self.bought[name][0].now
        (lot,) = [lot for lot in who.lots if lot.of == name and lot.waits]
        lot.waits, lot.available, lot.ends = False, self.hour, end_of(self.hour)
        who.repay(lot)

    def waiting(self) -> list[str]:
        return sorted(
            name
            for name, (who, _) in self.bought.items()
            if any(lot.of == name and lot.waits for lot in who.now.lots)
        )

    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        source, target = self.someone(data).now, self.someone(data).now
        if source is target:
            return
        request = members_pb.MergeMembersRequest(
            request_id=self.name("m"),
            program_id=PROGRAM,
            source_member_id=source.name,
            target_member_id=target.name,
        )
        self.run(self.node.answer(wire_members.command_from_proto(request)))
        source.end_in(target)

    @rule(data=st.data(), points=st.integers(1, 30))
    def claim_card(self, data: st.DataObject, points: int) -> None:
        """A card that earned without a name brings points that wait."""
        who, card, name = self.someone(data), Someone(self.name("card")), self.name("a")
        self.records(name, card, points)
        card.get(points, self.hour, of=name, waits=True)
        self.bought[name] = card, points
        request = members_pb.ClaimCardRequest(
            request_id=self.name("k"), program_id=PROGRAM, member_id=who.name, card_id=card.name
        )
        self.run(self.node.answer(wire_members.command_from_proto(request)))
        card.end_in(who.now)

    @rule(hours=st.sampled_from((1, 12, 24, 60)), looks=st.booleans())
    def time_goes_by(self, *, hours: int, looks: bool) -> None:
        """Whether the job looks meanwhile is the story's; what is due is booked at its instant."""
        for _ in range(hours):
            self.hour += 1
            for each in self.people:
                each.pass_to(self.hour)
        self.run(self.node.advance(hours=hours))
        if looks:
            self.run(self.node.settle())

    @invariant()
    def wallets_are_what_the_model_says(self) -> None:
        for who in self.people:
            wallet = self.run(self.node.wallet(who.name))
            now = who.now
            if who.is_now is None:
                waits = sum(lot.left for lot in now.lots if lot.waits)
                assert (wallet.available, wallet.pending, wallet.debt) == (
                    now.available,
                    waits,
                    now.debt,
                )


async def test_every_story_of_mergers_in_time_on_sqlite_ends_as_the_model_says(
    sqlite_url: str,
) -> None:
    told_here = await told(MergedInTime, sqlite_url, examples=30, policies={POINTS: POLICY})
    assert told_here >= 30


async def test_every_story_of_mergers_in_time_on_postgresql_ends_as_the_model_says(
    postgres_url: str,
) -> None:
    told_here = await told(MergedInTime, postgres_url, examples=8, policies={POINTS: POLICY})
    assert told_here >= 8
