"""Batches on SQLite and PostgreSQL: what is stored, published, answered, and never twice."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from guerdon.gamification.v1 import events_pb2
from services.gamification import query_store, tables
from services.gamification.commands import SubmitScores
from services.gamification.domain import (
    BoardId,
    CreditOrder,
    LeaderboardNotFound,
    MemberId,
    MemberKey,
    ProgramId,
    RewardState,
    ScoresNotAccepted,
    Submission,
    SubmittedScores,
)
from services.gamification.incoming import commands_of
from shared import errors, migrate, record
from shared.batches import Outcome
from shared.database import Database, Row
from shared.feed import FeedReader
from shared.followers import followed
from shared.work import weight_of_item
from tests.gamification.conftest import Games, followed_of
from tests.gamification.peers import PROGRAM, Customer, Published, at, events_of

NOON = at("2011-01-10T12:00")
DAY = timedelta(days=1)
LARGEST = 2**53 - 1


async def rows_of(database: Database, name: str) -> list[Row]:
    """All rows of a table."""
    async with database.reading() as tx:
        return await tx.fetch(tables.metadata.tables[name].select())


async def everything(database: Database) -> dict[str, list[str]]:
    """All rows of the service's own tables and of its feed."""
    names = [name for name in tables.metadata.tables if name != "program_versions"]
    return {
        name: sorted(repr(tuple(row)) for row in await rows_of(database, name)) for name in names
    }


async def said_by(database: Database) -> list[str]:
    """Types of the events that were published, in order."""
    reader = FeedReader(tables.kernel)
    async with database.reading() as tx:
        heads = await reader.heads(tx)
        ranges = {each: (0, head) for each, head in heads.items() if head}
        events = await reader.events(tx, ranges)
    return [each.payload.TypeName().rsplit(".", 1)[1] for each in events]


def a_life(customer: Customer) -> list[Published]:
    """A customer's winter: five purchases in three months, and a return."""
    return [
        customer.joins(NOON),
        customer.buys(f"{customer.key}-1", NOON, "10001", "10002", points=20),
        customer.buys(f"{customer.key}-2", NOON + DAY, "POST", category="postage", points=0),
        customer.buys(f"{customer.key}-3", NOON + 30 * DAY, "10003", points=7),
        customer.returns(f"{customer.key}-1", NOON + 31 * DAY),
        customer.buys(f"{customer.key}-4", NOON + 60 * DAY, "10001"),
        customer.buys(f"{customer.key}-5", NOON + 61 * DAY, "10004"),
        customer.buys(f"{customer.key}-6", NOON + 62 * DAY, "10005"),
        customer.buys(f"{customer.key}-7", NOON + 63 * DAY, "10006"),
    ]


async def test_the_migrations_make_what_the_tables_say(games: Games) -> None:
    found = await migrate.differences(
        games.database.url, schema=games.database.schema, metadata=tables.metadata
    )
    assert found == []


async def test_a_customers_winter(games: Games) -> None:
    await games.apply()
    ann = Customer.of("ann")
    await games.follow(a_life(ann))

    assert sorted(await said_by(games.database)) == [
        "BadgeAwarded",
        "BadgeAwarded",
        "ChallengeCompleted",
        "ChallengeCompleted",
    ]
    async with games.database.reading() as tx:
        member = (ProgramId(PROGRAM), MemberKey(ann.key))
        progress = await query_store.progress_of_member(tx, member)
        badges = await query_store.badges_of_members(tx, [member])
        summary = await query_store.summary(tx, PROGRAM)
    held = {str(key): each for key, each in progress.items()}
    assert held["explorer"].elements == {"10001", "10002", "10003", "10004", "10005", "10006"}
    regular = held["regular"].completion
    assert regular is not None
    assert (regular.complete_time, regular.reward_state) == (NOON + 62 * DAY, RewardState.OWED)
    assert [(each.badge_id, each.award_time) for each in badges[member]] == [
        ("monthly-habit", NOON + 60 * DAY),
        ("regular", NOON + 62 * DAY),
    ]
    assert summary.badges == {"regular": 1, "monthly-habit": 1}
    assert (summary.members, summary.intentions_open) == (1, 1)
    scores = {(row.board_id, row.period): row for row in await rows_of(games.database, "scores")}
    assert {key: row.score for key, row in scores.items()} == {
        ("top-earners", "all"): 67,
        ("spend", "2011-01"): 200,
        ("spend", "2011-02"): 100,
        ("spend", "2011-03"): 400,
    }
    assert scores["top-earners", "all"].reached_time == NOON + 63 * DAY
    (intention,) = await rows_of(games.database, "intentions")
    order = record.loads(CreditOrder, intention.payload)
    assert (order.points, order.reason) == (200, "Five purchases")
    assert order.occurred_time == NOON + 62 * DAY


