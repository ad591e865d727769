"""Recomputes what referrals gave and took back, and says what does not agree.

The rules that violations name are listed in `audit.py`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from services.earning.audit import DETAIL_MAX, Violation
from services.earning.domain import ActivityId, ActivityRecord, Entry, EntryType, MemberKey
from services.earning.referral_records import REASON, Booking, Referral, ReferralState, Side
from services.earning.referrals import is_returned

_GIVEN, _TAKEN = EntryType.REFERRAL, EntryType.REVERSE


def audit_page(
    referrals: Iterable[Referral],
    bookings: Iterable[Booking],
    entries: Mapping[tuple[str, str, int], Entry],
    activities: Mapping[ActivityId, ActivityRecord],
    merged: Mapping[MemberKey, MemberKey],
) -> Iterator[Violation]:
    """What is wrong with some referrals, given what they booked and what brought it.

    `merged` are members that were merged, with whom they went to.
    """
    by_referral: dict[str, list[Booking]] = {}
    for each in bookings:
        by_referral.setdefault(each.referral_id, []).append(each)
    for referral in referrals:
        yield from audit_referral(
            referral,
            by_referral.get(referral.referral_id, ()),
            entries,
            activities.get(referral.activity_id),
            merged,
        )


def lost(program_id: str, referral_id: str) -> Violation:
    """A referral that bookings name is not there."""
    subject = f"{program_id}/{referral_id}"
    return Violation(rule="referral_entries", subject=subject, detail="the referral is not there")


def audit_referral(
    referral: Referral,
    bookings: Sequence[Booking],
    entries: Mapping[tuple[str, str, int], Entry],
    activity: ActivityRecord | None,
    merged: Mapping[MemberKey, MemberKey],
) -> Iterator[Violation]:
    """A referral has exactly the entries that its points say, of its activity.

    `entries` are those that the bookings name, by member, currency and sequence; `activity` is the
    friend's that brought the rewards.
    """
    is_over = referral.state is ReferralState.REVERSED
    expected = {
        (side, type_): points
        for side, type_, points in (
            (Side.FRIEND, _GIVEN, referral.friend_points),
            (Side.REFERRER, _GIVEN, referral.referrer_points),
            (Side.FRIEND, _TAKEN, referral.friend_points_reversed),
            (Side.REFERRER, _TAKEN, referral.referrer_points_reversed),
        )
        if points
    }
    found = {(each.side, each.type): each.points for each in bookings}
    if expected != found:
        yield _violation(referral, f"expected {expected}, found {found}")
    sides = {Side.FRIEND: referral.friend_key, Side.REFERRER: referral.referrer_key}
    whose = [(each.side.value, each.member_key, sides[each.side]) for each in bookings]
    if activity is not None:
        whose.append(("activity", activity.member_key, referral.friend_key))
    for what, one, other in whose:
        if merged.get(one, one) != merged.get(other, other):
            yield _violation(referral, f"{what}: expected member {other}, found {one}")
    for each in bookings:
        entry = entries.get((each.member_key, each.currency_id, each.sequence))
        yield from _booked(referral, each, entry)
    reversed_points = referral.friend_points_reversed or referral.referrer_points_reversed
    if reversed_points and not is_over:
        yield _violation(referral, f"it is {referral.state.value}, and points were taken back")
    if referral.state is ReferralState.CAPPED and referral.referrer_points:
        yield _violation(referral, "it is capped, and the referrer got points")
    has_activity = referral.state is not ReferralState.CLAIMED
    if has_activity != (activity is not None):
        yield _violation(referral, f"it is {referral.state.value}, its activity {activity}")
    elif activity is not None and is_returned(activity) != is_over:
        yield _violation(referral, f"it is {referral.state.value}, its activity was returned")


def _booked(referral: Referral, booking: Booking, entry: Entry | None) -> Iterator[Violation]:
    gave = booking.type is _GIVEN
    expected = (
        booking.type,
        referral.referral_id,
        referral.currency_id,
        REASON,
        -booking.points if gave else booking.points,
        referral.reward_time if gave else referral.reverse_time,
    )
    found = entry and (
        entry.type,
        entry.reference,
        entry.currency_id,
        entry.reason,
        entry.program_delta,
        entry.create_time,
    )
    if expected != found:
        yield _violation(referral, f"{booking.side.value}: expected {expected}, found {found}")


def is_of_referral(entry: Entry) -> bool:
    """Whether an entry can only have been made by a referral."""
    return entry.type is _GIVEN or (entry.type is _TAKEN and not entry.activity_id)


def audit_orphans(made: Iterable[Entry], booked: set[tuple[str, str, int]]) -> Iterator[Violation]:
    """Entries of referrals that no referral knows; `booked` are those that are known."""
    for entry in made:
        if (entry.member_key, entry.currency_id, entry.sequence) not in booked:
            subject = f"{entry.program_id}/{entry.member_key}/{entry.currency_id}#{entry.sequence}"
            detail = f"referral {entry.reference} does not know the entry"
            yield Violation(rule="referral_entries", subject=subject, detail=detail)


def _violation(referral: Referral, detail: str) -> Violation:
    subject = f"{referral.program_id}/{referral.referral_id}"
    return Violation(rule="referral_entries", subject=subject, detail=detail[:DETAIL_MAX])
