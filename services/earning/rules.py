"""The rules of a program: what they are made of, and what deciding an activity looks at.

Rules come compiled: conditions are functions, so that a preview, a test and the ledger run the same
code. Which of them apply is told in `matching.py`, what they come to in `evaluation.py`
(`semantics.md`, "Activities and earning").
Each currency of a program has rules of its own; `Program.needs` says what has to be looked up for
an activity, `Facts` carries it, and `evaluation.decide_all` decides all currencies over it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cached_property
from typing import Protocol, TypeAlias
from zoneinfo import ZoneInfo

from services.earning.domain import (
    BoughtLine,
    CurrencyId,
    LevelId,
    ProgramId,
    ReversalPolicy,
    RuleId,
)
from services.earning.expiry import UTC_ZONE, CurrencyPolicy
from services.earning.explanations import Explanation
from services.earning.household_records import HouseholdPolicy
from services.earning.money import Money
from services.earning.points_records import Conversion
from services.earning.schedules import Occasion, Period, Schedule, local_time, period_key
from services.earning.stacking import MultiplierPolicy, Rounding
from shared.values import value


class Asked(Protocol):
    """What a condition may read; `bound` keeps what was handed to the engine."""

    view: object
    level_id: LevelId
    member: object
    bound: object


Condition: TypeAlias = Callable[[Asked], str]
"""Says why it does not hold, nothing when it does."""
LineCondition: TypeAlias = Callable[[object], str]
"""Takes the line; says why it does not count, nothing when it does."""
Measure: TypeAlias = Callable[[Asked], tuple[int, str]]
"""Gives what an activity measures, at least 0, or why it could not be told."""
CapKey: TypeAlias = tuple[str, str]
"""A cap and the period that it counts in."""


@value
class Base:
    """So many points for each so many minor units."""

    points: int
    per_amount: int


@value
class Measured:
    """So many points for each so many of what an activity measures."""

    points: int
    per: int
    measure: Measure


@value
class Flat:
    """A fixed number of points, multiplied as well."""

    points: int


@value
class Bonus:
    """A fixed number of points, added after multipliers."""

    points: int


@value
class Multiplier:
    """An exact factor on the points, or on those of the lines that the rule picks."""

    numerator: int
    denominator: int


@value
class Cap:
    """The most points within a period, of one rule or of all of them together.

    `on_base` counts points before multipliers. What is above is left out, or with `refuses` the
    activity is refused.
    """

    cap_id: str
    period: Period
    points: int
    on_base: bool = False
    refuses: bool = False


def staged(caps: Sequence[Cap], *, on_base: bool) -> tuple[Cap, ...]:
    """Caps of one stage in the order in which they are asked: those that refuse come last."""
    return tuple(
        sorted([cap for cap in caps if cap.on_base is on_base], key=lambda cap: cap.refuses)
    )


@value
class Nth:
    """The member's activity of this number of the rule's types, or every so-many-th."""

    number: int = 0
    every: int = 0


@value
class Rule:
    """One compiled rule; what it does not name does not narrow it.

    `reads_member` says that its condition looks at the member; a `budget` of 0 has no end.
    """

    rule_id: RuleId
    effect: Base | Measured | Flat | Bonus | Multiplier
    activity_types: frozenset[str] = frozenset()
    condition: Condition | None = None
    reads_member: bool = False
    line_condition: LineCondition | None = None
    categories: frozenset[str] = frozenset()
    merchants: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    levels: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    schedule: Schedule | None = None
    occasion: Occasion | None = None
    nth: Nth | None = None
    group: str = ""
    caps: tuple[Cap, ...] = ()
    budget: int = 0

    @property
    def has_lines(self) -> bool:
        """Whether it picks lines."""
        return bool(self.line_condition or self.categories or self.merchants)

    @property
    def is_personal(self) -> bool:
        """Whether it looks at personal data, of which only the verdict is kept."""
        return self.occasion is not None or self.reads_member

    @property
    def is_limited(self) -> bool:
        """Whether caps or a budget of its own limit what it gives."""
        return bool(self.caps or self.budget)


@value
class Facts:
    """What rules look at beyond the activity; the loader fills what `Program.needs` asks for.

    `member` is what conditions read of the member, `segments` those that the member is in.
    `counts` are the member's activities before this one, by type. `used` is what caps counted so
    far in the period; `spent` what rules with a budget have given to all members. `carried` are the
    remainders that were not given yet, each at least 0 and below 1, by currency of points.
    What is missing counts as unknown, or as 0.

    When an audit decides again from what is stored (`evaluation.looked_up`), `verdicts` are those
    of rules that look at personal data (the reason why such a rule did not apply, empty when it
    did), and `left` is what each cap and budget had left; the period of a budget is "".
    """

    level_id: LevelId = LevelId("")
    segments: frozenset[str] = frozenset()
    member: object = None
    birth_date: date | None = None
    enroll_time: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    used: Mapping[CapKey, int] = field(default_factory=dict)
    spent: Mapping[str, int] = field(default_factory=dict)
    carried: Mapping[CurrencyId, Fraction] = field(default_factory=dict)
    verdicts: Mapping[str, str] | None = None
    left: Mapping[CapKey, int] | None = None


@value
class Needs:
    """What deciding an activity has to look up, beyond the wallet and the level.

    `profile` is what is told of the member and since when it is one; `types` those of activities
    that are counted; `caps` those that count over a period, each with the key of the period;
    `budgets` the rules that have one; `carried` the currencies that carry remainders.
    """

    profile: bool = False
    types: frozenset[str] = frozenset()
    caps: tuple[CapKey, ...] = ()
    budgets: tuple[str, ...] = ()
    carried: tuple[CurrencyId, ...] = ()


NOTHING = Needs()
_NEEDS_MAX = 1_024
"""Types and days of which a version remembers what their activities need."""
NO_CURRENCY = CurrencyId("")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@value
class Deed:
    """What rules look at: `amount` is None without a payment, views are what conditions read."""

    type: str
    amount: int | None
    lines: Sequence[BoughtLine]
    view: object
    line_views: Sequence[object]
    occurred_time: datetime = EPOCH
    source: str = ""
    currency_code: str = ""
    paid_in_points: int = 0


@value
class Earning:
    """The points of one currency, what each line has of them, and why.

    `carried` is the remainder that is left to carry, 0 where none is.
    """

    currency_id: CurrencyId
    points: int
    explanation: Explanation
    carried: Fraction = Fraction(0)


class Rules:
    """The rules of one currency of a version, in the order in which explanations list them."""

    def __init__(
        self,
        *,
        version: int,
        rules: tuple[Rule, ...],
        multiplier_policy: MultiplierPolicy,
        rounding: Rounding = Rounding.FLOOR,
        money: Money = Money(currency_code=""),  # noqa: B008 - a value
        zone: ZoneInfo = UTC_ZONE,
        caps: tuple[Cap, ...] = (),
        carries: bool = False,
        currency_id: CurrencyId = NO_CURRENCY,
    ) -> None:
        self.version = version
        self.rules = rules
        self.multiplier_policy = multiplier_policy
        self.rounding = rounding
        self.money = money
        self.zone = zone
        self.caps = caps
        self.base_caps = staged(caps, on_base=True)
        self.points_caps = staged(caps, on_base=False)
        self.carries = carries
        self.currency_id = currency_id
        self.compiled: dict[str, object] = {}
        """What `matching.py` made of the rules, by the type of activities."""
        self.shapes: dict[tuple[object, ...], object] = {}
        """What `sums.py` made of rules that applied together."""
        self._needs: dict[tuple[str, date], Needs] = {}

    @cached_property
    def is_plain(self) -> bool:
        """Whether nothing is looked up but the wallet and the level."""
        return not (
            self.is_limited
            or any(rule.nth or rule.is_personal or rule.segments for rule in self.rules)
        )

    @cached_property
    def is_limited(self) -> bool:
        """Whether anything but the rules' own points decides how many are given."""
        return bool(self.caps or self.carries or any(rule.is_limited for rule in self.rules))

    @cached_property
    def budgets(self) -> Mapping[str, int]:
        """The points of the rules that have a budget."""
        return {rule.rule_id: rule.budget for rule in self.rules if rule.budget}

    @cached_property
    def segments(self) -> frozenset[str]:
        """The segments that rules name."""
        return frozenset().union(*[rule.segments for rule in self.rules])

    def needs(self, type_: str, occurred_time: datetime) -> Needs:
        """What has to be looked up for an activity of a type, at an instant."""
        if self.is_plain:
            return NOTHING
        day = local_time(occurred_time, self.zone).date()
        known = self._needs.get((type_, day))
        if known is None:
            if len(self._needs) >= _NEEDS_MAX:
                self._needs.clear()
            known = self._needs[type_, day] = self._needs_on(type_, day)
        return known

    def _needs_on(self, type_: str, day: date) -> Needs:
        asked = [
            rule for rule in self.rules if not rule.activity_types or type_ in rule.activity_types
        ]
        return Needs(
            profile=any(rule.is_personal or rule.segments for rule in asked),
            types=frozenset(
                kind for rule in asked if rule.nth for kind in (rule.activity_types or (type_,))
            ),
            caps=tuple(
                [
                    (cap.cap_id, period_key(cap.period, day))
                    for caps in (self.caps, *(rule.caps for rule in asked))
                    for cap in caps
                    if cap.period is not Period.ACTIVITY
                ]
            ),
            budgets=tuple(sorted(rule.rule_id for rule in asked if rule.budget)),
            carried=(self.currency_id,) if self.carries else (),
        )


