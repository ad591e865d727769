"""Reading a retailer's file: a pure function, checked by hand and by properties."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli import retail

HEADER = ",InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
GOOD = "2,536366,22633,HAND WARMER,6,12/1/2010 8:28,1.85,17850,United Kingdom"


def row(
    invoice: str = "536365",
    sku: str = "85123A",
    quantity: object = 6,
    date: str = "12/1/2010 8:26",
    price: object = "2.55",
    customer: str = "17850",
) -> str:
    return f"1,{invoice},{sku},T-LIGHT HOLDER,{quantity},{date},{price},{customer},United Kingdom"


def read(folder: Path, *rows: str) -> retail.Replayable:
    file = folder / "invoices.csv"
    file.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8", newline="")
    return retail.read(file)


def purchases(file: retail.Replayable) -> list[retail.Purchase]:
    return [document for document in file.documents if isinstance(document, retail.Purchase)]


def returns(file: retail.Replayable) -> list[retail.Return]:
    return [document for document in file.documents if isinstance(document, retail.Return)]


def test_an_invoice_becomes_a_purchase_with_half_even_pence(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        row(sku="85123A", quantity=1, price="0.125"),
        row(sku="85123", quantity=1, price="0.135"),
        row(sku="POST", quantity=2, price="18.00"),
        row(sku="8512", quantity=1, price="1"),
        row(sku="22222", quantity=0, price="1"),
        row(sku="22222", quantity=1, price="0"),
    )
    (purchase,) = purchases(file)
    assert [(line.sku, line.category, line.amount_minor) for line in purchase.lines] == [
        ("85123A", "product", 12),
        ("85123", "product", 14),
        ("POST", "service", 3600),
        ("8512", "service", 100),
    ]
    assert purchase.amount_minor == 3726
    assert file.counts == retail.Counts(
        skipped_lines=2, return_lines=0, unmatched_return_lines=0, unmatched_return_units=0
    )
    assert file.broken == ()


def test_an_invoice_without_a_line_to_pay_is_no_purchase(tmp_path: Path) -> None:
    file = read(tmp_path, row(quantity=-3), row(price="-1"))
    assert file.documents == ()
    assert file.counts.skipped_lines == 2


@pytest.mark.parametrize(
    ("date", "utc"),
    [
        ("12/1/2010 8:26", "2010-12-01T08:26:00+00:00"),
        ("3/28/2011 0:30", "2011-03-27T23:30:00+00:00"),
    ],
)
def test_times_are_those_of_the_shop_and_of_the_first_row(
    tmp_path: Path, date: str, utc: str
) -> None:
    file = read(tmp_path, row(date=date), row(date="12/9/2011 12:50"))
    assert [document.occurred_time.isoformat() for document in file.documents] == [utc]
    assert len(list(file.days())) == 1


def test_a_day_is_the_shops_day(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        row("2", date="3/28/2011 23:59"),
        row("1", date="3/28/2011 0:00"),
        row("3", date="3/29/2011 0:00"),
        row("0", date="3/28/2011 23:59"),
    )
    numbers = [[document.invoice for document in day] for day in file.days()]
    assert numbers == [["1", "0", "2"], ["3"]]


def test_a_return_takes_the_newest_purchase_then_the_higher_number_then_the_later_line(
    tmp_path: Path,
) -> None:
    file = read(
        tmp_path,
        row("536100", quantity=5, date="12/1/2010 8:00"),
        row("536200", quantity=2, date="12/2/2010 8:00"),
        row("536200", quantity=3, date="12/2/2010 8:00"),
        row("536300", quantity=1, date="12/2/2010 8:00"),
        row("C536400", quantity=-5, date="12/3/2010 8:00"),
        row("C536400", quantity=-7, date="12/3/2010 8:00"),
    )
    assert [(back.reversal_id, back.units) for back in returns(file)] == [
        ("C536400:536300", ((1, 1),)),
        ("C536400:536200", ((1, 2), (2, 3))),
        ("C536400:536100", ((1, 5),)),
    ]
    assert file.counts.return_lines == 2
    assert (file.counts.unmatched_return_lines, file.counts.unmatched_return_units) == (1, 1)


@pytest.mark.parametrize(
    ("why", "credit_note"),
    [
        ("another customer's", row("C2", quantity=-1, date="12/3/2010 8:00", customer="9")),
        ("another article", row("C2", "22222", quantity=-1, date="12/3/2010 8:00")),
        ("a later purchase", row("C2", quantity=-1, date="11/30/2010 8:00")),
        ("nothing bought", row("C2", quantity=-1, date="12/3/2010 8:00", customer="none")),
    ],
)
def test_a_return_of_what_was_not_bought_before_is_counted_as_unmatched(
    tmp_path: Path, why: str, credit_note: str
) -> None:
    file = read(tmp_path, row("1"), credit_note)
    assert returns(file) == [], why
    assert (file.counts.unmatched_return_lines, file.counts.unmatched_return_units) == (1, 1)


def test_at_one_instant_a_credit_note_comes_after_the_invoices_with_digits(tmp_path: Path) -> None:
    file = read(tmp_path, row("C1", quantity=-2), row("9", quantity=6))
    assert [type(document) for document in file.documents] == [retail.Purchase, retail.Return]


def test_credit_notes_are_matched_in_replay_order_not_in_file_order(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        row("C3", quantity=-4, date="12/3/2010 9:00"),
        row("C2", quantity=-4, date="12/3/2010 8:00"),
        row("1", quantity=6, date="12/1/2010 8:00"),
    )
    assert [(back.credit_note, back.units) for back in returns(file)] == [
        ("C2", ((1, 4),)),
        ("C3", ((1, 2),)),
    ]
    assert file.counts.unmatched_return_units == 2


BROKEN = [
    # what is wrong, the row, what is said of it
    ("a column too few", row()[: -len(",United Kingdom")], "has 8 columns instead of 9"),
    ("a column too many", row() + ",x", "has 10 columns instead of 9"),
    ("only a number", "1,536365", "has 2 columns instead of 9"),
    ("no whole quantity", row(quantity="6.5"), "Quantity '6.5' is not a whole number"),
    ("a word as quantity", row(quantity="six"), "Quantity 'six' is not a whole number"),
    ("Python's own digits", row(quantity="1_000"), "Quantity '1_000' is not a whole number"),
    ("too many units", row(quantity=10**9 + 1), "Quantity '1000000001' is not a whole number"),
    ("endless digits", row(quantity="9" * 5000), "is not a whole number of at most 1000000000"),
    ("no price", row(price=""), "UnitPrice '' is not a number"),
    ("a word as price", row(price="free"), "UnitPrice 'free' is not a number"),
    ("a price beyond all bounds", row(price="1e999999"), "UnitPrice '1e999999' is not a number"),
    ("not a number", row(price="NaN"), "UnitPrice 'NaN' is not a number"),
    ("a signalling one", row(price="sNaN"), "UnitPrice 'sNaN' is not a number"),
    ("infinity", row(price="Infinity"), "UnitPrice 'Infinity' is not a number"),
    ("too much money", row(price=10**15), f"is beyond {10**15} pence"),
    ("a product beyond", row(quantity=10**9, price=10**5), f"is beyond {10**15} pence"),
    ("the wrong order of a date", row(date="2010-12-01 08:26"), "is not month/day/year"),
    ("the 30th of February", row(date="2/30/2011 8:26"), "is not month/day/year"),
    ("no date", row(date=""), "InvoiceDate '' is not month/day/year"),
    ("another customer", row() + "\n" + row(customer="9"), "CustomerID 9 differs from 17850"),
    ("no customer", row(customer=""), "CustomerID must have 1 to 128 characters"),
    ("a long article", row(sku="8" * 129), "StockCode must have 1 to 128 characters"),
    ("a long invoice", row(invoice="5" * 64), "InvoiceNo must have 1 to 63 characters"),
    ("a zero character", row(sku="85\0"), "none of them U+0000"),
]


@pytest.mark.parametrize(("why", "text", "complaint"), BROKEN, ids=[each[0] for each in BROKEN])
def test_a_broken_row_skips_its_whole_invoice_and_is_told_by_line(
    tmp_path: Path, why: str, text: str, complaint: str
) -> None:
    invoice = "5" * 64 if "5" * 64 in text else "536365"
    file = read(tmp_path, GOOD, row(invoice), *text.split("\n"), row(invoice))
    told = [each for each in file.broken if complaint in each.complaint]
    first = 3 if invoice != "536365" else 4 + text.count("\n")
    assert (told[0].line, told[0].invoice) == (first, invoice)
    assert [document.invoice for document in file.documents] == ["536366"]
    assert file.counts == retail.Counts(
        skipped_lines=0, return_lines=0, unmatched_return_lines=0, unmatched_return_units=0
    )


def test_a_broken_credit_note_gives_nothing_back_and_enters_no_count(tmp_path: Path) -> None:
    bad, good = (row("C1", quantity=q, date="12/2/2010 8:00") for q in ("x", -6))
    file = read(tmp_path, row("1"), good, bad)
    assert returns(file) == []
    assert file.counts.return_lines == 0
    assert [each.line for each in file.broken] == [4]


def test_rows_are_numbered_by_lines_of_the_file_also_behind_a_quoted_newline(
    tmp_path: Path,
) -> None:
    two_lines = '1,1,85123A,"WHITE\r\nHANGING",6,12/1/2010 8:26,2.55,17850,United Kingdom'
    file = read(tmp_path, two_lines, row("2", quantity="x"), "", row("3", price="y"), two_lines)
    assert [(each.line, each.invoice) for each in file.broken] == [(4, "2"), (5, ""), (6, "3")]
    assert [len(purchase.lines) for purchase in purchases(file)] == [2]


@pytest.mark.parametrize("description", ['"WHITE', '"WHITE "HANGING" HEART', '"' + "x" * 140_000])
def test_a_quote_that_is_not_closed_breaks_its_own_invoice_only(
    tmp_path: Path, description: str
) -> None:
    bad = f"1,1,85123A,{description},6,12/1/2010 8:26,2.55,17850,United Kingdom,more"
    quoted = '1,3,85123A,"WHITE, ""HANGING""",6,12/1/2010 8:26,2.55,17850,United Kingdom'
    file = read(tmp_path, row("1"), bad, row("2"), quoted)
    assert [(each.line, each.invoice) for each in file.broken] == [(3, "1")]
    assert [purchase.invoice for purchase in purchases(file)] == ["2", "3"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "it names 'nothing'"),
        (b"a,b\n1,2\n", "it names 'b'"),
        (HEADER.replace("Quantity", "Qty").encode(), "the header must name InvoiceNo"),
        (HEADER.encode() + b"\n1,\xff\n", "is not UTF-8 text"),
        (b'"' + b"x" * 200_000, "the header must name InvoiceNo"),
    ],
)
def test_a_file_of_another_kind_is_refused_as_a_whole(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    file = tmp_path / "other.csv"
    file.write_bytes(content)
    with pytest.raises(retail.NotAnInvoiceFile) as refused:
        retail.read(file)
    assert complaint in str(refused.value)
    assert str(file) in str(refused.value)


def test_a_byte_order_mark_changes_nothing(tmp_path: Path) -> None:
    expected = read(tmp_path, GOOD)
    file = tmp_path / "marked.csv"
    file.write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\r\n{GOOD}\r\n".encode())
    assert retail.read(file) == expected


line = st.tuples(
    st.sampled_from(["1", "2", "3", "4", "C5", "C6", "C7"]),
    st.sampled_from(["11111", "22222", "POST"]),
    st.integers(-9, 9),
    st.integers(1, 4),
    st.sampled_from(["0", "1.10"]),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(line, max_size=30))
def test_never_are_more_units_returned_than_bought_and_a_second_read_is_equal(
    tmp_path: Path, lines: list[tuple[str, str, int, int, str]]
) -> None:
    rows = [
        row(
            invoice, sku, quantity, f"12/{day}/2010 8:00", price, customer=str(int(invoice[-1]) % 2)
        )
        for invoice, sku, quantity, day, price in lines
    ]
    file = read(tmp_path, *rows)
    assert read(tmp_path, *rows) == file
    assert file.broken == ()
    bought = {
        (purchase.invoice, number): (each.quantity, each.sku)
        for purchase in purchases(file)
        for number, each in enumerate(purchase.lines, 1)
    }
    back: Counter[tuple[str, int]] = Counter()
    times = {purchase.invoice: purchase.occurred_time for purchase in purchases(file)}
    for document in returns(file):
        assert (times[document.invoice], document.invoice) < (
            document.occurred_time,
            document.credit_note,
        )
        for number, units in document.units:
            assert units > 0
            back[document.invoice, number] += units
    assert all(units <= bought[place][0] for place, units in back.items())
    asked = Counter[str]()
    for invoice, sku, quantity, _, _ in lines:
        if invoice.startswith("C") and quantity < 0:
            asked[sku] -= quantity
    given_back = Counter[str]()
    for place, units in back.items():
        given_back[bought[place][1]] += units
    assert sum(asked.values()) == sum(given_back.values()) + file.counts.unmatched_return_units
    identifiers = [document.reversal_id for document in returns(file)]
    assert len(identifiers) == len(set(identifiers))
