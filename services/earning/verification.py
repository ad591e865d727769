"""Verifies the ledger: recomputes everything from the entries and reports what does not agree.

Stages: "wallets" (entries, balances, lots, holds, chains), "activities" (entries, shares,
reversals, and the decision itself by the version of the rules that made it) and, of programs that
have any, "referrals" (exactly their entries). The rules that a
violation may name are listed in `audit.py`.
Members, and activities, are taken a page at a time, each page from one snapshot, so that a ledger
in use can be verified and no transaction is open while a caller reads slowly. Memory is bounded by
the lots and holds of one page of members and by a page of entries.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

from services.earning import (
    audit,
    audit_further,
    audit_referrals,
    store_audit,
    store_audit_further,
    store_audit_referrals,
    store_further,
    store_referrals,
    wire,
)
from services.earning.audit import Progress, Violation
from services.earning.audit_wallets import WalletAudit
from services.earning.documents import EarningPrograms
from services.earning.domain import (
    ActivityRecord,
    CurrencyId,
    Entry,
    EntryType,
    MemberKey,
    ProgramId,
    Wallet,
)
from services.earning.store_audit import Owned, Owner
from shared.database import Database, Tx

_MEMBERS_PAGE = 200
_ENTRIES_PAGE = 2_000
_ACTIVITIES_PAGE = 500
_VIOLATIONS_MAX = 1_000
_KEY_END = "zzzz"
"""Above every key, which is hexadecimal."""


class Verification:
    """Verifies programs, one after the other."""

    def __init__(self, database: Database, programs: EarningPrograms) -> None:
        self._database = database
        self._programs = programs

    async def run(self, program_id: str) -> AsyncIterator[Progress]:
        """Verify one program, or all for an empty identifier; a stage ends with done = total."""
        async with self._database.reading() as tx:
            found = await store_audit.programs(tx)
        for each in found:
            if program_id not in {"", each}:
                continue
            for stage in (self._wallets(each), self._activities(each), self._referrals(each)):
                async for progress in stage:
                    for piece in _pieces(progress):
                        yield piece

    async def _wallets(self, program_id: ProgramId) -> AsyncIterator[Progress]:
        async with self._database.reading() as tx:
            total = await store_audit.wallet_count(tx, program_id)
            lost = await store_audit.lost_in_transfer(tx, program_id)
        for currency_id, points in lost.items():
            yield _lost(program_id, currency_id, points, total)
        done, after = 0, ""
        while after != _KEY_END:
            async with self._database.reading() as tx:
                keys = await store_audit.member_page(tx, program_id, after, _MEMBERS_PAGE)
                upto = keys[-1] if len(keys) == _MEMBERS_PAGE else _KEY_END
                count, violations = await self._audit_wallets(tx, program_id, after, upto)
            done, after = done + count, upto
            yield Progress(
                stage="wallets", done=done, total=max(total, done), violations=tuple(violations)
            )

    async def _audit_wallets(
        self, tx: Tx, program_id: ProgramId, after: str, upto: str
    ) -> tuple[int, list[Violation]]:
        """How many wallets there are of members above `after` and at most `upto`; what is wrong."""
        program = (await self._programs.current(tx, [program_id])).get(program_id)
        first = program.program.currency_id if program is not None else None
        earned: list[Entry] = []
        referred: list[Entry] = []
        stored = await store_audit.owned(tx, program_id, after, upto)

        async def entries() -> AsyncIterator[Entry | Violation]:
            walk = store_audit.walk_entries(tx, program_id, after, upto, page=_ENTRIES_PAGE)
            async for entry in walk:
                if (
                    isinstance(entry, Entry)
                    and entry.type is EntryType.EARN
                    and first not in {None, entry.currency_id}
                ):
                    earned.append(entry)
                elif isinstance(entry, Entry) and audit_referrals.is_of_referral(entry):
                    referred.append(entry)
                yield entry

        violations = await _audit_wallets(program_id, stored, entries())
        known = await store_audit_further.recorded(tx, program_id, earned)
        violations += audit_further.audit_orphans(earned, known)
        booked = await store_audit_referrals.booked(tx, program_id, referred)
        violations += audit_referrals.audit_orphans(referred, booked)
        return len(stored.wallets), violations

    async def _activities(self, program_id: ProgramId) -> AsyncIterator[Progress]:
        async with self._database.reading() as tx:
            total = await store_audit.activity_count(tx, program_id)
        done, after, is_last = 0, "", False
        while not is_last:
            async with self._database.reading() as tx:
                records = await store_audit.activity_page(tx, program_id, after, _ACTIVITIES_PAGE)
                violations = await self._audit_activities(tx, records)
            is_last = len(records) < _ACTIVITIES_PAGE
            done, after = done + len(records), records[-1].activity_id if records else after
            yield Progress(
                stage="activities", done=done, total=max(total, done), violations=tuple(violations)
            )

    async def _referrals(self, program_id: ProgramId) -> AsyncIterator[Progress]:
        async with self._database.reading() as tx:
            total = await store_audit_referrals.count(tx, program_id)
            lost = await store_audit_referrals.lost(tx, program_id)
        if not total and not lost:
            return
        missing = tuple([audit_referrals.lost(program_id, each) for each in lost])
        yield Progress(stage="referrals", done=0, total=total, violations=missing)
        done, after, is_last = 0, "", False
        while not is_last:
            async with self._database.reading() as tx:
                page = await store_audit_referrals.page(tx, program_id, after, _ACTIVITIES_PAGE)
                bookings = await store_referrals.bookings(tx, page)
                entries = await store_audit_referrals.entries_of(tx, bookings)
                activities = await store_audit_referrals.activities_of(tx, page)
                merged = await store_audit_referrals.merged(tx, page, bookings, activities.values())
            found = list(audit_referrals.audit_page(page, bookings, entries, activities, merged))
            is_last = len(page) < _ACTIVITIES_PAGE
            done, after = done + len(page), page[-1].referral_id if page else after
            yield Progress(
                stage="referrals", done=done, total=max(total, done), violations=tuple(found)
            )

    async def _audit_activities(self, tx: Tx, records: list[ActivityRecord]) -> list[Violation]:
        entries = await store_audit.entries_of(tx, records)
        reversals = await store_audit.reversals_of(tx, records)
        records = await store_further.with_earnings(tx, records)
        further_entries = await store_audit_further.entries_of(tx, records)
        further_reversals = await store_audit_further.reversals_of(tx, records)
        violations: list[Violation] = []
        for record in records:
            violations += audit.audit_activity(
                record, entries.get(record.activity_id), reversals.get(record.activity_id, ())
            )
            violations += audit_further.audit_activity(
                record,
                further_entries.get(record.activity_id, {}),
                further_reversals.get(record.activity_id, {}),
            )
            if record.is_erased:
                continue  # what the conditions looked at may be gone
            version = await self._programs.at_version(tx, record.program_id, record.program_version)
            deed = wire.deed_of(record.content)
            violations += audit.audit_decision(record, version.program.rules, deed)
            violations += audit_further.audit_decision(record, version.program, deed)
        return violations


def _lost(program_id: str, currency_id: str, points: int, total: int) -> Progress:
    violation = Violation(
        rule="transfers_zero_sum",
        subject=f"{program_id}/{currency_id}",
        detail=f"transfers of all wallets come to {points}, not to 0",
    )
    return Progress(stage="wallets", done=0, total=total, violations=(violation,))


async def _audit_wallets(
    program_id: ProgramId, stored: Owned, entries: AsyncIterator[Entry | Violation]
) -> list[Violation]:
    """Verify wallets by the entries of their members, in the order of the keys."""
    violations: list[Violation] = []
    audited: set[Owner] = set()
    current: tuple[Owner, WalletAudit] | None = None

    def finish(owner: Owner, wallet: WalletAudit) -> None:
        wallet.finish(
            stored.wallets.get(owner),
            stored.lots.get(owner, ()),
            stored.holds.get(owner, ()),
            stored.adjustments.get(owner, ()),
        )
        violations.extend(wallet.violations)
        audited.add(owner)

    async for entry in entries:
        if isinstance(entry, Violation):
            violations.append(entry)
            continue
        owner: Owner = (entry.member_key, entry.currency_id)
        if current is None or current[0] != owner:
            if current is not None:
                finish(*current)
            current = (owner, _begun(program_id, owner))
        current[1].add(entry)
    if current is not None:
        finish(*current)
    owners = {*stored.wallets, *stored.lots, *stored.holds, *stored.adjustments}
    for owner in sorted(owners - audited):
        finish(owner, _begun(program_id, owner))
    return violations


def _begun(program_id: ProgramId, owner: Owner) -> WalletAudit:
    wallet = Wallet(
        program_id=program_id,
        member_key=MemberKey(owner[0]),
        currency_id=CurrencyId(owner[1]),
    )
    return WalletAudit(subject=f"{program_id}/{owner[0]}/{owner[1]}", wallet=wallet)


def _pieces(progress: Progress) -> Iterator[Progress]:
    """The same in messages of at most 1,000 violations each."""
    found = progress.violations
    for start in range(0, max(1, len(found)), _VIOLATIONS_MAX):
        yield replace(progress, violations=found[start : start + _VIOLATIONS_MAX])
