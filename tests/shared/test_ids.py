"""Identifiers, chance, and the map from members to partitions."""

from collections import Counter

import pytest

from shared import ids

ALPHABET = set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def test_identifiers_are_26_characters_ordered_by_time_and_never_equal() -> None:
    source = ids.SystemIds()
    made = [source.new() for _ in range(2_000)]
    assert all(len(each) == 26 and set(each) <= ALPHABET for each in made)
    assert len(set(made)) == len(made)
    assert [each[:10] for each in made] == sorted(each[:10] for each in made)


def test_seeded_identifiers_are_the_same_for_the_same_seed() -> None:
    def some(seed: int) -> list[object]:
        source = ids.SeededIds(seed)
        return [source.new(), source.new(), source.random_hex(5), source.secret(8)]

    assert some(1) == some(1)
    assert some(1) != some(2)
    source = ids.SeededIds(7)
    made = [source.new() for _ in range(100)]
    assert made == sorted(made)


@pytest.mark.parametrize("source", [ids.SystemIds(), ids.SeededIds(3)])
def test_chance_has_the_size_that_was_asked_for(source: ids.Ids) -> None:
    assert [len(source.random_hex(chars)) for chars in (1, 2, 5, 28)] == [1, 2, 5, 28]
    assert len(source.secret(10)) == 10
    assert 0 <= source.fraction() < 1


def test_a_members_key_is_in_the_partition_of_the_identifier_it_was_enrolled_with() -> None:
    source = ids.SeededIds(1)
    for partitions in (1, 2, 16, 256):
        for number in range(200):
            key = ids.member_key(source, "classic", f"member-{number}")
            assert len(key) == 32
            assert set(key) <= set("0123456789abcdef")
            assert ids.partition_of(key, partitions) == ids.partition_of_identifier(
                "classic", f"member-{number}", partitions
            )


@pytest.mark.parametrize("partitions", [1, 2, 16, 256])
def test_the_ranges_of_the_partitions_cover_all_keys_once(partitions: int) -> None:
    ranges = [ids.key_range(partition, partitions) for partition in range(partitions)]
    assert (ranges[0][0], ranges[-1][1]) == ("0000", "g")
    assert [end for _, end in ranges[:-1]] == [first for first, _ in ranges[1:]]
    for number in range(0, 1 << 16, 97):
        for key in (f"{number:04x}" + "0" * 28, f"{number:04x}" + "f" * 28):
            first, end = ranges[ids.partition_of(key, partitions)]
            assert first <= key < end


def test_partitions_are_in_range_and_evenly_filled() -> None:
    filled = Counter(ids.partition_of_identifier("p", str(number), 16) for number in range(16_000))
    assert set(filled) == set(range(16))
    assert max(filled.values()) < 1.2 * min(filled.values())
    assert ids.partition_of("ffff" + "0" * 28, 256) == 255
    assert ids.partition_of("0" * 32, 256) == 0


@pytest.mark.parametrize(
    ("program_id", "identifier", "expected"),
    [("classic", "m-1", 0x2799), ("classic", "m-2", 0x0DD6), ("classicm", "-1", 0x39F5)],
)
def test_the_hash_is_the_same_everywhere_and_for_ever(
    program_id: str, identifier: str, expected: int
) -> None:
    assert ids.stable_hash16(program_id, identifier) == expected


def test_program_and_identifier_do_not_run_together() -> None:
    assert ids.stable_hash16("ab", "c") != ids.stable_hash16("a", "bc")
