"""The tree of a seal, its proofs, and the days that it is made of."""

from datetime import date, datetime
from hashlib import sha256
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.earning import seals
from services.earning.domain import CurrencyId, MemberKey
from services.earning.seals import Builder, Leaf

HASHES = st.lists(st.binary(min_size=32, max_size=32), max_size=70)


def rfc_6962(hashes: list[bytes]) -> bytes:
    """The tree as its standard defines it: split at the largest power of two below the number."""
    if not hashes:
        return sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return sha256(b"\1" + rfc_6962(hashes[:split]) + rfc_6962(hashes[split:])).digest()


@given(HASHES)
def test_the_root_is_that_of_rfc_6962(hashes: list[bytes]) -> None:
    assert seals.root_of(hashes) == rfc_6962(hashes)


@given(HASHES, st.sampled_from([1, 2, 4, 8]))
def test_a_tree_over_chunks_is_the_tree_over_their_leaves(hashes: list[bytes], size: int) -> None:
    chunks = [hashes[at : at + size] for at in range(0, len(hashes), size)]
    assert seals.root_of([seals.root_of(each) for each in chunks]) == seals.root_of(hashes)


@given(HASHES.filter(bool), st.data())
def test_every_leaf_climbs_to_the_root_and_no_other_does(
    hashes: list[bytes], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(hashes) - 1))
    steps = seals.path_of(hashes, at)
    assert seals.climbed(hashes[at], steps) == seals.root_of(hashes)
    assert seals.climbed(sha256(hashes[at]).digest(), steps) != seals.root_of(hashes)
    assert len(steps) <= 7


def leaf(number: int) -> Leaf:
    return Leaf(
        member_key=MemberKey(f"{number:05}"),
        currency_id=CurrencyId("points"),
        sequence=number + 1,
        chain_hash=b"h",
        available=number,
        pending=2,
        held=3,
        debt=4,
    )


def test_chunks_have_1024_leaves_and_the_last_what_is_left() -> None:
    builder = Builder()
    made = [builder.add(leaf(number), b"%032d" % number) for number in range(2_500)]
    chunks = [*[each for each in made if each is not None], builder.finish()]
    assert [
        each and (each.number, each.leaves, each.first[0], each.last[0]) for each in chunks
    ] == [
        (0, 1_024, "00000", "01023"),
        (1, 1_024, "01024", "02047"),
        (2, 452, "02048", "02499"),
    ]
    totals: seals.Totals = {}
    for each in chunks:
        assert each is not None
        totals = seals.added(totals, each.totals)
    entries = 2_500 * 2_501 // 2
    assert totals == {"points": (2_500, entries, entries - 2_500, 5_000, 7_500, 10_000)}
    assert builder.finish() is None


@pytest.mark.parametrize(
    ("zone", "day", "end"),
    [
        ("Asia/Shanghai", date(2026, 10, 31), "2026-10-31T16:00:00+00:00"),
        ("Europe/London", date(2026, 3, 28), "2026-03-29T00:00:00+00:00"),
        ("Europe/London", date(2026, 3, 29), "2026-03-29T23:00:00+00:00"),
        ("Europe/London", date(2026, 10, 25), "2026-10-26T00:00:00+00:00"),
        ("America/New_York", date(2026, 11, 1), "2026-11-02T05:00:00+00:00"),
        # Midnight itself is left out there: the day begins at one.
        ("Africa/Cairo", date(2026, 4, 23), "2026-04-23T22:00:00+00:00"),
        # Midnight comes twice there: the day begins with the first.
        ("America/Havana", date(2026, 10, 31), "2026-11-01T04:00:00+00:00"),
        # The island left out a whole day, which began and ended at once.
        ("Pacific/Apia", date(2011, 12, 29), "2011-12-30T10:00:00+00:00"),
        ("Pacific/Apia", date(2011, 12, 30), "2011-12-30T10:00:00+00:00"),
    ],
)
def test_a_day_ends_at_the_first_instant_that_is_no_more_of_it(
    zone: str, day: date, end: str
) -> None:
    found = seals.end_of(day, ZoneInfo(zone))
    assert found == datetime.fromisoformat(end)
    assert seals.day_of(found, ZoneInfo(zone)) > day


def test_the_root_over_nothing_is_the_hash_of_nothing() -> None:
    assert seals.root_of([]) == sha256().digest()
