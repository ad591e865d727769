"""The whole service through real gRPC, with a peer that is what earning would be."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import grpc
import pytest
import redis.asyncio as redis

from guerdon.feed.v1 import program_document_pb2 as document_pb
from guerdon.gamification.v1 import challenge_pb2
from guerdon.gamification.v1 import gamification_service_pb2 as pb
from guerdon.gamification.v1 import leaderboard_service_pb2 as boards_pb
from services.gamification import tables
from services.gamification.domain import ScoreOutOfRange
from shared import errors
from shared.database import Database
from shared.rpc.client import refusal_of, refusal_of_status
from tests.gamification.peers import (
    PROGRAM,
    Customer,
    Peer,
    Published,
    at,
    giftshop,
    stamp,
)
from tests.gamification.shop import Shop, open_shop

NOON = at("2011-03-10T12:00")
DAY = timedelta(days=1)


def winter(customer: Customer) -> list[Published]:
    """Enrolment and five purchases of three months."""
    days = [NOON - 60 * DAY, NOON - 30 * DAY, NOON - 2 * DAY, NOON - DAY, NOON]
    return [
        customer.joins(NOON - 90 * DAY),
        *(
            customer.buys(f"{customer.member_id}-{number}", day, f"1000{number}")
            for number, day in enumerate(days)
        ),
    ]


async def test_from_purchases_to_badges_points_and_ranks(shop: Shop) -> None:
    await shop.apply()
    ann, bob = Customer.of("ann"), Customer.of("bob")
    token = await shop.peer.publish(*winter(ann), *winter(bob)[:4])
    await shop.peer.publish(*winter(Customer.of("cyd"))[:1])

    held = await shop.progress("bob", token)
    assert {key: (each.value, each.target) for key, each in held.items()} == {
        "regular": (3, 5),
        "explorer": (3, 50),
        "monthly-habit": (3, 3),
    }
    await shop.quiet()

    regular = (await shop.progress("card-ann"))["regular"]
    assert regular.complete_time == stamp(NOON)
    assert (regular.reward.points, regular.reward.badge_id) == (200, "regular")
    assert regular.reward.state == challenge_pb2.Reward.STATE_PAID
    (credit,) = shop.peer.earning.credits.values()
    assert (credit.member_key, credit.points, credit.reason) == (ann.key, 200, "Five purchases")

    badges = await shop.game.BatchGetMemberBadges(
        pb.BatchGetMemberBadgesRequest(program_id=PROGRAM, member_ids=["ann", "zoe", "cyd"])
    )
    assert [each.display_name for each in badges.results[0].found.badges] == [
        "Monthly habit",
        "Regular",
    ]
    assert refusal_of_status(badges.results[1].refused).reason == "MEMBER_NOT_FOUND"
    assert list(badges.results[2].found.badges) == []

    board = await shop.boards.GetLeaderboard(
        boards_pb.GetLeaderboardRequest(program_id=PROGRAM, board_id="top-earners")
    )
    assert [(row.member_id, row.rank, row.score) for row in board.rows] == [
        ("ann", 1, 50),
        ("bob", 2, 30),
    ]
    assert (board.member_count, board.period, board.next_page_token) == (2, "all", "")
    month = await shop.boards.GetLeaderboard(
        boards_pb.GetLeaderboardRequest(program_id=PROGRAM, board_id="spend")
    )
    assert month.period == "2011-03"
    assert [(row.member_id, row.score) for row in month.rows] == [("ann", 300), ("bob", 100)]

    summary = await shop.game.GetGamificationSummary(
        pb.GetGamificationSummaryRequest(program_id=PROGRAM)
    )
    assert {each.badge_id: each.member_count for each in summary.badges} == {
        "regular": 1,
        "explorer": 0,
        "monthly-habit": 2,
    }
    paid = {each.challenge_id: each.points_paid for each in summary.challenges}
    assert paid == {"regular": 200, "explorer": 0, "monthly-habit": 0}
    assert (summary.member_count, summary.intentions_open) == (3, 0)
    assert await shop.verify() == []


async def test_pages_and_lists_continue_where_the_token_says(shop: Shop) -> None:
    await shop.apply()
    customers = [Customer.of(f"c{number}") for number in range(5)]
    for number, customer in enumerate(customers):
        await shop.peer.publish(
            customer.joins(NOON), customer.buys(f"b{number}", NOON, "1", points=50 - number)
        )
    await shop.quiet()
    seen, token = [], ""
    while True:
        page = await shop.boards.GetLeaderboard(
            boards_pb.GetLeaderboardRequest(
                program_id=PROGRAM, board_id="top-earners", page_size=2, page_token=token
            )
        )
        seen += [(row.member_id, row.rank) for row in page.rows]
        token = page.next_page_token
        if not token:
            break
    assert seen == [(f"c{number}", number + 1) for number in range(5)]
    first = await shop.game.ListChallenges(
        pb.ListChallengesRequest(program_id=PROGRAM, page_size=2)
    )
    rest = await shop.game.ListChallenges(
        pb.ListChallengesRequest(program_id=PROGRAM, page_size=2, page_token=first.next_page_token)
    )
    assert [each.challenge_id for each in (*first.challenges, *rest.challenges)] == [
        "regular",
        "explorer",
        "monthly-habit",
    ]
    assert rest.next_page_token == ""


async def test_a_standing_shows_the_rows_around_it(shop: Shop) -> None:
    await shop.apply()
    await shop.peer.publish(*(Customer.of(f"c{number}").joins(NOON) for number in range(6)))
    await shop.quiet()
    await submit(shop, "r-1", "best", *((f"c{number}", 10 * (number // 2)) for number in range(6)))
    found = await shop.boards.GetStanding(
        boards_pb.GetStandingRequest(
            program_id=PROGRAM,
            board_id="best",
            member_id="c2",
            neighbour_count=2,
            wait_for_token="gamification:0:1",
        )
    )
    standing = found.standing
    assert (standing.row.rank, standing.row.score, standing.member_count) == (3, 10, 6)
    assert [row.rank for row in standing.above] + [row.rank for row in standing.below] in (
        [1, 1, 3, 5],
        [1, 3, 5, 5],
    )
    alone = await shop.boards.GetStanding(
        boards_pb.GetStandingRequest(program_id=PROGRAM, board_id="best", member_id="c2")
    )
    assert (len(alone.standing.above), len(alone.standing.below)) == (0, 0)
    assert alone.standing.row == standing.row


async def submit(
    shop: Shop, request_id: str, board: str, *scores: tuple[str, int]
) -> boards_pb.SubmitScoresResponse:
    """Submit scores of one instant."""
    return await shop.boards.SubmitScores(
        boards_pb.SubmitScoresRequest(
            request_id=request_id,
            program_id=PROGRAM,
            board_id=board,
            scores=[
                boards_pb.SubmittedScore(member_id=member, score=score, occurred_time=stamp(NOON))
                for member, score in scores
            ],
        )
    )


async def test_many_standings_at_once_are_each_their_own(shop: Shop) -> None:
    await shop.apply()
    await shop.peer.publish(*(Customer.of(f"c{number}").joins(NOON) for number in range(50)))
    await shop.quiet()
    sent = await submit(shop, "r-1", "total", *((f"c{n}", n + 1) for n in range(50)))
    found = await asyncio.gather(
        *(
            shop.boards.GetStanding(
                boards_pb.GetStandingRequest(
                    program_id=PROGRAM,
                    board_id="total",
                    member_id=f"c{number % 50}",
                    wait_for_token=sent.feed_token,
                )
            )
            for number in range(200)
        )
    )
    assert [(each.standing.row.member_id, each.standing.row.rank) for each in found] == [
        (f"c{number % 50}", 50 - number % 50) for number in range(200)
    ]


async def test_who_watches_a_board_sees_it_at_once_and_whenever_it_changes(shop: Shop) -> None:
    await shop.apply()
    await shop.peer.publish(Customer.of("ann").joins(NOON), Customer.of("bob").joins(NOON))
    await shop.quiet()
    call = shop.boards.WatchLeaderboard(
        boards_pb.WatchLeaderboardRequest(program_id=PROGRAM, board_id="total", top_count=2)
    )
    seen = call.__aiter__()
    assert list((await anext(seen)).rows) == []
    await submit(shop, "r-1", "total", ("ann", 5))
    async with asyncio.timeout(10):
        shown = [(row.member_id, row.score) for row in (await watched(seen)).rows]
    assert shown == [("ann", 5)]
    await submit(shop, "r-2", "total", ("bob", 7))
    async with asyncio.timeout(10):
        shown = [(row.member_id, row.score) for row in (await watched(seen)).rows]
    assert shown == [("bob", 7), ("ann", 5)]
    call.cancel()


async def watched(
    seen: AsyncIterator[boards_pb.WatchLeaderboardResponse],
) -> boards_pb.WatchLeaderboardResponse:
    """The next message of a watched board."""
    return await anext(seen)


async def test_rewards_wait_for_earning_and_are_paid_exactly_once(shop: Shop) -> None:
    await shop.apply()
    ann = Customer.of("ann")
    await shop.peer.publish(*winter(ann)[:5])
    await shop.quiet()
    shop.peer.earning.lose_answers = 3
    await shop.peer.publish(winter(ann)[5])
    await shop.quiet()
    assert shop.peer.earning.calls >= 4
    assert [each.points for each in shop.peer.earning.credits.values()] == [200]

    bob = Customer.of("bob")
    shop.peer.earning.refusal = errors.NotReady(what="earning")
    token = await shop.peer.publish(*winter(bob))
    reward = (await shop.progress("bob", token))["regular"].reward
    assert reward.state == challenge_pb2.Reward.STATE_OWED
    await shop.peer.stop()
    await asyncio.sleep(0.3)
    shop.peer.earning.refusal = None
    await shop.peer.serve()
    await shop.quiet()
    reward = (await shop.progress("bob"))["regular"].reward
    assert reward.state == challenge_pb2.Reward.STATE_PAID
    assert len(shop.peer.earning.credits) == 2
    assert await shop.verify() == []


async def test_a_reward_that_is_refused_for_good_is_shown_and_not_tried_again(shop: Shop) -> None:
    await shop.apply()
    shop.peer.earning.refusal = errors.MemberNotFound(member_id="ann")
    await shop.peer.publish(*winter(Customer.of("ann")))
    await shop.quiet()
    reward = (await shop.progress("ann"))["regular"].reward
    assert reward.state == challenge_pb2.Reward.STATE_FAILED
    assert reward.failure_reason == "MEMBER_NOT_FOUND"
    summary = await shop.game.GetGamificationSummary(
        pb.GetGamificationSummaryRequest(program_id=PROGRAM)
    )
    assert summary.challenges[0].rewards_failed == 1
    calls = shop.peer.earning.calls
    await asyncio.sleep(0.3)
    assert shop.peer.earning.calls == calls == 1
    assert await shop.verify() == []


async def test_a_restart_goes_on_where_it_was(
    peer: Peer, database_url: str, board_url: str, boards_client: "redis.Redis"
) -> None:
    ann = Customer.of("ann")
    async with open_shop(peer, database_url, board_url) as shop:
        await shop.apply()
        await peer.publish(*winter(ann)[:4])
        await shop.quiet()
    await boards_client.flushall()
    await peer.publish(*winter(ann)[4:])
    async with open_shop(peer, database_url, board_url) as shop:
        await shop.quiet()
        assert (await shop.progress("ann"))["regular"].value == 5
        assert await shop.verify() == []


async def test_a_flush_shows_as_not_ready_and_heals(
    shop: Shop, boards_client: "redis.Redis"
) -> None:
    await shop.apply()
    await shop.peer.publish(*winter(Customer.of("ann")))
    await shop.quiet()
    request = boards_pb.GetLeaderboardRequest(program_id=PROGRAM, board_id="top-earners")
    before = await shop.boards.GetLeaderboard(request)
    for _ in range(3):
        await boards_client.flushall()
        for _ in range(200):
            try:
                found = await shop.boards.GetLeaderboard(request)
            except grpc.aio.AioRpcError as error:
                refusal = refusal_of(error)
                assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "BOARD_NOT_READY")
                assert refusal.retry_after_seconds == 1
                await asyncio.sleep(0.02)
                continue
            break
        assert found == before


async def test_verify_finds_what_was_changed_behind_its_back(shop: Shop, database_url: str) -> None:
    await shop.apply()
    await shop.peer.publish(*winter(Customer.of("ann")))
    await shop.quiet()
    assert await shop.verify() == []
    database = await Database.open(database_url, schema="gamification")
    async with database.transaction() as tx:
        await tx.execute(tables.scores.update().values(score=tables.scores.c.score + 1))
        await tx.execute(tables.badges.delete().where(tables.badges.c.badge_id == "regular"))
        await tx.execute(tables.progress.update().values(reward_state="owed"))
    await database.dispose()
    assert set(await shop.verify()) == {
        "badge_equals_feed",
        "badge_published_once",
        "score_equals_feed",
        "reward_is_driven_to_its_end",
        "board_equals_scores",
    }


async def test_a_document_is_applied_shown_and_refused_when_it_was_changed_meanwhile(
    shop: Shop,
) -> None:
    first = await shop.game.ApplyGamificationProgram(
        pb.ApplyGamificationProgramRequest(
            program=giftshop(), options=document_pb.ApplyOptions(author="ann")
        )
    )
    assert first.applied.version == 1
    same = await shop.game.ApplyGamificationProgram(
        pb.ApplyGamificationProgramRequest(program=giftshop())
    )
    assert (same.applied.version, list(same.applied.differences)) == (1, [])
    document = giftshop()
    del document.challenges[2]
    document.challenges[0].count.target = 6
    shown = await shop.game.ApplyGamificationProgram(
        pb.ApplyGamificationProgramRequest(
            program=document, options=document_pb.ApplyOptions(validate_only=True)
        )
    )
    assert [(each.path, each.change) for each in shown.applied.differences] == [
        ("challenges[monthly-habit]", document_pb.Difference.CHANGE_KEPT),
        ("challenges[regular].count.target", document_pb.Difference.CHANGE_CHANGED),
    ]
    await shop.game.ApplyGamificationProgram(
        pb.ApplyGamificationProgramRequest(
            program=document, options=document_pb.ApplyOptions(prune=True)
        )
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shop.game.ApplyGamificationProgram(
            pb.ApplyGamificationProgramRequest(
                program=giftshop(), options=document_pb.ApplyOptions(etag=first.applied.etag)
            )
        )
    assert refusal_of(refused.value).reason == "ETAG_MISMATCH"
    found = await shop.game.GetGamificationProgram(
        pb.GetGamificationProgramRequest(program_id=PROGRAM, version=1)
    )
    assert (found.version.author, found.version.program) == ("ann", giftshop())
    now = await shop.game.GetGamificationProgram(
        pb.GetGamificationProgramRequest(program_id=PROGRAM)
    )
    assert [each.challenge_id for each in now.version.program.challenges] == [
        "regular",
        "explorer",
    ]


async def test_scores_are_submitted_and_each_has_its_own_answer(shop: Shop) -> None:
    await shop.apply()
    await shop.peer.publish(Customer.of("ann").joins(NOON))
    await shop.quiet()
    request = boards_pb.SubmitScoresRequest(
        request_id="r-1",
        program_id=PROGRAM,
        board_id="total",
        scores=[
            boards_pb.SubmittedScore(member_id="ann", score=5, occurred_time=stamp(NOON)),
            boards_pb.SubmittedScore(member_id="zoe", score=5, occurred_time=stamp(NOON)),
            boards_pb.SubmittedScore(member_id="ann", score=2**53, occurred_time=stamp(NOON)),
            boards_pb.SubmittedScore(member_id="ann", score=1),
            boards_pb.SubmittedScore(member_id="", score=1, occurred_time=stamp(NOON)),
        ],
    )
    first = await shop.boards.SubmitScores(request)
    assert (first.results[0].accepted.score, first.results[0].accepted.period) == (5, "all")
    refusals = [refusal_of_status(each.refused) for each in first.results[1:]]
    assert [each.reason for each in refusals] == [
        "MEMBER_NOT_FOUND",
        ScoreOutOfRange.reason,
        "FIELD_VIOLATIONS",
        "FIELD_VIOLATIONS",
    ]
    assert [each.violations[0].field for each in refusals[2:]] == [
        "scores[3].occurred_time",
        "scores[4].member_id",
    ]
    assert await shop.boards.SubmitScores(request) == first
    request.scores[0].score = 6
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shop.boards.SubmitScores(request)
    assert refusal_of(refused.value).reason == "IDEMPOTENCY_KEY_REUSED"
    assert await shop.verify() == []


async def test_a_token_of_another_board_is_refused(shop: Shop) -> None:
    await shop.apply()
    await shop.peer.publish(*(Customer.of(f"c{number}").joins(NOON) for number in range(3)))
    await shop.quiet()
    sent = await submit(shop, "r-1", "total", *((f"c{number}", number) for number in range(1, 3)))
    first = await shop.boards.GetLeaderboard(
        boards_pb.GetLeaderboardRequest(
            program_id=PROGRAM, board_id="total", page_size=1, wait_for_token=sent.feed_token
        )
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shop.boards.GetLeaderboard(
            boards_pb.GetLeaderboardRequest(
                program_id=PROGRAM, board_id="best", page_token=first.next_page_token
            )
        )
    assert refusal_of(refused.value).reason == "INVALID_PAGE_TOKEN"
