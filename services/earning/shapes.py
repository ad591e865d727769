"""What a decision takes from which rules apply together: computed once, and remembered.

Rules that apply to one purchase mostly apply to the next one as well, with other amounts.
"""

from collections.abc import Sequence
from math import lcm
from typing import NamedTuple, cast

from services.earning.domain import RuleId
from services.earning.matching import Match, Matches
from services.earning.rules import Base, Cap, Measured, Multiplier, Rules, staged
from services.earning.stacking import MultiplierPolicy, combined, extras


class Limit(NamedTuple):
    """What limits one rule: its number within its kind, its place among all, caps and budget."""

    number: int
    place: int
    rule_id: RuleId
    caps: tuple[Cap, ...]
    budget: int


class Limited(NamedTuple):
    """The limits of rules that apply; `bases` count points before multipliers."""

    bases: tuple[Limit, ...]
    givers: tuple[Limit, ...]
    multipliers: tuple[Limit, ...]
    bonuses: tuple[Limit, ...]


class Shape(NamedTuple):
    """What a decision takes from which rules apply alone, whatever was bought.

    `keys` are the classes: for each, which multipliers of lines fall on it, by their places among
    the multipliers; `classes` has the class of each line, and is empty when there is only one.
    `places` are the multipliers of each class. Without limits `brought` is what each of them brings
    to a base point of each class and `factors` what the point comes to, over `common`. `factor` is
    that of those which count for the whole, `order` how all that gave points stand in the program.
    `amount_per` is a denominator of what amounts earn, `fixed_per` one of what all else gives.
    `limited` are the rules with caps or a budget.
    """

    keys: tuple[tuple[int, ...], ...]
    classes: tuple[int, ...]
    places: tuple[tuple[int, ...], ...]
    brought: tuple[tuple[int, ...], ...]
    factors: tuple[int, ...]
    common: int
    factor: tuple[int, int]
    order: tuple[int, ...]
    amount_per: int
    fixed_per: int
    limited: Limited


_SHAPES_MAX = 1_024
"""How many shapes a version remembers; lines may fall into classes in many ways."""


def shape_of(rules: Rules, found: Matches, line_count: int) -> Shape:
    """The shape of a decision, made when its rules first apply together."""
    key = (
        line_count,
        *[(each.place, each.lines) for each in found.multipliers],
        *[each.place for each in found.givers],
        -1,
        *[each.place for each in found.bonuses],
    )
    known = rules.shapes.get(key)
    if known is None:
        if len(rules.shapes) >= _SHAPES_MAX:
            rules.shapes.clear()
        known = rules.shapes[key] = _shape(rules, found, line_count)
    return cast("Shape", known)


def _shape(rules: Rules, found: Matches, line_count: int) -> Shape:
    multipliers = found.multipliers
    lined = [(at, set(each.lines)) for at, each in enumerate(multipliers) if each.lines is not None]
    keys: list[tuple[int, ...]] = [()]
    classes: list[int] = []
    if lined:
        falling = [
            tuple([at for at, lines in lined if line in lines]) for line in range(line_count)
        ]
        keys = sorted(set(falling))
        classes = [keys.index(key) for key in falling]
    places = [
        tuple([at for at, each in enumerate(multipliers) if each.lines is None or at in key])
        for key in keys
    ]
    nominal = nominal_factors(multipliers)
    policy = rules.multiplier_policy
    brought, factors, common = brought_by(
        policy, places, [[nominal[at] for at in each] for each in places], len(multipliers)
    )
    whole = [nominal[at] for at, each in enumerate(multipliers) if each.lines is None]
    effects = [each.rule.effect for each in found.givers]
    given = [each.place for each in (*found.givers, *multipliers, *found.bonuses)]
    return Shape(
        tuple(keys),
        tuple(classes),
        tuple(places),
        brought,
        factors,
        common,
        combined(policy, whole),
        tuple(sorted(range(len(given)), key=given.__getitem__)),
        lcm(*[each.per_amount for each in effects if isinstance(each, Base)]),
        lcm(*[each.per for each in effects if isinstance(each, Measured)]),
        Limited(
            _limits(found.givers, on_base=True),
            _limits(found.givers),
            _limits(multipliers),
            _limits(found.bonuses),
        ),
    )


def _limits(matched: Sequence[Match], *, on_base: bool = False) -> tuple[Limit, ...]:
    made = [
        Limit(
            number,
            place,
            rule.rule_id,
            staged(rule.caps, on_base=on_base),
            0 if on_base else rule.budget,
        )
        for number, (place, rule, _, _) in enumerate(matched)
    ]
    return tuple([each for each in made if each.caps or each.budget])


def nominal_factors(multipliers: Sequence[Match]) -> list[tuple[int, int]]:
    """The factors of multipliers as the rules name them."""
    return [
        (each.rule.effect.numerator, each.rule.effect.denominator)
        for each in multipliers
        if isinstance(each.rule.effect, Multiplier)
    ]


def brought_by(
    policy: MultiplierPolicy,
    places: Sequence[Sequence[int]],
    factors: Sequence[Sequence[tuple[int, int]]],
    count: int,
) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...], int]:
    """What each of `count` multipliers brings to a point of each class, and what it comes to.

    The factors of a class belong to the multipliers at its places. The common denominator is last.
    """
    found = [extras(policy, each) if each else ([], 1) for each in factors]
    common = lcm(*[per for _, per in found])
    brought = [[0] * len(found) for _ in range(count)]
    made: list[int] = []
    for key, (inner, (extra, per)) in enumerate(zip(places, found, strict=True)):
        for at, each in zip(inner, extra, strict=True):
            brought[at][key] = each * (common // per)
        made.append((sum(extra) + per) * (common // per))
    return tuple([tuple(each) for each in brought]), tuple(made), common
