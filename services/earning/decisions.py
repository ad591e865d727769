"""What each command does: pure decisions over what was loaded for it.

Refusals come in the order in which a caller should mend them: existence, state, balance.
A decision gives back everything that changes (`Changes`) and changes nothing itself, so a preview
is the same call with its result thrown away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeAlias

from services.earning import counts, evaluation, explanations, ledger, reversals, rules
from services.earning.commands import (
    CreditPoints,
    KeepLevel,
    RecordActivity,
    ReverseActivity,
)
from services.earning.counts import Counted
from services.earning.domain import (
    ActivityRecord,
    CurrencyId,
    Entry,
    EntryType,
    Hold,
    LevelFrom,
    LevelId,
    LineRecord,
    Lot,
    Member,
    Reversal,
    Wallet,
)
from services.earning.events import (
    ActivityRecorded,
    ActivityReversed,
    Done,
    MemberEnrolled,
    PointsCredited,
    Recorded,
)
from services.earning.expiry import CurrencyPolicy, plain
from services.earning.household_records import Housed
from services.earning.ledger import Cause, Movement
from services.earning.member_records import MemberRecord
from services.earning.points_records import Adjustment
from services.earning.referral_records import Referred
from services.earning.refusals import (
    CurrencyNotFound,
    ExternalReferenceReused,
    OccurredTimeNotAccepted,
)
from services.earning.rules import Facts
from services.earning.schedules import local_time
from services.earning.settlement import clock_events, is_due, settled
from services.earning.waiting_records import WaitingReversal
from shared.decision import Decision, Event
from shared.values import value

Lots: TypeAlias = Mapping[int, Lot]
NO_LOTS: Lots = {}
NO_MOVEMENTS: tuple[Movement, ...] = ()
NO_EVENTS: tuple[Event, ...] = ()


@value
class Changes:
    """Everything that one decision changes; what it leaves alone is None.

    `member` is one to be enrolled; `members` are as they are afterwards; `wallets` are frozen, or
    no longer, or as the clock left them, and are written after the movements. `waiting` are
    reversals that came before their activity, as they are afterwards. `then` is what was decided
    over all this, in order.
    """

    member: Member | None = None
    members: tuple[MemberRecord, ...] = ()
    wallets: tuple[Wallet, ...] = ()
    movements: tuple[Movement, ...] = ()
    activity: ActivityRecord | None = None
    reversed_activity: ActivityRecord | None = None
    reversal: Reversal | None = None
    hold: Hold | None = None
    level: KeepLevel | None = None
    counted: Counted | None = None
    adjustment: Adjustment | None = None
    referred: Referred | None = None
    housed: Housed | None = None
    waiting: tuple[WaitingReversal, ...] = ()
    then: tuple["Changes", ...] = ()


def level_at(timeline: Sequence[LevelFrom], instant: datetime) -> LevelId:
    """Level that counts at an instant: the latest that is effective by then, empty when none is."""
    effective = [level for level in timeline if level.effective_time <= instant]
    if not effective:
        return LevelId("")
    return max(effective, key=lambda level: level.effective_time).level_id


def policy_of(program: rules.Program, currency_id: CurrencyId) -> CurrencyPolicy:
    """How points of a currency live."""
    return program.currencies.get(currency_id) or plain(currency_id)


def currency_of(program: rules.Program, asked: CurrencyId) -> CurrencyId:
    """Currency that a request means; the first when it names none. Refuses CurrencyNotFound."""
    if not asked or asked == program.currency_id:
        return program.currency_id
    if asked not in program.currencies:
        raise CurrencyNotFound(currency_id=asked)
    return asked


def enrolled(member: Member) -> MemberEnrolled:
    """Event of a member's enrolment."""
    return MemberEnrolled(
        program_id=member.program_id,
        member_key=member.member_key,
        member_id=member.member_id,
        enroll_time=member.enroll_time,
    )


# Activities --------------------------------------------------------------------------------------


