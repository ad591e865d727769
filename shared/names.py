"""What names a member, as a service takes it over from the events of earning; pure."""

from datetime import datetime

from shared.values import value


@value
class Name:
    """One identifier of a member, and since when it is."""

    kind: str
    identifier: str
    assign_time: datetime


@value
class NameMember:
    """Followed: all that names a member now, the name that it is shown by first."""

    program_id: str
    member_key: str
    names: tuple[Name, ...]
    request_key: None = None

    @property
    def routing(self) -> str:
        """The member, so that its commands stay in order."""
        return self.member_key
