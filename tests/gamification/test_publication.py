"""A document that comes into force at a set time: activities meet it, and boards appear."""

from datetime import timedelta

from services.gamification import tables
from tests.gamification.conftest import Games
from tests.gamification.peers import PROGRAM, giftshop, with_games
from tests.gamification.test_projector import purchases, ranking, violations


async def test_purchases_count_for_a_board_from_the_set_instant_on(games: Games) -> None:
    without = with_games(giftshop())
    [board] = [each for each in without.leaderboards if each.board_id == "top-earners"]
    everything = with_games(giftshop())
    without.leaderboards.remove(board)
    opening = games.clock.now() + timedelta(days=1)
    await games.apply(without)
    await games.documents.apply(
        everything,
        author="test",
        etag="",
        validate_only=False,
        prune=True,
        publish_time=opening,
    )
    assert (PROGRAM, "top-earners") not in await games.documents.layouts()
    games.clock.advance(opening)
    published = purchases()
    await games.follow(published)
    assert (PROGRAM, "top-earners") in await games.documents.layouts()
    await games.projector.project_all()
    assert await games.listed("top-earners") == ranking(published)
    assert await violations(games) == []
    async with games.database.reading() as tx:
        rows = await tx.select(tables.kernel.program_versions, [(PROGRAM,)], key=("program_id",))
    assert sorted((row.version, row.publish_time) for row in rows)[1] == (2, opening)
