"""Bad input through real gRPC: each is refused with its name, and changes nothing."""

import grpc
from google.protobuf.message import Message

from guerdon.feed.v1 import feed_service_pb2 as feed_pb
from guerdon.gamification.v1 import gamification_service_pb2 as pb
from guerdon.gamification.v1 import leaderboard_service_pb2 as boards_pb
from shared import paging
from shared.errors import RemoteRefusal
from shared.rpc.client import refusal_of
from tests.gamification.peers import PROGRAM, Customer, at, stamp
from tests.gamification.shop import Shop

NOON = at("2011-03-10T12:00")


def standing(**fields: object) -> boards_pb.GetStandingRequest:
    given = {"program_id": PROGRAM, "board_id": "total", "member_id": "ann"} | fields
    return boards_pb.GetStandingRequest(**given)  # type: ignore[arg-type]


def page(**fields: object) -> boards_pb.GetLeaderboardRequest:
    given = {"program_id": PROGRAM, "board_id": "total"} | fields
    return boards_pb.GetLeaderboardRequest(**given)  # type: ignore[arg-type]


def progress_of(**fields: object) -> pb.GetProgressRequest:
    return pb.GetProgressRequest(**({"program_id": PROGRAM} | fields))  # type: ignore[arg-type]


def scores(count: int = 1, **fields: object) -> boards_pb.SubmitScoresRequest:
    given = {"request_id": "r", "program_id": PROGRAM, "board_id": "total"} | fields
    one = boards_pb.SubmittedScore(member_id="ann", score=1, occurred_time=stamp(NOON))
    return boards_pb.SubmitScoresRequest(**given, scores=[one] * count)  # type: ignore[arg-type]


def made_up(*position: int) -> str:
    """The token that somebody who knows how they are made could make up."""
    return paging.encode(paging.digest_of("GetLeaderboard", PROGRAM, "total", "all"), position)


