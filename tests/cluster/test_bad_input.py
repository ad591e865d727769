"""Bad input through real gRPC: refused by name, field and limit, and nothing changes."""

from collections.abc import Mapping

from google.protobuf.message import Message

from cli import quiescence
from cli.peers import Peers
from guerdon.earning.v1 import earning_service_pb2 as earning
from guerdon.feed.v1 import feed_service_pb2 as feed
from tests.cluster import bases
from tests.cluster.bases import Valid
from tests.cluster.calling import (
    Channels,
    altered,
    call,
    method_of,
    methods,
    refused,
    with_own_keys,
)

E15, E12, E9 = 10**15, 10**12, 10**9
YEAR_0, YEAR_9999, YEAR_10000 = -62_135_596_801, 253_402_300_799, 253_402_300_800
INSTANT = "must be an instant from 0001 to 9999"
VIOLATED = "INVALID_ARGUMENT FIELD_VIOLATIONS"
FORBIDDEN = "FAILED_PRECONDITION"

# method, what is altered, code and reason, field, words of the message
CASES: list[tuple[str, Mapping[str, object], str, str, str]] = [
    # members, rewards, ladders, boards, challenges and the like that are not there
    ("GetWallet", {"member_id": "zoe"}, "NOT_FOUND MEMBER_NOT_FOUND", "", "no member zoe"),
    ("GetMembership", {"member_id": "zoe"}, "NOT_FOUND MEMBER_NOT_FOUND", "", "zoe"),
    ("GetProgress", {"member_id": "zoe"}, "NOT_FOUND MEMBER_NOT_FOUND", "", "zoe"),
    ("RedeemReward", {"member_id": "zoe"}, "NOT_FOUND MEMBER_NOT_FOUND", "", "zoe"),
    ("HoldPoints", {"member_id": "zoe"}, "NOT_FOUND MEMBER_NOT_FOUND", "", "zoe"),
    ("RedeemReward", {"reward_id": "no"}, "NOT_FOUND REWARD_NOT_FOUND", "", "no reward no"),
    ("UpdateReward", {"reward.reward_id": "no"}, "NOT_FOUND REWARD_NOT_FOUND", "", "no reward no"),
    ("GetRedemption", {"redemption_id": "no"}, "NOT_FOUND REDEMPTION_NOT_FOUND", "", "no"),
    ("GetMembership", {"ladder_id": "no"}, "NOT_FOUND LADDER_NOT_FOUND", "", "no ladder no"),
    ("GetLeaderboard", {"board_id": "no"}, "NOT_FOUND LEADERBOARD_NOT_FOUND", "", "no"),
    ("WatchLeaderboard", {"board_id": "no"}, "NOT_FOUND LEADERBOARD_NOT_FOUND", "", "no"),
    ("SubmitScores", {"board_id": "no"}, "NOT_FOUND LEADERBOARD_NOT_FOUND", "", "no"),
    ("CaptureHold", {"hold_id": "no"}, "NOT_FOUND HOLD_NOT_FOUND", "", "no hold no"),
    ("GetReversal", {"reversal_id": "no"}, "NOT_FOUND REVERSAL_NOT_FOUND", "", "no reversal no"),
    ("GetReversal", {"activity_id": "no"}, "NOT_FOUND REVERSAL_NOT_FOUND", "", "no reversal"),
    ("GetReversal", {"reversal_id": ""}, VIOLATED, "reversal_id", "1"),
    ("ListReversals", {"activity_id": ""}, VIOLATED, "activity_id", "1"),
    ("ListReversals", {"activity_id": "x" * 129}, VIOLATED, "activity_id", "128"),
    ("HoldPoints", {"currency_id": "no"}, "NOT_FOUND CURRENCY_NOT_FOUND", "", "no"),
    *(
        (name, {f"{path}.payment.points_hold_id": value}, code, field, words)
        for name, path in (("RecordActivity", "activity"), ("PreviewActivity", "activity"))
        for value, code, field, words in (
            ("no", "NOT_FOUND HOLD_NOT_FOUND", "", "no hold no"),
            ("h" * 65, VIOLATED, f"{path}.payment.points_hold_id", "64"),
        )
    ),
    ("TransferPoints", {"from_member_id": "zoe"}, "NOT_FOUND MEMBER_NOT_FOUND", "", "zoe"),
    ("TransferPoints", {"to_member_id": "zoe"}, "NOT_FOUND MEMBER_NOT_FOUND", "", "zoe"),
    ("TransferPoints", {"currency_id": "no"}, "NOT_FOUND CURRENCY_NOT_FOUND", "", "no"),
    *(
        ("ConvertPoints", {path: value}, code, field, words)
        for path, value, code, field, words in (
            ("member_id", "zoe", "NOT_FOUND MEMBER_NOT_FOUND", "", "zoe"),
            ("from_currency_id", "no", "NOT_FOUND CURRENCY_NOT_FOUND", "", "no"),
            ("to_currency_id", "no", "NOT_FOUND CURRENCY_NOT_FOUND", "", "no"),
            ("from_currency_id", "", VIOLATED, "from_currency_id", "1"),
            ("to_currency_id", "", VIOLATED, "to_currency_id", "1"),
            (
                "to_currency_id",
                "points",
                "FAILED_PRECONDITION CONVERSION_NOT_OFFERED",
                "",
                "to points",
            ),
            ("points", 4, "FAILED_PRECONDITION BELOW_CONVERSION_MINIMUM", "", "at least 5"),
            ("points", 7, "FAILED_PRECONDITION CONVERSION_NOT_WHOLE", "", "multiples of 5"),
            ("points", E12, "FAILED_PRECONDITION INSUFFICIENT_POINTS", "", f"needs {E12} points"),
            ("points", 0, VIOLATED, "points", "greater than or equal to 1"),
            ("reason", "r" * 257, VIOLATED, "reason", "256"),
        )
    ),
    ("AdjustPoints", {"member_id": "zoe"}, "NOT_FOUND MEMBER_NOT_FOUND", "", "zoe"),
    ("AdjustPoints", {"currency_id": "no"}, "NOT_FOUND CURRENCY_NOT_FOUND", "", "no"),
    ("ExplainEntry", {"member_id": "zoe"}, "NOT_FOUND MEMBER_NOT_FOUND", "", "zoe"),
    ("ExplainEntry", {"activity_id": "no"}, "NOT_FOUND ACTIVITY_NOT_FOUND", "", "no"),
    ("ExplainEntry", {"sequence": 999}, "NOT_FOUND ENTRY_NOT_FOUND", "", "no entry 999"),
    ("ExplainEntry", {"sequence": 2**63 - 1}, "NOT_FOUND ENTRY_NOT_FOUND", "", "no entry"),
    ("ExplainEntry", {"sequence": -1}, VIOLATED, "sequence", "greater than or equal to 0"),
    *(
        (name, {path: value}, code, field, words)
        for name in ("ExtendPoints", "ReinstatePoints")
        for path, value, code, field, words in (
            ("member_id", "zoe", "NOT_FOUND MEMBER_NOT_FOUND", "", "zoe"),
            ("currency_id", "no", "NOT_FOUND CURRENCY_NOT_FOUND", "", "no"),
            ("lot_sequence", 999, "NOT_FOUND LOT_NOT_FOUND", "", "no lot 999"),
            ("lot_sequence", 2**63 - 1, "NOT_FOUND LOT_NOT_FOUND", "", "no lot"),
            ("lot_sequence", -1, VIOLATED, "lot_sequence", "greater than or equal to 1"),
            ("expire_time", None, VIOLATED, "expire_time", ""),
            ("expire_time.seconds", YEAR_9999, VIOLATED, "expire_time", "9000-01-01"),
            ("expire_time.seconds", YEAR_10000, VIOLATED, "expire_time", INSTANT),
            ("actor", "", VIOLATED, "actor", "1"),
            ("reason", "", VIOLATED, "reason", "1"),
        )
    ),
    (
        "ExtendPoints",
        {"expire_time.seconds": 60},
        "FAILED_PRECONDITION EXPIRY_NOT_LATER",
        "",
        "1970-01-01",
    ),
    ("ReinstatePoints", {}, "FAILED_PRECONDITION REINSTATE_EXCEEDS_EXPIRED", "", "0 points"),
    *(
        (name, {"adjustment_id": "no"}, "NOT_FOUND ADJUSTMENT_NOT_FOUND", "", "no adjustment no")
        for name in ("ApproveAdjustment", "RejectAdjustment", "GetAdjustment")
    ),
    *(
        (name, {"member_id": "zoe"}, "NOT_FOUND MEMBER_NOT_FOUND", "", "zoe")
        for name in ("GetReferralCode", "ClaimReferral", "GetReferral", "ListReferrals")
    ),
    ("ClaimReferral", {"code": "no"}, "NOT_FOUND REFERRAL_CODE_NOT_FOUND", "", "the code NO"),
    ("ClaimReferral", {"member_id": "ann"}, "FAILED_PRECONDITION SELF_REFERRAL", "", "ann"),
    ("ClaimReferral", {"member_id": "dan"}, "FAILED_PRECONDITION ALREADY_REFERRED", "", "dan"),
    ("ClaimReferral", {"code": ""}, VIOLATED, "code", "1"),
    ("ClaimReferral", {"code": "x" * 33}, VIOLATED, "code", "32"),
    ("GetReferral", {"member_id": "ann"}, "NOT_FOUND REFERRAL_NOT_FOUND", "", "ann"),
    ("ListReferrals", {"state": 77}, VIOLATED, "state", "defined"),
    *(
        (name, {"member_id": "zoe"}, "NOT_FOUND MEMBER_NOT_FOUND", "", "zoe")
        for name in (
            *("CreateHousehold", "InviteMember", "AcceptInvitation"),
            *("RemoveMember", "LeaveHousehold", "GetHousehold"),
        )
    ),
    *(
        (name, {"household_id": "no"}, "NOT_FOUND HOUSEHOLD_NOT_FOUND", "", "no household no")
        for name in ("InviteMember", "RemoveMember", "DissolveHousehold", "GetHousehold")
    ),
    *(
        (name, {"household_id": "h" * 65}, VIOLATED, "household_id", "64")
        for name in ("InviteMember", "RemoveMember", "DissolveHousehold", "GetHousehold")
    ),
    ("CreateHousehold", {"member_id": "ida"}, f"{FORBIDDEN} ALREADY_IN_HOUSEHOLD", "", "ida"),
    ("InviteMember", {"member_id": "hal"}, f"{FORBIDDEN} ALREADY_IN_HOUSEHOLD", "", "hal"),
    ("AcceptInvitation", {"code": "no"}, "NOT_FOUND INVITATION_NOT_FOUND", "", "the code NO"),
    ("AcceptInvitation", {"code": ""}, VIOLATED, "code", "1"),
    ("AcceptInvitation", {"code": "x" * 33}, VIOLATED, "code", "32"),
    ("RemoveMember", {"member_id": "hal"}, f"{FORBIDDEN} HEAD_NOT_REMOVED", "", "hal"),
    ("RemoveMember", {"member_id": "jon"}, f"{FORBIDDEN} NOT_IN_HOUSEHOLD", "", "jon"),
    ("LeaveHousehold", {"member_id": "jon"}, f"{FORBIDDEN} NOT_IN_HOUSEHOLD", "", "jon"),
    ("HoldPoints", {"from_household": True}, f"{FORBIDDEN} NOT_IN_HOUSEHOLD", "", "ann"),
    ("GetTiersProgram", {"version": 99}, "NOT_FOUND PROGRAM_VERSION_NOT_FOUND", "", "99"),
    ("RollbackTiersProgram", {"version": 99}, "NOT_FOUND PROGRAM_VERSION_NOT_FOUND", "", "99"),
    # members that wait
    (
        "RetryParkedMember",
        {"source": "redemption"},
        "INVALID_ARGUMENT SOURCE_NOT_FOLLOWED",
        "",
        "tiers",
    ),
    ("RetryParkedMember", {"source": ""}, VIOLATED, "source", "1"),
    ("RetryParkedMember", {"member_key": "k" * 65}, VIOLATED, "member_key", "64"),
    ("ListParkedMembers", {"page_size": 1001}, VIOLATED, "page_size", "less than or equal to 1000"),
    # enums
    ("CreateReward", {"reward.kind": 77}, VIOLATED, "reward.kind", "defined"),
    ("CreateReward", {"reward.kind": 0}, VIOLATED, "reward.kind", "one of KIND_"),
    # amounts
    *(
        (name, {path: value}, VIOLATED, path, f"less than or equal to {limit}")
        for name, path, limit in (
            ("RecordActivity", "activity.payment.amount_minor", E15),
            ("RecordActivity", "activity.lines[0].amount_minor", E15),
            ("RecordActivity", "activity.lines[1].quantity", E9),
            ("PreviewActivity", "activity.lines[0].quantity", E9),
            ("BatchRecordActivities", "activities[0].lines[0].quantity", E9),
            ("ReverseActivity", "order.lines.lines[0].quantity", E9),
            ("HoldPoints", "points", E12),
            ("CaptureHold", "points", E12),
            ("CreditPoints", "points", E12),
            ("TransferPoints", "points", E12),
            ("ConvertPoints", "points", E12),
            ("ReinstatePoints", "points", E12),
            ("CreateReward", "reward.price_points", E12),
            ("CreateReward", "reward.stock_total", E9),
        )
        for value in (-1, limit + 1, -(2**63), 2**63 - 1)
    ),
    ("HoldPoints", {"points": 0}, VIOLATED, "points", "greater than or equal to 1"),
    ("TransferPoints", {"points": 0}, VIOLATED, "points", "greater than or equal to 1"),
    ("AdjustPoints", {"points": 0}, VIOLATED, "points", "must not be 0"),
    ("AdjustPoints", {"points": -E12 - 1}, VIOLATED, "points", "-1000000000000"),
    ("AdjustPoints", {"points": E12 + 1}, VIOLATED, "points", "1000000000000"),
    ("AdjustPoints", {"actor": ""}, VIOLATED, "actor", "1"),
    ("AdjustPoints", {"reason": ""}, VIOLATED, "reason", "1"),
    ("ApproveAdjustment", {"actor": ""}, VIOLATED, "actor", "1"),
    ("RejectAdjustment", {"reason": ""}, VIOLATED, "reason", "1"),
    ("ListAdjustments", {"state": 77}, VIOLATED, "state", "defined"),
    # too many at once
    ("BatchRecordActivities", {"activities": (1001,)}, VIOLATED, "activities", "1000"),
    ("StreamActivities", {"activities": (1001,)}, VIOLATED, "activities", "1000"),
    ("BatchReverseActivities", {"orders": (1001,)}, VIOLATED, "orders", "1000"),
    ("RecordActivity", {"activity.lines": (1001,)}, VIOLATED, "activity.lines", "1000"),
    ("BatchGetMemberships", {"member_ids": (1001,)}, VIOLATED, "member_ids", "1000"),
    ("BatchGetMemberBadges", {"member_ids": (1001,)}, VIOLATED, "member_ids", "1000"),
    ("SubmitScores", {"scores": (1001,)}, VIOLATED, "scores", "1000"),
    # instants and durations
    *(
        (name, {f"{path}.seconds": value}, VIOLATED, path, INSTANT)
        for name, path in (
            ("RecordActivity", "activity.occurred_time"),
            ("BatchRecordActivities", "activities[0].occurred_time"),
            ("ReverseActivity", "order.occurred_time"),
            ("CreditPoints", "occurred_time"),
            ("CreateReward", "reward.redeemable_from_time"),
            ("SubmitScores", "scores[0].occurred_time"),
        )
        for value in (YEAR_0, YEAR_10000, 2**63 - 1, -(2**63))
    ),
    *(
        (name, {f"{path}.nanos": value}, VIOLATED, path, INSTANT)
        for name, path in (
            ("RecordActivity", "activity.occurred_time"),
            ("CreditPoints", "occurred_time"),
            ("AdvanceClock", "to"),
        )
        for value in (-1, E9)
    ),
    *(
        (
            "RecordActivity",
            {"activity.occurred_time.seconds": seconds},
            "OUT_OF_RANGE OCCURRED_TIME_NOT_ACCEPTED",
            "",
            "is not between 2009-10-28 00:00:00+00:00 and 2010-12-02 00:05:00+00:00",
        )
        for seconds in (YEAR_9999, 0, YEAR_0 + 1)
    ),
    ("RecordActivity", {"activity.occurred_time": None}, VIOLATED, "activity.occurred_time", ""),
    ("AdvanceClock", {"to.seconds": YEAR_9999}, VIOLATED, "to", "9000-01-01"),
    *(
        ("HoldPoints", {"hold_duration.seconds": value}, VIOLATED, "hold_duration", "2592000")
        for value in (0, -1, 2_592_001, 315_576_000_001, 2**63 - 1, -(2**63))
    ),
    ("HoldPoints", {"hold_duration.nanos": E9}, VIOLATED, "hold_duration", "999999999"),
    # the same key with other contents
    *(
        (name, {key: value, path: other}, "ALREADY_EXISTS IDEMPOTENCY_KEY_REUSED", "", value)
        for name, key, value, path, other in (
            ("EnrollMember", "request_id", "enrol-1", "member_id", "dora"),
            ("RecordActivity", "activity.activity_id", "p1", "activity.source", "till 8"),
            (
                "BatchRecordActivities",
                "activities[0].activity_id",
                "p1",
                "activities[0].source",
                "",
            ),
            ("ReverseActivity", "order.reversal_id", "back-1", "order.reason", "other"),
            ("HoldPoints", "request_id", "hold-1", "points", 11),
            ("CreditPoints", "request_id", "credit-1", "points", 11),
            ("AdjustPoints", "request_id", "adjust-1", "points", 11),
            ("ClaimReferral", "request_id", "claim-1", "code", "other"),
            ("CaptureHold", "request_id", "capture-1", "points", 3),
            ("SubmitScores", "request_id", "scores-1", "scores[0].score", 6),
            ("CreateReward", "request_id", "mug-1", "reward.price_points", 21),
            ("RedeemReward", "request_id", "redeem-1", "reward_id", "five-pounds"),
        )
    ),
    # what the state forbids
    (
        "EnrollMember",
        {"member_id": "ann"},
        "ALREADY_EXISTS MEMBER_ALREADY_EXISTS",
        "",
        "member ann exists already",
    ),
    (
        "HoldPoints",
        {"points": 900_000},
        "FAILED_PRECONDITION INSUFFICIENT_POINTS",
        "",
        "needs 900000 points, ",
    ),
    (
        "RecordActivity",
        {"activity.payment.currency_code": "EUR"},
        "FAILED_PRECONDITION CURRENCY_NOT_ACCEPTED",
        "",
        "EUR are not accepted, only in GBP",
    ),
    (
        "RecordActivity",
        {"activity.payment.paid_in_points_minor": 240_001},
        "INVALID_ARGUMENT FIELD_VIOLATIONS",
        "activity.payment.paid_in_points_minor",
        "must be at most amount_minor, which is 240000",
    ),
    (
        "RecordActivity",
        {"activity.external_reference": "receipt of p1"},
        "ALREADY_EXISTS EXTERNAL_REFERENCE_REUSED",
        "",
        "receipt of p1 of till 7",
    ),
    (
        "ReverseActivity",
        {"order.lines.lines[0].quantity": 6},
        "FAILED_PRECONDITION QUANTITY_NOT_RETURNABLE",
        "",
        "line 1 has 5 units left to return, not 6",
    ),
    (
        "SubmitScores",
        {"board_id": "spend"},
        "FAILED_PRECONDITION SCORES_NOT_ACCEPTED",
        "",
        "spend",
    ),
    ("GetLeaderboard", {"period": "2010-13"}, "INVALID_ARGUMENT PERIOD_NOT_VALID", "period", ""),
    # program documents
    *(
        (name, {path: "line.colour == 1"}, "INVALID_ARGUMENT INVALID_PROGRAM", path[8:], "colour")
        for name, path in (
            ("ApplyEarningProgram", "program.rules[0].line_condition"),
            ("ApplyTiersProgram", "program.ladders[0].net_spend.line_condition"),
            ("ApplyGamificationProgram", "program.challenges[0].line_condition"),
            ("ApplyGamificationProgram", "program.leaderboards[1].activity.line_condition"),
        )
    ),
    *(
        (name, {path: value}, "INVALID_ARGUMENT INVALID_PROGRAM", path[8:], words)
        for name, path, value, words in (
            ("ApplyEarningProgram", "program.time_zone", "Nowhere/Land", "Nowhere/Land"),
            ("ApplyEarningProgram", "program.multiplier_policy", 77, "defined"),
            ("ApplyEarningProgram", "program.rules[1].multiplier.denominator", 0, "1"),
            ("ApplyTiersProgram", "program.time_zone", "../etc", "../etc"),
            ("ApplyTiersProgram", "program.ladders[0].levels[2].net_spend_minor", 1, ""),
            ("ApplyRedemptionProgram", "program.rewards[0].price_points", -1, "1000000000000"),
            ("ApplyGamificationProgram", "program.challenges[0].rewards.badge_id", "no", "no"),
        )
    ),
    (
        "ApplyEarningProgram",
        {
            "program.currencies[0].currency_id": "leaves",
            "program.conversions[0].from_currency_id": "leaves",
            "options.prune": True,
        },
        "INVALID_ARGUMENT INVALID_PROGRAM",
        "currencies[0].currency_id",
        "begin with points",
    ),
    ("ApplyEarningProgram", {"options.etag": "old"}, "ABORTED ETAG_MISMATCH", "", "not old"),
    ("RollbackEarningProgram", {"options.etag": "old"}, "ABORTED ETAG_MISMATCH", "", "not old"),
    (
        "ApplyGamificationProgram",
        {"options.publish_time.seconds": 60},
        "FAILED_PRECONDITION PUBLISH_TIME_PASSED",
        "",
        "1970-01-01",
    ),
]


