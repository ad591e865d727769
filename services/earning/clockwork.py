"""Points that wait: what the clock makes due of a wallet, and activities that are confirmed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from services.earning import ledger_settling
from services.earning.commands_ledger import ConfirmActivity
from services.earning.decisions import Changes, Lots
from services.earning.domain import ActivityRecord, Entry, Wallet
from services.earning.events import Done
from services.earning.expiry import CurrencyPolicy
from services.earning.ledger import Cause
from services.earning.refusals import ActivityNotPending
from services.earning.settlement import clock_events, settled
from shared.decision import Decision


def settle(
    wallet: Wallet, lots: Lots, policy: CurrencyPolicy, now: datetime
) -> Decision[Changes, Done]:
    """Book what is due; a wallet of which nothing is due is left alone."""
    books, told = settled(wallet, lots, policy, now)
    return Decision(
        state=Changes(movements=tuple(books.movements), wallets=books.rewritten),
        answer=Done(),
        events=(*told, *clock_events(books)),
    )


def confirm(
    command: ConfirmActivity,
    activity: ActivityRecord,
    owned: Sequence[tuple[Wallet, Lots, CurrencyPolicy]],
    now: datetime,
) -> Decision[Changes, Entry]:
    """Make all pending points of an activity available now. Refuses ActivityNotPending.

    `owned` are the wallets in which it may have points, that of its first currency first; the
    answer is the first entry that made points available.
    """
    state, entries, events = Changes(), [], []
    for wallet, lots, policy in owned:
        books, told = settled(wallet, lots, policy, now)
        waiting = [
            lot
            for lot in books.lots.values()
            if lot.is_pending and lot.remaining and lot.activity_id == activity.activity_id
        ]
        for lot in waiting:
            cause = Cause(
                now=now,
                occurred_time=now,
                activity_id=activity.activity_id,
                reference=command.request_id,
            )
            movement = ledger_settling.activate(books.wallet, lot, now, cause, policy)
            entries.append(books.book(movement))
        state = replace(
            state,
            movements=(*state.movements, *books.movements),
            wallets=(*state.wallets, *books.rewritten),
        )
        events += [*told, *clock_events(books)]
    if not entries:
        raise ActivityNotPending(activity_id=activity.activity_id)
    return Decision(state=state, answer=entries[0], events=tuple(events))
