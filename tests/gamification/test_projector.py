"""Boards: the index follows the database, whatever is lost, killed or doubled on the way."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar, cast

import pytest
import redis.asyncio as redis

from guerdon.gamification.v1 import program_pb2 as pb
from services.gamification import tables
from services.gamification.boardcheck import BoardCheck
from services.gamification.domain import BoardId, BoardNotReady, Period, ProgramId
from services.gamification.index import Place
from services.gamification.ranking import Layout, Ties, time_bytes
from services.gamification.refold import Violation
from shared import errors
from shared.ids import SeededIds
from tests.gamification.conftest import Games, games_over
from tests.gamification.peers import PROGRAM, Customer, Published, at, giftshop

NOON = at("2011-01-10T12:00")
T = TypeVar("T")
TOP = Place(program_id=ProgramId(PROGRAM), board_id=BoardId("top-earners"), period=Period("all"))
CUSTOMERS = [Customer.of(f"c{number:03}") for number in range(40)]


def pick(chance: SeededIds, values: Sequence[T]) -> T:
    return values[int(chance.fraction() * len(values))]


def purchases(seed: int = 1, count: int = 300) -> list[Published]:
    """Enrolments, then purchases of three months with many equal points."""
    chance = SeededIds(seed)
    bought = [
        pick(chance, CUSTOMERS).buys(
            f"p{number}",
            NOON + timedelta(hours=7 * number),
            f"1000{number % 9}",
            points=pick(chance, [0, 10, 10, 20]),
            pence=pick(chance, [100, 100, 250]),
        )
        for number in range(count)
    ]
    return [customer.joins(NOON) for customer in CUSTOMERS] + bought


def ranking(published: Sequence[Published]) -> list[tuple[str, int, int]]:
    """Member, rank and points as a person would work them out from the purchases."""
    sums: dict[str, int] = {}
    reached: dict[str, object] = {}
    keys = {customer.key: customer.member_id for customer in CUSTOMERS}
    for each in published:
        record = getattr(each.message, "record", None)
        if record is not None and record.points:
            sums[each.member_key] = sums.get(each.member_key, 0) + record.points
            reached[each.member_key] = each.at
    order = sorted(sums, key=lambda key: (-sums[key], reached[key], key))
    ranks = [1 + sum(other > sums[key] for other in sums.values()) for key in order]
    return [(keys[key], rank, sums[key]) for key, rank in zip(order, ranks, strict=True)]


async def violations(games: Games) -> list[Violation]:
    """What the check of the boards finds."""
    check = BoardCheck(games.database, games.documents, games.index, games.projector)
    return [each async for checked in check.run(PROGRAM) for each in checked.violations]


async def test_the_board_is_what_the_purchases_say(games: Games) -> None:
    await games.apply()
    published = purchases()
    await games.follow(published)
    await games.projector.project_all()
    assert await games.listed("top-earners") == ranking(published)
    assert await violations(games) == []


async def test_purchases_in_another_order_make_the_same_boards(
    games: Games, boards_client: "redis.Redis"
) -> None:
    await games.apply()
    published = purchases()
    joined, bought = published[: len(CUSTOMERS)], published[len(CUSTOMERS) :]
    chance = SeededIds(5)
    bought.sort(key=lambda _: chance.fraction())
    await games.follow(joined + bought)
    await games.projector.project_all()
    assert await games.listed("top-earners") == ranking(published)


async def test_a_board_without_scores_is_empty_and_one_not_projected_yet_is_not_ready(
    games: Games,
) -> None:
    await games.apply()
    assert await games.listed("top-earners") == []
    assert await games.listed("spend", "1999-12") == []
    await games.follow(purchases(count=20))
    with pytest.raises(BoardNotReady) as refused:
        await games.listed("top-earners")
    assert refused.value.retry_after_seconds == 1
    await games.projector.project_all()
    assert await games.listed("top-earners") != []


async def test_a_flushed_index_is_not_ready_and_then_the_same(
    games: Games, boards_client: "redis.Redis"
) -> None:
    await games.apply()
    published = purchases()
    await games.follow(published[:200])
    await games.projector.project_all()
    before = await games.listed("top-earners")
    await boards_client.flushall()
    with pytest.raises(BoardNotReady):
        await games.listed("top-earners")
    await games.projector.project_all()
    assert await games.listed("top-earners") == before
    await boards_client.flushall()
    await games.follow(published, first=200)
    await games.projector.project_all()
    assert await games.listed("top-earners") == ranking(published)
    assert await violations(games) == []


async def test_a_running_projector_notices_a_lost_index_by_itself(
    games: Games, boards_client: "redis.Redis"
) -> None:
    await games.apply()
    await games.follow(purchases())
    games.database.on_commit(games.projector.wake)
    task = asyncio.create_task(games.projector.run())
    try:
        expected = ranking(purchases())
        for _ in range(4):
            assert await first_answer(games) == expected
            await boards_client.flushall()
    finally:
        task.cancel()


async def first_answer(games: Games) -> list[tuple[str, int, int]]:
    """The board as soon as it is ready, right or wrong."""
    for _ in range(200):
        try:
            return await games.listed("top-earners")
        except BoardNotReady:
            await asyncio.sleep(0.05)
    raise AssertionError("the board never became ready")


async def test_an_index_that_lost_its_tail_carries_on_from_there(
    games: Games, boards_client: "redis.Redis"
) -> None:
    await games.apply()
    published = purchases()
    await games.follow(published[:150])
    await games.projector.project_all()
    names = [name async for name in boards_client.scan_iter(match="*")]
    saved = {name: await boards_client.dump(name) for name in names}
    await games.follow(published, first=150)
    await games.projector.project_all()
    await boards_client.flushall()
    for name, dump in saved.items():
        assert dump is not None
        await boards_client.restore(name, 0, dump)
    await games.projector.project_all()
    assert await games.listed("top-earners") == ranking(published)
    assert await violations(games) == []


async def test_two_projectors_at_once_make_one_board(
    games: Games, boards_client: "redis.Redis"
) -> None:
    await games.apply()
    other = games_over(games.database, boards_client, games.clock)
    published = purchases()
    for start in range(0, len(published), 60):
        await games.follow(published[: start + 60], first=start)
        await asyncio.gather(games.projector.project_all(), other.projector.project_all())
    await asyncio.gather(*(each.projector.project_all() for each in (games, other, games)))
    assert await games.listed("top-earners") == ranking(published)
    assert await violations(games) == []


async def test_a_projector_killed_at_any_step_leaves_nothing_that_the_next_cannot_finish(
    games: Games, boards_client: "redis.Redis"
) -> None:
    await games.apply()
    published = purchases()
    await games.follow(published)
    for steps in range(0, 60, 3):
        if steps % 12 == 0:
            await boards_client.flushall()
        task = asyncio.create_task(games.projector.project_all())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await games.projector.project_all()
    assert await games.listed("top-earners") == ranking(published)
    assert await violations(games) == []


async def test_an_index_that_is_ahead_of_a_restored_database_is_made_anew(games: Games) -> None:
    await games.apply()
    await games.follow(purchases())
    await games.projector.project_all()
    async with games.database.transaction() as tx:
        await tx.execute(tables.board_heads.delete())
        await tx.execute(tables.scores.delete())
        head = {
            "program_id": PROGRAM,
            "board_id": "top-earners",
            "period": "all",
            "partition": int(CUSTOMERS[0].key[0], 16),
        }
        await tx.insert(tables.board_heads, [{**head, "position": 1}])
        score = {"member_key": CUSTOMERS[0].key, "score": 3, "reached_time": NOON}
        await tx.insert(tables.scores, [{**head, **score, "changed_position": 1}])
    await games.projector.project_all()
    assert await games.listed("top-earners") == [("c000", 1, 3)]


@pytest.mark.parametrize(
    ("change", "ties", "ascending"),
    [
        ({"tie_policy": pb.Leaderboard.TIE_POLICY_DENSE}, Ties.DENSE, False),
        ({"tie_policy": pb.Leaderboard.TIE_POLICY_STRICT}, Ties.STRICT, False),
        ({"order": pb.Leaderboard.ORDER_ASCENDING}, Ties.COMPETITION, True),
    ],
)
async def test_a_document_that_changes_the_order_has_its_board_made_anew(
    games: Games,
    change: dict[str, int],
    ties: Ties,
    ascending: bool,  # noqa: FBT001 - a column of the table
) -> None:
    await games.apply()
    await games.follow(purchases())
    await games.projector.project_all()
    document = giftshop()
    for name, value in change.items():
        setattr(document.leaderboards[0], name, value)
    await games.apply(document)
    layout = (await games.documents.layouts())[PROGRAM, "top-earners"]
    assert layout == Layout(ascending=ascending, ties=ties)
    await games.projector.project_all()
    assert await violations(games) == []
    scores = [score for _, _, score in await games.listed("top-earners")]
    assert scores == sorted(scores, reverse=not ascending)


async def test_a_rebuild_tells_how_many_rows_and_ends_in_the_same_board(games: Games) -> None:
    await games.apply()
    await games.follow(purchases())
    games.database.on_commit(games.projector.wake)
    task = asyncio.create_task(games.projector.run())
    try:
        expected = ranking(purchases())
        rebuilt = await games.boards.rebuild(PROGRAM, "top-earners", "", wait_until_ready=True)
        assert [(each.place, each.row_count) for each in rebuilt] == [(TOP, len(expected))]
        assert await games.listed("top-earners") == expected
        every = await games.boards.rebuild(PROGRAM, "", "", wait_until_ready=True)
        assert [(each.place.board_id, each.place.period) for each in every] == [
            ("spend", "2011-01"),
            ("spend", "2011-02"),
            ("spend", "2011-03"),
            ("spend", "2011-04"),
            ("top-earners", "all"),
        ]
    finally:
        task.cancel()


@pytest.mark.parametrize("tamper", ["score", "extra", "missing", "time", "instant"])
async def test_the_check_finds_an_index_that_differs(
    games: Games, boards_client: "redis.Redis", tamper: str
) -> None:
    await games.apply()
    await games.follow(purchases())
    await games.projector.project_all()
    name = f"{{guerdon:{PROGRAM}:top-earners:all}}:z"
    found = await boards_client.zrange(name, 0, 0, withscores=True)
    first, score = cast("list[tuple[bytes, float]]", found)[0]
    match tamper:
        case "score":
            await boards_client.zadd(name, {first: score - 1})
        case "extra":
            await boards_client.zadd(name, {first[:8] + b"\x01" * 16: score})
        case "instant":
            await boards_client.zrem(name, first)
            await boards_client.zadd(name, {b"\x00" * 8 + first[8:]: score})
        case "missing":
            await boards_client.zrem(name, first)
        case _:
            await boards_client.zrem(name, first)
            await boards_client.zadd(name, {time_bytes(NOON) + first[8:]: score})
    assert {each.rule for each in await violations(games)} == {"board_equals_scores"}


async def test_with_the_index_away_boards_are_not_ready_and_nothing_else_suffers(
    games: Games,
) -> None:
    away = replace(games)
    client = redis.Redis(host="127.0.0.1", port=1)
    other = games_over(away.database, client, games.clock)
    await other.apply()
    await other.follow(purchases())
    with pytest.raises(BoardNotReady):
        await other.listed("top-earners")
    with pytest.raises(errors.NotReady):
        await other.projector.progress()
    assert await other.listed("spend", "1999-01") == []
    await client.aclose()


async def test_progress_says_how_far_the_index_is(
    games: Games, boards_client: "redis.Redis"
) -> None:
    await games.apply()
    await games.follow(purchases())
    reached, wanted = await games.projector.progress()
    assert sum(place.position for place in wanted) > sum(place.position for place in reached) == 0
    await games.projector.project_all()
    reached, wanted = await games.projector.progress()
    assert reached == wanted
    await boards_client.flushall()
    reached, wanted = await games.projector.progress()
    assert sum(place.position for place in reached) == 0
