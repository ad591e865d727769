"""Reads about households: one with what its members have, a page of them, names of members."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from services.earning import decisions, store, store_households, store_members
from services.earning.documents import EarningPrograms
from services.earning.domain import CurrencyId, HouseholdId, MemberId, MemberKey, ProgramId, Wallet
from services.earning.household_records import Household
from services.earning.refusals_households import HouseholdNotFound, NotInHousehold
from services.earning.rules import Program
from services.earning.settlement import is_due, settled
from services.earning.world import WalletKey
from shared import errors, paging
from shared.clock import Clock
from shared.database import Database, Tx

_PAGE_SIZE = 50
_PAGE_SIZE_MAX = 1_000

Names = Mapping[MemberKey, MemberId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What the members of a household have of a currency, in their order; `wallets` as of now."""

    currency_id: CurrencyId
    wallets: tuple[Wallet, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseholdNow:
    """A household, names of its members, and what they have of currencies that can be spent."""

    household: Household
    names: Names
    balances: tuple[Balance, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseholdPage:
    """Households, names of their members, and the token of the next page, empty on the last."""

    households: Sequence[Household]
    names: Names
    next_page_token: str


class HouseholdQueries:
    """Reads of HouseholdService; each is one transaction, so it was true at one instant."""

    def __init__(self, database: Database, programs: EarningPrograms, clock: Clock) -> None:
        self._database = database
        self._programs = programs
        self._clock = clock

    async def household(
        self, program_id: ProgramId, household_id: HouseholdId, member_id: MemberId
    ) -> HouseholdNow:
        """A household, named by itself or by a member.

        Refuses ProgramNotFound, HouseholdNotFound, MemberNotFound, NotInHousehold.
        """
        async with self._database.reading() as tx:
            program = (await self._programs.require(tx, program_id)).program
            if member_id:
                household_id = await _household_of(tx, program_id, member_id)
            key = (program_id, household_id)
            household = (await store_households.by_ids(tx, [key])).get(key)
            if household is None or not household.members:
                raise HouseholdNotFound(household_id=household_id)
            names = await _names(tx, program_id, [household])
            balances = await self._balances(tx, program, household)
        return HouseholdNow(household=household, names=names, balances=balances)

    async def households(
        self, program_id: ProgramId, *, page_size: int, page_token: str
    ) -> HouseholdPage:
        """A page of households. Refuses ProgramNotFound, InvalidPageToken."""
        query = paging.digest_of("households", program_id)
        position = paging.decode(page_token, query) or ("",)
        if len(position) != 1 or not isinstance(position[0], str):
            raise errors.InvalidPageToken
        size = paging.page_size(page_size, _PAGE_SIZE, _PAGE_SIZE_MAX)
        async with self._database.reading() as tx:
            await self._programs.require(tx, program_id)
            found = await store_households.page(tx, program_id, after=position[0], count=size + 1)
            page = found[:size]
            names = await _names(tx, program_id, page)
        more = paging.encode(query, (page[-1].household_id,)) if len(found) > size else ""
        return HouseholdPage(households=page, names=names, next_page_token=more)

    async def names(self, program_id: ProgramId, keys: Collection[MemberKey]) -> Names:
        """Names of members, as they are now."""
        async with self._database.reading() as tx:
            return await store_members.names(tx, program_id, keys)

    async def _balances(
        self, tx: Tx, program: Program, household: Household
    ) -> tuple[Balance, ...]:
        """What members have as if everything due was booked."""
        now = self._clock.now()
        currencies = [
            each
            for each in dict.fromkeys((program.currency_id, *program.currencies))
            if decisions.policy_of(program, each).spendable
        ]
        keys: list[WalletKey] = [
            (program.program_id, member.member_key, currency_id)
            for currency_id in currencies
            for member in household.members
        ]
        wallets = await store.lock_wallets(tx, keys, lock=False)
        due = [key for key in keys if is_due(wallets[key], now)]
        for key, lots in (await store.load_open_lots(tx, due)).items():
            policy = decisions.policy_of(program, key[2])
            wallets[key] = settled(wallets[key], lots, policy, now)[0].wallet
        return tuple(
            Balance(
                currency_id=currency_id,
                wallets=tuple([wallets[key] for key in keys if key[2] == currency_id]),
            )
            for currency_id in currencies
        )


async def _household_of(tx: Tx, program_id: ProgramId, member_id: MemberId) -> HouseholdId:
    found = await store.find_members(tx, [(program_id, member_id)])
    if not found:
        raise errors.MemberNotFound(member_id=member_id)
    place = (program_id, found[program_id, member_id])
    membership = (await store_households.memberships(tx, [place])).get(place)
    if membership is None or membership.leave_time is not None:
        raise NotInHousehold(member_id=member_id)
    return membership.household_id


async def _names(tx: Tx, program_id: ProgramId, households: Sequence[Household]) -> Names:
    keys = {member.member_key for each in households for member in each.members}
    return await store_members.names(tx, program_id, keys)
