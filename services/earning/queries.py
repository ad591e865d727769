"""What reads answer: wallets, pages of entries and activities, previews, totals.

Every read is one transaction, so what it shows was true at one instant.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from services.earning import (
    decisions,
    ledger_clock,
    store,
    store_further,
    store_members,
    store_reads,
)
from services.earning.commands import RecordActivity
from services.earning.documents import EarningPrograms
from services.earning.domain import (
    ActivityRecord,
    CurrencyId,
    Entry,
    MemberId,
    MemberKey,
    ProgramId,
    Wallet,
)
from services.earning.events import Recorded
from services.earning.ledger_clock import Expiring
from services.earning.operations import EarningWork
from services.earning.rules import Program
from services.earning.settlement import settled
from services.earning.store_reads import LedgerSummary
from shared import errors, paging
from shared.clock import Clock
from shared.combining import Combiner
from shared.database import Database, Tx, from_micros, to_micros

_PAGE_SIZE = 50
_EXPIRING_MAX = 100
_PAGE_SIZE_MAX = 1_000
_PREVIEWS_MAX = 32
_SEQUENCE_END = 2**62
_TIME_END = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPage:
    """Entries, newest first, and the token of the next page, empty on the last."""

    entries: tuple[Entry, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityPage:
    """Records, newest first, and the token of the next page, empty on the last."""

    records: tuple[ActivityRecord, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletNow:
    """A wallet as it is when everything due is booked, and the next ends of its points."""

    wallet: Wallet
    expiring: tuple[Expiring, ...] = ()


class Queries:
    """Reads of the service."""

    def __init__(
        self, database: Database, programs: EarningPrograms, work: EarningWork, clock: Clock
    ) -> None:
        self._database = database
        self._programs = programs
        self._work = work
        self._clock = clock
        self._previews = Combiner(self._preview_all, batch_max=_PREVIEWS_MAX)

    async def wallet(
        self, program_id: ProgramId, member_id: MemberId, currency_id: CurrencyId
    ) -> WalletNow:
        """A member's wallet. Refuses ProgramNotFound, MemberNotFound, CurrencyNotFound."""
        async with self._database.reading() as tx:
            program, key, currency = await self._meant(tx, program_id, member_id, currency_id)
            wallet = await store_reads.wallet(tx, program_id, key, currency)
            if wallet.next_time is None:
                return WalletNow(wallet=wallet)  # nothing of it ever ends
            place = (program_id, key, currency)
            lots = (await store.load_open_lots(tx, [place]))[place]
        policy = decisions.policy_of(program, currency)
        books, _ = settled(wallet, lots, policy, self._clock.now())
        expiring = ledger_clock.expiring(books.wallet, books.lots.values(), _EXPIRING_MAX)
        now = replace(books.wallet, sequence=wallet.sequence, chain_hash=wallet.chain_hash)
        return WalletNow(wallet=now, expiring=tuple(expiring))

    async def entries(
        self,
        program_id: ProgramId,
        member_id: MemberId,
        currency_id: CurrencyId,
        *,
        page_size: int,
        page_token: str,
    ) -> EntryPage:
        """A page of a member's entries. Refuses as `wallet`, and InvalidPageToken."""
        query = paging.digest_of("entries", program_id, member_id, currency_id)
        (before,) = _position(page_token, query, (_SEQUENCE_END,))
        size = paging.page_size(page_size, _PAGE_SIZE, _PAGE_SIZE_MAX)
        async with self._database.reading() as tx:
            _, key, currency = await self._meant(tx, program_id, member_id, currency_id)
            found = await store_reads.entries(
                tx, (program_id, key, currency), before=int(before), count=size + 1
            )
        page = tuple(found[:size])
        more = paging.encode(query, (page[-1].sequence,)) if len(found) > size else ""
        return EntryPage(entries=page, next_page_token=more)

    async def activities(
        self, program_id: ProgramId, member_id: MemberId, *, page_size: int, page_token: str
    ) -> ActivityPage:
        """A page of activities of a member, and of those merged into it.

        Refuses as `wallet`, and InvalidPageToken.
        """
        query = paging.digest_of("activities", program_id, member_id)
        time, activity_id = _position(page_token, query, (to_micros(_TIME_END), ""))
        size = paging.page_size(page_size, _PAGE_SIZE, _PAGE_SIZE_MAX)
        async with self._database.reading() as tx:
            program, key, _ = await self._meant(tx, program_id, member_id, CurrencyId(""))
            found = await store_reads.activities(
                tx,
                program_id,
                await store_members.family(tx, program_id, key),
                before=(from_micros(int(time)), str(activity_id)),
                count=size + 1,
            )
            if program.has_further:
                found = await store_further.with_earnings(tx, found)
        page = tuple(found[:size])
        more = ""
        if len(found) > size:
            last = page[-1]
            more = paging.encode(query, (to_micros(last.create_time), last.activity_id))
        return ActivityPage(records=page, next_page_token=more)

    async def preview(self, command: RecordActivity) -> Recorded:
        """What an activity would earn now; refuses what recording it would refuse.

        Previews that arrive together are loaded together, from one state of the database.
        """
        return await self._previews.ask(command)

    async def _preview_all(
        self, commands: Sequence[RecordActivity]
    ) -> Sequence[Recorded | Exception]:
        async with self._database.reading() as tx:
            return await self._work.preview(tx, commands, self._clock.now())

    async def name_of(self, program_id: ProgramId, member_key: MemberKey) -> MemberId:
        """Identifier of a member; empty when it has none."""
        async with self._database.reading() as tx:
            return await store_reads.name_member(tx, program_id, member_key)

    async def names_of(
        self, program_id: ProgramId, keys: Sequence[MemberKey]
    ) -> dict[MemberKey, MemberId]:
        """Identifiers of members; those whom nothing names are left out."""
        async with self._database.reading() as tx:
            return await store_members.names(tx, program_id, keys)

    async def summary(self, program_id: ProgramId, currency_id: CurrencyId) -> LedgerSummary:
        """Totals of a program. Refuses ProgramNotFound, CurrencyNotFound."""
        async with self._database.reading() as tx:
            found = await self._programs.require(tx, program_id)
            currency = decisions.currency_of(found.program, currency_id)
            return await store_reads.summary(tx, program_id, currency)

    async def check_program(self, program_id: ProgramId) -> None:
        """Refuses ProgramNotFound."""
        async with self._database.reading() as tx:
            await self._programs.require(tx, program_id)

    async def _meant(
        self, tx: Tx, program_id: ProgramId, member_id: MemberId, currency_id: CurrencyId
    ) -> tuple[Program, MemberKey, CurrencyId]:
        found = await self._programs.require(tx, program_id)
        key = await store_reads.find_member(tx, program_id, member_id)
        if key is None:
            raise errors.MemberNotFound(member_id=member_id)
        return found.program, key, decisions.currency_of(found.program, currency_id)


def _position(token: str, query: str, first: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Where a page begins. Refuses InvalidPageToken for a token of another query."""
    position = paging.decode(token, query)
    if position is None:
        return first
    if [type(each) for each in position] != [type(each) for each in first]:
        raise errors.InvalidPageToken
    return position
