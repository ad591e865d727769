"""The index against a sorted list: ranks, listing, cursors, readiness, and what it refuses."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import redis.asyncio as redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.gamification.domain import BoardId, MemberKey, Period, ProgramId
from services.gamification.index import (
    BoardIndex,
    ChangedScore,
    IndexEvicts,
    PageRead,
    Place,
    StandingRead,
)
from services.gamification.ranking import Layout, RankedRow, Ties
from shared.database import to_micros

LARGEST = 2**53 - 1
PLACE = Place(program_id=ProgramId("shop"), board_id=BoardId("top"), period=Period("all"))
START = datetime(2011, 1, 1, tzinfo=UTC)
LAYOUTS = [Layout(ascending=up, ties=ties) for up in (False, True) for ties in Ties]


def key(number: int) -> MemberKey:
    return MemberKey(f"{number:032x}")


def changed(number: int, score: int, seconds: int = 0) -> ChangedScore:
    reached = START + timedelta(seconds=seconds)
    return ChangedScore(member_key=key(number), score=score, reached_time=reached)


def ranking_of(rows: Sequence[ChangedScore], layout: Layout) -> list[RankedRow]:
    """The same ranking by sorting, as the rules say it in words."""
    current = {row.member_key: row for row in rows}.values()
    listed = sorted(
        current,
        key=lambda r: (r.score if layout.ascending else -r.score, r.reached_time, r.member_key),
    )
    ranks: list[int] = []
    for place, row in enumerate(listed):
        equal = place > 0 and listed[place - 1].score == row.score
        if equal and layout.ties is not Ties.STRICT:
            ranks.append(ranks[-1])
        elif layout.ties is Ties.DENSE:
            ranks.append(ranks[-1] + 1 if ranks else 1)
        else:
            ranks.append(place + 1)
    return [
        RankedRow(
            member_key=row.member_key,
            rank=rank,
            score=row.score,
            reached_micros=to_micros(row.reached_time),
        )
        for rank, row in zip(ranks, listed, strict=True)
    ]


async def fill(index: BoardIndex, layout: Layout, rows: Sequence[ChangedScore]) -> None:
    cursor = 0
    for start in range(0, len(rows), 500):
        part = rows[start : start + 500]
        reached = cursor + len(part)
        assert (
            await index.apply(PLACE, layout, 0, expected=cursor, reached=reached, rows=part)
            == reached
        )
        cursor = reached
    assert await index.mark_ready(PLACE, layout, {0: cursor})


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda each: f"{each}-{each.ties.name}")
async def test_equal_scores_have_the_ranks_of_the_policy_and_are_listed_by_who_got_there_first(
    boards_client: "redis.Redis", layout: Layout
) -> None:
    index = BoardIndex(boards_client, "db1")
    rows = [changed(1, 50, 9), changed(2, 70), changed(3, 50, 3), changed(4, 20), changed(5, 50, 3)]
    await fill(index, layout, rows)
    (page,) = await index.read([PageRead(place=PLACE, layout=layout, offset=0, count=10)])
    assert page is not None
    expected = [(2, 1), (3, 2), (5, 2), (1, 2), (4, 5)]
    if layout.ascending:
        expected = [(4, 1), (3, 2), (5, 2), (1, 2), (2, 5)]
    ranks = {
        Ties.COMPETITION: [1, 2, 2, 2, 5],
        Ties.DENSE: [1, 2, 2, 2, 3],
        Ties.STRICT: [1, 2, 3, 4, 5],
    }[layout.ties]
    assert [row.member_key for row in page.rows] == [key(number) for number, _ in expected]
    assert [row.rank for row in page.rows] == ranks


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, 7),
            st.sampled_from([0, 1, -1, 5, LARGEST, LARGEST - 1, -LARGEST, 1 - LARGEST]),
            st.integers(-5, 5),
        ),
        min_size=1,
        max_size=20,
    ),
    layout=st.sampled_from(LAYOUTS),
    offset=st.integers(0, 9),
    neighbours=st.integers(0, 3),
)
async def test_whatever_changes_pages_and_standings_are_those_of_a_sorted_list(
    boards_client: "redis.Redis",
    changes: list[tuple[int, int, int]],
    layout: Layout,
    offset: int,
    neighbours: int,
) -> None:
    await boards_client.flushall()
    index = BoardIndex(boards_client, "db1")
    rows = [changed(*each) for each in changes]
    await fill(index, layout, rows)
    expected = ranking_of(rows, layout)
    (page,) = await index.read([PageRead(place=PLACE, layout=layout, offset=offset, count=4)])
    assert page is not None
    assert list(page.rows) == expected[offset : offset + 4]
    assert page.member_count == len(expected)
    asked = [
        StandingRead(place=PLACE, layout=layout, member_key=key(n), neighbours=neighbours)
        for n in range(8)
    ]
    places = {row.member_key: place for place, row in enumerate(expected)}
    for read, standing in zip(asked, await index.read(asked), strict=True):
        assert standing is not None
        place = places.get(read.member_key)
        if place is None:
            assert (standing.rows, standing.own) == ((), -1)
            continue
        first = max(0, place - neighbours)
        assert list(standing.rows) == expected[first : place + neighbours + 1]
        assert standing.rows[standing.own] == expected[place]


@pytest.mark.parametrize("layout", [LAYOUTS[0], LAYOUTS[1]], ids=str)
async def test_a_hundred_thousand_members_with_many_equals_rank_exactly(
    boards_client: "redis.Redis", layout: Layout
) -> None:
    index = BoardIndex(boards_client, "db1")
    rows = [changed(n, (n * 7919) % 1_000, (n * 104_729) % 50) for n in range(100_000)]
    await fill(index, layout, rows)
    expected = ranking_of(rows, layout)
    reads = [
        StandingRead(place=PLACE, layout=layout, member_key=expected[at].member_key, neighbours=2)
        for at in range(0, 100_000, 1_777)
    ]
    for place, standing in zip(range(0, 100_000, 1_777), await index.read(reads), strict=True):
        assert standing is not None
        assert list(standing.rows) == expected[max(0, place - 2) : place + 3]
    listed: list[RankedRow] = []
    for offset in range(0, 100_000, 1_000):
        (page,) = await index.read(
            [PageRead(place=PLACE, layout=layout, offset=offset, count=1_000)]
        )
        assert page is not None
        listed += page.rows
    assert listed == expected


async def test_a_change_is_refused_unless_the_cursor_is_what_the_projector_read(
    boards_client: "redis.Redis",
) -> None:
    index, layout = BoardIndex(boards_client, "db1"), LAYOUTS[0]
    await fill(index, layout, [changed(1, 5), changed(2, 6)])
    stale = await index.apply(PLACE, layout, 0, expected=0, reached=9, rows=[changed(1, 99)])
    assert stale == 2
    ahead = await index.apply(PLACE, layout, 0, expected=7, reached=9, rows=[changed(1, 99)])
    assert ahead == 2
    (page,) = await index.read([PageRead(place=PLACE, layout=layout, offset=0, count=9)])
    assert page is not None
    assert [row.score for row in page.rows] == [6, 5]


async def test_an_index_answers_only_when_every_partition_has_come_to_its_head(
    boards_client: "redis.Redis",
) -> None:
    index, layout = BoardIndex(boards_client, "db1"), LAYOUTS[0]
    page = PageRead(place=PLACE, layout=layout, offset=0, count=9)
    standing = StandingRead(place=PLACE, layout=layout, member_key=key(1), neighbours=0)
    assert await index.read([page, standing]) == [None, None]
    await index.apply(PLACE, layout, 3, expected=0, reached=1, rows=[changed(1, 5)])
    assert not await index.mark_ready(PLACE, layout, {3: 1, 7: 1})
    assert await index.read([page, standing]) == [None, None]
    await index.apply(PLACE, layout, 7, expected=0, reached=4, rows=[changed(2, 5)])
    assert await index.mark_ready(PLACE, layout, {3: 1, 7: 1})
    answers = await index.read([page, standing])
    assert [len(each.rows) for each in answers if each is not None] == [2, 1]
    (state,) = await index.states([(PLACE, layout)])
    assert (dict(state.cursors), state.is_ready) == ({3: 1, 7: 4}, True)


@pytest.mark.parametrize("lose", ["flush", "other database", "other layout", "drop"])
async def test_what_is_lost_or_belongs_elsewhere_is_not_ready_and_starts_from_nothing(
    boards_client: "redis.Redis", lose: str
) -> None:
    index, layout = BoardIndex(boards_client, "db1"), LAYOUTS[0]
    await fill(index, layout, [changed(1, 5), changed(2, 6)])
    match lose:
        case "flush":
            await boards_client.flushall()
        case "other database":
            index = BoardIndex(boards_client, "db2")
        case "other layout":
            layout = Layout(ascending=True, ties=Ties.COMPETITION)
        case _:
            await index.drop([PLACE])
    page = PageRead(place=PLACE, layout=layout, offset=0, count=9)
    assert await index.read([page]) == [None]
    assert await index.apply(PLACE, layout, 0, expected=2, reached=3, rows=[changed(3, 1)]) == 0
    await fill(index, layout, [changed(3, 7)])
    (answer,) = await index.read([page])
    assert answer is not None
    assert [row.member_key for row in answer.rows] == [key(3)]


async def test_scripts_that_the_server_has_lost_are_loaded_again(
    boards_client: "redis.Redis",
) -> None:
    index, layout = BoardIndex(boards_client, "db1"), LAYOUTS[0]
    await fill(index, layout, [changed(1, 5)])
    await boards_client.script_flush()
    (page,) = await index.read([PageRead(place=PLACE, layout=layout, offset=0, count=9)])
    assert page is not None
    assert len(page.rows) == 1


async def test_a_server_that_may_throw_keys_away_is_not_accepted(
    boards_client: "redis.Redis",
) -> None:
    index = BoardIndex(boards_client, "db1")
    await index.check()
    await boards_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(IndexEvicts):
            await index.check()
    finally:
        await boards_client.config_set("maxmemory-policy", "noeviction")
