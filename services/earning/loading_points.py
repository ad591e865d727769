"""What commands about points that are moved by hand need: names, wallets with lots, adjustments."""

from collections.abc import Iterable, Iterator, Sequence

from services.earning import store, store_points
from services.earning.commands import Command
from services.earning.commands_points import (
    ApproveAdjustment,
    ConvertPoints,
    DecideAdjustment,
    ExtendPoints,
    MovePoints,
    ReinstatePoints,
    RejectAdjustment,
    TransferPoints,
)
from services.earning.domain import CurrencyId, MemberId
from services.earning.rules import Program
from services.earning.world import AdjustmentKey, Identifier, WalletKey, World
from shared.database import Tx


def only(commands: Iterable[Command]) -> list[MovePoints]:
    """Those of the commands that move points by hand."""
    return [each for each in commands if isinstance(each, MovePoints)]


def names(command: MovePoints) -> tuple[Identifier, ...]:
    """Identifiers that a command speaks of."""
    return tuple((command.program_id, each) for each in _members(command))


def _members(command: MovePoints) -> tuple[MemberId, ...]:
    if isinstance(command, TransferPoints):
        return (command.from_member_id, command.to_member_id)
    return () if isinstance(command, DecideAdjustment) else (command.member_id,)


async def wallets(tx: Tx, world: World, commands: Sequence[MovePoints]) -> set[WalletKey]:
    """Wallets of the members, and of the adjustments, that commands speak of."""
    if not commands:
        return set()
    keys = {wallet for command in commands for wallet in _wallets(world, command)}
    owners = await store_points.owners_of_adjustments(tx, _adjustments(commands))
    return keys | set(owners.values())


async def load(tx: Tx, world: World, commands: Sequence[MovePoints]) -> None:
    """Load adjustments, lots that ended, and open holds of lots; all wallets are locked."""
    if not commands:
        return
    world.adjustments = await store_points.load_adjustments(tx, _adjustments(commands))
    lots = {
        (*wallet, command.lot_sequence)
        for command in commands
        if isinstance(command, ReinstatePoints)
        for wallet in _wallets(world, command)
    }
    await store_points.load_ended(tx, world, sorted(lots))
    held = {
        wallet
        for command in commands
        if isinstance(command, ExtendPoints)
        for wallet in _wallets(world, command)
        if wallet in world.wallets and world.wallets[wallet].held
    }
    if held:
        holds = await store_points.open_holds(tx, held)
        world.holds |= await store.load_holds(tx, set(holds) - world.holds.keys(), world.lots)


def _wallets(world: World, command: MovePoints) -> Iterator[WalletKey]:
    """Wallets that a command may mean, of members who are there already."""
    for name in names(command):
        if name in world.keys and name not in world.claimed:
            for currency_id in _currencies(world.programs[name[0]], command):
                yield name[0], world.keys[name], currency_id


def _adjustments(commands: Iterable[MovePoints]) -> list[AdjustmentKey]:
    return [
        (each.program_id, each.adjustment_id)
        for each in commands
        if isinstance(each, ApproveAdjustment | RejectAdjustment)
    ]


def _currencies(program: Program, command: MovePoints) -> set[CurrencyId]:
    """The first currency, which says whether there is a member, and those that are asked for."""
    if isinstance(command, DecideAdjustment):
        return {program.currency_id}
    if isinstance(command, ConvertPoints):
        asked = {command.from_currency_id, command.to_currency_id}
    else:
        asked = {command.currency_id}
    return {program.currency_id, *(asked & program.currencies.keys())}
