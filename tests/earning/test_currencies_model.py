"""Two currencies in one program come out as in two programs that have one of them each.

The same story is told to all three: what happened, what was sent back, spent, given, and how time
went by. After each step the wallets are the same, and whatever one refuses the other refuses.
"""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from services.earning import wire
from services.earning.commands import Command
from services.earning.domain import CurrencyId, Hold, MemberId, ProgramId, Reversal, Wallet
from services.earning.events import Recorded
from shared import errors
from tests.conftest import open_database
from tests.earning.nodes import Node, order, prepared, purchase

T = TypeVar("T")
Step = tuple[str, int, int]

CURRENCIES: dict[str, dict[str, object]] = {
    "points": {
        "currency_id": "points",
        "expiry": {"sliding_months": 1},
        "pending_duration": "86400s",
    },
    "miles": {"currency_id": "miles", "expiry": {"after_days": 20}, "carry_remainder": True},
}
RULES: dict[str, list[dict[str, object]]] = {
    "points": [
        {"rule_id": "base", "base": {"points": 1, "per_amount_minor": 100}},
        {"rule_id": "tenth", "nth": {"every": 3}, "multiplier": {"numerator": 3, "denominator": 2}},
        {"rule_id": "visit", "activity_types": ["visit"], "bonus": {"points": 5}},
    ],
    "miles": [
        {
            "rule_id": "mile",
            "activity_types": ["purchase"],
            "base": {"points": 3, "per_amount_minor": 700},
        },
        {
            "rule_id": "welcome",
            "activity_types": ["purchase"],
            "nth": {"number": 1},
            "bonus": {"points": 11},
            "budget_points": 500,
        },
    ],
}
CAPS: dict[str, dict[str, object]] = {
    "points": {"cap_id": "points-a-week", "period": "PERIOD_WEEK", "points": 100},
    "miles": {"cap_id": "miles-a-month", "period": "PERIOD_MONTH", "points": 50},
}
BOTH = "both"

