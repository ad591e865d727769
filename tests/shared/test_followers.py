"""Following another service's log over gRPC, between two databases of each kind."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from random import Random  # noqa: TID251 - seeded, for the order of deaths

import grpc
import pytest
from structlog.testing import capture_logs

from shared import errors
from shared.batches import Followed, Result
from shared.database import Database
from shared.feed import CursorBeyondHead, IncarnationChanged
from shared.followers import Follower, MalformedFeedToken, PartitionsDiffer, wait_for_token
from shared.rpc.client import channel
from tests.shared.feeds import (
    PARTITIONS,
    TABLES,
    append,
    member,
    prepared,
    said,
    servicer_of,
    serving,
)
from tests.shared.nodes import SOURCE, Node, following, open_node_database

ANN, BOB, CAT = member(1, 1), member(1, 2), member(2, 3)


@pytest.fixture
async def log(database: Database) -> Database:
    """The database of the service that is followed."""
    return await prepared(database)


@pytest.fixture
async def talk(log: Database) -> AsyncIterator[grpc.aio.Channel]:
    async with serving(servicer_of(log, TABLES)) as opened:
        yield opened


@pytest.fixture
async def node(log: Database, tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(await open_node_database(log, tmp_path))
    yield made
    await made.commit.close()
    await made.database.dispose()


async def _say(log: Database, *words: tuple[str, str]) -> None:
    await append(log, TABLES, [said(member_key, text) for member_key, text in words])


async def _until_applied(follower: Follower, log: Database) -> None:
    async with log.reading() as tx:
        heads = await tx.fetch(TABLES.feed_heads.select())
    for head in heads:
        await follower.wait_for(head.partition, head.position, 20)


async def _stopped(follower: Follower) -> errors.Refusal:
    async with asyncio.timeout(10):
        await follower.run()
    assert follower.failure is not None
    return follower.failure


async def test_what_is_there_and_what_comes_is_applied_in_order(
    log: Database, talk: grpc.aio.Channel, node: Node
) -> None:
    await _say(log, (ANN, "1"), (CAT, "2"))
    follower = node.follower(talk)
    async with following(follower):
        await _until_applied(follower, log)
        await _say(log, (BOB, "3"), (ANN, "4"), (CAT, "5"))
        await _until_applied(follower, log)
    assert await node.heard() == [(ANN, "1"), (BOB, "3"), (ANN, "4"), (CAT, "2"), (CAT, "5")]
    assert await node.cursors() == {0: 0, 1: 3, 2: 2, 3: 0}
    assert [follower.applied(partition) for partition in range(PARTITIONS)] == [0, 3, 2, 0]


async def test_events_that_mean_nothing_here_move_the_cursor(
    log: Database, talk: grpc.aio.Channel, node: Node
) -> None:
    words = ("silence", "silence", "1", "silence", "2", "silence", "silence")
    await _say(log, *((ANN, text) for text in words))
    follower = node.follower(talk)
    async with following(follower):
        await _until_applied(follower, log)
    assert await node.texts() == ["1", "2"]
    assert (await node.cursors())[1] == len(words)


async def test_two_followers_of_the_same_log_change_nothing(
    log: Database, talk: grpc.aio.Channel, node: Node
) -> None:
    texts = [str(number) for number in range(120)]
    second = Node(node.database, seed=2)
    followers = [each.follower(talk, page_size=7) for each in (node, second, node)]
    async with following(*followers):
        for start in range(0, len(texts), 20):
            await _say(log, *((ANN, text) for text in texts[start : start + 20]))
        for follower in followers:
            await _until_applied(follower, log)
    await second.commit.close()
    assert await node.texts() == texts


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_follower_killed_at_any_moment_resumes_without_loss_or_repeat(
    log: Database, talk: grpc.aio.Channel, node: Node, seed: int
) -> None:
    chance = Random(seed)
    words = [(chance.choice((ANN, BOB, CAT)), str(number)) for number in range(150)]
    await _say(log, *words)
    deaths = 0
    while sum((await node.cursors()).values()) < len(words):
        assert deaths < 200
        life = Node(node.database, seed=deaths, batch_max=4)
        async with following(life.follower(talk, page_size=9)):
            await asyncio.sleep(chance.uniform(0.01, 0.08) * (1 + deaths / 10))
            await life.kill()
        await life.kill()
        deaths += 1
    assert deaths > 1
    assert await node.heard() == [
        *((who, text) for who, text in words if who != CAT),
        *((who, text) for who, text in words if who == CAT),
    ]


@pytest.mark.parametrize("step", ["before the commit", "after the commit"])
async def test_an_answer_that_is_lost_is_no_second_effect(
    log: Database, talk: grpc.aio.Channel, node: Node, step: str
) -> None:
    await _say(log, *((ANN, str(number)) for number in range(20)))
    follower = node.follower(talk, page_size=6)
    sink = _Failing(node, fails_after=step == "after the commit", failures=3)
    follower._sink = sink
    async with following(follower):
        await _until_applied(follower, log)
    assert sink.failures == 0
    assert await node.texts() == [str(number) for number in range(20)]


class _Failing:
    """A write path whose answers get lost a few times."""

    def __init__(self, node: Node, *, fails_after: bool, failures: int) -> None:
        self.failures = failures
        self._node = node
        self._fails_after = fails_after

    async def submit_many(self, items: Sequence[Followed], *, wait: bool) -> list[Result]:
        fails = self.failures > 0
        self.failures -= fails
        if fails and not self._fails_after:
            raise ConnectionResetError
        results = await self._node.commit.submit_many(items, wait=wait)
        if fails:
            raise ConnectionResetError
        return results


async def test_a_refusal_is_an_outcome_and_the_log_goes_on(
    log: Database, talk: grpc.aio.Channel, node: Node
) -> None:
    node.hearing.refused = {"2"}
    await _say(log, (ANN, "1"), (ANN, "2"), (ANN, "3"))
    follower = node.follower(talk)
    async with following(follower):
        await _until_applied(follower, log)
    assert await node.texts() == ["1", "3"]


async def test_what_may_succeed_later_is_waited_for_in_order(
    log: Database, talk: grpc.aio.Channel, node: Node
) -> None:
    node.hearing.later = {"2"}
    await _say(log, (ANN, "1"), (BOB, "2"), (ANN, "3"))
    follower = node.follower(talk)
    async with following(follower):
        await follower.wait_for(1, 1, 10)
        with pytest.raises(errors.NotReady):
            await follower.wait_for(1, 2, 0.2)
        node.hearing.later = set()
        await _until_applied(follower, log)
    assert await node.texts() == ["1", "2", "3"]


@pytest.mark.parametrize("poison", ["poison", "garbled"])
async def test_a_poisoned_event_parks_its_member_and_the_others_flow_on(
    log: Database, talk: grpc.aio.Channel, node: Node, poison: str
) -> None:
    node.hearing.poison = {"poison"}
    await _say(log, (ANN, "1"), (ANN, poison), (BOB, "2"), (ANN, "3"), (CAT, "4"))
    follower = node.follower(talk)
    async with following(follower):
        await _until_applied(follower, log)
        await _say(log, (ANN, "5"), (BOB, "6"))
        await _until_applied(follower, log)
    assert await node.heard() == [(ANN, "1"), (BOB, "2"), (BOB, "6"), (CAT, "4")]
    async with node.database.reading() as tx:
        (parked,) = await node.parked.members(tx)
    assert (parked.source, parked.member_key, parked.position) == (SOURCE, ANN, 2)
    assert (parked.events, parked.attempts) == (3, 1)
    assert poison in parked.error


async def test_a_retry_applies_what_was_parked_once_and_in_order(
    log: Database, talk: grpc.aio.Channel, node: Node
) -> None:
    node.hearing.poison = {"poison"}
    await _say(log, (ANN, "poison"), (ANN, "1"), (BOB, "2"))
    follower = node.follower(talk)
    async with following(follower):
        await _until_applied(follower, log)
        node.hearing.poison = set()
        retried = await asyncio.gather(*(node.parked.retry(SOURCE, ANN) for _ in range(3)))
        await _say(log, (ANN, "3"))
        await _until_applied(follower, log)
    assert await node.heard() == [(BOB, "2"), (ANN, "poison"), (ANN, "1"), (ANN, "3")]
    assert [each.waiting for each in retried] == [0, 0, 0]
    async with node.database.reading() as tx:
        assert await node.parked.members(tx) == []


async def test_a_retry_that_fails_again_keeps_the_order_and_counts(
    log: Database, talk: grpc.aio.Channel, node: Node
) -> None:
    node.hearing.poison = {"bad", "worse"}
    await _say(log, (ANN, "bad"), (ANN, "1"), (ANN, "worse"), (ANN, "2"), (CAT, "bad"))
    follower = node.follower(talk)
    async with following(follower):
        await _until_applied(follower, log)
    again = await node.parked.retry(SOURCE, ANN)
    assert (again.applied, again.waiting) == (0, 4)
    assert again.error == "ZeroDivisionError: bad"
    node.hearing.poison = {"worse"}
    everybody = await node.parked.retry_all()
    assert (everybody.applied, everybody.waiting) == (3, 2)
    assert await node.heard() == [(ANN, "bad"), (ANN, "1"), (CAT, "bad")]
    async with node.database.reading() as tx:
        (parked,) = await node.parked.members(tx)
    assert (parked.position, parked.events, parked.attempts) == (3, 2, 1)


async def test_what_is_said_during_a_retry_keeps_its_place(
    log: Database, talk: grpc.aio.Channel, node: Node
) -> None:
    node.hearing.poison = {"0"}
    await _say(log, *((ANN, str(number)) for number in range(10)))
    follower = node.follower(talk, page_size=3)
    async with following(follower):
        await _until_applied(follower, log)
        node.hearing.poison = set()
        retrying = asyncio.gather(*(node.parked.retry(SOURCE, ANN) for _ in range(2)))
        for number in range(10, 40):
            await _say(log, (ANN, str(number)))
        await _until_applied(follower, log)
        await retrying
        await node.parked.retry(SOURCE, ANN)
    assert await node.texts() == [str(number) for number in range(40)]


async def test_one_event_in_a_hundred_is_poisoned_and_nothing_is_lost(
    log: Database, talk: grpc.aio.Channel, node: Node
) -> None:
    chance = Random(7)
    members = [member(number % PARTITIONS, number) for number in range(30)]
    words = [(chance.choice(members), str(number)) for number in range(400)]
    node.hearing.poison = {text for _, text in words if int(text) % 100 == 0}
    second = Node(node.database, seed=2)
    second.hearing = node.hearing
    await _say(log, *words)
    followers = [node.follower(talk, page_size=40), second.follower(talk, page_size=25)]
    async with following(*followers):
        for follower in followers:
            await _until_applied(follower, log)
        node.hearing.poison.clear()
        await asyncio.gather(node.parked.retry_all(), node.parked.retry_all())
    await second.commit.close()
    heard = await node.heard()
    for each in members:
        assert [text for who, text in heard if who == each] == [
            text for who, text in words if who == each
        ]


async def test_a_slow_follower_slows_neither_the_writer_nor_another_follower(
    log: Database, talk: grpc.aio.Channel, node: Node
) -> None:
    release = asyncio.Event()
    slow = node.follower(talk, page_size=2)
    slow._sink = _Waiting(node, release)
    quick = node.follower(talk)
    async with following(slow, quick):
        for number in range(60):
            await _say(log, (ANN, str(number)))
        await _until_applied(quick, log)
        assert slow.applied(1) < 60
        release.set()
        await _until_applied(slow, log)
    assert await node.texts() == [str(number) for number in range(60)]


class _Waiting:
    """A write path that takes nothing until it is released."""

    def __init__(self, node: Node, release: asyncio.Event) -> None:
        self._node = node
        self._release = release

    async def submit_many(self, items: Sequence[Followed], *, wait: bool) -> list[Result]:
        await self._release.wait()
        return await self._node.commit.submit_many(items, wait=wait)


async def test_a_cursor_beyond_the_head_stops_the_follower_and_it_says_so(
    log: Database, talk: grpc.aio.Channel, node: Node
) -> None:
    await _say(log, (ANN, "1"), (ANN, "2"))
    follower = node.follower(talk)
    async with following(follower):
        await _until_applied(follower, log)
    async with log.transaction() as tx:
        await tx.update(TABLES.feed_heads, [{"partition": 1, "position": 1}], key=("partition",))
    restarted = node.follower(talk)
    with capture_logs() as logs:
        failure = await _stopped(restarted)
    assert failure.reason == CursorBeyondHead.reason
    assert failure.metadata() == {"partition": "1", "position": "2", "head_position": "1"}
    assert [each["event"] for each in logs if each["log_level"] == "critical"] == [
        "follower_stopped"
    ]
    with pytest.raises(errors.NotReady):
        await restarted.wait_for(1, 3, 60)


async def test_another_incarnation_stops_the_follower(
    log: Database, talk: grpc.aio.Channel, node: Node
) -> None:
    follower = node.follower(talk)
    await _say(log, (ANN, "1"))
    async with following(follower):
        await _until_applied(follower, log)
    async with log.transaction() as tx:
        await tx.update(TABLES.feed_identity, [{"one": 1, "incarnation": "two"}], key=("one",))
    await _say(log, (ANN, "2"))
    failure = await _stopped(node.follower(talk))
    assert failure.reason == IncarnationChanged.reason
    assert failure.metadata() == {"expected": "one", "actual": "two"}
    assert await node.texts() == ["1"]


async def test_another_number_of_partitions_stops_the_follower(
    log: Database, talk: grpc.aio.Channel, node: Node
) -> None:
    async with log.transaction() as tx:
        await tx.update(TABLES.feed_identity, [{"one": 1, "partitions": 8}], key=("one",))
    failure = await _stopped(node.follower(talk))
    assert failure == PartitionsDiffer(source=SOURCE, expected=PARTITIONS, actual=8)


async def test_a_service_that_is_not_up_yet_is_waited_for_and_one_that_restarts_is_found_again(
    log: Database, node: Node, unused_tcp_port_factory: Callable[[], int]
) -> None:
    address = f"127.0.0.1:{unused_tcp_port_factory()}"
    async with channel(address) as opened:
        follower = node.follower(opened)
        async with following(follower):
            await asyncio.sleep(0.1)
            for number in range(3):
                await _say(log, (ANN, str(number)))
                async with serving(servicer_of(log, TABLES), listen=address):
                    await _until_applied(follower, log)
    assert await node.texts() == ["0", "1", "2"]


async def test_a_read_waits_for_a_token_of_a_followed_service(
    log: Database, talk: grpc.aio.Channel, node: Node
) -> None:
    follower = node.follower(talk)
    followers = {SOURCE: follower}
    async with following(follower):
        waiting = asyncio.create_task(
            wait_for_token(followers, f"{SOURCE}:1:1", own="hearing", seconds=10)
        )
        await asyncio.sleep(0)
        assert not waiting.done()
        await _say(log, (ANN, "1"))
        await waiting
        assert await node.texts() == ["1"]
        with pytest.raises(errors.NotReady):
            await wait_for_token(followers, f"{SOURCE}:1:2", own="hearing", seconds=0.05)


@pytest.mark.parametrize("token", ["", "hearing:3:99"])
async def test_no_token_and_a_token_of_the_service_itself_need_no_wait(token: str) -> None:
    waiting = asyncio.create_task(wait_for_token({}, token, own="hearing"))
    await asyncio.sleep(0)
    assert waiting.done()
    await waiting


@pytest.mark.parametrize("token", ["nonsense", "other:1:2", "talking:x:1", "talking:1", ":::"])
async def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(MalformedFeedToken):
        await wait_for_token({}, token, own="hearing")
