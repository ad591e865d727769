"""How held points move: out of their lots, then spent, or back, or refunded.

What a hold has out of its lots is kept with it (`Hold.lots`), so that what comes back later is
what was taken, wherever its lots stand by then.
"""

from collections.abc import Iterable, Mapping, Sequence

from services.earning import ledger, ledger_clock
from services.earning.domain import Account, EntryType, Lot, LotUse, Wallet
from services.earning.expiry import CurrencyPolicy
from services.earning.ledger import Cause, Change, Movement
from shared.values import value


@value
class Parted:
    """What a hold keeps out of its lots, and what goes back to them (both in order of use)."""

    kept: tuple[LotUse, ...]
    back: tuple[LotUse, ...]


def set_aside(wallet: Wallet, lots: Mapping[int, Lot], points: int, cause: Cause) -> Movement:
    """Move available points, at most what there is, to the held ones, out of their lots."""
    uses = ledger.take(ledger.usable(wallet, lots), points)
    change = Change(type=EntryType.HOLD, available=-points, held=points)
    return ledger.moved(wallet, lots, change, uses, cause)


def spend_held(
    wallet: Wallet,
    lots: Mapping[int, Lot],
    parted: Parted,
    cause: Cause,
    policy: CurrencyPolicy,
) -> Movement:
    """End a hold by spending what it keeps; the rest goes back to its lots."""
    points, returned = -ledger.total(parted.kept), ledger.total(parted.back)
    repaid, uses = _repaying(wallet, lots, parted.back)
    change = Change(
        type=EntryType.CAPTURE,
        account=Account.REDEMPTION,
        held=-points - returned,
        available=returned - repaid,
        debt=repaid,
        spent=points,
        slide_time=ledger_clock.moved_slide(wallet, policy, cause.now),
    )
    return _returned(ledger.moved(wallet, lots, change, uses, cause), policy, cause)


def give_back_held(
    wallet: Wallet,
    lots: Mapping[int, Lot],
    parted: Parted,
    cause: Cause,
    policy: CurrencyPolicy,
) -> Movement:
    """End a hold by giving all of it back to its lots."""
    points = ledger.total(parted.back)
    repaid, uses = _repaying(wallet, lots, parted.back)
    change = Change(type=EntryType.VOID, held=-points, available=points - repaid, debt=repaid)
    return _returned(ledger.moved(wallet, lots, change, uses, cause), policy, cause)


def give_back_spent(
    wallet: Wallet,
    lots: Mapping[int, Lot],
    parted: Parted,
    cause: Cause,
    policy: CurrencyPolicy,
) -> Movement:
    """Refund what goes back of a captured hold."""
    points = ledger.total(parted.back)
    repaid, uses = _repaying(wallet, lots, parted.back)
    change = Change(
        type=EntryType.REFUND,
        account=Account.REDEMPTION,
        available=points - repaid,
        debt=repaid,
        spent=-points,
    )
    return _returned(ledger.moved(wallet, lots, change, uses, cause), policy, cause)


def part(wallet: Wallet, lots: Mapping[int, Lot], held: Iterable[LotUse], points: int) -> Parted:
    """Keep `points` of what is held, those to be used first; what is used last goes back."""
    ordered = sorted(
        held, key=lambda use: ledger.use_order(lots[use.lot_sequence], wallet.slide_time)
    )
    kept, back = [], []
    for use in ordered:
        keeps = min(points, -use.points)
        points -= keeps
        if keeps:
            kept.append(LotUse(lot_sequence=use.lot_sequence, points=-keeps))
        if returns := -use.points - keeps:
            back.append(LotUse(lot_sequence=use.lot_sequence, points=returns))
    return Parted(kept=tuple(kept), back=tuple(back))


def _repaying(
    wallet: Wallet, lots: Mapping[int, Lot], back: Sequence[LotUse]
) -> tuple[int, tuple[LotUse, ...]]:
    """How much debt is repaid from what comes back, and the uses with that taken out again."""
    repaid = min(wallet.debt, ledger.total(back))
    if not repaid:
        return 0, tuple(back)
    returned = [ledger.with_remaining(lots[use.lot_sequence], use.points) for use in back]
    return repaid, ledger.merged((*back, *ledger.take(returned, repaid)))


def _returned(movement: Movement, policy: CurrencyPolicy, cause: Cause) -> Movement:
    return ledger.watched(movement, policy, cause)
