"""What is refused of households, in the order in which it is checked."""

from dataclasses import dataclass

from shared import errors


@dataclass(eq=False, repr=False, kw_only=True)
class HouseholdsNotOffered(errors.FailedPrecondition):
    """The program has no household policy."""

    message = "program {program_id} has no households"
    program_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class HouseholdNotFound(errors.NotFound):
    """Nothing has the identifier, or it was dissolved."""

    message = "no household {household_id}"
    household_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class InvitationNotFound(errors.NotFound):
    """Accepted, another member's, of a household that was dissolved, or unknown."""

    message = "no open invitation of the member has the code {invitation_code}"
    invitation_code: str


@dataclass(eq=False, repr=False, kw_only=True)
class NotInHousehold(errors.FailedPrecondition):
    """The member is in none, or not in the one that is meant."""

    message = "member {member_id} is not in the household"
    member_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class NotHeadOfHousehold(errors.FailedPrecondition):
    """Only the head spends what all have."""

    message = "member {member_id} is not the head of its household, who alone spends its points"
    member_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class HeadNotRemoved(errors.FailedPrecondition):
    """The head leaves, or dissolves the household."""

    message = "member {member_id} is the head of the household, who leaves it or dissolves it"
    member_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class AlreadyInHousehold(errors.FailedPrecondition):
    """Nobody is in two."""

    message = "member {member_id} is in household {household_id}"
    member_id: str
    household_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class HouseholdCoolOff(errors.FailedPrecondition):
    """Whoever left a household joins no other for a while."""

    message = "member {member_id} left a household and joins no other before {until_time}"
    member_id: str
    until_time: str


@dataclass(eq=False, repr=False, kw_only=True)
class HouseholdFull(errors.FailedPrecondition):
    """As many members as the program allows."""

    message = "household {household_id} has {limit} members already"
    household_id: str
    limit: int


@dataclass(eq=False, repr=False, kw_only=True)
class HouseholdsDiffer(errors.FailedPrecondition):
    """Members of two households cannot become one."""

    message = "member {member_id} and member {source_member_id} are in different households"
    member_id: str
    source_member_id: str
