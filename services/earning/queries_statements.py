"""Reads statements."""

from datetime import UTC, date, datetime, time, timedelta

from services.earning import decisions, statements, store_reads, store_seals, store_statements
from services.earning.documents import EarningPrograms
from services.earning.domain import CurrencyId, MemberId, ProgramId
from services.earning.statements import StatementPage
from shared import errors, paging
from shared.database import Database, Tx

_PAGE_SIZE = 100
_PAGE_SIZE_MAX = 1_000


class StatementQueries:
    """Reads of StatementService; each is one transaction, so it was true at one instant."""

    def __init__(self, database: Database, programs: EarningPrograms) -> None:
        self._database = database
        self._programs = programs

    async def statement(
        self,
        program_id: ProgramId,
        member_id: MemberId,
        currency_id: CurrencyId,
        month: str,
        *,
        page_size: int,
        page_token: str,
    ) -> StatementPage:
        """A month of a member's wallet.

        Refuses ProgramNotFound, MemberNotFound, CurrencyNotFound, InvalidPageToken.
        """
        query = paging.digest_of("statement", program_id, member_id, currency_id, month)
        size = paging.page_size(page_size, _PAGE_SIZE, _PAGE_SIZE_MAX)
        first = statements.first_day(month)
        async with self._database.reading() as tx:
            version = await self._programs.require(tx, program_id)
            member_key = await store_reads.find_member(tx, program_id, member_id)
            if member_key is None:
                raise errors.MemberNotFound(member_id=member_id)
            key = (program_id, member_key, decisions.currency_of(version.program, currency_id))
            start = await self._begin(tx, program_id, first)
            end = await self._begin(tx, program_id, statements.day_after(first))
            after = await store_statements.last_before(tx, key, start)
            upto = max(after, await store_statements.last_before(tx, key, end))
            before = _position(page_token, query, after, upto)
            opening = await store_statements.balance(tx, key, after)
            closing = await store_statements.balance(tx, key, upto)
            moved = await store_statements.moved(tx, key, after, upto)
            count = min(size, before - 1 - after)
            found = await store_reads.entries(tx, key, before=before, count=count)
        more = ""
        if found and found[-1].sequence > after + 1:
            more = paging.encode(query, (found[-1].sequence,))
        return StatementPage(
            statement=statements.stated(
                month, key[2], (start, end), (opening, closing), moved, upto - after
            ),
            entries=tuple(found),
            next_page_token=more,
        )

    async def _begin(self, tx: Tx, program_id: ProgramId, first: date) -> datetime:
        """The first instant of a month, in the zone that was in force the day before."""
        at = datetime.combine(first, time(), tzinfo=UTC) - timedelta(days=1)
        number = await store_seals.version_at(tx, program_id, at)
        zone = (await self._programs.at_version(tx, program_id, number)).program.rules.zone
        return statements.begin(first, zone)


def _position(token: str, query: str, after: int, upto: int) -> int:
    """The entry before which a page begins. Refuses InvalidPageToken."""
    match paging.decode(token, query):
        case None:
            return upto + 1
        case (int(before),) if after < before <= upto:
            return before
        case _:
            raise errors.InvalidPageToken
