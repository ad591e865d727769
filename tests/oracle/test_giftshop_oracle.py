"""The gift shop's model against small files that can be checked by hand, a rule at a time."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from tests.oracle.giftshop import HEADER, Json, details, summary

REAL_FILE = Path(__file__).parents[2] / "programs/giftshop/data/online_retail_sample.csv"
MODEL = Path(__file__).with_name("giftshop.py")

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes rows given as `invoice code quantity date time price customer`."""

    def write_rows(text: str) -> Path:
        rows = [HEADER]
        for number, line in enumerate(text.strip().splitlines()):
            invoice, code, quantity, day, time, price, customer = line.split()
            rows.append(
                f"{number},{invoice},{code},x,{quantity},{day} {time},{price},{customer},UK"
            )
        path = tmp_path / "shop.csv"
        path.write_bytes("\r\n".join([*rows, ""]).encode())
        return path

    return write_rows


def section(path: Path, name: str) -> dict[str, dict[str, object]]:
    return cast("dict[str, dict[str, object]]", details(path)[name])


def boards(path: Path) -> dict[str, list[tuple[int, str, int]]]:
    return cast("dict[str, list[tuple[int, str, int]]]", details(path)["boards"])


def points(path: Path, name: str = "purchases") -> dict[str, object]:
    return {key: found["points"] for key, found in section(path, name).items()}


def badges(path: Path) -> dict[str, int]:
    return cast("dict[str, int]", summary(path)["badges"])


def tiers(path: Path) -> list[int]:
    found = cast("dict[str, int]", summary(path)["tiers"])
    return [found[level] for level in ("member", "silver", "gold")]


def pick(found: Json, *names: str) -> list[object]:
    return [found[name] for name in names]


def test_lines_without_units_or_price_are_skipped_and_make_no_purchase(write: Write) -> None:
    path = write("""
        100001 10001 1 1/5/2011 9:00 3.00 1
        100001 10002 0 1/5/2011 9:00 3.00 1
        100001 10003 -2 1/5/2011 9:00 3.00 1
        100001 10004 1 1/5/2011 9:00 0 1
        100001 10005 1 1/5/2011 9:00 -3.00 1
        100002 10001 5 1/5/2011 9:01 0.00 2
        100002 10002 5 1/5/2011 9:01 0.00 2
    """)
    found = summary(path)
    assert pick(found, "members", "purchases", "skipped_lines", "points_issued") == [1, 1, 6, 3]


def test_half_a_penny_goes_to_the_even_penny_line_by_line(write: Write) -> None:
    path = write("""
        100001 10001 1 1/5/2011 9:00 0.125 1
        100001 10002 1 1/5/2011 9:00 0.125 1
        100002 10001 1 1/5/2011 9:00 0.135 2
        100003 10001 3 1/5/2011 9:00 0.115 3
    """)
    # 12 + 12, 14, and 34.5 of three together is 34
    assert boards(path)["spend 2011-01"] == [(1, "3", 34), (2, "1", 24), (3, "2", 14)]


@pytest.mark.parametrize("price", ["1.00", "0.00"])
def test_an_invoice_is_of_the_time_of_its_first_row_in_the_file_even_a_skipped_one(
    write: Write, price: str
) -> None:
    path = write(f"""
        100001 10001 1 1/31/2011 23:59 {price} 1
        100001 10002 1 2/1/2011 0:00 2.00 1
        100002 10001 1 2/1/2011 0:00 {price} 2
        100002 10002 1 1/31/2011 23:59 2.00 2
    """)
    assert [entry[1] for entry in boards(path)["spend 2011-01"]] == ["1"]
    assert [entry[1] for entry in boards(path)["spend 2011-02"]] == ["2"]


def test_rows_of_an_invoice_belong_together_wherever_they_stand(write: Write) -> None:
    path = write("""
        100001 10001 1 1/5/2011 9:00 0.60 1
        100002 10001 1 1/5/2011 9:00 0.60 2
        100001 10002 1 1/5/2011 9:00 0.60 1
    """)
    assert points(path) == {"100001": 1, "100002": 0}


