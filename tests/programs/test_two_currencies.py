"""The airline and the alliance: two currencies of points in one program, through the API."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import grpc
import pytest
import pytest_asyncio

from cli import quiescence, verify
from cli.peers import Peers
from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import points_service_pb2 as points_pb
from tests.programs.driving import activity, at, running

LONDON, BERLIN = ZoneInfo("Europe/London"), ZoneInfo("Europe/Berlin")
JUNE = at("2026-06-20T11:00", LONDON)
SUNDAY = at("2026-06-21T11:00", BERLIN)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def peers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Peers]:
    async with running(tmp_path_factory.mktemp("two"), "miles", "alliance") as reached:
        yield reached


def flight(
    member: str, miles: int, fare: str, *, source: str = "own", name: str = ""
) -> activity_pb2.Activity:
    made = activity(member, 0, when=JUNE, kind="flight", source=source, name=name)
    made.attributes["miles"].integer_value = miles
    made.attributes["fare"].string_value = fare
    return made


def basket(
    member: str,
    *lines: tuple[str, float],
    when: datetime = JUNE,
    currency: str = "EUR",
    name: str = "",
) -> activity_pb2.Activity:
    """A purchase; lines are pairs of merchant and amount."""
    paid = sum(each for _, each in lines)
    made = activity(member, paid, when=when, currency=currency, lines=lines, name=name)
    for line, (merchant, _) in zip(made.lines, lines, strict=True):
        line.merchant = merchant
    return made


async def recorded(peers: Peers, program: str, each: activity_pb2.Activity) -> dict[str, int]:
    """What an activity earned, by currency."""
    request = pb.RecordActivityRequest(program_id=program, activity=each)
    record = (await peers.earning.RecordActivity(request)).record
    earned = {record.currency_id: record.points}
    earned.update({more.currency_id: more.points for more in record.further_earnings})
    return {currency: points for currency, points in earned.items() if points}


async def wallet(peers: Peers, program: str, member: str, currency: str) -> int:
    request = pb.GetWalletRequest(program_id=program, member_id=member, currency_id=currency)
    return (await peers.earning.GetWallet(request)).wallet.points_available


def swap(member: str, of: str, to: str, points: int) -> points_pb.ConvertPointsRequest:
    return points_pb.ConvertPointsRequest(
        request_id=f"{member}-swaps",
        program_id="alliance",
        member_id=member,
        from_currency_id=of,
        to_currency_id=to,
        points=points,
    )


@pytest.mark.parametrize(
    ("miles", "fare", "source", "expected"),
    [
        (3_451, "M", "own", {"miles": 3_451, "status": 3_451}),
        (3_451, "O", "own", {"miles": 1_725, "status": 3_451}),
        (3_451, "C", "own", {"miles": 6_902, "status": 5_176}),
        (3_451, "F", "own", {"miles": 10_353, "status": 5_176}),
        (180, "M", "own", {"miles": 500, "status": 180}),
        (3_451, "C", "partner", {"miles": 6_902}),
    ],
)
async def test_miles_are_by_distance_and_fare_and_status_miles_apart(
    peers: Peers, miles: int, fare: str, source: str, expected: dict[str, int]
) -> None:
    trip = flight(f"m-{miles}-{fare}-{source}", miles, fare, source=source)
    assert await recorded(peers, "miles", trip) == expected


async def test_status_miles_are_not_spent_and_count_within_their_year(peers: Peers) -> None:
    await recorded(peers, "miles", flight("ann", 1_000, "M"))
    request = pb.HoldPointsRequest(
        request_id="h-1", program_id="miles", member_id="ann", points=10, currency_id="status"
    )
    with pytest.raises(grpc.aio.AioRpcError, match="status"):
        await peers.earning.HoldPoints(request)
    status = pb.GetWalletRequest(program_id="miles", member_id="ann", currency_id="status")
    (ends,) = (await peers.earning.GetWallet(status)).wallet.expiring
    moment = ends.expire_time.ToDatetime(tzinfo=LONDON)
    assert (ends.points, moment.isoformat()) == (1_000, "2027-01-01T00:00:00+00:00")


async def test_a_flight_that_was_cancelled_takes_back_both_kinds_of_miles(peers: Peers) -> None:
    await recorded(peers, "miles", flight("bob", 2_000, "C", name="bob-1"))
    order = pb.ReversalOrder(reversal_id="r-bob", activity_id="bob-1")
    order.whole.SetInParent()
    order.occurred_time.FromDatetime(JUNE)
    await peers.earning.ReverseActivity(pb.ReverseActivityRequest(program_id="miles", order=order))
    assert await wallet(peers, "miles", "bob", "miles") == 0
    assert await wallet(peers, "miles", "bob", "status") == 0


async def test_payments_by_card_earn_miles_up_to_a_cap_in_the_month(peers: Peers) -> None:
    def paid(amount: float) -> activity_pb2.Activity:
        made = activity("cid", amount, when=JUNE, kind="card_payment")
        made.payment.amount_minor = round(amount * 100)
        made.payment.currency_code = "GBP"
        return made

    assert await recorded(peers, "miles", paid(4_000)) == {"miles": 4_000}
    assert await recorded(peers, "miles", paid(4_000)) == {"miles": 1_000}


@pytest.mark.parametrize(
    ("lines", "when", "expected"),
    [
        ([("florist", 20)], JUNE, {"petals": 20}),
        ([("bakery", 5)], JUNE, {"crumbs": 15}),
        ([("bakery", 5)], SUNDAY, {"crumbs": 30}),
        ([("florist", 20), ("bakery", 5)], JUNE, {"petals": 40, "crumbs": 15}),
        ([("butcher", 20)], JUNE, {}),
    ],
)
async def test_each_brand_gives_its_own_points_and_both_together_more(
    peers: Peers, lines: list[tuple[str, float]], when: datetime, expected: dict[str, int]
) -> None:
    assert await recorded(peers, "alliance", basket("dee", *lines, when=when)) == expected


async def test_other_money_earns_by_the_rate_of_its_day_in_each_currency(peers: Peers) -> None:
    swiss = basket("eve", ("florist", 100), ("bakery", 10), currency="CHF")
    assert await recorded(peers, "alliance", swiss) == {"petals": 105 + 20, "crumbs": 31}


async def test_what_is_brought_back_to_one_brand_takes_its_points_and_its_share_of_the_extra(
    peers: Peers,
) -> None:
    both = basket("fee", ("florist", 20), ("bakery", 5), name="fee-1")
    assert await recorded(peers, "alliance", both) == {"petals": 40, "crumbs": 15}
    order = pb.ReversalOrder(reversal_id="r-fee", activity_id="fee-1")
    order.lines.lines.add(line_number=2, quantity=1)
    order.occurred_time.FromDatetime(JUNE)
    request = pb.ReverseActivityRequest(program_id="alliance", order=order)
    reversal = (await peers.earning.ReverseActivity(request)).reversal
    # A fifth of the 20 petals for a basket of both stood on the bread.
    further = {each.currency_id: each.points for each in reversal.further_reversals}
    assert (reversal.points, further) == (4, {"crumbs": 15})
    assert await wallet(peers, "alliance", "fee", "petals") == 36
    assert await wallet(peers, "alliance", "fee", "crumbs") == 0


@pytest.mark.parametrize(
    ("of", "to", "points", "given", "end"),
    [
        ("crumbs", "petals", 20, 5, "2027-07-01T00:00:00+02:00"),
        ("crumbs", "petals", 120, 30, "2027-07-01T00:00:00+02:00"),
        ("petals", "crumbs", 1, 3, "2027-01-01T00:00:00+01:00"),
        ("petals", "crumbs", 50, 150, "2027-01-01T00:00:00+01:00"),
    ],
)
async def test_each_brand_takes_the_points_of_the_other_at_a_rate(
    peers: Peers, of: str, to: str, points: int, given: int, end: str
) -> None:
    member = f"kim-{of}-{points}"
    shop, amount = ("florist", 50) if of == "petals" else ("bakery", 40)
    await recorded(peers, "alliance", basket(member, (shop, amount)))
    before = await wallet(peers, "alliance", member, of)
    done = (await peers.points.ConvertPoints(swap(member, of, to, points))).conversion
    assert (done.points_taken, done.points_given) == (points, given)
    assert done.expire_time.ToDatetime(UTC).astimezone(BERLIN).isoformat() == end
    assert await wallet(peers, "alliance", member, of) == before - points
    assert await wallet(peers, "alliance", member, to) == given


@pytest.mark.parametrize(
    ("points", "told"),
    [
        (16, "at least 20 points are converted at once, not 16"),
        (22, "points are converted in multiples of 4, and 22 is none"),
        (124, "needs 124 points, 120 available"),
    ],
)
async def test_a_breakfast_of_crumbs_and_only_whole_petals_are_converted(
    peers: Peers, points: int, told: str
) -> None:
    member = f"lea-{points}"
    await recorded(peers, "alliance", basket(member, ("bakery", 40)))
    with pytest.raises(grpc.aio.AioRpcError, match=told):
        await peers.points.ConvertPoints(swap(member, "crumbs", "petals", points))
    assert await wallet(peers, "alliance", member, "crumbs") == 120


@pytest.mark.parametrize(
    ("program", "currency", "zone", "end"),
    [
        # Recorded on 30 June 2026 in Europe: the day counts on which points become available.
        ("miles", "miles", LONDON, "2029-07-01T00:00:00+01:00"),
        ("miles", "status", LONDON, "2027-01-01T00:00:00+00:00"),
        ("alliance", "petals", BERLIN, "2027-07-01T00:00:00+02:00"),
        ("alliance", "crumbs", BERLIN, "2027-01-01T00:00:00+01:00"),
    ],
)
async def test_points_of_each_currency_end_on_a_day_of_their_own(
    peers: Peers, program: str, currency: str, zone: ZoneInfo, end: str
) -> None:
    member = f"g-{currency}"
    made = (
        flight(member, 700, "M")
        if program == "miles"
        else basket(member, ("florist", 7), ("bakery", 7))
    )
    await recorded(peers, program, made)
    request = pb.GetWalletRequest(program_id=program, member_id=member, currency_id=currency)
    (expiring,) = (await peers.earning.GetWallet(request)).wallet.expiring
    moment = expiring.expire_time.ToDatetime(tzinfo=UTC).astimezone(zone)
    assert moment.isoformat() == end


async def test_a_flight_without_its_miles_is_recorded_and_says_what_failed(peers: Peers) -> None:
    made = activity("hal", 0, when=JUNE, kind="flight", source="own")
    made.attributes["fare"].string_value = "C"
    request = pb.RecordActivityRequest(program_id="miles", activity=made)
    record = (await peers.earning.RecordActivity(request)).record
    failed = [each.rule_id for each in record.explanation.rules if each.failed]
    assert (record.points, failed) == (0, ["flown"])


async def test_money_without_a_rate_is_refused_by_name(peers: Peers) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="USD are not accepted"):
        await recorded(peers, "alliance", basket("ida", ("florist", 10), currency="USD"))


async def test_everything_verifies(peers: Peers) -> None:
    await quiescence.wait(peers)
    assert await verify.verify(peers) == []
