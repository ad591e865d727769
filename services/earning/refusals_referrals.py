"""What is refused of referrals, in the order in which it is checked."""

from dataclasses import dataclass

from shared import errors


@dataclass(eq=False, repr=False, kw_only=True)
class ReferralsNotOffered(errors.FailedPrecondition):
    """The program has no referral policy."""

    message = "program {program_id} rewards nobody for bringing friends"
    program_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class ReferralCodeNotFound(errors.NotFound):
    """Nobody has the code, or its owner is frozen or erased."""

    message = "no member who may bring friends has the code {referral_code}"
    referral_code: str


@dataclass(eq=False, repr=False, kw_only=True)
class ReferralNotFound(errors.NotFound):
    """The member did not come by another's code."""

    message = "member {member_id} has claimed no code"
    member_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class AlreadyReferred(errors.FailedPrecondition):
    """A member has one referrer."""

    message = "member {member_id} has claimed a code already"
    member_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class SelfReferral(errors.FailedPrecondition):
    """Nobody brings itself, whatever it is called."""

    message = "the code is that of member {member_id}"
    member_id: str


@dataclass(eq=False, repr=False, kw_only=True)
class ReferralCycle(errors.FailedPrecondition):
    """Whoever stands above the owner of a code cannot come by it."""

    message = (
        "member {member_id} stands above the owner of the code, or more than {limit} members do"
    )
    member_id: str
    limit: int


@dataclass(eq=False, repr=False, kw_only=True)
class NotANewcomer(errors.FailedPrecondition):
    """A friend claims before anything that qualifies."""

    message = "member {member_id} has done something that qualifies already"
    member_id: str
