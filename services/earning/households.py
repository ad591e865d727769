"""Households: pure decisions about who is in which.

Every change of a household, and of who is in it, is decided behind the locks of the wallets of all
its members, so nobody spends for a household while somebody joins or leaves.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from services.earning.commands_households import (
    AcceptInvitation,
    CreateHousehold,
    InviteMember,
    RemoveMember,
)
from services.earning.decisions import Changes
from services.earning.domain import HouseholdId, MemberId, MemberKey
from services.earning.household_records import (
    NOBODY,
    Housed,
    Household,
    HouseholdMembershipChanged,
    HouseholdPolicy,
    Invitation,
    Joined,
    Membership,
    invitation_code,
)
from services.earning.refusals_households import (
    AlreadyInHousehold,
    HeadNotRemoved,
    HouseholdCoolOff,
    HouseholdFull,
    HouseholdsDiffer,
    InvitationNotFound,
    NotInHousehold,
)
from shared.decision import Decision


def create(
    command: CreateHousehold,
    head: MemberKey,
    before: Membership | None,
    policy: HouseholdPolicy,
    now: datetime,
) -> Decision[Changes, Household]:
    """Make a household of one. Refuses AlreadyInHousehold, HouseholdCoolOff."""
    household_id = HouseholdId(command.unique)
    _check_may_join(command.member_id, before, household_id, policy, now)
    made = Household(
        program_id=command.program_id,
        household_id=household_id,
        head_key=head,
        create_time=now,
        joined=1,
        members=(Joined(member_key=head, number=1, join_time=now),),
    )
    return _decided(None, made, now)


def invite(
    command: InviteMember,
    household: Household,
    invited: MemberKey,
    membership: Membership | None,
    known: Invitation | None,
    policy: HouseholdPolicy,
    now: datetime,
) -> Decision[Changes, Invitation]:
    """Invite a member, or `NOBODY` in particular; `known` is an invitation of it that is open.

    Refuses AlreadyInHousehold, HouseholdFull.
    """
    if membership is not None and membership.leave_time is None:
        raise AlreadyInHousehold(member_id=command.member_id, household_id=membership.household_id)
    _check_room(household, policy)
    if known is not None:
        return Decision(state=Changes(), answer=known)
    made = Invitation(
        program_id=household.program_id,
        code=invitation_code(command.chance),
        household_id=household.household_id,
        member_key=invited,
        create_time=now,
    )
    return Decision(state=Changes(housed=Housed(invitation=made)), answer=made)


def accept(
    command: AcceptInvitation,
    member: MemberKey,
    before: Membership | None,
    invitation: Invitation,
    household: Household,
    policy: HouseholdPolicy,
    now: datetime,
) -> Decision[Changes, Household]:
    """Let a member join. Refuses AlreadyInHousehold, HouseholdCoolOff, HouseholdFull."""
    _check_may_join(command.member_id, before, household.household_id, policy, now)
    _check_room(household, policy)
    number = household.joined + 1
    joined = replace(
        household,
        joined=number,
        members=(*household.members, Joined(member_key=member, number=number, join_time=now)),
    )
    return _decided(household, joined, now, replace(invitation, accepted_by=member))


def is_open(invitation: Invitation, member: MemberKey) -> bool:
    """Whether a member may accept an invitation."""
    return not invitation.accepted_by and invitation.member_key in {NOBODY, member}


def open_to(
    invitation: Invitation | None, household: Household | None, member: MemberKey, code: str
) -> tuple[Invitation, Household]:
    """An invitation and its household, both of which are there. Refuses InvitationNotFound."""
    if invitation is None or household is None or not household.members:
        raise InvitationNotFound(invitation_code=code)
    if not is_open(invitation, member):
        raise InvitationNotFound(invitation_code=code)
    return invitation, household


def remove(
    command: RemoveMember, household: Household, member: MemberKey, now: datetime
) -> Decision[Changes, Household]:
    """Take a member out. Refuses NotInHousehold, HeadNotRemoved."""
    if member not in {each.member_key for each in household.members}:
        raise NotInHousehold(member_id=command.member_id)
    if member == household.head_key:
        raise HeadNotRemoved(member_id=command.member_id)
    return leave(household, [member], now)


def leave(
    household: Household, leaving: Iterable[MemberKey], now: datetime
) -> Decision[Changes, Household]:
    """Let members leave; whoever joined first of the others is head if the head is among them."""
    gone = set(leaving)
    left = tuple(each for each in household.members if each.member_key not in gone)
    head = household.head_key
    if left and head in gone:
        head = left[0].member_key
    after = replace(household, members=left, head_key=head, dissolve_time=None if left else now)
    return _decided(household, after, now)


def merge(
    source: Membership | None,
    target: Membership | None,
    household: Household | None,
    names: tuple[MemberId, MemberId],
    merged_key: MemberKey,
    now: datetime,
) -> Decision[Changes, Household] | None:
    """What becomes of the household of a member that ends in another (`merged_key`), if anything.

    The target takes the source's place in `household`, the source's own; if it is in it too, the
    source leaves, and a head stays head. What a source left not long ago its target has left, too.
    `names` are those of the source and of the target. Refuses HouseholdsDiffer.
    """
    if source is None:
        return None
    if source.leave_time is not None or household is None:
        return _left_lately(source, target, merged_key)
    if target is None or target.leave_time is not None:
        members = tuple(
            replace(each, member_key=merged_key) if each.member_key == source.member_key else each
            for each in household.members
        )
    elif target.household_id == source.household_id:
        members = tuple(e for e in household.members if e.member_key != source.member_key)
    else:
        raise HouseholdsDiffer(source_member_id=names[0], member_id=names[1])
    is_head = household.head_key == source.member_key
    after = replace(
        household, members=members, head_key=merged_key if is_head else household.head_key
    )
    return _decided(household, after, now)


def _left_lately(
    source: Membership, target: Membership | None, merged_key: MemberKey
) -> Decision[Changes, Household] | None:
    """Nobody gets round a cool-off by a merger."""
    if source.leave_time is None or (
        target is not None and (target.leave_time is None or target.leave_time >= source.leave_time)
    ):
        return None
    kept = replace(source, member_key=merged_key)
    answer = Household(
        program_id=source.program_id,
        household_id=source.household_id,
        head_key=NOBODY,
        create_time=source.join_time,
        joined=0,
        members=(),
    )
    return Decision(state=Changes(housed=Housed(memberships=(kept,))), answer=answer)


# What they have in common ------------------------------------------------------------------------


def _check_may_join(
    name: MemberId,
    before: Membership | None,
    household_id: HouseholdId,
    policy: HouseholdPolicy,
    now: datetime,
) -> None:
    """Refuse who is in a household, or has just left another."""
    if before is None:
        return
    if before.leave_time is None:
        raise AlreadyInHousehold(member_id=name, household_id=before.household_id)
    until = before.leave_time + timedelta(days=policy.cool_off_days)
    if now < until and before.household_id != household_id:
        raise HouseholdCoolOff(member_id=name, until_time=until.isoformat())


def _check_room(household: Household, policy: HouseholdPolicy) -> None:
    if len(household.members) >= policy.max_members:
        raise HouseholdFull(household_id=household.household_id, limit=policy.max_members)


def _decided(
    before: Household | None,
    after: Household,
    now: datetime,
    accepted: Invitation | None = None,
) -> Decision[Changes, Household]:
    """A household as it is from now on, with everything that follows of its members."""
    was = {} if before is None else {each.member_key: each for each in before.members}
    is_ = {each.member_key: each for each in after.members}
    gone = [_membership(after, each, now) for key, each in was.items() if key not in is_]
    come = [_membership(after, each, None) for key, each in is_.items() if was.get(key) != each]
    head = None if before is None else before.head_key
    told = tuple(
        HouseholdMembershipChanged(
            program_id=after.program_id,
            member_key=key,
            household_id=after.household_id,
            is_member=key in is_,
            is_head=key in is_ and key == after.head_key,
        )
        for key in dict.fromkeys([*was, *is_])
        if (key in was, key in was and key == head) != (key in is_, key == after.head_key)
        or (key in was) != (key in is_)
    )
    housed = Housed(household=after, memberships=(*gone, *come), invitation=accepted)
    return Decision(state=Changes(housed=housed), answer=after, events=told)


def _membership(household: Household, joined: Joined, leave_time: datetime | None) -> Membership:
    return Membership(
        program_id=household.program_id,
        member_key=joined.member_key,
        household_id=household.household_id,
        number=joined.number,
        join_time=joined.join_time,
        leave_time=leave_time,
    )
