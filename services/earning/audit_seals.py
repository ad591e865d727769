"""Recomputes the seals of days from entries alone, all of them in one pass over the wallets.

Pure; `store_audit_seals.py` reads the entries. The rules that are named in violations:

- seal_days: the days of a program are sealed without a gap, each to its end in its zone
- seal_chain: each seal is hashed over the one before
- seal_root: the tree over all wallets has the root that was sealed
- seal_totals: what was sealed of points, wallets and entries is what the entries come to
- seal_chunks: the chunks from which proofs are made are those of the tree
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import TypeAlias
from zoneinfo import ZoneInfo

from services.earning import seals
from services.earning.audit import DETAIL_MAX, Violation
from services.earning.domain import CurrencyId, MemberKey
from services.earning.ledger import chained
from services.earning.seals import Builder, Chunk, Leaf, Seal, Totals
from shared.database import to_micros

SealedEntry: TypeAlias = tuple[str, str, int, int, int, int, int, int, bytes]
"""Member key, currency, sequence, changes of available, pending, held and debt, time, hash."""


class SealsAudit:
    """Takes all entries of a program in the order of wallets, then compares every seal."""

    def __init__(self, sealed: Sequence[Seal]) -> None:
        """`sealed` are all seals of one program, the first day first."""
        self._sealed = sealed
        self._ends = [to_micros(each.end_time) for each in sealed]
        self._days = [_Day() for _ in sealed]
        self._owner = ("", "")
        self._points = [0, 0, 0, 0]
        self._at: dict[int, Leaf] = {}
        self.wallets = 0

    def add(self, entries: Iterable[SealedEntry]) -> None:
        """Take entries, each behind those that were taken before."""
        for (
            member_key,
            currency_id,
            sequence,
            available,
            pending,
            held,
            debt,
            time,
            hashed,
        ) in entries:
            owner = (member_key, currency_id)
            if owner != self._owner:
                self._end()
                self._owner, self._points = owner, [0, 0, 0, 0]
            points = self._points
            points[0] += available
            points[1] += pending
            points[2] += held
            points[3] -= debt
            first = bisect_right(self._ends, time)  # the first day that had ended after it
            self._at[first] = Leaf(
                member_key=MemberKey(member_key),
                currency_id=CurrencyId(currency_id),
                sequence=sequence,
                chain_hash=bytes(hashed),
                available=points[0],
                pending=points[1],
                held=points[2],
                debt=points[3],
            )

    def _end(self) -> None:
        """Put the wallet into each day: of its entries until then, the one with the last number."""
        self.wallets += bool(self._at)
        leaf: Leaf | None = None
        hashed = b""
        for index, day in enumerate(self._days):
            found = self._at.get(index)
            if found is not None and (leaf is None or found.sequence > leaf.sequence):
                leaf = found
                hashed = seals.leaf_hash(
                    leaf.member_key, leaf.currency_id, leaf.sequence, leaf.chain_hash
                )
            if leaf is not None:
                day.add(leaf, hashed)
        self._at = {}

    def finish(self, chunks: Sequence[bytes]) -> list[Violation]:
        """What does not agree; `chunks` are the digests of the stored chunks of each day."""
        self._end()
        found: list[Violation] = []
        before: Seal | None = None
        for seal, day, digest in zip(self._sealed, self._days, chunks, strict=True):
            found += self._compare(seal, before, day, digest)
            before = seal
        return found

    def _compare(
        self, seal: Seal, before: Seal | None, day: "_Day", chunks: bytes
    ) -> Iterator[Violation]:
        day.finish()
        previous = b"" if before is None else before.seal_hash
        try:
            zone = ZoneInfo(seal.time_zone)
        except (KeyError, OSError, ValueError):
            zone = ZoneInfo("UTC")  # the chain says that it was another
        remade = seals.sealed(
            seal.program_id,
            seal.day,
            zone,
            seal.end_time,
            day.as_chunks(),
            previous,
            seal.seal_time,
        )
        end_time = seals.end_of(seal.day, zone)
        expected: list[tuple[str, object, object]] = [
            ("seal_root", remade.root.hex(), seal.root.hex()),
            ("seal_totals", remade.totals, seal.totals),
            ("seal_chunks", day.digest(), chunks.hex()),
        ]
        if before is not None:
            end_time = max(end_time, before.end_time)
            expected.append(("seal_days", before.day + timedelta(days=1), seal.day))
        expected.append(("seal_days", end_time, seal.end_time))
        text = seals.canonical_text(
            seal.program_id, seal.day, seal.time_zone, seal.end_time, seal.root, seal.totals
        )
        chain = (previous.hex(), chained(previous, text).hex())
        expected.append(("seal_chain", chain, (seal.previous_hash.hex(), seal.seal_hash.hex())))
        for rule, made, stored in expected:
            if made != stored:
                yield Violation(
                    rule=rule,
                    subject=f"{seal.program_id}/{seal.day.isoformat()}",
                    detail=f"expected {made}, found {stored}"[:DETAIL_MAX],
                )


class _Day:
    """A day's tree, of which whole chunks are kept as their hashes."""

    def __init__(self) -> None:
        self._builder = Builder()
        self._roots: list[bytes] = []
        self._totals: Totals = {}
        self._digest = sha256()

    def add(self, leaf: Leaf, hashed: bytes) -> None:
        """Take a leaf."""
        self._keep(self._builder.add(leaf, hashed))

    def finish(self) -> None:
        """Close the last chunk."""
        self._keep(self._builder.finish())

    def _keep(self, chunk: Chunk | None) -> None:
        if chunk is not None:
            self._roots.append(chunk.root)
            self._totals = seals.added(self._totals, chunk.totals)
            self._digest.update(text_of(chunk))

    def as_chunks(self) -> list[Chunk]:
        """Chunks that come to the same root and totals."""
        none: Totals = {}
        return [
            Chunk(
                number=number,
                first=("", ""),
                last=("", ""),
                leaves=0,
                totals=none if number else self._totals,
                root=root,
            )
            for number, root in enumerate(self._roots)
        ]

    def digest(self) -> str:
        """What all chunks come to, in hexadecimal."""
        return self._digest.hexdigest()


def digest_of(chunks: Iterable[Chunk]) -> bytes:
    """What all chunks of a day come to."""
    digest = sha256()
    for chunk in chunks:
        digest.update(text_of(chunk))
    return digest.digest()


def text_of(chunk: Chunk) -> bytes:
    """All of a chunk."""
    totals = seals.totals_text(chunk.totals)
    return repr(
        (chunk.number, chunk.first, chunk.last, chunk.leaves, totals, chunk.root.hex())
    ).encode()
