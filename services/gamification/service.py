"""Composition: everything of gamification wired, top to bottom."""

from collections.abc import Callable
from typing import TypeAlias

from redis.exceptions import RedisError

from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceStub
from guerdon.gamification.v1.gamification_service_pb2_grpc import (
    add_GamificationServiceServicer_to_server,
)
from guerdon.gamification.v1.leaderboard_service_pb2_grpc import (
    add_LeaderboardServiceServicer_to_server,
)
from services.gamification import documents, jobs, servicer, tables
from services.gamification.achievements import Achievements
from services.gamification.boardcheck import BoardCheck
from services.gamification.documents import Documents
from services.gamification.domain import CREDIT_POINTS
from services.gamification.followers import TRANSLATES
from services.gamification.index import BoardIndex, connect
from services.gamification.leaderboards import Leaderboards
from services.gamification.operations import Gamification
from services.gamification.projector import Projector
from services.gamification.reading import BoardReader
from services.gamification.rewards import RewardPayer
from services.gamification.score_store import ScoreLog
from services.gamification.servicer import GamificationServicer, LeaderboardServicer
from services.gamification.settings import Settings
from services.gamification.verification import Verification
from shared import assembly
from shared.assembly import Parts
from shared.clock import Clock
from shared.feed import FeedReader
from shared.ids import Ids
from shared.logs import get_logger
from shared.rpc.server import Running

Serving: TypeAlias = tuple[Callable[..., None], object, str]

_log = get_logger(__name__)


async def start(
    settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None
) -> Running:
    """Open the database, follow earning, keep the boards, serve.

    Neither earning nor the index server need be there yet: their followers wait for them.
    Raises IndexEvicts when the index server may throw keys away.
    """
    base = await assembly.open_base(
        settings,
        service="gamification",
        metadata=tables.metadata,
        tables=tables.kernel,
        peers=tuple(TRANSLATES),
        clock=clock,
        ids=ids,
    )
    database = base.database
    earning = base.channels["earning"]
    programs = documents.programs(settings.partitions)
    in_force = Documents(database, programs, base.clock)
    async with database.reading() as tx:
        identity = await FeedReader(tables.kernel).identity(tx)
    client = connect(settings.redis_url)
    index = BoardIndex(client, identity.incarnation)
    await _check(index)
    log = ScoreLog(database)
    projector = Projector(log, index, in_force.layouts)

    work = Gamification(programs, partitions=settings.partitions, touched=projector.touch)
    writing = assembly.write_path(base, work, TRANSLATES, publish=in_force.publish_due)
    payer = RewardPayer(earning, writing.group_commit)
    boards = Leaderboards(
        documents=in_force,
        reader=BoardReader(database, index, projector.look_at_all),
        projector=projector,
        index=index,
        log=log,
        group_commit=writing.group_commit,
        followers=writing.followers,
        clock=base.clock,
    )
    verification = Verification(
        database,
        programs,
        FeedServiceStub(earning),
        BoardCheck(database, in_force, index, projector),
        partitions=settings.partitions,
    )
    achievements = Achievements(database, in_force, writing.followers)
    parts = Parts(
        servicers=_servicers(
            GamificationServicer(achievements, in_force, verification), LeaderboardServicer(boards)
        ),
        handlers={CREDIT_POINTS: payer.pay},
        jobs=(in_force.job(), *jobs.JOBS),
        tasks=(projector.run,),
        projections=projector.progress,
        on_commit=(projector.wake,),
        on_stop=(boards.close,),
        closers=(client.aclose,),
    )
    return await assembly.start(base, writing, parts)


def _servicers(game: GamificationServicer, boards: LeaderboardServicer) -> list[Serving]:
    return [
        (add_GamificationServiceServicer_to_server, game, servicer.NAME),
        (add_LeaderboardServiceServicer_to_server, boards, servicer.BOARDS_NAME),
    ]


async def _check(index: BoardIndex) -> None:
    """Refuse a server that evicts; one that is not there is waited for by whoever needs it."""
    try:
        await index.check()
    except (RedisError, OSError) as error:
        _log.warning("boards_index_not_there", error=str(error))
