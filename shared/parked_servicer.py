"""Serves what could not be applied to an operator: `guerdon.feed.v1.ParkedService`."""

from dataclasses import dataclass
from typing import TypeAlias

import grpc

from guerdon.feed.v1 import feed_service_pb2, parked_service_pb2_grpc
from guerdon.feed.v1 import parked_service_pb2 as pb
from shared import errors
from shared.database import Database
from shared.parked import Parked, ParkedMember

_PAGE_SIZE = 100

_ListContext: TypeAlias = grpc.aio.ServicerContext[
    pb.ListParkedMembersRequest, pb.ListParkedMembersResponse
]
_RetryContext: TypeAlias = grpc.aio.ServicerContext[
    pb.RetryParkedMemberRequest, pb.RetryParkedMemberResponse
]


@dataclass(eq=False, repr=False, kw_only=True)
class SourceNotFollowed(errors.InvalidArgument):
    """The service does not follow that one."""

    message = "{source} is not followed here, only {followed}"
    source: str
    followed: str
    field: str = "source"


class ParkedServicer(parked_service_pb2_grpc.ParkedServiceServicer):
    """Lists the members whose events wait in one service, and tries them again."""

    def __init__(self, database: Database, parked: Parked) -> None:
        self._database = database
        self._parked = parked

    async def ListParkedMembers(
        self, request: pb.ListParkedMembersRequest, context: _ListContext
    ) -> pb.ListParkedMembersResponse:
        """List the members that wait, those that wait longest first."""
        del context
        async with self._database.reading() as tx:
            members = await self._parked.members(tx, limit=request.page_size or _PAGE_SIZE)
        return pb.ListParkedMembersResponse(members=[_member(each) for each in members])

    async def RetryParkedMember(
        self, request: pb.RetryParkedMemberRequest, context: _RetryContext
    ) -> pb.RetryParkedMemberResponse:
        """Apply what waits of one member, until nothing is left or an event fails again."""
        del context
        followed = self._parked.sources
        if request.source not in followed:
            raise SourceNotFollowed(
                source=request.source, followed=", ".join(followed) or "no service"
            )
        retried = await self._parked.retry(request.source, request.member_key)
        return pb.RetryParkedMemberResponse(
            applied=retried.applied, waiting=retried.waiting, error=retried.error
        )


def _member(parked: ParkedMember) -> pb.ParkedMember:
    return pb.ParkedMember(
        source=parked.source,
        partition=parked.partition,
        member_key=parked.member_key,
        events=parked.events,
        error=parked.error,
        attempts=parked.attempts,
        event=feed_service_pb2.Event.FromString(parked.event),
    )
