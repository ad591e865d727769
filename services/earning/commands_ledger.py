"""What earning is told to do with points that wait; the rest is in `commands.py`."""

from services.earning.domain import ActivityId, CurrencyId, MemberKey, ProgramId
from shared.keys import RequestKey
from shared.values import value


@value
class ConfirmActivity:
    """Make the pending points of an activity available."""

    program_id: ProgramId
    request_id: str
    activity_id: ActivityId
    digest: str

    @property
    def request_key(self) -> RequestKey:
        """Key of the request."""
        return RequestKey(
            program_id=self.program_id,
            scope="confirm_activity",
            request_id=self.request_id,
            digest=self.digest,
        )

    @property
    def routing(self) -> str:
        """Identifier of the activity."""
        return self.activity_id


@value
class SettleWallet:
    """Book what the clock has made due of a wallet; nothing happens when nothing is.

    `weight` is how many decisions it counts for in a batch: a wallet may have many lots.
    """

    program_id: ProgramId
    member_key: MemberKey
    currency_id: CurrencyId
    weight: int = 1
    request_key: None = None

    @property
    def routing(self) -> str:
        """Key of the member."""
        return self.member_key
