"""Composition: everything of tiers wired, top to bottom."""

from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceStub
from guerdon.tiers.v1.tiers_service_pb2_grpc import add_TiersServiceServicer_to_server
from services.tiers import documents, servicer, tables
from services.tiers.documents import SOURCE, Documents
from services.tiers.followers import commands_of
from services.tiers.jobs import FillLadders
from services.tiers.operations import Memberships, TiersWork
from services.tiers.servicer import TiersServicer
from services.tiers.settings import Settings
from services.tiers.verification import Verification
from shared import assembly
from shared.assembly import Parts
from shared.clock import Clock
from shared.ids import Ids
from shared.rpc.server import Running


async def start(
    settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None
) -> Running:
    """Open the database, follow earning, serve; gives where it listens and how to stop it.

    Earning need not be there yet: the follower waits for it.
    """
    base = await assembly.open_base(
        settings,
        service="tiers",
        metadata=tables.metadata,
        tables=tables.kernel,
        peers=(SOURCE,),
        clock=clock,
        ids=ids,
    )
    programs = documents.programs(settings.partitions)
    applied = Documents(base.database, programs, base.clock)
    writing = assembly.write_path(
        base, TiersWork(programs), {SOURCE: commands_of}, publish=applied.publish_due
    )
    fill = FillLadders(base.database, writing.group_commit)
    tiers = TiersServicer(
        Memberships(base.database, programs, base.clock),
        applied,
        Verification(
            base.database,
            programs,
            FeedServiceStub(base.channels[SOURCE]),
            commands_of,
            partitions=settings.partitions,
        ),
        writing.followers,
    )
    parts = Parts(
        servicers=[(add_TiersServiceServicer_to_server, tiers, servicer.NAME)],
        jobs=(applied.job(), fill.job()),
    )
    return await assembly.start(base, writing, parts)
