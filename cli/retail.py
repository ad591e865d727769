"""A retailer's invoice file as documents: purchases, and the reversals that its credit notes mean.

The file is the "Online Retail" format: one row per invoice line, with the columns row number,
InvoiceNo, StockCode, Description, Quantity, InvoiceDate (month/day/year hour:minute, shop time),
UnitPrice (pounds), CustomerID, Country. Everything here is a pure function of the file, so that a
second run of a replay sends equal contents.
"""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

SHOP_ZONE = ZoneInfo("Europe/London")
COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)
CREDIT_NOTE_PREFIX = "C"
PRODUCT = "product"
SERVICE = "service"
QUANTITY_MAX = 1_000_000_000
AMOUNT_MINOR_MAX = 10**15
INVOICE_MAX = 63
"""So that the pair of two numbers and a colon is a reversal's identifier, of at most 128."""
TEXT_MAX = 128
_WHOLE = re.compile(r"-?[0-9]{1,10}")
_DECIMAL = re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,20})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the file; `line` is its line in the file, the header being line 1."""

    line: int
    invoice: str
    sku: str
    quantity: int
    occurred_time: datetime
    price: Decimal
    customer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRow:
    """A row that cannot be read; its whole invoice is skipped."""

    line: int
    invoice: str
    complaint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchaseLine:
    """A line of a purchase; `amount_minor` is half_even(quantity x price x 100) pence."""

    sku: str
    category: str
    quantity: int
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """An invoice with at least one line of positive quantity and price."""

    invoice: str
    customer: str
    occurred_time: datetime
    lines: tuple[PurchaseLine, ...]

    @property
    def amount_minor(self) -> int:
        """The pence of all lines."""
        return sum(line.amount_minor for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """The units that one credit note gives back of one purchase, by line number (from 1)."""

    credit_note: str
    invoice: str
    occurred_time: datetime
    units: tuple[tuple[int, int], ...]

    @property
    def reversal_id(self) -> str:
        """The identifier of the reversal: the pair that it is about."""
        return f"{self.credit_note}:{self.invoice}"


Document = Purchase | Return


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What the file itself says, beside its documents."""

    skipped_lines: int
    return_lines: int
    unmatched_return_lines: int
    unmatched_return_units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayable:
    """A file read: its documents in replay order, its counts, and the rows that are broken."""

    documents: tuple[Document, ...]
    counts: Counts
    broken: tuple[BrokenRow, ...]

    def days(self) -> Iterator[tuple[Document, ...]]:
        """The documents of each shop day, in order; days without documents do not appear."""
        day: list[Document] = []
        for document in self.documents:
            if day and shop_date(day[0]) != shop_date(document):
                yield tuple(day)
                day = []
            day.append(document)
        if day:
            yield tuple(day)


class NotAnInvoiceFile(Exception):
    """The file as a whole cannot be read."""


def shop_date(document: Document) -> str:
    """The shop's calendar day of a document, as ISO text."""
    return document.occurred_time.astimezone(SHOP_ZONE).date().isoformat()


def read(path: Path) -> Replayable:
    """Read a file into documents; raises NotAnInvoiceFile when its header is another one."""
    rows, broken = _rows(path)
    bad = {row.invoice for row in broken}
    invoices: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.invoice not in bad:
            invoices[row.invoice].append(row)
    purchases: list[Purchase] = []
    credit_notes: list[Sequence[Row]] = []
    skipped = 0
    for invoice, lines in invoices.items():
        if invoice.startswith(CREDIT_NOTE_PREFIX):
            credit_notes.append(lines)
            continue
        kept = tuple(_purchase_line(row) for row in lines if row.quantity > 0 and row.price > 0)
        skipped += len(lines) - len(kept)
        if kept:
            purchases.append(
                Purchase(
                    invoice=invoice,
                    customer=lines[0].customer,
                    occurred_time=lines[0].occurred_time,
                    lines=kept,
                )
            )
    returns, unmatched_lines, unmatched_units = match_returns(purchases, credit_notes)
    documents: list[Document] = [*purchases, *returns]
    documents.sort(key=_replay_order)
    return Replayable(
        documents=tuple(documents),
        counts=Counts(
            skipped_lines=skipped,
            return_lines=sum(len(lines) for lines in credit_notes),
            unmatched_return_lines=unmatched_lines,
            unmatched_return_units=unmatched_units,
        ),
        broken=tuple(broken),
    )


def match_returns(
    purchases: Iterable[Purchase], credit_notes: Iterable[Sequence[Row]]
) -> tuple[list[Return], int, int]:
    """Match credit notes to purchases: the returns, then the lines and units left over.

    Each line, in file order, takes units of the same customer's earlier purchases of the same stock
    code: the newest purchase first, then the higher invoice number, then the later line; never more
    units of a line than are still unreturned.
    """
    bought: dict[tuple[str, str], list[tuple[datetime, str, int]]] = defaultdict(list)
    left: dict[tuple[str, int], int] = {}
    for purchase in purchases:
        for number, line in enumerate(purchase.lines, 1):
            place = (purchase.occurred_time, purchase.invoice, number)
            bought[purchase.customer, line.sku].append(place)
            left[purchase.invoice, number] = line.quantity
    for places in bought.values():
        places.sort(reverse=True)
    returns: list[Return] = []
    unmatched_lines = unmatched_units = 0
    for rows in sorted(credit_notes, key=lambda rows: (rows[0].occurred_time, rows[0].invoice)):
        occurred, credit_note = rows[0].occurred_time, rows[0].invoice
        pairs: dict[str, Counter[int]] = {}
        for row in rows:
            units = -row.quantity
            for time, invoice, number in bought[rows[0].customer, row.sku]:
                taken = min(units, left[invoice, number])
                if (time, invoice) < (occurred, credit_note) and taken > 0:
                    left[invoice, number] -= taken
                    units -= taken
                    pairs.setdefault(invoice, Counter())[number] += taken
            if units > 0:
                unmatched_lines += 1
                unmatched_units += units
        returns += [
            Return(
                credit_note=credit_note,
                invoice=invoice,
                occurred_time=occurred,
                units=tuple(sorted(lines.items())),
            )
            for invoice, lines in pairs.items()
        ]
    return returns, unmatched_lines, unmatched_units


