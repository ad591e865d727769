"""Households against a small model: points of several members that end, are pooled, merged, spent.

The model keeps each member's lots in a list, with the hour at which they end; it shares no code
with the service. After each step every wallet is what the model says, and at the end of each story
a verification finds nothing.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import TypeVar, cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import household_service_pb2 as households_pb
from guerdon.earning.v1 import member_service_pb2 as members_pb
from services.earning import wire, wire_households, wire_members
from services.earning.commands import Command
from services.earning.domain import CurrencyId, Hold
from services.earning.expiry import AfterDays, CurrencyPolicy
from services.earning.household_records import Household, Invitation
from services.earning.refusals import HoldsOpen, InsufficientPoints
from services.earning.refusals_households import (
    AlreadyInHousehold,
    HouseholdFull,
    HouseholdsDiffer,
    NotInHousehold,
)
from shared import errors
from tests.earning.nodes import PROGRAM, order, purchase
from tests.earning.stories import Stories, told

T = TypeVar("T")
POINTS = CurrencyId("points")
HOLD_HOURS, LIVES_DAYS, MEMBERS_MAX = 5, 2, 3
POLICY = CurrencyPolicy(
    currency_id=POINTS,
    zone=ZoneInfo("Africa/Lagos"),  # an hour ahead all year: days of 24 hours
    expiry=AfterDays(days=LIVES_DAYS),
)


def end_of(hour: int) -> int:
    """When points end that are earned at an hour of the story, which begins at 13 local."""
    return ((13 + hour) // 24 + LIVES_DAYS + 1) * 24 - 13


@dataclass
class Lot:
    """Points of somebody that came together; `number` is larger for what came later."""

    owner: "Someone"
    number: int
    left: int
    earned: int
    ends: int
    name: str = ""


@dataclass
class Someone:
    """A member; whoever was merged has nothing, and `is_now` says who has it."""

    name: str
    key: str = ""
    lots: list[Lot] = field(default_factory=list)
    debt: int = 0
    spent: int = 0
    expired: int = 0
    home: str = ""
    is_now: "Someone | None" = None

    @property
    def available(self) -> int:
        return sum(lot.left for lot in self.lots)

    @property
    def now(self) -> "Someone":
        return self.is_now.now if self.is_now else self

    def repay(self) -> None:
        """Take what is owed of what is there, what ends first first."""
        for lot in sorted(self.lots, key=lambda each: (each.ends, each.number)):
            part = min(self.debt, lot.left)
            lot.left -= part
            self.debt -= part


@dataclass
class Held:
    """A hold of one member, or of a household: what it has out of which lots, in that order."""

    spender: Someone
    expires: int
    taken: list[tuple[Lot, int]]
    state: str = "open"

    def of(self, who: Someone) -> int:
        return sum(points for lot, points in self.taken if lot.owner is who)

    @property
    def points(self) -> int:
        return sum(points for _, points in self.taken)


class Households(Stories):
    """Runs a story against the service and the model."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = self.hour = self.made = 0
        self.holds: dict[str, Held] = {}
        self.homes: dict[str, list[Someone]] = {}
        self.bought: dict[str, tuple[Someone, int]] = {}
        # Every story begins at noon, so that the model can count in hours.
        now = self.node.clock.now()
        noon = now.replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)
        self.node.clock.advance(noon)
        self.people = [Someone(self.name(each)) for each in ("ann", "bob", "cara", "dan")]
        for each in self.people:
            self.run(self.node.enroll(each.name))
            each.key = self.run(self.node.wallet(each.name)).member_key
        ann, bob, *_ = self.people
        self.found(ann)
        self.joins(bob, ann.home)
        for each in self.people:
            self.run(self.node.credit(20, each.name))
            self.came(each, 20)

    def does(self, command: Command, refused: type[errors.Refusal] | None) -> object:
        """What a call answers; None if it was refused, which it must be if the model says so."""
        work = self.node.answer(command)
        if refused is None:
            return self.run(work)
        with pytest.raises(refused):
            self.run(work)
        return None

    def name(self, what: str) -> str:
        self.steps += 1
        return f"s{self.stories}-{what}-{self.steps}"

    def someone(self, data: st.DataObject) -> Someone:
        """A member that has not ended."""
        return data.draw(st.sampled_from([each for each in self.people if each.is_now is None]))

    def add(self, who: Someone, points: int, earned: int, ends: int, name: str = "") -> Lot:
        self.made += 1
        who.lots.append(Lot(who, self.made, points, earned, ends, name))
        return who.lots[-1]

    def came(self, who: Someone, points: int, name: str = "") -> None:
        """Points that come now; of those that repay debt nothing is left."""
        repaid = min(who.debt, points)
        who.debt -= repaid
        self.add(who, points - repaid, self.hour, end_of(self.hour), name)

    def end(self) -> None:
        for who in self.people:
            for lot in who.lots:
                if lot.ends <= self.hour:
                    who.expired += lot.left
                    lot.left = 0

    # What one member does ------------------------------------------------------------------------

    @rule(data=st.data(), points=st.integers(1, 30))
    def buy(self, data: st.DataObject, points: int) -> None:
        who, name = self.someone(data), self.name("a")
        now = self.node.clock.now()
        self.run(self.node.record(purchase(name, who.name, [(1, points * 100)], occurred=now)))
        self.came(who, points, name)
        self.bought[name] = who, points

    @precondition(lambda self: self.bought)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        """Its own points first, wherever a merger took them; then what ends first; then debt."""
        name = data.draw(st.sampled_from(sorted(self.bought)))
        buyer, points = self.bought.pop(name)
        self.run(self.node.reverse(order(self.name("v"), name)))
        who = buyer.now
        own = [lot for lot in who.lots if lot.name == name]
        rest = sorted(who.lots, key=lambda each: (each.ends, each.number))
        for lot in [*own, *rest]:
            part = min(points, lot.left)
            lot.left -= part
            points -= part
        who.debt += points

    @rule(data=st.data(), points=st.integers(1, 30))
    def credit(self, data: st.DataObject, points: int) -> None:
        who = self.someone(data)
        self.run(self.node.credit(points, who.name))
        self.came(who, points)

    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        source, target = self.someone(data), self.someone(data)
        if source is target:
            return
        held = any(each.of(source) for each in self.holds.values() if each.state == "open")
        differ = source.home and target.home and source.home != target.home
        request = members_pb.MergeMembersRequest(
            request_id=self.name("m"),
            program_id=PROGRAM,
            source_member_id=source.name,
            target_member_id=target.name,
        )
        refused = HoldsOpen if held else HouseholdsDiffer if differ else None
        if self.does(wire_members.command_from_proto(request), refused) is None:
            return
        target.debt += source.debt
        target.repay()
        for lot in sorted(source.lots, key=lambda each: (each.ends, each.number)):
            if lot.left:
                repaid = min(target.debt, lot.left)
                target.debt -= repaid
                self.add(target, lot.left - repaid, lot.earned, lot.ends, lot.name)
        source.lots, source.debt, source.is_now = [], 0, target
        if source.home:
            home = self.homes[source.home]
            if target.home:
                home.remove(source)
            else:
                home[home.index(source)] = target
                target.home = source.home
            source.home = ""

    # Who is in which household -------------------------------------------------------------------

    @rule(data=st.data())
    def found_household(self, data: st.DataObject) -> None:
        self.found(self.someone(data))

    def found(self, who: Someone) -> None:
        request = households_pb.CreateHouseholdRequest(
            request_id=self.name("c"), program_id=PROGRAM, member_id=who.name
        )
        command = wire_households.create_from_proto(request, self.node.ids.new())
        made = self.does(command, AlreadyInHousehold if who.home else None)
        if made is not None:
            who.home = cast("Household", made).household_id
            self.homes[who.home] = [who]

    @precondition(lambda self: any(self.homes.values()))
    @rule(data=st.data())
    def join(self, data: st.DataObject) -> None:
        home = data.draw(st.sampled_from(sorted(key for key, who in self.homes.items() if who)))
        self.joins(self.someone(data), home)

    def joins(self, who: Someone, home: str) -> None:
        request = households_pb.InviteMemberRequest(
            request_id=self.name("i"), program_id=PROGRAM, household_id=home
        )
        chance = sha256(self.name("chance").encode()).digest()
        is_full = len(self.homes[home]) == MEMBERS_MAX
        command = wire_households.invite_from_proto(request, chance)
        made = self.does(command, HouseholdFull if is_full else None)
        if made is None:
            return
        accept = households_pb.AcceptInvitationRequest(
            request_id=self.name("j"),
            program_id=PROGRAM,
            member_id=who.name,
            code=cast("Invitation", made).code,
        )
        refused = AlreadyInHousehold if who.home else None
        if self.does(wire_households.accept_from_proto(accept), refused) is not None:
            self.homes[home].append(who)
            who.home = home

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        who = self.someone(data)
        request = households_pb.LeaveHouseholdRequest(
            request_id=self.name("l"), program_id=PROGRAM, member_id=who.name
        )
        refused = None if who.home else NotInHousehold
        if self.does(wire_households.leave_from_proto(request), refused) is not None:
            self.homes[who.home].remove(who)
            who.home = ""

    # What they spend -----------------------------------------------------------------------------

    @rule(data=st.data(), points=st.integers(1, 60), pools=st.booleans())
    def hold(self, data: st.DataObject, points: int, *, pools: bool) -> None:
        who = self.someone(data)
        request = pb.HoldPointsRequest(
            request_id=self.name("h"),
            program_id=PROGRAM,
            member_id=who.name,
            points=points,
            from_household=pools,
        )
        request.hold_duration.FromSeconds(HOLD_HOURS * 3_600)
        members = self.homes[who.home] if pools and who.home else [who]
        short = points > sum(each.available for each in members)
        refused = (
            NotInHousehold if pools and not who.home else InsufficientPoints if short else None
        )
        made = self.does(wire.hold_from_proto(request, self.node.ids.new()), refused)
        if made is None:
            return
        taken = []
        for lot in sorted(
            [lot for each in members for lot in each.lots],
            key=lambda lot: (lot.ends, lot.owner is not who, lot.earned, lot.owner.key, lot.number),
        ):
            part = min(points, lot.left)
            lot.left -= part
            points -= part
            if part:
                taken.append((lot, part))
        self.holds[cast("Hold", made).hold_id] = Held(who, self.hour + HOLD_HOURS, taken)

    @precondition(lambda self: any(each.state == "open" for each in self.holds.values()))
    @rule(data=st.data(), captures=st.booleans())
    def end_hold(self, data: st.DataObject, *, captures: bool) -> None:
        open_ = sorted(name for name, each in self.holds.items() if each.state == "open")
        hold_id = data.draw(st.sampled_from(open_))
        held = self.holds[hold_id]
        points = data.draw(st.integers(1, held.points)) if captures else 0
        self.run(self.node.capture(hold_id, points) if captures else self.node.void(hold_id))
        held.state = "captured" if captures else "voided"
        self.keep(held, points)
        for lot, spent in held.taken:
            lot.owner.spent += spent

    def keep(self, held: Held, points: int) -> None:
        """Keep what was used first; what goes back repays debt, and ends if it has ended."""
        kept, back = [], []
        for lot, part in held.taken:
            stays = min(points, part)
            points -= stays
            if stays:
                kept.append((lot, stays))
            if part > stays:
                back.append((lot, part - stays))
        held.taken = kept
        for lot, part in back:
            if lot.owner.is_now is None:
                lot.left += part
            else:
                self.add(lot.owner.now, part, lot.earned, lot.ends, lot.name)
        for who in self.people:
            who.repay()
        self.end()

    @precondition(lambda self: any(h.state == "captured" and h.points for h in self.holds.values()))
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        """What a member spent that was merged since comes back to whoever goes on."""
        spent = [n for n, each in self.holds.items() if each.state == "captured" and each.points]
        hold_id = data.draw(st.sampled_from(sorted(spent)))
        held = self.holds[hold_id]
        points = data.draw(st.integers(1, held.points))
        self.run(self.node.refund(hold_id, points))
        before = {id(each): held.of(each) for each in self.people}
        self.keep(held, held.points - points)
        for each in self.people:
            each.spent -= before[id(each)] - held.of(each)

    @rule(hours=st.integers(1, 40), looks=st.booleans())
    def time_goes_by(self, *, hours: int, looks: bool) -> None:
        """Holds are always ended by their job; whether the other one looks is the story's."""
        until = self.hour + hours
        while self.hour < until:
            due = [each.expires for each in self.holds.values() if each.state == "open"]
            step = min([until, *due])
            self.run(self.node.advance(hours=step - self.hour))
            while self.hour < step:
                self.hour += 1
                self.end()
            self.run(self.node.expire_holds.run())
            for _, held in sorted(self.holds.items()):
                if held.state == "open" and held.expires <= step:
                    held.state = "expired"
                    self.keep(held, 0)
        if looks:
            self.run(self.node.settle())

    @invariant()
    def wallets_are_what_the_model_says(self) -> None:
        for who in self.people:
            if who.is_now is None:
                wallet = self.run(self.node.wallet(who.name))
                held = sum(each.of(who) for each in self.holds.values() if each.state == "open")
                assert (wallet.available, wallet.debt) == (who.available, who.debt)
                assert (wallet.held, wallet.spent) == (held, who.spent)
                assert wallet.expired == who.expired


async def told_of_households(url: str, examples: int) -> int:
    return await told(
        Households,
        url,
        examples=examples,
        steps=30,
        policies={POINTS: POLICY},
        households={"max_members": MEMBERS_MAX, "cool_off_days": 0},
    )


async def test_every_story_of_households_on_sqlite_ends_as_the_model_says(sqlite_url: str) -> None:
    assert await told_of_households(sqlite_url, 25) >= 25


async def test_every_story_of_households_on_postgresql_ends_as_the_model_says(
    postgres_url: str,
) -> None:
    assert await told_of_households(postgres_url, 8) >= 8
