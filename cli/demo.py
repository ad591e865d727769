"""The whole road in one command.

A real gift shop's half year, replayed, redeemed, shown and verified.

The counts of the file come from the replay; every other number of the summary from what the
services hold.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import structlog

from cli import quiescence
from cli.peers import Peers
from cli.replay import ACTIVITY_TYPE, Errand, advance_clocks, next_midnight
from cli.retail import SHOP_ZONE, Replayable
from guerdon.earning.v1 import earning_service_pb2 as earning_pb
from guerdon.gamification.v1 import gamification_service_pb2 as gamification_pb
from guerdon.gamification.v1 import leaderboard_pb2
from guerdon.gamification.v1 import leaderboard_service_pb2 as leaderboard_pb
from guerdon.redemption.v1 import redemption_service_pb2 as redemption_pb
from guerdon.tiers.v1 import membership_pb2
from guerdon.tiers.v1 import tiers_service_pb2 as tiers_pb
from shared.rpc import client

PROGRAM_ID = "giftshop"
LADDER_ID = "main"
TOP_BOARD_ID = "top-earners"
CLOCK_START = "2010-12-01T00:00:00Z"
FIRST_CAMPAIGN_BEFORE = datetime(2011, 3, 1, tzinfo=SHOP_ZONE)
FIRST_REWARD = "five-pounds"
SECOND_REWARD = "ten-pounds"
FAILURES = ("SOLD_OUT", "INSUFFICIENT_POINTS")
CLOSE_MAX = 5

_log = structlog.get_logger("cli.demo")


@dataclass(frozen=True, slots=True, kw_only=True)
class NearLevel:
    """A member who is close to the next level: what is missing, in pence."""

    customer: str
    level: str
    next_level: str
    missing_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NearReward:
    """A member who is close to a reward: what is missing, in points."""

    customer: str
    points_available: int
    points_missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the demo shows beside the summary."""

    top: Sequence[leaderboard_pb2.LeaderboardRow]
    badges_of_top: Mapping[str, Sequence[str]]
    near_levels: Sequence[NearLevel]
    near_rewards: Sequence[NearReward]


def errands(peers: Peers, file: Replayable) -> tuple[Errand, ...]:
    """What happens between the days: the redemptions of March, and those after the end."""

    async def redeem_five_pounds(customers: Sequence[str]) -> None:
        await redeem_all(peers, FIRST_REWARD, customers)

    async def redeem_ten_pounds(customers: Sequence[str]) -> None:
        if file.documents:
            await advance_clocks(peers, next_midnight(file.documents[-1].occurred_time))
        await quiescence.wait(peers)
        await redeem_all(peers, SECOND_REWARD, customers)

    return (
        Errand(before=FIRST_CAMPAIGN_BEFORE, run=redeem_five_pounds),
        Errand(before=datetime.max.replace(tzinfo=UTC), run=redeem_ten_pounds),
    )


async def redeem_all(peers: Peers, reward_id: str, customers: Sequence[str]) -> None:
    """Every customer tries one reward, in order of customer number as text.

    Each answered before the next.
    """
    for customer in sorted(customers):
        request = redemption_pb.RedeemRewardRequest(
            request_id=f"{reward_id}:{customer}",
            program_id=PROGRAM_ID,
            member_id=customer,
            reward_id=reward_id,
        )
        try:
            await peers.redemption.RedeemReward(request)
        except grpc.aio.AioRpcError as error:
            refusal = client.refusal_of(error)
            if refusal.reason not in FAILURES:
                raise
            _log.debug("redemption refused", reason=refusal.reason)


