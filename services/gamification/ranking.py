"""Order and ranks: how a score becomes a place in a sorted set, and a place a rank.

A sorted set orders by score and, among equals, by the bytes of the element, both ascending. So a
board that wants the highest first keeps the negative score, and every element is the instant that
the score was reached, then the member's key: ascending order is then the order of the list on every
board, who got there first ahead. Integers below 2^53 in absolute value are exact as doubles, and so
are their negatives.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from services.gamification.domain import MemberKey

ELEMENT_BYTES = 24
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIME_OFFSET = 1 << 63
_TIME = struct.Struct(">Q")
_ROW = struct.Struct(f">{ELEMENT_BYTES}sd")


class Ties(Enum):
    """Ranks of equal scores: 1,2,2,4 or 1,2,2,3 or 1,2,3,4; the values go to the scripts."""

    COMPETITION = "c"
    DENSE = "d"
    STRICT = "s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a board lies in its sorted set; another layout makes it another index."""

    ascending: bool
    ties: Ties

    def __str__(self) -> str:
        """Short text: `asc-c`. Only dense boards keep the extra structure for dense ranks."""
        return f"{'asc' if self.ascending else 'desc'}{'-dense' if self.ties is Ties.DENSE else ''}"

    def sort_score(self, score: int) -> int:
        """Score as the sorted set keeps it."""
        return score if self.ascending else -score


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedRow:
    """One row of a board as the index tells it; its instant is decoded when it is asked for."""

    member_key: MemberKey
    rank: int
    score: int
    reached_micros: int

    @property
    def reached_time(self) -> datetime:
        """When the change that reached the score happened. Raises OverflowError for no instant."""
        return _EPOCH + self.reached_micros * _MICROSECOND


def time_bytes(reached_time: datetime) -> bytes:
    """8 bytes whose order is the order of the instants, also before 1970."""
    micros = (reached_time - _EPOCH) // _MICROSECOND
    return _TIME.pack(micros + _TIME_OFFSET)


def key_bytes(member_key: str) -> bytes:
    """16 bytes of a member key, in the order of its text."""
    return bytes.fromhex(member_key)


def element(reached_time: datetime, member_key: str) -> bytes:
    """Element of the sorted set: 24 bytes, earlier instants first, then smaller keys."""
    return time_bytes(reached_time) + key_bytes(member_key)


def decode_element(packed: bytes) -> tuple[int, MemberKey]:
    """Microseconds since 1970 and member key of an element."""
    return _TIME.unpack_from(packed)[0] - _TIME_OFFSET, MemberKey(packed[8:].hex())


def ranked_rows(
    packed: bytes, layout: Layout, *, first_place: int, first_rank: int
) -> tuple[RankedRow, ...]:
    """Rows from what a script packed: element and sort score of each, best first.

    `first_place` (from 0) and `first_rank` are those of the first row; the ranks of the others
    follow from the policy for equals.
    """
    entries: Sequence[tuple[bytes, float]] = list(_ROW.iter_unpack(packed))
    rows: list[RankedRow] = []
    rank, previous = first_rank, 0.0
    for index, (packed_element, sort_score) in enumerate(entries):
        if index and (layout.ties is Ties.STRICT or sort_score != previous):
            rank = rank + 1 if layout.ties is Ties.DENSE else first_place + index + 1
        previous = sort_score
        micros, member_key = decode_element(packed_element)
        score = int(sort_score) if layout.ascending else -int(sort_score)
        rows.append(RankedRow(member_key=member_key, rank=rank, score=score, reached_micros=micros))
    return tuple(rows)
