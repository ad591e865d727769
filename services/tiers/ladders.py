"""Ladders: what counts as net spend, over which days, which level it reaches, and from when.

Pure, like `domain.py`, which builds on it.

Net spend of a day = amounts of the lines that qualified of activities that occurred on that local
day, less what of those lines was returned, whenever that was.
The window of a decision on local day D holds the days d with (D minus n months) < d <= D, where a
month that is too short gives its last day.
The level is the highest whose threshold is not above the net spend of the window.
"""

import calendar
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from typing import NewType, Protocol
from zoneinfo import ZoneInfo

LadderId = NewType("LadderId", str)
LevelId = NewType("LevelId", str)

_NEXT_INSTANT = timedelta(microseconds=1)


class Item(Protocol):
    """A line of a receipt as conditions see it (a LineItem of the earning service)."""

    @property
    def amount_minor(self) -> int:
        """Amount of the whole line in minor units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of an activity; `line_number` counts from 1."""

    line_number: int
    item: Item


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnedLine:
    """What one line gave back by one reversal."""

    line_number: int
    amount_minor: int


class UpgradeEffective(Enum):
    """When a decided level becomes effective."""

    AT_ONCE = "at_once"
    NEXT_MIDNIGHT = "next_midnight"


class Reason(Enum):
    """Why a level changed."""

    ENROLLED = "enrolled"
    EARNED = "earned"
    REVERSED = "reversed"
    REVIEWED = "reviewed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A level, reached from a net spend of `net_spend_minor` on, inclusive."""

    level_id: LevelId
    display_name: str
    net_spend_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Levels ascending from the lowest (threshold 0).

    `activity_types` empty: all. `line_condition` None: all lines, and the payment of an activity
    without lines. A line whose condition fails to evaluate does not count.
    """

    ladder_id: LadderId
    levels: tuple[Level, ...]
    activity_types: frozenset[str]
    line_condition: Callable[[Item], bool] | None
    window_months: int
    upgrade_effective: UpgradeEffective
    downgrade_keeps: bool
    reversal_keeps: bool

    def counts_type(self, activity_type: str) -> bool:
        """Whether activities of this type are looked at."""
        return not self.activity_types or activity_type in self.activity_types

    def rank_of(self, level_id: str) -> int | None:
        """Place of the level, 0 for the lowest; None for one that the ladder no longer has."""
        ranks = (rank for rank, level in enumerate(self.levels) if level.level_id == level_id)
        return next(ranks, None)

    def rank_reached(self, net_spend_minor: int) -> int:
        """Place of the highest level reached; the lowest needs nothing, not even 0."""
        reached = (
            rank
            for rank, level in enumerate(self.levels)
            if level.net_spend_minor <= net_spend_minor
        )
        return max(reached, default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TiersProgram:
    """One version of a program's ladders, compiled."""

    program_id: str
    version: int
    zone: ZoneInfo
    ladders: tuple[Ladder, ...]

    def day_of(self, instant: datetime) -> date:
        """Local day of an instant."""
        return instant.astimezone(self.zone).date()

    def ladder(self, ladder_id: str) -> Ladder | None:
        """The ladder of this id, or the first one for an empty id."""
        if not ladder_id:
            return self.ladders[0]
        return next((each for each in self.ladders if each.ladder_id == ladder_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderStart:
    """When a ladder was first applied, and the lowest level that it then had."""

    start_time: datetime
    program_version: int
    level_id: LevelId


@dataclass(frozen=True, slots=True, kw_only=True)
class Qualified:
    """What of one activity counted, stored so that its return is taken off whatever counts then.

    `lines` are the numbers of the lines that counted and `amount_minor` their amount.
    `amount_minor_total` is the whole activity's amount, of which reversals by amount have given
    `amount_minor_given_back` back so far.
    """

    activity_id: str
    day: date
    program_version: int
    lines: tuple[int, ...]
    amount_minor: int
    amount_minor_total: int
    amount_minor_given_back: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The level decided last, effective from `effective_time`.

    `since_time`: since when it will have been held without a break at that instant.
    `before_level_id`, `before_since_time`: what is held until then; empty and None before the
    first level. The n-th decision has `sequence` n.
    """

    level_id: LevelId
    effective_time: datetime
    since_time: datetime
    before_level_id: LevelId
    before_since_time: datetime | None
    sequence: int

    def held_at(self, now: datetime) -> tuple[LevelId, datetime]:
        """Level that is effective, and since when.

        The first level counts at any time: the clock that decided may be ahead of ours, but not by
        so much that two decisions are.
        """
        if self.effective_time <= now or self.before_since_time is None:
            return self.level_id, self.since_time
        return self.before_level_id, self.before_since_time

    def upcoming_at(self, now: datetime) -> bool:
        """Whether the decided level is another than the effective one."""
        return self.held_at(now)[0] != self.level_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A decision that differs from the last one."""

    level_id: LevelId
    level_rank: int
    effective_time: datetime
    decide_time: datetime
    reason: Reason
    program_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipChanged:
    """It was decided that a member has another level from `effective_time` on."""

    program_id: str
    member_key: str
    ladder_id: LadderId
    sequence: int
    level_id: LevelId
    level_rank: int
    previous_level_id: LevelId
    effective_time: datetime
    decide_time: datetime
    reason: Reason
    program_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A member on a ladder: net spend in minor units by local day, what counted, the level."""

    ladder_id: LadderId
    membership: Membership | None = None
    spend: Mapping[date, int] = field(default_factory=dict)
    qualified: Mapping[str, Qualified] = field(default_factory=dict)

    def with_qualified(self, qualified: Qualified, amount_minor: int) -> "Standing":
        """The standing after `amount_minor` (negative: a return) on the day of the activity."""
        spend = {**self.spend, qualified.day: self.spend.get(qualified.day, 0) + amount_minor}
        kept = {**self.qualified, qualified.activity_id: qualified}
        return replace(self, spend=spend, qualified=kept)


# Days --------------------------------------------------------------------------------------------


def months_before(day: date, months: int) -> date:
    """The same day `months` earlier, the last of its month where that is too short."""
    count = max(day.year * 12 + day.month - 1 - months, 12)
    year, month = divmod(count, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def window_start(day: date, months: int) -> date:
    """First day, inclusive, of the window that ends with `day`."""
    return months_before(day, months) + timedelta(days=1)


def net_spend(spend: Mapping[date, int], day: date, months: int) -> int:
    """Net spend in minor units of the window that ends with `day`."""
    first = window_start(day, months)
    return sum(amount for each, amount in spend.items() if first <= each <= day)


def next_midnight(instant: datetime, zone: ZoneInfo) -> datetime:
    """First instant of the local day after that of `instant`, in UTC.

    Where the clock skips midnight, that is the instant of the jump; where it is struck twice, the
    first of the two (fold 0 is both).
    """
    day = instant.astimezone(zone).date() + timedelta(days=1)
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


# Spend -------------------------------------------------------------------------------------------


def qualify(
    ladder: Ladder,
    *,
    activity_id: str,
    day: date,
    program_version: int,
    amount_minor: int,
    lines: Sequence[Line],
) -> Qualified | None:
    """What of an activity counts; None when nothing does."""
    condition = ladder.line_condition
    counted = [line for line in lines if condition is None or condition(line.item)]
    whole = not lines and condition is None and amount_minor > 0
    if not counted and not whole:
        return None
    return Qualified(
        activity_id=activity_id,
        day=day,
        program_version=program_version,
        lines=tuple(line.line_number for line in counted),
        amount_minor=amount_minor if whole else sum(line.item.amount_minor for line in counted),
        amount_minor_total=amount_minor or sum(line.item.amount_minor for line in lines),
    )


def give_back(
    qualified: Qualified, *, amount_minor: int, lines: Sequence[ReturnedLine]
) -> tuple[Qualified, int]:
    """What remains stored, and the amount that a reversal takes off, in minor units.

    By lines: what the lines that counted gave back. By amount: the share that counted, in total
    floor(counted * given back so far / total), so that the last return takes the remainder.
    """
    if lines:
        counted = frozenset(qualified.lines)
        return qualified, sum(each.amount_minor for each in lines if each.line_number in counted)
    before = qualified.amount_minor_given_back
    after = before + amount_minor
    total = qualified.amount_minor_total
    if total <= 0:
        return qualified, 0
    taken = qualified.amount_minor * after // total - qualified.amount_minor * before // total
    return replace(qualified, amount_minor_given_back=after), taken


# Levels ------------------------------------------------------------------------------------------


def evaluate(
    program: TiersProgram,
    ladder: Ladder,
    standing: Standing,
    decide_time: datetime,
    *,
    reversal: bool,
) -> Outcome | None:
    """Decide the level as of an activity or a reversal; None when it is the one decided last.

    A level never becomes effective before the one decided last: the clocks of two publishers may
    differ, and of two decisions the later stands.
    """
    reached = ladder.rank_reached(
        net_spend(standing.spend, program.day_of(decide_time), ladder.window_months)
    )
    last = standing.membership
    held = ladder.rank_of(last.level_id) if last is not None else None
    if held is not None and reached < held:
        keeps = ladder.reversal_keeps if reversal else ladder.downgrade_keeps
        reached = held if keeps else reached
    level = ladder.levels[reached]
    if last is not None and last.level_id == level.level_id:
        return None
    effective_time = (
        next_midnight(decide_time, program.zone)
        if ladder.upgrade_effective is UpgradeEffective.NEXT_MIDNIGHT
        else decide_time + _NEXT_INSTANT
    )
    return Outcome(
        level_id=level.level_id,
        level_rank=reached,
        effective_time=max(effective_time, last.effective_time) if last else effective_time,
        decide_time=decide_time,
        reason=_reason(held, reached, reversal=reversal),
        program_version=program.version,
    )


def _reason(held: int | None, reached: int, *, reversal: bool) -> Reason:
    if held is not None and reversal and reached < held:
        return Reason.REVERSED
    if held is not None and not reversal and reached > held:
        return Reason.EARNED
    # The window has moved on, or the ladder has changed: the event was only the occasion.
    return Reason.REVIEWED


def change(
    standing: Standing, outcome: Outcome, *, program_id: str, member_key: str
) -> MembershipChanged:
    """The event that says so."""
    last = standing.membership
    return MembershipChanged(
        program_id=program_id,
        member_key=member_key,
        ladder_id=standing.ladder_id,
        sequence=last.sequence + 1 if last is not None else 1,
        level_id=outcome.level_id,
        level_rank=outcome.level_rank,
        previous_level_id=last.level_id if last is not None else LevelId(""),
        effective_time=outcome.effective_time,
        decide_time=outcome.decide_time,
        reason=outcome.reason,
        program_version=outcome.program_version,
    )


def membership_after(last: Membership | None, changed: MembershipChanged) -> Membership:
    """The membership after a change; one for the same instant stands in the last one's place."""
    if last is None:
        before_level_id, before_since_time = LevelId(""), None
    elif last.effective_time == changed.effective_time:
        before_level_id, before_since_time = last.before_level_id, last.before_since_time
    else:
        before_level_id, before_since_time = last.level_id, last.since_time
    unbroken = before_since_time is not None and before_level_id == changed.level_id
    return Membership(
        level_id=changed.level_id,
        effective_time=changed.effective_time,
        since_time=before_since_time if unbroken and before_since_time else changed.effective_time,
        before_level_id=before_level_id,
        before_since_time=before_since_time,
        sequence=changed.sequence,
    )
