"""What a batch is decided over of households: a part of the world, there only if it is needed."""

from dataclasses import dataclass, field

from services.earning.domain import HouseholdId, MemberKey, ProgramId
from services.earning.household_records import Housed, Household, Invitation, Membership

_Place = tuple[ProgramId, MemberKey]
_Id = tuple[ProgramId, HouseholdId]
_Code = tuple[ProgramId, str]


@dataclass(slots=True, kw_only=True)
class Households:
    """State by key; of members what they are in, or were in last."""

    by_id: dict[_Id, Household] = field(default_factory=dict)
    memberships: dict[_Place, Membership] = field(default_factory=dict)
    invitations: dict[_Code, Invitation] = field(default_factory=dict)
    changed: set[_Id] = field(default_factory=set)
    changed_members: set[_Place] = field(default_factory=set)
    changed_invitations: set[_Code] = field(default_factory=set)

    def active(self, program_id: ProgramId, household_id: HouseholdId) -> Household | None:
        """A household that has members."""
        found = self.by_id.get((program_id, household_id))
        return found if found is not None and found.members else None

    def of(self, program_id: ProgramId, member_key: MemberKey) -> Household | None:
        """The household that a member is in."""
        membership = self.memberships.get((program_id, member_key))
        if membership is None or membership.leave_time is not None:
            return None
        return self.by_id[program_id, membership.household_id]

    def invited(
        self, program_id: ProgramId, household_id: HouseholdId, member_key: MemberKey
    ) -> Invitation | None:
        """The invitation of a member to a household that it has not accepted."""
        for each in self.invitations.values():
            meant = (each.program_id, each.household_id, each.member_key)
            if meant == (program_id, household_id, member_key) and not each.accepted_by:
                return each
        return None

    def put(self, changed: Housed) -> None:
        """Take what a decision changed."""
        if changed.household is not None:
            id_ = (changed.household.program_id, changed.household.household_id)
            self.by_id[id_] = changed.household
            self.changed.add(id_)
        for each in changed.memberships:
            place = (each.program_id, each.member_key)
            self.memberships[place] = each
            self.changed_members.add(place)
        if changed.invitation is not None:
            code = (changed.invitation.program_id, changed.invitation.code)
            self.invitations[code] = changed.invitation
            self.changed_invitations.add(code)
