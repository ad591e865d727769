"""What is refused of seals."""

from dataclasses import dataclass

from shared import errors


@dataclass(eq=False, repr=False, kw_only=True)
class SealNotFound(errors.NotFound):
    """A day that is not over, was before the program, or waits for the job; or no day has one."""

    message = "program {program_id} has no seal of day {day}"
    program_id: str
    day: str

    def __str__(self) -> str:
        """Without a day, when the first seal is made."""
        if self.day:
            return super().__str__()
        return f"program {self.program_id} has no seal yet: a day is sealed soon after its end"


@dataclass(eq=False, repr=False, kw_only=True)
class WalletNotSealed(errors.NotFound):
    """A wallet without an entry is in no seal."""

    message = "the wallet of member {member_id} had no entry by the end of {day}"
    member_id: str
    day: str
