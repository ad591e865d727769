"""Runs the verification of every service and gathers what is violated."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

import grpc

from cli import programs
from cli.peers import Peers
from guerdon.earning.v1 import earning_service_pb2 as earning_pb
from guerdon.feed.v1 import verification_pb2 as pb
from guerdon.gamification.v1 import gamification_service_pb2 as gamification_pb
from guerdon.redemption.v1 import redemption_service_pb2 as redemption_pb
from guerdon.tiers.v1 import tiers_service_pb2 as tiers_pb

VERIFY_SECONDS_MAX = 3600.0


class HasProgress(Protocol):
    """A message of a Verify… stream."""

    @property
    def progress(self) -> pb.VerificationProgress:
        """How far the verification is, and what it found since the last message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """Something that must hold and does not, and the service that found it."""

    service: str
    rule: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """How far one stage of one service's verification is."""

    service: str
    name: str
    done: int
    total: int


async def verify(
    peers: Peers, program_id: str = "", *, on_stage: Callable[[Stage], None] = lambda _: None
) -> list[Violation]:
    """Verify all services, one after the other; an empty `program_id` means all programs.

    A service that has nothing of the program is passed over; raises AioRpcError when none has.
    """
    found: list[Violation] = []
    unknown: list[grpc.aio.AioRpcError] = []
    streams = _streams(peers, program_id)
    for service, stream in streams.items():
        try:
            async for message in stream:
                found += _heard(service, message.progress, on_stage)
        except grpc.aio.AioRpcError as error:
            unknown.append(programs.if_unknown(error))
    if len(unknown) == len(streams):
        raise unknown[0]
    return found


def _heard(
    service: str, progress: pb.VerificationProgress, on_stage: Callable[[Stage], None]
) -> list[Violation]:
    on_stage(Stage(service=service, name=progress.stage, done=progress.done, total=progress.total))
    return [
        Violation(
            service=service,
            rule=violation.rule,
            subject=violation.subject,
            detail=violation.detail,
        )
        for violation in progress.violations
    ]


def _streams(peers: Peers, program_id: str) -> dict[str, AsyncIterator[HasProgress]]:
    seconds = VERIFY_SECONDS_MAX
    return {
        "earning": aiter(
            peers.earning.VerifyLedger(
                earning_pb.VerifyLedgerRequest(program_id=program_id), timeout=seconds
            )
        ),
        "tiers": aiter(
            peers.tiers.VerifyTiers(
                tiers_pb.VerifyTiersRequest(program_id=program_id), timeout=seconds
            )
        ),
        "redemption": aiter(
            peers.redemption.VerifyRedemptions(
                redemption_pb.VerifyRedemptionsRequest(program_id=program_id), timeout=seconds
            )
        ),
        "gamification": aiter(
            peers.gamification.VerifyGamification(
                gamification_pb.VerifyGamificationRequest(program_id=program_id), timeout=seconds
            )
        ),
    }
