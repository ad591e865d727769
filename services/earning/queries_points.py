"""Reads about adjustments: one, a page of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from services.earning import store_members, store_points, store_reads
from services.earning.documents import EarningPrograms
from services.earning.domain import MemberId, MemberKey, ProgramId
from services.earning.points_records import Adjustment, AdjustmentId, AdjustmentState
from services.earning.refusals_points import AdjustmentNotFound
from shared import errors, paging
from shared.database import Database, Tx, from_micros, to_micros

_PAGE_SIZE = 50
_PAGE_SIZE_MAX = 1_000
_TIME_END = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An adjustment, and an identifier of its member, empty when nothing names it."""

    adjustment: Adjustment
    member_id: MemberId


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjustmentPage:
    """Adjustments, the newest first, and the token of the next page, empty on the last."""

    adjustments: tuple[Named, ...]
    next_page_token: str


class PointsQueries:
    """Reads of PointsService; each is one transaction, so what it shows was true at one instant."""

    def __init__(self, database: Database, programs: EarningPrograms) -> None:
        self._database = database
        self._programs = programs

    async def adjustment(self, program_id: ProgramId, adjustment_id: AdjustmentId) -> Named:
        """An adjustment. Refuses ProgramNotFound, AdjustmentNotFound."""
        async with self._database.reading() as tx:
            await self._programs.require(tx, program_id)
            found = await store_points.load_adjustments(tx, [(program_id, adjustment_id)])
            if not found:
                raise AdjustmentNotFound(adjustment_id=adjustment_id)
            return (await _named(tx, program_id, list(found.values())))[0]

    async def named(self, adjustment: Adjustment) -> Named:
        """An adjustment that was answered, with a name of its member."""
        async with self._database.reading() as tx:
            return (await _named(tx, adjustment.program_id, [adjustment]))[0]

    async def adjustments(
        self,
        program_id: ProgramId,
        states: Sequence[AdjustmentState],
        *,
        page_size: int,
        page_token: str,
    ) -> AdjustmentPage:
        """A page of adjustments in some states. Refuses ProgramNotFound, InvalidPageToken."""
        query = paging.digest_of("adjustments", program_id, *states)
        time, adjustment_id = _position(page_token, query)
        size = paging.page_size(page_size, _PAGE_SIZE, _PAGE_SIZE_MAX)
        async with self._database.reading() as tx:
            await self._programs.require(tx, program_id)
            found = await store_points.page(
                tx, program_id, states, before=(from_micros(time), adjustment_id), count=size + 1
            )
            page = await _named(tx, program_id, found[:size])
        more = ""
        if len(found) > size:
            last = found[size - 1]
            more = paging.encode(query, (to_micros(last.create_time), last.adjustment_id))
        return AdjustmentPage(adjustments=tuple(page), next_page_token=more)


async def _named(tx: Tx, program_id: ProgramId, found: Sequence[Adjustment]) -> list[Named]:
    """Adjustments with names of their members; those that were merged have their target's."""
    keys = {each.member_key for each in found}
    merged = await store_members.merged_into(tx, sorted((program_id, key) for key in keys))
    owners = {key: merged.get((program_id, key), key) for key in keys}
    names: dict[MemberKey, MemberId] = {
        key: await store_reads.name_member(tx, program_id, key) for key in set(owners.values())
    }
    return [Named(adjustment=each, member_id=names[owners[each.member_key]]) for each in found]


def _position(token: str, query: str) -> tuple[int, str]:
    """Where a page begins. Refuses InvalidPageToken for a token of another query."""
    match paging.decode(token, query):
        case None:
            return to_micros(_TIME_END), ""
        case (int(time), str(adjustment_id)) if 0 <= time <= to_micros(_TIME_END):
            return time, adjustment_id
        case _:
            raise errors.InvalidPageToken
