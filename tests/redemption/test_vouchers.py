"""Voucher codes: long enough, checked, the same for the same redemption."""

from hypothesis import given
from hypothesis import strategies as st

from services.redemption import vouchers

SECRET = b"s" * 32


def test_a_code_is_the_same_for_the_same_redemption_and_another_for_another() -> None:
    code = vouchers.code_for(SECRET, "giftshop", "r1")
    assert code == vouchers.code_for(SECRET, "giftshop", "r1")
    others = {
        vouchers.code_for(SECRET, "giftshop", "r2"),
        vouchers.code_for(SECRET, "other", "r1"),
        vouchers.code_for(b"t" * 32, "giftshop", "r1"),
    }
    assert code not in others
    assert len(others) == 3


def test_a_code_carries_at_least_eighty_bits_and_a_check_character() -> None:
    code = vouchers.code_for(SECRET, "giftshop", "r1")
    assert len(code) == vouchers.CODE_CHARS + 1
    assert vouchers.CODE_CHARS * 5 >= 80
    assert vouchers.is_well_formed(code)


@given(st.integers(0, 10_000), st.integers(0, 16), st.sampled_from(vouchers.ALPHABET))
def test_every_single_wrong_character_is_found(number: int, place: int, wrong: str) -> None:
    code = vouchers.code_for(SECRET, "p", str(number))
    changed = code[:place] + wrong + code[place + 1 :]
    assert vouchers.is_well_formed(changed) == (changed == code)


@given(st.integers(0, 10_000), st.integers(0, 15))
def test_every_swap_of_neighbours_is_found(number: int, place: int) -> None:
    code = vouchers.code_for(SECRET, "p", str(number))
    swapped = code[:place] + code[place + 1] + code[place] + code[place + 2 :]
    assert vouchers.is_well_formed(swapped) == (swapped == code)


def test_a_code_may_be_typed_with_hyphens_small_letters_and_lookalikes() -> None:
    code = vouchers.code_for(SECRET, "p", "1")
    typed = "-".join([code[:6].lower(), code[6:12], code[12:]]).replace("0", "o").replace("1", "l")
    assert vouchers.normalize(typed) == code
    assert vouchers.stored_hash(SECRET, typed) == vouchers.stored_hash(SECRET, code)


def test_the_stored_hash_says_nothing_without_the_secret() -> None:
    code = vouchers.code_for(SECRET, "p", "1")
    assert code not in vouchers.stored_hash(SECRET, code)
    assert vouchers.stored_hash(SECRET, code) != vouchers.stored_hash(b"t" * 32, code)


def test_strange_texts_are_not_well_formed() -> None:
    for text in ("", "U" * 18, "0" * 17, "0" * 19, "é" * 18, "\0" * 18):
        assert not vouchers.is_well_formed(text)
