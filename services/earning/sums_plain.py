"""The exact points of one decision where nothing is limited: the most frequent case, made quick.

It gives what `sums.py` gives, over the whole activity at once.
"""

from math import gcd, lcm
from typing import NamedTuple

from services.earning.domain import POINTS_MAX, RATIO_MAX
from services.earning.explanations import RuleOutcome
from services.earning.matching import Match, Matches
from services.earning.refusals import PointsOutOfRange
from services.earning.rules import Base, Deed, Measured, Multiplier, Rules
from services.earning.stacking import allocate, extras, parts_of, rounded


class Plain(NamedTuple):
    """Points, the factor of all multipliers, and the points of each line."""

    points: int
    numerator: int
    denominator: int
    lines: tuple[int, ...]


def plainly(rules: Rules, found: Matches, deed: Deed, scale: tuple[int, int]) -> Plain | None:
    """The points of rules that all count the same lines, None when they do not.

    Nothing of the rules is limited or carried. Writes the parts of the points into the outcomes.
    Refuses PointsOutOfRange.
    """
    multipliers, bonuses = found.multipliers, found.bonuses
    counted = found.givers + bonuses if bonuses else found.givers
    lines = counted[0].lines if counted else None
    for each in counted:
        if each.lines is not lines and each.lines != lines:
            return None
    for each in multipliers:
        if each.lines is not None:
            return None
    exact, per = _bases(found.givers, scale)
    total = base = sum(exact)
    numerator = denominator = 1
    if multipliers:
        brought, common = extras(rules.multiplier_policy, _factors(multipliers))
        if common != 1:
            exact = [each * common for each in exact]
            per *= common
        exact += [base * each for each in brought]
        numerator, denominator = sum(brought) + common, common
        total = base * numerator
        shared = gcd(numerator, denominator)
        numerator, denominator = numerator // shared, denominator // shared
        if numerator > RATIO_MAX or denominator > RATIO_MAX:
            raise PointsOutOfRange(what="multipliers", limit=RATIO_MAX)
    for each in bonuses:
        exact.append(each.rule.effect.points * per)  # type: ignore[union-attr]  # a bonus has them
        total += exact[-1]
    points = rounded(total, per, rules.rounding)
    if points > POINTS_MAX:
        raise PointsOutOfRange(what="points", limit=POINTS_MAX)
    if not points:
        return Plain(0, numerator, denominator, (0,) * len(deed.lines))
    _share_out(points, exact, per, (*found.givers, *multipliers, *bonuses), found.outcomes)
    return Plain(points, numerator, denominator, _lines(points, counted, deed))


def _bases(givers: list[Match], scale: tuple[int, int]) -> tuple[list[int], int]:
    """The points of base and flat rules, over one denominator."""
    ratio, per = scale
    for _, rule, _, _ in givers:
        effect = rule.effect
        if type(effect) is Base:
            per = lcm(per, effect.per_amount * scale[1])
        elif type(effect) is Measured:
            per = lcm(per, effect.per)
    exact: list[int] = []
    for _, rule, _, amount in givers:
        effect = rule.effect
        if type(effect) is Base:
            unit = effect.points * ratio * (per // (effect.per_amount * scale[1]))
            exact.append(amount * unit)
        elif type(effect) is Measured:
            exact.append(amount * effect.points * (per // effect.per))
        else:
            exact.append(effect.points * per)  # type: ignore[union-attr]  # a flat rule has them
    return exact, per


def _factors(multipliers: list[Match]) -> list[tuple[int, int]]:
    return [
        (effect.numerator, effect.denominator)
        for _, rule, _, _ in multipliers
        if isinstance(effect := rule.effect, Multiplier)
    ]


def _share_out(
    points: int, exact: list[int], per: int, matched: tuple[Match, ...], outcomes: list[RuleOutcome]
) -> None:
    parts = [points]
    if len(exact) > 1:
        places = [each[0] for each in matched]
        if places != sorted(places):
            order = sorted(range(len(exact)), key=places.__getitem__)
            exact, matched = [exact[at] for at in order], tuple([matched[at] for at in order])
        parts = parts_of(points, exact, per)
    for (place, _, _, _), part in zip(matched, parts, strict=True):
        if part:
            name, applies, reason, amount, alone, factor, by, _ = outcomes[place]
            outcomes[place] = RuleOutcome(name, applies, reason, amount, alone, factor, by, part)


def _lines(points: int, counted: list[Match], deed: Deed) -> tuple[int, ...]:
    """By the amounts of the lines that count, or their units when all of them are free."""
    lines = deed.lines
    if not lines:
        return ()
    picked = counted[0].lines
    if picked is None:
        weights = [line.amount for line in lines]
        return allocate(points, weights if any(weights) else [line.quantity for line in lines])
    weights = [lines[line].amount for line in picked]
    if not any(weights):
        weights = [lines[line].quantity for line in picked]
    shares = [0] * len(lines)
    for line, share in zip(picked, allocate(points, weights), strict=True):
        shares[line] = share
    return tuple(shares)