async def test_events_that_come_again_change_nothing_together_or_alone(games: Games) -> None:
    await games.apply()
    published = [event for name in ("ann", "bob") for event in a_life(Customer.of(name))]
    await games.follow(published)
    before = await everything(games.database)
    await games.follow(published)
    for item in followed_of(published):
        await games.group_commit.submit_many([item], wait=True)
    twice = [item for item in followed_of(published) for _ in range(2)]
    await games.group_commit.submit_many(twice, wait=True)
    assert await everything(games.database) == before


async def test_one_by_one_or_all_at_once_comes_to_the_same(games: Games) -> None:
    await games.apply()
    published = a_life(Customer.of("ann"))
    for item in followed_of(published[:5]):
        await games.group_commit.submit_many([item], wait=True)
    await games.follow(published, first=5)
    scores = await rows_of(games.database, "scores")
    heads = await rows_of(games.database, "board_heads")
    assert {row.score for row in scores} == {67, 200, 100, 400}
    for head in heads:
        changed = [
            row.changed_position
            for row in scores
            if (row.board_id, row.period) == (head.board_id, head.period)
        ]
        assert changed == [head.position]


async def test_without_a_document_activities_mean_nothing(games: Games) -> None:
    ann = Customer.of("ann")
    await games.follow(a_life(ann))
    assert await rows_of(games.database, "progress") == []
    assert len(await rows_of(games.database, "members")) == 1
    assert {row.identifier for row in await rows_of(games.database, "member_identifiers")} == {
        "ann",
        "card-ann",
    }


async def test_what_was_completed_under_one_version_stays_under_the_next(games: Games) -> None:
    assert await games.apply() == 1
    ann = Customer.of("ann")
    published = a_life(ann)
    await games.follow(published[:3])
    document = (await games.documents.in_force(PROGRAM)).document
    document.challenges[0].count.target = 2
    assert await games.apply(document) == 2
    await games.follow(published, first=3)
    completed = [
        events_pb2.ChallengeCompleted.FromString(row.payload)
        for row in await rows_of(games.database, "feed_events")
        if row.type.endswith("ChallengeCompleted")
    ]
    versions = {each.challenge_id: each.program_version for each in completed}
    assert versions == {"regular": 2, "monthly-habit": 2}


async def test_an_activity_of_nobody_parks_and_the_others_flow_on(games: Games) -> None:
    await games.apply()
    ann, nobody = Customer.of("ann"), Customer.of("nobody")
    published = [nobody.buys("1", NOON, "10001"), *a_life(ann)]
    await games.group_commit.submit_many(followed_of(published), wait=True)
    assert [row.member_key for row in await rows_of(games.database, "parked_members")] == [
        nobody.key
    ]
    assert {row.member_key for row in await rows_of(games.database, "scores")} == {ann.key}


async def test_a_payload_that_is_not_what_its_type_says_is_an_error(games: Games) -> None:
    event = events_of([Customer.of("ann").joins(NOON)])[0]
    event.payload.value = b"\xff\xff"
    with pytest.raises(Exception, match="parsing"):
        followed("earning", event, commands_of(event))


# Submitted scores --------------------------------------------------------------------------------


def request(request_id: str, board: str, *scores: tuple[str, int, int]) -> SubmitScores:
    """A SubmitScores of (member, score, day)."""
    return SubmitScores(
        program_id=ProgramId(PROGRAM),
        request_id=request_id,
        board_id=BoardId(board),
        submissions=tuple(
            Submission(
                member_id=MemberId(member), score=score, occurred_time=NOON + timedelta(days=day)
            )
            for member, score, day in scores
        ),
    )


