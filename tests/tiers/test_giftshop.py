"""The real half year, decided by tiers' own functions, against the model of the gift shop."""

from collections import Counter
from datetime import datetime, time, timedelta
from pathlib import Path

from services.tiers.domain import CountActivity, TakeBack
from services.tiers.ladders import Line, ReturnedLine
from tests.oracle.giftshop import Invoice, Shop, read_invoices
from tests.tiers.cases import LONDON, MEMBER, PROGRAM, Story, Thing, in_force, join

SAMPLE = Path(__file__).parents[2] / "programs/giftshop/data/online_retail_sample.csv"


class Recorded(Shop):
    """The model, which also notes what tiers would be told, by customer."""

    def __init__(self) -> None:
        super().__init__(bonus_at_day_end=False)
        self.stories: dict[str, Story] = {}

    def purchase(self, invoice: Invoice) -> None:
        """Tell a purchase as the feed would."""
        super().purchase(invoice)
        if self.members.get(invoice.customer) is None or not invoice.tier:
            return
        when = london(invoice.time)
        story = self.stories.get(invoice.customer)
        if story is None:
            story = self.stories[invoice.customer] = Story.of(in_force(), join(when))
        lines = [
            Thing(line.pence, "product" if line.is_product else "postage") for line in invoice.lines
        ]
        story.tell(
            CountActivity(
                program_id=PROGRAM,
                member_key=MEMBER,
                activity_id=invoice.number,
                activity_type="purchase",
                occurred_time=when,
                decide_time=when,
                amount_minor=sum(line.amount_minor for line in lines),
                lines=tuple(Line(line_number=n, item=each) for n, each in enumerate(lines, 1)),
            )
        )

    def reverse(self, invoice: Invoice, purchase: Invoice, points: int = 0, pence: int = 0) -> None:
        """Tell a return; what product lines gave back is told of the first of them."""
        super().reverse(invoice, purchase, points, pence)
        numbers = [n for n, line in enumerate(purchase.lines, 1) if line.is_product]
        self.stories[invoice.customer].tell(
            TakeBack(
                program_id=PROGRAM,
                member_key=MEMBER,
                activity_id=purchase.number,
                activity_type="purchase",
                decide_time=london(invoice.time),
                amount_minor=pence,
                lines=tuple(ReturnedLine(line_number=n, amount_minor=pence) for n in numbers[:1]),
            )
        )


def london(local: datetime) -> datetime:
    """Instant of a local time of the shop."""
    return local.replace(tzinfo=LONDON)


def test_every_level_of_every_day_is_that_of_the_model() -> None:
    invoices, _ = read_invoices(SAMPLE)
    shop = Recorded()
    for invoice in invoices:
        if invoice.number.startswith("C"):
            shop.give_back(invoice)
        else:
            shop.purchase(invoice)
    levels = Counter[str]()
    for customer, member in shop.members.items():
        story = shop.stories[customer]
        spent = {day: pence for day, pence in member.spend_by_day.items() if pence}
        assert story.spend() == spent, customer
        joined = min(member.timeline)
        for day in member.timeline:
            for each in (day - timedelta(days=1), day, day + timedelta(days=1)):
                # The first purchase may be in the afternoon; from the next day on there is a level.
                if each >= joined:
                    noon = london(datetime.combine(each, time(12)))
                    assert story.level(noon) == member.tier_at(each), (customer, each)
                    levels[member.tier_at(each)] += 1
    assert all(levels[level] > 500 for level in ("member", "silver", "gold"))
