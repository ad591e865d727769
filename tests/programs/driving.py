"""Driving a program that comes along through the public API."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

from cli import apply, cluster, documents
from cli.peers import Peers, connected
from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb

PROGRAMS = Path(__file__).resolve().parents[2] / "programs"
SHANGHAI = ZoneInfo("Asia/Shanghai")
_numbers = count(1)


@asynccontextmanager
async def running(folder: Path, *names: str) -> AsyncIterator[Peers]:
    """A running cluster with programs, in the middle of 2026."""
    async with (
        cluster.running(folder, clock_start="2026-06-30T04:00:00Z") as started,
        connected(started.addresses) as reached,
    ):
        for name in names:
            await apply.apply(reached, documents.load(PROGRAMS / name), author="test")
        yield reached


def at(text: str, zone: ZoneInfo = SHANGHAI) -> datetime:
    """A moment on the wall clock of a zone."""
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def activity(
    member: str,
    amount: float,
    *,
    when: datetime,
    kind: str = "purchase",
    currency: str = "CNY",
    lines: Sequence[tuple[str, float]] = (),
    paid_in_points: float = 0,
    source: str = "shop",
    receipt: str = "",
    name: str = "",
) -> activity_pb2.Activity:
    """A purchase; lines are pairs of category and amount, all amounts in whole units of money."""
    made = activity_pb2.Activity(
        activity_id=name or f"a-{next(_numbers)}",
        member_id=member,
        type=kind,
        source=source,
        external_reference=receipt,
        lines=[
            activity_pb2.LineItem(
                sku=category, category=category, quantity=1, amount_minor=round(each * 100)
            )
            for category, each in lines
        ],
    )
    made.occurred_time.FromDatetime(when)
    if kind == "purchase":
        made.payment.amount_minor = round(amount * 100)
        made.payment.currency_code = currency
        made.payment.paid_in_points_minor = round(paid_in_points * 100)
    return made


async def earned(peers: Peers, program: str, *activities: activity_pb2.Activity) -> list[int]:
    """Points of activities that are recorded one after the other."""
    points = []
    for each in activities:
        request = pb.RecordActivityRequest(program_id=program, activity=each)
        points.append((await peers.earning.RecordActivity(request)).record.points)
    return points


async def available(peers: Peers, program: str, member: str) -> int:
    request = pb.GetWalletRequest(program_id=program, member_id=member)
    return (await peers.earning.GetWallet(request)).wallet.points_available
