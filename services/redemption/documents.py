"""Applies and reads the catalogues of programs, the program documents of redemption.

Edits of a catalogue wait for each other, whoever makes them: an apply of the whole document and a
change of one reward meet at the same lock. A version, its shelves and its events are one
transaction. A reward that is taken out of the catalogue keeps its shelf: what was sold stays sold
when it comes back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from guerdon.redemption.v1 import events_pb2
from guerdon.redemption.v1 import reward_pb2 as pb
from services.redemption import refusals, store, tables, wire
from services.redemption.domain import Catalogue, ProgramId, Reward, Shelf
from shared import differences, errors, feed_log
from shared.clock import Clock
from shared.database import Database, Tx, is_transient
from shared.differences import Difference
from shared.feed_log import FeedRecord, Place
from shared.group_commit import TooContended
from shared.ids import partition_of_identifier
from shared.programs import Programs, Version, Versioned
from shared.rpc import validation

EARNING, TIERS = "earning", "tiers"
"""The services that redemption follows; it calls the first one, too."""

_ATTEMPTS_MAX = 6
_BACKOFF_SECONDS = 0.02

Catalogues: TypeAlias = Programs[Catalogue]
T = TypeVar("T")


def programs(partitions: int) -> Catalogues:
    """Versions of the catalogues of redemption, which follows earning and tiers."""
    return Programs(
        tables.kernel,
        wire.catalogue_from_bytes,
        partitions=partitions,
        sources=(EARNING, TIERS),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The version in force after an apply, and what the document changed or would change."""

    version: int
    etag: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """The version in force after an edit, and where the feed tells of each changed reward."""

    version: Versioned[Catalogue]
    places: Mapping[str, Place]


class Documents:
    """Applies and reads the catalogues."""

    def __init__(
        self, database: Database, catalogues: Catalogues, clock: Clock, *, partitions: int
    ) -> None:
        self._database = database
        self._catalogues = catalogues
        self._clock = clock
        self._partitions = partitions

    async def apply(
        self,
        document: pb.RedemptionProgram,
        *,
        author: str,
        etag: str,
        validate_only: bool,
        prune: bool,
    ) -> Applied:
        """Put a document in force, or only tell what would change.

        Refuses InvalidProgram with all complaints, or EtagMismatch.
        """
        check(document)

        async def judged(tx: Tx) -> tuple[Versioned[Catalogue] | None, pb.RedemptionProgram]:
            before = await self.current(tx, document.program_id)
            if etag and etag != _etag(before):
                raise errors.EtagMismatch(expected=etag, actual=_etag(before))
            merged = differences.merge(content_of(before), document, prune=prune)
            if merged != document:
                check(merged)
            await _check_stock(tx, document)
            return before, merged

        async def edit(tx: Tx) -> Applied:
            before, merged = await judged(tx)
            edited = await self.put_in_force(tx, before, merged, author=author)
            return _applied(before, edited.version, document, prune=prune)

        if validate_only:
            async with self._database.reading() as tx:
                before, _ = await judged(tx)
            return _applied(before, before, document, prune=prune)
        return await self.one_at_a_time(edit)

    async def get(self, program_id: str, version: int) -> Version:
        """A version, 0 for the one in force; refuses ProgramNotFound or ProgramVersionNotFound."""
        async with self._database.reading() as tx:
            current = await self._catalogues.require(tx, program_id)
            if version in {0, current.version.version}:
                return current.version
            return (await self._catalogues.at_version(tx, program_id, version)).version

    async def current(self, tx: Tx, program_id: str) -> Versioned[Catalogue] | None:
        """The version in force, if there is one."""
        return (await self._catalogues.current(tx, [program_id])).get(program_id)

    async def one_at_a_time(self, edit: Callable[[Tx], Awaitable[T]]) -> T:
        """Run an edit in a transaction of its own while no other edit runs.

        It is run again after a transient error; refuses TooContended when these do not end.
        """
        attempt = 1
        while True:
            try:
                async with self._database.transaction() as tx:
                    await store.hold_catalogues(tx)
                    return await edit(tx)
            except Exception as error:
                if isinstance(error, errors.Refusal) or not is_transient(error):
                    raise
                if attempt == _ATTEMPTS_MAX:
                    raise TooContended(attempts=attempt) from error
            await asyncio.sleep(_BACKOFF_SECONDS * 2**attempt)
            attempt += 1

    async def put_in_force(
        self,
        tx: Tx,
        before: Versioned[Catalogue] | None,
        document: pb.RedemptionProgram,
        *,
        author: str,
    ) -> Edited:
        """Make a checked document the next version, with its shelves and its events.

        Refuses StockBelowSold. Only within `one_at_a_time`.
        """
        now = self._clock.now()
        after = await self._catalogues.apply(
            tx,
            program_id=document.program_id,
            content=document.SerializeToString(deterministic=True),
            author=author,
            etag=_etag(before),
            now=now,
        )
        if before is not None and after.version.version == before.version.version:
            return Edited(version=after, places={})
        await _stock_shelves(tx, after.program)
        changed = _changed(content_of(before), document)
        places = await feed_log.append_events(
            tx,
            tables.kernel,
            [self._event(document.program_id, reward) for reward in changed],
            partitions=self._partitions,
            now=now,
        )
        ids = [reward.reward_id for reward in changed]
        return Edited(version=after, places=dict(zip(ids, places, strict=True)))

    def _event(self, program_id: str, reward: pb.Reward) -> FeedRecord:
        """A changed reward as the feed tells it; its stock is told by redemptions."""
        message = events_pb2.RewardChanged(
            reward=wire.reward_to_proto(reward, None, wire.etag_of(reward))
        )
        return FeedRecord(
            program_id=program_id,
            partition=partition_of_identifier(program_id, reward.reward_id, self._partitions),
            type=message.DESCRIPTOR.full_name,
            payload=message.SerializeToString(),
        )


