"""Replays an invoice file through the API.

A day at a time, on the simulated clock, quiet between days.

Every document carries its own number as idempotency key, so a replay that was killed is simply run
again: what is recorded already is answered from the stored record.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2

from cli import quiescence
from cli.peers import Peers
from cli.retail import SHOP_ZONE, Document, Purchase, Replayable, Return
from guerdon.clock.v1 import clock_service_pb2 as clock_pb
from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import earning_service_pb2 as earning_pb
from shared.rpc import client

if TYPE_CHECKING:
    from guerdon.clock.v1.clock_service_pb2_grpc import ClockServiceAsyncStub

ACTIVITY_TYPE = "purchase"
CURRENCY_CODE = "GBP"
BATCH_MAX = 1_000


class ReplayRefused(Exception):
    """The services refused documents; lists them."""

    def __init__(self, refused: Sequence["RefusedDocument"]) -> None:
        self.refused = tuple(refused)
        super().__init__(f"{len(self.refused)} documents were refused")


class ClockNotSimulated(Exception):
    """The cluster runs on the system's clock, which a replay cannot move."""

    def __str__(self) -> str:
        return (
            "a replay needs a cluster on the simulated clock: start it with "
            "`guerdon up --clock-start 2010-12-01T00:00:00Z`"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedDocument:
    """A document that was refused, and why."""

    number: str
    reason: str
    message: str


@dataclass(slots=True, kw_only=True)
class Sent:
    """What a replay has sent so far, and whom it has enrolled, in order."""

    purchases: int = 0
    returns: int = 0
    customers: dict[str, None] = field(default_factory=dict)
    refused: list[RefusedDocument] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """Something to do once: at the end of the last day with documents before `before`."""

    before: datetime
    run: Callable[[Sequence[str]], Awaitable[None]]


async def replay(
    peers: Peers,
    program_id: str,
    file: Replayable,
    *,
    errands: Sequence[Errand] = (),
    on_day: Callable[[int], None] = lambda _: None,
) -> Sent:
    """Send every document; raises ReplayRefused at the end of a day on which some were refused.

    `errands` get the customers who are members by then; `on_day` is told how many documents each
    day sent.
    """
    sent = Sent()
    waiting = sorted(errands, key=lambda errand: errand.before)
    days = list(file.days())
    for index, day in enumerate(days):
        await advance_clocks(peers, day[-1].occurred_time)
        for run in _runs(day):
            await _send(peers, program_id, run, sent)
        if sent.refused:
            raise ReplayRefused(sent.refused)
        await quiescence.wait(peers)
        following = days[index + 1][0].occurred_time if index + 1 < len(days) else None
        while waiting and (following is None or following >= waiting[0].before):
            await waiting.pop(0).run(tuple(sent.customers))
            await quiescence.wait(peers)
        on_day(len(day))
    return sent


async def advance_clocks(peers: Peers, to: datetime) -> None:
    """Move the simulated clock of every service forward to an instant; one that is later stays."""
    target = Timestamp()
    target.FromDatetime(to)
    await asyncio.gather(*(_advance(clock, to, target) for clock in peers.clocks.values()))


async def _advance(clock: "ClockServiceAsyncStub", to: datetime, target: Timestamp) -> None:
    present = await clock.GetClock(clock_pb.GetClockRequest())
    if not present.simulated:
        raise ClockNotSimulated
    if present.now.ToDatetime(tzinfo=UTC) < to:
        await clock.AdvanceClock(clock_pb.AdvanceClockRequest(to=target))


def next_midnight(instant: datetime) -> datetime:
    """The first instant of the shop's next day."""
    local = instant.astimezone(SHOP_ZONE)
    return datetime.combine(
        local.date() + timedelta(days=1), datetime.min.time(), tzinfo=SHOP_ZONE
    ).astimezone(UTC)


def _runs(day: Sequence[Document]) -> Iterator[list[Document]]:
    """The documents of a day in order, in runs of one kind that fit one call."""
    for _, group in groupby(day, key=type):
        run = list(group)
        for start in range(0, len(run), BATCH_MAX):
            yield run[start : start + BATCH_MAX]


async def _send(peers: Peers, program_id: str, run: Sequence[Document], sent: Sent) -> None:
    purchases = [document for document in run if isinstance(document, Purchase)]
    returns = [document for document in run if isinstance(document, Return)]
    if purchases:
        recorded = await peers.earning.BatchRecordActivities(
            earning_pb.BatchRecordActivitiesRequest(
                program_id=program_id, activities=map(activity_of, purchases)
            )
        )
        outcomes = [
            result.refused if result.HasField("refused") else None for result in recorded.results
        ]
        _note(sent, [purchase.invoice for purchase in purchases], outcomes)
        sent.purchases += len(purchases)
        sent.customers.update(dict.fromkeys(purchase.customer for purchase in purchases))
    if returns:
        reversed_ = await peers.earning.BatchReverseActivities(
            earning_pb.BatchReverseActivitiesRequest(
                program_id=program_id, orders=map(order_of, returns)
            )
        )
        outcomes = [
            result.refused if result.HasField("refused") else None for result in reversed_.results
        ]
        _note(sent, [document.reversal_id for document in returns], outcomes)
        sent.returns += len(returns)


def _note(sent: Sent, numbers: Sequence[str], outcomes: Sequence[status_pb2.Status | None]) -> None:
    for number, status in zip(numbers, outcomes, strict=True):
        if status is not None:
            refusal = client.refusal_of_status(status)
            sent.refused.append(
                RefusedDocument(number=number, reason=refusal.reason, message=str(refusal))
            )


def activity_of(purchase: Purchase) -> activity_pb2.Activity:
    """A purchase as the API's activity."""
    activity = activity_pb2.Activity(
        activity_id=purchase.invoice,
        member_id=purchase.customer,
        type=ACTIVITY_TYPE,
        payment=activity_pb2.Payment(
            amount_minor=purchase.amount_minor, currency_code=CURRENCY_CODE
        ),
        lines=[
            activity_pb2.LineItem(
                sku=line.sku,
                category=line.category,
                quantity=line.quantity,
                amount_minor=line.amount_minor,
            )
            for line in purchase.lines
        ],
    )
    activity.occurred_time.FromDatetime(purchase.occurred_time)
    return activity


def order_of(document: Return) -> earning_pb.ReversalOrder:
    """A return as the API's order to reverse."""
    order = earning_pb.ReversalOrder(
        reversal_id=document.reversal_id,
        activity_id=document.invoice,
        lines=earning_pb.ReturnedLines(
            lines=[
                earning_pb.ReturnedLine(line_number=number, quantity=units)
                for number, units in document.units
            ]
        ),
    )
    order.occurred_time.FromDatetime(document.occurred_time)
    return order