@pytest.mark.parametrize(
    ("code", "earned"),
    [
        ("10001", 7),
        ("10001A", 7),
        ("100012", 7),
        ("POST", 0),
        ("C2", 0),
        ("1000", 0),
        ("A10001", 0),
    ],
)
def test_only_codes_starting_with_five_digits_earn(write: Write, code: str, earned: int) -> None:
    assert points(write(f"100001 {code} 1 1/5/2011 9:00 7.00 1")) == {"100001": earned}


@pytest.mark.parametrize(
    ("pence", "shares"),
    [
        ([333, 333, 334], [3, 3, 4]),  # 3.33 3.33 3.34
        ([150, 150], [2, 1]),  # 1.5 1.5: the earlier line first
        ([50, 150, 150], [1, 1, 1]),  # 3 points: 0.43 1.29 1.29
        ([10, 20, 30], [0, 0, 0]),  # no point to share
        ([90, 90, 90], [1, 1, 0]),  # 2 points: 0.67 each
    ],
)
def test_points_are_shared_by_largest_remainder(
    write: Write, pence: list[int], shares: list[int]
) -> None:
    rows = [f"100001 1000{i} 1 1/5/2011 9:00 {p / 100} 1" for i, p in enumerate(pence)]
    rows.insert(1, "100001 POST 1 1/5/2011 9:00 99.00 1")
    found = section(write("\n".join(rows)), "purchases")["100001"]
    assert found["line_points"] == [shares[0], 0, *shares[1:]]


def test_prices_below_half_a_penny_make_a_purchase_without_points(write: Write) -> None:
    found = summary(write("100001 10001 1 1/5/2011 9:00 0.001 1"))
    assert pick(found, "members", "purchases", "skipped_lines", "points_issued") == [1, 1, 0, 0]
    assert found["top10"] == []


# Tiers


def test_a_level_counts_from_the_next_midnight_and_the_product_is_rounded_once(
    write: Write,
) -> None:
    path = write("""
        100001 10001 1 1/5/2011 9:00 500.00 1
        100002 10001 1 1/5/2011 23:59 1.99 1
        100003 10001 1 1/6/2011 0:00 1.99 1
        100004 10001 1 1/5/2011 9:00 499.99 2
        100005 10001 1 1/6/2011 9:00 1.99 2
        100006 10001 1 1/5/2011 9:00 2000.00 3
        100007 10001 1 1/6/2011 9:00 1.99 3
    """)
    # 1.99 at 1, 3/2 and 2 is 1.99, 2.985 and 3.98
    assert points(path) == {
        "100001": 500, "100002": 1, "100003": 2, "100004": 499,
        "100005": 1, "100006": 2000, "100007": 3,
    }  # fmt: skip
    assert tiers(path) == [0, 2, 1]


def test_tiers_of_the_summary_are_those_after_the_last_day_of_the_whole_file(write: Write) -> None:
    assert tiers(write("100001 10001 1 1/5/2011 9:00 500.00 1")) == [0, 1, 0]


def test_postage_does_not_climb(write: Write) -> None:
    assert tiers(write("100001 POST 1 1/5/2011 9:00 500.00 1")) == [1, 0, 0]


def test_of_two_decisions_for_one_midnight_the_later_stands(write: Write) -> None:
    path = write("""
        100001 10001 10 1/5/2011 9:00 200.00 1
        C00002 10001 -10 1/5/2011 9:16 200.00 1
        100003 10001 1 1/6/2011 9:00 500.00 1
        100004 10002 2 1/7/2011 9:00 750.00 1
        C00005 10002 -1 1/7/2011 9:01 750.00 1
        100006 10003 1 1/8/2011 9:00 1.00 1
    """)
    assert {k: v["tier"] for k, v in section(path, "purchases").items()} == {
        "100001": "member", "100003": "member", "100004": "silver", "100006": "silver",
    }  # fmt: skip
    assert section(path, "members")["1"]["timeline"] == {
        "2011-01-06": "member", "2011-01-07": "silver",
        "2011-01-08": "silver", "2011-01-09": "silver",
    }  # fmt: skip


