"""Composition: everything of earning wired, top to bottom."""

from guerdon.earning.v1.earning_service_pb2_grpc import add_EarningServiceServicer_to_server
from guerdon.earning.v1.household_service_pb2_grpc import (
    add_HouseholdServiceServicer_to_server,
)
from guerdon.earning.v1.member_service_pb2_grpc import add_MemberServiceServicer_to_server
from guerdon.earning.v1.points_service_pb2_grpc import add_PointsServiceServicer_to_server
from guerdon.earning.v1.referral_service_pb2_grpc import add_ReferralServiceServicer_to_server
from guerdon.earning.v1.seal_service_pb2_grpc import add_SealServiceServicer_to_server
from guerdon.earning.v1.statement_service_pb2_grpc import (
    add_StatementServiceServicer_to_server,
)
from services.earning import (
    documents,
    servicer,
    servicer_households,
    servicer_members,
    servicer_points,
    servicer_referrals,
    servicer_seals,
    servicer_statements,
    tables,
)
from services.earning.documents import SOURCE, Documents
from services.earning.erasure import Erasure
from services.earning.followers import commands_of
from services.earning.jobs import ExpireHolds, SettleWallets
from services.earning.jobs_seals import SealDays
from services.earning.operations import EarningWork
from services.earning.queries import Queries
from services.earning.queries_households import HouseholdQueries
from services.earning.queries_members import MemberQueries
from services.earning.queries_points import PointsQueries
from services.earning.queries_referrals import ReferralQueries
from services.earning.queries_reversals import ReversalQueries
from services.earning.queries_seals import SealQueries
from services.earning.queries_statements import StatementQueries
from services.earning.queries_stories import Stories
from services.earning.servicer import EarningServicer
from services.earning.servicer_households import HouseholdServicer
from services.earning.servicer_members import MemberServicer
from services.earning.servicer_points import PointsServicer
from services.earning.servicer_referrals import ReferralServicer
from services.earning.servicer_seals import SealServicer
from services.earning.servicer_statements import StatementServicer
from services.earning.settings import Settings
from services.earning.verification import Verification
from shared import assembly
from shared.assembly import Parts
from shared.clock import Clock
from shared.ids import Ids
from shared.rpc.server import Running


async def start(
    settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None
) -> Running:
    """Open the database, follow tiers, serve; gives where it listens and how to stop it.

    Tiers need not be there yet: the follower waits for it.
    """
    base = await assembly.open_base(
        settings,
        service="earning",
        metadata=tables.metadata,
        tables=tables.kernel,
        peers=(SOURCE,),
        clock=clock,
        ids=ids,
    )
    programs = documents.programs(settings.partitions)
    applied = Documents(base.database, programs, base.clock)
    work = EarningWork(programs, base.ids)
    writing = assembly.write_path(base, work, {SOURCE: commands_of}, publish=applied.publish_due)
    earning = EarningServicer(
        writing.group_commit,
        Queries(base.database, programs, work, base.clock),
        applied,
        Verification(base.database, programs),
        Stories(base.database, programs),
        ReversalQueries(base.database, programs),
        base.ids,
    )
    members = MemberServicer(
        writing.group_commit, MemberQueries(base.database, programs, base.clock)
    )
    points = PointsServicer(writing.group_commit, PointsQueries(base.database, programs), base.ids)
    referrals = ReferralServicer(
        writing.group_commit, ReferralQueries(base.database, programs), base.ids
    )
    households = HouseholdServicer(
        writing.group_commit, HouseholdQueries(base.database, programs, base.clock), base.ids
    )
    erasure = Erasure(base.database, settings.partitions)
    expire = ExpireHolds(base.database, writing.jobs_commit, base.clock)
    settle = SettleWallets(base.database, writing.jobs_commit, base.clock)
    seals = SealServicer(SealQueries(base.database, programs))
    statements = StatementServicer(StatementQueries(base.database, programs, base.clock))
    sealing = SealDays(base.database, programs, base.clock)
    parts = Parts(
        servicers=[
            (add_EarningServiceServicer_to_server, earning, servicer.NAME),
            (add_MemberServiceServicer_to_server, members, servicer_members.NAME),
            (add_PointsServiceServicer_to_server, points, servicer_points.NAME),
            (add_ReferralServiceServicer_to_server, referrals, servicer_referrals.NAME),
            (add_HouseholdServiceServicer_to_server, households, servicer_households.NAME),
            (add_SealServiceServicer_to_server, seals, servicer_seals.NAME),
            (add_StatementServiceServicer_to_server, statements, servicer_statements.NAME),
        ],
        jobs=(applied.job(), expire.job(), settle.job(), erasure.job(), sealing.job()),
    )
    return await assembly.start(base, writing, parts)
