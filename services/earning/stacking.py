"""The arithmetic of points: combining factors, rounding once, sharing out exactly.

Everything is integers; a ratio is a numerator and a denominator.
"""

from collections.abc import Sequence
from enum import StrEnum
from math import gcd, lcm


class MultiplierPolicy(StrEnum):
    """How several matching multipliers combine."""

    MULTIPLY = "multiply"
    ADD = "add"
    BEST = "best"


class Rounding(StrEnum):
    """How the points of an activity are rounded, once."""

    FLOOR = "floor"
    HALF_EVEN = "half_even"
    HALF_UP = "half_up"
    CEIL = "ceil"


def combined(policy: MultiplierPolicy, factors: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """One factor for all that matched, reduced; 1 when none did.

    5x on a 2x day: multiply 10, add 6 (what each adds to one), best 5.
    Factors below one may add up to less than nothing: then it is nothing.
    """
    if not factors:
        return 1, 1
    if len(factors) == 1:
        numerator, denominator = factors[0]
    elif policy is MultiplierPolicy.BEST:
        numerator, denominator = factors[best(factors)]
    elif policy is MultiplierPolicy.MULTIPLY:
        numerator, denominator = 1, 1
        for factor, per in factors:
            numerator, denominator = numerator * factor, denominator * per
    else:
        denominator = lcm(*(per for _, per in factors))
        added = sum((factor - per) * (denominator // per) for factor, per in factors)
        numerator = max(0, denominator + added)
    common = gcd(numerator, denominator)
    return numerator // common, denominator // common


def best(factors: Sequence[tuple[int, int]]) -> int:
    """Place of the largest factor; of equal ones, of the first."""
    place = 0
    for at, (factor, per) in enumerate(factors):
        if factor * factors[place][1] > factors[place][0] * per:
            place = at
    return place


def extras(policy: MultiplierPolicy, factors: Sequence[tuple[int, int]]) -> tuple[list[int], int]:
    """What each factor brings, as numerators over one denominator; with 1 they add up to the whole.

    By `multiply` each counts on what those before it made; by `add` on the base; by `best` the
    largest brings everything. When factors would add up to less than nothing, the last ones bring
    no more than is there to take.
    """
    if len(factors) == 1:
        ((factor, per),) = factors
        return [factor - per], per
    if policy is MultiplierPolicy.MULTIPLY:
        denominator = 1
        for _, per in factors:
            denominator *= per
        running, brought = denominator, []
        for factor, per in factors:
            after = running * factor // per
            brought.append(after - running)
            running = after
        return brought, denominator
    denominator = lcm(*(per for _, per in factors))
    if policy is MultiplierPolicy.BEST:
        at = best(factors)
        factor, per = factors[at]
        brought = [0] * len(factors)
        brought[at] = (factor - per) * (denominator // per)
        return brought, denominator
    brought = [(factor - per) * (denominator // per) for factor, per in factors]
    missing = -(denominator + sum(brought))
    for at in range(len(brought) - 1, -1, -1):
        if missing <= 0:
            break
        if brought[at] < 0:
            part = min(missing, -brought[at])
            brought[at] += part
            missing -= part
    return brought, denominator


def rounded(numerator: int, denominator: int, rounding: Rounding) -> int:
    """A ratio of integers, not negative, as an integer."""
    whole, rest = divmod(numerator, denominator)
    if not rest or rounding is Rounding.FLOOR:
        return whole
    if rounding is Rounding.CEIL:
        return whole + 1
    twice = 2 * rest
    if twice != denominator:
        return whole + (twice > denominator)
    return whole + 1 if rounding is Rounding.HALF_UP else whole + (whole & 1)


def allocate(points: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Shares of points in proportion to weights, by largest remainder; they add up exactly.

    Of equal remainders the earlier one's comes first. The sum of the weights is above zero unless
    there are no points; a weight below zero takes away.
    """
    if not points:
        return (0,) * len(weights)
    total = sum(weights)
    shares = [points * weight // total for weight in weights]
    left = points - sum(shares)
    if left:
        order = sorted(range(len(weights)), key=lambda line: -(points * weights[line] % total))
        for line in order[:left]:
            shares[line] += 1
    return tuple(shares)


def parts_of(points: int, exact: Sequence[int], denominator: int) -> list[int]:
    """Whole parts of points that were rounded from exact ones; they add up.

    A part is its exact one rounded down or up, those with the largest fractions up; when fewer
    points are given than that comes to, all are cut in proportion first. So none is above what
    was exact, rounded up. An exact part may be below zero.
    """
    parts = [each // denominator for each in exact]
    left = points - sum(parts)
    if left < 0:
        denominator = sum(exact)
        exact = [points * each for each in exact]
        parts = [each // denominator for each in exact]
        left = points - sum(parts)
    if left:
        order = sorted(range(len(parts)), key=lambda at: -(exact[at] % denominator))
        for at in order[:left]:
            parts[at] += 1
    return parts
