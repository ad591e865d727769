"""Which wallets of further currencies a decision may move, of the world that was loaded."""

from services.earning import decisions
from services.earning.domain import ActivityRecord, CurrencyId, MemberKey, Wallet
from services.earning.further import Purse, Purses
from services.earning.rules import Program
from services.earning.world import World


def purses(world: World, program: Program, first: Wallet) -> Purses:
    """Those of a member in all further currencies that rules give; `first` is its first wallet."""
    return {
        rules.currency_id: _purse(world, program, first.member_key, rules.currency_id)
        for rules in program.others
    }


def purses_of(world: World, program: Program, activity: ActivityRecord) -> Purses:
    """Those in which an activity's further earnings are now."""
    owner = world.owner(activity.program_id, activity.member_key)
    return {
        each.currency_id: _purse(world, program, owner, each.currency_id)
        for each in activity.further
    }


def _purse(world: World, program: Program, member_key: MemberKey, currency_id: CurrencyId) -> Purse:
    key = (program.program_id, member_key, currency_id)
    if (key[0], member_key, program.currency_id) in world.wallets:
        wallet = world.opened(key)
    else:  # of somebody who is only about to be enrolled
        wallet = Wallet(program_id=key[0], member_key=member_key, currency_id=currency_id)
    return Purse(
        wallet=wallet,
        lots=world.lots.get(key, decisions.NO_LOTS),
        policy=decisions.policy_of(program, currency_id),
    )
