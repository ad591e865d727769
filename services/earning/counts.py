"""What rules look up across activities, and what a decision adds to it.

Counts of caps and remainders hang on the member's wallet, budgets on the program; all are kept up
to date while the commands of a batch are folded.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import TypeAlias

from services.earning.domain import ActivityRecord, CurrencyId, LevelId, MemberKey, ProgramId
from services.earning.explanations import CapOutcome, given_back, read
from services.earning.member_records import NO_PROFILE, Profile
from services.earning.rules import CapKey, Facts, Needs
from services.earning.schedules import Period
from services.earning.sums import NOTHING_CARRIED
from shared.values import value

_THIS_ACTIVITY = str(Period.ACTIVITY)

CountKey: TypeAlias = tuple[ProgramId, MemberKey, str, str]
"""Program, member, cap and period."""
TypeKey: TypeAlias = tuple[ProgramId, MemberKey, str]
BudgetKey: TypeAlias = tuple[ProgramId, str]
Place: TypeAlias = tuple[ProgramId, MemberKey]
CarryKey: TypeAlias = tuple[ProgramId, MemberKey, CurrencyId]


@value
class Counted:
    """What a decision adds to the counts of a member and of the program's budgets.

    `type` is that of a recorded activity, empty for a reversal, whose points are negative;
    `carried` are the new remainders of the currencies that carry one; `cut` the budgets that left
    points out.
    """

    place: Place
    caps: tuple[tuple[CapKey, int], ...] = ()
    budgets: tuple[tuple[str, int], ...] = ()
    type: str = ""
    carried: tuple[tuple[CurrencyId, Fraction], ...] = ()
    cut: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Counts:
    """Counts by key, as they are after the commands folded so far; what is 0 may be missing.

    `budgets_before` are the budgets as they were loaded, those in `locked_budgets` behind a lock.
    """

    caps: dict[CountKey, int] = field(default_factory=dict)
    budgets: dict[BudgetKey, int] = field(default_factory=dict)
    carried: dict[CarryKey, Fraction] = field(default_factory=dict)
    types: dict[TypeKey, int] = field(default_factory=dict)
    profiles: dict[Place, Profile] = field(default_factory=dict)
    enrolled: dict[Place, datetime] = field(default_factory=dict)

    changed_caps: set[CountKey] = field(default_factory=set)
    changed_budgets: set[BudgetKey] = field(default_factory=set)
    cut_budgets: set[BudgetKey] = field(default_factory=set)
    budgets_before: dict[BudgetKey, int] = field(default_factory=dict)
    locked_budgets: set[BudgetKey] = field(default_factory=set)
    changed_carried: set[CarryKey] = field(default_factory=set)

    def put(self, counted: Counted, member_key: MemberKey) -> None:
        """Take what a decision counted, for the member or whom it was merged into."""
        program_id = counted.place[0]
        for (cap_id, period), points in counted.caps:
            key = (program_id, member_key, cap_id, period)
            self.caps[key] = max(0, self.caps.get(key, 0) + points)
            self.changed_caps.add(key)
        for rule_id, points in counted.budgets:
            budget = (program_id, rule_id)
            self.budgets[budget] = max(0, self.budgets.get(budget, 0) + points)
            self.changed_budgets.add(budget)
        for rule_id in counted.cut:
            self.cut_budgets.add((program_id, rule_id))
        if counted.type:
            kind = (program_id, member_key, counted.type)
            self.types[kind] = self.types.get(kind, 0) + 1
        for currency_id, carried in counted.carried:
            carry = (program_id, member_key, currency_id)
            if self.carried.get(carry, NOTHING_CARRIED) != carried:
                self.carried[carry] = carried
                self.changed_carried.add(carry)

    def follow(self, program_id: ProgramId, source: MemberKey, target: MemberKey) -> None:
        """Let what counted for a member who ends count for the one who goes on.

        A cap of the day is not there twice for two cards of one person.
        """
        place = (program_id, source)
        caps = [(key, points) for key, points in self.caps.items() if key[:2] == place]
        carried = [(key[2], rest) for key, rest in self.carried.items() if key[:2] == place]
        types = [(key[2], number) for key, number in self.types.items() if key[:2] == place]
        for (_, _, cap_id, period), points in caps:
            key = (program_id, target, cap_id, period)
            self.caps[key] = self.caps.get(key, 0) + points
            self.changed_caps.add(key)
        for currency_id, rest in carried:
            carry = (program_id, target, currency_id)
            self.carried[carry] = self.carried.get(carry, NOTHING_CARRIED) + rest
            self.changed_carried.add(carry)
        for type_, number in types:
            kind = (program_id, target, type_)
            self.types[kind] = self.types.get(kind, 0) + number

    def facts(self, place: Place, needs: Needs, level_id: LevelId, member: object) -> Facts:
        """What rules look at for a member's activity; `member` is what conditions read."""
        program_id, member_key = place
        profile = self.profiles.get(place, NO_PROFILE)
        return Facts(
            level_id=level_id,
            segments=frozenset(profile.segments),
            member=member,
            birth_date=profile.birth_date,
            enroll_time=self.enrolled.get(place),
            counts={kind: self.types.get((*place, kind), 0) for kind in needs.types},
            used={key: self.caps.get((program_id, member_key, *key), 0) for key in needs.caps},
            spent={rule: self.budgets.get((program_id, rule), 0) for rule in needs.budgets},
            carried={
                each: self.carried.get((*place, each), NOTHING_CARRIED) for each in needs.carried
            },
        )