def test_a_return_lowers_the_level_at_the_next_midnight(write: Write) -> None:
    path = write("""
        100001 10001 3 1/5/2011 9:00 200.00 1
        100001 POST 1 1/5/2011 9:00 50.00 1
        C00002 POST -1 1/6/2011 9:00 50.00 1
        C00003 10001 -1 1/7/2011 9:00 200.00 1
        100004 10002 1 1/7/2011 9:01 1.00 1
        100005 10002 1 1/8/2011 9:00 1.00 1
    """)
    found = section(path, "purchases")
    assert [found[n]["tier"] for n in ("100004", "100005")] == ["silver", "member"]


@pytest.mark.parametrize(
    ("bought", "decided", "level"),
    [
        ("1/5/2010", "1/4/2011", "silver"),
        ("1/5/2010", "1/5/2011", "member"),
        ("2/28/2011", "2/29/2012", "member"),
        ("3/1/2011", "2/29/2012", "silver"),
    ],
)
def test_the_window_is_twelve_months_without_its_first_day(
    write: Write, bought: str, decided: str, level: str
) -> None:
    path = write(f"""
        100001 10001 1 {bought} 9:00 500.00 1
        100002 10001 1 {decided} 9:00 1.00 1
    """)
    assert section(path, "members")["1"]["tier"] == level


# Returns


def test_returns_match_newest_first_then_higher_number_then_later_line(write: Write) -> None:
    path = write("""
        100003 10001 1 1/6/2011 9:00 1.00 1
        100001 10001 1 1/7/2011 9:00 2.00 1
        100002 10001 1 1/7/2011 9:00 4.00 1
        100002 10001 1 1/7/2011 9:00 8.00 1
        C00001 10001 -1 1/8/2011 9:00 1.00 1
        C00002 10001 -1 1/8/2011 9:01 1.00 1
        C00003 10001 -1 1/8/2011 9:02 1.00 1
        C00004 10001 -1 1/8/2011 9:03 1.00 1
    """)
    assert points(path, "reversals") == {
        "C00001 of 100002": 8, "C00002 of 100002": 4, "C00003 of 100001": 2, "C00004 of 100003": 1,
    }  # fmt: skip


def test_never_more_units_come_back_than_are_unreturned_and_the_rest_is_unmatched(
    write: Write,
) -> None:
    path = write("""
        100001 10001 3 1/5/2011 9:00 1.00 1
        100002 10001 2 1/6/2011 9:00 1.00 1
        C00003 10001 -4 1/7/2011 9:00 1.00 1
        C00004 10001 -4 1/8/2011 9:00 1.00 1
        C00004 10002 -7 1/8/2011 9:00 1.00 1
        C00005 10001 -1 1/9/2011 9:00 1.00 1
    """)
    assert points(path, "reversals") == {
        "C00003 of 100002": 2, "C00003 of 100001": 2, "C00004 of 100001": 1,
    }  # fmt: skip
    names = ("reversals", "return_lines", "unmatched_return_lines", "unmatched_return_units")
    assert pick(summary(path), *names) == [3, 4, 3, 11]


def test_only_purchases_before_the_return_in_replay_order_are_matched(write: Write) -> None:
    path = write("""
        100009 10001 1 1/5/2011 9:01 1.00 1
        C00001 10001 -2 1/5/2011 9:00 1.00 1
        100008 10001 1 1/5/2011 9:00 1.00 1
    """)
    assert list(section(path, "reversals")) == ["C00001 of 100008"]  # digits sort before C


def test_lines_of_others_and_of_other_codes_and_skipped_lines_are_not_matched(write: Write) -> None:
    path = write("""
        100001 10001 1 1/5/2011 9:00 1.00 1
        100001 10002 1 1/5/2011 9:00 0.00 1
        100001 10003A 1 1/5/2011 9:00 1.00 1
        100002 10004 1 1/5/2011 9:00 1.00 2
        C00001 10002 -1 1/6/2011 9:00 1.00 1
        C00001 10003B -1 1/6/2011 9:00 1.00 1
        C00001 10004 -1 1/6/2011 9:00 1.00 1
    """)
    found = summary(path)
    assert pick(found, "reversals", "unmatched_return_lines", "points_reversed") == [0, 3, 0]


