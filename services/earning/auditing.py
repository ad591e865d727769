"""Verifies a piece of the ledger: a range of members, or of activities, from one snapshot.

What is rare (holds, adjustments, returns, referrals, further currencies) is read as values; nearly
everything else as columns. Memory is bounded by what one range has beside its entries, and by a
page of entries.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from google.protobuf.message import DecodeError

from services.earning import (
    audit,
    audit_activities,
    audit_further,
    audit_households,
    audit_paying,
    audit_referrals,
    store_audit,
    store_audit_activities,
    store_audit_further,
    store_audit_households,
    store_audit_paying,
    store_audit_referrals,
    wire,
)
from services.earning.audit import Violation
from services.earning.audit_bookings import Bookings
from services.earning.audit_columns import Owner
from services.earning.audit_decisions import Decisions
from services.earning.audit_wallets import WalletAudit
from services.earning.documents import EarningPrograms
from services.earning.domain import (
    CurrencyId,
    Entry,
    Hold,
    MemberKey,
    ProgramId,
    Wallet,
)
from services.earning.rules import Program
from services.earning.store_audit import Owned, Range
from shared.database import Database, Tx
from shared.errors import Refusal

_ENTRIES_PAGE = 2_000
_SERVING = 100
"""After so many activities a service that verifies goes on serving others."""


class Stage(StrEnum):
    """What a piece is a range of."""

    WALLETS = "wallets"
    ACTIVITIES = "activities"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """How many wallets or activities a piece had, and what is wrong with them."""

    count: int
    violations: list[Violation]


class Auditor:
    """Verifies pieces, one after the other."""

    def __init__(self, database: Database, programs: EarningPrograms) -> None:
        self._database = database
        self._programs = programs
        self._versions: dict[tuple[str, int], Decisions] = {}

    async def audit(self, stage: Stage, range_: Range) -> Audited:
        """Verify one piece."""
        async with self._database.reading() as tx:
            await store_audit.walk_indexes(tx)
            if stage is Stage.WALLETS:
                return await self._wallets(tx, range_)
            return await self._activities(tx, range_)

    # Wallets -------------------------------------------------------------------------------------

    async def _wallets(self, tx: Tx, range_: Range) -> Audited:
        program = (await self._programs.current(tx, [range_.program_id])).get(range_.program_id)
        first = program.program.currency_id if program is not None else None
        owned = await store_audit.owned(tx, range_)
        uses = await store_audit.uses(tx, range_)
        audits = _Wallets(range_.program_id, owned)
        activities = await store_audit_activities.booked(tx, range_)
        told = Bookings(range_.program_id, activities, first)
        async for page in store_audit.entry_pages(tx, range_, _ENTRIES_PAGE):
            for owner, run in page:
                audits.of(owner).add(run, uses.get(owner, {}))
                told.take(run)
            await asyncio.sleep(0)  # a service that verifies goes on serving
        violations = [*audits.finish(), *told.finish()]
        known = await store_audit_further.recorded(tx, range_.program_id, told.earned)
        violations += audit_further.audit_orphans(told.earned, known)
        booked = await store_audit_referrals.booked(tx, range_.program_id, told.referred)
        violations += audit_referrals.audit_orphans(told.referred, booked)
        violations += await _paid(tx, range_.program_id, owned, told.refunded)
        return Audited(count=len(owned.wallets), violations=violations)

    # Activities ----------------------------------------------------------------------------------

    async def _activities(self, tx: Tx, range_: Range) -> Audited:
        recorded = await store_audit_activities.recorded(tx, range_)
        program_id, told = range_.program_id, set(recorded.told)
        violations: list[Violation] = []
        decided: dict[str, Program] = {}
        for number, activity in enumerate(recorded.activities):
            if not number % _SERVING:
                await asyncio.sleep(0)
            activity_id, again = activity[0], None
            lines = recorded.lines.get(activity_id, "")
            if activity_id not in recorded.erased:
                try:
                    key = program_id, activity[5]
                    version = self._versions.get(key) or await self._version(tx, *key)
                    text, again = version.again(activity)
                except (Refusal, DecodeError, ValueError, TypeError) as error:
                    text = f"{type(error).__name__}: {error}"
                else:
                    if activity_id in told or version.program.others:
                        decided[activity_id] = version.program
                if text != activity[6]:
                    again = None
                    violations.append(
                        audit_activities.violation(
                            "activity_recomputed", program_id, activity_id, text, activity[6]
                        )
                    )
            violations += audit_activities.audit_activity(program_id, activity, lines, again)
            if audit_activities.is_returned(activity):
                told.add(activity_id)
        violations += await _told(tx, program_id, told | decided.keys(), decided)
        return Audited(count=len(recorded.activities), violations=violations)

    async def _version(self, tx: Tx, program_id: ProgramId, version: int) -> Decisions:
        """The version of a program, kept. Refuses ProgramVersionNotFound."""
        found = await self._programs.at_version(tx, program_id, version)
        made = Decisions(found.program, found.version.content)
        self._versions[program_id, version] = made
        return made


async def _told(
    tx: Tx, program_id: ProgramId, told: Collection[str], decided: Mapping[str, Program]
) -> list[Violation]:
    """What is wrong with returns, and with earnings of further currencies."""
    records = await store_audit_activities.records_of(tx, program_id, told)
    reversals = await store_audit_activities.reversals_of(tx, records)
    entries = await store_audit_further.entries_of(tx, records)
    further = await store_audit_further.reversals_of(tx, records)
    paid_with = await store_audit_paying.holds_of(tx, records)
    violations: list[Violation] = []
    for record in records:
        name = record.activity_id
        violations += audit.audit_returns(record, reversals.get(name, ()))
        violations += audit_paying.audit_activity(
            record, paid_with.get(name), reversals.get(name, ())
        )
        violations += audit_further.audit_activity(
            record, entries.get(name, {}), further.get(name, {}), reversals.get(name, ())
        )
        if name in decided:
            deed = wire.deed_of(record.content)
            violations += audit_further.audit_decision(record, decided[name], deed)
    return violations


async def _paid(
    tx: Tx, program_id: ProgramId, owned: Owned, refunded: Sequence[Entry]
) -> list[Violation]:
    """What does not agree between holds, what they paid for, and what was given back of them."""
    held = [each for holds in owned.holds.values() for each in holds]
    paid = [each for each in (*held, *owned.pooled) if each.activity_id]
    named = await store_audit_paying.paid_by(tx, program_id, [each.activity_id for each in paid])
    own = [each for each in refunded if each.reference not in owned.shared]
    given = await store_audit_paying.given_back(tx, program_id, [each.activity_id for each in own])
    return [
        *audit_paying.audit_holds(paid, named),
        *audit_paying.audit_entries(program_id, own, given),
        *await _pooled(tx, program_id, owned.pooled),
    ]


async def _pooled(tx: Tx, program_id: ProgramId, holds: Sequence[Hold]) -> list[Violation]:
    """What is wrong with holds of households beside what they have of single wallets."""
    named = [each.activity_id for each in holds if each.activity_id]
    given = await store_audit_paying.given_back(tx, program_id, named)
    violations: list[Violation] = []
    for hold in holds:
        refunded = 0
        if hold.activity_id:
            refunded = await store_audit_households.given_back(tx, hold)
        told = given.get(hold.activity_id, 0)
        violations += audit_households.audit_hold(hold, refunded, told)
    return violations


class _Wallets:
    """The wallets of a range, each as its entries come."""

    def __init__(self, program_id: ProgramId, owned: Owned) -> None:
        self._program_id = program_id
        self._owned = owned
        self._owners = {*owned.wallets, *owned.lots, *owned.holds, *owned.adjustments}
        self._current: tuple[Owner, WalletAudit] | None = None
        self._violations: list[Violation] = []

    def of(self, owner: Owner) -> WalletAudit:
        """The audit of a wallet, whose entries come one after the other."""
        if self._current is None or self._current[0] != owner:
            self._end()
            self._current = owner, self._begun(owner)
        return self._current[1]

    def finish(self) -> list[Violation]:
        """What is wrong with all of them, those without an entry included."""
        self._end()
        for owner in sorted(self._owners):
            self._compare(owner, self._begun(owner))
        return self._violations

    def _begun(self, owner: Owner) -> WalletAudit:
        member_key, currency_id = MemberKey(owner[0]), CurrencyId(owner[1])
        return WalletAudit(
            Wallet(program_id=self._program_id, member_key=member_key, currency_id=currency_id)
        )

    def _end(self) -> None:
        if self._current is not None:
            self._compare(*self._current)

    def _compare(self, owner: Owner, wallet: WalletAudit) -> None:
        owned = self._owned
        self._owners.discard(owner)
        wallet.finish(
            owned.wallets.get(owner),
            owned.lots.get(owner, ()),
            owned.holds.get(owner, ()),
            owned.adjustments.get(owner, ()),
            owned.frozen.get(owner[0], 0),
        )
        self._violations += wallet.violations
