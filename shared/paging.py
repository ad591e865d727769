"""Page tokens: opaque, and bound to the query that they continue."""

import base64
import binascii
import hashlib
from typing import cast

import orjson

from shared import errors

_DIGEST_CHARS = 16


def encode(query_digest: str, position: tuple[str | int, ...]) -> str:
    """The token of the page after a position of a query."""
    content = orjson.dumps([query_digest, *position])
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def decode(token: str, query_digest: str) -> tuple[str | int, ...] | None:
    """The position that a token stands for, None for the first page; refuses InvalidPageToken."""
    if not token:
        return None
    try:
        padded = token + "=" * (-len(token) % 4)
        content = orjson.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
    except (ValueError, binascii.Error, UnicodeEncodeError):
        raise errors.InvalidPageToken from None
    if (
        not isinstance(content, list)
        or len(content) < 2
        or content[0] != query_digest
        or not all(isinstance(part, str | int) for part in content)
    ):
        raise errors.InvalidPageToken
    return tuple(cast("list[str | int]", content[1:]))


def digest_of(*parts: str | int | bool) -> str:
    """The digest of a query: its method and everything that selects and orders its rows."""
    content = orjson.dumps(parts)
    return hashlib.sha256(content).hexdigest()[:_DIGEST_CHARS]


def page_size(requested: int, default: int, maximum: int) -> int:
    """The number of rows to return; 0 means the default."""
    return min(requested or default, maximum)
