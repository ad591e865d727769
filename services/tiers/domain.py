"""What tiers knows and decides about one member: values, commands, events, refusals, `decide`.

Pure: the clock, the compiled conditions and the ladders in force are arguments.
The arithmetic of days, windows and levels is in `ladders.py`, which this module builds on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import TypeAlias, assert_never

from services.tiers import ladders
from services.tiers.ladders import (
    Ladder,
    LadderId,
    LadderStart,
    Level,
    LevelId,
    Line,
    Membership,
    MembershipChanged,
    Qualified,
    Reason,
    ReturnedLine,
    Standing,
    TiersProgram,
)
from shared import errors
from shared.decision import Decision
from shared.names import NameMember

# Commands ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinMember:
    """A member joined at `enroll_time`; the identifiers are those that callers may use."""

    program_id: str
    member_key: str
    identifiers: tuple[str, ...]
    enroll_time: datetime
    decide_time: datetime
    request_key: None = None

    @property
    def routing(self) -> str:
        """The member, so that its commands stay in order."""
        return self.member_key


@dataclass(frozen=True, slots=True, kw_only=True)
class CountActivity:
    """A member did something; `amount_minor` is the whole payment, 0 without one.

    `decide_time` is the publisher's instant of the record, as of which levels are decided.
    """

    program_id: str
    member_key: str
    activity_id: str
    activity_type: str
    occurred_time: datetime
    decide_time: datetime
    amount_minor: int
    lines: tuple[Line, ...]
    request_key: None = None

    @property
    def routing(self) -> str:
        """The member, so that its commands stay in order."""
        return self.member_key


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeBack:
    """An activity was reversed in part or whole: by lines, or, without any, by `amount_minor`."""

    program_id: str
    member_key: str
    activity_id: str
    activity_type: str
    decide_time: datetime
    amount_minor: int
    lines: tuple[ReturnedLine, ...]
    request_key: None = None

    @property
    def routing(self) -> str:
        """The member, so that its commands stay in order."""
        return self.member_key


@dataclass(frozen=True, slots=True, kw_only=True)
class EnterLadders:
    """A member who joined before some ladder was applied gets its lowest level."""

    program_id: str
    member_key: str
    request_key: None = None

    @property
    def routing(self) -> str:
        """The member, so that its commands stay in order."""
        return self.member_key


Command: TypeAlias = JoinMember | CountActivity | TakeBack | EnterLadders | NameMember


# State -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of one program; `enroll_time` is None until its enrolment was applied.

    `identifiers` are those learned since the member was loaded, not all that it has.
    """

    program_id: str
    member_key: str
    enroll_time: datetime | None = None
    identifiers: tuple[str, ...] = ()
    standings: Mapping[LadderId, Standing] = field(default_factory=dict)


def with_standing(member: Member, standing: Standing) -> Member:
    """The member with this standing on its ladder."""
    return replace(member, standings={**member.standings, standing.ladder_id: standing})


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The ladders in force, and since when each has been there for members who joined earlier."""

    program: TiersProgram
    starts: Mapping[LadderId, LadderStart]


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipView:
    """Where a member stands on a ladder at one instant.

    The window holds the days `window_start` to `window_end`, both inclusive. `next_level` is the
    lowest one that neither the net spend has reached nor the member has been given.
    """

    member_key: str
    ladder: Ladder
    level_id: LevelId
    since_time: datetime
    upcoming_level_id: LevelId | None
    upcoming_time: datetime | None
    window_start: date
    window_end: date
    net_spend_minor: int
    next_level: Level | None


# Refusals ----------------------------------------------------------------------------------------


@dataclass(eq=False, repr=False, kw_only=True)
class LadderNotFound(errors.NotFound):
    """The program in force has no ladder of this id."""

    message = "program {program_id} has no ladder {ladder_id}"
    program_id: str
    ladder_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class InvalidProgram(errors.FieldViolations):
    """The document means nothing: one violation per complaint, each with its field's path."""

    message = "{violations}"


class UnknownMemberKeyError(Exception):
    """An event names a member whose enrolment was never seen: the feed lost its order.

    Not a refusal, because nothing a caller does can bring it about: the member is parked.
    """


# Reading -----------------------------------------------------------------------------------------


def view(
    program: TiersProgram,
    ladder: Ladder,
    *,
    member_key: str,
    membership: Membership,
    net_spend_minor: int,
    now: datetime,
) -> MembershipView:
    """Tell where a member stands; `net_spend_minor` is that of the window that ends today."""
    today = program.day_of(now)
    level_id, since_time = membership.held_at(now)
    upcoming = membership.upcoming_at(now)
    given = ladder.rank_of(membership.level_id)
    above = max(ladder.rank_reached(net_spend_minor), 0 if given is None else given) + 1
    return MembershipView(
        member_key=member_key,
        ladder=ladder,
        level_id=level_id,
        since_time=since_time,
        upcoming_level_id=membership.level_id if upcoming else None,
        upcoming_time=membership.effective_time if upcoming else None,
        window_start=ladders.window_start(today, ladder.window_months),
        window_end=today,
        net_spend_minor=net_spend_minor,
        next_level=ladder.levels[above] if above < len(ladder.levels) else None,
    )


