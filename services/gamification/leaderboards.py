"""Use cases of leaderboards: page, standing, watch, submit, rebuild."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from redis.exceptions import RedisError

from services.gamification.commands import SubmitScores
from services.gamification.document import Board
from services.gamification.documents import Documents
from services.gamification.domain import (
    BoardId,
    BoardNotReady,
    LeaderboardNotFound,
    MemberId,
    Period,
    ProgramId,
    SubmittedScores,
)
from services.gamification.index import BoardIndex, Place
from services.gamification.projector import Projector
from services.gamification.ranking import Layout
from services.gamification.reading import (
    BoardReader,
    BoardView,
    PageQuestion,
    StandingQuestion,
)
from services.gamification.score_store import ScoreLog
from shared import paging
from shared.clock import Clock, monotonic
from shared.followers import Follower, wait_for_token
from shared.group_commit import GroupCommit
from shared.wakeups import wait_for_change

PAGE_SIZE, PAGE_SIZE_MAX = 50, 1_000
TOP_COUNT = 10
_WAIT_SECONDS = 5.0
_REBUILD_SECONDS = 600.0
_LOOK_SECONDS = 0.1
_WATCH_GAP_SECONDS = 0.1
_WATCH_POLL_SECONDS = 1.0
SERVICE = "gamification"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Rows of a board, the period they are of, and the token of the next page."""

    view: BoardView
    period: Period
    next_page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """A board that is made anew, and how many members it will have."""

    place: Place
    row_count: int