def counted(
    place: Place,
    type_: str,
    caps: Iterable[CapOutcome],
    carried: tuple[tuple[CurrencyId, Fraction], ...],
) -> Counted:
    """What an activity adds to the counts."""
    found = tuple(caps)
    return Counted(
        place=place,
        caps=tuple(
            ((cap.cap_id, cap.period), cap.counted) for cap in found if _lasts(cap) and cap.period
        ),
        budgets=tuple((cap.cap_id, cap.counted) for cap in found if not cap.period),
        type=type_,
        carried=carried,
        cut=tuple([cap.cap_id for cap in found if cap.cut and not cap.period]),
    )


def uncounted(place: Place, before: ActivityRecord, after: ActivityRecord) -> Counted | None:
    """What a reversal gives back to the caps and budgets that the activity was counted by.

    None when there were none. Allowance comes back to the period that it came from.
    """
    backs = [
        (cap, given_back(cap, points, earlier) - given_back(cap, points, later))
        for (explanation, points, earlier), (_, _, later) in zip(
            _earned(before), _earned(after), strict=True
        )
        for cap in _lasting(read(explanation).caps)
    ]
    if not backs:
        return None
    return Counted(
        place=place,
        caps=tuple(((cap.cap_id, cap.period), back) for cap, back in backs if cap.period),
        budgets=tuple((cap.cap_id, back) for cap, back in backs if not cap.period),
    )


def caps_of(record: ActivityRecord) -> tuple[CapOutcome, ...]:
    """The caps and budgets that counted an activity, in any currency, and still do."""
    return tuple([cap for each in _earned(record) for cap in _lasting(read(each[0]).caps)])


def _earned(record: ActivityRecord) -> list[tuple[str, int, int]]:
    """Of each currency the explanation, the points, and those that were reversed."""
    return [
        (record.explanation, record.points, record.points_reversed),
        *[(each.explanation, each.points, each.points_reversed) for each in record.further],
    ]


def _lasting(caps: Iterable[CapOutcome]) -> Iterator[CapOutcome]:
    return (cap for cap in caps if _lasts(cap))


def _lasts(cap: CapOutcome) -> bool:
    return cap.period != _THIS_ACTIVITY
