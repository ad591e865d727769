"""Protobuf in, protobuf out; decides nothing."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar, cast

from google.protobuf.message import Message

from guerdon.earning.v1 import activity_pb2, ledger_pb2
from guerdon.earning.v1 import earning_service_pb2 as pb
from services.earning import answers, wire, wire_members, wire_stories
from services.earning.commands import Command, RecordActivity, ReverseActivity
from services.earning.documents import Documents
from services.earning.domain import (
    ActivityId,
    CurrencyId,
    Entry,
    Hold,
    MemberId,
    ProgramId,
    Reversal,
)
from services.earning.events import Recorded
from services.earning.member_records import MemberRecord
from services.earning.queries import Queries
from services.earning.queries_reversals import ReversalQueries
from services.earning.queries_stories import Stories
from services.earning.servicer_reversals import ReversalServicer
from services.earning.verification import Verification
from shared import document_wire, errors
from shared.group_commit import GroupCommit
from shared.ids import Ids
from shared.rpc import validation
from shared.rpc.interceptors import Context
from shared.rpc.status import status_of
from shared.work import Outcome, Result

NAME = "guerdon.earning.v1.EarningService"

_M = TypeVar("_M", bound=Message)


class EarningServicer(ReversalServicer):
    """Serves earning. `ids` makes the identifiers of holds."""

    def __init__(
        self,
        group_commit: GroupCommit,
        queries: Queries,
        documents: Documents,
        verification: Verification,
        stories: Stories,
        reversals: ReversalQueries,
        ids: Ids,
    ) -> None:
        super().__init__(reversals)
        self._group_commit = group_commit
        self._queries = queries
        self._documents = documents
        self._verification = verification
        self._stories = stories
        self._ids = ids

    # Members and activities ----------------------------------------------------------------------

    async def EnrollMember(
        self, request: pb.EnrollMemberRequest, context: Context
    ) -> pb.EnrollMemberResponse:
        """Enrol a member."""
        del context
        outcome = await self._group_commit.submit(wire.enroll_from_proto(request))
        member = wire_members.member_to_proto(cast("MemberRecord", outcome.answer))
        return pb.EnrollMemberResponse(member=member, feed_token=outcome.token)

    async def RecordActivity(
        self, request: pb.RecordActivityRequest, context: Context
    ) -> pb.RecordActivityResponse:
        """Record an activity and book its points."""
        del context
        command = wire.record_from_proto(request.program_id, request.activity)
        return _recorded(request.activity, await self._group_commit.submit(command))

    async def BatchRecordActivities(
        self, request: pb.BatchRecordActivitiesRequest, context: Context
    ) -> pb.BatchRecordActivitiesResponse:
        """Record many activities, each with an answer of its own."""
        del context
        results = await self._record_all(request.program_id, request.activities)
        return pb.BatchRecordActivitiesResponse(results=results)

    async def StreamActivities(
        self, request_iterator: AsyncIterator[pb.StreamActivitiesRequest], context: Context
    ) -> AsyncIterator[pb.StreamActivitiesResponse]:
        """Record batch after batch, each answered when it is durable."""
        del context
        async for request in request_iterator:
            results = await self._record_all(request.program_id, request.activities)
            yield pb.StreamActivitiesResponse(results=results)

    async def PreviewActivity(
        self, request: pb.PreviewActivityRequest, context: Context
    ) -> pb.PreviewActivityResponse:
        """Decide an activity and write nothing."""
        del context
        command = wire.record_from_proto(request.program_id, request.activity)
        recorded = await self._documents.published(lambda: self._queries.preview(command))
        return pb.PreviewActivityResponse(
            record=answers.recorded_to_proto(request.activity, recorded)
        )

    async def ReverseActivity(
        self, request: pb.ReverseActivityRequest, context: Context
    ) -> pb.ReverseActivityResponse:
        """Take back what an activity gave."""
        del context
        command = wire.reverse_from_proto(request.program_id, request.order)
        return _reversed(await self._group_commit.submit(command))

    async def BatchReverseActivities(
        self, request: pb.BatchReverseActivitiesRequest, context: Context
    ) -> pb.BatchReverseActivitiesResponse:
        """Reverse many times, each with an answer of its own."""
        del context

        def command(order: pb.ReversalOrder) -> ReverseActivity:
            return wire.reverse_from_proto(request.program_id, order)

        results = await self._submit_all(request.orders, command)
        return pb.BatchReverseActivitiesResponse(
            results=[
                pb.ReverseActivityResult(refused=status_of(result))
                if isinstance(result, errors.Refusal)
                else pb.ReverseActivityResult(reversed=_reversed(result))
                for result in results
            ]
        )

    # Points --------------------------------------------------------------------------------------

    async def ConfirmActivity(
        self, request: pb.ConfirmActivityRequest, context: Context
    ) -> pb.ConfirmActivityResponse:
        """Make the pending points of an activity available."""
        del context
        outcome = await self._group_commit.submit(wire.confirm_from_proto(request))
        entry = answers.entry_to_proto(cast("Entry", outcome.answer))
        return pb.ConfirmActivityResponse(entry=entry, feed_token=outcome.token)

    async def GetWallet(
        self, request: pb.GetWalletRequest, context: Context
    ) -> pb.GetWalletResponse:
        """Give a member's points."""
        del context
        now = await self._queries.wallet(
            ProgramId(request.program_id),
            MemberId(request.member_id),
            CurrencyId(request.currency_id),
        )
        wallet = answers.wallet_to_proto(now.wallet, request.member_id, now.expiring)
        return pb.GetWalletResponse(wallet=wallet)

    async def ListEntries(
        self, request: pb.ListEntriesRequest, context: Context
    ) -> pb.ListEntriesResponse:
        """List a member's ledger entries."""
        del context
        page = await self._queries.entries(
            ProgramId(request.program_id),
            MemberId(request.member_id),
            CurrencyId(request.currency_id),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListEntriesResponse(
            entries=[answers.entry_to_proto(entry) for entry in page.entries],
            next_page_token=page.next_page_token,
        )

    async def ExplainEntry(
        self, request: pb.ExplainEntryRequest, context: Context
    ) -> pb.ExplainEntryResponse:
        """Say why an entry was booked."""
        del context
        program_id, currency_id = ProgramId(request.program_id), CurrencyId(request.currency_id)
        if request.activity_id:
            activity_id = ActivityId(request.activity_id)
            story = await self._stories.of_activity(program_id, activity_id, currency_id)
        else:
            member_id = MemberId(request.member_id)
            story = await self._stories.of_member(
                program_id, member_id, currency_id, request.sequence
            )
        return wire_stories.story_to_proto(story)

    async def ListActivities(
        self, request: pb.ListActivitiesRequest, context: Context
    ) -> pb.ListActivitiesResponse:
        """List a member's activities."""
        del context
        page = await self._queries.activities(
            ProgramId(request.program_id),
            MemberId(request.member_id),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListActivitiesResponse(
            records=[answers.activity_to_proto(each, request.member_id) for each in page.records],
            next_page_token=page.next_page_token,
        )

    async def HoldPoints(
        self, request: pb.HoldPointsRequest, context: Context
    ) -> pb.HoldPointsResponse:
        """Set points aside."""
        del context
        command = wire.hold_from_proto(request, self._ids.new())
        outcome = await self._group_commit.submit(command)
        hold = await self._hold(outcome, request.member_id)
        return pb.HoldPointsResponse(hold=hold, feed_token=outcome.token)

    async def CaptureHold(
        self, request: pb.CaptureHoldRequest, context: Context
    ) -> pb.CaptureHoldResponse:
        """Spend held points."""
        del context
        outcome = await self._group_commit.submit(wire.capture_from_proto(request))
        return pb.CaptureHoldResponse(hold=await self._hold(outcome), feed_token=outcome.token)

    async def VoidHold(self, request: pb.VoidHoldRequest, context: Context) -> pb.VoidHoldResponse:
        """Give held points back."""
        del context
        outcome = await self._group_commit.submit(wire.void_from_proto(request))
        return pb.VoidHoldResponse(hold=await self._hold(outcome), feed_token=outcome.token)

    async def RefundCapture(
        self, request: pb.RefundCaptureRequest, context: Context
    ) -> pb.RefundCaptureResponse:
        """Give captured points back."""
        del context
        outcome = await self._group_commit.submit(wire.refund_from_proto(request))
        return pb.RefundCaptureResponse(hold=await self._hold(outcome), feed_token=outcome.token)

    async def CreditPoints(
        self, request: pb.CreditPointsRequest, context: Context
    ) -> pb.CreditPointsResponse:
        """Credit points for another service."""
        del context
        outcome = await self._group_commit.submit(wire.credit_from_proto(request))
        entry = answers.entry_to_proto(cast("Entry", outcome.answer))
        return pb.CreditPointsResponse(entry=entry, feed_token=outcome.token)

    # The program ---------------------------------------------------------------------------------

    async def GetEarningProgram(
        self, request: pb.GetEarningProgramRequest, context: Context
    ) -> pb.GetEarningProgramResponse:
        """Give a version of the program's rules."""
        del context
        version = await self._documents.get(request.program_id, request.version)
        return pb.GetEarningProgramResponse(version=answers.version_to_proto(version))

    async def ApplyEarningProgram(
        self, request: pb.ApplyEarningProgramRequest, context: Context
    ) -> pb.ApplyEarningProgramResponse:
        """Put a document in force, or tell what would change."""
        del context
        applied = await self._documents.apply(
            request.program, **document_wire.apply_arguments(request.options)
        )
        return pb.ApplyEarningProgramResponse(applied=document_wire.applied_to_proto(applied))

    async def ListEarningProgramVersions(
        self, request: pb.ListEarningProgramVersionsRequest, context: Context
    ) -> pb.ListEarningProgramVersionsResponse:
        """List the versions of the program's rules, newest first."""
        del context
        page = await self._documents.versions(
            request.program_id, page_size=request.page_size, page_token=request.page_token
        )
        return pb.ListEarningProgramVersionsResponse(
            versions=document_wire.versions_to_proto(page), next_page_token=page.next_page_token
        )

    async def RollbackEarningProgram(
        self, request: pb.RollbackEarningProgramRequest, context: Context
    ) -> pb.RollbackEarningProgramResponse:
        """Apply an earlier version anew, or tell what would change."""
        del context
        applied = await self._documents.rollback(
            request.program_id,
            request.version,
            **document_wire.rollback_arguments(request.options),
        )
        return pb.RollbackEarningProgramResponse(applied=document_wire.applied_to_proto(applied))

    async def GetLedgerSummary(
        self, request: pb.GetLedgerSummaryRequest, context: Context
    ) -> pb.GetLedgerSummaryResponse:
        """Give the totals of a program."""
        del context
        summary = await self._queries.summary(
            ProgramId(request.program_id), CurrencyId(request.currency_id)
        )
        return answers.summary_to_proto(summary)

    async def VerifyLedger(
        self, request: pb.VerifyLedgerRequest, context: Context
    ) -> AsyncIterator[pb.VerifyLedgerResponse]:
        """Recompute everything from the entries."""
        del context
        if request.program_id:
            await self._queries.check_program(ProgramId(request.program_id))
        # Closed at once when the caller has gone, whatever is under way.
        async with aclosing(self._verification.run(request.program_id)) as found:
            async for progress in found:
                yield answers.progress_to_proto(progress)

    # Helpers -------------------------------------------------------------------------------------

    async def _hold(self, outcome: Outcome, member_id: str = "") -> ledger_pb2.Hold:
        """The hold that was answered, under the member's name."""
        hold = cast("Hold", outcome.answer)
        name = member_id or await self._queries.name_of(hold.program_id, hold.member_key)
        if not hold.shares:
            return answers.hold_to_proto(hold, name)
        keys = [each.member_key for each in hold.shares]
        names = await self._queries.names_of(hold.program_id, keys)
        return answers.hold_to_proto(hold, name, names)

    async def _record_all(
        self, program_id: str, activities: Sequence[activity_pb2.Activity]
    ) -> list[pb.RecordActivityResult]:
        def command(activity: activity_pb2.Activity) -> RecordActivity:
            return wire.record_from_proto(program_id, activity, path="")

        results = await self._submit_all(activities, command)
        return [
            pb.RecordActivityResult(refused=status_of(result))
            if isinstance(result, errors.Refusal)
            else pb.RecordActivityResult(recorded=_recorded(activity, result))
            for activity, result in zip(activities, results, strict=True)
        ]

    async def _submit_all(
        self, items: Sequence[_M], command_of: Callable[[_M], Command]
    ) -> list[Result]:
        """Submit what is well shaped; a misshapen item is refused alone."""
        results: list[Result | None] = [None] * len(items)
        commands: list[Command] = []
        places: list[int] = []
        for place, item in enumerate(items):
            found = validation.violations(item)
            if found:
                results[place] = errors.FieldViolations(violations=found)
                continue
            try:
                commands.append(command_of(item))
                places.append(place)
            except errors.Refusal as refusal:
                results[place] = refusal
        settled = await self._group_commit.submit_many(commands)
        for place, result in zip(places, settled, strict=True):
            results[place] = result
        return [result for result in results if result is not None]


def _recorded(activity: activity_pb2.Activity, outcome: Outcome) -> pb.RecordActivityResponse:
    recorded = cast("Recorded", outcome.answer)
    return pb.RecordActivityResponse(
        record=answers.recorded_to_proto(activity, recorded), feed_token=outcome.token
    )


def _reversed(outcome: Outcome) -> pb.ReverseActivityResponse:
    reversal = answers.reversal_to_proto(cast("Reversal", outcome.answer))
    return pb.ReverseActivityResponse(reversal=reversal, feed_token=outcome.token)
