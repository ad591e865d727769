"""What holds of households do over the world that was loaded: placed, ended, given back."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeAlias, cast

from services.earning import deciding_members, decisions, holds, household_holds
from services.earning.commands import (
    CaptureHold,
    ExpireHold,
    HoldCommand,
    HoldPoints,
    RefundCapture,
    VoidHold,
)
from services.earning.decisions import NO_LOTS, Changes
from services.earning.domain import Hold, HoldState, MemberKey, Wallet
from services.earning.events import Done, HoldChanged
from services.earning.further import Purse
from services.earning.ledger import Cause
from services.earning.refusals_households import (
    HouseholdsNotOffered,
    NotHeadOfHousehold,
    NotInHousehold,
)
from services.earning.rules import Program
from services.earning.world import WalletKey, World
from shared import errors
from shared.decision import Decision, Event

_Step: TypeAlias = Callable[[Hold, Purse], Decision[Changes, Hold] | None]


def place(
    world: World, command: HoldPoints, program: Program, wallet: Wallet, now: datetime
) -> Decision[Changes, Hold]:
    """Hold points of the household of whoever has a wallet.

    Refuses HouseholdsNotOffered, NotInHousehold, NotHeadOfHousehold, and what
    `household_holds.place` refuses.
    """
    if program.households is None:
        raise HouseholdsNotOffered(program_id=program.program_id)
    household = None
    if world.households is not None:
        household = world.households.of(program.program_id, wallet.member_key)
    if household is None:
        raise NotInHousehold(member_id=command.member.text)
    if program.households.only_head_spends and household.head_key != wallet.member_key:
        raise NotHeadOfHousehold(member_id=command.member.text)
    others = [each.member_key for each in household.members if each.member_key != wallet.member_key]
    keys = [(program.program_id, key, wallet.currency_id) for key in (wallet.member_key, *others)]
    for key in keys:
        locked = world.wallets.get(key)
        if locked is None or (locked.available and key not in world.lots):
            raise errors.Interrupted  # a member that joined only just now
    purses = [_purse(world, program, key) for key in keys]
    return household_holds.place(command, household.household_id, purses, now)


def _purse(world: World, program: Program, key: WalletKey) -> Purse:
    """The purse of a wallet that was locked."""
    return Purse(
        wallet=world.wallets[key],
        lots=world.lots.get(key, NO_LOTS),
        policy=decisions.policy_of(program, key[2]),
    )


def end(
    world: World, command: HoldCommand, program: Program, held: Hold, now: datetime
) -> Decision[Changes, Hold] | Decision[Changes, Done]:
    """End a hold of a household, or refund what it captured. Refuses what `holds` refuses."""
    match command:
        case CaptureHold():
            return _capture(world, command, program, held, now)
        case VoidHold():
            holds.check_open(held, now)
            return _given_back(world, program, held, HoldState.VOIDED, now)
        case RefundCapture():
            points = holds.points_to_refund(command, held)
            cause = holds.cause_of(held, now)
            return give_back(world, program, held, points, cause)
        case ExpireHold():
            if not holds.is_over(held, now):
                return Decision(state=Changes(), answer=Done())
            ended = _given_back(world, program, held, HoldState.EXPIRED, now)
            return Decision(state=ended.state, answer=Done(), events=ended.events)


def give_back(
    world: World, program: Program, held: Hold, points: int, cause: Cause
) -> Decision[Changes, Hold]:
    """Give points of a captured hold back to the lots they came of, at most what is out of them."""
    left = held.captured - held.refunded
    kept = dict(zip(_keys(held), _kept(world, program, held, left - points), strict=True))

    def refund(part: Hold, purse: Purse) -> Decision[Changes, Hold] | None:
        back = part.captured - part.refunded - kept[part.member_key]
        if not back:
            return None
        return holds.give_back(part, back, purse.wallet, purse.lots, purse.policy, cause)

    return _each(world, program, held, held.state, cause.now, refund)


def _capture(
    world: World, command: CaptureHold, program: Program, held: Hold, now: datetime
) -> Decision[Changes, Hold]:
    points = holds.points_to_capture(command, held, now)
    kept = dict(zip(_keys(held), _kept(world, program, held, points), strict=True))
    void = _giving_back(HoldState.VOIDED, now)

    def spend(part: Hold, purse: Purse) -> Decision[Changes, Hold] | None:
        spent = kept[part.member_key]
        if not spent:
            return void(part, purse)
        return holds.spend(part, spent, purse.wallet, purse.lots, purse.policy, now)

    return _each(world, program, held, HoldState.CAPTURED, now, spend)


def _given_back(
    world: World, program: Program, held: Hold, state: HoldState, now: datetime
) -> Decision[Changes, Hold]:
    """Give all of an open hold back, which ends in a state."""
    return _each(world, program, held, state, now, _giving_back(state, now))


def _giving_back(state: HoldState, now: datetime) -> _Step:
    return lambda part, purse: holds.given_back(
        part, state, purse.wallet, purse.lots, purse.policy, now
    )


def _keys(held: Hold) -> list[MemberKey]:
    return [share.member_key for share in held.shares]


def _kept(world: World, program: Program, held: Hold, points: int) -> Sequence[int]:
    purses = [_purse(world, program, _wallet_key(held, key)) for key in _keys(held)]
    return household_holds.kept_of(held, purses, points)


def _wallet_key(held: Hold, member_key: MemberKey) -> WalletKey:
    return held.program_id, member_key, held.currency_id


def _each(
    world: World, program: Program, held: Hold, state: HoldState, now: datetime, step: _Step
) -> Decision[Changes, Hold]:
    """Decide each part of a hold; what comes back to a member that was merged is handed on.

    Two of them may have become one, so each is decided over what the one before left.
    """
    parts: list[Hold] = []
    states: list[Changes] = []
    events: list[Event] = []
    for share in held.shares:
        part = household_holds.part_of(held, share)
        purse = _purse(world, program, _wallet_key(held, share.member_key))
        decided = step(part, purse)
        if decided is None:
            parts.append(part)
            continue
        parts.append(decided.answer)
        decided = cast(
            "Decision[Changes, Hold]",
            deciding_members.after_merge(world, decided, purse.wallet, now),
        )
        moved = Changes(movements=decided.state.movements, wallets=decided.state.wallets)
        states.append(moved)
        events += [each for each in decided.events if not isinstance(each, HoldChanged)]
        if world.merged:
            world = world.after(moved)
    changed = household_holds.of_parts(held, state, parts)
    return Decision(
        state=Changes(hold=changed, then=tuple(states)),
        answer=changed,
        events=(*events, HoldChanged(hold=changed)),
    )