BAD: list[tuple[str, Message, str]] = [
    # method, request, code, reason and field
    (
        "GetStanding",
        standing(program_id=""),
        "INVALID_ARGUMENT FIELD_VIOLATIONS program_id",
    ),
    (
        "GetStanding",
        standing(program_id="none"),
        "NOT_FOUND PROGRAM_NOT_FOUND",
    ),
    (
        "GetStanding",
        standing(board_id="none"),
        "NOT_FOUND LEADERBOARD_NOT_FOUND",
    ),
    (
        "GetStanding",
        standing(period="2011-03"),
        "INVALID_ARGUMENT PERIOD_NOT_VALID period",
    ),
    (
        "GetStanding",
        standing(member_id="zoe"),
        "NOT_FOUND MEMBER_NOT_FOUND",
    ),
    (
        "GetStanding",
        standing(),
        "NOT_FOUND STANDING_NOT_FOUND",
    ),
    (
        "GetStanding",
        standing(neighbour_count=51),
        "INVALID_ARGUMENT FIELD_VIOLATIONS neighbour_count",
    ),
    (
        "GetStanding",
        standing(member_id="x" * 129),
        "INVALID_ARGUMENT FIELD_VIOLATIONS member_id",
    ),
    (
        "GetStanding",
        standing(wait_for_token="nonsense"),
        "INVALID_ARGUMENT MALFORMED_FEED_TOKEN wait_for_token",
    ),
    (
        "GetLeaderboard",
        page(page_size=2**31 - 1),
        "INVALID_ARGUMENT FIELD_VIOLATIONS page_size",
    ),
    (
        "GetLeaderboard",
        page(page_size=-1),
        "INVALID_ARGUMENT FIELD_VIOLATIONS page_size",
    ),
    (
        "GetLeaderboard",
        page(page_token="nonsense"),
        "INVALID_ARGUMENT INVALID_PAGE_TOKEN page_token",
    ),
    (
        "GetLeaderboard",
        page(page_token=made_up(10**15)),
        "INVALID_ARGUMENT INVALID_PAGE_TOKEN page_token",
    ),
    (
        "GetLeaderboard",
        page(page_token=made_up(50, 50)),
        "INVALID_ARGUMENT INVALID_PAGE_TOKEN page_token",
    ),
    (
        "GetLeaderboard",
        page(board_id="spend", period="2011-13"),
        "INVALID_ARGUMENT PERIOD_NOT_VALID period",
    ),
    (
        "WatchLeaderboard",
        boards_pb.WatchLeaderboardRequest(program_id=PROGRAM, board_id="none"),
        "NOT_FOUND LEADERBOARD_NOT_FOUND",
    ),
    (
        "RebuildLeaderboard",
        boards_pb.RebuildLeaderboardRequest(program_id=PROGRAM, board_id="none"),
        "NOT_FOUND LEADERBOARD_NOT_FOUND",
    ),
    (
        "RebuildLeaderboard",
        boards_pb.RebuildLeaderboardRequest(program_id=PROGRAM, board_id="spend", period="all"),
        "INVALID_ARGUMENT PERIOD_NOT_VALID period",
    ),
    (
        "SubmitScores",
        scores(0),
        "INVALID_ARGUMENT FIELD_VIOLATIONS scores",
    ),
    (
        "SubmitScores",
        scores(1001),
        "INVALID_ARGUMENT FIELD_VIOLATIONS scores",
    ),
    (
        "SubmitScores",
        scores(request_id=""),
        "INVALID_ARGUMENT FIELD_VIOLATIONS request_id",
    ),
    (
        "SubmitScores",
        scores(board_id="none"),
        "NOT_FOUND LEADERBOARD_NOT_FOUND",
    ),
    (
        "SubmitScores",
        scores(request_id="s", board_id="spend"),
        "FAILED_PRECONDITION SCORES_NOT_ACCEPTED",
    ),
    (
        "GetProgress",
        progress_of(member_id="zoe"),
        "NOT_FOUND MEMBER_NOT_FOUND",
    ),
    (
        "GetProgress",
        progress_of(member_id=""),
        "INVALID_ARGUMENT FIELD_VIOLATIONS member_id",
    ),
    (
        "GetProgress",
        progress_of(member_id="ann", wait_for_token="earning:0:999999"),
        "UNAVAILABLE NOT_READY",
    ),
    (
        "ListMemberBadges",
        pb.ListMemberBadgesRequest(program_id=PROGRAM, member_id="ann", page_token="x"),
        "INVALID_ARGUMENT INVALID_PAGE_TOKEN page_token",
    ),
    (
        "BatchGetMemberBadges",
        pb.BatchGetMemberBadgesRequest(program_id=PROGRAM, member_ids=["a"] * 1001),
        "INVALID_ARGUMENT FIELD_VIOLATIONS member_ids",
    ),
    (
        "ListChallenges",
        pb.ListChallengesRequest(program_id="none"),
        "NOT_FOUND PROGRAM_NOT_FOUND",
    ),
    (
        "GetGamificationProgram",
        pb.GetGamificationProgramRequest(program_id=PROGRAM, version=9),
        "NOT_FOUND PROGRAM_VERSION_NOT_FOUND",
    ),
    (
        "GetGamificationSummary",
        pb.GetGamificationSummaryRequest(program_id="none"),
        "NOT_FOUND PROGRAM_NOT_FOUND",
    ),
    (
        "ApplyGamificationProgram",
        pb.ApplyGamificationProgramRequest(),
        "INVALID_ARGUMENT INVALID_PROGRAM program_id",
    ),
    (
        "VerifyGamification",
        pb.VerifyGamificationRequest(program_id="none"),
        "NOT_FOUND PROGRAM_NOT_FOUND",
    ),
]


async def refused(shop: Shop, method: str, request: Message) -> RemoteRefusal:
    """Refusal of a call, the first message of a stream included."""
    stub = shop.boards if hasattr(shop.boards, method) else shop.game
    call = getattr(stub, method)(request)
    try:
        if method in {"WatchLeaderboard", "VerifyGamification"}:
            await anext(call.__aiter__())
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return refusal_of(error)
    raise AssertionError(f"{method} took {request}")


async def test_bad_input_is_refused_by_name_and_changes_nothing(shop: Shop) -> None:
    await shop.apply()
    await shop.peer.publish(Customer.of("ann").joins(NOON))
    await shop.quiet()
    before = await shop.feed.GetHeads(feed_pb.GetHeadsRequest())
    for method, request, words in BAD:
        code, reason, field = (*words.split(), "")[:3]
        refusal = await refused(shop, method, request)
        assert (refusal.code, refusal.reason) == (code, reason), (method, request, refusal)
        assert field in {each.field for each in refusal.violations} or not field, refusal
    assert await shop.feed.GetHeads(feed_pb.GetHeadsRequest()) == before
