"""The one command that callers send; what feeds and workers send is in `domain.py`."""

from dataclasses import dataclass
from typing import TypeAlias

from services.gamification.domain import (
    BoardId,
    CountActivity,
    EnrollMember,
    ProgramId,
    SettleReward,
    Submission,
)
from shared import record
from shared.keys import RequestKey
from shared.names import NameMember


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitScores:
    """A game scored: up to 1,000 scores, settled one by one in their order."""

    program_id: ProgramId
    request_id: str
    board_id: BoardId
    submissions: tuple[Submission, ...]

    @property
    def request_key(self) -> RequestKey:
        """The caller's request id, and everything that the request says."""
        return RequestKey(
            program_id=self.program_id,
            scope="SubmitScores",
            request_id=self.request_id,
            digest=record.digest([self.board_id, self.submissions]),
        )

    @property
    def routing(self) -> str:
        """The board: requests about one board keep the order in which they came."""
        return self.board_id

    @property
    def weight(self) -> int:
        """As many decisions as submissions, so that a batch does not take a hundred thousand."""
        return len(self.submissions)


Command: TypeAlias = EnrollMember | CountActivity | SubmitScores | SettleReward | NameMember
