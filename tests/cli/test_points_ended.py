"""Seals, statements, and points that are brought back after their end, through the command."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from cli import apply, cluster, documents, replay
from cli.peers import Peers, connected
from guerdon.earning.v1 import seal_service_pb2
from tests.cli.inside import SHOP, Command, quiet

SEALED = ["2026-01-10", "2026-01-11", "2026-01-12"]


@pytest.fixture(autouse=True)
def without_logs(own_logs: None) -> None:
    quiet()


async def sealed(peers: Peers, days: int) -> None:
    """Return when so many days are sealed by the job, which nobody else waits for."""
    request = seal_service_pb2.ListSealsRequest(program_id="shop", page_size=1_000)
    async with asyncio.timeout(60):
        while len((await peers.seals.ListSeals(request)).seals) < days:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Command, Peers]]:
    """Ann got 50 points on the tenth of January and gave bob 20, and three days are sealed."""
    folder = tmp_path_factory.mktemp("ended")
    (folder / "shop").mkdir()
    (folder / "shop" / "earning.yaml").write_text(SHOP.replace("after_months: 6", "after_days: 20"))
    async with (
        cluster.running(folder / "var", clock_start="2026-01-10T12:00:00Z") as started,
        connected(started.addresses) as peers,
    ):
        await apply.apply(peers, documents.load(folder / "shop"), author="test")
        command = Command(folder / "var")
        for member in ("ann", "bob"):
            await command.gives(member, 50)
        await command.shows("points", "transfer", "ann", "bob", 20)
        await replay.advance_clocks(peers, datetime(2026, 1, 13, 12, tzinfo=UTC))
        await sealed(peers, len(SEALED))
        yield command, peers


@pytest.fixture
def shop(served: tuple[Command, Peers]) -> Command:
    return served[0]


async def test_the_days_are_listed_with_their_seals_the_latest_first(shop: Command) -> None:
    found = await shop.answers("seals")
    assert [each["day"] for each in found] == SEALED[::-1]
    assert [(each["wallets"], each["entries"]) for each in found] == [("2", "4")] * 3
    shown = await shop.shows("seals", "--latest", 2, columns=80)
    rows = [line.split()[:5] for line in shown.splitlines() if line.strip().startswith("2026-")]
    assert rows == [
        ["2026-01-12", "2", "4", "100", "points"],
        ["2026-01-11", "2", "4", "100", "points"],
    ]
    [one] = await shop.answers("seals", "--day", "2026-01-11")
    assert one == found[1]


async def test_a_day_without_a_seal_is_refused_by_name(shop: Command) -> None:
    assert (await shop.refuses("seals", "--day", "2026-01-13")).startswith("SEAL_NOT_FOUND: ")
    assert (await shop.refuses("seals", "--day", "today")).startswith("FIELD_VIOLATIONS: day")


async def test_a_wallet_is_proved_up_to_the_seal(shop: Command) -> None:
    proof = await shop.answers("seals", "--prove", "bob", "--day", "2026-01-10")
    assert proof["seal"]["day"] == "2026-01-10"
    shown = await shop.shows("seals", "--prove", "bob", "--day", "2026-01-10")
    assert "points, entry 2: " in shown
    assert f"root of 2026-01-10: {_hex(proof['seal']['root'])}" in "".join(shown.splitlines())
    assert len([line for line in shown.splitlines() if line[:5] in {"left ", "right"}]) == len(
        proof["steps"]
    )
    unknown = await shop.refuses("seals", "--prove", "nobody")
    assert unknown.startswith("MEMBER_NOT_FOUND: ")


async def test_a_month_of_a_wallet_is_shown_with_what_moved(shop: Command) -> None:
    shown = await shop.shows("statement", "ann", "--month", "2026-01", columns=80)
    rows = {line.split()[0]: line.split()[-1] for line in shown.splitlines() if line.split()}
    assert (rows["opening"], rows["transferred"], rows["adjusted"]) == ("0", "-20", "50")
    assert rows["closing"] == "30"
    found = await shop.answers("statement", "ann", "--month", "2026-01")
    assert len(found["entries"]) == 2
    assert found["statement"]["month"] == "2026-01"


@pytest.mark.parametrize(
    ("member", "month", "words"),
    [("nobody", "2026-01", "MEMBER_NOT_FOUND"), ("ann", "January", "FIELD_VIOLATIONS: month")],
)
async def test_a_statement_that_cannot_be_is_refused_in_a_line(
    shop: Command, member: str, month: str, words: str
) -> None:
    said = await shop.refuses("statement", member, "--month", month)
    assert said.startswith(words)


async def test_points_that_have_ended_come_back(
    shop: Command, served: tuple[Command, Peers]
) -> None:
    """Last in this module: it moves the clock on."""
    await replay.advance_clocks(served[1], datetime(2026, 2, 10, 12, tzinfo=UTC))
    order = ("points", "reinstate", "ann", "--until", "2026-03-01T00:00", "--reason", "ill")
    many = await shop.refuses(*order, "--lot", 1, "--points", 31)
    assert many.startswith("REINSTATE_EXCEEDS_EXPIRED: ")
    assert many.endswith("; name fewer points, or none for all that have ended")
    some = await shop.answers(*order, "--lot", 1, "--points", 10)
    assert some["entry"]["type"] == "ENTRY_TYPE_REINSTATE"
    assert "reinstate" in await shop.shows(*order, "--lot", 1)


def _hex(base64_text: str) -> str:
    return base64.b64decode(base64_text).hex()
