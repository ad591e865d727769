"""Reads about seals: pages of them, one of them, and the proof of a wallet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from services.earning import decisions, seals, store_reads, store_seals
from services.earning.documents import EarningPrograms
from services.earning.domain import CurrencyId, MemberId, ProgramId
from services.earning.refusals_seals import SealNotFound, WalletNotSealed
from services.earning.seals import Chunk, Leaf, Seal, Step
from shared import errors, paging
from shared.database import Database, Tx

_PAGE_SIZE = 31
_PAGE_SIZE_MAX = 1_000
_AFTER_ALL = "9999-99-99"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealPage:
    """Seals, the latest first, and the token of the next page, empty on the last."""

    seals: tuple[Seal, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A wallet's place in a seal, and the steps from it to the root."""

    seal: Seal
    leaf: Leaf
    steps: tuple[Step, ...]


class SealQueries:
    """Reads of SealService; each is one transaction, so it was true at one instant."""

    def __init__(self, database: Database, programs: EarningPrograms) -> None:
        self._database = database
        self._programs = programs

    async def page(self, program_id: ProgramId, *, page_size: int, page_token: str) -> SealPage:
        """A page of seals. Refuses ProgramNotFound, InvalidPageToken."""
        query = paging.digest_of("seals", program_id)
        match paging.decode(page_token, query):
            case None:
                before = _AFTER_ALL
            case (str(before),):
                pass
            case _:
                raise errors.InvalidPageToken
        size = paging.page_size(page_size, _PAGE_SIZE, _PAGE_SIZE_MAX)
        async with self._database.reading() as tx:
            await self._programs.require(tx, program_id)
            found = await store_seals.page(tx, program_id, before=before, count=size + 1)
        more = ""
        if len(found) > size:
            more = paging.encode(query, (found[size - 1].day.isoformat(),))
        return SealPage(seals=tuple(found[:size]), next_page_token=more)

    async def seal(self, program_id: ProgramId, day: str) -> Seal:
        """The seal of a day, or with no day the latest. Refuses ProgramNotFound, SealNotFound."""
        async with self._database.reading() as tx:
            await self._programs.require(tx, program_id)
            return await _seal(tx, program_id, day)

    async def proof(
        self, program_id: ProgramId, member_id: MemberId, currency_id: CurrencyId, day: str
    ) -> Proof:
        """The proof of a wallet.

        Refuses ProgramNotFound, MemberNotFound, CurrencyNotFound, SealNotFound, WalletNotSealed.
        """
        async with self._database.reading() as tx:
            version = await self._programs.require(tx, program_id)
            key = await store_reads.find_member(tx, program_id, member_id)
            if key is None:
                raise errors.MemberNotFound(member_id=member_id)
            currency = decisions.currency_of(version.program, currency_id)
            seal = await _seal(tx, program_id, day)
            chunks = await store_seals.chunks(tx, program_id, seal.day)
            number = await store_seals.chunk_with(tx, seal, (key, currency))
            leaves = [] if number is None else await _leaves(tx, seal, chunks, number)
        places = [(leaf.member_key, leaf.currency_id) for leaf in leaves]
        if number is None or (key, currency) not in places:
            raise WalletNotSealed(member_id=member_id, day=seal.day.isoformat())
        at = places.index((key, currency))
        hashes = [
            seals.leaf_hash(each.member_key, each.currency_id, each.sequence, each.chain_hash)
            for each in leaves
        ]
        steps = seals.path_of(hashes, at)
        steps += seals.path_of([chunk.root for chunk in chunks], number)
        return Proof(seal=seal, leaf=leaves[at], steps=tuple(steps))


async def _seal(tx: Tx, program_id: ProgramId, day: str) -> Seal:
    if not day:
        found = await store_seals.latest(tx, program_id)
    else:
        try:
            found = await store_seals.seal(tx, program_id, date.fromisoformat(day))
        except ValueError:
            found = None
    if found is None:
        raise SealNotFound(program_id=program_id, day=day)
    return found


async def _leaves(tx: Tx, seal: Seal, chunks: Sequence[Chunk], number: int) -> list[Leaf]:
    """The leaves of one chunk."""
    found: list[Leaf] = []
    after: tuple[str, str] | None = chunks[number - 1].last if number else ("", "")
    while after is not None and len(found) < chunks[number].leaves:
        count = chunks[number].leaves - len(found)
        page = await store_seals.leaves(tx, seal.program_id, seal.end_time, after, count)
        found += page.leaves
        after = page.after
    return found
