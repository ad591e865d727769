"""Composition: everything of redemption wired, top to bottom."""

import asyncio

from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceStub
from guerdon.redemption.v1.redemption_service_pb2_grpc import (
    add_RedemptionServiceServicer_to_server,
)
from services.redemption import documents, servicer, tables
from services.redemption.catalogue import Rewards
from services.redemption.documents import EARNING, TIERS, Documents
from services.redemption.domain import CANCEL, REDEEM
from services.redemption.ends import Ends
from services.redemption.followers import commands_of_earning, commands_of_tiers
from services.redemption.operations import RedemptionWork
from services.redemption.queries import Redemptions
from services.redemption.redeeming import Redeeming
from services.redemption.sagas import Sagas
from services.redemption.secret import load_secret
from services.redemption.servicer import RedemptionServicer
from services.redemption.settings import Settings
from services.redemption.verification import Verification
from shared import assembly
from shared.assembly import Parts
from shared.clock import Clock
from shared.ids import Ids
from shared.rpc.server import Running


async def start(
    settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None
) -> Running:
    """Open the database, follow earning and tiers, serve; gives where it listens and how to stop.

    The others need not be there yet: followers and the worker of intentions wait for them.
    Raises BadSecretError for a voucher secret that is none.
    """
    base = await assembly.open_base(
        settings,
        service="redemption",
        metadata=tables.metadata,
        tables=tables.kernel,
        peers=(EARNING, TIERS),
        clock=clock,
        ids=ids,
    )
    secret = await asyncio.to_thread(load_secret, settings.secret_file, base.ids)
    catalogues = documents.programs(settings.partitions)
    applied = Documents(base.database, catalogues, base.clock, partitions=settings.partitions)
    writing = assembly.write_path(
        base,
        RedemptionWork(catalogues),
        {EARNING: commands_of_earning, TIERS: commands_of_tiers},
        publish=applied.publish_due,
    )
    ends = Ends(base.database)
    sagas = Sagas(base.database, writing.group_commit, base.channels[EARNING], ends, secret=secret)
    redemption = RedemptionServicer(
        Redeeming(writing.group_commit, ends, base.ids, secret=secret),
        Redemptions(base.database, catalogues),
        Rewards(base.database, catalogues, applied),
        applied,
        Verification(
            base.database,
            catalogues,
            FeedServiceStub(base.channels[EARNING]),
            base.clock,
            partitions=settings.partitions,
        ),
        writing.followers,
    )
    parts = Parts(
        servicers=[(add_RedemptionServiceServicer_to_server, redemption, servicer.NAME)],
        handlers={REDEEM: sagas.redeem, CANCEL: sagas.cancel},
        jobs=(applied.job(),),
        tasks=(ends.run,),
    )
    return await assembly.start(base, writing, parts)