def check(document: pb.RedemptionProgram) -> None:
    """Refuse InvalidProgram with everything that is wrong with the document."""
    found = (*validation.violations(document), *wire.program_complaints(document))
    if found:
        raise refusals.InvalidProgram(violations=found)


def content_of(version: Versioned[Catalogue] | None) -> pb.RedemptionProgram | None:
    """The document of a version."""
    if version is None:
        return None
    return pb.RedemptionProgram.FromString(version.version.content)


def new_shelf(program_id: ProgramId, reward: Reward) -> Shelf:
    """The shelf of a reward that is new in the catalogue."""
    return Shelf(
        program_id=program_id,
        reward_id=reward.reward_id,
        stock_total=reward.stock_total,
        taken=0,
    )


async def _check_stock(tx: Tx, document: pb.RedemptionProgram) -> None:
    """Refuse InvalidProgram for stock that is less than what is reserved or gone.

    What is sold between this look and the lock of the shelves is found by that.
    """
    shelves = await store.shelves_of(tx, document.program_id)
    found: list[errors.Violation] = []
    for index, reward in enumerate(document.rewards):
        shelf = shelves.get(reward.reward_id)
        if shelf is None or not reward.HasField("stock_total"):
            continue
        if reward.stock_total < shelf.taken:
            text = f"must be at least {shelf.taken}: so many are reserved or gone"
            found.append(errors.Violation(field=f"rewards[{index}].stock_total", description=text))
    if found:
        raise refusals.InvalidProgram(violations=tuple(found))


async def _stock_shelves(tx: Tx, catalogue: Catalogue) -> None:
    """Give every reward a shelf with its stock; refuses StockBelowSold."""
    program_id = catalogue.program_id
    keys = sorted((program_id, reward_id) for reward_id in catalogue.rewards)
    present = await store.lock_shelves(tx, keys)
    changed: list[Shelf] = []
    for key in keys:
        reward = catalogue.rewards[key[1]]
        shelf = present.get(key)
        if shelf is None:
            changed.append(new_shelf(program_id, reward))
        elif shelf.stock_total != reward.stock_total:
            if reward.stock_total is not None and reward.stock_total < shelf.taken:
                raise refusals.StockBelowSold(
                    reward_id=reward.reward_id,
                    stock_total=reward.stock_total,
                    taken=shelf.taken,
                )
            changed.append(replace(shelf, stock_total=reward.stock_total))
    await store.save_shelves(tx, changed)


def _changed(
    before: pb.RedemptionProgram | None, after: pb.RedemptionProgram
) -> Sequence[pb.Reward]:
    """The rewards that are new or other than they were."""
    known = {reward.reward_id: reward for reward in before.rewards} if before is not None else {}
    return [reward for reward in after.rewards if known.get(reward.reward_id) != reward]


def _etag(version: Versioned[Catalogue] | None) -> str:
    return version.version.etag if version is not None else ""


def _applied(
    before: Versioned[Catalogue] | None,
    after: Versioned[Catalogue] | None,
    document: pb.RedemptionProgram,
    *,
    prune: bool,
) -> Applied:
    return Applied(
        version=after.version.version if after is not None else 0,
        etag=_etag(after),
        differences=differences.differences(content_of(before), document, prune=prune),
    )
