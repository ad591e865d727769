"""A ledger to test with: earning's write path and reads on a real database, without a server."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from guerdon.earning.v1 import activity_pb2, program_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import points_service_pb2 as points_pb
from services.earning import documents, program, tables, wire, wire_points
from services.earning.audit import Violation
from services.earning.commands import Command, KeepLevel
from services.earning.documents import Documents
from services.earning.domain import (
    CurrencyId,
    Entry,
    Hold,
    LevelFrom,
    LevelId,
    MemberId,
    MemberKey,
    ProgramId,
    Reversal,
    Wallet,
)
from services.earning.events import Recorded
from services.earning.expiry import CurrencyPolicy
from services.earning.jobs import ExpireHolds, SettleWallets
from services.earning.jobs_seals import SealDays
from services.earning.operations import EarningWork
from services.earning.points_records import Adjustment, Converted, Extended, Transferred
from services.earning.queries import Queries, WalletNow
from services.earning.rules import Program
from services.earning.verification import Verification
from shared import feed_log
from shared.batches import Executor
from shared.clock import SimulatedClock
from shared.database import Database
from shared.group_commit import GroupCommit
from shared.ids import SeededIds, partition_of
from shared.programs import Programs
from shared.work import Result, partition_of_item
from tests.conftest import open_database

START = datetime.fromisoformat("2025-06-01T12:00:00+00:00")
PROGRAM = "shop"
PARTITIONS = 16
ACTIVITY_DAY = 1

SHOP: dict[str, object] = {
    "program_id": PROGRAM,
    "time_zone": "Europe/London",
    "currencies": [{"currency_id": "points"}],
    "money_currency_code": "GBP",
    "multiplier_policy": "MULTIPLIER_POLICY_MULTIPLY",
    "enroll_unknown_members": True,
    "tier_ladder_id": "main",
    "rules": [
        {
            "rule_id": "base",
            "activity_types": ["purchase"],
            "line_condition": 'line.category == "" || line.category == "product"',
            "base": {"points": 1, "per_amount_minor": 100},
        },
        {
            "rule_id": "paid",
            "condition": "activity.lines.size() == 0 && has(activity.payment)",
            "base": {"points": 1, "per_amount_minor": 100},
        },
        {
            "rule_id": "silver",
            "condition": 'tier == "silver"',
            "multiplier": {"numerator": 3, "denominator": 2},
        },
        {"rule_id": "visit", "activity_types": ["visit"], "flat": {"points": 30}},
    ],
}


def document(**changes: object) -> program_pb2.EarningProgram:
    return json_format.ParseDict({**SHOP, **changes}, program_pb2.EarningProgram())


def stamp(instant: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(instant)
    return made


def purchase(
    activity_id: str,
    member_id: str = "ann",
    lines: Sequence[tuple[int, int]] = (),
    *,
    amount: int | None = None,
    occurred: datetime = START,
    type_: str = "purchase",
    receipt: str = "",
    category: str = "product",
) -> activity_pb2.Activity:
    """Lines are pairs of quantity and amount."""
    made = activity_pb2.Activity(
        activity_id=activity_id,
        member_id=member_id,
        type=type_,
        occurred_time=stamp(occurred),
        source="till",
        external_reference=receipt,
        lines=[
            activity_pb2.LineItem(
                sku=f"s{number}", category=category, quantity=quantity, amount_minor=each
            )
            for number, (quantity, each) in enumerate(lines, start=1)
        ],
    )
    if amount is not None:
        made.payment.amount_minor = amount
        made.payment.currency_code = "GBP"
    return made


def order(
    reversal_id: str,
    activity_id: str,
    *,
    lines: Sequence[tuple[int, int]] = (),
    amount: int = 0,
    occurred: datetime = START,
) -> pb.ReversalOrder:
    """Lines are pairs of number and quantity; without lines and amount the whole is reversed."""
    made = pb.ReversalOrder(
        reversal_id=reversal_id, activity_id=activity_id, occurred_time=stamp(occurred)
    )
    if lines:
        for number, quantity in lines:
            made.lines.lines.add(line_number=number, quantity=quantity)
    elif amount:
        made.amount.amount_minor = amount
    else:
        made.whole.SetInParent()
    return made


Policies = dict[CurrencyId, CurrencyPolicy]


class Node:
    """One process of earning.

    `policies`, if there are any, stand in for those of the document, and may be changed on the way.
    """

    def __init__(
        self,
        database: Database,
        clock: SimulatedClock,
        seed: int = 1,
        policies: Policies | None = None,
    ) -> None:
        self.database = database
        self.clock = clock
        self.ids = SeededIds(seed)
        self.policies = policies

        def parse(program_id: str, version: int, content: bytes) -> Program:
            parsed = program.parse(program_id, version, content)
            return parsed if policies is None else replace(parsed, currencies=policies)

        programs: documents.EarningPrograms = Programs(
            tables.kernel, parse, partitions=PARTITIONS, sources=(documents.SOURCE,)
        )
        self.work = EarningWork(programs, self.ids)
        self.executor = Executor(
            database=database,
            work=self.work,
            clock=clock,
            service="earning",
            partitions=PARTITIONS,
            tables=tables.kernel,
        )
        self.group_commit = GroupCommit(
            self.executor.execute,
            route=lambda item: partition_of_item(item, PARTITIONS),
            lanes_max=3 if database.dialect == "postgresql" else 1,
            service="earning",
            ids=self.ids,
        )
        self.queries = Queries(database, programs, self.work, clock)
        self.programs = programs
        self.documents = Documents(database, programs, clock)
        self.verification = Verification(database, programs)
        self.expire_holds = ExpireHolds(database, self.group_commit, clock)
        self.settle_wallets = SettleWallets(database, self.group_commit, clock)
        self.seal_days = SealDays(database, programs, clock)

    def request_id(self) -> str:
        return f"r-{self.ids.new()}"

    async def apply(self, **changes: object) -> None:
        await self.documents.apply(
            document(**changes), author="test", etag="", validate_only=False, prune=True
        )

    async def answer(self, command: Command) -> object:
        """The answer of a command; raises its refusal."""
        return (await self.group_commit.submit(command)).answer

    async def results(self, commands: Sequence[Command]) -> list[Result]:
        return await self.group_commit.submit_many(commands)

    async def record(self, activity: activity_pb2.Activity) -> Recorded:
        return cast("Recorded", await self.answer(wire.record_from_proto(PROGRAM, activity)))

    async def reverse(self, made: pb.ReversalOrder) -> Reversal:
        return cast("Reversal", await self.answer(wire.reverse_from_proto(PROGRAM, made)))

    async def credit(self, points: int, member_id: str = "ann", request_id: str = "") -> Entry:
        request = pb.CreditPointsRequest(
            request_id=request_id or self.request_id(),
            program_id=PROGRAM,
            member_id=member_id,
            points=points,
            reason="a gift",
        )
        return cast("Entry", await self.answer(wire.credit_from_proto(request)))

    async def hold(
        self,
        points: int,
        member_id: str = "ann",
        *,
        seconds: int = 900,
        request_id: str = "",
    ) -> Hold:
        request = pb.HoldPointsRequest(
            request_id=request_id or self.request_id(),
            program_id=PROGRAM,
            member_id=member_id,
            points=points,
        )
        request.hold_duration.FromSeconds(seconds)
        command = wire.hold_from_proto(request, self.ids.new())
        return cast("Hold", await self.answer(command))

    async def capture(self, hold_id: str, points: int = 0) -> Hold:
        request = pb.CaptureHoldRequest(
            request_id=self.request_id(), program_id=PROGRAM, hold_id=hold_id, points=points
        )
        return cast("Hold", await self.answer(wire.capture_from_proto(request)))

    async def enroll(self, member_id: str) -> None:
        request = pb.EnrollMemberRequest(
            request_id=self.request_id(), program_id=PROGRAM, member_id=member_id
        )
        await self.answer(wire.enroll_from_proto(request))

    async def transfer(self, points: int, from_: str, to: str) -> Transferred:
        request = points_pb.TransferPointsRequest(
            request_id=self.request_id(),
            program_id=PROGRAM,
            from_member_id=from_,
            to_member_id=to,
            points=points,
        )
        return cast("Transferred", await self.answer(wire_points.transfer_from_proto(request)))

    async def convert(self, points: int, of: str, to: str, member_id: str = "ann") -> Converted:
        request = points_pb.ConvertPointsRequest(
            request_id=self.request_id(),
            program_id=PROGRAM,
            member_id=member_id,
            from_currency_id=of,
            to_currency_id=to,
            points=points,
        )
        return cast("Converted", await self.answer(wire_points.convert_from_proto(request)))

    async def adjust(self, points: int, member_id: str = "ann") -> Adjustment:
        request = points_pb.AdjustPointsRequest(
            request_id=self.request_id(),
            program_id=PROGRAM,
            member_id=member_id,
            points=points,
            actor="cara",
            reason="a late parcel",
        )
        command = wire_points.adjust_from_proto(request, self.ids.new())
        return cast("Adjustment", await self.answer(command))

    async def extend(self, lot: int, until: datetime, member_id: str = "ann") -> Extended:
        request = points_pb.ExtendPointsRequest(
            request_id=self.request_id(),
            program_id=PROGRAM,
            member_id=member_id,
            lot_sequence=lot,
            expire_time=stamp(until),
            actor="cara",
            reason="ill",
        )
        return cast("Extended", await self.answer(wire_points.extend_from_proto(request)))

    async def reinstate(
        self, lot: int, points: int, until: datetime, member_id: str = "ann"
    ) -> Entry:
        request = points_pb.ReinstatePointsRequest(
            request_id=self.request_id(),
            program_id=PROGRAM,
            member_id=member_id,
            lot_sequence=lot,
            points=points,
            expire_time=stamp(until),
            actor="cara",
            reason="ill",
        )
        return cast("Entry", await self.answer(wire_points.reinstate_from_proto(request)))

    async def void(self, hold_id: str) -> Hold:
        request = pb.VoidHoldRequest(
            request_id=self.request_id(), program_id=PROGRAM, hold_id=hold_id
        )
        return cast("Hold", await self.answer(wire.void_from_proto(request)))

    async def confirm(self, activity_id: str, request_id: str = "") -> Entry:
        request = pb.ConfirmActivityRequest(
            request_id=request_id or self.request_id(), program_id=PROGRAM, activity_id=activity_id
        )
        return cast("Entry", await self.answer(wire.confirm_from_proto(request)))

    async def settle(self) -> int:
        """Run the job until nothing is due; how many wallets it settled."""
        done = 0
        while await self.settle_wallets.due():
            done += await self.settle_wallets.run()
        return done

    async def seal(self) -> int:
        """Run the job until no day is due; how many pieces it took."""
        pieces = 0
        while await self.seal_days.due():
            pieces += bool(await self.seal_days.run())
        return pieces

    async def refund(self, hold_id: str, points: int = 0) -> Hold:
        request = pb.RefundCaptureRequest(
            request_id=self.request_id(), program_id=PROGRAM, hold_id=hold_id, points=points
        )
        return cast("Hold", await self.answer(wire.refund_from_proto(request)))

    async def wallet(self, member_id: str = "ann") -> Wallet:
        return (await self.wallet_now(member_id)).wallet

    async def wallet_now(self, member_id: str = "ann") -> WalletNow:
        return await self.queries.wallet(ProgramId(PROGRAM), MemberId(member_id), CurrencyId(""))

    async def entries(self, member_id: str = "ann") -> list[Entry]:
        page = await self.queries.entries(
            ProgramId(PROGRAM),
            MemberId(member_id),
            CurrencyId(""),
            page_size=1_000,
            page_token="",
        )
        return list(page.entries)

    async def keep_level(self, member_key: str, level_id: str, effective: datetime) -> None:
        command = KeepLevel(
            program_id=ProgramId(PROGRAM),
            member_key=MemberKey(member_key),
            ladder_id="main",
            level=LevelFrom(effective_time=effective, level_id=LevelId(level_id)),
            level_rank=1,
        )
        await self.answer(command)

    async def verify(self) -> list[Violation]:
        found: list[Violation] = []
        async for progress in self.verification.run(""):
            found += progress.violations
        return found

    async def advance(self, **parts: float) -> None:
        self.clock.advance(self.clock.now() + timedelta(**parts))


async def prepared(database: Database, policies: Policies | None = None) -> Node:
    """A node on a database without rows, with the program `shop`."""
    await feed_log.open_feed(database, tables.kernel, partitions=PARTITIONS, incarnation="test")
    node = Node(database, SimulatedClock(START), policies=policies)
    await node.apply()
    return node


@asynccontextmanager
async def opened(database: Database, policies: Policies | None = None) -> AsyncIterator[Node]:
    node = await prepared(database, policies)
    yield node
    await node.group_commit.close()


@asynccontextmanager
async def beside(database: Database) -> AsyncIterator[Node]:
    """Another process on a database that has one already."""
    other = await open_database(database.url)
    node = Node(other, SimulatedClock(START), seed=2)
    yield node
    await node.group_commit.close()
    await other.dispose()


def partition(member_key: str) -> int:
    return partition_of(member_key, PARTITIONS)
