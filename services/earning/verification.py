"""Verifies the ledger: recomputes everything from the entries and reports what does not agree.

Stages: "wallets" (entries, balances, lots, holds, chains), "activities" (entries, shares,
reversals, and the decision itself by the version of the rules that made it) and, of programs that
have any, "waiting" (what became of reversals that came before their activity), "referrals"
(exactly their entries), "households" (who is in them) and "seals" (`audit_seals.py`). The rules
that a violation may name are listed in `audit.py`.
Members, and activities, are taken a range at a time (`auditing.py`), each from one snapshot, so
that a ledger in use can be verified and no transaction is open while a caller reads slowly; those
of a large ledger in processes of their own (`audit_helpers.py`), so that nobody waits for it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from services.earning import (
    audit_households,
    audit_referrals,
    audit_waiting,
    store_audit,
    store_audit_activities,
    store_audit_households,
    store_audit_referrals,
    store_audit_seals,
    store_audit_waiting,
    store_households,
    store_referrals,
    tables,
)
from services.earning.audit import Progress, Violation
from services.earning.audit_helpers import Helpers
from services.earning.auditing import Audited, Auditor, Stage
from services.earning.documents import EarningPrograms
from services.earning.domain import ProgramId
from services.earning.store_audit import Range
from shared.database import Database

_STEPS = {Stage.WALLETS: 500, Stage.ACTIVITIES: 2_000}
"""How many wallets or activities a range has, if members have no more than one wallet."""
_KEYS = {
    Stage.WALLETS: tables.wallets.c.member_key,
    Stage.ACTIVITIES: tables.activities.c.activity_id,
}
_ALONE_MAX = 4
_REFERRALS_PAGE = 500
_HOUSEHOLDS_PAGE = 500
_WAITING_PAGE = 200
_VIOLATIONS_MAX = 1_000


class Verification:
    """Verifies programs, one after the other.

    A stage of more than `alone_max` ranges is verified by processes of its own.
    """

    def __init__(
        self,
        database: Database,
        programs: EarningPrograms,
        *,
        steps: Mapping[Stage, int] = _STEPS,
        alone_max: int = _ALONE_MAX,
    ) -> None:
        self._database = database
        self._auditor = Auditor(database, programs)
        self._steps = steps
        self._alone_max = alone_max

    async def run(self, program_id: str) -> AsyncGenerator[Progress, None]:
        """Verify one program, or all for an empty identifier; a stage ends with done = total."""
        helpers = Helpers(self._database)
        async with self._database.reading() as tx:
            found = await store_audit.programs(tx)
        try:
            for each in found:
                if program_id not in {"", each}:
                    continue
                stages = (
                    self._lost(each),
                    self._audited(Stage.WALLETS, each, helpers),
                    self._audited(Stage.ACTIVITIES, each, helpers),
                    self._waiting(each),
                    self._referrals(each),
                    self._households(each),
                    self._seals(each),
                )
                for stage in stages:
                    async for progress in stage:
                        for piece in _pieces(progress):
                            yield piece
        finally:
            await helpers.close()

    async def _lost(self, program_id: ProgramId) -> AsyncIterator[Progress]:
        """Points that left wallets for others and never came."""
        async with self._database.reading() as tx:
            total = await store_audit.count(tx, tables.wallets, program_id)
            lost = await store_audit.lost_in_transfer(tx, program_id)
        for currency_id, points in lost.items():
            yield _lost(program_id, currency_id, points, total)

    async def _audited(
        self, stage: Stage, program_id: ProgramId, helpers: Helpers
    ) -> AsyncIterator[Progress]:
        async with self._database.reading() as tx:
            total = await store_audit.count(tx, _KEYS[stage].table, program_id)
        audit, ahead = self._auditor.audit, 1
        if total > self._alone_max * self._steps[stage]:
            audit, ahead = helpers.audit, helpers.count + 1
        done, ranges = 0, self._ranges(stage, program_id)
        async for audited, is_last in _in_order(ranges, partial(audit, stage), ahead):
            done += audited.count
            yield Progress(
                stage=stage,
                done=done,
                total=done if is_last else max(total, done),
                violations=tuple(audited.violations),
            )

    async def _ranges(self, stage: Stage, program_id: ProgramId) -> AsyncIterator[Range]:
        """Ranges of keys that leave no key out."""
        key, step = _KEYS[stage], self._steps[stage]
        after: str | None = ""
        while after is not None:
            async with self._database.reading() as tx:
                upto = await store_audit.bound(tx, key, program_id, after, step)
            yield Range(program_id=program_id, after=after, upto=upto)
            after = upto

    async def _seals(self, program_id: ProgramId) -> AsyncIterator[Progress]:
        async with self._database.reading() as tx:
            total = await store_audit.count(tx, tables.wallets, program_id)
        ranges = self._ranges(Stage.WALLETS, program_id)
        async for progress in store_audit_seals.audited(self._database, program_id, total, ranges):
            yield progress

    async def _waiting(self, program_id: ProgramId) -> AsyncIterator[Progress]:
        done, after = 0, ""
        while True:
            async with self._database.reading() as tx:
                page = await store_audit_waiting.activities(tx, program_id, after, _WAITING_PAGE)
                kept = await store_audit_waiting.kept(tx, program_id, page)
                waiting = [one for each in kept.values() for one in each]
                applied = await store_audit_waiting.applied(tx, program_id, waiting)
                reserved = await store_audit_waiting.reserved(tx, program_id, page)
                made = await store_audit_activities.records_of(tx, program_id, page)
                erased = await store_audit_activities.erased_members(
                    tx, program_id, [each.member_key for each in made]
                )
            if not page:
                return
            records = {each.activity_id: each for each in made}
            blanked = {each.activity_id for each in made if each.member_key in erased}
            found = [
                violation
                for name in page
                for violation in audit_waiting.audit_activity(
                    kept[name],
                    records.get(name),
                    applied,
                    is_reserved=name in reserved,
                    is_blanked=name in blanked,
                )
            ]
            done, after = done + len(page), page[-1]
            yield Progress(stage="waiting", done=done, total=done, violations=tuple(found))

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
                page = await store_audit_referrals.page(tx, program_id, after, _REFERRALS_PAGE)
                bookings = await store_referrals.bookings(tx, page)
                entries = await store_audit_referrals.entries_of(tx, bookings)
                activities = await store_audit_referrals.activities_of(tx, page)
                merged = await store_audit_referrals.merged(tx, page, bookings, activities.values())
            found = list(audit_referrals.audit_page(page, bookings, entries, activities, merged))
            is_last = len(page) < _REFERRALS_PAGE
            done, after = done + len(page), page[-1].referral_id if page else after
            yield Progress(
                stage="referrals", done=done, total=max(total, done), violations=tuple(found)
            )

    async def _households(self, program_id: ProgramId) -> AsyncIterator[Progress]:
        async with self._database.reading() as tx:
            total = await store_audit_households.count(tx, program_id)
            lost = await store_audit_households.lost(tx, program_id)
        if not total and not lost:
            return
        missing = tuple(audit_households.lost(program_id, lost))
        yield Progress(stage="households", done=0, total=total, violations=missing)
        done, after, is_last = 0, "", False
        while not is_last:
            async with self._database.reading() as tx:
                page = await store_households.page(
                    tx, program_id, after=after, count=_HOUSEHOLDS_PAGE, dissolved=True
                )
                states = await store_audit_households.states(tx, page)
            found = [
                violation
                for each in page
                for violation in audit_households.audit_household(each, states)
            ]
            is_last = len(page) < _HOUSEHOLDS_PAGE
            done, after = done + len(page), page[-1].household_id if page else after
            yield Progress(
                stage="households", done=done, total=max(total, done), violations=tuple(found)
            )


async def _in_order(
    ranges: AsyncIterator[Range], audit: Callable[[Range], Awaitable[Audited]], ahead: int
) -> AsyncIterator[tuple[Audited, bool]]:
    """What comes of ranges, and whether it is the last; at most `ahead` are in work at once."""
    under_way: deque[asyncio.Future[Audited]] = deque()
    try:
        async for range_ in ranges:
            if len(under_way) == ahead:
                yield await under_way[0], False
                under_way.popleft()
            under_way.append(asyncio.ensure_future(audit(range_)))
        while under_way:
            yield await under_way[0], len(under_way) == 1
            under_way.popleft()
    finally:
        for each in under_way:
            each.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def _lost(program_id: str, currency_id: str, points: int, total: int) -> Progress:
    violation = Violation(
        rule="transfers_zero_sum",
        subject=f"{program_id}/{currency_id}",
        detail=f"transfers of all wallets come to {points}, not to 0",
    )
    return Progress(stage="wallets", done=0, total=total, violations=(violation,))


def _pieces(progress: Progress) -> Iterator[Progress]:
    """The same in messages of at most 1,000 violations each."""
    found = progress.violations
    for start in range(0, max(1, len(found)), _VIOLATIONS_MAX):
        yield replace(progress, violations=found[start : start + _VIOLATIONS_MAX])
