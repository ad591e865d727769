"""What an activity earns: what each rule brings, one rounding, whole parts, shares of the lines.

The order, exact until the one rounding: base and flat points; caps on the base; multipliers by the
program's policy, each with its own caps and budget; caps and budgets of base and flat rules, on
what multipliers made of their points; bonuses with theirs; the remainder carried from before;
rounding; caps of the program on whole points.
Points before the rounding are integers over one common denominator (`sums.py`).
"""

from fractions import Fraction

from services.earning.domain import POINTS_MAX, LevelId
from services.earning.explanations import NOTHING_LOOKED, CapOutcome, Explanation, Looked
from services.earning.limits import Counting, Limits
from services.earning.matching import Scene, match, plan_of
from services.earning.refusals import PointsOutOfRange
from services.earning.rules import Deed, Earning, Facts, Program, Rules
from services.earning.stacking import rounded
from services.earning.sums import NOTHING_CARRIED, Sums
from services.earning.sums_plain import plainly

REMAINDER_DENOMINATOR_MAX = 10**18
"""Remainders are exact up to this denominator, and rounded down to it beyond."""


def decide_all(program: Program, deed: Deed, facts: Facts) -> tuple[Earning, ...]:
    """Decide an activity for every currency of a program, the first currency first.

    Those of further currencies are to be booked where they have points; all are worth showing in a
    preview, and each carries its remainder. Refuses what `decide` refuses.
    """
    return (decide(program.rules, deed, facts), *decide_further(program, deed, facts))


def decide_further(program: Program, deed: Deed, facts: Facts) -> tuple[Earning, ...]:
    """Decide an activity for the currencies after the first that have rules."""
    return tuple([decide(each, deed, facts) for each in program.others])


def decide(rules: Rules, deed: Deed, facts: Facts) -> Earning:
    """Apply the rules of one currency to one activity.

    Refuses PointsOutOfRange, CurrencyNotAccepted and, for a cap that refuses rather than cuts,
    CapExceeded.
    """
    scene = Scene(deed, facts, rules.zone)
    scale = _scale(rules, scene)
    found = match(rules, scene, scale)
    if not rules.is_limited and (plain := plainly(rules, found, deed, scale)) is not None:
        points, numerator, per, lines = plain
        explanation = Explanation(
            rules.version, facts.level_id, numerator, per, tuple(found.outcomes), lines
        )
        if not rules.is_plain:
            explanation = explanation._replace(looked=_looked(rules, deed, facts))
        return Earning(currency_id=rules.currency_id, points=points, explanation=explanation)
    limits = Limits(scene) if rules.is_limited else None
    sums = Sums(rules, found, deed, scale)
    sums.stack(limits)
    exact, denominator = sums.total(facts)
    points = granted = rounded(exact, denominator, rules.rounding)
    if limits is not None:
        kept = limits.by_caps(rules.points_caps, Counting.POINTS, -1, points, 1)
        if kept is not None:
            granted = points * kept[0] // kept[1]
    numerator, per = sums.factor()
    if granted > POINTS_MAX:
        raise PointsOutOfRange(what="points", limit=POINTS_MAX)
    if granted:
        sums.share_out(granted, found.outcomes)
    lines = sums.lines(granted) if deed.lines else ()
    carried = NOTHING_CARRIED
    if rules.carries:
        carried = _remainder(exact - points * denominator, denominator)
    wanted = -1
    caps: tuple[CapOutcome, ...] = ()
    if limits is not None:
        wanted, caps = points, limits.outcomes(sums.counter(granted, points))
        if limits.has_cut:
            bare = Sums(rules, found, deed, scale)
            bare.stack(None)
            wanted = rounded(*bare.total(facts), rules.rounding)
    explanation = Explanation(
        rules.version,
        facts.level_id,
        numerator,
        per,
        tuple(found.outcomes),
        lines,
        wanted,
        caps,
        NOTHING_LOOKED if rules.is_plain else _looked(rules, deed, facts, carried),
    )
    return Earning(
        currency_id=rules.currency_id, points=granted, explanation=explanation, carried=carried
    )


def looked_up(rules: Rules, stored: Explanation) -> Facts:
    """The facts that an explanation was decided with, for deciding it again.

    Of rules that look at personal data the stored verdict counts.
    """
    verdicts = {
        outcome.rule_id: "" if outcome.matched else outcome.reason
        for rule, outcome in zip(rules.rules, stored.rules, strict=False)
        if rule.is_personal
    }
    carried = stored.looked.carried
    return Facts(
        level_id=LevelId(stored.level_id),
        segments=frozenset(stored.looked.segments),
        counts=dict(stored.looked.counts),
        left={(cap.cap_id, cap.period): cap.left for cap in stored.caps},
        carried={rules.currency_id: Fraction(carried[0])} if carried else {},
        verdicts=verdicts,
    )


def _scale(rules: Rules, scene: Scene) -> tuple[int, int]:
    """Ratio of the amounts that earns, in the program's money."""
    deed, money = scene.deed, rules.money
    is_foreign = deed.currency_code not in {"", money.currency_code}
    if not (is_foreign or deed.paid_in_points):
        return 1, 1
    numerator = denominator = 1
    if is_foreign:
        numerator, denominator = money.rate(deed.currency_code, scene.local.date())
    share, whole = money.share(deed.amount, deed.paid_in_points)
    return numerator * share, denominator * whole


def _looked(rules: Rules, deed: Deed, facts: Facts, carried: Fraction = NOTHING_CARRIED) -> Looked:
    """What was looked up, as far as rules of the currency ask for it."""
    before = facts.carried.get(rules.currency_id, NOTHING_CARRIED)
    return Looked(
        counts=tuple(
            [(kind, facts.counts.get(kind, 0)) for kind in plan_of(rules, deed.type).types]
        ),
        segments=tuple(sorted(facts.segments & rules.segments)),
        carried=(str(before), str(carried)) if rules.carries else (),
    )


def _remainder(numerator: int, denominator: int) -> Fraction:
    exact = Fraction(numerator, denominator)
    if exact.denominator > REMAINDER_DENOMINATOR_MAX:
        whole = exact.numerator * REMAINDER_DENOMINATOR_MAX // exact.denominator
        exact = Fraction(whole, REMAINDER_DENOMINATOR_MAX)
    return exact
