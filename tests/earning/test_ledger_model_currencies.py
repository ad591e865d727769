"""Two currencies whose points end later, come back, and go along when members become one.

Each member has a purse of each currency, a list of lots as in the model of mergers; the model knows
no entry, no job and no hash, and shares no code with the service. A lot's number, which a call
names it by, is read from the entries: the n-th entry that made a lot made the model's n-th.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import member_service_pb2 as members_pb
from guerdon.earning.v1 import points_service_pb2 as points_pb
from services.earning import wire, wire_members, wire_points
from services.earning.domain import CurrencyId, Entry, MemberId, ProgramId
from services.earning.expiry import AfterDays, CurrencyPolicy
from services.earning.refusals import InsufficientPoints
from services.earning.refusals_points import (
    BelowConversionMinimum,
    ConversionNotWhole,
    ExpiryNotLater,
    LotNotFound,
    ReinstateExceedsExpired,
)
from tests.earning import test_ledger_model_merging as merging
from tests.earning.nodes import PROGRAM, order, purchase, stamp
from tests.earning.stories import Stories, told
from tests.earning.test_ledger_model_time import POINTS, POLICY, WAITS, end_of

MILES = CurrencyId("miles")
BOTH = (POINTS, MILES)
MILES_DAYS = 1
EACH = {POINTS: 1, MILES: 2}
"""What a pound brings of each."""

POLICIES = {
    POINTS: POLICY,
    MILES: CurrencyPolicy(
        currency_id=MILES, zone=ZoneInfo("UTC"), expiry=AfterDays(days=MILES_DAYS)
    ),
}
CURRENCIES = [{"currency_id": each} for each in BOTH]
RATES = {(POINTS, MILES): (3, 2), (MILES, POINTS): (1, 4)}
LEAST = 4
"""The fewest miles that become points."""
CONVERSIONS = [
    {
        "conversion_id": f"to-{to}",
        "from_currency_id": of,
        "to_currency_id": to,
        "numerator": numerator,
        "denominator": denominator,
        "min_points": LEAST * (of == MILES),
    }
    for (of, to), (numerator, denominator) in RATES.items()
]
RULES = [
    {
        "rule_id": f"base-{each}",
        "currency_id": each,
        "base": {"points": EACH[each], "per_amount_minor": 100},
    }
    for each in BOTH
]


def miles_end(hour: int) -> int:
    """When miles end that come at an hour of the story, which begins at noon."""
    return ((12 + hour) // 24 + MILES_DAYS + 1) * 24 - 12


@dataclass(eq=False)
class Person:
    """A member with a purse of each currency."""

    name: str
    purses: dict[CurrencyId, merging.Someone]
    is_now: "Person | None" = None

    @property
    def now(self) -> "Person":
        return self.is_now.now if self.is_now else self

    def get(self, currency_id: CurrencyId, points: int, hour: int, *, of: str = "") -> None:
        waits = bool(of) and currency_id == POINTS
        begins = hour + WAITS * waits
        ends = end_of(begins) if currency_id == POINTS else miles_end(begins)
        self.purses[currency_id].add(merging.Lot(0, points, begins, ends, waits, of))

    def give_back(self, currency_id: CurrencyId, points: int, of: str) -> int:
        """How much of it is owed."""
        purse = self.purses[currency_id]
        owed = points - sum(part for _, part in purse.take(points, of))
        purse.debt += owed
        return owed


class TwoCurrencies(Stories):
    """Runs a story against the service and the model."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.hour = 0
        self.bought: dict[str, tuple[Person, int]] = {}
        # Every story begins at noon, so that the model can count in hours.
        now = self.node.clock.now()
        self.noon = now.replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)
        self.node.clock.advance(self.noon)
        self.people = [self.person(self.name(each)) for each in ("ann", "bob", "cara")]
        for each in self.people:
            self.run(self.node.enroll(each.name))

    def person(self, name: str) -> Person:
        return Person(name, {each: merging.Someone(name) for each in BOTH})

    def name(self, what: str) -> str:
        self.steps += 1
        return f"c{self.stories}-{what}-{self.steps}"

    def someone(self, data: st.DataObject) -> Person:
        """Anybody: who was merged is meant by the old name too."""
        return data.draw(st.sampled_from(self.people))

    def at(self, hour: int) -> datetime:
        return self.noon + timedelta(hours=hour)

    def lots(self) -> Iterator[tuple[Person, CurrencyId, merging.Lot]]:
        for who in self.people:
            for currency_id, purse in who.purses.items():
                for lot in purse.lots:
                    yield who, currency_id, lot

    def sequence(self, who: Person, currency_id: CurrencyId, lot: merging.Lot) -> int:
        made = [
            each.sequence
            for each in self.entries(who, currency_id)
            if each.lot_sequence == each.sequence
        ]
        assert len(made) == len(who.purses[currency_id].lots)
        return made[lot.number]

    def entries(self, who: Person, currency_id: CurrencyId) -> list[Entry]:
        page = self.run(
            self.node.queries.entries(
                ProgramId(PROGRAM),
                MemberId(who.name),
                currency_id,
                page_size=1_000,
                page_token="",
            )
        )
        return sorted(page.entries, key=lambda each: each.sequence)

    @rule(data=st.data(), pounds=st.integers(1, 30))
    def buy(self, data: st.DataObject, pounds: int) -> None:
        who, name = self.someone(data), self.name("a")
        lines = [(1, pounds * 100)]
        now = self.node.clock.now()
        self.run(self.node.record(purchase(name, who.name, lines, occurred=now)))
        for currency_id, each in EACH.items():
            who.now.get(currency_id, pounds * each, self.hour, of=name)
        self.bought[name] = who, pounds

    @precondition(lambda self: self.bought)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.bought)))
        who, pounds = self.bought.pop(name)
        reversal = self.run(self.node.reverse(order(self.name("v"), name)))
        owed = {each: who.now.give_back(each, pounds * EACH[each], name) for each in BOTH}
        assert (reversal.points, reversal.owed) == (pounds, owed[POINTS])
        (further,) = reversal.further
        assert (further.currency_id, further.points) == (MILES, pounds * EACH[MILES])
        assert further.owed == owed[MILES]

    @rule(data=st.data(), currency_id=st.sampled_from(BOTH), points=st.integers(1, 30))
    def credit(self, data: st.DataObject, currency_id: CurrencyId, points: int) -> None:
        who = self.someone(data)
        request = pb.CreditPointsRequest(
            request_id=self.name("c"),
            program_id=PROGRAM,
            member_id=who.name,
            currency_id=currency_id,
            points=points,
        )
        self.run(self.node.answer(wire.credit_from_proto(request)))
        who.now.get(currency_id, points, self.hour)

    @rule(data=st.data(), of=st.sampled_from(BOTH), points=st.integers(1, 24))
    def convert(self, data: st.DataObject, of: CurrencyId, points: int) -> None:
        who = self.someone(data)
        (to,) = set(BOTH) - {of}
        numerator, denominator = RATES[of, to]
        work = self.node.convert(points, of, to, who.name)
        source = who.now.purses[of]
        if of == MILES and points < LEAST:
            with pytest.raises(BelowConversionMinimum):
                self.run(work)
        elif points * numerator % denominator:
            with pytest.raises(ConversionNotWhole):
                self.run(work)
        elif points > source.available:
            with pytest.raises(InsufficientPoints):
                self.run(work)
        else:
            given, debt = points * numerator // denominator, who.now.purses[to].debt
            done = self.run(work)
            assert (done.given, done.repaid) == (given, min(given, debt))
            source.take(points)
            who.now.get(to, given, self.hour)

    @precondition(lambda self: any(self.lots()))
    @rule(data=st.data(), hours=st.integers(0, 100))
    def extend(self, data: st.DataObject, hours: int) -> None:
        who, currency_id, lot = data.draw(st.sampled_from(list(self.lots())))
        until = self.hour + hours
        request = points_pb.ExtendPointsRequest(
            request_id=self.name("x"),
            program_id=PROGRAM,
            member_id=who.name,
            currency_id=currency_id,
            lot_sequence=self.sequence(who, currency_id, lot),
            expire_time=stamp(self.at(until)),
            actor="dora",
            reason="ill",
        )
        work = self.node.answer(wire_points.extend_from_proto(request))
        if hours == 0 or (lot.left and until <= lot.ends):
            with pytest.raises(ExpiryNotLater):
                self.run(work)
        elif not lot.left:
            with pytest.raises(LotNotFound):
                self.run(work)
        else:
            self.run(work)
            lot.ends = until

    @precondition(lambda self: any(lot.expired for _, _, lot in self.lots()))
    @rule(data=st.data(), points=st.integers(0, 10), hours=st.integers(0, 100))
    def reinstate(self, data: st.DataObject, points: int, hours: int) -> None:
        ended = [each for each in self.lots() if each[2].expired]
        who, currency_id, lot = data.draw(st.sampled_from(ended))
        until = self.hour + hours
        request = points_pb.ReinstatePointsRequest(
            request_id=self.name("y"),
            program_id=PROGRAM,
            member_id=who.name,
            currency_id=currency_id,
            lot_sequence=self.sequence(who, currency_id, lot),
            points=points,
            expire_time=stamp(self.at(until)),
            actor="dora",
            reason="ill",
        )
        work = self.node.answer(wire_points.reinstate_from_proto(request))
        if points > lot.expired:
            with pytest.raises(ReinstateExceedsExpired):
                self.run(work)
        elif hours == 0 or (lot.left and until < lot.ends):
            with pytest.raises(ExpiryNotLater):
                self.run(work)
        else:
            self.run(work)
            back = points or lot.expired
            lot.expired -= back
            lot.left += back
            lot.ends = until
            who.purses[currency_id].repay(lot)

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
        for currency_id, purse in source.purses.items():
            purse.end_in(target.purses[currency_id])
        source.is_now = target

    @rule(hours=st.sampled_from((1, 24, 60)), looks=st.booleans())
    def time_goes_by(self, *, hours: int, looks: bool) -> None:
        """Whether the job looks meanwhile is the story's; what is due is booked at its instant."""
        for _ in range(hours):
            self.hour += 1
            for who in self.people:
                for purse in who.purses.values():
                    purse.pass_to(self.hour)
        self.run(self.node.advance(hours=hours))
        if looks:
            self.run(self.node.settle())

    @invariant()
    def wallets_are_what_the_model_says(self) -> None:
        for who in self.people:
            if who.is_now is not None:
                continue
            for currency_id, purse in who.purses.items():
                now = self.run(
                    self.node.queries.wallet(ProgramId(PROGRAM), MemberId(who.name), currency_id)
                )
                waits = sum(lot.left for lot in purse.lots if lot.waits)
                numbers = now.wallet.available, now.wallet.pending, now.wallet.debt
                assert numbers == (purse.available, waits, purse.debt), currency_id


async def told_here(url: str, *, examples: int, steps: int) -> int:
    return await told(
        TwoCurrencies,
        url,
        examples=examples,
        steps=steps,
        policies=POLICIES,
        currencies=CURRENCIES,
        conversions=CONVERSIONS,
        rules=RULES,
    )


async def test_every_story_of_two_currencies_on_sqlite_ends_as_the_model_says(
    sqlite_url: str,
) -> None:
    assert await told_here(sqlite_url, examples=25, steps=50) >= 25


async def test_every_story_of_two_currencies_on_postgresql_ends_as_the_model_says(
    postgres_url: str,
) -> None:
    assert await told_here(postgres_url, examples=8, steps=25) >= 8
