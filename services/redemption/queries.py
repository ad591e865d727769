"""What a read answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from services.redemption import domain, refusals, store
from services.redemption.documents import Catalogues
from services.redemption.domain import Redemption, RewardId
from shared import errors, paging
from shared.database import Database, Tx

_PAGE_SIZE, _PAGE_SIZE_MAX = 50, 1_000
_END = (datetime.max.replace(tzinfo=UTC), "\U0010ffff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A redemption, and an identifier of its member ("" when the member has none)."""

    redemption: Redemption
    member_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of redemptions, and the token of the next; empty on the last."""

    redemptions: tuple[Named, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardCounts:
    """The totals of one reward."""

    reward_id: RewardId
    by_state: dict[domain.State, int]
    failed: dict[str, int]
    stock_left: int | None


class Redemptions:
    """Answers what became of redemptions."""

    def __init__(self, database: Database, catalogues: Catalogues) -> None:
        self._database = database
        self._catalogues = catalogues

    async def get(self, program_id: str, redemption_id: str) -> Named:
        """A redemption; refuses ProgramNotFound and RedemptionNotFound."""
        async with self._database.reading() as tx:
            await self._catalogues.require(tx, program_id)
            key = (program_id, redemption_id)
            found = (await store.redemptions(tx, [key])).get(key)
            if found is None:
                raise refusals.RedemptionNotFound(
                    program_id=program_id, redemption_id=redemption_id
                )
            return (await _named(tx, [found]))[0]

    async def name(self, redemption: Redemption) -> Named:
        """A redemption with an identifier of its member."""
        async with self._database.reading() as tx:
            return (await _named(tx, [redemption]))[0]

    async def page(
        self, program_id: str, member_id: str, *, page_size: int, page_token: str
    ) -> Page:
        """Redemptions of a member, or of all for an empty identifier, newest first.

        Refuses ProgramNotFound, MemberNotFound and InvalidPageToken.
        """
        query = paging.digest_of("redemptions", program_id, member_id)
        size = paging.page_size(page_size, _PAGE_SIZE, _PAGE_SIZE_MAX)
        async with self._database.reading() as tx:
            await self._catalogues.require(tx, program_id)
            member_key = None
            if member_id:
                keys = await store.member_keys(tx, [(program_id, member_id)])
                member_key = keys.get((program_id, member_id))
                if member_key is None:
                    raise errors.MemberNotFound(member_id=member_id)
            found = await store.redemptions_before(
                tx,
                program_id,
                member_key=member_key,
                before=_before(paging.decode(page_token, query)),
                limit=size + 1,
            )
            shown = await _named(tx, found[:size])
        token = ""
        if len(found) > size:
            last = found[size - 1]
            token = paging.encode(query, (last.create_time.isoformat(), last.redemption_id))
        return Page(redemptions=tuple(shown), next_page_token=token)

    async def summary(self, program_id: str) -> list[RewardCounts]:
        """The totals of every reward that is or was in the catalogue; refuses ProgramNotFound."""
        async with self._database.reading() as tx:
            await self._catalogues.require(tx, program_id)
            shelves = await store.shelves_of(tx, program_id)
            totals = await store.totals(tx, program_id)
        counts: dict[str, RewardCounts] = {
            reward_id: RewardCounts(
                reward_id=shelf.reward_id, by_state={}, failed={}, stock_left=shelf.left
            )
            for reward_id, shelf in shelves.items()
        }
        for total in totals:
            one = counts[total.reward_id]
            one.by_state[total.state] = one.by_state.get(total.state, 0) + total.number
            if total.failure_reason:
                one.failed[total.failure_reason] = total.number
        return list(counts.values())


async def _named(tx: Tx, redemptions: Sequence[Redemption]) -> list[Named]:
    keys = {(each.program_id, each.member_key) for each in redemptions}
    names = await store.identifiers(tx, sorted(keys))
    return [
        Named(redemption=each, member_id=names.get((each.program_id, each.member_key), ""))
        for each in redemptions
    ]


def _before(position: tuple[str | int, ...] | None) -> tuple[datetime, str]:
    """The place below which a page begins."""
    match position:
        case None:
            return _END
        case (str(time), str(redemption_id)) if "\0" not in redemption_id:
            try:
                before = datetime.fromisoformat(time)
            except ValueError:
                raise errors.InvalidPageToken from None
            if before.tzinfo is not None:
                return before, redemption_id
    raise errors.InvalidPageToken