def test_customers_with_returns_alone_are_no_members_but_their_lines_count(write: Write) -> None:
    path = write("""
        C00001 10001 -3 1/5/2011 9:00 1.00 1
        C00001 M -1 1/5/2011 9:00 99.00 1
    """)
    names = ("members", "reversals", "return_lines", "unmatched_return_lines")
    assert pick(summary(path), *names, "unmatched_return_units") == [0, 0, 2, 2, 4]


def test_a_return_of_postage_is_a_reversal_that_gives_back_nothing(write: Write) -> None:
    path = write("""
        100001 10001 1 1/5/2011 9:00 5.00 1
        100001 POST 1 1/5/2011 9:00 5.00 1
        C00001 POST -1 1/6/2011 9:00 5.00 1
    """)
    assert pick(summary(path), "reversals", "points_reversed", "points_available") == [1, 0, 5]


def test_floors_are_of_totals_so_that_the_last_return_takes_the_rest(write: Write) -> None:
    path = write("""
        100001 10001 3 1/5/2011 9:00 3.34 1
        100001 10002 3 1/5/2011 9:00 1.67 1
        C00001 10001 -1 1/6/2011 9:00 3.34 1
        C00002 10001 -1 1/7/2011 9:00 3.34 1
        C00003 10001 -1 1/8/2011 9:00 3.34 1
        C00004 10002 -1 1/9/2011 9:00 1.67 1
        C00004 10002 -1 1/9/2011 9:00 1.67 1
    """)
    # 1503 pence: 15 points as 10 and 5; two rows of one invoice are one reversal
    assert list(points(path, "reversals").values()) == [3, 3, 4, 3]
    assert [found["pence"] for found in section(path, "reversals").values()] == [334, 334, 334, 334]


def test_a_return_is_of_the_points_given_then_not_of_todays_multiplier_or_price(
    write: Write,
) -> None:
    path = write("""
        100001 10001 10 1/5/2011 9:00 100.00 1
        C00001 10001 -1 1/6/2011 9:00 7.00 1
    """)
    assert summary(path)["points_reversed"] == 100


# A wallet in and out of debt: 600 points, of which five-pounds takes 500, then 300 at 3/2.
DEBT = """
    100001 10001 10 2/1/2011 9:00 60.00 1
    100002 10002 1 3/2/2011 9:00 200.00 1
    C00001 10001 -10 3/3/2011 9:00 60.00 1
"""


def test_a_return_takes_its_own_points_first_then_others_then_makes_debt(write: Write) -> None:
    path = write(DEBT)
    assert section(path, "reversals") == {
        "C00001 of 100001": {
            "points": 600, "own": 100, "others": 300, "debt": 200, "pence": 60_000,
        }
    }  # fmt: skip
    names = ("points_reversed", "points_redeemed", "points_available", "points_debt")
    assert pick(summary(path), *names) == [600, 500, 0, 200]


def test_own_points_go_before_older_ones_of_others(write: Write) -> None:
    path = write("""
        100001 10001 1 2/1/2011 9:00 30.00 1
        100002 10002 1 2/2/2011 9:00 20.00 1
        C00001 10002 -1 2/3/2011 9:00 20.00 1
    """)
    assert section(path, "reversals")["C00001 of 100002"]["own"] == 20


@pytest.mark.parametrize(("pounds", "available", "debt"), [(100, 0, 50), (200, 100, 0)])
def test_debt_is_repaid_by_the_next_points(
    write: Write, pounds: int, available: int, debt: int
) -> None:
    # Still silver on the day of the return: 150 and 300 points.
    path = write(DEBT + f"100003 10003 1 3/3/2011 9:01 {pounds} 1")
    assert pick(summary(path), "points_available", "points_debt") == [available, debt]


