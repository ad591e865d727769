"""What the gift shop's half year must come to: a sequential model in plain Python.

It shares no code with the services: their summary is compared with this one.
It reads the CSV, walks through the documents one after the other and keeps everything in memory.
Points and pence are integers; rates are integer ratios; there is no float.

    python tests/oracle/giftshop.py CSV [--details] [--bonus-at-day-end]

When a bonus is credited within its day cannot change the summary.
Nothing expires and reversals may go into debt, so a wallet is one signed number: available less
debt, never both above zero. Purchases, bonuses and reversals add to it and take from it what
depends on lines, units and the tier alone, never on a balance; challenges never look at returns.
Only redemptions ask for the balance, and they happen between days, when all bonuses are paid.
So every number is the same either way; only the split of a reversal into own points, other points
and debt (shown with `--details`) may differ. A test compares both ways on the real file.
"""

import argparse
import csv
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import groupby
from pathlib import Path

HEADER = ",InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
SHAPES = {"InvoiceNo": r".*\S.*", "StockCode": r".*\S.*", "CustomerID": r".*\S.*"}
SHAPES |= {"Quantity": r"-?[0-9]+", "UnitPrice": r"-?[0-9]+(\.[0-9]+)?"}
SHAPES |= {"InvoiceDate": r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{4} [0-9]{1,2}:[0-9]{2}"}
MULTIPLIERS = {"member": Fraction(1), "silver": Fraction(3, 2), "gold": Fraction(2)}
FROM_PENCE = {"silver": 50_000, "gold": 200_000}
FIVE_POUNDS_TIME = datetime(2011, 3, 1)  # noqa: DTZ001 - London's wall clock
REWARDS = {"five-pounds": (500, 100), "ten-pounds": (1_000, 60)}  # price in points, stock
OUTCOMES = ("completed", "SOLD_OUT", "INSUFFICIENT_POINTS")
BADGES = ("regular", "explorer", "monthly-habit")
REGULAR_BONUS = 200
COUNTS = ["skipped_lines", "return_lines", "unmatched_return_lines", "unmatched_return_units"]
COUNTS += ["points_issued", "points_bonus", "points_reversed", "points_redeemed"]

Json = Mapping[str, object]


@dataclass(kw_only=True)
class Line:
    """One row of the file; of a purchase also its points and how many units came back."""

    stock_code: str
    quantity: int
    price: Fraction  # pounds
    pence: int
    points: int = 0
    units_returned: int = 0

    @property
    def is_product(self) -> bool:
        """Whether the stock code starts with five digits."""
        return re.match(r"[0-9]{5}", self.stock_code) is not None

    def given_back(self) -> tuple[int, int]:
        """Points and pence given back so far: floors of the total, not sums of floors."""
        returned, quantity = self.units_returned, self.quantity
        return self.points * returned // quantity, self.pence * returned // quantity


@dataclass(kw_only=True)
class Invoice:
    """All rows of one invoice number, in file order; its time is that of the first of them."""

    number: str
    customer: str
    time: datetime  # London's wall clock, without a zone
    lines: list[Line]
    tier: str = ""  # that counted, once it is a purchase
    points: int = 0


@dataclass(kw_only=True)
class Member:
    """Everything known about one customer who bought something."""

    customer: str
    lots: dict[str, int] = field(default_factory=dict)  # points left by source, oldest first
    debt: int = 0
    spend_by_day: Counter[date] = field(default_factory=Counter)
    timeline: dict[date, str] = field(default_factory=dict)
    badges: list[str] = field(default_factory=list)
    product_purchases: int = 0
    stock_codes: set[str] = field(default_factory=set)
    months: set[int] = field(default_factory=set)

    @property
    def available(self) -> int:
        """Points that can be spent."""
        return sum(self.lots.values())

    def credit(self, source: str, points: int) -> None:
        """Add points; they repay debt first."""
        repaid = min(self.debt, points)
        self.debt -= repaid
        self.lots[source] = points - repaid

    def take(self, points: int, sources: list[str]) -> int:
        """Take up to `points` from lots in this order; answers how many were taken."""
        taken = 0
        for source in sources:
            part = min(points - taken, self.lots[source])
            self.lots[source] -= part
            taken += part
        return taken

    def tier_at(self, day: date) -> str:
        """Answer the level effective on a day: decisions take effect at midnight, so days do."""
        effective = [start for start in self.timeline if start <= day]
        return self.timeline[max(effective)] if effective else "member"

    def decide_tier(self, today: date) -> None:
        """Decide from twelve months' net spend, for the next midnight; the last one stands."""
        start = (today.year - 1, today.month, today.day)  # may be no day: 29 February
        days = [d for d in self.spend_by_day if start < (d.year, d.month, d.day) and d <= today]
        pence = sum(self.spend_by_day[day] for day in days)
        reached = [level for level, threshold in FROM_PENCE.items() if pence >= threshold]
        self.timeline[today + timedelta(days=1)] = reached[-1] if reached else "member"


@dataclass(kw_only=True)
class Board:
    """Sums by customer, and when each sum was reached."""

    scores: Counter[str] = field(default_factory=Counter)
    reached: dict[str, datetime] = field(default_factory=dict)

    def add(self, customer: str, amount: int, time: datetime) -> None:
        """Add to a score; adding nothing reaches nothing and puts nobody on the board."""
        if amount:
            self.scores[customer] += amount
            self.reached[customer] = time

    def listed(self) -> list[tuple[int, str, int]]:
        """List rank, customer, score: equals share a rank, the first to get there listed first."""
        order = sorted(self.scores, key=lambda c: (-self.scores[c], self.reached[c], c))
        better = [sum(s > self.scores[c] for s in self.scores.values()) for c in order]
        return [(1 + above, c, self.scores[c]) for above, c in zip(better, order, strict=True)]


def read_row(cells: list[str]) -> tuple[Line, datetime]:
    """Read one row of the file; raises ValueError when it is broken."""
    row = dict(zip(HEADER.split(","), cells, strict=True))
    for column, shape in SHAPES.items():
        if not re.fullmatch(shape, row[column]):
            raise ValueError(f"{column} {row[column]!r} cannot be read")
    quantity, price = int(row["Quantity"]), Fraction(row["UnitPrice"])
    pence = round(quantity * price * 100)  # of a Fraction: exact, half to even
    time = datetime.strptime(row["InvoiceDate"], "%m/%d/%Y %H:%M")  # noqa: DTZ007 - wall clock
    return Line(stock_code=row["StockCode"], quantity=quantity, price=price, pence=pence), time


def read_invoices(path: str | Path) -> tuple[list[Invoice], dict[str, str]]:
    """Read a file; answers the whole invoices in replay order, and what broke in which line."""
    invoices: dict[str, Invoice] = {}
    broken: dict[str, str] = {}
    skipped: set[str] = set()
    with Path(path).open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file)
        if next(reader, None) != HEADER.split(","):
            raise ValueError(f"{path}: the first row is not {HEADER}")
        for cells in filter(None, reader):
            number = cells[1] if len(cells) > 1 else ""
            try:
                line, time = read_row(cells)
                new = Invoice(number=number, customer=cells[-2], time=time, lines=[])
                first = invoices.setdefault(number, new)
                if first.customer != new.customer:  # one invoice, one customer
                    raise ValueError("a second customer")  # noqa: TRY301 - reported like the rest
                first.lines.append(line)
            except ValueError as error:
                broken[str(reader.line_num)] = f"invoice {number}: {error}"
                skipped.add(number)
    whole = [invoice for invoice in invoices.values() if invoice.number not in skipped]
    return sorted(whole, key=lambda invoice: (invoice.time, invoice.number)), broken


