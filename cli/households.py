"""Households as a command shows them."""

from typing import TypeAlias

from rich.console import Group, RenderableType
from rich.text import Text

from cli import pages
from cli.peers import Peers
from guerdon.earning.v1 import household_pb2
from guerdon.earning.v1 import household_service_pb2 as pb

Household: TypeAlias = household_pb2.Household
HouseholdNow: TypeAlias = pb.GetHouseholdResponse


async def listed(peers: Peers, program_id: str) -> list[Household]:
    """All households of a program."""
    request = pb.ListHouseholdsRequest(program_id=program_id, page_size=1_000)
    found: list[Household] = []
    while True:
        page = await peers.households.ListHouseholds(request)
        found += page.households
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def shown(peers: Peers, program_id: str, member_id: str) -> HouseholdNow:
    """The household of a member."""
    request = pb.GetHouseholdRequest(program_id=program_id, member_id=member_id)
    return await peers.households.GetHousehold(request)


def table(found: list[Household]) -> RenderableType:
    """Households with their heads and members."""
    if not found:
        return Text("No household.")
    made = pages.headed("household", "head", "members", "since")
    # Whole in a narrow terminal as well: it is what other calls are given.
    made.columns[0].min_width = max(len(each.household_id) for each in found)
    for each in found:
        pages.add_row(
            made,
            each.household_id,
            each.head_member_id,
            ", ".join([joined.member_id for joined in each.members]),
            f"{each.create_time.ToDatetime():%Y-%m-%d}",
        )
    return made


def page(found: HouseholdNow) -> RenderableType:
    """A household: who is in it since when, and what each has that all may spend."""
    household = found.household
    currencies = [each.currency_id for each in found.balances]
    made = pages.headed("member", "since", *currencies)
    for at, joined in enumerate(household.members):
        points = [each.members[at] for each in found.balances]
        is_head = joined.member_id == household.head_member_id
        pages.add_row(
            made,
            f"{joined.member_id}{' (head)' if is_head else ''}",
            f"{joined.join_time.ToDatetime():%Y-%m-%d}",
            *[f"{each.points_available:,}{' frozen' if each.frozen else ''}" for each in points],
        )
    total = [f"{each.points_available:,} {each.currency_id}" for each in found.balances]
    return Group(made, Text(f"{household.household_id} may spend {', '.join(total)}."))
