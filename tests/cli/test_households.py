"""Who pools points with whom, as the command shows it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cli import apply, cluster, documents
from cli.peers import Peers, connected
from guerdon.earning.v1 import household_service_pb2 as pb
from tests.cli.inside import SHOP, Command, quiet

POLICY = "households: {max_members: 4}\n"


@pytest.fixture(autouse=True)
def without_logs(own_logs: None) -> None:
    quiet()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Command, Peers]]:
    folder = tmp_path_factory.mktemp("households")
    (folder / "shop").mkdir()
    (folder / "shop" / "earning.yaml").write_text(SHOP + POLICY)
    async with (
        cluster.running(folder / "var", clock_start="2026-01-10T12:00:00Z") as started,
        connected(started.addresses) as peers,
    ):
        await apply.apply(peers, documents.load(folder / "shop"), author="test")
        yield Command(folder / "var"), peers


async def test_households_are_listed_and_one_is_shown_with_what_each_has(
    shop: tuple[Command, Peers],
) -> None:
    guerdon, peers = shop
    assert await guerdon.shows("households", "list") == "No household.\n"
    await guerdon.gives("ann", 60)
    await guerdon.gives("bob", 940)
    create = pb.CreateHouseholdRequest(request_id="c-1", program_id="shop", member_id="ann")
    home = (await peers.households.CreateHousehold(create)).household.household_id
    invite = pb.InviteMemberRequest(request_id="i-1", program_id="shop", household_id=home)
    code = (await peers.households.InviteMember(invite)).invitation.code
    accept = pb.AcceptInvitationRequest(
        request_id="a-1", program_id="shop", member_id="bob", code=code
    )
    await peers.households.AcceptInvitation(accept)
    listed = await guerdon.shows("households", "list")
    assert home in listed
    assert "ann, bob" in listed
    assert [each["householdId"] for each in await guerdon.answers("households", "list")] == [home]
    shown = await guerdon.shows("households", "show", "bob")
    assert "ann (head)" in shown
    assert f"{home} may spend 1,000 points." in shown
    told = await guerdon.answers("households", "show", "ann")
    assert told["balances"][0]["pointsAvailable"] == "1000"
    refused = await guerdon.refuses("households", "show", "zoe")
    assert refused.startswith("MEMBER_NOT_FOUND")
