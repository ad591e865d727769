"""Daily seals: one hash over the ends of all wallets' chains, from which each can be proved.

A seal is of a program and of a calendar day in its zone. A wallet's place in it is its last entry
that was booked before the day's end, whatever was booked behind that; wallets without one are left
out. Leaves are in the order of members and currencies, the tree is that of RFC 6962 (a leaf is
hashed behind a byte 0, a node behind a byte 1), and each seal is hashed over the one before.

Leaves are taken one by one and go in chunks of 1,024: what is in memory is one chunk and the
chunks' hashes. A tree over the hashes of chunks is the tree over their leaves.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import TypeAlias
from zoneinfo import ZoneInfo

from services.earning.domain import CurrencyId, MemberKey, ProgramId
from services.earning.ledger import chained, micros

CHUNK_LEAVES = 1_024
_DAY = timedelta(days=1)

Totals: TypeAlias = dict[str, tuple[int, int, int, int, int, int]]
"""By currency: wallets, entries, and points available, pending, held and owed."""

Step: TypeAlias = tuple[bool, bytes]
"""A step from a leaf to the root: whether the other one is on the left, and its hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A wallet at the end of a day: its last entry, and the points that it had then."""

    member_key: MemberKey
    currency_id: CurrencyId
    sequence: int
    chain_hash: bytes
    available: int
    pending: int
    held: int
    debt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Leaves that follow each other: the first and the last wallet, and the root over them."""

    number: int
    first: tuple[str, str]
    last: tuple[str, str]
    leaves: int
    totals: Totals
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What was sealed of a program at the end of a day; `seal_time` is no part of the hash."""

    program_id: ProgramId
    day: date
    time_zone: str
    end_time: datetime
    root: bytes
    totals: Totals
    previous_hash: bytes
    seal_hash: bytes
    seal_time: datetime

    @property
    def wallets(self) -> int:
        """Number of wallets in it."""
        return sum(each[0] for each in self.totals.values())

    @property
    def entries(self) -> int:
        """Number of entries that it covers."""
        return sum(each[1] for each in self.totals.values())


# Days --------------------------------------------------------------------------------------------


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which a calendar day begins in a zone.

    Where clocks are set forward at midnight that is the first instant that there is; where they are
    set back, the first of two.
    """
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def end_of(day: date, zone: ZoneInfo) -> datetime:
    """The first instant after a day."""
    return midnight(day + _DAY, zone)


def day_of(instant: datetime, zone: ZoneInfo) -> date:
    """The calendar day of an instant in a zone."""
    return instant.astimezone(zone).date()


# The tree ----------------------------------------------------------------------------------------


def leaf_hash(member_key: str, currency_id: str, sequence: int, chain_hash: bytes) -> bytes:
    """SHA-256 over a byte 0 and a JSON array: key, currency, sequence, hash in hexadecimal."""
    text = json.dumps([member_key, currency_id, sequence, chain_hash.hex()], separators=(",", ":"))
    return sha256(b"\0" + text.encode()).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over hashes of leaves, or of whole chunks; that over nothing is SHA-256 of nothing.

    Of a row with an odd end the last goes up alone: that is the tree which splits at the largest
    power of two.
    """
    row = list(hashes)
    while len(row) > 1:
        alone = row[-1:] if len(row) % 2 else []
        row = [_node(row[at], row[at + 1]) for at in range(0, len(row) - 1, 2)] + alone
    return row[0] if row else sha256().digest()


def path_of(hashes: Sequence[bytes], index: int) -> list[Step]:
    """The steps from one of the hashes to the root over them."""
    row, steps = list(hashes), []
    while len(row) > 1:
        beside = index ^ 1
        if beside < len(row):
            steps.append((beside < index, row[beside]))
        alone = row[-1:] if len(row) % 2 else []
        row = [_node(row[at], row[at + 1]) for at in range(0, len(row) - 1, 2)] + alone
        index //= 2
    return steps


def climbed(hashed: bytes, steps: Iterable[Step]) -> bytes:
    """The root that a hash comes to by its steps."""
    for is_left, other in steps:
        hashed = _node(other, hashed) if is_left else _node(hashed, other)
    return hashed


@dataclass(slots=True)
class Builder:
    """Takes leaves in their order and gives each chunk as soon as it is whole."""

    number: int = 0
    _hashes: list[bytes] = field(default_factory=list)
    _totals: Totals = field(default_factory=dict)
    _first: tuple[str, str] = ("", "")
    _last: tuple[str, str] = ("", "")

    @property
    def room(self) -> int:
        """Leaves until the chunk is whole."""
        return CHUNK_LEAVES - len(self._hashes)

    def add(self, leaf: Leaf, hashed: bytes) -> Chunk | None:
        """Take a leaf and its hash; the chunk that it makes whole."""
        self._last = (leaf.member_key, leaf.currency_id)
        if not self._hashes:
            self._first = self._last
        self._hashes.append(hashed)
        of = (1, leaf.sequence, leaf.available, leaf.pending, leaf.held, leaf.debt)
        self._totals = added(self._totals, {leaf.currency_id: of})
        return None if self.room else self.finish()

    def finish(self) -> Chunk | None:
        """The chunk that was begun, if one was."""
        if not self._hashes:
            return None
        chunk = Chunk(
            number=self.number,
            first=self._first,
            last=self._last,
            leaves=len(self._hashes),
            totals=self._totals,
            root=root_of(self._hashes),
        )
        self.number, self._hashes, self._totals = self.number + 1, [], {}
        return chunk


def added(one: Totals, other: Totals) -> Totals:
    """The sum of totals."""
    found = dict(one)
    for currency_id, (wallets, entries, available, pending, held, debt) in other.items():
        before = found.get(currency_id, (0, 0, 0, 0, 0, 0))
        found[currency_id] = (
            before[0] + wallets,
            before[1] + entries,
            before[2] + available,
            before[3] + pending,
            before[4] + held,
            before[5] + debt,
        )
    return found


# The chain ---------------------------------------------------------------------------------------


def totals_text(totals: Totals) -> str:
    """Totals as a JSON array of rows, one for each currency, in their order."""
    rows = [[currency_id, *totals[currency_id]] for currency_id in sorted(totals)]
    return json.dumps(rows, separators=(",", ":"))


def totals_from(text: str) -> Totals:
    """Totals from their text."""
    return {row[0]: tuple(row[1:]) for row in json.loads(text)}


def canonical_text(
    program_id: str, day: date, time_zone: str, end_time: datetime, root: bytes, totals: Totals
) -> str:
    """A JSON array: program, day, zone, end in microseconds, root in hexadecimal, totals."""
    head = [program_id, day.isoformat(), time_zone, micros(end_time), root.hex()]
    return f"{json.dumps(head, separators=(',', ':'))[:-1]},{totals_text(totals)}]"


def sealed(
    program_id: ProgramId,
    day: date,
    zone: ZoneInfo,
    end_time: datetime,
    chunks: Iterable[Chunk],
    previous_hash: bytes,
    seal_time: datetime,
) -> Seal:
    """The seal over all chunks of a day."""
    roots: list[bytes] = []
    totals: Totals = {}
    for chunk in chunks:
        roots.append(chunk.root)
        totals = added(totals, chunk.totals)
    root = root_of(roots)
    text = canonical_text(program_id, day, zone.key, end_time, root, totals)
    return Seal(
        program_id=program_id,
        day=day,
        time_zone=zone.key,
        end_time=end_time,
        root=root,
        totals=totals,
        previous_hash=previous_hash,
        seal_hash=chained(previous_hash, text),
        seal_time=seal_time,
    )
