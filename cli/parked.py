"""Members whom a service could not follow, as a command shows them."""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf import json_format
from rich.console import RenderableType
from rich.text import Text

from cli import pages
from cli.peers import Peers
from guerdon.feed.v1 import parked_service_pb2 as pb

_MEMBERS_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A member that waits in a service."""

    service: str
    member: pb.ParkedMember


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """What came of another try: how many events were applied, how many still wait, and why."""

    service: str
    source: str
    member_key: str
    applied: int
    waiting: int
    error: str


async def listed(peers: Peers, *, service: str = "", member_key: str = "") -> list[Waiting]:
    """The members that wait, of all services or one, those that wait longest first in each."""
    request = pb.ListParkedMembersRequest(page_size=_MEMBERS_MAX)
    return [
        Waiting(service=name, member=each)
        for name, stub in peers.parked.items()
        if service in ("", name)
        for each in (await stub.ListParkedMembers(request)).members
        if member_key in ("", each.member_key)
    ]


async def retried(peers: Peers, waiting: Sequence[Waiting]) -> list[Retried]:
    """Apply what waits of these members, one after the other."""
    done = []
    for each in waiting:
        member = each.member
        request = pb.RetryParkedMemberRequest(source=member.source, member_key=member.member_key)
        answer = await peers.parked[each.service].RetryParkedMember(request)
        done.append(
            Retried(
                service=each.service,
                source=member.source,
                member_key=member.member_key,
                applied=answer.applied,
                waiting=answer.waiting,
                error=answer.error,
            )
        )
    return done


def content(waiting: Waiting) -> dict[str, object]:
    """A member that waits, for programs: of its event the type, but not what may be unreadable."""
    member = pb.ParkedMember()
    member.CopyFrom(waiting.member)
    type_ = member.event.payload.type_url.rpartition("/")[2]
    member.event.ClearField("payload")
    told = json_format.MessageToDict(member)
    return {"service": waiting.service, **told, "event": {**told["event"], "type": type_}}


def table(found: Sequence[Waiting]) -> RenderableType:
    """Who waits where, since which event, and why."""
    if not found:
        return Text("No member waits.")
    made = pages.headed("service", "follows", "member", "events", "tried", "error")
    made.columns[2].min_width = max(len(each.member.member_key) for each in found)
    for each in found:
        member = each.member
        pages.add_row(
            made,
            each.service,
            member.source,
            member.member_key,
            f"{member.events:,}",
            f"{member.attempts:,}",
            member.error,
        )
    return made


def results(done: Sequence[Retried]) -> RenderableType:
    """What came of another try, by member."""
    if not done:
        return Text("No member waits.")
    made = pages.headed("service", "member", "applied", "still waiting", "error")
    made.columns[1].min_width = max(len(each.member_key) for each in done)
    for each in done:
        pages.add_row(
            made,
            each.service,
            each.member_key,
            f"{each.applied:,}",
            f"{each.waiting:,}",
            each.error,
        )
    return made
