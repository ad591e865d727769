"""Keeps the index of scores up with the database, and makes it anew when it is lost.

Changes of a board have places 1, 2, 3 … per partition, in the order of their commits. The projector
reads the current scores of the members whose last change lies behind its cursor, oldest change
first, and writes them to the index together with the new cursor. The cursor that counts is the one
in the index: a lost tail, a lost server or a second projector shows as another cursor than
expected, and the projector carries on from there. Nothing is kept that would have to be repaired.

A pass over the boards that were just changed is cheap; a pass over all of them finds what was lost.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import structlog
from redis.exceptions import RedisError

from services.gamification.index import BoardIndex, ChangedScore, IndexState, Place
from services.gamification.ranking import Layout
from services.gamification.score_store import ScoreLog
from shared import errors
from shared.clock import monotonic
from shared.combining import Combiner
from shared.feed import Place as FeedPlace

CHUNK = 500
"""Members per script call: some milliseconds of the index server's time."""
PROJECTION = "boards"
_STATES_PER_PIPELINE = 500
_FULL_PASS_SECONDS = 1.0
_RETRY_SECONDS = 0.2

logger = structlog.get_logger(__name__)


class Layouts(Protocol):
    """Gives the layout of every board in force, by program and board."""

    async def __call__(self, *, fresh: bool = False) -> Mapping[tuple[str, str], Layout]:
        """At most a second late, or not at all when `fresh`."""