def allocate(points: int, lines: list[Line]) -> None:
    """Share points out to lines by pence; what is left goes to the largest remainders."""
    total = sum(line.pence for line in lines) or 1  # no pence, no points
    for line in lines:
        line.points = points * line.pence // total
    left = points - sum(line.points for line in lines)
    # sorted() is stable: of equal remainders the earlier line comes first.
    for line in sorted(lines, key=lambda each: -(points * each.pence % total))[:left]:
        line.points += 1


class Shop:
    """The state of everything, changed by one document after the other; at first, nothing."""

    def __init__(self, *, bonus_at_day_end: bool) -> None:
        self.bonus_at_day_end = bonus_at_day_end
        self.bonuses_due: list[str] = []
        self.members: dict[str, Member] = {}
        self.purchases: dict[str, list[Invoice]] = defaultdict(list)  # by customer, oldest first
        self.count = dict.fromkeys(COUNTS, 0)
        self.top_earners = Board()
        self.spend: dict[str, Board] = defaultdict(Board)  # by month
        self.reversals: dict[str, Json] = {}
        self.redemptions: dict[str, dict[str, str]] = {}  # reward, customer, outcome

    def purchase(self, invoice: Invoice) -> None:
        """Earn, climb and make progress."""
        valid = [line for line in invoice.lines if line.quantity > 0 and line.price > 0]
        self.count["skipped_lines"] += len(invoice.lines) - len(valid)
        if not valid:
            return
        invoice.lines = valid
        customer, day = invoice.customer, invoice.time.date()
        member = self.members.setdefault(customer, Member(customer=customer))
        self.purchases[customer].append(invoice)
        products = [line for line in valid if line.is_product]
        pence = sum(line.pence for line in products)
        invoice.tier = member.tier_at(day)
        invoice.points = int(pence * MULTIPLIERS[invoice.tier] // 100)
        allocate(invoice.points, products)
        self.count["points_issued"] += invoice.points
        member.credit(invoice.number, invoice.points)
        member.spend_by_day[day] += pence
        member.decide_tier(day)
        self.top_earners.add(customer, invoice.points, invoice.time)
        self.spend[f"{day:%Y-%m}"].add(customer, pence, invoice.time)
        if products:
            self.progress(member, day, {line.stock_code for line in products})

    def progress(self, member: Member, day: date, stock_codes: set[str]) -> None:
        """Count one purchase with products towards the challenges; each is completed once."""
        month = day.year * 12 + day.month  # months in a row are numbers in a row
        member.product_purchases += 1
        member.stock_codes |= stock_codes
        member.months.add(month)
        reached = {
            "regular": member.product_purchases >= 5,
            "explorer": len(member.stock_codes) >= 50,
            # Purchases come in the order of time, so a row of months is completed by its last.
            "monthly-habit": {month - 2, month - 1, month} <= member.months,
        }
        for badge in BADGES:
            if reached[badge] and badge not in member.badges:
                member.badges.append(badge)
                if badge == "regular":
                    self.bonuses_due.append(member.customer)
        if not self.bonus_at_day_end:
            self.pay_bonuses()

    def pay_bonuses(self) -> None:
        """Credit what completed challenges have brought."""
        for customer in self.bonuses_due:
            self.members[customer].credit("bonus", REGULAR_BONUS)
            self.count["points_bonus"] += REGULAR_BONUS
        self.bonuses_due = []

    def give_back(self, invoice: Invoice) -> None:
        """Match the lines of a `C` invoice and reverse each purchase that they come from."""
        bought = self.purchases[invoice.customer]
        back: dict[str, Counter[str]] = defaultdict(Counter)  # by purchase
        for row in invoice.lines:
            left = max(-row.quantity, 0)
            # Newest first, then higher invoice number, then later line: all of it backwards.
            for purchase in reversed(bought):
                for line in reversed(purchase.lines):
                    units = min(left, line.quantity - line.units_returned)
                    if line.stock_code == row.stock_code and units:
                        points, pence = line.given_back()
                        line.units_returned += units
                        left -= units
                        back[purchase.number]["points"] += line.given_back()[0] - points
                        if line.is_product:
                            back[purchase.number]["pence"] += line.given_back()[1] - pence
            self.count["return_lines"] += 1
            self.count["unmatched_return_lines"] += left > 0
            self.count["unmatched_return_units"] += left
        for purchase in bought:
            if purchase.number in back:
                self.reverse(invoice, purchase, **back[purchase.number])

    def reverse(self, invoice: Invoice, purchase: Invoice, points: int = 0, pence: int = 0) -> None:
        """Take points from the purchase's own lot, then from others, then as debt."""
        member = self.members[invoice.customer]
        own = member.take(points, [purchase.number])
        others = member.take(points - own, list(member.lots))
        debt = points - own - others
        member.debt += debt
        member.spend_by_day[purchase.time.date()] -= pence
        member.decide_tier(invoice.time.date())
        self.count["points_reversed"] += points
        record = {"points": points, "own": own, "others": others, "debt": debt, "pence": pence}
        self.reversals[f"{invoice.number} of {purchase.number}"] = record

    def redeem(self, reward: str) -> None:
        """Let every member try one, in the order of customer numbers as text."""
        price, stock = REWARDS[reward]
        outcomes = self.redemptions[reward] = {}
        for customer, member in sorted(self.members.items()):
            if not stock:
                outcomes[customer] = "SOLD_OUT"
            elif member.available < price:
                outcomes[customer] = "INSUFFICIENT_POINTS"
            else:
                outcomes[customer] = "completed"
                stock -= 1
                self.count["points_redeemed"] += member.take(price, list(member.lots))


def run(invoices: list[Invoice], *, bonus_at_day_end: bool) -> Shop:
    """Replay documents, already in replay order, a day at a time."""
    shop = Shop(bonus_at_day_end=bonus_at_day_end)
    early = [invoice for invoice in invoices if invoice.time < FIVE_POUNDS_TIME]
    for part, reward in ((early, "five-pounds"), (invoices[len(early) :], "ten-pounds")):
        for _, documents in groupby(part, key=lambda invoice: invoice.time.date()):
            for invoice in documents:
                if invoice.number.startswith("C"):
                    shop.give_back(invoice)
                else:
                    shop.purchase(invoice)
            shop.pay_bonuses()
        shop.redeem(reward)
    return shop


def summarise(shop: Shop, tiers: list[str]) -> Json:
    """Add up the summary, given the tier of every member after the last day."""
    members = shop.members.values()
    badges = [badge for member in members for badge in member.badges]
    return {
        "members": len(members),
        "purchases": sum(len(bought) for bought in shop.purchases.values()),
        "reversals": len(shop.reversals),
        **shop.count,
        "points_available": sum(member.available for member in members),
        "points_debt": sum(member.debt for member in members),
        "tiers": {level: tiers.count(level) for level in MULTIPLIERS},
        "badges": {badge: badges.count(badge) for badge in BADGES},
        "top10": [[customer, score] for _, customer, score in shop.top_earners.listed()[:10]],
        "redemptions": {
            reward: {outcome: list(outcomes.values()).count(outcome) for outcome in OUTCOMES}
            for reward, outcomes in shop.redemptions.items()
        },
    }


def details(path: str | Path, *, bonus_at_day_end: bool = False) -> dict[str, Json]:
    """Answer the summary and everything it was added up from, to find a difference with."""
    invoices, broken = read_invoices(path)
    shop = run(invoices, bonus_at_day_end=bonus_at_day_end)
    after = invoices[-1].time.date() + timedelta(days=1) if invoices else date.max
    tiers = {customer: member.tier_at(after) for customer, member in shop.members.items()}
    return {
        "summary": summarise(shop, list(tiers.values())),
        "broken_rows": broken,
        "members": {
            customer: {"available": member.available, "debt": member.debt}
            | {"tier": tiers[customer], "badges": member.badges}
            | {"timeline": {str(day): level for day, level in member.timeline.items()}}
            for customer, member in sorted(shop.members.items())
        },
        "purchases": {
            invoice.number: {"customer": invoice.customer, "time": str(invoice.time)}
            | {"tier": invoice.tier, "multiplier": str(MULTIPLIERS[invoice.tier])}
            | {"points": invoice.points, "line_points": [line.points for line in invoice.lines]}
            for invoice in invoices
            if invoice.tier
        },
        "reversals": shop.reversals,
        "redemptions": shop.redemptions,
        "boards": {"top-earners": shop.top_earners.listed()}
        | {f"spend {month}": board.listed() for month, board in sorted(shop.spend.items())},
    }


def summary(path: str | Path, *, bonus_at_day_end: bool = False) -> Json:
    """Answer the summary of a file: every key but `seconds` and `verify_violations`."""
    return details(path, bonus_at_day_end=bonus_at_day_end)["summary"]


def main() -> None:
    """Print the summary, or with `--details` everything, as JSON."""
    parser = argparse.ArgumentParser(description="The gift shop's summary, computed sequentially.")
    parser.add_argument("csv", type=Path)
    parser.add_argument("--details", action="store_true")
    parser.add_argument("--bonus-at-day-end", action="store_true")
    asked = parser.parse_args()
    found = details(asked.csv, bonus_at_day_end=asked.bonus_at_day_end)
    sys.stdout.write(json.dumps(found if asked.details else found["summary"], indent=1) + "\n")


if __name__ == "__main__":
    main()
