"""What is told of a member beside its own rows: household, referrals, and monthly statements."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from services.earning import statements, store_households, store_referrals, store_statements
from services.earning.documents import EarningPrograms
from services.earning.domain import HouseholdId, MemberKey, ProgramId, Wallet
from services.earning.queries_statements import Months
from services.earning.referral_records import Referral, ReferralState
from services.earning.statements import Statement
from shared.database import Database, Tx

_TIME_END = datetime.max.replace(tzinfo=UTC)
_ABOUT_A_ZONE = timedelta(days=2)
"""More than any zone, or change of zones, moves a midnight."""


async def codes(tx: Tx, program_id: ProgramId, keys: Sequence[MemberKey]) -> list[str]:
    """The codes of a member, the oldest first."""
    return await store_referrals.all_codes(tx, [(program_id, key) for key in keys])


async def households(
    tx: Tx, program_id: ProgramId, keys: Iterable[MemberKey]
) -> dict[MemberKey, HouseholdId]:
    """The households that members are in; those who are in none are left out."""
    found = await store_households.memberships(tx, [(program_id, key) for key in keys])
    return {
        each.member_key: each.household_id for each in found.values() if each.leave_time is None
    }


async def referrals(
    database: Database, program_id: ProgramId, keys: Sequence[MemberKey], size: int
) -> AsyncIterator[list[Referral]]:
    """How a member came, then whom it brought; `keys` are its own and those merged into it."""
    async with database.reading() as tx:
        came = await store_referrals.of_friends(tx, [(program_id, key) for key in keys])
    if came:
        yield came
    for key in keys:
        before: tuple[datetime, str] = (_TIME_END, "")
        while True:
            async with database.reading() as tx:
                page = await store_referrals.page(
                    tx, program_id, key, tuple(ReferralState), before=before, count=size
                )
            brought = [each for each in page if each.friend_key not in keys]
            if brought:
                yield brought
            if len(page) < size:
                break
            before = (page[-1].claim_time, page[-1].referral_id)


async def of_months(
    database: Database, programs: EarningPrograms, wallet: Wallet, size: int
) -> AsyncIterator[list[Statement]]:
    """Statements of the months of a wallet in which something was booked, `size` at a time."""
    key = (wallet.program_id, wallet.member_key, wallet.currency_id)
    async with database.reading() as tx:
        booked = await store_statements.booked(tx, key)
    if booked is None:
        return
    day, last = (booked[0] - _ABOUT_A_ZONE).date(), (booked[1] + _ABOUT_A_ZONE).date()
    day = day.replace(day=1)
    while day <= last:
        found: list[Statement] = []
        async with database.reading() as tx:
            months = Months(tx, programs)
            while day <= last and len(found) < size:
                span = await months.span(key, statements.month_of(day))
                if span.upto > span.after:
                    found.append(await months.stated(key, span))
                day = statements.day_after(day)
        if found:
            yield found
