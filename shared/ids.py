"""Identifiers and chance, passed in so that tests can seed them; members and their partitions.

A member's key is 32 hex characters: the first four come from a stable hash of the program and of
the identifier that the member was enrolled with, the rest is random. Its partition is its first 16
bits, scaled to the number of partitions, so that an identifier nobody knows yet already has a
partition: that of its own hash.
"""

import hashlib
import random
import secrets
import time
from typing import Protocol

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIME_BITS, _RANDOM_BITS = 48, 80
MEMBER_KEY_CHARS = 32
_HASH_CHARS = 4
_HASHES = 1 << 16


class Ids(Protocol):
    """Where identifiers and chance come from."""

    def new(self) -> str:
        """A new identifier: 26 characters of Crockford's base 32, ordered by time."""

    def random_hex(self, chars: int) -> str:
        """Random hexadecimal text of a length."""

    def secret(self, nbytes: int) -> bytes:
        """Random bytes that nobody can guess."""

    def fraction(self) -> float:
        """A random number from 0 to 1, for jitter."""


class SystemIds:
    """Identifiers of the real world."""

    def new(self) -> str:
        """A new identifier: 26 characters of Crockford's base 32, ordered by time."""
        return _encode(time.time_ns() // 1_000_000, secrets.randbits(_RANDOM_BITS))

    def random_hex(self, chars: int) -> str:
        """Random hexadecimal text of a length."""
        return secrets.token_hex((chars + 1) // 2)[:chars]

    def secret(self, nbytes: int) -> bytes:
        """Random bytes that nobody can guess."""
        return secrets.token_bytes(nbytes)

    def fraction(self) -> float:
        """A random number from 0 to 1, for jitter."""
        return random.random()


class SeededIds:
    """The same identifiers in the same order for the same seed, for tests and simulations."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._count = 0

    def new(self) -> str:
        """A new identifier: 26 characters of Crockford's base 32, in ascending order."""
        self._count += 1
        return _encode(self._count, self._random.getrandbits(_RANDOM_BITS))

    def random_hex(self, chars: int) -> str:
        """Hexadecimal text of a length."""
        return f"{self._random.getrandbits(4 * chars):0{chars}x}"

    def secret(self, nbytes: int) -> bytes:
        """Bytes that only the seed tells."""
        return self._random.randbytes(nbytes)

    def fraction(self) -> float:
        """A number from 0 to 1."""
        return self._random.random()


def member_key(ids: Ids, program_id: str, identifier: str) -> str:
    """A new member's key, in the partition of the identifier that it is enrolled with."""
    head = f"{stable_hash16(program_id, identifier):04x}"
    return head + ids.random_hex(MEMBER_KEY_CHARS - _HASH_CHARS)


def partition_of(key: str, partitions: int) -> int:
    """The partition of a member's key, from 0."""
    return int(key[:_HASH_CHARS], 16) * partitions >> 16


def key_range(partition: int, partitions: int) -> tuple[str, str]:
    """The first text that a member's key of a partition may be, and the first beyond them all.

    `partitions` is a power of two, as everywhere.
    """
    first, end = (number * _HASHES // partitions for number in (partition, partition + 1))
    # "g" follows every hexadecimal digit.
    return f"{first:04x}", f"{end:04x}" if end < _HASHES else "g"


def partition_of_identifier(program_id: str, identifier: str, partitions: int) -> int:
    """The partition of an identifier that may be unknown, from 0."""
    return stable_hash16(program_id, identifier) * partitions >> 16


def stable_hash16(program_id: str, identifier: str) -> int:
    """16 bits that are the same in every process and on every machine."""
    content = f"{program_id}\0{identifier}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=2).digest())


def _encode(milliseconds: int, chance: int) -> str:
    number = (milliseconds << _RANDOM_BITS | chance) & ((1 << _TIME_BITS + _RANDOM_BITS) - 1)
    chars = [_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5)]
    return "".join(chars)
