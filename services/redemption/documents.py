"""Applies and reads the catalogues of programs, the program documents of redemption.

Edits of a catalogue wait for each other, whoever makes them: an apply of the whole document and a
change of one reward meet at the same lock. A version, its shelves and its events are one
transaction. A reward that is taken out of the catalogue keeps its shelf: what was sold stays sold
when it comes back.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias, TypeVar

from guerdon.redemption.v1 import events_pb2
from guerdon.redemption.v1 import reward_pb2 as pb
from services.redemption import refusals, store, tables, wire
from services.redemption.domain import Catalogue, ProgramId, Reward, Shelf
from shared import errors, feed_log
from shared.clock import Clock
from shared.database import Database, Tx
from shared.documents import ProgramDocuments
from shared.feed_log import FeedRecord, Place
from shared.ids import partition_of_identifier
from shared.programs import Programs, Versioned
from shared.rpc import validation

EARNING, TIERS = "earning", "tiers"
"""The services that redemption follows; it calls the first one, too."""

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
class Edited:
    """The version in force after an edit, and where the feed tells of each changed reward."""

    version: Versioned[Catalogue]
    places: Mapping[str, Place]


class Documents(ProgramDocuments[pb.RedemptionProgram, Catalogue]):
    """Applies, publishes and reads the catalogues."""

    kind = pb.RedemptionProgram

    def __init__(
        self, database: Database, catalogues: Catalogues, clock: Clock, *, partitions: int
    ) -> None:
        super().__init__(database, catalogues, clock)
        self._partitions = partitions

    def check(self, document: pb.RedemptionProgram) -> None:
        """Refuse InvalidProgram with everything that is wrong with a document."""
        check(document)

    async def judge(
        self,
        tx: Tx,
        before: Versioned[Catalogue] | None,
        document: pb.RedemptionProgram,
        merged: pb.RedemptionProgram,
    ) -> None:
        """Refuse InvalidProgram for stock that is less than what is reserved or gone."""
        del before, merged
        await _check_stock(tx, document)

    async def one_at_a_time(self, edit: Callable[[Tx], Awaitable[T]]) -> T:
        """Run an edit in a transaction of its own while no other edit runs.

        It is run again after a transient error; refuses TooContended when these do not end.
        """

        async def alone(tx: Tx) -> T:
            await self._programs.hold(tx)
            return await edit(tx)

        return await self.published(lambda: self.in_transaction(alone))

    async def edit(
        self,
        tx: Tx,
        before: Versioned[Catalogue],
        document: pb.RedemptionProgram,
        *,
        author: str,
    ) -> Edited:
        """Make a checked document the next version, with its shelves and its events.

        Refuses PublicationScheduled and StockBelowSold. Only within `one_at_a_time`.
        """
        now = self._clock.now()
        after = await self._programs.apply(
            tx,
            program_id=document.program_id,
            content=document.SerializeToString(deterministic=True),
            author=author,
            etag=before.version.etag,
            now=now,
        )
        if before.version.version == after.version.version:
            return Edited(version=after, places={})
        places = await self._stock_and_tell(tx, before, after, now)
        return Edited(version=after, places=places)

    async def took_effect(
        self,
        tx: Tx,
        before: Versioned[Catalogue] | None,
        after: Versioned[Catalogue],
        now: datetime,
    ) -> None:
        """Stock the shelves and tell what has changed; refuses StockBelowSold."""
        await self._stock_and_tell(tx, before, after, now)

    async def _stock_and_tell(
        self,
        tx: Tx,
        before: Versioned[Catalogue] | None,
        after: Versioned[Catalogue],
        now: datetime,
    ) -> dict[str, Place]:
        """Stock the shelves, and give where the feed tells of each changed reward."""
        await _stock_shelves(tx, after.program)
        document = self.content_of(after) or pb.RedemptionProgram()
        changed = _changed(self.content_of(before), document)
        places = await feed_log.append_events(
            tx,
            tables.kernel,
            [self._event(after.version.program_id, reward) for reward in changed],
            partitions=self._partitions,
            now=now,
        )
        return dict(zip([reward.reward_id for reward in changed], places, strict=True))

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
