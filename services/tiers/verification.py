"""Recomputes what tiers holds from the feed of earning, and tells what differs.

The feed is folded from its beginning through the same pure functions that decided, one partition
after the other, with the ladders that were in force at each event's place; then what is stored of
that partition's members, read from one snapshot with the cursor, is compared.
Memory holds one partition. Members that wait behind a parked event are left out: the feed is ahead
of them.

Stage "feed": `done` and `total` count events. Rules that may be violated:
- member_equals_feed: who is a member, and since when;
- spend_day_equals_feed: the net spend of each day;
- qualified_activity_equals_feed: what of each activity counted;
- membership_equals_feed: the level decided last, and since when;
- member_has_level: a ladder that is said to be filled has a level for every member;
- change_equals_feed: every decision;
- change_published: this service's own feed says every decision, in order, and nothing else.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import grpc

from guerdon.feed.v1 import feed_service_pb2 as feed
from guerdon.tiers.v1 import events_pb2
from services.tiers import refold, store, store_reads, tables
from services.tiers.documents import SOURCE, TiersPrograms, starts_of
from services.tiers.domain import Command, InForce
from services.tiers.ladders import LadderId, LadderStart
from services.tiers.refold import Place, Refolded, Stored, VersionPlace, Violation
from shared.database import Database, Tx
from shared.feed import FeedReader
from shared.ids import key_range
from shared.rpc.client import refusal_of

if TYPE_CHECKING:
    # The generated module has this name for type checkers only.
    from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceAsyncStub

Translate: TypeAlias = Callable[[feed.Event], Sequence[Command]]

_PAGE = 1_000
_PAGE_SECONDS = 30.0
_VIOLATIONS_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Events done of all, and at most 1,000 violations found since the last."""

    done: int
    total: int
    violations: tuple[Violation, ...] = ()


class Verification:
    """Verifies one program, or all."""

    def __init__(
        self,
        database: Database,
        programs: TiersPrograms,
        source: "FeedServiceAsyncStub",
        translate: Translate,
        *,
        partitions: int,
    ) -> None:
        self._database = database
        self._programs = programs
        self._source = source
        self._translate = translate
        self._partitions = partitions
        self._feed = FeedReader(tables.kernel)

    async def run(self, program_id: str) -> AsyncIterator[Progress]:
        """Verify partition by partition; `program_id` empty: every program.

        Refuses ProgramNotFound for a program of which nothing is stored.
        """
        async with self._database.reading() as tx:
            if program_id:
                await self._programs.require(tx, program_id)
            total = sum((await self._positions(tx)).values())
        done = 0
        yield Progress(done=done, total=total)
        for partition in range(self._partitions):
            stored = await self._load(partition, program_id)
            refolded: dict[str, Refolded] = {}
            after = 0
            while after < stored.position:
                page = await self._page(partition, after, stored)
                for event in page:
                    if event.program_id == program_id or not program_id:
                        refold.fold(refolded, stored, event, self._translate(event))
                after += len(page)
                done += len(page)
                yield Progress(done=done, total=max(total, done))
            found = list(refold.compare(refolded, stored))
            for start in range(0, len(found), _VIOLATIONS_MAX):
                piece = tuple(found[start : start + _VIOLATIONS_MAX])
                yield Progress(done=done, total=max(total, done), violations=piece)

    async def _page(self, partition: int, after: int, stored: Stored) -> Sequence[feed.Event]:
        """The next events up to the stored cursor; there is always at least one."""
        request = feed.ReadEventsRequest(
            partition=partition,
            after_position=after,
            page_size=min(_PAGE, stored.position - after),
            incarnation=stored.incarnation,
        )
        try:
            answer = await self._source.ReadEvents(request, timeout=_PAGE_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise refusal_of(error) from error
        if not answer.events:
            raise LookupError(f"{SOURCE} has no event after {partition}:{after}")
        return answer.events

    async def _positions(self, tx: Tx) -> dict[int, int]:
        cursors = (await self._feed.look(tx)).cursors
        return {each.partition: each.position for each in cursors if each.source == SOURCE}

    async def _load(self, partition: int, program_id: str) -> Stored:
        """Everything stored of a partition, from one snapshot."""
        first_key, end_key = key_range(partition, self._partitions)
        async with self._database.reading() as tx:
            ids = [program_id] if program_id else await store_reads.program_ids(tx)
            cursor = await tx.select(
                tables.kernel.feed_cursors, [(SOURCE, partition)], key=("source", "partition")
            )
            unfilled = await store.unfilled_ladders(tx)
            versions = {each: await self._versions(tx, each) for each in ids}
            parked = await tx.select(
                tables.kernel.parked_members, [(SOURCE, partition)], key=("source", "partition")
            )
            return Stored(
                position=cursor[0].position if cursor else 0,
                incarnation=cursor[0].incarnation if cursor else "",
                versions=versions,
                held={each: await store_reads.held(tx, each, first_key, end_key) for each in ids},
                published=await self._published(tx, partition),
                filled=frozenset(
                    (each, ladder_id)
                    for each, known in versions.items()
                    for ladder_id in (known[0].in_force.starts if known else ())
                )
                - {(each.program_id, each.ladder_id) for each in unfilled},
                parked=frozenset(str(row.member_key) for row in parked),
            )

    async def _versions(self, tx: Tx, program_id: str) -> list[VersionPlace]:
        """Versions of a program, newest first, each with the ladders' beginnings known by then."""
        history = await self._programs.history(tx, program_id)
        starts: dict[LadderId, LadderStart] = {}
        found: list[VersionPlace] = []
        for version in reversed(history):
            compiled = await self._programs.at_version(tx, program_id, version.version)
            starts = {**starts_of(compiled), **starts}
            places = version.cursors.get(SOURCE, {})
            in_force = InForce(program=compiled.program, starts=starts)
            found.append(VersionPlace(in_force=in_force, places=places))
        return found[::-1]

    async def _published(self, tx: Tx, partition: int) -> dict[Place, list[bytes]]:
        """Decisions that this service's own feed says, in order."""
        head = (await self._feed.heads(tx)).get(partition, 0)
        said: dict[Place, list[bytes]] = {}
        for after in range(0, head, _PAGE):
            ranges = {partition: (after, min(after + _PAGE, head))}
            for event in await self._feed.events(tx, ranges):
                if event.payload.Is(events_pb2.MembershipChanged.DESCRIPTOR):
                    message = events_pb2.MembershipChanged.FromString(event.payload.value)
                    place = event.program_id, message.member_key, LadderId(message.ladder_id)
                    said.setdefault(place, []).append(message.SerializeToString(deterministic=True))
        return said
