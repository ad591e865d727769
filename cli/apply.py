"""Applies a program folder: shows the difference, then applies it, service by service."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, cast

import grpc
from google.protobuf.message import Message

from cli import instants, programs
from cli.documents import BadDocuments, Complaint, Document, levels_missing
from cli.peers import Peers
from guerdon.earning.v1 import earning_service_pb2 as earning_pb
from guerdon.earning.v1.program_pb2 import EarningProgram
from guerdon.feed.v1 import program_document_pb2 as pb
from guerdon.gamification.v1 import gamification_service_pb2 as gamification_pb
from guerdon.gamification.v1.program_pb2 import GamificationProgram
from guerdon.redemption.v1 import redemption_service_pb2 as redemption_pb
from guerdon.redemption.v1.reward_pb2 import RedemptionProgram
from guerdon.tiers.v1 import tiers_service_pb2 as tiers_pb
from guerdon.tiers.v1.program_pb2 import TiersProgram
from shared.rpc import client


class HasApplied(Protocol):
    """A response of an Apply… method."""

    @property
    def applied(self) -> pb.AppliedDocument:
        """What was, or would be, applied."""


Call = Callable[[Message, pb.ApplyOptions], Awaitable[HasApplied]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What was, or would be, applied to one service."""

    document: Document
    version: int
    etag: str
    differences: tuple[pb.Difference, ...]
    scheduled: pb.ProgramVersion | None = None


async def apply(
    peers: Peers,
    documents: Sequence[Document],
    *,
    author: str,
    validate_only: bool = False,
    prune: bool = False,
    publish_time: datetime | None = None,
    cancel_scheduled: bool = False,
    confirm: Callable[[Sequence[Applied]], bool] = lambda _: True,
) -> list[Applied]:
    """Validate all documents, then apply those that differ.

    Raises BadDocuments with every complaint of every service before anything is changed; `confirm`
    sees the differences and may say no. A change that somebody else made in between is refused by
    its etag. With `publish_time` the versions come into force then.
    """
    calls = _calls(peers)
    planned: list[Applied] = []
    complaints = await _of_levels(peers, documents)
    for document in documents:
        options = pb.ApplyOptions(
            author=author,
            validate_only=True,
            prune=prune,
            publish_time=instants.stamp(publish_time),
        )
        try:
            planned.append(await _call(calls, document, options))
        except BadDocuments as bad:
            complaints += bad.complaints
    if complaints:
        raise BadDocuments(complaints)
    if validate_only or not confirm(planned):
        return planned
    done: list[Applied] = []
    for plan in planned:
        options = pb.ApplyOptions(
            author=author,
            etag=plan.etag,
            prune=prune,
            publish_time=instants.stamp(publish_time),
            cancel_scheduled=cancel_scheduled,
        )
        is_called = plan.differences or (cancel_scheduled and plan.scheduled is not None)
        done.append(await _call(calls, plan.document, options) if is_called else plan)
    return done


async def _of_levels(peers: Peers, documents: Sequence[Document]) -> list[Complaint]:
    """What earning says of levels that the tiers in force do not have, where none are beside it."""
    by = {document.service: document for document in documents}
    earning = by.get("earning")
    if earning is None or "tiers" in by:
        return []
    program = cast(EarningProgram, earning.message)
    if not program.tier_ladder_id:
        return []
    request = tiers_pb.GetTiersProgramRequest(program_id=program.program_id)
    try:
        in_force = (await peers.tiers.GetTiersProgram(request)).version.program
    except grpc.aio.AioRpcError as error:
        programs.if_unknown(error)
        return []
    return list(levels_missing(earning, in_force, "the tiers in force have"))


async def _call(calls: Mapping[str, Call], document: Document, options: pb.ApplyOptions) -> Applied:
    try:
        answer = await calls[document.service](document.message, options)
    except grpc.aio.AioRpcError as error:
        refusal = client.refusal_of(error)
        if not refusal.violations:
            raise
        found = [document.complaint(each.field, each.description) for each in refusal.violations]
        raise BadDocuments(sorted(found, key=lambda each: each.line)) from error
    return Applied(
        document=document,
        version=answer.applied.version,
        etag=answer.applied.etag,
        differences=tuple(answer.applied.differences),
        scheduled=answer.applied.scheduled if answer.applied.HasField("scheduled") else None,
    )


def _calls(peers: Peers) -> Mapping[str, Call]:
    async def earning(program: Message, options: pb.ApplyOptions) -> HasApplied:
        return await peers.earning.ApplyEarningProgram(
            earning_pb.ApplyEarningProgramRequest(
                program=cast(EarningProgram, program), options=options
            )
        )

    async def tiers(program: Message, options: pb.ApplyOptions) -> HasApplied:
        return await peers.tiers.ApplyTiersProgram(
            tiers_pb.ApplyTiersProgramRequest(program=cast(TiersProgram, program), options=options)
        )

    async def redemption(program: Message, options: pb.ApplyOptions) -> HasApplied:
        return await peers.redemption.ApplyRedemptionProgram(
            redemption_pb.ApplyRedemptionProgramRequest(
                program=cast(RedemptionProgram, program), options=options
            )
        )

    async def gamification(program: Message, options: pb.ApplyOptions) -> HasApplied:
        return await peers.gamification.ApplyGamificationProgram(
            gamification_pb.ApplyGamificationProgramRequest(
                program=cast(GamificationProgram, program), options=options
            )
        )

    return {
        "earning": earning,
        "tiers": tiers,
        "redemption": redemption,
        "gamification": gamification,
    }
