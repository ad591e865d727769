"""The rules of a program: what they are made of, and what deciding an activity looks at.

Rules come compiled: conditions are functions, so that a preview, a test and the ledger run the same
code. What they come to is decided in `evaluation.py` (`semantics.md`, "Activities and earning").
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias
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
from services.earning.money import Money
from services.earning.schedules import Occasion, Period, Schedule, period_key
from services.earning.stacking import MultiplierPolicy, Rounding
from shared.values import value

Condition: TypeAlias = Callable[[object, str, object], str]
"""Takes the activity, the level and the member; says why it does not hold, nothing when it does."""
LineCondition: TypeAlias = Callable[[object], str]
"""Takes the line; says why it does not count, nothing when it does."""
CapKey: TypeAlias = tuple[str, str]
"""A cap and the period that it counts in."""


@value
class Base:
    """So many points for each so many minor units."""

    points: int
    per_amount: int


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
    effect: Base | Flat | Bonus | Multiplier
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
    def is_plain(self) -> bool:
        """Whether its types and conditions are all that it asks before its lines."""
        return not (
            self.channels
            or self.levels
            or self.segments
            or self.schedule
            or self.occasion
            or self.nth
        )


@value
class Facts:
    """What rules look at beyond the activity; the loader fills what `Rules.needs` asks for.

    `member` is what conditions read of the member. `counts` are the member's activities before this
    one, by type. `used` is what caps counted so far in the period; `spent` what rules with a budget
    have given. `carried` is the remainder that was not given yet.
    When an audit decides again from what is stored, `verdicts` are those of rules that look at
    personal data (the reason why such a rule did not apply, empty when it did), and `left` is what
    each cap and budget had left; the period of a budget is "".
    """

    level_id: LevelId = LevelId("")
    segments: frozenset[str] = frozenset()
    member: object = None
    birth_date: date | None = None
    enroll_time: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    used: Mapping[CapKey, int] = field(default_factory=dict)
    spent: Mapping[str, int] = field(default_factory=dict)
    carried: Fraction = Fraction(0)
    verdicts: Mapping[str, str] | None = None
    left: Mapping[CapKey, int] | None = None


@value
class Needs:
    """What deciding an activity has to look up, beyond the wallet and the level."""

    profile: bool = False
    types: frozenset[str] = frozenset()
    caps: tuple[CapKey, ...] = ()
    budgets: tuple[str, ...] = ()
    carry: bool = False


NOTHING = Needs()
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
    """The points of an activity, what each line has of them, and why; `carried` is left over."""

    points: int
    explanation: Explanation
    carried: Fraction = Fraction(0)


class Rules:
    """The rules of one version of a program, in the order in which explanations list them."""

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
    ) -> None:
        self.version = version
        self.rules = rules
        self.multiplier_policy = multiplier_policy
        self.rounding = rounding
        self.money = money
        self.zone = zone
        self.caps = caps
        self.carries = carries

    @cached_property
    def is_plain(self) -> bool:
        """Whether nothing is looked up but the wallet and the level."""
        return not (
            self.caps
            or self.carries
            or any(
                rule.caps
                or rule.budget
                or rule.nth
                or rule.occasion
                or rule.segments
                or rule.reads_member
                for rule in self.rules
            )
        )

    @cached_property
    def asks_calendar(self) -> bool:
        """Whether a rule asks which day it is."""
        return any(rule.schedule or rule.occasion for rule in self.rules)

    def needs(self, type_: str, occurred_time: datetime) -> Needs:
        """What has to be looked up for an activity of a type, at an instant."""
        if self.is_plain:
            return NOTHING
        day = occurred_time.astimezone(self.zone).date()
        asked = [
            rule for rule in self.rules if not rule.activity_types or type_ in rule.activity_types
        ]
        return Needs(
            profile=any(rule.occasion or rule.segments or rule.reads_member for rule in asked),
            types=frozenset(
                kind for rule in asked if rule.nth for kind in (rule.activity_types or (type_,))
            ),
            caps=tuple(
                (cap.cap_id, period_key(cap.period, day))
                for caps in (self.caps, *(rule.caps for rule in asked))
                for cap in caps
                if cap.period is not Period.ACTIVITY
            ),
            budgets=tuple(sorted(rule.rule_id for rule in asked if rule.budget)),
            carry=self.carries,
        )


@value
class Program:
    """One version of a program, compiled: what it accepts, what it gives and what it takes back."""

    program_id: ProgramId
    currency_id: CurrencyId
    money_currency_code: str
    rules: Rules
    currencies: Mapping[CurrencyId, CurrencyPolicy] = field(default_factory=dict)
    tier_ladder_id: str = ""
    reversal_policy: ReversalPolicy = ReversalPolicy.ALLOW_DEBT
    enroll_unknown_members: bool = False
    accepted_past: timedelta = timedelta(days=400)
    accepted_future: timedelta = timedelta(minutes=5)
