"""What earning says of members holds in every service: names resolve, or do no more."""

from collections.abc import Awaitable, Callable, Mapping

import grpc

from cli import quiescence, verify
from cli.peers import Peers
from guerdon.earning.v1 import earning_service_pb2 as earning
from guerdon.earning.v1 import member_pb2
from guerdon.earning.v1 import member_service_pb2 as members
from guerdon.gamification.v1 import gamification_service_pb2 as gamification
from guerdon.redemption.v1 import redemption_service_pb2 as redemption
from guerdon.tiers.v1 import tiers_service_pb2 as tiers
from tests.cluster.bases import SHOP, purchase


async def record(shop: Peers, activity_id: str, member_id: str) -> None:
    activity = purchase(activity_id)
    activity.member_id = member_id
    await shop.earning.RecordActivity(
        earning.RecordActivityRequest(program_id=SHOP, activity=activity)
    )


async def known(shop: Peers, member_id: str) -> set[str]:
    """Services that know a member by a name."""
    who = {"program_id": SHOP, "member_id": member_id}
    calls: Mapping[str, Callable[[], Awaitable[object]]] = {
        "earning": lambda: shop.members.GetMember(members.GetMemberRequest(**who)),
        "tiers": lambda: shop.tiers.GetMembership(
            tiers.GetMembershipRequest(**who, ladder_id="main")
        ),
        "redemption": lambda: shop.redemption.ListRedemptions(
            redemption.ListRedemptionsRequest(program_id=SHOP, member_id=member_id)
        ),
        "gamification": lambda: shop.gamification.GetProgress(
            gamification.GetProgressRequest(**who)
        ),
    }
    found: set[str] = set()
    for service, call in calls.items():
        try:
            await call()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
        else:
            found.add(service)
    return found


EVERYWHERE = {"earning", "tiers", "redemption", "gamification"}


async def test_a_name_that_is_given_and_taken_away_is_so_in_every_service(shop: Peers) -> None:
    await record(shop, "m-1", "mia")
    card = member_pb2.MemberIdentifier(kind="card", identifier="mia's card")
    await shop.members.AddIdentifier(
        members.AddIdentifierRequest(
            request_id="mia-1", program_id=SHOP, member_id="mia", identifier=card
        )
    )
    await quiescence.wait(shop)
    assert await known(shop, "mia's card") == EVERYWHERE
    await shop.members.RemoveIdentifier(
        members.RemoveIdentifierRequest(
            request_id="mia-2", program_id=SHOP, member_id="mia", identifier="mia's card"
        )
    )
    await quiescence.wait(shop)
    assert await known(shop, "mia's card") == set()
    assert await known(shop, "mia") == EVERYWHERE


async def test_a_merged_name_means_the_member_who_stays_in_every_service(shop: Peers) -> None:
    await record(shop, "n-1", "nia")
    await record(shop, "n-2", "nia's card")
    await quiescence.wait(shop)
    await shop.members.ClaimCard(
        members.ClaimCardRequest(
            request_id="nia-1", program_id=SHOP, member_id="nia", card_id="nia's card"
        )
    )
    await quiescence.wait(shop)
    assert await known(shop, "nia's card") == EVERYWHERE
    keys = {
        (
            await shop.tiers.GetMembership(
                tiers.GetMembershipRequest(program_id=SHOP, member_id=name, ladder_id="main")
            )
        ).membership.member_key
        for name in ("nia", "nia's card")
    }
    assert len(keys) == 1


async def test_an_erased_member_is_found_by_no_name_in_any_service(shop: Peers) -> None:
    await record(shop, "o-1", "oda")
    await quiescence.wait(shop)
    assert await known(shop, "oda") == EVERYWHERE
    await shop.members.EraseMember(
        members.EraseMemberRequest(request_id="oda-1", program_id=SHOP, member_id="oda")
    )
    await quiescence.wait(shop)
    assert await known(shop, "oda") == set()
    assert await verify.verify(shop) == []
