"""Whatever is sent to whichever method: never INTERNAL, never UNKNOWN, and the server goes on."""

import asyncio

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from cli import quiescence, verify
from cli.peers import Peers
from shared.errors import RemoteRefusal
from shared.rpc.client import refusal_of_status
from tests.cluster import bases
from tests.cluster.bases import Valid
from tests.cluster.calling import (
    Channels,
    Method,
    altered,
    call,
    leaves,
    method_of,
    methods,
    with_own_keys,
)
from tests.cluster.messages import LIKELY, ODD_TEXTS, requests

EXAMPLES = 25
AT_ONCE = 50
FAULTS = {"INTERNAL", "UNKNOWN", "UNIMPLEMENTED", "DATA_LOSS"}
# An open stream that has nothing to say yet is ended by us.
STREAM_SECONDS = 0.5
EVERY = list(methods())
# Those that move the clock go last: it never goes back.
METHODS = [each for each in EVERY if each.descriptor.name != "AdvanceClock"]
CLOCKS = [each for each in EVERY if each.descriptor.name == "AdvanceClock"]
# What all services serve is drawn for one of them.
ONCE = [
    each
    for each in METHODS
    if each.service == "earning" or not each.path.startswith(("/guerdon.feed.", "/guerdon.clock."))
]
DRAWN = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def blame(answer: Message | RemoteRefusal) -> str:
    """The fault in an answer, or in an item of it; empty when there is none."""
    if isinstance(answer, RemoteRefusal):
        return str(answer) if answer.code in FAULTS else ""
    for result in getattr(answer, "results", ()):
        if "refused" in result.DESCRIPTOR.fields_by_name and result.HasField("refused"):
            refusal = refusal_of_status(result.refused)
            if refusal.code in FAULTS:
                return str(refusal)
    return ""


async def send(channels: Channels, method: Method, raw: bytes) -> Message | RemoteRefusal:
    seconds = STREAM_SECONDS if method.descriptor.server_streaming else 20
    return await call(channels, method, raw, seconds=seconds)


def test_every_service_is_here_with_all_its_methods() -> None:
    assert len({str(each) for each in EVERY}) == len(EVERY)
    assert {each.service for each in EVERY} == {"earning", "tiers", "redemption", "gamification"}


@pytest.mark.parametrize("method", METHODS, ids=str)
async def test_nothing_at_all_is_no_fault(channels: Channels, method: Method) -> None:
    answer = await send(channels, method, b"")
    assert blame(answer) == ""
    if "program_id" in method.descriptor.input_type.fields_by_name and not str(
        method.descriptor.name
    ).startswith("Verify"):
        assert isinstance(answer, RemoteRefusal)
        assert answer.code == "INVALID_ARGUMENT"
        assert "program_id" in {violation.field for violation in answer.violations}


ODD_NUMBERS = (0, -1, 1, 2, 77, 1001, 10**9 + 1, 2**31 - 1, -(2**31))
ODD_LONG = (
    *(10**12, 10**12 + 1, 10**15, 10**15 + 1),
    *(253_402_300_799, 253_402_300_800, -62_135_596_801, 2**63 - 1, -(2**63)),
)


def odd_values(field: FieldDescriptor) -> list[object]:
    """What is worth trying in a field that holds a single value."""
    if field.type == FieldDescriptor.TYPE_STRING:
        return [*ODD_TEXTS, *LIKELY.get(field.name, ()), "zz-unknown"]
    if field.type == FieldDescriptor.TYPE_BOOL:
        return [True, False]
    if field.type == FieldDescriptor.TYPE_INT64:
        return [*ODD_NUMBERS, *ODD_LONG]
    return list(ODD_NUMBERS)


async def check_odd_values(channels: Channels, method: Method, base: Message) -> None:
    """Send a right request with one odd value after the other, each with keys of its own."""
    tries: list[tuple[str, object, bytes]] = []
    for path, field in leaves(base):
        for value in odd_values(field):
            raw = altered(with_own_keys(base), path, value).SerializeToString()
            tries.append((path, value, raw))
    for start in range(0, len(tries), AT_ONCE):
        part = tries[start : start + AT_ONCE]
        answers = await asyncio.gather(*(send(channels, method, raw) for _, _, raw in part))
        for (path, value, _), answer in zip(part, answers, strict=True):
            assert blame(answer) == "", (path, value)


@pytest.mark.parametrize("method", METHODS, ids=str)
async def test_a_right_request_with_one_odd_value_is_no_fault(
    channels: Channels, valid: Valid, method: Method
) -> None:
    await check_odd_values(channels, method, valid[method.descriptor.name])


@pytest.mark.parametrize("method", ONCE, ids=str)
@seed(20101201)
@DRAWN
@given(data=st.data())
async def test_what_is_drawn_from_the_descriptor_is_no_fault(
    channels: Channels, method: Method, data: st.DataObject
) -> None:
    request = data.draw(requests(method.descriptor.input_type))
    answer = await send(channels, method, request.SerializeToString())
    assert blame(answer) == "", request


@seed(20101201)
@DRAWN
@given(raw=st.binary(max_size=64))
async def test_bytes_that_mean_nothing_are_no_fault(channels: Channels, raw: bytes) -> None:
    answers = await asyncio.gather(*(send(channels, method, raw) for method in METHODS))
    assert [blame(answer) for answer in answers if blame(answer)] == []


@pytest.mark.parametrize("method", CLOCKS, ids=str)
async def test_no_instant_that_a_clock_is_set_to_is_a_fault(
    channels: Channels, valid: Valid, method: Method
) -> None:
    await check_odd_values(channels, method, valid["AdvanceClock"])


async def test_at_the_end_of_time_right_requests_are_no_fault(
    channels: Channels, valid: Valid
) -> None:
    last = bases.advance_to(8999, 12, 31)
    for method in CLOCKS:
        assert not isinstance(await send(channels, method, last), RemoteRefusal)
    for method in METHODS:
        raw = valid[method.descriptor.name].SerializeToString()
        assert blame(await send(channels, method, raw)) == "", method


async def test_the_services_still_answer_and_nothing_is_parked(
    shop: Peers, channels: Channels, valid: Valid
) -> None:
    await quiescence.wait(shop)
    for name in ("GetWallet", "GetMembership", "ListRewards", "GetLeaderboard"):
        answer = await call(channels, method_of(name), valid[name].SerializeToString())
        assert not isinstance(answer, RemoteRefusal), answer
    assert await verify.verify(shop) == []