def paths(name: str) -> list[str]:
    """The single fields right below a method's request."""
    return [field.name for field in method_of(name).descriptor.input_type.fields]


NAMES = [each.descriptor.name for each in methods() if each.service in each.path]
CASES += [
    case
    for name in NAMES
    if "program_id" in paths(name)
    for case in (
        (name, {"program_id": "no"}, "NOT_FOUND PROGRAM_NOT_FOUND", "", "no program no"),
        (name, {"program_id": "x" * 10_000}, VIOLATED, "program_id", "64"),
        (name, {"program_id": "a\0b"}, VIOLATED, "program_id", "must not contain U+0000"),
    )
]
CASES += [
    (name, {field: value}, VIOLATED, field, words)
    for name in NAMES
    for field in ("request_id", "member_id")
    if field in paths(name)
    for value, words in (("x" * 10_000, "128"), ("\0", "must not contain U+0000"))
]
CASES += [
    (name, {"page_size": value}, VIOLATED, "page_size", "less than or equal to 1000")
    for name in NAMES
    if "page_size" in paths(name)
    for value in (-1, 1001, 2**31 - 1, -(2**31))
]
LISTS = [name for name in NAMES if "page_token" in paths(name)]
CASES += [
    (name, {"page_token": token}, "INVALID_ARGUMENT INVALID_PAGE_TOKEN", "page_token", "page_token")
    for name in LISTS
    for token in ("nonsense", "🎉", "e30", "AAAA")
]


