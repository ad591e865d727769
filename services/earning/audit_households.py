"""Recomputes households, and holds that took of all their wallets, and says what does not agree.

What a hold has of one member is compared with the entries of that wallet as a hold of its own
(`audit_holds.py`); here, that these parts make up the hold.
The rules that violations name are listed in `audit.py`.
"""

from collections.abc import Iterable, Iterator, Mapping

from services.earning.audit import DETAIL_MAX, Violation
from services.earning.domain import Hold, MemberKey
from services.earning.household_records import Household
from services.earning.member_records import MemberState


def audit_hold(hold: Hold, refunded: int, given: int) -> Iterator[Violation]:
    """A hold of a household is what it has of its members.

    Of what came back of it with returns of the activity that it paid for, `refunded` are by the
    entries, `given` by the returns.
    """
    expected = (
        sum([share.points for share in hold.shares]),
        sum([share.captured for share in hold.shares]),
        sum([share.refunded for share in hold.shares]),
        (),
        0,
    )
    found = (hold.points, hold.captured, hold.refunded, hold.lots, hold.entry_sequence)
    subject = f"{hold.program_id}/{hold.hold_id}"
    if expected != found:
        yield _violation("household_holds", subject, f"expected {expected}, found {found}")
    if refunded != given:
        detail = f"expected {refunded} points given back, found {given}"
        yield _violation("activity_paid", subject, detail)


def audit_household(
    household: Household, states: Mapping[MemberKey, MemberState]
) -> Iterator[Violation]:
    """A household has a head among its members, who are there, until none is left.

    `states` are those of its members.
    """
    subject = f"{household.program_id}/{household.household_id}"
    keys = [each.member_key for each in household.members]
    numbers = [each.number for each in household.members]
    if bool(keys) == (household.dissolve_time is not None):
        detail = f"it has {len(keys)} members, dissolved {household.dissolve_time}"
        yield _violation("household_members", subject, detail)
    if keys and household.head_key not in keys:
        detail = f"its head {household.head_key} is none of its members {keys}"
        yield _violation("household_members", subject, detail)
    if len(set(numbers)) < len(numbers) or any(each > household.joined for each in numbers):
        detail = f"of {household.joined} that joined its members are {numbers}"
        yield _violation("household_members", subject, detail)
    for key in keys:
        state = states.get(key)
        if state not in {MemberState.ACTIVE, MemberState.FROZEN}:
            detail = f"its member {key} is {state and state.value}"
            yield _violation("household_members", subject, detail)


def lost(program_id: str, household_ids: Iterable[str]) -> Iterator[Violation]:
    """Households that members are in, and that are not there."""
    for each in household_ids:
        yield _violation("household_members", f"{program_id}/{each}", "it is not there")


def _violation(rule: str, subject: str, detail: str) -> Violation:
    return Violation(rule=rule, subject=subject, detail=detail[:DETAIL_MAX])
