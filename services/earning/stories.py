"""Why an entry was booked, in sentences; all of it from what was stored with it."""

from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import UTC, datetime

from services.earning import explanations, notes
from services.earning.domain import (
    ActivityId,
    Entry,
    EntryType,
    Hold,
    HoldState,
    MemberId,
    MemberKey,
)
from services.earning.points_records import Adjustment
from services.earning.referral_records import Referral, Side
from shared.values import value

_MADE = {
    EntryType.EARN: "earned",
    EntryType.CREDIT: "credited",
    EntryType.TRANSFER_IN: "transferred",
    EntryType.ADJUST: "given by hand",
    EntryType.REFERRAL: "given for a referral",
    EntryType.CONVERT_IN: "converted",
}


@value
class Origin:
    """A lot that an entry made or used: where it came from, and when it ends as it is now."""

    lot_sequence: int
    points: int
    made_by: EntryType
    made_time: datetime
    activity_id: ActivityId
    expire_time: datetime | None


@value
class Story:
    """An entry, and what else is stored of what it books.

    `member_id` is told with a referral, `names` with a hold of a household's points.
    """

    entry: Entry
    lots: tuple[Origin, ...] = ()
    hold: Hold | None = None
    adjustment: Adjustment | None = None
    referral: Referral | None = None
    side: Side | None = None
    member_id: MemberId = MemberId("")
    other_member_id: MemberId = MemberId("")
    names: Mapping[MemberKey, MemberId] = field(default_factory=dict)

    @property
    def note(self) -> notes.Note:
        """Who did it, and the entry of another wallet that belongs to it."""
        return notes.read(self.entry.explanation)


def told(story: Story) -> Iterator[str]:
    """Sentences: what was booked and why, what became of debt, and of which lots."""
    entry = story.entry
    yield _booked(story)
    if entry.explanation and not notes.is_note(entry.explanation):
        yield from _rules(entry)
    if entry.debt_delta > 0 and entry.available_delta + entry.pending_delta >= 0:
        yield f"{_points(entry, entry.debt_delta)} repaid debt."
    if entry.debt_delta < 0 and entry.type is EntryType.REVERSE:
        yield f"{_points(entry, -entry.debt_delta)} of them were not there and became debt."
    if entry.lot_sequence == entry.sequence:
        yield from _lives(entry)
    for lot in story.lots:
        if lot.lot_sequence != entry.sequence:
            yield _used(entry, lot)


def _booked(story: Story) -> str:
    entry = story.entry
    if entry.type in _HELD:
        return _of_hold(story)
    if entry.type in _BY_HAND:
        return _by_hand(story)
    given, taken = _points(entry, -entry.program_delta), _points(entry, entry.program_delta)
    match entry.type:
        case EntryType.EARN:
            return f"Activity {entry.activity_id} of {_time(entry.occurred_time)} earned {given}."
        case EntryType.CREDIT:
            return f"Request {entry.reference} credited {given}{_why(entry)}."
        case EntryType.REFERRAL:
            return f"Referral {entry.reference} gave {given}{_why_given(story)}."
        case EntryType.REVERSE if not entry.activity_id:
            return f"Referral {entry.reference} took {taken} back{_why_returned(story)}."
        case EntryType.REVERSE:
            of = f"Reversal {entry.reference} of activity {entry.activity_id}"
            return f"{of} took {taken} back{_why(entry)}."
        case EntryType.EXPIRE:
            return f"{taken} came to their end at {_time(entry.occurred_time)}."
        case _:
            activated = _points(entry, -entry.pending_delta)
            of = f"{activated} of activity {entry.activity_id}"
            return f"{of} became available at {_time(entry.occurred_time)}."


def _why_given(story: Story) -> str:
    """Who brought whom, and what the friend did first."""
    if story.referral is None:
        return ""
    other = _other(story)
    deed = f"activity {story.referral.activity_id} was the first to qualify"
    if story.side is Side.FRIEND:
        return f": the member had come by the code of {other}, and its {deed}"
    return f": {other} had come by the member's code, and that one's {deed}"


def _why_returned(story: Story) -> str:
    """For what they had been given, and what was returned."""
    if story.referral is None:
        return ": the purchase was returned"
    other = _other(story)
    did = "coming by the code of" if story.side is Side.FRIEND else "bringing"
    return f", given for {did} {other}: all of activity {story.referral.activity_id} was returned"


def _other(story: Story) -> str:
    return f"member {story.other_member_id}" if story.other_member_id else "another member"


_VOIDED = {
    HoldState.EXPIRED: "came to its end",
    HoldState.CAPTURED: "was captured without these points",
}
"""How a hold gave all back that it had of a wallet, but by being voided."""


def _of_hold(story: Story) -> str:
    entry = story.entry
    name = f"Hold {entry.reference}"
    back = _points(entry, entry.available_delta + entry.debt_delta)
    match entry.type:
        case EntryType.HOLD:
            return f"{name} set {_points(entry, entry.held_delta)} aside{_why(entry)}."
        case EntryType.CAPTURE:
            spent = f"{name} was captured: {_points(entry, entry.program_delta)} were spent"
            went_back = entry.available_delta + entry.debt_delta
            return f"{spent}, and {back} went back." if went_back else f"{spent}."
        case EntryType.VOID:
            how = _VOIDED.get(story.hold.state if story.hold else HoldState.VOIDED, "was voided")
            return f"{name} {how}: {back} went back."
        case _:
            refunded = _points(entry, -entry.program_delta)
            of = f" with a return of activity {entry.activity_id}" if entry.activity_id else ""
            return f"{refunded} that hold {entry.reference} had captured were refunded{of}."


