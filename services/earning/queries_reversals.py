"""Reads about reversals: one of them, or those of an activity, also those that wait for it."""

from dataclasses import dataclass

from services.earning import store_reversals, store_waiting
from services.earning.documents import EarningPrograms
from services.earning.domain import ActivityId, ProgramId, Reversal, ReversalId
from services.earning.ledger import EPOCH
from services.earning.refusals_reversals import ReversalNotFound
from services.earning.waiting_records import WaitingReversal, reversal_of
from shared import errors, paging
from shared.database import Database, from_micros, to_micros

_PAGE_SIZE = 50
_PAGE_SIZE_MAX = 1_000
_MICROS_MAX = 10**18


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversalPage:
    """Reversals, and the token of the next page, empty on the last."""

    reversals: tuple[Reversal, ...]
    next_page_token: str


class ReversalQueries:
    """Reads of reversals; each is one transaction, so it was true at one instant."""

    def __init__(self, database: Database, programs: EarningPrograms) -> None:
        self._database = database
        self._programs = programs

    async def reversal(
        self, program_id: ProgramId, activity_id: ActivityId, reversal_id: ReversalId
    ) -> Reversal:
        """A reversal as it is now. Refuses ProgramNotFound, ReversalNotFound."""
        async with self._database.reading() as tx:
            await self._programs.require(tx, program_id)
            found = await store_reversals.find(tx, program_id, reversal_id)
            if found is None:
                kept = await store_waiting.find(tx, program_id, reversal_id)
                found = None if kept is None else reversal_of(kept)
        if found is None or found.activity_id != activity_id:
            raise ReversalNotFound(reversal_id=reversal_id)
        return found

    async def reversals(
        self, program_id: ProgramId, activity_id: ActivityId, *, page_size: int, page_token: str
    ) -> ReversalPage:
        """A page of the reversals of an activity: those applied, then those that came before it.

        Refuses ProgramNotFound and InvalidPageToken.
        """
        query = paging.digest_of("reversals", program_id, activity_id)
        time, reversal_id, number = _position(page_token, query)
        size = paging.page_size(page_size, _PAGE_SIZE, _PAGE_SIZE_MAX)
        applied: list[Reversal] = []
        kept: list[WaitingReversal] = []
        async with self._database.reading() as tx:
            await self._programs.require(tx, program_id)
            if not number:
                applied = await store_reversals.page(
                    tx,
                    program_id,
                    activity_id,
                    after=(from_micros(time), reversal_id),
                    count=size + 1,
                )
            if len(applied) <= size:
                kept = await store_waiting.page(
                    tx, program_id, activity_id, after=number, count=size + 1 - len(applied)
                )
        more = ""
        if len(applied) + len(kept) > size:
            if len(applied) >= size:
                last = applied[size - 1]
                more = paging.encode(query, (to_micros(last.create_time), last.reversal_id, 0))
            else:
                more = paging.encode(query, (0, "", kept[size - len(applied) - 1].number))
        found = [*applied, *[reversal_of(each) for each in kept]]
        return ReversalPage(reversals=tuple(found[:size]), next_page_token=more)


def _position(token: str, query: str) -> tuple[int, str, int]:
    """Where a page begins: an instant and a reversal that was applied, or a number of the others.

    Refuses InvalidPageToken for a token of another query.
    """
    match paging.decode(token, query):
        case None:
            return to_micros(EPOCH) - 1, "", 0
        case (int(time), str(reversal_id), int(number)) if (
            abs(time) <= _MICROS_MAX and 0 <= number <= _MICROS_MAX
        ):
            return time, reversal_id, number
        case _:
            raise errors.InvalidPageToken