class Leaderboards:
    """Everything that callers ask of boards. `followers` are those whose tokens reads wait for."""

    def __init__(
        self,
        *,
        documents: Documents,
        reader: BoardReader,
        projector: Projector,
        index: BoardIndex,
        log: ScoreLog,
        group_commit: GroupCommit,
        followers: Mapping[str, Follower],
        clock: Clock,
    ) -> None:
        self._documents = documents
        self._reader = reader
        self._projector = projector
        self._index = index
        self._log = log
        self._group_commit = group_commit
        self._followers = followers
        self._clock = clock
        self._closed = False

    async def page(
        self,
        program_id: str,
        board_id: str,
        period: str,
        *,
        page_size: int,
        page_token: str,
        wait_for: str,
    ) -> Page:
        """Rows of a board, best first.

        Refuses ProgramNotFound, LeaderboardNotFound, PeriodNotValid, InvalidPageToken, NotReady,
        BoardNotReady.
        """
        board, place = await self._place(program_id, board_id, period)
        query = paging.digest_of("GetLeaderboard", program_id, board_id, place.period)
        offset = paging.offset(page_token, query)
        await self._wait(wait_for, place, board.layout)
        size = paging.page_size(page_size, PAGE_SIZE, PAGE_SIZE_MAX)
        view = await self._reader.view(
            PageQuestion(place=place, layout=board.layout, offset=offset, count=size)
        )
        end = offset + len(view.rows)
        more = bool(view.rows) and end < view.member_count
        return Page(
            view=view,
            period=place.period,
            next_page_token=paging.encode(query, (end,)) if more else "",
        )

    async def standing(
        self,
        program_id: str,
        board_id: str,
        period: str,
        *,
        member_id: str,
        neighbours: int,
        wait_for: str,
    ) -> Page:
        """A member's row and those around it.

        Refuses what `page` refuses, and MemberNotFound, StandingNotFound.
        """
        board, place = await self._place(program_id, board_id, period)
        if wait_for:
            await self._wait(wait_for, place, board.layout)
        view = await self._reader.view(
            StandingQuestion(
                place=place,
                layout=board.layout,
                member_id=MemberId(member_id),
                neighbours=neighbours,
            )
        )
        return Page(view=view, period=place.period)

    async def watch(
        self, program_id: str, board_id: str, period: str, *, top_count: int
    ) -> AsyncIterator[Page]:
        """The top of a board now, and again whenever it has changed, at most ten times a second.

        Ends when the service stops; refuses like `page` at any time.
        """
        shown: Page | None = None
        while not self._closed:
            changed = self._projector.mark()
            began = monotonic()
            board, place = await self._place(program_id, board_id, period)
            view = await self._reader.view(
                PageQuestion(
                    place=place, layout=board.layout, offset=0, count=top_count or TOP_COUNT
                )
            )
            page = Page(view=view, period=place.period)
            if page != shown:
                shown = page
                yield page
            await wait_for_change(changed, _WATCH_POLL_SECONDS)
            rest = began + _WATCH_GAP_SECONDS - monotonic()
            if rest > 0:
                await wait_for_change(self._projector.mark(), rest)

    async def submit(self, command: SubmitScores) -> tuple[SubmittedScores, str]:
        """Settle submissions; their results and the feed token.

        Refuses ProgramNotFound, LeaderboardNotFound, ScoresNotAccepted, IdempotencyKeyReused.
        """
        outcome = await self._group_commit.submit(command)
        if not isinstance(outcome.answer, SubmittedScores):
            raise TypeError(f"SubmitScores was answered {type(outcome.answer).__name__}")
        return outcome.answer, outcome.token

    async def rebuild(
        self, program_id: str, board_id: str, period: str, *, wait_until_ready: bool
    ) -> list[Rebuilt]:
        """Throw indexes away and have them made anew: of one board or all, one period or all.

        Refuses ProgramNotFound, LeaderboardNotFound, PeriodNotValid, and BoardNotReady when the
        index is away or takes longer than ten minutes.
        """
        program = await self._documents.in_force(program_id)
        if board_id:
            board = _board(program.boards, board_id)
            if period:
                board.rules.period_named(period, self._clock.now())
        places = [
            place
            for place in await self._log.places(program_id)
            if place.board_id in program.boards
            and board_id in {"", place.board_id}
            and period in {"", place.period}
        ]
        try:
            await self._index.drop(places)
        except (RedisError, OSError):
            raise BoardNotReady(board_id=board_id, period=period) from None
        self._projector.look_at_all()
        rebuilt = [Rebuilt(place=place, row_count=await self._log.count(place)) for place in places]
        for place in places if wait_until_ready else ():
            layout = program.boards[place.board_id].layout
            await self._wait_until_current(place, layout, _REBUILD_SECONDS)
        return rebuilt

    def close(self) -> None:
        """End the streams that somebody watches, so that a stopping server need not wait."""
        self._closed = True
        self._projector.nudge()

    async def _place(self, program_id: str, board_id: str, period: str) -> tuple[Board, Place]:
        program = await self._documents.in_force(program_id)
        board = _board(program.boards, board_id)
        named = board.rules.period_named(period, self._clock.now())
        return board, Place(
            program_id=ProgramId(program_id), board_id=BoardId(board_id), period=named
        )

    async def _wait(self, token: str, place: Place, layout: Layout) -> None:
        """Wait until a change has been applied here and has reached the index."""
        if token:
            await wait_for_token(self._followers, token, own=SERVICE, seconds=_WAIT_SECONDS)
            await self._wait_until_current(place, layout, _WAIT_SECONDS)

    async def _wait_until_current(self, place: Place, layout: Layout, seconds: float) -> None:
        deadline = monotonic() + seconds
        while True:
            moved = self._projector.mark()
            try:
                if await self._projector.is_current(place, layout):
                    return
            except (RedisError, OSError):
                pass
            if monotonic() >= deadline:
                raise BoardNotReady(board_id=place.board_id, period=place.period)
            await wait_for_change(moved, _LOOK_SECONDS)


def _board(boards: Mapping[BoardId, Board], board_id: str) -> Board:
    found = boards.get(BoardId(board_id))
    if found is None:
        raise LeaderboardNotFound(board_id=board_id)
    return found
