"""Page tokens are opaque and belong to one query."""

import base64
import hashlib

import orjson
import pytest

from shared import errors, paging

QUERY = paging.digest_of("ListBadges", "classic", "m-1")


@pytest.mark.parametrize("position", [(7,), ("2026-01-01", "b"), (2**63 - 1, "é\u0000", -3)])
def test_a_token_gives_back_its_position(position: tuple[str | int, ...]) -> None:
    token = paging.encode(QUERY, position)
    assert paging.decode(token, QUERY) == position
    assert token.replace("-", "").replace("_", "").isalnum()


def test_no_token_is_the_first_page() -> None:
    assert paging.decode("", QUERY) is None


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "é",
        "not a token!",
        "A" * 64,
        paging.encode(paging.digest_of("ListBadges", "classic", "m-2"), (7,)),
        paging.encode(QUERY, (7,))[:-1] + "Q",
        paging.encode(QUERY, (7,)) + "AAAA",
        base64.urlsafe_b64encode(orjson.dumps([QUERY, 7])).decode().rstrip("="),
    ],
)
def test_a_token_that_is_foreign_or_made_up_is_refused(token: str) -> None:
    with pytest.raises(errors.InvalidPageToken) as refused:
        paging.decode(token, QUERY)
    assert refused.value.field == "page_token"


@pytest.mark.parametrize(
    "content", [b"7", b"null", b"{}", b"[1.5]", b"[null]", b"[true]", b"[", b""]
)
def test_a_token_with_a_seal_and_no_position_is_refused(content: bytes) -> None:
    """Seals are no secret: somebody may make up a whole token."""
    key, person = QUERY.encode(), b"guerdon.page"
    seal = hashlib.blake2b(content, digest_size=12, key=key, person=person).digest()
    with pytest.raises(errors.InvalidPageToken):
        paging.decode(base64.urlsafe_b64encode(seal + content).decode().rstrip("="), QUERY)


def test_an_offset_is_a_number_of_rows() -> None:
    assert paging.offset("", QUERY) == 0
    assert paging.offset(paging.encode(QUERY, (50,)), QUERY) == 50
    for position in ((-1,), (2**53,), ("50",), (50, 50), ()):
        with pytest.raises(errors.InvalidPageToken):
            paging.offset(paging.encode(QUERY, position), QUERY)


def test_every_part_of_a_query_counts() -> None:
    assert paging.digest_of("a", "bc") != paging.digest_of("ab", "c")
    assert paging.digest_of("a", 1) != paging.digest_of("a", "1") != paging.digest_of("a", True)


@pytest.mark.parametrize(("requested", "rows"), [(0, 50), (1, 1), (200, 200), (999, 200)])
def test_a_page_has_a_default_and_a_maximum(requested: int, rows: int) -> None:
    assert paging.page_size(requested, 50, 200) == rows