async def state(shop: Peers) -> list[Message]:
    """Everything by which a change would be seen: heads, entries, counts and clocks."""
    await quiescence.wait(shop)
    seen: list[Message] = []
    for service in shop.feeds.values():
        heads = await service.GetHeads(feed.GetHeadsRequest())
        seen.append(heads)
    seen.append(
        await shop.earning.ListEntries(
            earning.ListEntriesRequest(program_id=bases.SHOP, member_id="ann", page_size=1000)
        )
    )
    seen.append(
        await shop.earning.GetLedgerSummary(earning.GetLedgerSummaryRequest(program_id=bases.SHOP))
    )
    return seen


def request_of(valid: Valid, name: str, changes: Mapping[str, object]) -> bytes:
    message = with_own_keys(valid[name])
    for path, value in changes.items():
        message = altered(message, path, value)
    return message.SerializeToString()


async def test_bad_input_is_refused_by_name_field_and_limit_and_changes_nothing(
    shop: Peers, channels: Channels, valid: Valid
) -> None:
    before = await state(shop)
    wrong: list[str] = []
    for name, changes, expected, field, words in CASES:
        short = {path: str(value)[:40] for path, value in changes.items()}
        answer = await call(channels, method_of(name), request_of(valid, name, changes))
        try:
            refusal = refused(answer)
        except AssertionError:
            wrong.append(f"{name} {short}: was taken")
            continue
        fields = {each.field for each in refusal.violations}
        batched = {f"{path[: path.index(']') + 2]}" for path in [field] if "[" in path}
        if f"{refusal.code} {refusal.reason}" != expected:
            wrong.append(f"{name} {short}: {refusal.code} {refusal.reason}, not {expected}")
        elif (
            field
            and field not in fields
            and not any(field.removeprefix(start) in fields for start in batched)
        ):
            wrong.append(f"{name} {short}: names {fields}, not {field}")
        elif words not in str(refusal):
            wrong.append(f"{name} {short}: says {refusal}, not {words}")
    assert not wrong, "\n".join(wrong)
    assert await state(shop) == before
