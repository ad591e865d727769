"""Reads statements."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.earning import decisions, statements, store_reads, store_seals, store_statements
from services.earning.documents import EarningPrograms
from services.earning.domain import CurrencyId, MemberId, ProgramId
from services.earning.refusals import MonthNotBegun
from services.earning.statements import Statement, StatementPage
from services.earning.store_statements import WalletKey
from shared import errors, paging
from shared.clock import Clock
from shared.database import Database, Tx

_PAGE_SIZE = 100
_PAGE_SIZE_MAX = 1_000
_EXPIRING_MONTHS = 3


class StatementQueries:
    """Reads of StatementService; each is one transaction, so it was true at one instant."""

    def __init__(self, database: Database, programs: EarningPrograms, clock: Clock) -> None:
        self._database = database
        self._programs = programs
        self._clock = clock

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

        Refuses ProgramNotFound, MemberNotFound, CurrencyNotFound, MonthNotBegun, InvalidPageToken.
        """
        query = paging.digest_of("statement", program_id, member_id, currency_id, month)
        size = paging.page_size(page_size, _PAGE_SIZE, _PAGE_SIZE_MAX)
        async with self._database.reading() as tx:
            version = await self._programs.require(tx, program_id)
            member_key = await store_reads.find_member(tx, program_id, member_id)
            if member_key is None:
                raise errors.MemberNotFound(member_id=member_id)
            key = (program_id, member_key, decisions.currency_of(version.program, currency_id))
            months = Months(tx, self._programs)
            span = await months.span(key, month)
            if span.times[0] > self._clock.now():
                raise MonthNotBegun(month=month, begin_time=span.times[0])
            before = _position(page_token, query, span.after, span.upto)
            statement = await months.stated(key, span)
            count = min(size, before - 1 - span.after)
            found = await store_reads.entries(tx, key, before=before, count=count)
        more = ""
        if found and found[-1].sequence > span.after + 1:
            more = paging.encode(query, (found[-1].sequence,))
        return StatementPage(statement=statement, entries=tuple(found), next_page_token=more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A month of a wallet: its two ends, and the entries after `after` up to `upto`."""

    month: str
    times: tuple[datetime, datetime]
    after: int
    upto: int


class Months:
    """The months of wallets, as one transaction sees them."""

    def __init__(self, tx: Tx, programs: EarningPrograms) -> None:
        self._tx = tx
        self._programs = programs

    async def span(self, key: WalletKey, month: str) -> Span:
        """Where a month begins and ends."""
        first = statements.first_day(month)
        start = await self._begin(key[0], first)
        end = await self._begin(key[0], statements.day_after(first))
        after = await store_statements.last_before(self._tx, key, start)
        upto = max(after, await store_statements.last_before(self._tx, key, end))
        return Span(month=month, times=(start, end), after=after, upto=upto)

    async def stated(self, key: WalletKey, span: Span) -> Statement:
        """The statement of a month."""
        opening = await store_statements.balance(self._tx, key, span.after)
        closing = await store_statements.balance(self._tx, key, span.upto)
        moved = await store_statements.moved(self._tx, key, span.after, span.upto)
        lots = await store_statements.open_lots(self._tx, key, span.upto)
        slide_time = await store_statements.slide_time(self._tx, key, span.upto)
        return statements.stated(
            span.month,
            key[2],
            span.times,
            (opening, closing),
            moved,
            span.upto - span.after,
            statements.expiring_months(lots, slide_time, await self._ends(key[0], span)),
        )

    async def _ends(self, program_id: ProgramId, span: Span) -> list[tuple[str, datetime]]:
        """The month and those after it whose ending points are told, with their last instants.

        All in the zone in which the month ended, so that it says for ever what it said then.
        """
        first = statements.day_after(statements.first_day(span.month))
        zone = await self._zone(program_id, first)
        ends = [(span.month, span.times[1])]
        for _ in range(_EXPIRING_MONTHS):
            month, first = statements.month_of(first), statements.day_after(first)
            ends.append((month, statements.begin(first, zone)))
        return ends

    async def _begin(self, program_id: ProgramId, first: date) -> datetime:
        """The first instant of a month, in the zone that was in force the day before."""
        return statements.begin(first, await self._zone(program_id, first))

    async def _zone(self, program_id: ProgramId, first: date) -> ZoneInfo:
        """The zone that was in force the day before a month."""
        at = datetime.combine(first, time(), tzinfo=UTC) - timedelta(days=1)
        number = await store_seals.version_at(self._tx, program_id, at)
        version = await self._programs.at_version(self._tx, program_id, number)
        return version.program.rules.zone


def _position(token: str, query: str, after: int, upto: int) -> int:
    """The entry before which a page begins. Refuses InvalidPageToken."""
    match paging.decode(token, query):
        case None:
            return upto + 1
        case (int(before),) if after < before <= upto:
            return before
        case _:
            raise errors.InvalidPageToken