@value
class ReferralPolicy:
    """What a referral gives to both sides, once, after the friend's first qualifying activity.

    An activity qualifies by its type (any without `activity_types`) and by the condition, which is
    asked without a level and a member. `max_per_referrer` of 0 has no end.
    """

    currency_id: CurrencyId
    referrer_points: int
    friend_points: int
    activity_types: frozenset[str] = frozenset()
    condition: Condition | None = None
    max_per_referrer: int = 0


@value
class Program:
    """One version of a program, compiled: what it accepts, what it gives and what it takes back.

    `currency_id` is the first currency and `rules` those that give points of it; `others` are the
    rules of further currencies, in their order, of those that have any.
    An adjustment of more points than `adjustment_approval_above` needs a second actor; 0 means that
    none does. Reversals that come before their activity wait for it if `early_reversals_wait`.
    """

    program_id: ProgramId
    currency_id: CurrencyId
    money_currency_code: str
    rules: Rules
    others: tuple[Rules, ...] = ()
    currencies: Mapping[CurrencyId, CurrencyPolicy] = field(default_factory=dict)
    tier_ladder_id: str = ""
    reversal_policy: ReversalPolicy = ReversalPolicy.ALLOW_DEBT
    early_reversals_wait: bool = True
    enroll_unknown_members: bool = False
    accepted_past: timedelta = timedelta(days=400)
    accepted_future: timedelta = timedelta(minutes=5)
    referral: ReferralPolicy | None = None
    adjustment_approval_above: int = 0
    households: HouseholdPolicy | None = None
    conversions: Mapping[tuple[CurrencyId, CurrencyId], Conversion] = field(default_factory=dict)

    @property
    def has_further(self) -> bool:
        """Whether it has more currencies than the first; what once had always has."""
        return len(self.currencies) > 1

    @property
    def is_plain(self) -> bool:
        """Whether no rule of any currency looks up anything but the wallet and the level."""
        if not self.others:
            return self.rules.is_plain
        return self.rules.is_plain and all(each.is_plain for each in self.others)

    def needs(self, type_: str, occurred_time: datetime) -> Needs:
        """What has to be looked up for an activity of a type at an instant, for all currencies."""
        if not self.others:
            return self.rules.needs(type_, occurred_time)
        all_ = [each.needs(type_, occurred_time) for each in (self.rules, *self.others)]
        return Needs(
            profile=any(each.profile for each in all_),
            types=frozenset().union(*[each.types for each in all_]),
            caps=tuple([cap for each in all_ for cap in each.caps]),
            budgets=tuple(sorted(rule for each in all_ for rule in each.budgets)),
            carried=tuple([currency_id for each in all_ for currency_id in each.carried]),
        )
