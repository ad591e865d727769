"""Makes members, ladders and events for the tests of tiers, in few words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.tiers import domain
from services.tiers.domain import CountActivity, InForce, JoinMember, Member, TakeBack
from services.tiers.ladders import (
    Item,
    Ladder,
    LadderId,
    LadderStart,
    Level,
    LevelId,
    Line,
    MembershipChanged,
    ReturnedLine,
    TiersProgram,
    UpgradeEffective,
)

PROGRAM = "giftshop"
MEMBER = "0123456789abcdef0123456789abcdef"
LONDON = ZoneInfo("Europe/London")
STARTED = datetime(2009, 1, 1, tzinfo=UTC)
LEVELS = (("member", 0), ("silver", 50_000), ("gold", 200_000))


@dataclass(frozen=True, slots=True)
class Thing:
    """A line of a receipt."""

    amount_minor: int
    category: str = "product"


def is_product(item: Item) -> bool:
    """The condition of the giftshop."""
    return isinstance(item, Thing) and item.category == "product"


def ladder(
    ladder_id: str = "main",
    *,
    levels: Sequence[tuple[str, int]] = LEVELS,
    types: Sequence[str] = ("purchase",),
    condition: Callable[[Item], bool] | None = is_product,
    months: int = 12,
    effective: UpgradeEffective = UpgradeEffective.NEXT_MIDNIGHT,
    downgrade_keeps: bool = False,
    reversal_keeps: bool = False,
) -> Ladder:
    """A ladder, by default that of the giftshop."""
    return Ladder(
        ladder_id=LadderId(ladder_id),
        levels=tuple(
            Level(level_id=LevelId(name), display_name=name.title(), net_spend_minor=threshold)
            for name, threshold in levels
        ),
        activity_types=frozenset(types),
        line_condition=condition,
        window_months=months,
        upgrade_effective=effective,
        downgrade_keeps=downgrade_keeps,
        reversal_keeps=reversal_keeps,
    )


def in_force(*ladders: Ladder, zone: ZoneInfo = LONDON, version: int = 1) -> InForce:
    """A program of these ladders, by default the giftshop's, there since before everyone."""
    held = ladders or (ladder(),)
    return InForce(
        program=TiersProgram(program_id=PROGRAM, version=version, zone=zone, ladders=held),
        starts={
            each.ladder_id: LadderStart(
                start_time=STARTED, program_version=1, level_id=each.levels[0].level_id
            )
            for each in held
        },
    )


def at(text: str, zone: ZoneInfo = LONDON) -> datetime:
    """Instant of a local time such as "2010-12-01 09:30"."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def join(time: datetime = STARTED + timedelta(days=1)) -> JoinMember:
    """The enrolment of the member."""
    return JoinMember(
        program_id=PROGRAM,
        member_key=MEMBER,
        identifiers=("17850",),
        enroll_time=time,
        decide_time=time,
    )


def buy(
    activity_id: str,
    when: datetime,
    *things: Thing | int,
    activity_type: str = "purchase",
    decided: datetime | None = None,
    paid: int | None = None,
) -> CountActivity:
    """A purchase of things (or of products of so many pence)."""
    items = [Thing(thing) if isinstance(thing, int) else thing for thing in things]
    return CountActivity(
        program_id=PROGRAM,
        member_key=MEMBER,
        activity_id=activity_id,
        activity_type=activity_type,
        occurred_time=when,
        decide_time=decided or when,
        amount_minor=sum(item.amount_minor for item in items) if paid is None else paid,
        lines=tuple(Line(line_number=n, item=item) for n, item in enumerate(items, start=1)),
    )


def give_back(
    activity_id: str,
    when: datetime,
    *lines: tuple[int, int],
    amount: int = 0,
    activity_type: str = "purchase",
) -> TakeBack:
    """A return of (line number, pence), or of an amount."""
    return TakeBack(
        program_id=PROGRAM,
        member_key=MEMBER,
        activity_id=activity_id,
        activity_type=activity_type,
        decide_time=when,
        amount_minor=amount or sum(pence for _, pence in lines),
        lines=tuple(ReturnedLine(line_number=n, amount_minor=pence) for n, pence in lines),
    )


@dataclass(slots=True)
class Story:
    """One member, event by event."""

    rules: InForce | None
    member: Member
    changes: list[MembershipChanged]

    @classmethod
    def of(cls, rules: InForce | None, *commands: domain.Command) -> "Story":
        """Tell the commands in order to a member that nobody knows yet."""
        story = cls(rules, Member(program_id=PROGRAM, member_key=MEMBER), [])
        return story.tell(*commands)

    def tell(self, *commands: domain.Command) -> "Story":
        """Go on with these commands."""
        for command in commands:
            decision = domain.decide(self.rules, self.member, command)
            self.member = decision.state
            for event in decision.events:
                assert isinstance(event, MembershipChanged)
                self.changes.append(event)
        return self

    def level(self, when: datetime, ladder_id: str = "main") -> str:
        """Level effective at an instant, by the rule that followers of the events use."""
        timeline = {
            change.effective_time: change.level_id
            for change in self.changes
            if change.ladder_id == ladder_id and change.effective_time <= when
        }
        return timeline[max(timeline)] if timeline else ""

    def decided(self, ladder_id: str = "main") -> str:
        """Level decided last."""
        membership = self.member.standings[LadderId(ladder_id)].membership
        assert membership is not None
        return membership.level_id

    def spend(self, ladder_id: str = "main") -> dict[date, int]:
        """Net spend by day, days without any left out."""
        days = self.member.standings[LadderId(ladder_id)].spend
        return {day: amount for day, amount in days.items() if amount}
