"""Points that are moved by hand, as the command asks for them and shows them."""

from collections.abc import Awaitable, Sequence
from typing import TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Group, RenderableType
from rich.text import Text

from cli import explaining, instants, pages, programs
from cli.peers import Peers
from guerdon.earning.v1 import earning_service_pb2 as earning_pb
from guerdon.earning.v1 import ledger_pb2, points_pb2
from guerdon.earning.v1 import points_service_pb2 as pb
from shared.rpc import client

Adjustment: TypeAlias = points_pb2.Adjustment
Conversion: TypeAlias = points_pb2.Conversion
Transfer: TypeAlias = points_pb2.Transfer
Entry: TypeAlias = ledger_pb2.Entry

_STATES = {
    Adjustment.STATE_AWAITING_APPROVAL: "waits for approval",
    Adjustment.STATE_BOOKED: "booked",
    Adjustment.STATE_REJECTED: "rejected",
}
_LISTED = "`guerdon explain PROGRAM MEMBER` lists the entries of a wallet, and the lots they made"
_NEXT = {
    "PROGRAM_NOT_FOUND": "name one that is applied with --program",
    "MEMBER_NOT_FOUND": "`guerdon points adjust --enroll` enrols one",
    "CURRENCY_NOT_FOUND": "name one of the program with --currency, or none for its first",
    "INSUFFICIENT_POINTS": "name fewer points",
    "SAME_MEMBER": "name two members",
    "CONVERSION_NOT_OFFERED": "`conversions` of the program's earning file lists what is",
    "BELOW_CONVERSION_MINIMUM": "name more points",
    "CONVERSION_NOT_WHOLE": "name such a multiple",
    "SAME_ACTOR": "somebody else has to do it: say who with --actor",
    "ADJUSTMENT_NOT_FOUND": "`guerdon points adjustments` lists those that wait",
    "ADJUSTMENT_CLOSED": "`guerdon points adjustments --all` shows what became of it",
    "LOT_NOT_FOUND": _LISTED,
    "EXPIRY_NOT_LATER": "name a later end with --until",
    "REINSTATE_EXCEEDS_EXPIRED": "name fewer points, or none for all that have ended",
    "IDEMPOTENCY_KEY_REUSED": "give a new --request-id, or none",
}

T = TypeVar("T")


class PointsRefused(Exception):
    """A refusal with what to do about it."""


async def answered(asked: Awaitable[T]) -> T:
    """The answer of a call; raises PointsRefused for a refusal of which it is known what helps."""
    try:
        return await asked
    except grpc.aio.AioRpcError as error:
        refusal = client.refusal_of(error)
        if refusal.reason not in _NEXT:
            raise
        raise PointsRefused(f"{refusal.reason}: {refusal}; {_NEXT[refusal.reason]}") from error


async def enroll(peers: Peers, program_id: str, member_id: str, request_id: str) -> None:
    """Enrol a member, unless the program knows it already."""
    request = earning_pb.EnrollMemberRequest(
        request_id=request_id, program_id=program_id, member_id=member_id
    )
    try:
        await peers.earning.EnrollMember(request)
    except grpc.aio.AioRpcError as error:
        if client.refusal_of(error).reason != "MEMBER_ALREADY_EXISTS":
            raise


async def end(peers: Peers, program_id: str, text: str) -> Timestamp:
    """An instant as people write it, in the program's zone; raises instants.NotAnInstant."""
    documents: Sequence[Message] = [
        each.document for each in await programs.live(peers, program_id)
    ]
    stamp = instants.stamp(instants.parse(text, instants.zone_of(documents)))
    if stamp is None:
        raise instants.NotAnInstant("no end is named: write it as 2026-12-24T00:00")
    return stamp


async def adjustments(peers: Peers, program_id: str, *, all_of_them: bool) -> list[Adjustment]:
    """Adjustments that wait for approval, or those in any state; the newest thousand."""
    state = Adjustment.STATE_UNSPECIFIED if all_of_them else Adjustment.STATE_AWAITING_APPROVAL
    request = pb.ListAdjustmentsRequest(program_id=program_id, state=state, page_size=1_000)
    return list((await answered(peers.points.ListAdjustments(request))).adjustments)


def adjustments_table(found: Sequence[Adjustment]) -> RenderableType:
    """What was asked for, by whom and why, and what became of it."""
    if not found:
        return Text("No adjustment.")
    table = pages.headed("adjustment", "member", "points", "asked by", "reason", "state")
    # Whole in a narrow terminal as well: it is what `approve` is given.
    table.columns[0].min_width = max(len(each.adjustment_id) for each in found)
    for each in found:
        state = _STATES.get(each.state, "")
        by = f" by {each.decider}" if each.decider else ""
        because = f": {each.rejection_reason}" if each.rejection_reason else ""
        pages.add_row(
            table,
            each.adjustment_id,
            each.member_id,
            f"{each.points:+,} {each.currency_id}",
            each.actor,
            each.reason,
            f"{state}{by}{because}",
        )
    return table


def adjusted(found: Adjustment) -> RenderableType:
    """An adjustment, and how to approve one that waits."""
    table = adjustments_table([found])
    if found.state != Adjustment.STATE_AWAITING_APPROVAL:
        return table
    return Group(table, Text(f"`guerdon points approve {found.adjustment_id}` by somebody else."))


def transfer_page(found: Transfer) -> RenderableType:
    """A transfer, lot by lot."""
    title = f"{found.points:,} {found.currency_id}: {found.from_member_id} to {found.to_member_id}"
    table = pages.headed("points", "until", "entry", "entry of the other", title=title)
    for lot in found.lots:
        until = instants.text(lot.expire_time) if lot.HasField("expire_time") else "for ever"
        pages.add_row(table, f"{lot.points:,}", until, str(lot.from_sequence), str(lot.to_sequence))
    return table


def conversion_page(found: Conversion) -> RenderableType:
    """What was given up, what came of it, and how long that lives."""
    table = pages.headed("points", "entry", title=f"{found.member_id}, {found.reason}".rstrip(", "))
    until = instants.text(found.expire_time) if found.HasField("expire_time") else ""
    for points, currency_id, entry in (
        (-found.points_taken, found.from_currency_id, found.from_sequence),
        (found.points_given, found.to_currency_id, found.to_sequence),
    ):
        pages.add_row(table, f"{points:+,} {currency_id}", str(entry))
    rate = f"At {found.numerator:,} for {found.denominator:,}"
    repaid = f", {found.points_repaid:,} of them repaid debt" if found.points_repaid else ""
    return Group(table, Text(f"{rate}{repaid}{f', until {until}' if until else ''}."))


def entries_page(found: Sequence[Entry], *, has_more: bool = False) -> RenderableType:
    """Entries that were booked, and whether there is more to do."""
    if not found:
        return Text("Nothing ends that early: nothing was booked.")
    listed = explaining.entries_table(found)
    return Group(listed, Text("There are more: say it again.")) if has_more else listed