def _by_hand(story: Story) -> str:
    entry, note = story.entry, story.note
    given, taken = _points(entry, -entry.program_delta), _points(entry, entry.program_delta)
    other = _other(story)
    lot, end = f"lot {entry.lot_sequence}", entry.lot_expire_time
    until = f"until {_time(end)}" if end is not None else "for ever"
    match entry.type:
        case EntryType.TRANSFER_OUT if entry.program_delta < 0:
            return f"A debt of {given} went to {other}, entry {note.other_sequence}{_why(entry)}."
        case EntryType.TRANSFER_IN if entry.program_delta > 0:
            return f"A debt of {taken} came from {other}, entry {note.other_sequence}{_why(entry)}."
        case EntryType.TRANSFER_OUT:
            return f"{taken} went to {other}, entry {note.other_sequence}{_why(entry)}."
        case EntryType.TRANSFER_IN:
            return f"{given} came from {other}, entry {note.other_sequence}{_why(entry)}."
        case EntryType.CONVERT_OUT | EntryType.CONVERT_IN:
            return _converted(entry, note)
        case EntryType.ADJUST:
            did = f"gave {given}" if entry.program_delta < 0 else f"took {taken}"
            approved = f", approved by {note.approver}" if note.approver else ""
            return f"{note.actor} {did} by adjustment {entry.reference}{approved}{_why(entry)}."
        case EntryType.EXTEND if not note.actor:
            return f"What came back to {lot}, which had ended, lives {until}."
        case EntryType.EXTEND:
            return f"{note.actor} let {lot} live {until}{_why(entry)}."
        case _:
            return f"{note.actor} brought {given} of {lot} back, {until}{_why(entry)}."


def _converted(entry: Entry, note: notes.Note) -> str:
    """What became of points, or what they came of, at which rate."""
    rate, moved = (note.numerator, note.denominator), abs(entry.program_delta)
    whole = all(rate)
    at = f"at {rate[0]:,} for {rate[1]:,}, entry {note.other_sequence} there{_why(entry)}"
    if entry.type is EntryType.CONVERT_OUT:
        other = moved * rate[0] // rate[1] if whole else 0
        return f"{_points(entry, moved)} became {other:,} {note.other_currency_id}, {at}."
    other = moved * rate[1] // rate[0] if whole else 0
    return f"{_points(entry, moved)} came of {other:,} {note.other_currency_id}, {at}."


_HELD = {EntryType.HOLD, EntryType.CAPTURE, EntryType.VOID, EntryType.REFUND}
_BY_HAND = {
    EntryType.TRANSFER_OUT,
    EntryType.TRANSFER_IN,
    EntryType.CONVERT_OUT,
    EntryType.CONVERT_IN,
    EntryType.ADJUST,
    EntryType.EXTEND,
    EntryType.REINSTATE,
}


def _rules(entry: Entry) -> Iterator[str]:
    """What each rule and cap did."""
    decided = explanations.read(entry.explanation)
    level = f", at level {decided.level_id}" if decided.level_id else ""
    yield f"Version {decided.program_version} of the rules decided it{level}."
    for rule in decided.rules:
        if rule.matched:
            but = f", but {rule.reason}" if rule.reason else ""
            yield f"Rule {rule.rule_id} brought {_points(entry, rule.granted)}{but}."
        else:
            yield f"Rule {rule.rule_id} did not apply: {rule.reason}."
    for cap in decided.caps:
        within = f" of {cap.period}" if cap.period else ""
        cut = " and cut the rest" if cap.cut else ""
        left, counted = _points(entry, cap.left), _points(entry, cap.counted)
        yield f"Cap {cap.cap_id}{within} had {left} left, counted {counted}{cut}."


def _lives(entry: Entry) -> Iterator[str]:
    """When what came becomes available, and when it ends."""
    if entry.pending_delta > 0:
        when = entry.lot_available_time
        yield f"They wait {f'until {_time(when)}' if when else 'to be confirmed'}."
    if entry.lot_expire_time is not None:
        yield f"They live until {_time(entry.lot_expire_time)}."
    elif entry.slide_time is not None:
        yield f"They live until {_time(entry.slide_time)}, and longer with what comes next."


def _used(entry: Entry, lot: Origin) -> str:
    how = _MADE.get(lot.made_by, lot.made_by.value)
    of = f" by activity {lot.activity_id}" if lot.activity_id else ""
    where = f"lot {lot.lot_sequence}, {how}{of} at {_time(lot.made_time)}"
    if lot.points > 0:
        return f"{_points(entry, lot.points)} went back to {where}."
    if lot.points < 0:
        return f"{_points(entry, -lot.points)} came out of {where}."
    return f"It is about {where}."


def _points(entry: Entry, points: int) -> str:
    return f"{points:,} {entry.currency_id}"


def _why(entry: Entry) -> str:
    return f": {entry.reason}" if entry.reason else ""


def _time(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