def scores_in(outcome: Outcome) -> list[int | str]:
    """Score after each submission, or the reason of its refusal."""
    assert isinstance(outcome.answer, SubmittedScores)
    return [
        errors.load(each.refusal).reason if each.refusal else each.score
        for each in outcome.answer.results
    ]


async def with_members(games: Games, *names: str) -> None:
    """Apply the document and enrol members."""
    await games.apply()
    await games.follow([Customer.of(name).joins(NOON) for name in names])


async def test_submissions_are_settled_one_by_one_and_a_repeat_is_answered_alike(
    games: Games,
) -> None:
    await with_members(games, "ann", "bob")
    sent = request(
        "r-1", "total", ("ann", 5, 1), ("card-ann", 6, 2), ("zoe", 1, 1), ("bob", 2**53, 1)
    )
    first = await games.group_commit.submit(sent)
    assert scores_in(first) == [5, 11, "MEMBER_NOT_FOUND", "SCORE_OUT_OF_RANGE"]
    assert first.token.startswith("gamification:")
    before = await everything(games.database)
    again = await games.group_commit.submit(sent)
    assert (again.answer, again.token, again.repeated) == (first.answer, first.token, True)
    assert await everything(games.database) == before


def test_a_request_weighs_what_it_submits() -> None:
    assert weight_of_item(request("r-1", "total", ("ann", 5, 1), ("bob", 6, 1))) == 2
    assert weight_of_item(request("r-1", "total")) == 1


async def test_fifty_copies_at_once_count_once(games: Games) -> None:
    await with_members(games, "ann")
    sent = request("r-1", "total", ("ann", 5, 1))
    outcomes = await asyncio.gather(*(games.group_commit.submit(sent) for _ in range(50)))
    assert [scores_in(each) for each in outcomes] == [[5]] * 50
    (score,) = await rows_of(games.database, "scores")
    assert (score.score, score.changed_position) == (5, 1)


async def test_the_same_request_id_with_other_scores_is_refused_and_has_no_effect(
    games: Games,
) -> None:
    await with_members(games, "ann")
    await games.group_commit.submit(request("r-1", "total", ("ann", 5, 1)))
    before = await everything(games.database)
    for other in (
        request("r-1", "total", ("ann", 6, 1)),
        request("r-1", "total", ("ann", 5, 2)),
        request("r-1", "best", ("ann", 5, 1)),
        request("r-1", "total", ("ann", 5, 1), ("ann", 5, 1)),
    ):
        with pytest.raises(errors.IdempotencyKeyReused):
            await games.group_commit.submit(other)
    assert await everything(games.database) == before


async def test_hundreds_of_requests_at_once_add_up(games: Games) -> None:
    await with_members(games, "ann", "bob")
    sent = [
        request(f"{board}-{number}", board, ("ann", 1, number), ("bob", 2, number))
        for number in range(150)
        for board in ("total", "best")
    ]
    await asyncio.gather(*(games.group_commit.submit(each) for each in sent))
    scores = await rows_of(games.database, "scores")
    assert sorted((row.board_id, row.score) for row in scores) == [
        ("best", 1),
        ("best", 2),
        ("total", 150),
        ("total", 300),
    ]


@pytest.mark.parametrize("score", [LARGEST, -LARGEST])
async def test_the_largest_scores_are_kept_exactly(games: Games, score: int) -> None:
    await with_members(games, "ann")
    outcome = await games.group_commit.submit(request("r-1", "last", ("ann", score, 1)))
    assert scores_in(outcome) == [score]
    assert [row.score for row in await rows_of(games.database, "scores")] == [score]


@pytest.mark.parametrize(
    ("program", "board", "refusal"),
    [
        ("nowhere", "total", errors.ProgramNotFound),
        (PROGRAM, "nothing", LeaderboardNotFound),
        (PROGRAM, "spend", ScoresNotAccepted),
    ],
)
async def test_scores_for_no_board_are_refused(
    games: Games, program: str, board: str, refusal: type[errors.Refusal]
) -> None:
    await with_members(games, "ann")
    sent = replace(request("r-1", board, ("ann", 1, 1)), program_id=ProgramId(program))
    with pytest.raises(refusal):
        await games.group_commit.submit(sent)
    assert await rows_of(games.database, "scores") == []
