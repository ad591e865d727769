"""The four services as a command sees them.

A running cluster, or one started for the command alone.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli import cluster
from guerdon.clock.v1.clock_service_pb2_grpc import ClockServiceStub
from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceStub
from guerdon.earning.v1.household_service_pb2_grpc import HouseholdServiceStub
from guerdon.earning.v1.member_service_pb2_grpc import MemberServiceStub
from guerdon.earning.v1.points_service_pb2_grpc import PointsServiceStub
from guerdon.earning.v1.referral_service_pb2_grpc import ReferralServiceStub
from guerdon.earning.v1.seal_service_pb2_grpc import SealServiceStub
from guerdon.earning.v1.statement_service_pb2_grpc import StatementServiceStub
from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceStub
from guerdon.feed.v1.parked_service_pb2_grpc import ParkedServiceStub
from guerdon.gamification.v1.gamification_service_pb2_grpc import GamificationServiceStub
from guerdon.gamification.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub
from guerdon.redemption.v1.redemption_service_pb2_grpc import RedemptionServiceStub
from guerdon.tiers.v1.tiers_service_pb2_grpc import TiersServiceStub
from shared.clock import monotonic
from shared.rpc import client

STARTING_SECONDS_MAX = 60.0

if TYPE_CHECKING:
    from guerdon.clock.v1.clock_service_pb2_grpc import ClockServiceAsyncStub
    from guerdon.earning.v1.earning_service_pb2_grpc import EarningServiceAsyncStub
    from guerdon.earning.v1.household_service_pb2_grpc import HouseholdServiceAsyncStub
    from guerdon.earning.v1.member_service_pb2_grpc import MemberServiceAsyncStub
    from guerdon.earning.v1.points_service_pb2_grpc import PointsServiceAsyncStub
    from guerdon.earning.v1.referral_service_pb2_grpc import ReferralServiceAsyncStub
    from guerdon.earning.v1.seal_service_pb2_grpc import SealServiceAsyncStub
    from guerdon.earning.v1.statement_service_pb2_grpc import StatementServiceAsyncStub
    from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceAsyncStub
    from guerdon.feed.v1.parked_service_pb2_grpc import ParkedServiceAsyncStub
    from guerdon.gamification.v1.gamification_service_pb2_grpc import GamificationServiceAsyncStub
    from guerdon.gamification.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub
    from guerdon.redemption.v1.redemption_service_pb2_grpc import RedemptionServiceAsyncStub
    from guerdon.tiers.v1.tiers_service_pb2_grpc import TiersServiceAsyncStub


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """Stubs of the four services; feeds, parked members and clocks by the service's name."""

    addresses: Mapping[str, str]
    earning: "EarningServiceAsyncStub"
    members: "MemberServiceAsyncStub"
    points: "PointsServiceAsyncStub"
    referrals: "ReferralServiceAsyncStub"
    households: "HouseholdServiceAsyncStub"
    seals: "SealServiceAsyncStub"
    statements: "StatementServiceAsyncStub"
    tiers: "TiersServiceAsyncStub"
    redemption: "RedemptionServiceAsyncStub"
    gamification: "GamificationServiceAsyncStub"
    leaderboards: "LeaderboardServiceAsyncStub"
    feeds: Mapping[str, "FeedServiceAsyncStub"]
    parked: Mapping[str, "ParkedServiceAsyncStub"]
    clocks: Mapping[str, "ClockServiceAsyncStub"]


@asynccontextmanager
async def connected(addresses: Mapping[str, str]) -> AsyncIterator[Peers]:
    """Channels to services that are running; closed when the context ends."""
    async with AsyncExitStack() as stack:
        channels = {name: client.channel(address) for name, address in addresses.items()}
        for channel in channels.values():
            stack.push_async_callback(channel.close)
        yield Peers(
            addresses=addresses,
            earning=EarningServiceStub(channels["earning"]),
            members=MemberServiceStub(channels["earning"]),
            points=PointsServiceStub(channels["earning"]),
            referrals=ReferralServiceStub(channels["earning"]),
            households=HouseholdServiceStub(channels["earning"]),
            seals=SealServiceStub(channels["earning"]),
            statements=StatementServiceStub(channels["earning"]),
            tiers=TiersServiceStub(channels["tiers"]),
            redemption=RedemptionServiceStub(channels["redemption"]),
            gamification=GamificationServiceStub(channels["gamification"]),
            leaderboards=LeaderboardServiceStub(channels["gamification"]),
            parked={name: ParkedServiceStub(channel) for name, channel in channels.items()},
            feeds={name: FeedServiceStub(channel) for name, channel in channels.items()},
            clocks={name: ClockServiceStub(channel) for name, channel in channels.items()},
        )


@asynccontextmanager
async def reached(folder: Path, *, clock_start: str = "") -> AsyncIterator[Peers]:
    """The cluster that serves a data folder; when none does, one that lives as long as the context.

    Several containers are reached through GUERDON_<SERVICE>_ADDRESS, which `configured_addresses`
    reads.
    """
    configured = cluster.configured_addresses()
    async with AsyncExitStack() as stack:
        if configured:
            addresses: Mapping[str, str] = configured
        elif cluster.is_served(folder):
            addresses = await _addresses_of(folder)
        else:
            started = await stack.enter_async_context(
                cluster.running(folder, clock_start=clock_start)
            )
            addresses = started.addresses
        yield await stack.enter_async_context(connected(addresses))


async def _addresses_of(folder: Path) -> Mapping[str, str]:
    """Where a served folder's services listen, once they have started.

    Raises DataFolderInUse when that takes too long.
    """
    deadline = monotonic() + STARTING_SECONDS_MAX
    while not (addresses := cluster.addresses_of(folder)):
        if monotonic() > deadline:
            raise cluster.DataFolderInUse(folder)
        await asyncio.sleep(0.05)
    return addresses