steps = st.lists(
    st.one_of(
        st.tuples(st.just("buy"), st.integers(0, 9_000), st.integers(0, 3)),
        st.tuples(st.just("buy"), st.sampled_from((4_000, 7_000)), st.integers(0, 1)),
        st.tuples(st.just("visit"), st.integers(0, 3_000), st.just(0)),
        st.tuples(st.just("part"), st.integers(0, 5), st.integers(1, 3)),
        st.tuples(st.just("whole"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("credit"), st.integers(1, 50), st.integers(0, 1)),
        st.tuples(st.just("spend"), st.integers(1, 80), st.integers(0, 1)),
        st.tuples(st.just("wait"), st.sampled_from((1, 30, 400)), st.integers(0, 1)),
    ),
    min_size=4,
    max_size=14,
)


async def prepare(node: Node) -> None:
    await node.apply(
        program_id=BOTH,
        currencies=list(CURRENCIES.values()),
        rules=[{**each, "currency_id": name} for name, rules in RULES.items() for each in rules],
        caps=[{**cap, "currency_id": name} for name, cap in CAPS.items()],
    )
    for name, currency in CURRENCIES.items():
        await node.apply(
            program_id=name, currencies=[currency], rules=RULES[name], caps=[CAPS[name]]
        )


class Story:
    """One member's, told to the program with both currencies and to those with one."""

    def __init__(self, node: Node, member_id: str) -> None:
        self.node = node
        self.member_id = member_id
        self.bought: list[activity_pb2.Activity] = []
        self.number = 0

    def name(self) -> str:
        self.number += 1
        return f"{self.member_id}-{self.number}"

    async def step(self, step: Step) -> None:
        what, first, second = step
        match what:
            case "buy" | "visit":
                await self.record(what, first, second)
            case "part" | "whole":
                await self.give_back(what, first, second)
            case "credit":
                await self.credit(first, list(CURRENCIES)[second])
            case "spend":
                await self.spend(first, list(CURRENCIES)[second])
            case _:
                await self.node.advance(hours=first)
                if second:
                    await self.node.settle()
        for currency_id in CURRENCIES:
            both = await self.wallet(BOTH, currency_id)
            assert both == await self.wallet(currency_id, currency_id), (step, currency_id)

    async def record(self, what: str, amount: int, lines: int) -> None:
        activity = purchase(
            self.name(),
            self.member_id,
            [(number + 1, amount // (number + 2)) for number in range(lines)],
            amount=None if lines else amount,
            occurred=self.node.clock.now(),
            type_="visit" if what == "visit" else "purchase",
        )
        told = await self.told(BOTH, wire.record_from_proto(BOTH, activity))
        assert isinstance(told, Recorded)
        earned = {told.currency_id: told.points}
        earned |= {each.currency_id: each.points for each in told.further}
        for each in CURRENCIES:
            alone = await self.told(each, wire.record_from_proto(each, activity))
            assert isinstance(alone, Recorded)
            assert alone.points == earned.get(alone.currency_id, 0)
        self.bought.append(activity)

    async def give_back(self, what: str, which: int, units: int) -> None:
        if not self.bought:
            return
        activity = self.bought[which % len(self.bought)]
        name = self.name()
        made = order(name, activity.activity_id, occurred=self.node.clock.now())
        if what == "part" and activity.lines:
            made.lines.lines.add(line_number=1 + units % len(activity.lines), quantity=1)
        elif what == "part":
            made.amount.amount_minor = max(1, activity.payment.amount_minor * units // 4)
        told = await self.told(BOTH, wire.reverse_from_proto(BOTH, made))
        for each in CURRENCIES:
            alone = await self.told(each, wire.reverse_from_proto(each, made))
            assert type(alone) is type(told)
            if isinstance(alone, Reversal) and isinstance(told, Reversal):
                parts = {part.currency_id: part for part in told.further}
                if each != "points" and each not in parts:
                    assert (alone.points, alone.owed) == (0, 0)
                    continue
                of = told if each == "points" else parts[CurrencyId(each)]
                assert (alone.points, alone.owed) == (of.points, of.owed)

    async def credit(self, points: int, currency_id: str) -> None:
        request = pb.CreditPointsRequest(
            request_id=self.name(), member_id=self.member_id, points=points, currency_id=currency_id
        )
        outcomes = []
        for program_id in (BOTH, currency_id):
            request.program_id = program_id
            outcomes.append(type(await self.told(program_id, wire.credit_from_proto(request))))
        assert outcomes[0] is outcomes[1]

    async def spend(self, points: int, currency_id: str) -> None:
        request = pb.HoldPointsRequest(
            request_id=self.name(), member_id=self.member_id, points=points, currency_id=currency_id
        )
        outcomes = []
        for program_id in (BOTH, currency_id):
            request.program_id = program_id
            command = wire.hold_from_proto(request, self.node.ids.new())
            held = await self.told(program_id, command)
            outcomes.append(type(held))
            if isinstance(held, Hold):
                capture = pb.CaptureHoldRequest(
                    request_id=self.name(), program_id=program_id, hold_id=held.hold_id
                )
                await self.told(program_id, wire.capture_from_proto(capture))
        assert outcomes[0] is outcomes[1]

    async def told(self, program_id: str, command: Command) -> object:
        """The answer of a command, or its refusal."""
        assert command.program_id == program_id
        try:
            return await self.node.answer(command)
        except errors.Refusal as refusal:
            return refusal

    async def wallet(self, program_id: str, currency_id: str) -> tuple[object, ...]:
        """A wallet without its names; nothing when the member is not known yet."""
        try:
            now = await self.node.queries.wallet(
                ProgramId(program_id), MemberId(self.member_id), CurrencyId(currency_id)
            )
        except errors.MemberNotFound:
            return ()
        return (*_numbers(now.wallet), now.expiring)


def _numbers(wallet: Wallet) -> tuple[object, ...]:
    return (
        wallet.available,
        wallet.pending,
        wallet.held,
        wallet.debt,
        wallet.earned,
        wallet.spent,
        wallet.expired,
        wallet.reversed,
        wallet.sequence,
        wallet.slide_time,
        wallet.next_time,
    )


def in_a_thread(url: str, examples: int) -> int:
    """The stories run in a loop of their own, and the test's own loop is running here."""
    told = 0
    with asyncio.Runner() as runner:
        database = runner.run(open_database(url))
        node = runner.run(prepared(database))
        runner.run(prepare(node))

        def run(work: Coroutine[object, object, T]) -> T:
            return runner.run(work)

        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
        @given(steps)
        def tell(story: list[Step]) -> None:
            nonlocal told
            told += 1
            teller = Story(node, f"m{told}")
            for step in story:
                run(teller.step(step))

        tell()
        assert run(node.verify()) == []
        run(node.group_commit.close())
        run(database.dispose())
    return told


async def test_two_currencies_come_out_as_two_programs_on_sqlite(sqlite_url: str) -> None:
    assert await asyncio.to_thread(in_a_thread, sqlite_url, 80) >= 80


async def test_two_currencies_come_out_as_two_programs_on_postgresql(postgres_url: str) -> None:
    assert await asyncio.to_thread(in_a_thread, postgres_url, 10) >= 10