def _replay_order(document: Document) -> tuple[datetime, str]:
    number = document.invoice if isinstance(document, Purchase) else document.credit_note
    return document.occurred_time, number


def _rows(path: Path) -> tuple[list[Row], list[BrokenRow]]:
    rows: list[Row] = []
    broken: list[BrokenRow] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(file)
    except UnicodeDecodeError as error:
        raise NotAnInvoiceFile(f"{path}: is not UTF-8 text") from error
    header = _alone(lines[0]) if lines else []
    if tuple(header[1:]) != COLUMNS:
        wanted, got = ", ".join(COLUMNS), ", ".join(header[1:]) or "nothing"
        raise NotAnInvoiceFile(f"{path}: the header must name {wanted}, it names {_short(got)}")
    customers: dict[str, str] = {}
    for line, fields in _records(lines, 1):
        read_row = _row(line, fields, customers)
        if isinstance(read_row, Row):
            rows.append(read_row)
        else:
            broken.append(read_row)
    return rows, broken


def _records(lines: Sequence[str], start: int) -> Iterator[tuple[int, Sequence[str]]]:
    """The fields of each row from `lines[start]` on, with the line in the file that it starts on.

    A quote that is not closed would take the rows behind it along; such a line stands for itself,
    so that it breaks its own invoice only.
    """
    while start < len(lines):
        reader = csv.reader((lines[at] for at in range(start, len(lines))), strict=True)
        begin = start
        try:
            for fields in reader:
                end = begin + reader.line_num
                if end - start > 1 and len(fields) != len(COLUMNS) + 1:
                    break
                yield start + 1, fields
                start = end
            else:
                return
        except csv.Error:
            pass
        yield start + 1, _alone(lines[start])
        start += 1


def _alone(line: str) -> Sequence[str]:
    """The fields of a line that quotes badly, whatever follows it."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:  # a field beyond the reader's limit
        return line.split(",")


def _row(line: int, fields: Sequence[str], customers: dict[str, str]) -> Row | BrokenRow:
    """Read one row; `customers` remembers whose each invoice is."""
    invoice = fields[1].strip() if len(fields) > 1 else ""

    def broken(complaint: str) -> BrokenRow:
        return BrokenRow(line=line, invoice=invoice, complaint=complaint)

    if len(fields) != len(COLUMNS) + 1:
        return broken(f"has {len(fields)} columns instead of {len(COLUMNS) + 1}")
    _, _, sku, _, quantity, date, price, customer, _ = (field.strip() for field in fields)
    for name, text, limit in (
        ("InvoiceNo", invoice, INVOICE_MAX),
        ("StockCode", sku, TEXT_MAX),
        ("CustomerID", customer, TEXT_MAX),
    ):
        if not 1 <= len(text) <= limit or "\0" in text:
            return broken(f"{name} must have 1 to {limit} characters, none of them U+0000")
    if customers.setdefault(invoice, customer) != customer:
        return broken(
            f"CustomerID {customer} differs from {customers[invoice]} of the same invoice"
        )
    if not _WHOLE.fullmatch(quantity) or abs(int(quantity)) > QUANTITY_MAX:
        return broken(
            f"Quantity {_short(quantity)} is not a whole number of at most {QUANTITY_MAX}"
        )
    if not _DECIMAL.fullmatch(price):
        return broken(f"UnitPrice {_short(price)} is not a number such as 2.95")
    units, pounds = int(quantity), Decimal(price)
    if abs(pounds * units * 100) > AMOUNT_MINOR_MAX:
        return broken(f"Quantity {quantity} at {price} is beyond {AMOUNT_MINOR_MAX} pence")
    try:
        local = datetime.strptime(date, "%m/%d/%Y %H:%M").replace(tzinfo=SHOP_ZONE)
    except ValueError:
        return broken(f"InvoiceDate {_short(date)} is not month/day/year hour:minute")
    return Row(
        line=line,
        invoice=invoice,
        sku=sku,
        quantity=units,
        occurred_time=local.astimezone(UTC),
        price=pounds,
        customer=customer,
    )


def _purchase_line(row: Row) -> PurchaseLine:
    pence = (row.price * row.quantity * 100).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
    is_product = row.sku[:5].isascii() and row.sku[:5].isdigit() and len(row.sku) >= 5
    return PurchaseLine(
        sku=row.sku,
        category=PRODUCT if is_product else SERVICE,
        quantity=row.quantity,
        amount_minor=int(pence),
    )


def _short(text: str) -> str:
    """A text as a complaint shows it."""
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