def test_debt_is_repaid_by_a_bonus_too(write: Write) -> None:
    pennies = "".join(f"10001{n} 10003 1 3/4/2011 9:0{n} 0.01 1\n" for n in range(3))
    found = summary(write(DEBT + pennies))
    assert pick(found, "points_bonus", "points_available", "points_debt") == [200, 0, 0]


def test_points_that_repaid_debt_are_not_there_to_be_taken_again(write: Write) -> None:
    later = "100003 10003 1 3/3/2011 9:01 100.00 1\nC00002 10003 -1 3/5/2011 9:00 100.00 1"
    path = write(DEBT + later)
    assert section(path, "reversals")["C00002 of 100003"]["debt"] == 150
    assert pick(summary(path), "points_available", "points_debt") == [0, 200]


# Challenges


def test_five_purchases_with_products_bring_the_bonus_once_and_for_good(write: Write) -> None:
    four = "\n".join(f"10000{n} 10001 1 1/5/2011 9:0{n} 0.50 1" for n in range(4))
    postage = "\n100005 POST 1 1/5/2011 9:05 0.50 1"
    fifth = "\n100006 10001 1 1/5/2011 9:06 0.50 1\nC00001 10001 -5 1/5/2011 9:07 0.50 1"
    more = "\n" + "\n".join(f"20000{n} 10001 1 1/6/2011 9:0{n} 0.50 1" for n in range(6))
    for text, bonus in ((four, 0), (four + postage, 0), (four + fifth, 200), (four + more, 200)):
        found = summary(write(text))
        assert pick(found, "points_bonus", "points_available") == [bonus, bonus]
        assert found["badges"] == {"regular": bonus // 200, "explorer": 0, "monthly-habit": 0}


def test_a_purchase_returned_before_the_fifth_still_counts(write: Write) -> None:
    rows = [f"10000{n} 10001 1 1/5/2011 9:0{n} 1.00 1" for n in range(5)]
    rows.insert(2, "C00001 10001 -2 1/5/2011 9:01 1.00 1")
    assert summary(write("\n".join(rows)))["points_bonus"] == 200


def test_fifty_distinct_product_codes_make_an_explorer(write: Write) -> None:
    rows = [f"100001 {10001 + n} 1 1/5/2011 9:00 0.01 1" for n in range(30)]
    rows += [f"100002 {10021 + n} 1 1/6/2011 9:00 0.01 1" for n in range(29)]
    rows += ["100002 POST 1 1/6/2011 9:00 0.01 1", "100002 10060 1 1/6/2011 9:00 0.00 1"]
    assert badges(write("\n".join(rows)))["explorer"] == 0
    rows += ["100003 10049A 1 1/7/2011 9:00 0.01 1"]
    assert badges(write("\n".join(rows)))["explorer"] == 1


@pytest.mark.parametrize(
    ("days", "habits"),
    [
        (["12/31/2010", "1/1/2011", "2/28/2011"], 1),
        (["12/1/2010", "1/1/2011", "3/1/2011"], 0),
        (["12/1/2010", "12/2/2010", "1/31/2011"], 0),
        (["11/1/2010", "1/1/2011", "2/1/2011", "3/1/2011", "4/1/2011"], 1),
    ],
)
def test_purchases_in_three_months_in_a_row_are_a_habit(
    write: Write, days: list[str], habits: int
) -> None:
    rows = [f"10000{n} 10001 1 {day} 9:00 0.01 1" for n, day in enumerate(days)]
    assert badges(write("\n".join(rows)))["monthly-habit"] == habits


# Boards


def test_equals_share_a_rank_and_are_listed_by_who_got_there_first(write: Write) -> None:
    path = write("""
        100001 10001 1 1/5/2011 9:00 1.00 1
        100002 10001 1 1/5/2011 9:01 3.00 2
        100003 10001 1 1/5/2011 9:02 2.00 1
        100004 10001 1 1/5/2011 9:03 0.99 1
        100005 10001 1 1/5/2011 9:04 9.00 4
        100006 10001 1 1/5/2011 9:05 1.00 3
        C00001 10001 -1 1/5/2011 9:06 9.00 4
        100007 POST 1 1/5/2011 9:07 1.00 5
    """)
    # Customer 1 reached 3 points after customer 2; points that are taken back stay on the board.
    ranked = [(1, "4", 9), (2, "2", 3), (2, "1", 3), (4, "3", 1)]
    assert boards(path)["top-earners"] == ranked
    assert summary(path)["top10"] == [["4", 9], ["2", 3], ["1", 3], ["3", 1]]


def test_the_top_are_ten_rows_and_customers_are_text(write: Write) -> None:
    rows = [f"1000{n:02} 10001 {n} 1/5/2011 9:{n:02} 1.00 {n:05}" for n in range(1, 13)]
    assert summary(write("\n".join(rows)))["top10"] == [[f"{n:05}", n] for n in range(12, 2, -1)]


# Redemptions


def test_members_redeem_in_the_order_of_numbers_as_text_until_sold_out(write: Write) -> None:
    earned = dict.fromkeys(range(1000, 1101), 500) | {1000: 499, 9: 499, 2: 500}
    path = write("\n".join(f"1{c:05} 10001 1 2/1/2011 9:00 {p} {c}" for c, p in earned.items()))
    # As text 1000 (499), 1001…1100 (100 of 500), 2 (sold out), 9 (sold out before insufficient).
    outcomes = section(path, "redemptions")["five-pounds"]
    assert outcomes == {"1000": "INSUFFICIENT_POINTS", "2": "SOLD_OUT", "9": "SOLD_OUT"} | {
        str(customer): "completed" for customer in range(1001, 1101)
    }
    assert summary(path)["redemptions"] == {
        "five-pounds": {"completed": 100, "SOLD_OUT": 2, "INSUFFICIENT_POINTS": 1},
        "ten-pounds": {"completed": 0, "SOLD_OUT": 0, "INSUFFICIENT_POINTS": 103},
    }
    assert summary(path)["points_redeemed"] == 50_000


def test_five_pounds_come_before_march_and_ten_pounds_after_the_end(write: Write) -> None:
    path = write("""
        100001 10001 1 2/28/2011 23:59 499.00 1
        100002 10001 1 3/1/2011 0:00 501.00 1
        100003 10001 1 2/28/2011 9:00 500.00 2
        100004 10001 1 3/1/2011 9:00 5000.00 3
    """)
    assert details(path)["redemptions"] == {
        "five-pounds": {"1": "INSUFFICIENT_POINTS", "2": "completed"},
        "ten-pounds": {"1": "completed", "2": "INSUFFICIENT_POINTS", "3": "completed"},
    }


def test_a_bonus_of_the_day_before_can_be_redeemed(write: Write) -> None:
    rows = [f"10000{n} 10001 1 2/28/2011 9:0{n} 60.00 1" for n in range(5)]
    found = summary(write("\n".join(rows)))
    assert pick(found, "points_bonus", "points_redeemed") == [200, 500]


def test_the_debt_that_a_return_makes_keeps_a_member_from_redeeming(write: Write) -> None:
    found = summary(write(DEBT + "100003 10003 1 3/3/2011 9:01 799.00 1"))
    # 1198 points less 200 owed
    assert pick(found, "points_available", "points_debt", "points_redeemed") == [998, 0, 500]


# Broken rows


@pytest.mark.parametrize(
    "row",
    [
        "1,{invoice},10002,x,one,1/5/2011 9:00,1.00,1,UK",
        "1,{invoice},10002,x,1.5,1/5/2011 9:00,1.00,1,UK",
        "1,{invoice},10002,x,1,1/5/2011 9:00,£1,1,UK",
        "1,{invoice},10002,x,1,1/5/2011 9:00,nan,1,UK",
        "1,{invoice},10002,x,1,13/1/2011 9:00,1.00,1,UK",
        "1,{invoice},10002,x,1,2/29/2011 9:00,1.00,1,UK",
        "1,{invoice},10002,x,1,1/5/2011 24:00,1.00,1,UK",
        "1,{invoice},10002,x,1,2011-01-05 09:00,1.00,1,UK",
        "1,{invoice},10002,x,1,1/5/2011 9:00,1.00,,UK",
        "1,{invoice},10002,x,1,1/5/2011 9:00,1.00, ,UK",
        "1,{invoice},10002,x,1,1/5/2011 9:00,1.00,2,UK",
        "1,{invoice},,x,1,1/5/2011 9:00,1.00,1,UK",
        "1,{invoice},10002,x,1,1/5/2011 9:00,1.00,1",
        "1,{invoice},10002,x,1,1/5/2011 9:00,1.00,1,UK,more",
        "1,{invoice}",
    ],
)
@pytest.mark.parametrize("invoice", ["100002", "C00002"])
def test_a_broken_row_skips_its_whole_invoice_which_enters_no_other_count(
    write: Write, row: str, invoice: str
) -> None:
    good = "100001 10001 1 1/5/2011 9:00 3.00 1"
    expected = summary(write(good))
    path = write(f"{invoice} 10001 -1 1/5/2011 9:01 1.00 1\n{good}")
    text = path.read_text(encoding="utf-8") + row.format(invoice=invoice) + "\n"
    path.write_text(text + f"9,{invoice},10003,x,0,1/5/2011 9:02,1.00,1,UK\n", encoding="utf-8")
    found = details(path)
    assert found["summary"] == expected
    assert list(found["broken_rows"]) == ["4"]


def test_a_row_without_an_invoice_number_harms_no_other(write: Write) -> None:
    path = write("100001 10001 1 1/5/2011 9:00 3.00 1")
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "1,,10001,x,1,1/5/2011 9:00,1.00,1,UK\n\n", encoding="utf-8")
    found = details(path)
    assert list(found["broken_rows"]) == ["3"]
    assert pick(found["summary"], "purchases", "points_issued") == [1, 3]


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("InvoiceNo,StockCode\n", encoding="utf-8")
    with pytest.raises(ValueError, match="the first row is not"):
        summary(path)


