"""What of an activity's money earns: the part paid in money, in the money of the program."""

from datetime import date
from enum import StrEnum

from services.earning.refusals import CurrencyNotAccepted
from shared.values import value


class EarnOn(StrEnum):
    """Whether the part of an amount that was paid in points earns as well."""

    NET = "net"
    GROSS = "gross"


@value
class Rate:
    """From a day on, so much of the program's money is one of another, in minor units."""

    from_date: date
    numerator: int
    denominator: int


@value
class Money:
    """The money of a program; `rates` are by currency code, each list sorted by its days."""

    currency_code: str
    earn_on: EarnOn = EarnOn.NET
    rates: tuple[tuple[str, tuple[Rate, ...]], ...] = ()

    def rate(self, currency_code: str, day: date) -> tuple[int, int]:
        """Ratio that turns an amount into the program's money on a day.

        Refuses CurrencyNotAccepted when there is none for that day.
        """
        if currency_code in {"", self.currency_code}:
            return 1, 1
        for code, rates in self.rates:
            if code == currency_code:
                begun = [rate for rate in rates if rate.from_date <= day]
                if begun:
                    return begun[-1].numerator, begun[-1].denominator
        raise CurrencyNotAccepted(
            currency_code=currency_code,
            accepted_currency_code=" and ".join(
                [self.currency_code, *(code for code, _ in self.rates if code != currency_code)]
            ),
        )

    def share(self, amount: int | None, paid_in_points: int) -> tuple[int, int]:
        """Ratio of an amount that earns: 200 with 40 paid in points earn on 160, or on 200."""
        if self.earn_on is EarnOn.GROSS or not paid_in_points or not amount:
            return 1, 1
        return max(0, amount - paid_in_points), amount