async def summary(peers: Peers, file: Replayable) -> dict[str, object]:
    """The numbers of the demo, but for what verification and the stopwatch add."""
    ledger = await peers.earning.GetLedgerSummary(
        earning_pb.GetLedgerSummaryRequest(program_id=PROGRAM_ID)
    )
    tiers = await peers.tiers.GetTiersSummary(
        tiers_pb.GetTiersSummaryRequest(program_id=PROGRAM_ID)
    )
    games = await peers.gamification.GetGamificationSummary(
        gamification_pb.GetGamificationSummaryRequest(program_id=PROGRAM_ID)
    )
    rewards = await peers.redemption.GetRedemptionSummary(
        redemption_pb.GetRedemptionSummaryRequest(program_id=PROGRAM_ID)
    )
    top = await top_rows(peers)
    activities = {count.type: count.count for count in ledger.activities}
    levels = {
        level.level_id: level.member_count
        for ladder in tiers.ladders
        if ladder.ladder_id == LADDER_ID
        for level in ladder.levels
    }
    return {
        "members": ledger.member_count,
        "purchases": activities.get(ACTIVITY_TYPE, 0),
        "reversals": ledger.reversal_count,
        "skipped_lines": file.counts.skipped_lines,
        "return_lines": file.counts.return_lines,
        "unmatched_return_lines": file.counts.unmatched_return_lines,
        "unmatched_return_units": file.counts.unmatched_return_units,
        "points_issued": ledger.points_earned,
        "points_bonus": ledger.points_credited,
        "points_reversed": ledger.points_reversed,
        "points_redeemed": ledger.points_spent,
        "points_available": ledger.points_available,
        "points_debt": ledger.points_debt,
        "tiers": {level: levels.get(level, 0) for level in ("member", "silver", "gold")},
        "badges": {badge.badge_id: badge.member_count for badge in games.badges},
        "top10": [[row.member_id, row.score] for row in top],
        "redemptions": {
            reward.reward_id: {
                "completed": reward.completed_count,
                **{reason: reward.failed_counts.get(reason, 0) for reason in FAILURES},
            }
            for reward in rewards.rewards
        },
    }


async def top_rows(peers: Peers) -> Sequence[leaderboard_pb2.LeaderboardRow]:
    """The first ten of the board of earners."""
    board = await peers.leaderboards.GetLeaderboard(
        leaderboard_pb.GetLeaderboardRequest(
            program_id=PROGRAM_ID, board_id=TOP_BOARD_ID, page_size=10
        )
    )
    return tuple(board.rows)


async def shown(peers: Peers, customers: Sequence[str]) -> Shown:
    """What the demo shows beside the summary: the top ten's badges, and who came close."""
    top = await top_rows(peers)
    badges = await peers.gamification.BatchGetMemberBadges(
        gamification_pb.BatchGetMemberBadgesRequest(
            program_id=PROGRAM_ID, member_ids=[row.member_id for row in top]
        )
    )
    return Shown(
        top=top,
        badges_of_top={
            result.found.member_id: [badge.display_name for badge in result.found.badges]
            for result in badges.results
        },
        near_levels=await _near_levels(peers, customers),
        near_rewards=await _near_rewards(peers, customers),
    )


async def _near_levels(peers: Peers, customers: Sequence[str]) -> Sequence[NearLevel]:
    memberships: list[tuple[str, membership_pb2.Membership]] = []
    for start in range(0, len(customers), 1000):
        part = customers[start : start + 1000]
        answer = await peers.tiers.BatchGetMemberships(
            tiers_pb.BatchGetMembershipsRequest(program_id=PROGRAM_ID, member_ids=part)
        )
        memberships += [
            (customer, result.membership)
            for customer, result in zip(part, answer.results, strict=True)
        ]
    near = [
        NearLevel(
            customer=customer,
            level=membership.level.level_id,
            next_level=membership.next_level.level_id,
            missing_minor=membership.net_spend_minor_to_next,
        )
        for customer, membership in memberships
        if membership.HasField("next_level") and membership.net_spend_minor_to_next > 0
    ]
    return sorted(near, key=lambda row: (row.missing_minor, row.customer))[:CLOSE_MAX]


async def _near_rewards(peers: Peers, customers: Sequence[str]) -> Sequence[NearReward]:
    """Those who have most, but not enough, for one of the second reward."""
    catalogue = await peers.redemption.ListRewards(
        redemption_pb.ListRewardsRequest(program_id=PROGRAM_ID, page_size=1000)
    )
    price = next(
        reward.price_points for reward in catalogue.rewards if reward.reward_id == SECOND_REWARD
    )
    near: list[NearReward] = []
    for customer in customers:
        answer = await peers.earning.GetWallet(
            earning_pb.GetWalletRequest(program_id=PROGRAM_ID, member_id=customer)
        )
        available = answer.wallet.points_available
        if available < price:
            near.append(
                NearReward(
                    customer=customer,
                    points_available=available,
                    points_missing=price - available,
                )
            )
    return sorted(near, key=lambda row: (row.points_missing, row.customer))[:CLOSE_MAX]


def write_summary(path: Path, content: Mapping[str, object]) -> None:
    """Write the summary so that a reader sees the old or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
