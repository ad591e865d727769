"""What a return does over the world that was loaded: points given back, and points taken back."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import cast

from services.earning import (
    deciding_further,
    deciding_members,
    deciding_pooled,
    deciding_referrals,
    decisions,
    further,
    holds,
    paying,
    reversals,
    waiting,
    wire,
)
from services.earning.commands import Command, ReverseActivity
from services.earning.decisions import NO_LOTS, Changes
from services.earning.domain import ActivityRecord, Hold, LineRecord, Reversal
from services.earning.ledger import Cause
from services.earning.refusals import ActivityNotFound
from services.earning.rules import Program
from services.earning.world import World
from shared import errors
from shared.decision import Decision


def reverse(world: World, command: ReverseActivity, now: datetime) -> Decision[Changes, Reversal]:
    """Take back what an activity gave, or let the reversal wait for it, if it may.

    Refuses ProgramNotFound, ActivityNotFound, and what `decisions.reverse` and `waiting.wait` do.
    """
    program = world.programs.get(command.program_id)
    if program is None:
        raise errors.ProgramNotFound(program_id=command.program_id)
    activity = world.activities.get((command.program_id, command.activity_id))
    if activity is None:
        if (command.program_id, command.reversal_id) in world.may_wait:
            kept = world.waiting.get((command.program_id, command.activity_id), {})
            return waiting.wait(command, kept, now)
        raise ActivityNotFound(activity_id=command.activity_id)
    return _reversed(world, command, program, activity, now)


def _reversed(
    world: World,
    command: ReverseActivity,
    program: Program,
    activity: ActivityRecord,
    now: datetime,
) -> Decision[Changes, Reversal]:
    activity = _with_items(activity)
    if not activity.points_hold_id:
        return _taken_back(world, command, program, activity, now)
    after = reversals.give_back(activity, command.scope).record
    held = world.holds[activity.program_id, activity.points_hold_id]
    points = paying.points_to_give_back(activity, after, held)
    if not points:
        return _taken_back(world, command, program, activity, now)
    # First given, then taken: what comes back counts when the balance is asked for points.
    given = _given_back(world, command, program, held, points, now)
    taken = _taken_back(world.after(given.state), command, program, activity, now)
    return paying.joined(given, taken, points)


def _given_back(
    world: World,
    command: ReverseActivity,
    program: Program,
    held: Hold,
    points: int,
    now: datetime,
) -> Decision[Changes, Hold]:
    key = (held.program_id, held.member_key, held.currency_id)
    cause = Cause(
        now=now,
        occurred_time=command.occurred_time,
        activity_id=command.activity_id,
        reference=held.hold_id,
        reason=command.reason,
    )
    if held.household_id:
        return deciding_pooled.give_back(world, program, held, points, cause)
    wallet, policy = world.wallets[key], decisions.policy_of(program, held.currency_id)
    given = holds.give_back(held, points, wallet, world.lots.get(key, NO_LOTS), policy, cause)
    return cast("Decision[Changes, Hold]", deciding_members.after_merge(world, given, wallet, now))


def _taken_back(
    world: World,
    command: ReverseActivity,
    program: Program,
    activity: ActivityRecord,
    now: datetime,
) -> Decision[Changes, Reversal]:
    key = (
        activity.program_id,
        world.owner(activity.program_id, activity.member_key),
        activity.currency_id,
    )
    lots = world.lots.get(key, NO_LOTS)
    decided = decisions.reverse(command, program, activity, world.wallets[key], lots, now)
    if activity.further:
        purses = deciding_further.purses_of(world, program, activity)
        decided = further.taken_back(decided, activity, program, purses)
    return deciding_referrals.taken_back(world, program, command, decided, now)


def _with_items(activity: ActivityRecord) -> ActivityRecord:
    """The record with its lines as they were bought, which the reversal tells on."""
    if not activity.lines:
        return activity
    items = wire.line_items(activity.content)
    lines: tuple[LineRecord, ...] = tuple(
        replace(line, item=item) for line, item in zip(activity.lines, items, strict=True)
    )
    return replace(activity, lines=lines)


DECIDERS = cast(
    "Mapping[type[Command], Callable[[World, Command, datetime], Decision[Changes, object]]]",
    {ReverseActivity: reverse},
)
ANSWERS: Mapping[type[Command], type[object]] = {ReverseActivity: Reversal}
