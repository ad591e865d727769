"""Points moved by hand through the command: what it prints, and what it says to do next."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cli import apply, cluster, documents
from cli.peers import connected
from tests.cli.inside import SHOP, Command, quiet

STARS = ", {currency_id: stars, expiry: {after_days: 30}}]"
CONVERTING = f"""{SHOP.replace("6}}]", "6}}" + STARS)}conversions:
  - conversion_id: to-stars
    from_currency_id: points
    to_currency_id: stars
    numerator: 1
    denominator: 5
    min_points: 5
"""


@pytest.fixture(autouse=True)
def without_logs(own_logs: None) -> None:
    quiet()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def points(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Command]:
    folder = tmp_path_factory.mktemp("points")
    (folder / "shop").mkdir()
    (folder / "shop" / "earning.yaml").write_text(CONVERTING)
    async with (
        cluster.running(folder / "var", clock_start="2026-01-10T12:00:00Z") as started,
        connected(started.addresses) as peers,
    ):
        await apply.apply(peers, documents.load(folder / "shop"), author="test")
        yield Command(folder / "var")


async def test_points_are_given_and_taken_with_an_actor_and_a_reason(points: Command) -> None:
    shown = await points.shows(
        *(
            "points",
            "adjust",
            "a1",
            "--give",
            50,
            "--reason",
            "a late parcel",
            "--actor",
            "cara",
            "--enroll",
        )
    )
    assert "+50 points" in shown
    assert "a late parcel" in shown
    assert "booked" in shown
    taken = await points.answers("points", "adjust", "a1", "--take", 20, "--reason", "a mistake")
    assert (taken["adjustment"]["points"], taken["adjustment"]["state"]) == ("-20", "STATE_BOOKED")
    left = await points.refuses("points", "adjust", "a1", "--take", 31, "--reason", "more")
    assert left == "INSUFFICIENT_POINTS: needs 31 points, 30 available; name fewer points"


async def test_the_same_request_again_gives_once(points: Command) -> None:
    order = (
        "points",
        "adjust",
        "b1",
        "--give",
        5,
        "--reason",
        "x",
        "--enroll",
        "--request-id",
        "r-1",
    )
    assert await points.answers(*order) == await points.answers(*order)
    said = await points.refuses("points", "adjust", "b1", "--take", 6, "--reason", "x")
    assert said.startswith("INSUFFICIENT_POINTS: needs 6 points, 5 available")
    changed = await points.refuses(*order[:4], 6, *order[5:])
    assert changed.endswith("; give a new --request-id, or none")


async def test_one_way_has_to_be_said(points: Command) -> None:
    for wrong in ((), ("--give", 1, "--take", 1)):
        said = await points.refuses("points", "adjust", "a", *wrong, "--reason", "x")
        assert said == "say how many points with --give or with --take"


async def test_a_large_adjustment_waits_and_somebody_else_approves_it(points: Command) -> None:
    order = (
        "points",
        "adjust",
        "c1",
        "--give",
        2_000,
        "--reason",
        "a prize",
        "--actor",
        "cara",
        "--enroll",
    )
    shown = await points.shows(*order)
    assert "waits for approval" in shown
    [found] = (await points.answers("points", "adjustments"))["adjustments"]
    name = found["adjustmentId"]
    assert f"`guerdon points approve {name}` by somebody else." in shown
    same = await points.refuses("points", "approve", name, "--actor", "Cara")
    assert same.startswith("SAME_ACTOR: ")
    assert same.endswith("; somebody else has to do it: say who with --actor")
    assert "booked by dan" in await points.shows("points", "approve", name, "--actor", "dan")
    closed = await points.refuses("points", "approve", name, "--actor", "eve")
    assert closed.endswith("; `guerdon points adjustments --all` shows what became of it")
    assert "No adjustment." in await points.shows("points", "adjustments")
    assert name in await points.shows("points", "adjustments", "--all", columns=80)


async def test_a_rejected_adjustment_says_by_whom_and_why(points: Command) -> None:
    name = await points.gives("d1", 3_000)
    shown = await points.shows("points", "reject", name, "--actor", "dan", "--reason", "too much")
    assert "rejected by dan: too much" in " ".join(shown.split())
    assert (await points.refuses("points", "approve", "none", "--actor", "x")).endswith(
        "; `guerdon points adjustments` lists those that wait"
    )


async def test_a_transfer_shows_its_lots_and_their_ends(points: Command) -> None:
    await points.gives("e1", 100)
    await points.gives("e2", 1)
    shown = await points.shows("points", "transfer", "e1", "e2", 40, "--reason", "a gift")
    assert "40 points: e1 to e2" in shown
    assert "2026-07-10 23:00" in " ".join(shown.split())  # the day after its last, in London
    answer = await points.answers("points", "transfer", "e1", "e2", 60)
    assert [lot["points"] for lot in answer["transfer"]["lots"]] == ["60"]
    assert (await points.refuses("points", "transfer", "e1", "e2", 1)).startswith(
        "INSUFFICIENT_POINTS"
    )
    assert (await points.refuses("points", "transfer", "e1", "e1", 1)).endswith(
        "; name two members"
    )
    unknown = await points.refuses("points", "transfer", "e1", "nobody", 1)
    assert unknown.endswith("`guerdon points adjust --enroll` enrols one")


async def test_a_conversion_shows_both_sides_and_its_rate(points: Command) -> None:
    await points.gives("g1", 100)
    asked = ("points", "convert", "g1")
    pair = ("--from", "points", "--to", "stars")
    shown = " ".join((await points.shows(*asked, 40, *pair, "--reason", "a prize")).split())
    for part in ("g1, a prize", "-40 points", "+8 stars", "At 1 for 5, until 2026-02-10 00:00"):
        assert part in shown
    answer = await points.answers(*asked, 60, *pair)
    assert answer["conversion"]["pointsGiven"] == "12"
    whole = await points.refuses(*asked, 7, *pair)
    assert whole.startswith("CONVERSION_NOT_WHOLE: points are converted in multiples of 5")
    assert whole.endswith("; name such a multiple")
    assert (await points.refuses(*asked, 4, *pair)).endswith("; name more points")
    assert (await points.refuses(*asked, 5, *pair)).endswith("; name fewer points")
    back = await points.refuses(*asked, 5, "--from", "stars", "--to", "points")
    assert back.endswith("; `conversions` of the program's earning file lists what is")


async def test_points_end_later_by_lot_or_by_their_end(points: Command) -> None:
    await points.gives("f1", 100)
    order = ("points", "extend", "f1", "--reason", "ill")
    one = await points.answers(*order, "--lot", 1, "--until", "2026-12-01T00:00")
    assert one["entries"][0]["lotExpireTime"] == "2026-12-01T00:00:00Z"
    shown = await points.shows(
        *(*order, "--before", "2027-01-01T00:00", "--until", "2027-06-01T00:00")
    )
    assert "extend" in shown
    early = await points.refuses(*order, "--lot", 1, "--until", "2026-12-01T00:00")
    assert early.endswith("; name a later end with --until")
    missing = await points.refuses(*order, "--lot", 9, "--until", "2030-12-01T00:00")
    assert missing.startswith("LOT_NOT_FOUND")
    assert "`guerdon explain PROGRAM MEMBER`" in missing
    nothing = await points.shows(
        *(*order, "--before", "2026-02-01T00:00", "--until", "2030-01-01T00:00")
    )
    assert "Nothing ends that early" in nothing


@pytest.mark.parametrize("wrong", [(), ("--lot", 1, "--before", "2027-01-01T00:00")])
async def test_which_points_end_later_has_to_be_said(
    points: Command, wrong: tuple[object, ...]
) -> None:
    said = await points.refuses(
        *("points", "extend", "f1", "--until", "2027-01-01T00:00", "--reason", "x", *wrong)
    )
    assert said == "say which points with --lot or with --before"


async def test_an_end_is_an_instant_or_is_refused_in_words(points: Command) -> None:
    order = ("points", "extend", "f1", "--lot", 1, "--reason", "x", "--until")
    assert await points.refuses(*order, "soon") == (
        "'soon' is no instant: write it as 2026-12-24T00:00"
    )
    assert "no end is named" in await points.refuses(*order, "")
