"""The programs that come along, applied as files and driven through the public API."""

import asyncio
from collections.abc import AsyncIterator
from zoneinfo import ZoneInfo

import grpc
import pytest
import pytest_asyncio
from google.type.date_pb2 import Date

from cli import quiescence, replay, verify
from cli.peers import Peers
from guerdon.earning.v1 import activity_pb2, member_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from shared.rpc.client import refusal_of_status
from tests.programs.driving import SHANGHAI, activity, at, available, earned, running

NAMES = ("classic", "coffee-stars", "supermarket-card")
NEW_YORK = ZoneInfo("America/New_York")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def peers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Peers]:
    async with running(tmp_path_factory.mktemp("programs"), *NAMES) as reached:
        yield reached


QUIET = at("2026-06-15T12:00")
MEMBER_DAY = at("2026-06-08T12:00")


async def test_classic_multiplies_first_order_member_day_and_level(peers: Peers) -> None:
    orders = [
        activity("ada", 0, when=QUIET, kind="registration"),
        activity("ada", 100, when=QUIET),
        activity("ada", 128.90, when=QUIET),
        activity("ada", 100, when=MEMBER_DAY),
    ]
    assert await earned(peers, "classic", *orders) == [100, 500, 128, 200]
    first_on_member_day = activity("bea", 100, when=MEMBER_DAY)
    assert await earned(peers, "classic", first_on_member_day) == [1_000]


async def test_classic_caps_an_order_and_leaves_out_what_was_paid_in_points(peers: Peers) -> None:
    orders = [
        activity("cyd", 900, when=QUIET),
        activity("cyd", 200, when=QUIET, paid_in_points=40),
        activity("cyd", 0, when=QUIET, kind="registration"),
        activity("cyd", 0, when=QUIET, kind="registration"),
    ]
    assert await earned(peers, "classic", *orders) == [2_000, 160, 100, 0]


async def test_classic_doubles_around_the_birthday(peers: Peers) -> None:
    profile = member_pb2.MemberProfile(birth_date=Date(year=1990, month=6, day=18))
    request = pb.EnrollMemberRequest(
        request_id="e-dan", program_id="classic", member_id="dan", profile=profile
    )
    await peers.earning.EnrollMember(request)
    orders = [
        activity("dan", 10, when=QUIET),
        activity("dan", 100, when=QUIET),
        activity("dan", 100, when=at("2026-06-14T23:59")),
    ]
    assert await earned(peers, "classic", *orders) == [100, 200, 100]


async def test_classic_gives_silver_half_as_many_again_and_takes_a_return_back(
    peers: Peers,
) -> None:
    today, tomorrow = at("2026-06-30T13:00"), at("2026-07-01T12:00")
    await replay.advance_clocks(peers, today)
    assert await earned(peers, "classic", activity("eve", 350, when=today)) == [1_750]
    await quiescence.wait(peers)
    await replay.advance_clocks(peers, tomorrow)
    await quiescence.wait(peers)
    order = activity("eve", 200, when=tomorrow, name="eve-2")
    assert await earned(peers, "classic", order) == [300]
    returned = pb.ReversalOrder(
        reversal_id="r-eve", activity_id="eve-2", amount=pb.ReturnedAmount(amount_minor=8_000)
    )
    returned.occurred_time.FromDatetime(tomorrow)
    answer = await peers.earning.ReverseActivity(
        pb.ReverseActivityRequest(program_id="classic", order=returned)
    )
    assert answer.reversal.points == 120
    assert await available(peers, "classic", "eve") == 1_750 + 300 - 120


async def test_coffee_stars_counts_drinks_goods_windows_and_every_tenth_visit(
    peers: Peers,
) -> None:
    def visit(when: str, *lines: tuple[str, float]) -> activity_pb2.Activity:
        amount = sum(each for _, each in lines)
        return activity(
            "fay", amount, when=at(when, NEW_YORK), currency="USD", lines=lines, source="cafe"
        )

    visits = [
        visit("2026-06-02T09:00", ("drink", 4.50), ("goods", 10)),
        visit("2026-06-02T14:00", ("drink", 4.50), ("goods", 10)),
        visit("2026-06-06T14:00", ("drink", 4.50)),
        visit("2026-05-12T09:00", ("drink", 5), ("goods", 5)),
        visit("2026-05-12T15:00", ("drink", 5), ("goods", 5)),
        *[visit("2026-06-03T09:00", ("drink", 1)) for _ in range(5)],
        visit("2026-06-04T09:00", ("drink", 90)),
    ]
    # Of the triple week and the double afternoon the best counts, for drinks.
    expected = [19, 38, 9, 35, 40, 2, 2, 2, 2, 27, 100]
    assert await earned(peers, "coffee-stars", *visits) == expected


async def test_the_supermarket_card_is_one_account_online_and_in_the_shop(peers: Peers) -> None:
    friday = at("2026-06-26T19:00")
    orders = [
        activity("gus", 99.99, when=QUIET),
        activity("gus", 100, when=QUIET, source="till 4"),
        activity("gus", 250, when=QUIET, source="web"),
        activity("gus", 60, when=friday, source="app"),
        activity("gus", 60, when=friday, source="till 4"),
    ]
    assert await earned(peers, "supermarket-card", *orders) == [0, 1, 2, 1, 0]
    assert await available(peers, "supermarket-card", "gus") == 4


async def test_an_offline_till_that_sends_its_receipts_again_credits_each_once(
    peers: Peers,
) -> None:
    offline = [
        activity(
            "hal",
            100 * number,
            when=at(f"2026-06-{number:02}T10:00"),
            source="till 9",
            receipt=f"9-{number}",
        )
        for number in range(1, 21)
    ]

    async def send(tag: str) -> list[str]:
        again = [activity_pb2.Activity.FromString(each.SerializeToString()) for each in offline]
        for each in again:
            each.activity_id = f"{tag}-{each.external_reference}"
        answer = await peers.earning.BatchRecordActivities(
            pb.BatchRecordActivitiesRequest(program_id="supermarket-card", activities=again)
        )
        return [
            refusal_of_status(each.refused).reason if each.HasField("refused") else ""
            for each in answer.results
        ]

    told = await asyncio.gather(*(send(f"copy-{copy}") for copy in range(5)))
    assert sorted(reason for reasons in told for reason in reasons) == [
        *[""] * 20,
        *["EXTERNAL_REFERENCE_REUSED"] * 80,
    ]
    assert await available(peers, "supermarket-card", "hal") == sum(range(1, 21))


async def test_points_of_the_supermarket_card_end_with_the_next_year(peers: Peers) -> None:
    await earned(peers, "supermarket-card", activity("ida", 500, when=QUIET))
    request = pb.GetWalletRequest(program_id="supermarket-card", member_id="ida")
    wallet = (await peers.earning.GetWallet(request)).wallet
    (expiring,) = wallet.expiring
    end = expiring.expire_time.ToDatetime(tzinfo=SHANGHAI)
    assert (expiring.points, end.isoformat()) == (5, "2028-01-01T00:00:00+08:00")


async def test_a_wrong_currency_is_refused_and_everything_verifies(peers: Peers) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="EUR are not accepted, only in CNY"):
        await earned(peers, "classic", activity("ada", 1, when=QUIET, currency="EUR"))
    await quiescence.wait(peers)
    assert await verify.verify(peers) == []
