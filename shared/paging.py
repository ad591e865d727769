"""Page tokens: opaque, and bound to the query that they continue.

Their seal keeps accidents out and is no secret: what reads a position checks it like any input.
"""

import base64
import hashlib
from typing import cast

import orjson

from shared import errors

_DIGEST_CHARS = 16
_SEAL_BYTES = 12
_OFFSET_MAX = 2**31 - 1


def encode(query_digest: str, position: tuple[str | int, ...]) -> str:
    """The token of the page after a position of a query."""
    content = orjson.dumps(position)
    return base64.urlsafe_b64encode(_seal(query_digest, content) + content).rstrip(b"=").decode()


def decode(token: str, query_digest: str) -> tuple[str | int, ...] | None:
    """The position that a token stands for, None for the first page; refuses InvalidPageToken.

    A token that was changed, made up, or made for another query is refused.
    """
    if not token:
        return None
    try:
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise errors.InvalidPageToken from None
    seal, content = sealed[:_SEAL_BYTES], sealed[_SEAL_BYTES:]
    if seal != _seal(query_digest, content):
        raise errors.InvalidPageToken
    try:
        position = orjson.loads(content)
    except ValueError:
        raise errors.InvalidPageToken from None
    if not isinstance(position, list) or any(type(each) not in {str, int} for each in position):
        raise errors.InvalidPageToken
    return tuple(cast("list[str | int]", position))


def offset(token: str, query_digest: str) -> int:
    """The number of rows before the page that a token stands for; refuses InvalidPageToken."""
    match decode(token, query_digest):
        case None:
            return 0
        case (int(rows),) if 0 <= rows <= _OFFSET_MAX:
            return rows
        case _:
            raise errors.InvalidPageToken


def digest_of(*parts: str | int | bool) -> str:
    """The digest of a query: its method and everything that selects and orders its rows."""
    content = orjson.dumps(parts)
    return hashlib.sha256(content).hexdigest()[:_DIGEST_CHARS]


def page_size(requested: int, default: int, maximum: int) -> int:
    """The number of rows to return; 0 means the default."""
    return min(requested or default, maximum)


def _seal(query_digest: str, content: bytes) -> bytes:
    """Ties a position to its query."""
    return hashlib.blake2b(
        content, digest_size=_SEAL_BYTES, key=query_digest.encode()[:64], person=b"guerdon.page"
    ).digest()
