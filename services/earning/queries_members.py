"""Reads about members: one, a page of them, everything of one."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from services.earning import queries_exports, store_further, store_members, store_reads
from services.earning.documents import EarningPrograms
from services.earning.domain import (
    NO_HOUSEHOLD,
    ActivityRecord,
    Entry,
    Hold,
    HouseholdId,
    MemberId,
    MemberKey,
    ProgramId,
    Wallet,
)
from services.earning.member_records import MemberRecord
from services.earning.referral_records import Referral, Side
from services.earning.statements import Statement
from shared import errors, paging
from shared.clock import Clock
from shared.database import Database, Tx

_PAGE_SIZE = 50
_PAGE_SIZE_MAX = 1_000
_EXPORT_PAGE = 500
_WALLETS_MAX = 100
_STATEMENTS_PAGE = 24
"""Months that one transaction reads: it is a few statements for each."""
_SEQUENCE_END = 2**62
_TIME_END = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberPage:
    """Members, and the token of the next page, empty on the last."""

    members: tuple[MemberRecord, ...]
    households: Mapping[MemberKey, HouseholdId]
    next_page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OneSided:
    """A referral, and which of its sides are the member's."""

    referral: Referral
    sides: frozenset[Side]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """Some of what is stored of a member; `keys` are its own and of those merged into it."""

    member: MemberRecord | None = None
    wallets: list[Wallet] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    records: list[ActivityRecord] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    keys: frozenset[MemberKey] = frozenset()
    codes: list[str] = field(default_factory=list)
    referrals: list[OneSided] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    household_id: HouseholdId = NO_HOUSEHOLD


class MemberQueries:
    """Reads of MemberService; each page is one transaction, so it was true at one instant."""

    def __init__(self, database: Database, programs: EarningPrograms, clock: Clock) -> None:
        self._database = database
        self._programs = programs
        self._clock = clock

    async def member(
        self, program_id: ProgramId, member_id: MemberId
    ) -> tuple[MemberRecord, HouseholdId]:
        """A member and its household, empty for none. Refuses ProgramNotFound, MemberNotFound."""
        async with self._database.reading() as tx:
            found = await self._member(tx, program_id, member_id)
            homes = await queries_exports.households(tx, program_id, [found.member_key])
        return found, homes.get(found.member_key, NO_HOUSEHOLD)

    async def members(
        self, program_id: ProgramId, *, page_size: int, page_token: str
    ) -> MemberPage:
        """A page of members, by key. Refuses ProgramNotFound, InvalidPageToken."""
        query = paging.digest_of("members", program_id)
        position = paging.decode(page_token, query) or ("",)
        if len(position) != 1 or not isinstance(position[0], str):
            raise errors.InvalidPageToken
        size = paging.page_size(page_size, _PAGE_SIZE, _PAGE_SIZE_MAX)
        async with self._database.reading() as tx:
            await self._programs.require(tx, program_id)
            found = await store_members.page(tx, program_id, after=position[0], count=size + 1)
            page = tuple(found[:size])
            keys = [each.member_key for each in page]
            homes = await queries_exports.households(tx, program_id, keys)
        more = paging.encode(query, (page[-1].member_key,)) if len(found) > size else ""
        return MemberPage(members=page, households=homes, next_page_token=more)

    async def export(self, program_id: ProgramId, member_id: MemberId) -> AsyncIterator[Exported]:
        """Everything that is stored of a member, piece by piece; refuses as `member` does.

        What was merged into the member is told with it: its entries under their own key.
        """
        async with self._database.reading() as tx:
            member = await self._member(tx, program_id, member_id)
            keys = await store_members.family(tx, program_id, member.member_key)
            wallets = await store_members.wallets(tx, program_id, keys)
            homes = await queries_exports.households(tx, program_id, [member.member_key])
        household_id = homes.get(member.member_key, NO_HOUSEHOLD)
        yield Exported(
            member=member,
            wallets=wallets[:_WALLETS_MAX],
            household_id=household_id,
        )
        for start in range(_WALLETS_MAX, len(wallets), _WALLETS_MAX):
            yield Exported(wallets=wallets[start : start + _WALLETS_MAX])
        for wallet in wallets:
            async for entries in self._entries(wallet):
                yield Exported(entries=entries)
        async for records in self._records(program_id, keys):
            yield Exported(records=records)
        after = ""
        while True:
            async with self._database.reading() as tx:
                holds = await store_members.holds(
                    tx, program_id, keys, after=after, count=_EXPORT_PAGE
                )
            if holds:
                yield Exported(holds=holds, keys=frozenset(keys))
                after = holds[-1].hold_id
            if len(holds) < _EXPORT_PAGE:
                break
        async for piece in self._derived(program_id, keys, wallets):
            yield piece

    async def _derived(
        self, program_id: ProgramId, keys: list[MemberKey], wallets: list[Wallet]
    ) -> AsyncIterator[Exported]:
        async with self._database.reading() as tx:
            codes = await queries_exports.codes(tx, program_id, keys)
        for start in range(0, len(codes), _EXPORT_PAGE):
            yield Exported(codes=codes[start : start + _EXPORT_PAGE])
        found = queries_exports.referrals(self._database, program_id, keys, _EXPORT_PAGE)
        async for referrals in found:
            yield Exported(referrals=[_one_sided(each, keys) for each in referrals])
        for wallet in wallets:
            months = queries_exports.of_months(
                self._database, self._programs, wallet, _STATEMENTS_PAGE
            )
            async for statements in months:
                yield Exported(statements=statements)

    async def _entries(self, wallet: Wallet) -> AsyncIterator[list[Entry]]:
        place = (wallet.program_id, wallet.member_key, wallet.currency_id)
        before = _SEQUENCE_END
        while True:
            async with self._database.reading() as tx:
                page = await store_reads.entries(tx, place, before=before, count=_EXPORT_PAGE)
            if page:
                yield page
                before = page[-1].sequence
            if len(page) < _EXPORT_PAGE:
                return

    async def _records(
        self, program_id: ProgramId, keys: list[MemberKey]
    ) -> AsyncIterator[list[ActivityRecord]]:
        before: tuple[datetime, str] = (_TIME_END, "")
        while True:
            async with self._database.reading() as tx:
                page = await store_reads.activities(
                    tx, program_id, keys, before=before, count=_EXPORT_PAGE
                )
                page = await store_further.with_earnings(tx, page)
            if page:
                yield page
                before = (page[-1].create_time, page[-1].activity_id)
            if len(page) < _EXPORT_PAGE:
                return

    async def _member(self, tx: Tx, program_id: ProgramId, member_id: MemberId) -> MemberRecord:
        await self._programs.require(tx, program_id)
        key = await store_reads.find_member(tx, program_id, member_id)
        if key is None:
            raise errors.MemberNotFound(member_id=member_id)
        return (await store_members.load(tx, [(program_id, key)]))[program_id, key]


def _one_sided(referral: Referral, keys: list[MemberKey]) -> OneSided:
    sides = {Side.FRIEND: referral.friend_key, Side.REFERRER: referral.referrer_key}
    return OneSided(
        referral=referral, sides=frozenset(side for side, key in sides.items() if key in keys)
    )
