"""Which points become which others, in the program document: what is wrong, and what it means."""

from collections.abc import Iterator, Mapping

from guerdon.earning.v1 import program_pb2 as pb
from services.earning import program_currencies
from services.earning.domain import CurrencyId
from services.earning.points_records import Conversion
from shared.errors import Violation


def complaints(document: pb.EarningProgram) -> Iterator[Violation]:
    """What is wrong with the conversions of a document."""
    only_count = {each.currency_id for each in document.currencies if each.not_spendable}
    names: set[str] = set()
    seen: set[tuple[str, str]] = set()
    for at, each in enumerate(document.conversions):
        path, of, to = f"conversions[{at}]", each.from_currency_id, each.to_currency_id
        if each.conversion_id in names:
            yield Violation(
                field=f"{path}.conversion_id", description=f"{each.conversion_id} is there already"
            )
        names.add(each.conversion_id)
        yield from program_currencies.unknown(document, f"{path}.from_currency_id", of)
        yield from program_currencies.unknown(document, f"{path}.to_currency_id", to)
        if of in only_count:
            yield Violation(
                field=f"{path}.from_currency_id",
                description=f"points of {of} are not spendable, so none of them are converted",
            )
        if of == to:
            yield Violation(
                field=f"{path}.to_currency_id",
                description=f"{of} is what is given up; name another currency",
            )
        elif (of, to) in seen:
            yield Violation(
                field=f"{path}.to_currency_id",
                description=f"{of} has a rate to {to} already; keep one of them",
            )
        seen.add((of, to))


def conversions(
    document: pb.EarningProgram,
) -> Mapping[tuple[CurrencyId, CurrencyId], Conversion]:
    """What points of one currency come to in another, by both."""
    return {
        (CurrencyId(each.from_currency_id), CurrencyId(each.to_currency_id)): Conversion(
            numerator=each.numerator, denominator=each.denominator, points_min=each.min_points
        )
        for each in document.conversions
    }
