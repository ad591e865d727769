"""What commands about points that wait do over the world that was loaded."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import cast

from services.earning import clockwork, decisions
from services.earning.commands import Command
from services.earning.commands_ledger import ConfirmActivity, SettleWallet
from services.earning.decisions import NO_LOTS, Changes
from services.earning.domain import Entry
from services.earning.events import Done
from services.earning.refusals import ActivityNotFound
from services.earning.world import World
from shared import errors
from shared.decision import Decision


def _settle(world: World, command: SettleWallet, now: datetime) -> Decision[Changes, Done]:
    key = (command.program_id, command.member_key, command.currency_id)
    program, wallet = world.programs.get(command.program_id), world.wallets.get(key)
    if program is None or wallet is None:
        return Decision(state=Changes(), answer=Done())
    policy = decisions.policy_of(program, command.currency_id)
    return clockwork.settle(wallet, world.lots.get(key, NO_LOTS), policy, now)


def _confirm(world: World, command: ConfirmActivity, now: datetime) -> Decision[Changes, Entry]:
    program = world.programs.get(command.program_id)
    if program is None:
        raise errors.ProgramNotFound(program_id=command.program_id)
    activity = world.activities.get((command.program_id, command.activity_id))
    if activity is None:
        raise ActivityNotFound(activity_id=command.activity_id)
    owner = (activity.program_id, world.owner(activity.program_id, activity.member_key))
    keys = [key for key in world.lots if key[:2] == owner and key in world.wallets]
    keys.sort(key=lambda key: (key[2] != activity.currency_id, key[2]))
    owned = [
        (world.wallets[key], world.lots[key], decisions.policy_of(program, key[2])) for key in keys
    ]
    return clockwork.confirm(command, activity, owned, now)


DECIDERS = cast(
    "Mapping[type[Command], Callable[[World, Command, datetime], Decision[Changes, object]]]",
    {SettleWallet: _settle, ConfirmActivity: _confirm},
)
ANSWERS: Mapping[type[Command], type[object]] = {SettleWallet: Done, ConfirmActivity: Entry}
