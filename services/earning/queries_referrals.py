"""Reads about referrals: a code, the referral of a friend, a page of those of a referrer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from services.earning import store, store_members, store_referrals
from services.earning.documents import EarningPrograms
from services.earning.domain import MemberId, MemberKey, ProgramId
from services.earning.referral_records import Referral, ReferralState
from services.earning.refusals_referrals import ReferralNotFound, ReferralsNotOffered
from shared import errors, paging
from shared.database import Database, Tx, from_micros, to_micros

_PAGE_SIZE = 50
_PAGE_SIZE_MAX = 1_000
_TIME_END = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A referral, and identifiers of both members, empty when nothing names them."""

    referral: Referral
    friend: MemberId
    referrer: MemberId


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferralPage:
    """Referrals, the latest claim first, and the token of the next page, empty on the last."""

    referrals: tuple[Named, ...]
    next_page_token: str


class ReferralQueries:
    """Reads of ReferralService; each is one transaction, so it was true at one instant."""

    def __init__(self, database: Database, programs: EarningPrograms) -> None:
        self._database = database
        self._programs = programs

    async def code(self, program_id: ProgramId, member_id: MemberId) -> str:
        """The code of a member, empty when it has none yet.

        Refuses ProgramNotFound, ReferralsNotOffered, MemberNotFound.
        """
        async with self._database.reading() as tx:
            version = await self._programs.require(tx, program_id)
            if version.program.referral is None:
                raise ReferralsNotOffered(program_id=program_id)
            place = (program_id, await self._member(tx, program_id, member_id))
            return (await store_referrals.codes_of(tx, [place])).get(place, "")

    async def referral(self, program_id: ProgramId, member_id: MemberId) -> Named:
        """How a friend came. Refuses ProgramNotFound, MemberNotFound, ReferralNotFound."""
        async with self._database.reading() as tx:
            await self._programs.require(tx, program_id)
            friend = await self._member(tx, program_id, member_id)
            found = await store_referrals.of_friends(tx, [(program_id, friend)])
            if not found:
                raise ReferralNotFound(member_id=member_id)
            return (await _named(tx, program_id, found))[0]

    async def named(self, referral: Referral) -> Named:
        """A referral that was answered, with names of its members."""
        async with self._database.reading() as tx:
            return (await _named(tx, referral.program_id, [referral]))[0]

    async def referrals(
        self,
        program_id: ProgramId,
        member_id: MemberId,
        states: Sequence[ReferralState],
        *,
        page_size: int,
        page_token: str,
    ) -> ReferralPage:
        """A page of whom a member brought. Refuses ProgramNotFound, MemberNotFound, the token."""
        query = paging.digest_of("referrals", program_id, member_id, *states)
        time, referral_id = _position(page_token, query)
        size = paging.page_size(page_size, _PAGE_SIZE, _PAGE_SIZE_MAX)
        async with self._database.reading() as tx:
            await self._programs.require(tx, program_id)
            referrer = await self._member(tx, program_id, member_id)
            found = await store_referrals.page(
                tx,
                program_id,
                referrer,
                states,
                before=(from_micros(time), referral_id),
                count=size + 1,
            )
            page = await _named(tx, program_id, found[:size])
        more = ""
        if len(found) > size:
            last = found[size - 1]
            more = paging.encode(query, (to_micros(last.claim_time), last.referral_id))
        return ReferralPage(referrals=tuple(page), next_page_token=more)

    async def _member(self, tx: Tx, program_id: ProgramId, member_id: MemberId) -> MemberKey:
        found = await store.find_members(tx, [(program_id, member_id)])
        if not found:
            raise errors.MemberNotFound(member_id=member_id)
        return found[program_id, member_id]


async def _named(tx: Tx, program_id: ProgramId, found: Sequence[Referral]) -> list[Named]:
    """Referrals with names of their members; those that were merged have their target's."""
    keys = {key for each in found for key in (each.friend_key, each.referrer_key)}
    places = sorted((program_id, key) for key in keys)
    merged = await store_members.merged_into(tx, places)
    owners = {key: merged.get((program_id, key), key) for key in keys}
    names = await store_members.names(tx, program_id, set(owners.values()))
    return [
        Named(
            referral=each,
            friend=names.get(owners[each.friend_key], MemberId("")),
            referrer=names.get(owners[each.referrer_key], MemberId("")),
        )
        for each in found
    ]


def _position(token: str, query: str) -> tuple[int, str]:
    """Where a page begins. Refuses InvalidPageToken for a token of another query."""
    match paging.decode(token, query):
        case None:
            return to_micros(_TIME_END), ""
        case (int(time), str(referral_id)) if 0 <= time <= to_micros(_TIME_END):
            return time, referral_id
        case _:
            raise errors.InvalidPageToken