class Projector:
    """Follows changed scores into the index; `run` is a task of the service.

    Any number of projectors may work on one index: a script refuses the one that is behind.
    """

    def __init__(self, log: ScoreLog, index: BoardIndex, layouts: Layouts) -> None:
        self._log = log
        self._index = index
        self._layouts = layouts
        self._touched: set[Place] = set()
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._next_full_pass = 0.0
        self._combiner: Combiner[tuple[Place, Layout], bool] = Combiner(
            self._are_current, batch_max=_STATES_PER_PIPELINE
        )

    def touch(self, places: Collection[Place]) -> None:
        """Note boards that a transaction is about to change; looked at after its commit."""
        self._touched.update(places)

    def wake(self) -> None:
        """Look now; called after a commit."""
        if self._touched:
            self._wake.set()

    def look_at_all(self) -> None:
        """Look at every board now; called when one was found not to be ready."""
        self._next_full_pass = 0.0
        self._wake.set()

    def mark(self) -> asyncio.Event:
        """Give what is set when something of the index has changed next."""
        return self._moved

    def nudge(self) -> None:
        """Wake whoever waits for a change of the index."""
        self._moved.set()
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Project until cancelled; what fails is tried again."""
        while True:
            self._wake.clear()
            touched, self._touched = self._touched, set()
            try:
                if monotonic() >= self._next_full_pass:
                    await self.project_all()
                    self._next_full_pass = monotonic() + _FULL_PASS_SECONDS
                else:
                    await self.project(touched)
            except (RedisError, OSError) as error:
                logger.warning("boards_index_away", error=str(error))
                await self._again(touched)
            except Exception:
                logger.exception("boards_not_projected")
                await self._again(touched)
            try:
                async with asyncio.timeout(max(0.0, self._next_full_pass - monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def project_all(self) -> None:
        """Bring every board that has scores up to date."""
        await self.project(await self._log.places())

    async def project(self, places: Collection[Place]) -> None:
        """Bring these boards up to date, and let those answer that are complete."""
        layouts = await self._layouts()
        known = [
            (place, layouts[place.program_id, place.board_id])
            for place in sorted(places, key=str)
            if (place.program_id, place.board_id) in layouts
        ]
        for start in range(0, len(known), _STATES_PER_PIPELINE):
            part = known[start : start + _STATES_PER_PIPELINE]
            # The index first: what others write meanwhile must not look as if it were ahead.
            states = await self._index.states(part)
            heads = await self._log.heads([place for place, _ in part])
            for (place, layout), state in zip(part, states, strict=True):
                await self._project_place(place, layout, state, heads[place])

    async def is_current(self, place: Place, layout: Layout) -> bool:
        """Whether the index answers for a place and has everything that is committed now.

        Who asks at the same time is answered together. Raises RedisError.
        """
        return await self._combiner.ask((place, layout))

    async def _are_current(self, asked: Sequence[tuple[Place, Layout]]) -> list[bool]:
        known = list(dict.fromkeys(asked))
        heads = await self._log.heads([place for place, _ in known])
        states = await self._index.states(known)
        current = {}
        for (place, layout), state in zip(known, states, strict=True):
            wanted = heads[place]
            current[place, layout] = (state.is_ready or not wanted) and all(
                state.cursors.get(partition, 0) >= head for partition, head in wanted.items()
            )
        return [current[each] for each in asked]

    async def progress(self) -> tuple[tuple[FeedPlace, ...], tuple[FeedPlace, ...]]:
        """How far the index is and how far it has to go, summed over all boards by partition.

        A board that does not answer counts as not begun. Refuses NotReady while the index is away.
        """
        try:
            return await self._progress()
        except (RedisError, OSError):
            raise errors.NotReady(what="leaderboards") from None

    async def _progress(self) -> tuple[tuple[FeedPlace, ...], tuple[FeedPlace, ...]]:
        layouts = await self._layouts(fresh=True)
        reached: dict[int, int] = {}
        wanted: dict[int, int] = {}
        known = [
            (place, layouts[place.program_id, place.board_id])
            for place in await self._log.places()
            if (place.program_id, place.board_id) in layouts
        ]
        for start in range(0, len(known), _STATES_PER_PIPELINE):
            part = known[start : start + _STATES_PER_PIPELINE]
            # The index first: what is committed in between then shows as still to do.
            states = await self._index.states(part)
            heads = await self._log.heads([place for place, _ in part])
            for (place, _), state in zip(part, states, strict=True):
                for partition, head in heads[place].items():
                    cursor = min(state.cursors.get(partition, 0), head) if state.is_ready else 0
                    reached[partition] = reached.get(partition, 0) + cursor
                    wanted[partition] = wanted.get(partition, 0) + head
        return _told(reached), _told(wanted)

    async def _again(self, touched: Collection[Place]) -> None:
        self._touched |= set(touched)
        self._next_full_pass = 0.0
        await asyncio.sleep(_RETRY_SECONDS)

    async def _project_place(
        self, place: Place, layout: Layout, state: IndexState, heads: Mapping[int, int]
    ) -> None:
        if any(cursor > heads.get(at, 0) for at, cursor in state.cursors.items()):
            # The database is older than the index: somebody restored a backup.
            logger.warning("board_index_ahead", board_id=place.board_id, period=place.period)
            await self._index.drop([place])
            state = IndexState(cursors={}, is_ready=False)
        behind = [at for at, head in sorted(heads.items()) if state.cursors.get(at, 0) < head]
        for partition in behind:
            await self._project_partition(place, layout, partition, state, heads[partition])
        if heads and not state.is_ready and await self._index.mark_ready(place, layout, heads):
            logger.info("board_ready", board_id=place.board_id, period=place.period)
            behind.append(-1)
        if behind:
            self.nudge()

    async def _project_partition(
        self, place: Place, layout: Layout, partition: int, state: IndexState, head: int
    ) -> None:
        cursor = state.cursors.get(partition, 0)
        while cursor < head:
            changed = await self._log.changed(place, partition, after=cursor, limit=CHUNK)
            if not changed:
                return
            reached = changed[-1].changed_position
            rows = [
                ChangedScore(
                    member_key=each.member_key, score=each.score, reached_time=each.reached_time
                )
                for each in changed
            ]
            cursor = await self._index.apply(
                place, layout, partition, expected=cursor, reached=reached, rows=rows
            )


def _told(positions: Mapping[int, int]) -> tuple[FeedPlace, ...]:
    return tuple(
        FeedPlace(source=PROJECTION, partition=partition, position=position)
        for partition, position in sorted(positions.items())
    )
