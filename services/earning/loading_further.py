"""Loads what batches need of further currencies; programs with one currency cost no statement."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from services.earning import store_further
from services.earning.commands import Command, CreditPoints, HoldPoints, RecordActivity
from services.earning.domain import ProgramId
from services.earning.world import ActivityKey, WalletKey, World
from shared.database import Tx


def programs(world: World) -> frozenset[ProgramId]:
    """The programs that have more than one currency."""
    return frozenset([key for key, program in world.programs.items() if program.has_further])


def wallets(world: World, command: Command, first: WalletKey) -> set[WalletKey]:
    """Wallets of further currencies that a command may move; `first` is the member's first."""
    program = world.programs[command.program_id]
    if isinstance(command, RecordActivity):
        asked = {rules.currency_id for rules in program.others}
    elif isinstance(command, CreditPoints | HoldPoints):
        asked = {command.currency_id} & (program.currencies.keys() - {program.currency_id})
    else:
        asked = set()
    return {(first[0], first[1], currency_id) for currency_id in asked}


async def owned(
    tx: Tx, owners: Mapping[ActivityKey, WalletKey], several: frozenset[ProgramId]
) -> set[WalletKey]:
    """Wallets in which activities earned of further currencies, by who recorded them."""
    asked = [key for key in owners if key[0] in several]
    found = await store_further.earnings(tx, asked)
    return {
        (key[0], owners[key][1], each.currency_id)
        for key, further in found.items()
        for each in further
    }


async def load(
    tx: Tx, world: World, keys: Collection[ActivityKey], several: frozenset[ProgramId]
) -> None:
    """Give the activities that were loaded their further earnings."""
    asked = [key for key in keys if key[0] in several]
    for key, further in (await store_further.earnings(tx, asked)).items():
        world.activities[key] = replace(world.activities[key], further=further)
