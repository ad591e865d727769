"""Every method that changes something, sent again: alike, an equal answer; otherwise, refused.

The methods and their fields are taken from the descriptors, so that none can be forgotten.
"""

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from cli import quiescence
from cli.peers import Peers
from guerdon.earning.v1 import activity_pb2
from guerdon.earning.v1 import earning_service_pb2 as earning
from guerdon.feed.v1 import feed_service_pb2 as feed
from shared.errors import RemoteRefusal
from tests.cluster.bases import Valid
from tests.cluster.calling import (
    KEYS,
    Channels,
    Method,
    altered,
    call,
    leaves,
    method_of,
    methods,
    with_own_keys,
)

REUSED = "IDEMPOTENCY_KEY_REUSED"
WHOLE = {
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_UINT64,
}
# Not contents: another program has keys of its own, an answer may be waited for anew, and what the
# service alone sets is not read.
NO_CONTENTS = {"program_id", "wait_for_token"}
SET_BY_THE_SERVICE = {("CreateReward", "reward.etag")}


def own_keys(message: Message) -> set[str]:
    """The paths of the keys of a request, and of the items of a batch."""
    paths = {path for path, field in leaves(message) if field.name in KEYS}
    returns = {path for path in paths if path.endswith("reversal_id")}
    if returns:
        return returns
    found = {path for path in paths if path.endswith("request_id")}
    return found or {path for path in paths if path.endswith("activity_id")}


WRITING = [
    each.descriptor.name
    for each in methods()
    if each.service in each.path
    and (
        {field.name for field in each.descriptor.input_type.fields} & {"request_id"}
        or each.descriptor.name
        in {
            "RecordActivity",
            "BatchRecordActivities",
            "StreamActivities",
            "ReverseActivity",
            "BatchReverseActivities",
        }
    )
]


def told(answer: Message | RemoteRefusal) -> str:
    """An answer as text; of a batch, that of its only item."""
    if isinstance(answer, RemoteRefusal):
        return f"{answer.code} {answer.reason}: {answer} {answer.violations}"
    return str(answer)


def others(field: FieldDescriptor, value: object) -> Iterator[object]:
    """Other values of a field, of which one may be right."""
    if field.type == FieldDescriptor.TYPE_STRING:
        assert isinstance(value, str)
        yield from (f"{value}x", "EUR", "de", "Europe/Rome", "display_name", "attributes")
    elif field.type == FieldDescriptor.TYPE_BOOL:
        yield not value
    elif field.enum_type is not None:
        yield from (each.number for each in field.enum_type.values if each.number not in {0, value})
    elif field.type in WHOLE:
        assert isinstance(value, int)
        yield from (value + 1, value - 1)


def at(message: Message, path: str) -> object:
    place: object = message
    for part in path.replace("[", ".").replace("]", "").split("."):
        place = place[int(part)] if part.isdigit() else getattr(place, part)  # type: ignore[index]
    return place


async def heads(shop: Peers) -> list[Message]:
    await quiescence.wait(shop)
    return [await each.GetHeads(feed.GetHeadsRequest()) for each in shop.feeds.values()]


async def untold(channels: Channels, method: Method, sent: Message) -> list[str]:
    """The fields that may be changed without a refusal of the key."""
    keys, missed = own_keys(sent), []
    for path, field in leaves(sent):
        if path in keys or field.name in NO_CONTENTS:
            continue
        if (method.descriptor.name, path) in SET_BY_THE_SERVICE:
            continue
        answers = []
        for other in others(field, at(sent, path)):
            changed = altered(sent, path, other)
            answers.append(told(await call(channels, method, changed.SerializeToString())))
            if REUSED in answers[-1]:
                break
        else:
            missed.append(f"{path}: {answers}")
    return missed


@pytest.mark.parametrize("name", WRITING)
async def test_the_same_key_with_anything_else_in_any_field_is_refused_and_changes_nothing(
    shop: Peers, channels: Channels, valid: Valid, name: str
) -> None:
    method = method_of(name)
    sent = with_own_keys(valid[name])
    first = told(await call(channels, method, sent.SerializeToString()))
    assert REUSED not in first
    before = await heads(shop)
    assert told(await call(channels, method, sent.SerializeToString())) == first
    assert await untold(channels, method, sent) == []
    assert told(await call(channels, method, sent.SerializeToString())) == first
    assert await heads(shop) == before


async def test_another_attribute_or_another_line_is_other_contents_too(
    channels: Channels, valid: Valid
) -> None:
    method = method_of("RecordActivity")
    sent = with_own_keys(valid["RecordActivity"])
    assert REUSED not in told(await call(channels, method, sent.SerializeToString()))
    for change in (_another_attribute, _another_line, _no_line):
        changed = earning.RecordActivityRequest.FromString(sent.SerializeToString())
        change(changed.activity)
        answer = told(await call(channels, method, changed.SerializeToString()))
        assert REUSED in answer, change


def _another_attribute(activity: activity_pb2.Activity) -> None:
    activity.attributes["till"].integer_value += 1


def _another_line(activity: activity_pb2.Activity) -> None:
    activity.lines.add(sku="1", quantity=1)


def _no_line(activity: activity_pb2.Activity) -> None:
    del activity.lines[:]


def test_no_method_that_changes_something_is_forgotten() -> None:
    assert len(WRITING) > 35
    reads = ("Get", "List", "Batch", "Stream", "Explain", "Export", "Preview", "Prove", "Verify")
    without_keys = ("Apply", "Rollback", "Read", "Follow", "Watch", "Rebuild", "Advance", "Retry")
    others = {
        each.descriptor.name
        for each in methods()
        if not each.descriptor.name.startswith((*reads, *without_keys))
    }
    assert others - set(WRITING) == set()
