"""The index of scores: sorted sets in Redis, moved and read by constant scripts.

Each board and period has keys in one slot, `{guerdon:<program>:<board>:<period>}:` and then
- `z`  sorted set of elements (`ranking.element`: instant, member key) by sort score;
- `m`  hash: member key (16 bytes) to instant (8 bytes) and sort score (text);
- `c`  hash: `e` the epoch of the index, `r` the epoch that it is ready for, `p<partition>` how far
  each partition of the database's changes has come;
- `d` and `n`, for dense ranks only: sorted set of the different scores, and members per score.

The epoch names the database's incarnation and the board's layout: an index of another database or
layout is thrown away by the first change that is applied. Scores and cursor move in one script,
which refuses unless the cursor is what the projector read. Readiness and rank are read in one
script. Scripts use what Redis 7.0 has.
"""

import hashlib
import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from services.gamification.domain import BoardId, MemberKey, Period, ProgramId
from services.gamification.ranking import (
    Layout,
    RankedRow,
    Ties,
    key_bytes,
    ranked_rows,
    time_bytes,
)
from services.gamification.scripts import APPLY, PAGE, READY, STANDING

MEMBERS_PER_SCRIPT = 64
"""A script with so many members and 50 neighbours on each side stays below some milliseconds."""
_HEADER = struct.Struct(">dddd")
_PAGE_HEADER = struct.Struct(">ddd")
_TOTAL = struct.Struct(">d")
_ROW_BYTES = 32
_SOCKET_TIMEOUT_SECONDS = 2.0
_POOL_TIMEOUT_SECONDS = 1.0
_POOL_MAX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A board of a program in one period."""

    program_id: ProgramId
    board_id: BoardId
    period: Period


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedScore:
    """A member's current score, to be written to the index."""

    member_key: MemberKey
    score: int
    reached_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRead:
    """Asks for `count` rows from `offset` (from 0)."""

    place: Place
    layout: Layout
    offset: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingRead:
    """Asks for a member's row and so many rows on each side of it."""

    place: Place
    layout: Layout
    member_key: MemberKey
    neighbours: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of a board, best first; `own` is the place in `rows` of the member asked for, or -1."""

    rows: tuple[RankedRow, ...]
    member_count: int
    own: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexState:
    """How far the index of a place is: per partition, and whether it answers."""

    cursors: Mapping[int, int]
    is_ready: bool


class IndexEvicts(Exception):
    """The server may throw keys away; an index needs `maxmemory-policy noeviction`."""


Read = PageRead | StandingRead
_Command = tuple[object, ...]


def connect(url: str) -> "redis.Redis":
    """Client that never waits long and never repeats a command by itself."""
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=_POOL_MAX,
        timeout=_POOL_TIMEOUT_SECONDS,
        socket_timeout=_SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=_SOCKET_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    return redis.Redis.from_pool(pool)


class BoardIndex:
    """Applies changes to the index and reads it. Every method raises RedisError when it is away.

    `incarnation` is the identity of the database whose scores are indexed.
    """

    def __init__(self, client: "redis.Redis", incarnation: str) -> None:
        self._client = client
        self._incarnation = incarnation

    async def check(self) -> None:
        """Raise IndexEvicts unless the server keeps what it is given."""
        memory = await self._client.info("memory")
        policy = str(memory.get("maxmemory_policy", "noeviction"))
        if policy != "noeviction":
            raise IndexEvicts(f"maxmemory-policy is {policy}, it has to be noeviction")

    async def apply(
        self,
        place: Place,
        layout: Layout,
        partition: int,
        *,
        expected: int,
        reached: int,
        rows: Sequence[ChangedScore],
    ) -> int:
        """Write changed scores and move the partition's cursor from `expected` to `reached`.

        Gives the cursor after it: another one than `reached` says that nothing was written and
        where the index stands.
        """
        args: list[object] = [
            self._epoch(layout),
            partition,
            expected,
            reached,
            int(layout.ties is Ties.DENSE),
        ]
        for row in rows:
            args += (
                key_bytes(row.member_key),
                time_bytes(row.reached_time),
                layout.sort_score(row.score),
            )
        (reply,) = await self._run([_evalsha(APPLY, _keys(place), args)])
        return int(_number(reply))

    async def mark_ready(self, place: Place, layout: Layout, heads: Mapping[int, int]) -> bool:
        """Let the index answer, if every partition has come at least as far as `heads` says."""
        args: list[object] = [self._epoch(layout)]
        for partition, position in sorted(heads.items()):
            args += (partition, position)
        (reply,) = await self._run([_evalsha(READY, _keys(place)[2:3], args)])
        return bool(_number(reply))

    async def states(self, places: Sequence[tuple[Place, Layout]]) -> list[IndexState]:
        """How far the index of each place is; another epoch's index counts as none."""
        replies = await self._run([("HGETALL", _keys(place)[2]) for place, _ in places])
        return [
            self._state(reply, layout) for reply, (_, layout) in zip(replies, places, strict=True)
        ]

    async def drop(self, places: Sequence[Place]) -> None:
        """Throw the index of the places away."""
        await self._run([("UNLINK", *_keys(place)) for place in places])

    async def read(self, reads: Sequence[Read]) -> list[Rows | None]:
        """Answer all reads in one pipeline; None for a place whose index is not ready."""
        commands: list[_Command] = []
        owners: list[list[int]] = []
        together: dict[tuple[Place, Layout], list[int]] = defaultdict(list)
        for number, read in enumerate(reads):
            if isinstance(read, PageRead):
                commands.append(self._page(read))
                owners.append([number])
            else:
                together[read.place, read.layout].append(number)
        pages = len(commands)
        for (place, layout), numbers in together.items():
            for start in range(0, len(numbers), MEMBERS_PER_SCRIPT):
                part = numbers[start : start + MEMBERS_PER_SCRIPT]
                args: list[object] = [self._epoch(layout), layout.ties.value]
                for number in part:
                    asked = cast("StandingRead", reads[number])
                    args += (key_bytes(asked.member_key), asked.neighbours)
                commands.append(_evalsha(STANDING, _keys(place)[:4], args))
                owners.append(part)
        results: list[Rows | None] = [None] * len(reads)
        for index, reply in enumerate(await self._run(commands)):
            if not isinstance(reply, bytes):
                continue
            layout = reads[owners[index][0]].layout
            if index < pages:
                page = cast("PageRead", reads[owners[index][0]])
                results[owners[index][0]] = _page_rows(reply, page)
                continue
            for number, rows in zip(owners[index], _standings(reply, layout), strict=True):
                results[number] = rows
        return results

    def _page(self, read: PageRead) -> _Command:
        args = [self._epoch(read.layout), read.layout.ties.value, read.offset, read.count]
        return _evalsha(PAGE, _keys(read.place)[:4], args)

    def _epoch(self, layout: Layout) -> str:
        return f"{self._incarnation}/{layout}"

    def _state(self, reply: object, layout: Layout) -> IndexState:
        fields = reply if isinstance(reply, dict) else {}
        epoch = self._epoch(layout).encode()
        if fields.get(b"e") != epoch:
            return IndexState(cursors={}, is_ready=False)
        cursors = {int(name[1:]): int(value) for name, value in fields.items() if name[:1] == b"p"}
        return IndexState(cursors=cursors, is_ready=fields.get(b"r") == epoch)

    async def _run(self, commands: Sequence[_Command]) -> list[object]:
        """Send commands in one pipeline; scripts that the server has lost are loaded once more."""
        if not commands:
            return []
        replies = await self._send(commands)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            # Safe to repeat: reads change nothing, and a change checks the cursor first.
            for script in (APPLY, PAGE, READY, STANDING):
                await self._client.script_load(script)
            replies = await self._send(commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    async def _send(self, commands: Sequence[_Command]) -> list[object]:
        async with self._client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return list(await pipe.execute(raise_on_error=False))


def _keys(place: Place) -> tuple[str, ...]:
    tag = f"{{guerdon:{place.program_id}:{place.board_id}:{place.period}}}"
    return (f"{tag}:z", f"{tag}:m", f"{tag}:c", f"{tag}:d", f"{tag}:n")


_SHA = {
    script: hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
    for script in (APPLY, PAGE, READY, STANDING)
}


def _evalsha(script: str, keys: Sequence[str], args: Sequence[object]) -> _Command:
    return ("EVALSHA", _SHA[script], len(keys), *keys, *args)


def _number(reply: object) -> int:
    if not isinstance(reply, int):
        raise RedisError(f"a script answered {reply!r}")
    return reply


def _page_rows(reply: bytes, read: PageRead) -> Rows:
    total, first_rank, _ = _PAGE_HEADER.unpack_from(reply)
    rows = ranked_rows(
        reply[_PAGE_HEADER.size :],
        read.layout,
        first_place=read.offset,
        first_rank=int(first_rank),
    )
    return Rows(rows=rows, member_count=int(total))


def _standings(reply: bytes, layout: Layout) -> list[Rows]:
    """What the standing script packed: the number of members, then one record per member asked."""
    total = int(_TOTAL.unpack_from(reply)[0])
    found: list[Rows] = []
    at = _TOTAL.size
    while at < len(reply):
        place, first, first_rank, count = _HEADER.unpack_from(reply, at)
        at += _HEADER.size
        end = at + int(count) * _ROW_BYTES
        if place < 0:
            found.append(Rows(rows=(), member_count=total))
        else:
            rows = ranked_rows(
                reply[at:end], layout, first_place=int(first), first_rank=int(first_rank)
            )
            found.append(Rows(rows=rows, member_count=total, own=int(place - first)))
        at = end
    return found
