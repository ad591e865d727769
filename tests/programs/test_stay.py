"""The hotel: points for nights and for spending, through the public API."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from cli import quiescence, replay, verify
from cli.peers import Peers
from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from tests.programs.driving import activity, at, available, earned, running

PARIS = ZoneInfo("Europe/Paris")
JUNE = at("2026-06-20T11:00", PARIS)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def peers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Peers]:
    async with running(tmp_path_factory.mktemp("stay"), "stay") as reached:
        yield reached


def stay(
    member: str,
    nights: int | None,
    *lines: tuple[str, float],
    when: datetime = JUNE,
    name: str = "",
) -> activity_pb2.Activity:
    """A stay; lines are pairs of category and euros."""
    paid = sum(each for _, each in lines)
    made = activity(
        member, paid, when=when, kind="stay", currency="EUR", lines=lines, name=name, source="hotel"
    )
    if nights is not None:
        made.attributes["nights"].integer_value = nights
    return made


THREE_NIGHTS: Sequence[tuple[str, float]] = [("room", 450), ("dining", 80.50), ("spa", 60)]


async def test_nights_and_what_was_spent_earn_and_the_first_stay_is_welcomed(peers: Peers) -> None:
    stays = [stay("ann", 3, *THREE_NIGHTS), stay("ann", 3, *THREE_NIGHTS)]
    # 3 nights at 500, 530.50 euros at ten points; the spa earns nothing.
    assert await earned(peers, "stay", *stays) == [1_500 + 5_305 + 1_000, 1_500 + 5_305]


async def test_a_level_and_the_quiet_season_add_up(peers: Peers) -> None:
    autumn = at("2026-11-10T12:00", PARIS)
    await earned(peers, "stay", stay("bob", 8, ("room", 1_200)))
    await quiescence.wait(peers)
    await replay.advance_clocks(peers, autumn)
    await quiescence.wait(peers)
    winter = stay("bob", 1, ("room", 100), when=autumn)
    # Silver by a quarter and the season by one: 1 + 1/4 + 1 on 500 + 1,000 points.
    assert await earned(peers, "stay", winter) == [3_375]


async def test_points_of_a_stay_can_be_spent_two_days_later_and_live_on_with_each_stay(
    peers: Peers,
) -> None:
    begin = at("2026-11-12T12:00", PARIS)
    await replay.advance_clocks(peers, begin)
    await earned(peers, "stay", stay("ema", 2, when=begin))
    wallet = pb.GetWalletRequest(program_id="stay", member_id="ema")
    assert (await peers.earning.GetWallet(wallet)).wallet.points_pending == 3_000
    await replay.advance_clocks(peers, begin + timedelta(days=2))
    assert await available(peers, "stay", "ema") == 3_000
    later = begin + timedelta(days=30)
    await replay.advance_clocks(peers, later)
    await earned(peers, "stay", stay("ema", 1, when=later))
    await replay.advance_clocks(peers, later + timedelta(days=2))
    seen = (await peers.earning.GetWallet(wallet)).wallet
    assert seen.points_available == 4_000
    # All of them live a year and a half from the last stay on.
    ends = {
        each.expire_time.ToDatetime(tzinfo=UTC).astimezone(PARIS).date() for each in seen.expiring
    }
    assert ends == {date(2028, 6, 15)}


async def test_points_of_a_stay_wait_two_days_and_a_stay_without_nights_is_kept(
    peers: Peers,
) -> None:
    await earned(peers, "stay", stay("cid", 2, name="cid-1"))
    assert await available(peers, "stay", "cid") == 0
    unknown = stay("cid", None, ("room", 100), name="cid-2")
    answer = await peers.earning.RecordActivity(
        pb.RecordActivityRequest(program_id="stay", activity=unknown)
    )
    outcomes = {each.rule_id: each for each in answer.record.explanation.rules}
    assert answer.record.points == 1_000
    assert outcomes["nights"].failed
    assert "nights" in outcomes["nights"].reason


async def test_a_stay_that_was_cut_short_gives_back_its_share_and_everything_verifies(
    peers: Peers,
) -> None:
    await earned(peers, "stay", stay("dee", 2, ("room", 200), ("dining", 100), name="dee-1"))
    returned = pb.ReversalOrder(
        reversal_id="r-dee", activity_id="dee-1", amount=pb.ReturnedAmount(amount_minor=10_000)
    )
    returned.occurred_time.FromDatetime(JUNE)
    answer = await peers.earning.ReverseActivity(
        pb.ReverseActivityRequest(program_id="stay", order=returned)
    )
    # A third of 1,000 for nights, 3,000 for spending and 1,000 for the first stay.
    assert answer.reversal.points == 5_000 * 100 // 300
    await quiescence.wait(peers)
    assert await verify.verify(peers) == []
