"""What is refused at the edge of every service, and how it is named."""

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from buf.validate import validate_pb2
from guerdon.clock.v1 import clock_service_pb2 as clock_pb
from guerdon.feed.v1 import feed_service_pb2 as pb
from shared import errors
from shared.rpc import validation, wording
from tests.cluster.calling import methods

FAR = Timestamp(seconds=10**15)


def paths(message: Message) -> list[str]:
    return [each.field for each in validation.violations(message)]


@pytest.mark.parametrize(
    ("message", "field", "words"),
    [
        (clock_pb.AdvanceClockRequest(), "to", "required"),
        (clock_pb.GetClockResponse(now=FAR), "now", "an instant from 0001 to 9999"),
        (
            clock_pb.AdvanceClockRequest(to=Timestamp(seconds=1, nanos=-1)),
            "to",
            "an instant from 0001 to 9999",
        ),
        (pb.ReadEventsRequest(page_size=1_001), "page_size", "less than or equal to 1000"),
        (
            pb.FollowEventsRequest(cursors=[pb.Cursor(), pb.Cursor(partition=256)]),
            "cursors[1].partition",
            "less than or equal to 255",
        ),
        (pb.FollowEventsRequest(incarnation="\0"), "incarnation", "U+0000"),
        (
            pb.FollowEventsRequest(cursors=[pb.Cursor(), pb.Cursor(source="a\0")]),
            "cursors[1].source",
            "U+0000",
        ),
        (
            pb.ReadEventsResponse(events=[pb.Event(), pb.Event(create_time=FAR)]),
            "events[1].create_time",
            "an instant",
        ),
    ],
)
def test_a_violation_tells_where_and_what(message: Message, field: str, words: str) -> None:
    (violation,) = validation.violations(message)
    assert violation.field == field
    assert words in violation.description
    with pytest.raises(errors.FieldViolations):
        validation.check(message)


@pytest.mark.parametrize(
    "message",
    [
        clock_pb.AdvanceClockRequest(to=Timestamp(seconds=-62_135_596_800)),
        clock_pb.GetClockResponse(now=Timestamp(seconds=253_402_300_799, nanos=999_999_999)),
        pb.ReadEventsRequest(page_size=1_000, partition=255),
        pb.Event(member_key="ok", create_time=Timestamp()),
        pb.GetHeadsRequest(),
    ],
)
def test_what_is_right_passes(message: Message) -> None:
    validation.check(message)
    validation.check(message, message.SerializeToString())


def test_bytes_may_hold_zeros() -> None:
    event = pb.Event()
    event.payload.Pack(pb.Cursor(source="x"))
    event.payload.value = b"\0\0"
    assert paths(event) == []


def test_all_violations_are_told_at_once() -> None:
    request = pb.ReadEventsRequest(partition=-1, page_size=-1, after_position=-1)
    assert sorted(paths(request)) == ["after_position", "page_size", "partition"]


def test_every_pattern_of_the_protos_has_words() -> None:
    found = {
        field.GetOptions().Extensions[validate_pb2.field].string.pattern
        or field.GetOptions().Extensions[validate_pb2.field].repeated.items.string.pattern
        for method in methods()
        for kind in (method.descriptor.input_type, method.descriptor.output_type)
        for field in _fields(kind, set())
    } - {""}
    assert len(found) > 8
    assert found - wording.PATTERNS.keys() == set()


def _fields(kind: Descriptor, seen: set[str]) -> Iterator[FieldDescriptor]:
    if kind.full_name in seen:
        return
    seen.add(kind.full_name)
    for field in kind.fields:
        yield field
        if field.message_type is not None:
            yield from _fields(field.message_type, seen)
