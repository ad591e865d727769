"""Further currencies: what activities earn of them, and what returns take back.

The first currency is decided in `decisions.py`; here what a program's other currencies bring is
added to that decision, so that all of it is one. Each currency has a wallet of its own, its
remainder, caps and budgets; a return gives back of each by the same rule: the floor of the total so
far.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from services.earning import counts, evaluation, explanations, ledger
from services.earning.counts import Counted
from services.earning.decisions import Changes, Lots, own_lots
from services.earning.domain import (
    ActivityRecord,
    CurrencyId,
    EntryType,
    FurtherEarning,
    FurtherReversal,
    Reversal,
    ReversalWay,
    ReversedLine,
    Wallet,
)
from services.earning.events import ActivityRecorded, ActivityReversed, Recorded
from services.earning.expiry import CurrencyPolicy
from services.earning.ledger import Cause, Movement
from services.earning.rules import Deed, Earning, Facts, Program
from services.earning.settlement import clock_events, settled
from shared.decision import Decision, Event
from shared.values import value


@value
class Purse:
    """A wallet, its lots as far as they may be asked for, and how its points live."""

    wallet: Wallet
    lots: Lots
    policy: CurrencyPolicy


Purses: TypeAlias = Mapping[CurrencyId, Purse]


# What activities earn ----------------------------------------------------------------------------


def recorded(
    decided: Decision[Changes, Recorded],
    program: Program,
    deed: Deed,
    facts: Facts,
    purses: Purses,
    *,
    shows_all: bool,
) -> Decision[Changes, Recorded]:
    """A decided activity with what it earns of further currencies.

    `purses` are those of all currencies that rules give. With `shows_all` the answer also explains
    currencies of which nothing was earned. Refuses CapExceeded, PointsOutOfRange.
    """
    made = decided.state.activity
    if made is None:
        raise AssertionError("what is recorded is an activity")
    earnings = evaluation.decide_further(program, deed, facts)
    kept: list[FurtherEarning] = []
    shown: list[FurtherEarning] = []
    movements: list[Movement] = []
    told: list[Event] = []
    for earning in sorted(earnings, key=lambda each: each.currency_id):
        made_of_it, moved, heard = _booked(earning, purses[earning.currency_id], made)
        movements += moved
        told += heard
        if earning.points or _has_failed(earning):
            kept.append(made_of_it)
        if earning.points or shows_all:
            shown.append(made_of_it)
    record = replace(made, further=tuple(kept))
    state = replace(
        decided.state,
        activity=record,
        movements=(*decided.state.movements, *movements),
        counted=_counted(decided.state.counted, program, record, earnings),
    )
    events = [
        ActivityRecorded(record=record) if isinstance(each, ActivityRecorded) else each
        for each in decided.events
    ]
    answer = replace(decided.answer, further=tuple(shown))
    return replace(decided, state=state, answer=answer, events=(*told, *events))


def _booked(
    earning: Earning, purse: Purse, made: ActivityRecord
) -> tuple[FurtherEarning, list[Movement], list[Event]]:
    """An earning as it is kept, its movements, and what the clock had made due before."""
    explanation = explanations.written(earning.explanation)
    unbooked = FurtherEarning(
        currency_id=earning.currency_id, points=earning.points, explanation=explanation
    )
    if not earning.points:
        return unbooked, [], []
    cause = Cause(
        now=made.create_time,
        occurred_time=made.occurred_time,
        activity_id=made.activity_id,
        explanation=explanation,
    )
    books, told = settled(purse.wallet, purse.lots, purse.policy, made.create_time)
    entry = books.book(
        ledger.credit(books.wallet, earning.points, EntryType.EARN, cause, purse.policy)
    )
    booked = replace(unbooked, entry_sequence=entry.sequence, available_time=entry.waits_until)
    return booked, books.movements, [*told, *clock_events(books)]


def _has_failed(earning: Earning) -> bool:
    return any(rule.failed for rule in earning.explanation.rules)


def _counted(
    first: Counted | None, program: Program, made: ActivityRecord, earnings: Sequence[Earning]
) -> Counted | None:
    """What the activity adds to what is looked up for the next, by all currencies."""
    if program.is_plain:
        return None
    place = (made.program_id, made.member_key)
    before = first or Counted(place=place, type=made.type)
    more = counts.counted(
        place,
        made.type,
        [cap for each in earnings for cap in each.explanation.caps],
        tuple([(each.currency_id, each.carried) for each in earnings if _carries(program, each)]),
    )
    return replace(
        before,
        caps=(*before.caps, *more.caps),
        budgets=(*before.budgets, *more.budgets),
        carried=(*before.carried, *more.carried),
    )


def _carries(program: Program, earning: Earning) -> bool:
    return any(each.carries and each.currency_id == earning.currency_id for each in program.others)


# What returns take back --------------------------------------------------------------------------


def taken_back(
    decided: Decision[Changes, Reversal], before: ActivityRecord, program: Program, purses: Purses
) -> Decision[Changes, Reversal]:
    """A decided return with what it takes of the further currencies of the activity.

    `before` is the record before the return, `purses` those of all its further earnings.
    """
    after, reversal = decided.state.reversed_activity, decided.answer
    if after is None:
        raise AssertionError("what is taken back is an activity")
    earnings: list[FurtherEarning] = []
    reversals: list[FurtherReversal] = []
    movements: list[Movement] = []
    wallets: list[Wallet] = []
    told: list[Event] = []
    for each in before.further:
        taken, moved, rewritten, heard = _taken(
            each, before, after, reversal, program, purses[each.currency_id]
        )
        movements += moved
        wallets += rewritten
        told += heard
        earnings.append(replace(each, points_reversed=each.points_reversed + taken.points))
        if taken.points or any(taken.line_points):
            reversals.append(taken)
    after = replace(after, further=tuple(earnings))
    reversal = replace(reversal, further=tuple(reversals))
    state = replace(
        decided.state,
        movements=(*decided.state.movements, *movements),
        wallets=(*decided.state.wallets, *wallets),
        reversed_activity=after,
        reversal=reversal,
        counted=counts.uncounted((before.program_id, before.member_key), before, after),
    )
    events = [
        replace(each, reversal=reversal) if isinstance(each, ActivityReversed) else each
        for each in decided.events
    ]
    return replace(decided, state=state, answer=reversal, events=(*told, *events))


def _taken(
    earning: FurtherEarning,
    before: ActivityRecord,
    after: ActivityRecord,
    reversal: Reversal,
    program: Program,
    purse: Purse,
) -> tuple[FurtherReversal, list[Movement], tuple[Wallet, ...], list[Event]]:
    """What one currency gives back, its movements, its wallet if rewritten, what is told."""
    points = due(earning, after) - due(earning, before)
    lines = line_points(earning, before, after, reversal.lines)
    if not points:
        nothing = FurtherReversal(
            currency_id=earning.currency_id, points=0, owed=0, line_points=lines
        )
        return nothing, [], (), []
    cause = Cause(
        now=reversal.create_time,
        occurred_time=reversal.occurred_time,
        activity_id=before.activity_id,
        reference=reversal.reversal_id,
        reason=reversal.reason,
    )
    books, told = settled(purse.wallet, purse.lots, purse.policy, reversal.create_time)
    own = own_lots(before, books.lots)
    movement = ledger.take_back(
        books.wallet, books.lots, own, points, program.reversal_policy, cause
    )
    entry = books.book(movement) if movement else None
    taken = FurtherReversal(
        currency_id=earning.currency_id,
        points=entry.program_delta if entry else 0,
        owed=-entry.debt_delta if entry else 0,
        line_points=lines,
    )
    return taken, books.movements, books.rewritten, [*told, *clock_events(books)]


def due(earning: FurtherEarning, record: ActivityRecord) -> int:
    """Points of an earning that the returns of a record come to so far, each rounded down."""
    match record.reversal_way:
        case ReversalWay.NONE:
            return 0
        case ReversalWay.LINES:
            return sum(due_of_lines(earning, record))
        case ReversalWay.AMOUNT:
            if not record.amount:
                return earning.points
            return earning.points * record.amount_reversed // record.amount


def line_points(
    earning: FurtherEarning,
    before: ActivityRecord,
    after: ActivityRecord,
    lines: Sequence[ReversedLine],
) -> tuple[int, ...]:
    """What returned lines give back of an earning, in their order."""
    if not lines:
        return ()
    earlier, later = due_of_lines(earning, before), due_of_lines(earning, after)
    return tuple([later[line.line_number - 1] - earlier[line.line_number - 1] for line in lines])


def due_of_lines(earning: FurtherEarning, record: ActivityRecord) -> list[int]:
    """Points that each line comes to give back so far, rounded down."""
    shares = explanations.read(earning.explanation).line_points
    return [
        share * line.quantity_returned // line.quantity
        for share, line in zip(shares, record.lines, strict=True)
    ]