def record(
    command: RecordActivity,
    program: rules.Program,
    member: Member | None,
    wallet: Wallet,
    facts: Facts,
    *,
    receipt_used: bool,
    now: datetime,
    lots: Lots = NO_LOTS,
) -> Decision[Changes, Recorded]:
    """Decide an activity; `member` is who would be enrolled by it, None for one who is a member.

    `lots` are those of the wallet, if the clock has made something due (`settlement.is_due`).
    Refuses CurrencyNotAccepted, OccurredTimeNotAccepted, ExternalReferenceReused, PointsOutOfRange.
    """
    _check_accepted(command, program, now)
    if receipt_used:
        raise ExternalReferenceReused(
            source=command.source, external_reference=command.external_reference
        )
    earning = evaluation.decide(program.rules, deed_of(command), facts)
    explanation = explanations.written(earning.explanation)
    movement, due, told = None, NO_MOVEMENTS, NO_EVENTS
    if earning.points:
        cause = Cause(
            now=now,
            occurred_time=command.occurred_time,
            activity_id=command.activity_id,
            explanation=explanation,
        )
        policy = policy_of(program, program.currency_id)
        if is_due(wallet, now):
            books, told = settled(wallet, lots, policy, now)
            due, wallet = tuple(books.movements), books.wallet
            told = (*told, *clock_events(books))
        movement = ledger.credit(wallet, earning.points, EntryType.EARN, cause, policy)
    made = _record(command, program, wallet, facts.level_id, earning, explanation, movement, now)
    events: tuple[Event, ...] = (*told, ActivityRecorded(record=made))
    if member is not None:
        events = (enrolled(member), *events)
    return Decision(
        state=Changes(
            member=member,
            movements=(*due, movement) if movement else (),
            activity=made,
            counted=_counted(program, made, earning),
        ),
        answer=Recorded(
            create_time=now,
            currency_id=program.currency_id,
            points=earning.points,
            explanation=explanation,
            available_time=made.available_time,
        ),
        events=events,
    )


def deed_of(command: RecordActivity) -> rules.Deed:
    """What rules look at of an activity."""
    return rules.Deed(
        type=command.type,
        amount=command.amount,
        lines=command.lines,
        view=command.view,
        line_views=command.line_views,
        occurred_time=command.occurred_time,
        source=command.source,
        currency_code=command.currency_code,
        paid_in_points=command.paid_in_points,
    )


def _counted(
    program: rules.Program, made: ActivityRecord, earning: rules.Earning
) -> Counted | None:
    """What the activity adds to what is looked up for the next; None when nothing ever is."""
    if program.rules.is_plain:
        return None
    return counts.counted(
        (made.program_id, made.member_key),
        made.type,
        earning.explanation.caps,
        ((earning.currency_id, earning.carried),) if program.rules.carries else (),
    )


def _check_accepted(command: RecordActivity, program: rules.Program, now: datetime) -> None:
    if command.currency_code not in {"", program.money_currency_code}:
        day = local_time(command.occurred_time, program.rules.zone).date()
        program.rules.money.rate(command.currency_code, day)
    earliest, latest = now - program.accepted_past, now + program.accepted_future
    if not earliest <= command.occurred_time <= latest:
        raise OccurredTimeNotAccepted(
            occurred_time=command.occurred_time, earliest_time=earliest, latest_time=latest
        )


def _record(
    command: RecordActivity,
    program: rules.Program,
    wallet: Wallet,
    level_id: LevelId,
    earning: rules.Earning,
    explanation: str,
    movement: Movement | None,
    now: datetime,
) -> ActivityRecord:
    amount = command.amount
    if amount is None:
        amount = sum([line.amount for line in command.lines])
    shares = earning.explanation.line_points
    return ActivityRecord(
        program_id=command.program_id,
        activity_id=command.activity_id,
        member_key=wallet.member_key,
        type=command.type,
        occurred_time=command.occurred_time,
        source=command.source,
        external_reference=command.external_reference,
        content=command.content,
        currency_id=program.currency_id,
        points=earning.points,
        level_id=level_id,
        program_version=program.rules.version,
        explanation=explanation,
        amount=amount,
        entry_sequence=movement.entry.sequence if movement else 0,
        create_time=now,
        available_time=movement.entry.waits_until if movement else None,
        points_hold_id=command.points_hold_id,
        lines=tuple(
            [
                LineRecord(
                    line_number=number,
                    quantity=line.quantity,
                    amount=line.amount,
                    points=points,
                )
                for number, (line, points) in enumerate(
                    zip(command.lines, shares, strict=True), start=1
                )
            ]
        ),
    )


