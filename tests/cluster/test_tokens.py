"""Read your writes: every answer of a change has a token, and who waits for it sees the change."""

import re

import pytest
from google.protobuf.message import Message

from cli.peers import Peers
from guerdon.feed.v1 import feed_service_pb2 as feed
from guerdon.tiers.v1 import tiers_service_pb2 as tiers
from shared.errors import RemoteRefusal
from tests.cluster.bases import ANN, SHOP, Valid
from tests.cluster.calling import Channels, call, method_of, with_own_keys
from tests.cluster.test_idempotency import WRITING

OF_EARNING = [name for name in WRITING if method_of(name).service == "earning"]
# Refused in the shop as it is, or after what others changed; a refusal has no token.
REFUSED = {
    "AcceptInvitation",
    "ClaimReferral",
    "ConfirmActivity",
    "ExtendPoints",
    "InviteMember",
    "LeaveHousehold",
    "ReinstatePoints",
    "RejectAdjustment",
    "VoidHold",
}
# What no other service follows has no event: birthdays, languages.
WITHOUT_EVENT = {"UpdateMember"}


def tokens(answer: Message) -> list[str]:
    """The token of an answer, or those of the items of a batch."""
    return re.findall(r'feed_token: "([^"]*)"', str(answer))


@pytest.mark.parametrize("name", OF_EARNING)
async def test_who_waits_for_the_token_of_a_change_finds_it_in_another_service(
    shop: Peers, channels: Channels, valid: Valid, name: str
) -> None:
    sent = with_own_keys(valid[name])
    answer = await call(channels, method_of(name), sent.SerializeToString())
    if isinstance(answer, RemoteRefusal):
        assert name in REFUSED, str(answer)
        return
    if name in WITHOUT_EVENT:
        assert tokens(answer) == []
        return
    (token,) = tokens(answer)
    service, partition, position = token.split(":")
    assert service == "earning"
    head = await shop.feeds["earning"].GetHeads(feed.GetHeadsRequest())
    assert 0 < int(position) <= head.heads[int(partition)].position
    await shop.tiers.GetMembership(
        tiers.GetMembershipRequest(**ANN, ladder_id="main", wait_for_token=token)
    )
    page = await shop.feeds["earning"].ReadEvents(
        feed.ReadEventsRequest(
            partition=int(partition), after_position=int(position) - 1, page_size=1
        )
    )
    assert [(each.position, each.program_id) for each in page.events] == [(int(position), SHOP)]