# Decisions ---------------------------------------------------------------------------------------


def decide(in_force: InForce | None, member: Member, command: Command) -> Decision[Member, None]:
    """Give the member after the command and its changes of level, ladder by ladder in order.

    Without a program in force members are remembered and nothing else.
    Raises UnknownMemberKeyError for a member that never joined.
    """
    if isinstance(command, JoinMember):
        return _join(in_force, member, command)
    if member.enroll_time is None:
        raise UnknownMemberKeyError(member.member_key)
    if in_force is None or isinstance(command, NameMember):
        return Decision(state=member, answer=None)
    changes: list[MembershipChanged] = []
    standings = dict(member.standings)
    for ladder in in_force.program.ladders:
        standing = standings.get(ladder.ladder_id) or Standing(ladder_id=ladder.ladder_id)
        if standing.membership is None:
            standing = enter(standing, in_force.starts[ladder.ladder_id], member, changes)
        if isinstance(command, CountActivity):
            standing = _counted(in_force.program, ladder, standing, member, command, changes)
        elif isinstance(command, TakeBack):
            standing = _taken_back(in_force.program, ladder, standing, member, command, changes)
        elif not isinstance(command, EnterLadders):
            assert_never(command)
        standings[ladder.ladder_id] = standing
    return Decision(state=replace(member, standings=standings), answer=None, events=tuple(changes))


def _join(in_force: InForce | None, member: Member, command: JoinMember) -> Decision[Member, None]:
    """Remember the member, and give it the lowest level of every ladder from its enrolment on."""
    if member.enroll_time is not None:
        return Decision(state=replace(member, identifiers=command.identifiers), answer=None)
    joined = replace(member, enroll_time=command.enroll_time, identifiers=command.identifiers)
    changes: list[MembershipChanged] = []
    standings = dict(member.standings)
    if in_force is None:
        return Decision(state=joined, answer=None)
    for ladder in in_force.program.ladders:
        lowest = ladders.Outcome(
            level_id=ladder.levels[0].level_id,
            level_rank=0,
            effective_time=command.enroll_time,
            decide_time=command.decide_time,
            reason=Reason.ENROLLED,
            program_version=in_force.program.version,
        )
        standing = Standing(ladder_id=ladder.ladder_id)
        standings[ladder.ladder_id] = _taken(standing, lowest, joined, changes)
    return Decision(state=replace(joined, standings=standings), answer=None, events=tuple(changes))


def enter(
    standing: Standing, start: LadderStart, member: Member, changes: list[MembershipChanged]
) -> Standing:
    """Decide the first level of a member who was there before the ladder, and note the change.

    It depends on the ladder's beginning alone, so that it comes out the same whenever the member
    is seen: by the job that fills a new ladder, or by its next activity if that is sooner.
    """
    at = max(start.start_time, member.enroll_time or start.start_time)
    entered = ladders.Outcome(
        level_id=start.level_id,
        level_rank=0,
        effective_time=at,
        decide_time=at,
        reason=Reason.ENROLLED,
        program_version=start.program_version,
    )
    return _taken(standing, entered, member, changes)


def _counted(
    program: TiersProgram,
    ladder: Ladder,
    standing: Standing,
    member: Member,
    command: CountActivity,
    changes: list[MembershipChanged],
) -> Standing:
    """Add what qualifies to the day of the activity, and decide the level."""
    if not ladder.counts_type(command.activity_type):
        return standing
    qualified = ladders.qualify(
        ladder,
        activity_id=command.activity_id,
        day=program.day_of(command.occurred_time),
        program_version=program.version,
        amount_minor=command.amount_minor,
        lines=command.lines,
    )
    if qualified is not None:
        standing = standing.with_qualified(qualified, qualified.amount_minor)
    outcome = ladders.evaluate(program, ladder, standing, command.decide_time, reversal=False)
    return _taken(standing, outcome, member, changes)


def _taken_back(
    program: TiersProgram,
    ladder: Ladder,
    standing: Standing,
    member: Member,
    command: TakeBack,
    changes: list[MembershipChanged],
) -> Standing:
    """Take what had qualified off the day of the activity, and decide the level.

    What counts is what was stored with the activity, whatever the ladder counts today.
    """
    qualified: Qualified | None = standing.qualified.get(command.activity_id)
    if qualified is not None:
        returned, amount_minor = ladders.give_back(
            qualified, amount_minor=command.amount_minor, lines=command.lines
        )
        standing = standing.with_qualified(returned, -amount_minor)
    elif not ladder.counts_type(command.activity_type):
        return standing
    outcome = ladders.evaluate(program, ladder, standing, command.decide_time, reversal=True)
    return _taken(standing, outcome, member, changes)


def _taken(
    standing: Standing,
    outcome: ladders.Outcome | None,
    member: Member,
    changes: list[MembershipChanged],
) -> Standing:
    """Let the outcome stand, if there is one, and note the change."""
    if outcome is None:
        return standing
    changed = ladders.change(
        standing, outcome, program_id=member.program_id, member_key=member.member_key
    )
    changes.append(changed)
    return replace(standing, membership=ladders.membership_after(standing.membership, changed))
