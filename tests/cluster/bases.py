"""A customer's history, and one request for every method that is right beside it."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TypedDict

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from cli import quiescence
from cli.documents import Document
from cli.peers import Peers
from guerdon.clock.v1 import clock_service_pb2 as clock
from guerdon.earning.v1 import activity_pb2, member_pb2, points_pb2, referral_pb2
from guerdon.earning.v1 import earning_service_pb2 as earning
from guerdon.earning.v1 import household_service_pb2 as households
from guerdon.earning.v1 import member_service_pb2 as members
from guerdon.earning.v1 import points_service_pb2 as points
from guerdon.earning.v1 import program_pb2 as earning_program
from guerdon.earning.v1 import referral_service_pb2 as referrals
from guerdon.earning.v1 import seal_service_pb2 as seals
from guerdon.earning.v1 import statement_service_pb2 as statements
from guerdon.feed.v1 import feed_service_pb2 as feed
from guerdon.feed.v1 import parked_service_pb2 as parked
from guerdon.gamification.v1 import gamification_service_pb2 as gamification
from guerdon.gamification.v1 import leaderboard_service_pb2 as boards
from guerdon.gamification.v1 import program_pb2 as gamification_program
from guerdon.redemption.v1 import redemption_service_pb2 as redemption
from guerdon.redemption.v1 import reward_pb2
from guerdon.tiers.v1 import tiers_service_pb2 as tiers

SHOP = "giftshop"
NOW, DURING = 1_291_248_000, 1_291_201_200  # 2010-12-02 00:00 and 2010-12-01 11:00 UTC
ANN = {"program_id": SHOP, "member_id": "ann"}

Valid = Mapping[str, Message]


def purchase(activity_id: str) -> activity_pb2.Activity:
    activity = activity_pb2.Activity(
        activity_id=activity_id,
        member_id="ann",
        type="purchase",
        source="till 7",
        external_reference=f"receipt of {activity_id}",
        payment=activity_pb2.Payment(amount_minor=240_000, currency_code="GBP"),
        lines=[
            activity_pb2.LineItem(
                sku="85123A", category="product", merchant="m", quantity=6, amount_minor=200_000
            ),
            activity_pb2.LineItem(sku="22222", category="product", quantity=2, amount_minor=40_000),
        ],
    )
    activity.occurred_time.seconds = DURING
    activity.attributes["till"].integer_value = 7
    return activity


def reversal(reversal_id: str) -> earning.ReversalOrder:
    lines = earning.ReturnedLines(lines=[earning.ReturnedLine(line_number=1, quantity=1)])
    order = earning.ReversalOrder(
        reversal_id=reversal_id, activity_id="p1", lines=lines, reason="broken"
    )
    order.occurred_time.seconds = DURING + 60
    return order


def hold(request_id: str) -> earning.HoldPointsRequest:
    request = earning.HoldPointsRequest(
        program_id=SHOP,
        member_id="ann",
        request_id=request_id,
        currency_id="points",
        points=10,
        reference="r",
    )
    request.hold_duration.seconds = 3_600
    return request


def credit(request_id: str) -> earning.CreditPointsRequest:
    request = earning.CreditPointsRequest(
        program_id=SHOP,
        member_id="ann",
        request_id=request_id,
        currency_id="points",
        points=10,
        reason="sorry",
    )
    request.occurred_time.seconds = DURING
    return request


def scores(request_id: str) -> boards.SubmitScoresRequest:
    score = boards.SubmittedScore(member_id="ann", score=5)
    score.occurred_time.seconds = DURING
    return boards.SubmitScoresRequest(
        request_id=request_id, program_id=SHOP, board_id="arcade", scores=[score]
    )


def reward(reward_id: str) -> reward_pb2.Reward:
    made = reward_pb2.Reward(
        reward_id=reward_id,
        display_name="Mug",
        description="Holds tea.",
        price_points=20,
        stock_total=50,
        member_limit=9,
        kind=reward_pb2.Reward.KIND_PRODUCT,
        tier_gate=reward_pb2.TierGate(ladder_id="main", level_ids=["member", "silver", "gold"]),
    )
    made.redeemable_from_time.seconds = DURING
    made.redeemable_until_time.seconds = NOW + 86_400
    return made


def create(request_id: str, reward_id: str) -> redemption.CreateRewardRequest:
    return redemption.CreateRewardRequest(
        request_id=request_id, program_id=SHOP, reward=reward(reward_id)
    )


def redeem(request_id: str) -> redemption.RedeemRewardRequest:
    return redemption.RedeemRewardRequest(
        program_id=SHOP, member_id="ann", request_id=request_id, reward_id="mug"
    )


OFFERED = earning_program.EarningProgram(
    adjustment_approval_above_points=1_000,
    households=earning_program.HouseholdPolicy(max_members=4),
    referral=earning_program.ReferralPolicy(friend_points=10, activity_types=["wedding"]),
    currencies=[earning_program.PointCurrency(currency_id="stars")],
    conversions=[
        earning_program.PointConversion(
            conversion_id="to-stars",
            from_currency_id="points",
            to_currency_id="stars",
            numerator=1,
            denominator=5,
            min_points=5,
        )
    ],
)
"""What the shop has besides, so that every method has something to be right about."""


async def live(peers: Peers, documents: Iterable[Document]) -> Valid:
    """Let things happen to the customer "ann", then give requests that would be taken.

    Keys that are used already: p1 (activity), back-1 (reversal), and the requests enrol-1, hold-1,
    credit-1, scores-1, mug-1 and redeem-1.
    """
    programs = {document.service: document.message for document in documents}
    games = programs["gamification"]
    assert isinstance(games, gamification_program.GamificationProgram)
    board = games.leaderboards.add(
        board_id="arcade", period=gamification_program.Leaderboard.PERIOD_ALL_TIME
    )
    board.submitted.aggregation = gamification_program.SubmittedSource.AGGREGATION_BEST
    apply_games = gamification.ApplyGamificationProgramRequest(program=games)
    await peers.gamification.ApplyGamificationProgram(apply_games)
    await peers.earning.EnrollMember(
        earning.EnrollMemberRequest(request_id="enrol-1", program_id=SHOP, member_id="bob")
    )
    for number, member_id in enumerate(("dan", "eve", "fay", "gus"), start=2):
        await peers.earning.EnrollMember(
            earning.EnrollMemberRequest(
                request_id=f"enrol-{number}", program_id=SHOP, member_id=member_id
            )
        )
    record = earning.RecordActivityRequest(program_id=SHOP, activity=purchase("p1"))
    await peers.earning.RecordActivity(record)
    reverse = earning.ReverseActivityRequest(program_id=SHOP, order=reversal("back-1"))
    await peers.earning.ReverseActivity(reverse)
    await peers.earning.CreditPoints(credit("credit-1"))
    card = member_pb2.MemberIdentifier(kind="card", identifier="card-1")
    await peers.members.AddIdentifier(
        members.AddIdentifierRequest(
            request_id="add-1", program_id=SHOP, member_id="bob", identifier=card
        )
    )
    program = programs["earning"]
    assert isinstance(program, earning_program.EarningProgram)
    program.MergeFrom(OFFERED)
    await peers.earning.ApplyEarningProgram(earning.ApplyEarningProgramRequest(program=program))
    asked = await peers.points.AdjustPoints(adjust("adjust-1", 2_000))
    mine = referrals.GetReferralCodeRequest(program_id=SHOP, member_id="ann")
    code = (await peers.referrals.GetReferralCode(mine)).code
    await peers.referrals.ClaimReferral(
        referrals.ClaimReferralRequest(
            request_id="claim-1", program_id=SHOP, member_id="dan", code=code
        )
    )
    held = (await peers.earning.HoldPoints(hold("hold-1"))).hold.hold_id
    spent = (await peers.earning.HoldPoints(hold("hold-2"))).hold.hold_id
    await peers.earning.CaptureHold(
        earning.CaptureHoldRequest(request_id="capture-1", program_id=SHOP, hold_id=spent)
    )
    home, invitation = await _housed(peers)
    await quiescence.wait(peers)
    await peers.leaderboards.SubmitScores(scores("scores-1"))
    await peers.redemption.CreateReward(create("mug-1", "mug"))
    redeemed = (await peers.redemption.RedeemReward(redeem("redeem-1"))).redemption
    await quiescence.wait(peers)
    return {
        **_of_earning(programs["earning"], held, spent),
        **_of_members(),
        **_of_points(asked.adjustment.adjustment_id),
        **_of_referrals(code),
        **_of_households(home, invitation),
        **_of_seals(),
        **_of_others(programs, redeemed.redemption_id),
        **_of_games(programs),
    }


def _of_earning(program: Message, held: str, spent: str) -> Valid:
    closing = {"request_id": "close-9", "program_id": SHOP}
    return {
        "EnrollMember": earning.EnrollMemberRequest(
            request_id="enrol-9", program_id=SHOP, member_id="carl", profile=profile()
        ),
        "RecordActivity": earning.RecordActivityRequest(program_id=SHOP, activity=purchase("p9")),
        "BatchRecordActivities": earning.BatchRecordActivitiesRequest(
            program_id=SHOP, activities=[purchase("p8")]
        ),
        "StreamActivities": earning.StreamActivitiesRequest(
            program_id=SHOP, activities=[purchase("p7")]
        ),
        "PreviewActivity": earning.PreviewActivityRequest(program_id=SHOP, activity=purchase("p6")),
        "ReverseActivity": earning.ReverseActivityRequest(
            program_id=SHOP, order=reversal("back-9")
        ),
        "BatchReverseActivities": earning.BatchReverseActivitiesRequest(
            program_id=SHOP, orders=[reversal("back-8")]
        ),
        "GetReversal": earning.GetReversalRequest(
            program_id=SHOP, activity_id="p1", reversal_id="back-1"
        ),
        "ListReversals": earning.ListReversalsRequest(
            program_id=SHOP, activity_id="p1", page_size=1
        ),
        "ConfirmActivity": earning.ConfirmActivityRequest(
            request_id="confirm-9", program_id=SHOP, activity_id="p1"
        ),
        "GetWallet": earning.GetWalletRequest(**ANN, currency_id="points"),
        "ListEntries": earning.ListEntriesRequest(**ANN, currency_id="points", page_size=1),
        "ExplainEntry": earning.ExplainEntryRequest(**ANN, currency_id="points", sequence=1),
        "ListActivities": earning.ListActivitiesRequest(**ANN, page_size=1),
        "HoldPoints": hold("hold-9"),
        "CaptureHold": earning.CaptureHoldRequest(
            request_id="capture-9", program_id=SHOP, hold_id=held, points=4
        ),
        "VoidHold": earning.VoidHoldRequest(**closing, hold_id=held),
        "RefundCapture": earning.RefundCaptureRequest(
            request_id="refund-9", program_id=SHOP, hold_id=spent, points=4
        ),
        "CreditPoints": credit("credit-9"),
        "GetEarningProgram": earning.GetEarningProgramRequest(program_id=SHOP, version=1),
        "ListEarningProgramVersions": earning.ListEarningProgramVersionsRequest(
            program_id=SHOP, page_size=1
        ),
        "RollbackEarningProgram": earning.RollbackEarningProgramRequest(program_id=SHOP, version=1),
        "ApplyEarningProgram": earning.ApplyEarningProgramRequest(program=program),  # type: ignore[arg-type]
        "GetLedgerSummary": earning.GetLedgerSummaryRequest(program_id=SHOP, currency_id="points"),
        "VerifyLedger": earning.VerifyLedgerRequest(program_id=SHOP),
    }


class Asked(TypedDict):
    """What a change of a member begins with."""

    request_id: str
    program_id: str
    member_id: str


def profile() -> member_pb2.MemberProfile:
    made = member_pb2.MemberProfile(
        time_zone="Europe/Paris", language="en-GB", attributes={"a": "b"}, segments=["vip"]
    )
    made.birth_date.year, made.birth_date.month, made.birth_date.day = 1980, 5, 17
    return made


def _of_members() -> Valid:
    def asked(request_id: str, member_id: str = "ann") -> Asked:
        return Asked(request_id=request_id, program_id=SHOP, member_id=member_id)

    update = members.UpdateMemberRequest(**asked("update-member-9"), profile=profile())
    update.update_mask.paths.extend(["birth_date", "language"])
    card = member_pb2.MemberIdentifier(kind="card", identifier="card-9")
    return {
        "GetMember": members.GetMemberRequest(**ANN),
        "UpdateMember": update,
        "ListMembers": members.ListMembersRequest(program_id=SHOP, page_size=1),
        "AddIdentifier": members.AddIdentifierRequest(**asked("add-9"), identifier=card),
        "RemoveIdentifier": members.RemoveIdentifierRequest(
            **asked("remove-9", "bob"), identifier="card-1"
        ),
        "ClaimCard": members.ClaimCardRequest(**asked("claim-9"), card_id="card-2"),
        "MergeMembers": members.MergeMembersRequest(
            request_id="merge-9",
            program_id=SHOP,
            source_member_id="dan",
            target_member_id="eve",
        ),
        "FreezeMember": members.FreezeMemberRequest(**asked("freeze-9", "fay")),
        "UnfreezeMember": members.UnfreezeMemberRequest(**asked("unfreeze-9", "fay")),
        "EraseMember": members.EraseMemberRequest(**asked("erase-9", "gus")),
        "ExportMember": members.ExportMemberRequest(**ANN),
    }


def adjust(request_id: str, given: int) -> points.AdjustPointsRequest:
    return points.AdjustPointsRequest(
        **ANN,
        request_id=request_id,
        currency_id="points",
        points=given,
        actor="cara",
        reason="a late parcel",
    )


def _dated(request_id: str) -> points.ExtendPointsRequest:
    return points.ExtendPointsRequest(
        program_id=SHOP,
        member_id="ann",
        request_id=request_id,
        currency_id="points",
        lot_sequence=1,
        expire_time=Timestamp(seconds=NOW + 86_400),
        actor="cara",
        reason="ill",
    )


def _of_points(adjustment_id: str) -> Valid:
    waiting = {"program_id": SHOP, "adjustment_id": adjustment_id}
    return {
        "TransferPoints": points.TransferPointsRequest(
            request_id="transfer-9",
            program_id=SHOP,
            from_member_id="ann",
            to_member_id="bob",
            currency_id="points",
            points=5,
            reason="a present",
        ),
        "ConvertPoints": points.ConvertPointsRequest(
            **ANN,
            request_id="convert-9",
            from_currency_id="points",
            to_currency_id="stars",
            points=5,
            reason="for a prize",
        ),
        "AdjustPoints": adjust("adjust-9", 5),
        "ApproveAdjustment": points.ApproveAdjustmentRequest(
            **waiting, request_id="approve-9", actor="dan"
        ),
        "RejectAdjustment": points.RejectAdjustmentRequest(
            **waiting, request_id="reject-9", actor="dan", reason="no"
        ),
        "GetAdjustment": points.GetAdjustmentRequest(**waiting),
        "ExtendPoints": _dated("extend-9"),
        "ReinstatePoints": points.ReinstatePointsRequest(
            program_id=SHOP,
            member_id="ann",
            request_id="reinstate-9",
            currency_id="points",
            lot_sequence=1,
            points=1,
            expire_time=Timestamp(seconds=NOW + 86_400),
            actor="cara",
            reason="ill",
        ),
        "ListAdjustments": points.ListAdjustmentsRequest(
            program_id=SHOP,
            state=points_pb2.Adjustment.STATE_AWAITING_APPROVAL,
            page_size=1,
        ),
    }


def _of_referrals(code: str) -> Valid:
    return {
        "GetReferralCode": referrals.GetReferralCodeRequest(**ANN),
        "ClaimReferral": referrals.ClaimReferralRequest(
            request_id="claim-9", program_id=SHOP, member_id="eve", code=code
        ),
        "GetReferral": referrals.GetReferralRequest(program_id=SHOP, member_id="dan"),
        "ListReferrals": referrals.ListReferralsRequest(
            **ANN, state=referral_pb2.Referral.STATE_CLAIMED, page_size=1
        ),
    }


async def _housed(peers: Peers) -> tuple[str, str]:
    """The household of hal and ida, and the code of an invitation to it."""
    for name in ("hal", "ida", "jon"):
        await peers.earning.EnrollMember(
            earning.EnrollMemberRequest(request_id=f"enrol-{name}", program_id=SHOP, member_id=name)
        )
    create = households.CreateHouseholdRequest(
        request_id="create-1", program_id=SHOP, member_id="hal"
    )
    home = (await peers.households.CreateHousehold(create)).household.household_id
    codes = []
    for number in range(2):
        invite = households.InviteMemberRequest(
            request_id=f"invite-{number}", program_id=SHOP, household_id=home
        )
        codes.append((await peers.households.InviteMember(invite)).invitation.code)
    await peers.households.AcceptInvitation(
        households.AcceptInvitationRequest(
            request_id="accept-1", program_id=SHOP, member_id="ida", code=codes[0]
        )
    )
    return home, codes[1]


def _of_households(home: str, code: str) -> Valid:
    return {
        "CreateHousehold": households.CreateHouseholdRequest(
            request_id="create-9", program_id=SHOP, member_id="jon"
        ),
        "InviteMember": households.InviteMemberRequest(
            request_id="invite-9", program_id=SHOP, household_id=home, member_id="jon"
        ),
        "AcceptInvitation": households.AcceptInvitationRequest(
            request_id="accept-9", program_id=SHOP, member_id="jon", code=code
        ),
        "RemoveMember": households.RemoveMemberRequest(
            request_id="remove-9", program_id=SHOP, household_id=home, member_id="ida"
        ),
        "LeaveHousehold": households.LeaveHouseholdRequest(
            request_id="leave-9", program_id=SHOP, member_id="ida"
        ),
        "DissolveHousehold": households.DissolveHouseholdRequest(
            request_id="dissolve-9", program_id=SHOP, household_id=home
        ),
        "GetHousehold": households.GetHouseholdRequest(program_id=SHOP, household_id=home),
        "ListHouseholds": households.ListHouseholdsRequest(program_id=SHOP, page_size=1),
    }


def _of_seals() -> Valid:
    return {
        "ListSeals": seals.ListSealsRequest(program_id=SHOP, page_size=1),
        "GetSeal": seals.GetSealRequest(program_id=SHOP),
        "ProveWallet": seals.ProveWalletRequest(**ANN, currency_id="points"),
        "GetStatement": statements.GetStatementRequest(
            **ANN, currency_id="points", month="2010-12", page_size=1
        ),
    }


def _of_others(programs: Mapping[str, Message], redemption_id: str) -> Valid:
    change = reward_pb2.Reward(reward_id="mug", price_points=30)
    update = redemption.UpdateRewardRequest(request_id="update-9", program_id=SHOP, reward=change)
    update.update_mask.paths.append("price_points")
    return {
        "GetMembership": tiers.GetMembershipRequest(**ANN, ladder_id="main"),
        "BatchGetMemberships": tiers.BatchGetMembershipsRequest(
            program_id=SHOP, member_ids=["ann"], ladder_id="main"
        ),
        "ListMembershipChanges": tiers.ListMembershipChangesRequest(
            **ANN, ladder_id="main", page_size=1
        ),
        "GetTiersProgram": tiers.GetTiersProgramRequest(program_id=SHOP, version=1),
        "ListTiersProgramVersions": tiers.ListTiersProgramVersionsRequest(
            program_id=SHOP, page_size=1
        ),
        "RollbackTiersProgram": tiers.RollbackTiersProgramRequest(program_id=SHOP, version=1),
        "ApplyTiersProgram": tiers.ApplyTiersProgramRequest(program=programs["tiers"]),  # type: ignore[arg-type]
        "GetTiersSummary": tiers.GetTiersSummaryRequest(program_id=SHOP),
        "VerifyTiers": tiers.VerifyTiersRequest(program_id=SHOP),
        "CreateReward": create("cup-9", "cup"),
        "UpdateReward": update,
        "ListRewards": redemption.ListRewardsRequest(program_id=SHOP, page_size=1),
        "RedeemReward": redeem("redeem-9"),
        "CancelRedemption": redemption.CancelRedemptionRequest(
            request_id="cancel-9", program_id=SHOP, redemption_id=redemption_id
        ),
        "GetRedemption": redemption.GetRedemptionRequest(
            program_id=SHOP, redemption_id=redemption_id
        ),
        "ListRedemptions": redemption.ListRedemptionsRequest(**ANN, page_size=1),
        "GetRedemptionProgram": redemption.GetRedemptionProgramRequest(program_id=SHOP, version=1),
        "ListRedemptionProgramVersions": redemption.ListRedemptionProgramVersionsRequest(
            program_id=SHOP, page_size=1
        ),
        "RollbackRedemptionProgram": redemption.RollbackRedemptionProgramRequest(
            program_id=SHOP, version=1
        ),
        "ApplyRedemptionProgram": redemption.ApplyRedemptionProgramRequest(
            program=programs["redemption"]  # type: ignore[arg-type]
        ),
        "GetRedemptionSummary": redemption.GetRedemptionSummaryRequest(program_id=SHOP),
        "VerifyRedemptions": redemption.VerifyRedemptionsRequest(program_id=SHOP),
    }


def _of_games(programs: Mapping[str, Message]) -> Valid:
    advance = clock.AdvanceClockRequest()
    advance.to.seconds = NOW
    return {
        "ListChallenges": gamification.ListChallengesRequest(program_id=SHOP, page_size=1),
        "GetProgress": gamification.GetProgressRequest(**ANN),
        "ListMemberBadges": gamification.ListMemberBadgesRequest(**ANN, page_size=1),
        "BatchGetMemberBadges": gamification.BatchGetMemberBadgesRequest(
            program_id=SHOP, member_ids=["ann"]
        ),
        "GetGamificationProgram": gamification.GetGamificationProgramRequest(
            program_id=SHOP, version=1
        ),
        "ListGamificationProgramVersions": gamification.ListGamificationProgramVersionsRequest(
            program_id=SHOP, page_size=1
        ),
        "RollbackGamificationProgram": gamification.RollbackGamificationProgramRequest(
            program_id=SHOP, version=1
        ),
        "ApplyGamificationProgram": gamification.ApplyGamificationProgramRequest(
            program=programs["gamification"]  # type: ignore[arg-type]
        ),
        "GetGamificationSummary": gamification.GetGamificationSummaryRequest(program_id=SHOP),
        "VerifyGamification": gamification.VerifyGamificationRequest(program_id=SHOP),
        "GetLeaderboard": boards.GetLeaderboardRequest(
            program_id=SHOP, board_id="spend", period="2010-12", page_size=1
        ),
        "GetStanding": boards.GetStandingRequest(
            **ANN, board_id="spend", period="2010-12", neighbour_count=2
        ),
        "WatchLeaderboard": boards.WatchLeaderboardRequest(
            program_id=SHOP, board_id="spend", period="2010-12", top_count=3
        ),
        "SubmitScores": scores("scores-9"),
        "RebuildLeaderboard": boards.RebuildLeaderboardRequest(
            program_id=SHOP, board_id="spend", period="2010-12"
        ),
        "ReadEvents": feed.ReadEventsRequest(partition=0, page_size=1),
        "FollowEvents": feed.FollowEventsRequest(
            cursors=[feed.Cursor(partition=0, position=0)], page_size=1
        ),
        "GetHeads": feed.GetHeadsRequest(),
        "ListParkedMembers": parked.ListParkedMembersRequest(page_size=1),
        "RetryParkedMember": parked.RetryParkedMemberRequest(source="tiers", member_key="0" * 32),
        "GetClock": clock.GetClockRequest(),
        "AdvanceClock": advance,
    }


def advance_to(year: int, month: int, day: int) -> bytes:
    """A request to move a clock to a midnight."""
    request = clock.AdvanceClockRequest()
    request.to.FromDatetime(datetime(year, month, day, tzinfo=UTC))
    return request.SerializeToString()
