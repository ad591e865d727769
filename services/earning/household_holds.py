"""Holds that take of all members of a household: pure decisions over their wallets.

Points are taken as if all had one wallet: those that end first go first, whoever has them. What a
hold has of one member is a hold of that wallet, under the one name; all of them end together, and
what comes back comes back to the lots and wallets that it was taken from.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeAlias

from services.earning import ledger, ledger_holds, notes
from services.earning.commands import HoldPoints, hold_id
from services.earning.decisions import Changes
from services.earning.domain import (
    NO_ACTIVITY,
    NO_HOUSEHOLD,
    Hold,
    HoldShare,
    HoldState,
    HouseholdId,
    Lot,
    LotUse,
    MemberKey,
    Wallet,
)
from services.earning.events import HoldChanged
from services.earning.further import Purse
from services.earning.ledger import Cause
from services.earning.ledger_books import Books
from services.earning.refusals import CurrencyNotSpendable, InsufficientPoints
from services.earning.settlement import clock_events, settled
from shared.decision import Decision, Event

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_Order: TypeAlias = tuple[datetime, bool, datetime, str, int]


def place(
    command: HoldPoints, household_id: HouseholdId, purses: Sequence[Purse], now: datetime
) -> Decision[Changes, Hold]:
    """Set points of a household aside; `purses` are its members', that of the spender first.

    Of members that are frozen nothing is taken. Refuses CurrencyNotSpendable, InsufficientPoints.
    """
    spender = purses[0].wallet
    if not purses[0].policy.spendable:
        raise CurrencyNotSpendable(currency_id=spender.currency_id)
    settling = [
        settled(each.wallet, each.lots, each.policy, now)
        for each in purses
        if not each.wallet.frozen
    ]
    available = sum([books.wallet.available for books, _ in settling])
    if command.points > available:
        raise InsufficientPoints(points_needed=command.points, points_available=available)
    new_id = hold_id(spender.member_key, command.unique)
    cause = Cause(
        now=now,
        occurred_time=now,
        reference=new_id,
        reason=command.reference,
        explanation=notes.written(notes.Note(household_id=household_id)),
    )
    taken = shared_out([books for books, _ in settling], spender.member_key, command.points)
    shares: list[HoldShare] = []
    using: list[Books] = []
    events: list[Event] = []
    for (books, told), points in zip(settling, taken, strict=True):
        if not points:
            continue
        entry = books.book(ledger_holds.set_aside(books.wallet, books.lots, points, cause))
        using.append(books)
        events += [*told, *clock_events(books)]
        shares.append(
            HoldShare(
                member_key=books.wallet.member_key,
                points=points,
                captured=0,
                refunded=0,
                entry_sequence=entry.sequence,
                lots=entry.lot_uses,
            )
        )
    placed = Hold(
        program_id=spender.program_id,
        hold_id=new_id,
        member_key=spender.member_key,
        currency_id=spender.currency_id,
        points=command.points,
        captured=0,
        refunded=0,
        state=HoldState.OPEN,
        expire_time=now + command.duration,
        reference=command.reference,
        entry_sequence=0,
        lots=(),
        household_id=household_id,
        shares=tuple(sorted(shares, key=lambda share: share.member_key)),
    )
    state = Changes(
        movements=tuple([each for books in using for each in books.movements]),
        wallets=tuple([each for books in using for each in books.rewritten]),
        hold=placed,
    )
    return Decision(state=state, answer=placed, events=(*events, HoldChanged(hold=placed)))


# Whose points ------------------------------------------------------------------------------------


def shared_out(pool: Sequence[Books], spender: MemberKey, points: int) -> list[int]:
    """How many points each wallet gives, of settled ones that have as many in all.

    The lots that end first go first. Of lots that end together the spender's own go first, then
    the older ones, then those of the first member by its key.
    """
    lots = [
        (_order(lot, books.wallet, spender), number, lot.remaining)
        for number, books in enumerate(pool)
        for lot in ledger.usable(books.wallet, books.lots)
    ]
    given = [0] * len(pool)
    for _, number, remaining in sorted(lots):
        part = min(points, remaining)
        given[number] += part
        points -= part
    return given


def kept_of(hold: Hold, purses: Sequence[Purse], points: int) -> list[int]:
    """How many of `points` that a hold keeps each of its shares does; what was used last goes back.

    `purses` are those of the shares, in their order, with the lots that they have points of.
    """
    uses: list[tuple[_Order, int, LotUse]] = [
        (_order(purse.lots[use.lot_sequence], purse.wallet, hold.member_key), number, use)
        for number, (share, purse) in enumerate(zip(hold.shares, purses, strict=True))
        for use in share.lots
    ]
    kept = [0] * len(hold.shares)
    for _, number, use in sorted(uses, key=lambda each: each[0]):
        part = min(points, -use.points)
        kept[number] += part
        points -= part
    return kept


def _order(lot: Lot, wallet: Wallet, spender: MemberKey) -> _Order:
    end, number = ledger.use_order(lot, wallet.slide_time)
    is_other = wallet.member_key != spender
    return end, is_other, lot.available_time or _LONG_AGO, wallet.member_key, number


# Parts of one hold -------------------------------------------------------------------------------


def part_of(hold: Hold, share: HoldShare) -> Hold:
    """What a hold has of one member, as a hold of that wallet alone."""
    state = hold.state
    if state is HoldState.CAPTURED and not share.captured:
        state = HoldState.VOIDED
    return replace(
        hold,
        member_key=share.member_key,
        points=share.points,
        captured=share.captured,
        refunded=share.refunded,
        state=state,
        entry_sequence=share.entry_sequence,
        lots=share.lots,
        activity_id=NO_ACTIVITY,
        household_id=NO_HOUSEHOLD,
        shares=(),
    )


def parts_of(hold: Hold) -> list[Hold]:
    """What a hold of a household has of its members, each as a hold of one wallet."""
    return [part_of(hold, share) for share in hold.shares]


def of_parts(hold: Hold, state: HoldState, parts: Iterable[Hold]) -> Hold:
    """A hold in a state, with shares as its parts are."""
    shares = tuple(
        [
            HoldShare(
                member_key=part.member_key,
                points=part.points,
                captured=part.captured,
                refunded=part.refunded,
                entry_sequence=part.entry_sequence,
                lots=part.lots,
            )
            for part in parts
        ]
    )
    return replace(
        hold,
        state=state,
        captured=sum([share.captured for share in shares]),
        refunded=sum([share.refunded for share in shares]),
        shares=shares,
    )
