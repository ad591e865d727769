"""Points of one currency become points of another, all behind real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from guerdon.earning.v1 import earning_service_pb2 as pb
from guerdon.earning.v1 import events_pb2, ledger_pb2, points_pb2
from guerdon.earning.v1 import points_service_pb2 as points_pb
from guerdon.earning.v1 import statement_service_pb2 as statements_pb
from guerdon.earning.v1.statement_service_pb2_grpc import StatementServiceStub
from tests.earning.callers import Caller, calling, go_on, refused, told
from tests.earning.nodes import PROGRAM, document, order

TYPE = ledger_pb2.EntryType
ACCOUNT = ledger_pb2.Account
CURRENCIES = [
    {"currency_id": "petals", "expiry": {"after_days": 30}},
    {"currency_id": "crumbs", "expiry": {"after_days": 10}},
    {"currency_id": "stars", "expiry": {"sliding_months": 1}},
]


def rate(of: str, to: str, numerator: int, denominator: int, least: int = 0) -> dict[str, object]:
    return {
        "conversion_id": f"{of}-{to}",
        "from_currency_id": of,
        "to_currency_id": to,
        "numerator": numerator,
        "denominator": denominator,
        "min_points": least,
    }


CONVERSIONS = [
    rate("crumbs", "petals", 1, 3, least=6),
    rate("petals", "crumbs", 10, 4),
    rate("petals", "stars", 1, 1),
    rate("stars", "petals", 1_000_000_000, 1),
]
DOCUMENT = {
    "currencies": CURRENCIES,
    "conversions": CONVERSIONS,
    "rules": [
        {
            "rule_id": "pounds",
            "currency_id": "crumbs",
            "base": {"points": 1, "per_amount_minor": 100},
        }
    ],
}


@pytest.fixture
async def caller(database_url: str, tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(database_url, tmp_path, **DOCUMENT) as made:
        await made.enroll("ann")
        yield made


async def give(caller: Caller, points: int, currency: str = "crumbs", member: str = "ann") -> None:
    request = pb.CreditPointsRequest(
        **caller.key(), member_id=member, currency_id=currency, points=points, reason="hello"
    )
    await caller.earning.CreditPoints(request)


def asked(
    caller: Caller, points: int, of: str = "crumbs", to: str = "petals", member: str = "ann"
) -> points_pb.ConvertPointsRequest:
    return points_pb.ConvertPointsRequest(
        **caller.key(),
        member_id=member,
        from_currency_id=of,
        to_currency_id=to,
        points=points,
        reason="for a bouquet",
    )


async def convert(
    caller: Caller, points: int, of: str = "crumbs", to: str = "petals", member: str = "ann"
) -> points_pb2.Conversion:
    request = asked(caller, points, of, to, member)
    return (await caller.points.ConvertPoints(request)).conversion


async def wallet(caller: Caller, currency: str, member: str = "ann") -> ledger_pb2.Wallet:
    request = pb.GetWalletRequest(program_id=PROGRAM, member_id=member, currency_id=currency)
    return (await caller.earning.GetWallet(request)).wallet


async def available(caller: Caller, *currencies: str) -> list[int]:
    return [(await wallet(caller, each)).points_available for each in currencies]


async def entries(caller: Caller, currency: str) -> list[ledger_pb2.Entry]:
    request = pb.ListEntriesRequest(program_id=PROGRAM, member_id="ann", currency_id=currency)
    return list((await caller.earning.ListEntries(request)).entries)


# What comes out ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "to", "points", "given"),
    [
        ("crumbs", "petals", 6, 2),  # 1 for 3, the fewest that go at once
        ("crumbs", "petals", 99, 33),
        ("petals", "crumbs", 2, 5),  # 10 for 4 is 5 for 2
        ("petals", "crumbs", 100, 250),
        ("petals", "stars", 1, 1),
        ("stars", "petals", 9, 9_000_000_000),
    ],
)
async def test_points_come_out_whole_at_the_rate(
    caller: Caller, of: str, to: str, points: int, given: int
) -> None:
    await give(caller, 100, of)
    done = await convert(caller, points, of, to)
    assert (done.points_taken, done.points_given, done.points_repaid) == (points, given, 0)
    assert await available(caller, of, to) == [100 - points, given]
    assert await caller.verified() == []


@pytest.mark.parametrize(
    ("of", "to", "points", "reason", "numbers"),
    [
        ("crumbs", "petals", 5, "BELOW_CONVERSION_MINIMUM", "at least 6 points"),
        ("crumbs", "petals", 7, "CONVERSION_NOT_WHOLE", "multiples of 3, and 7 is none"),
        ("crumbs", "petals", 101, "CONVERSION_NOT_WHOLE", "multiples of 3, and 101 is none"),
        ("petals", "crumbs", 3, "CONVERSION_NOT_WHOLE", "multiples of 2, and 3 is none"),
        ("crumbs", "petals", 102, "INSUFFICIENT_POINTS", "needs 102 points, 100 available"),
        ("crumbs", "stars", 6, "CONVERSION_NOT_OFFERED", "crumbs are not converted to stars"),
        ("crumbs", "crumbs", 6, "CONVERSION_NOT_OFFERED", "crumbs are not converted to crumbs"),
    ],
)
async def test_what_is_refused_takes_nothing(
    caller: Caller, of: str, to: str, points: int, reason: str, numbers: str
) -> None:
    await give(caller, 100, of)
    request = asked(caller, points, of, to)
    with pytest.raises(Exception, match=numbers):
        await caller.points.ConvertPoints(request)
    assert await refused(caller.points.ConvertPoints(request)) == ("FAILED_PRECONDITION", reason)
    assert await available(caller, of) == [100]
    assert [each.type for each in await entries(caller, of)] == [TYPE.ENTRY_TYPE_CREDIT]


async def test_more_than_a_wallet_can_hold_is_refused(caller: Caller) -> None:
    await give(caller, 10_000_000, "stars")
    assert await refused(convert(caller, 9_000_001, "stars", "petals")) == (
        "OUT_OF_RANGE",
        "POINTS_OUT_OF_RANGE",
    )
    assert (await convert(caller, 9_000_000, "stars", "petals")).points_given == 9 * 10**15
    assert await caller.verified() == []


async def test_a_conversion_is_refused_in_the_order_in_which_it_is_mended(caller: Caller) -> None:
    async def reason(points: int, of: str, to: str, member: str = "ann") -> str:
        return await told(convert(caller, points, of, to, member))

    await caller.freeze("ann")
    assert await reason(1, "no", "no", "zoe") == "MEMBER_NOT_FOUND"
    assert await reason(1, "no", "petals") == "CURRENCY_NOT_FOUND"
    assert await reason(1, "crumbs", "no") == "CURRENCY_NOT_FOUND"
    assert await reason(1, "crumbs", "stars") == "CONVERSION_NOT_OFFERED"
    assert await reason(1, "crumbs", "petals") == "MEMBER_FROZEN"
    await caller.unfreeze("ann")
    assert await reason(1, "crumbs", "petals") == "BELOW_CONVERSION_MINIMUM"
    assert await reason(7, "crumbs", "petals") == "CONVERSION_NOT_WHOLE"
    assert await reason(6, "crumbs", "petals") == "INSUFFICIENT_POINTS"
    await caller.erase("ann")
    assert await reason(6, "crumbs", "petals") == "MEMBER_NOT_FOUND"
    assert await caller.verified() == []


# Lots, debt, time --------------------------------------------------------------------------------


async def test_what_ends_first_is_converted_first_and_what_comes_lives_as_its_currency_does(
    caller: Caller,
) -> None:
    await give(caller, 20)
    await go_on(caller, days=3)
    await give(caller, 50)
    done = await convert(caller, 30)
    out = (await entries(caller, "crumbs"))[0]
    assert [(use.lot_sequence, use.points) for use in out.lot_uses] == [(1, -20), (2, -10)]
    # START is 1 June 2025 in London: 30 days after the 4th, not 10 as of the crumbs.
    end = datetime(2025, 7, 4, 23, tzinfo=UTC)
    assert done.expire_time.ToDatetime(UTC) == end
    (expiring,) = (await wallet(caller, "petals")).expiring
    assert (expiring.points, expiring.expire_time.ToDatetime(UTC)) == (10, end)
    await go_on(caller, days=20)
    assert await available(caller, "crumbs", "petals") == [0, 10]
    await go_on(caller, days=20)
    assert await available(caller, "crumbs", "petals") == [0, 0]
    assert await caller.verified() == []


async def test_points_that_have_ended_by_the_clock_are_not_converted(caller: Caller) -> None:
    await give(caller, 30)
    await go_on(caller, days=12)
    assert await refused(convert(caller, 6)) == ("FAILED_PRECONDITION", "INSUFFICIENT_POINTS")


async def test_points_that_slide_live_on_when_some_of_them_are_converted_or_come(
    caller: Caller,
) -> None:
    await give(caller, 10, "stars")
    await give(caller, 10, "petals")
    await go_on(caller, days=20)
    await convert(caller, 4, "petals", "stars")
    await go_on(caller, days=20)
    assert await available(caller, "stars") == [14]
    await convert(caller, 4, "stars", "petals")
    await go_on(caller, days=20)
    assert await available(caller, "stars") == [10]
    await go_on(caller, days=20)
    assert await available(caller, "stars") == [0]
    assert await caller.verified() == []


async def test_what_is_owed_of_the_other_currency_is_repaid_first(caller: Caller) -> None:
    await caller.buy("b-1", "ann", 4_000)  # 40 crumbs
    await convert(caller, 36)
    await caller.earning.ReverseActivity(
        pb.ReverseActivityRequest(program_id=PROGRAM, order=order("r-1", "b-1"))
    )
    # What became petals stays petals: the return takes the crumbs that are left, and owes the rest.
    assert await available(caller, "crumbs", "petals") == [0, 12]
    assert (await wallet(caller, "crumbs")).points_debt == 36
    done = await convert(caller, 12, "petals", "crumbs")
    assert (done.points_given, done.points_repaid) == (30, 30)
    assert await available(caller, "crumbs", "petals") == [0, 0]
    assert (await wallet(caller, "crumbs")).points_debt == 6
    await give(caller, 4, "petals")
    done = await convert(caller, 4, "petals", "crumbs")
    assert (done.points_given, done.points_repaid) == (10, 6)
    assert await available(caller, "crumbs") == [4]
    assert await caller.verified() == []


async def test_only_the_member_s_own_points_of_a_household_are_converted(
    database_url: str, tmp_path: Path
) -> None:
    pooling = {"households": {"max_members": 4}}
    async with calling(database_url, tmp_path, **DOCUMENT, **pooling) as caller:
        for name in ("ann", "bob"):
            await caller.enroll(name)
        await caller.house("ann", "bob")
        await give(caller, 9)
        await give(caller, 90, member="bob")
        assert await refused(convert(caller, 12)) == ("FAILED_PRECONDITION", "INSUFFICIENT_POINTS")
        await convert(caller, 9)
        assert [
            (await wallet(caller, currency, member)).points_available
            for member in ("ann", "bob")
            for currency in ("crumbs", "petals")
        ] == [0, 3, 90, 0]
        assert await caller.verified() == []


# Again, and at once ------------------------------------------------------------------------------


async def test_the_same_conversion_again_is_answered_alike_and_done_once(caller: Caller) -> None:
    await give(caller, 100)
    request = asked(caller, 60)
    first = await caller.points.ConvertPoints(request)
    again = await asyncio.gather(*(caller.points.ConvertPoints(request) for _ in range(16)))
    assert all(each == first for each in again)
    request.points = 63
    assert await refused(caller.points.ConvertPoints(request)) == (
        "ALREADY_EXISTS",
        "IDEMPOTENCY_KEY_REUSED",
    )
    assert await available(caller, "crumbs", "petals") == [40, 20]


async def test_of_64_conversions_of_a_wallet_with_enough_for_10_exactly_10_go(
    caller: Caller,
) -> None:
    await give(caller, 65)
    answers = await asyncio.gather(*(told(convert(caller, 6)) for _ in range(64)))
    assert sorted(answers) == [""] * 10 + ["INSUFFICIENT_POINTS"] * 54
    assert await available(caller, "crumbs", "petals") == [5, 20]
    assert await caller.verified() == []


async def test_both_ways_at_once_from_64_callers_wait_for_nobody_for_ever(caller: Caller) -> None:
    await give(caller, 1_000)
    await give(caller, 1_000, "petals")
    ways = [(6, "crumbs", "petals"), (2, "petals", "crumbs")]
    calls = (told(convert(caller, *ways[number % 2])) for number in range(64))
    answers = await asyncio.wait_for(asyncio.gather(*calls), timeout=60)
    assert answers == [""] * 64
    assert await available(caller, "crumbs", "petals") == [968, 1_000]
    assert await caller.verified() == []


# What can be read of it --------------------------------------------------------------------------


async def test_both_entries_name_each_other_and_the_rate(caller: Caller) -> None:
    await give(caller, 90)
    done = await convert(caller, 60)
    out, into = (await entries(caller, "crumbs"))[0], (await entries(caller, "petals"))[0]
    assert (out.type, into.type) == (TYPE.ENTRY_TYPE_CONVERT_OUT, TYPE.ENTRY_TYPE_CONVERT_IN)
    assert (out.sequence, into.sequence) == (done.from_sequence, done.to_sequence) == (2, 1)
    for entry, other, currency in ((out, into, "petals"), (into, out, "crumbs")):
        half = entry.conversion
        assert (half.currency_id, half.sequence) == (currency, other.sequence)
        assert (half.numerator, half.denominator) == (1, 3)
        assert entry.reason == "for a bouquet"
        assert ACCOUNT.ACCOUNT_CONVERSION in {each.account for each in entry.postings}
    assert out.reference == into.reference != ""


async def test_a_conversion_is_explained_in_sentences(caller: Caller) -> None:
    await give(caller, 90)
    await convert(caller, 60)
    await convert(caller, 2, "petals", "crumbs")
    said = []
    for currency, sequence in (("crumbs", 2), ("petals", 1), ("petals", 2)):
        request = pb.ExplainEntryRequest(
            program_id=PROGRAM, member_id="ann", currency_id=currency, sequence=sequence
        )
        explained = await caller.earning.ExplainEntry(request)
        said.append([*explained.lines])
    assert said[0][0] == ("60 crumbs became 20 petals, at 1 for 3, entry 1 there: for a bouquet.")
    assert said[1][0] == ("20 petals came of 60 crumbs, at 1 for 3, entry 2 there: for a bouquet.")
    assert any("came out of lot 1, converted at" in each for each in said[2])


async def test_the_feed_the_summary_and_the_statement_tell_of_a_conversion(caller: Caller) -> None:
    await give(caller, 90)
    await convert(caller, 60)
    event = (await caller.events((await caller.get("ann")).member_key))[-1]
    found = events_pb2.PointsConverted.FromString(event.payload.value)
    assert (found.from_currency_id, found.points_taken) == ("crumbs", 60)
    assert (found.to_currency_id, found.points_given) == ("petals", 20)
    assert (found.reason, found.request_id != "") == ("for a bouquet", True)
    statements = StatementServiceStub(caller.channel)
    for currency, earned, converted in (("crumbs", 90, -60), ("petals", 0, 20)):
        summary = await caller.earning.GetLedgerSummary(
            pb.GetLedgerSummaryRequest(program_id=PROGRAM, currency_id=currency)
        )
        assert (summary.points_credited, summary.points_converted) == (earned, converted)
        assert summary.points_available == earned + converted
        month = await statements.GetStatement(
            statements_pb.GetStatementRequest(
                program_id=PROGRAM, member_id="ann", currency_id=currency, month="2025-06"
            )
        )
        stated = month.statement
        assert (stated.points_earned, stated.points_converted) == (earned, converted)
        assert stated.closing.points_total == earned + converted


async def test_the_export_of_a_member_tells_both_sides_of_a_conversion(caller: Caller) -> None:
    await give(caller, 90)
    await convert(caller, 60)
    pieces = await caller.export("ann")
    halves = [
        each.conversion for piece in pieces for each in piece.entries if each.conversion.sequence
    ]
    assert sorted(each.currency_id for each in halves) == ["crumbs", "petals"]
    stated = [each.points_converted for piece in pieces for each in piece.statements]
    assert sorted(stated) == [-60, 20]


async def test_a_rate_that_changes_leaves_what_was_converted_as_it_was(caller: Caller) -> None:
    await give(caller, 90)
    await convert(caller, 60)
    changed = [rate("crumbs", "petals", 1, 2)]
    document_ = document(**{**DOCUMENT, "conversions": changed})
    applied = pb.ApplyEarningProgramRequest(program=document_)
    await caller.earning.ApplyEarningProgram(applied)
    assert (await convert(caller, 30)).points_given == 15
    assert await available(caller, "crumbs", "petals") == [0, 35]
    assert (await convert(caller, 2, "petals", "crumbs")).points_given == 5  # kept: not pruned
    applied.options.prune = True
    await caller.earning.ApplyEarningProgram(applied)
    assert await refused(convert(caller, 2, "petals", "crumbs")) == (
        "FAILED_PRECONDITION",
        "CONVERSION_NOT_OFFERED",
    )
    assert await caller.verified() == []


async def test_of_members_who_became_one_each_conversion_stays_whole(caller: Caller) -> None:
    await caller.enroll("bob")
    await give(caller, 30, member="bob")
    await convert(caller, 12, member="bob")
    await caller.merge("bob", "ann")
    assert await available(caller, "crumbs", "petals") == [18, 4]
    await convert(caller, 18)
    assert await available(caller, "crumbs", "petals") == [0, 10]
    assert await caller.verified() == []