def test_a_file_without_rows_has_an_empty_summary(write: Write) -> None:
    found = summary(write(""))
    assert pick(found, "members", "purchases", "points_available", "top10") == [0, 0, 0, []]


# The real file


def test_the_real_file_comes_to_these_numbers() -> None:
    found = details(REAL_FILE)
    assert found["broken_rows"] == {}
    assert found["summary"] == {
        "members": 344,
        "purchases": 1063,
        "reversals": 235,
        "skipped_lines": 5,
        "return_lines": 636,
        "unmatched_return_lines": 107,
        "unmatched_return_units": 1457,
        "points_issued": 805855,
        "points_bonus": 9600,
        "points_reversed": 90472,
        "points_redeemed": 110000,
        "points_available": 614991,
        "points_debt": 8,
        "tiers": {"member": 152, "silver": 132, "gold": 60},
        "badges": {"regular": 48, "explorer": 97, "monthly-habit": 51},
        "top10": [
            ["12415", 94053], ["12346", 77183], ["13089", 53873], ["13081", 26557],
            ["12753", 22288], ["12748", 15592], ["12731", 13654], ["12681", 12971],
            ["13001", 12669], ["12901", 12375],
        ],
        "redemptions": {
            "five-pounds": {"completed": 100, "SOLD_OUT": 35, "INSUFFICIENT_POINTS": 99},
            "ten-pounds": {"completed": 60, "SOLD_OUT": 171, "INSUFFICIENT_POINTS": 113},
        },
    }  # fmt: skip


def test_on_the_real_file_the_hour_of_a_bonus_changes_nothing_in_the_summary() -> None:
    assert summary(REAL_FILE, bonus_at_day_end=True) == summary(REAL_FILE)


def test_the_command_prints_the_summary_or_the_details(write: Write) -> None:
    path = write(DEBT)
    for options, expected in (([], summary(path)), (["--details"], details(path))):
        command = [sys.executable, str(MODEL), str(path), *options]
        run = subprocess.run(command, capture_output=True, check=True)
        assert json.loads(run.stdout) == json.loads(json.dumps(expected))
