"""Recomputes what gamification holds, and tells what differs.

Stage "feed" (`done` and `total` count events of earning): the feed is folded from its beginning
through the same pure functions that decided, one partition after the other, with the document that
was in force at each event's place; then what is stored of that partition's members, read from one
snapshot with the cursor, is compared. Members that wait behind a parked event are left out.
- member_equals_feed: who is a member;
- progress_equals_feed: what each member has reached and completed;
- badge_equals_feed: the badges that each member holds;
- score_equals_feed: scores that come from activities, and when they were reached;
- submitted_score_equals_feed: submitted scores, against this service's own feed;
- completion_published_once, badge_published_once: each is an event of this service's own feed;
- reward_is_driven_to_its_end: a reward is owed with an open intention, or its outcome is published.

Stage "boards" (`done` and `total` count members on boards): each index is compared with the scores
of the database, page by page.
- board_is_ready: the index answers;
- board_equals_scores: members, scores and when they were reached;
- board_order: the list is in the order of the policy, and the ranks are those of the list.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from guerdon.feed.v1 import feed_service_pb2 as feed
from guerdon.gamification.v1 import events_pb2
from services.gamification import query_store, refold, tables
from services.gamification.boardcheck import BoardCheck
from services.gamification.document import Program
from services.gamification.domain import RewardState
from services.gamification.incoming import SOURCE
from services.gamification.partition_store import held
from services.gamification.refold import Published, Stored, VersionPlace, Violation
from shared import errors
from shared.database import Database, Tx
from shared.feed import FeedReader
from shared.ids import key_range
from shared.programs import Programs
from shared.rpc.client import refusal_of

if TYPE_CHECKING:
    # The generated module has this name for type checkers only.
    from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceAsyncStub

_PAGE = 1_000
_PAGE_SECONDS = 30.0
_VIOLATIONS_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a stage is, and at most 1,000 violations found since the last."""

    stage: str
    done: int
    total: int
    violations: Sequence[Violation] = ()


class Verification:
    """Verifies one program, or all."""

    def __init__(
        self,
        database: Database,
        programs: Programs[Program],
        source: "FeedServiceAsyncStub",
        boards: BoardCheck,
        *,
        partitions: int,
    ) -> None:
        self._database = database
        self._programs = programs
        self._source = source
        self._boards = boards
        self._partitions = partitions
        self._feed = FeedReader(tables.kernel)

    async def run(self, program_id: str) -> AsyncIterator[Progress]:
        """Verify partition by partition, then board by board; empty `program_id`: every program.

        Refuses ProgramNotFound, and what reading the feed of earning refuses.
        """
        async with self._database.reading() as tx:
            if program_id:
                await self._programs.require(tx, program_id)
            cursors = (await self._feed.look(tx)).cursors
        total = sum(each.position for each in cursors if each.source == SOURCE)
        done = 0
        yield Progress(stage="feed", done=0, total=total)
        for partition in range(self._partitions):
            stored = await self._load(partition, program_id)
            players: refold.Players = {}
            after = 0
            while after < stored.position:
                page = await self._page(partition, after, stored)
                for event in page:
                    if event.program_id == program_id or not program_id:
                        refold.fold(players, stored, event)
                after += len(page)
                done += len(page)
                yield Progress(stage="feed", done=done, total=max(total, done))
            found = list(refold.compare(players, stored))
            for start in range(0, len(found), _VIOLATIONS_MAX):
                piece = found[start : start + _VIOLATIONS_MAX]
                yield Progress(stage="feed", done=done, total=max(total, done), violations=piece)
        async for checked in self._boards.run(program_id):
            yield Progress(
                stage="boards",
                done=checked.done,
                total=checked.total,
                violations=checked.violations,
            )

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
            refusal = refusal_of(error)
            if refusal.transient:
                raise errors.NotReady(what=f"feed of {SOURCE}") from error
            raise refusal from error
        if not answer.events:
            raise errors.NotReady(what=f"feed of {SOURCE}")
        return answer.events

    async def _load(self, partition: int, program_id: str) -> Stored:
        """Everything stored of a partition, from one snapshot."""
        keys = key_range(partition, self._partitions)
        async with self._database.reading() as tx:
            ids = [program_id] if program_id else await query_store.program_ids(tx)
            place = [(SOURCE, partition)]
            key = ("source", "partition")
            cursor = await tx.select(tables.kernel.feed_cursors, place, key=key)
            parked = await tx.select(tables.kernel.parked_members, place, key=key)
            found = await held(tx, keys, program_id)
            return Stored(
                position=cursor[0].position if cursor else 0,
                incarnation=cursor[0].incarnation if cursor else "",
                versions={each: await self._versions(tx, each) for each in ids},
                members=found.members,
                progress=found.progress,
                badges=found.badges,
                scores=found.scores,
                open_intentions=found.open_intentions,
                published=await self._published(tx, partition, program_id),
                parked=frozenset(str(row.member_key) for row in parked),
            )

    async def _versions(self, tx: Tx, program_id: str) -> list[VersionPlace]:
        """Versions of a program, newest first, with their places in the feed of earning."""
        found = []
        for version in await self._programs.history(tx, program_id):
            compiled = await self._programs.at_version(tx, program_id, version.version)
            places = version.cursors.get(SOURCE, {})
            found.append(VersionPlace(program=compiled.program, places=places))
        return found

    async def _published(self, tx: Tx, partition: int, program_id: str) -> Published:
        """What this service's own feed says of a partition."""
        head = (await self._feed.heads(tx)).get(partition, 0)
        said = Published()
        for after in range(0, head, _PAGE):
            ranges = {partition: (after, min(after + _PAGE, head))}
            for event in await self._feed.events(tx, ranges):
                if event.program_id == program_id or not program_id:
                    _note(said, event)
        return said


def _note(said: Published, event: feed.Event) -> None:
    payload, program_id, key = event.payload, event.program_id, event.member_key
    if payload.Is(events_pb2.ChallengeCompleted.DESCRIPTOR):
        completed = events_pb2.ChallengeCompleted.FromString(payload.value)
        place = refold.progress_place(program_id, key, completed.challenge_id)
        said.completed[place] = said.completed.get(place, 0) + 1
    elif payload.Is(events_pb2.BadgeAwarded.DESCRIPTOR):
        badge = (program_id, key, events_pb2.BadgeAwarded.FromString(payload.value).badge_id)
        said.awarded[badge] = said.awarded.get(badge, 0) + 1
    elif payload.Is(events_pb2.RewardPaid.DESCRIPTOR):
        paid = events_pb2.RewardPaid.FromString(payload.value)
        place = refold.progress_place(program_id, key, paid.challenge_id)
        said.outcomes[place] = RewardState.PAID
    elif payload.Is(events_pb2.RewardFailed.DESCRIPTOR):
        failed = events_pb2.RewardFailed.FromString(payload.value)
        place = refold.progress_place(program_id, key, failed.challenge_id)
        said.outcomes[place] = RewardState.FAILED
    elif payload.Is(events_pb2.ScoreSubmitted.DESCRIPTOR):
        score = events_pb2.ScoreSubmitted.FromString(payload.value)
        board = refold.score_place(program_id, key, score.board_id, score.period)
        said.scores[board] = score.score_after