def reverse(
    command: ReverseActivity,
    program: rules.Program,
    activity: ActivityRecord,
    wallet: Wallet,
    lots: Lots,
    now: datetime,
) -> Decision[Changes, Reversal]:
    """Take back what the record says; refuses what `reversals.give_back` refuses."""
    given = reversals.give_back(activity, command.scope)
    cause = Cause(
        now=now,
        occurred_time=command.occurred_time,
        activity_id=activity.activity_id,
        reference=command.reversal_id,
        reason=command.reason,
    )
    books, told = settled(wallet, lots, policy_of(program, wallet.currency_id), now)
    movement = None
    if given.points:
        movement = ledger.take_back(
            books.wallet,
            books.lots,
            own_lots(activity, books.lots),
            given.points,
            program.reversal_policy,
            cause,
        )
    if movement:
        books.book(movement)
    taken = movement.entry.program_delta if movement else 0
    reversed_ = replace(given.record, points_reversed=given.record.points_reversed + taken)
    reversal = Reversal(
        program_id=command.program_id,
        reversal_id=command.reversal_id,
        activity_id=activity.activity_id,
        member_key=activity.member_key,
        occurred_time=command.occurred_time,
        create_time=now,
        reason=command.reason,
        points=taken,
        owed=-movement.entry.debt_delta if movement else 0,
        amount=given.amount,
        lines=given.lines,
    )
    return Decision(
        state=Changes(
            movements=tuple(books.movements),
            wallets=books.rewritten,
            reversed_activity=reversed_,
            reversal=reversal,
            counted=counts.uncounted(
                (activity.program_id, activity.member_key), activity, reversed_
            ),
        ),
        answer=reversal,
        events=(
            *told,
            *clock_events(books),
            ActivityReversed(
                reversal=reversal,
                activity_type=activity.type,
                activity_occurred_time=activity.occurred_time,
            ),
        ),
    )


def own_lots(activity: ActivityRecord, lots: Lots) -> frozenset[int]:
    """The lots of an activity's points: its entry's, and what mergers, refunds, gifts made of it.

    Points that were given away are its own again once they have come back.
    """
    return frozenset(
        [lot.lot_sequence for lot in lots.values() if lot.activity_id == activity.activity_id]
    )


# Credits and levels ------------------------------------------------------------------------------


def credit(
    command: CreditPoints, wallet: Wallet, lots: Lots, policy: CurrencyPolicy, now: datetime
) -> Decision[Changes, Entry]:
    """Issue points for another service. Refuses PointsOutOfRange.

    `lots` are those of the wallet, if the clock has made something due (`settlement.is_due`).
    """
    cause = Cause(
        now=now,
        occurred_time=command.occurred_time or now,
        reference=command.request_id,
        reason=command.reason,
    )
    books, told = settled(wallet, lots, policy, now)
    entry = books.book(ledger.credit(books.wallet, command.points, EntryType.CREDIT, cause, policy))
    event = PointsCredited(
        program_id=wallet.program_id,
        member_key=wallet.member_key,
        currency_id=wallet.currency_id,
        points=command.points,
        reason=command.reason,
        request_id=command.request_id,
    )
    return Decision(
        state=Changes(movements=tuple(books.movements)),
        answer=entry,
        events=(*told, *clock_events(books), event),
    )


def keep_level(command: KeepLevel) -> Decision[Changes, Done]:
    """Keep a level of the timeline; entries that named another one stay as they are."""
    return Decision(state=Changes(level=command), answer=Done())
