"""Recomputes stock, limits and states from the redemptions alone, and tells what differs.

Stage "redemptions": `done` and `total` count redemptions; each program is one snapshot. Rules:
- shelf_equals_redemptions: what a shelf says is gone is the number of its redemptions that are
  pending, completed or being cancelled;
- never_oversold: no more is gone than there is, nor less than nothing;
- redemption_has_shelf: every redemption is of a reward with a shelf;
- slot_taken_by_redemption, slot_has_redemption: the slots of a member are those of the member's
  redemptions, each taken once;
- slot_within_limit: no slot is beyond the limit of the version that decided;
- failure_has_reason: failed ones, and they alone, have a reason and a refusal;
- completed_has_voucher, voucher_has_redemption: a completed redemption of a voucher has its one
  code, and nothing else has one;
- work_has_intention, intention_has_work: what is pending or being cancelled is driven, and nothing
  else is.

Stage "holds": `done` and `total` count events of earning. Its feed is folded from the beginning,
one partition after the other, and compared with the redemptions of that partition's members. Those
in work are left out. Rules:
- captured_once: the points of a completed redemption are captured, by one hold, and not refunded;
- refunded_once: those of a cancelled one were captured by one hold, and refunded;
- nothing_kept: no hold of a failed one is open or captured.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

import grpc

from guerdon.earning.v1 import events_pb2, ledger_pb2
from guerdon.feed.v1 import feed_service_pb2 as feed
from services.redemption import store, store_checks, tables, wire
from services.redemption.documents import EARNING, Catalogues
from services.redemption.domain import Redemption, State
from shared.clock import Clock
from shared.database import Database, Tx
from shared.ids import key_range
from shared.rpc.client import refusal_of

if TYPE_CHECKING:
    # The generated module has this name for type checkers only.
    from guerdon.feed.v1.feed_service_pb2_grpc import FeedServiceAsyncStub

_PAGE = 1_000
_PAGE_SECONDS = 30.0
_VIOLATIONS_MAX = 1_000

Holds: TypeAlias = dict[str, dict[str, ledger_pb2.Hold]]
"""The last state of each hold: by what it was held for, and by its identifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """Something that must hold and does not."""

    rule: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a stage is, and at most 1,000 violations found since the last."""

    stage: str
    done: int
    total: int
    violations: tuple[Violation, ...] = ()


class Verification:
    """Verifies one program, or all."""

    def __init__(
        self,
        database: Database,
        catalogues: Catalogues,
        earning: "FeedServiceAsyncStub",
        clock: Clock,
        *,
        partitions: int,
    ) -> None:
        self._database = database
        self._catalogues = catalogues
        self._earning = earning
        self._clock = clock
        self._partitions = partitions

    async def run(self, program_id: str) -> AsyncIterator[Progress]:
        """Verify both stages; `program_id` empty: every program.

        Refuses ProgramNotFound, and what earning's feed refuses.
        """
        async with self._database.reading() as tx:
            if program_id:
                await self._catalogues.require(tx, program_id)
            ids = [program_id] if program_id else await store_checks.program_ids(tx)
            total = sum([await store_checks.number_of_redemptions(tx, each) for each in ids])
        done = 0
        yield Progress(stage="redemptions", done=done, total=total)
        for each in ids:
            async with self._database.reading() as tx:
                done += await store_checks.number_of_redemptions(tx, each)
                found = [*await _findings(tx, each), *await self._beyond_limits(tx, each)]
            for piece in _pieces(found):
                yield Progress(
                    stage="redemptions", done=done, total=max(done, total), violations=piece
                )
        async for progress in self._holds(ids):
            yield progress

    async def _beyond_limits(self, tx: Tx, program_id: str) -> list[Violation]:
        found: list[Violation] = []
        for use in await store_checks.slot_uses(tx, program_id):
            version = await self._catalogues.at_version(tx, program_id, use.program_version)
            reward = version.program.rewards.get(use.reward_id)
            limit = reward.member_limit if reward is not None else None
            allowed = (1, limit) if limit is not None else (0, 0)
            if reward is None or use.first < allowed[0] or use.last > allowed[1]:
                text = f"slots {use.first} to {use.last} of {use.reward_id}, allowed {allowed}"
                subject = f"{program_id} {use.redemption_id}"
                found.append(Violation(rule="slot_within_limit", subject=subject, detail=text))
        return found

    async def _holds(self, program_ids: Sequence[str]) -> AsyncIterator[Progress]:
        heads = await self._heads()
        done, total = 0, sum(heads.values())
        for partition in range(self._partitions):
            first, end = key_range(partition, self._partitions)
            redemptions: list[Redemption] = []
            async with self._database.reading() as tx:
                for each in program_ids:
                    redemptions += await store_checks.redemptions_of_members(tx, each, first, end)
            holds: Holds = {}
            after = 0
            while page := await self._page(partition, after):
                fold(holds, page)
                after += len(page)
                done += len(page)
                yield Progress(stage="holds", done=done, total=max(done, total))
            found = compare(redemptions, holds, self._clock.now())
            for piece in _pieces(await self._settled(found)):
                yield Progress(stage="holds", done=done, total=max(done, total), violations=piece)

    async def _settled(self, found: Iterable[tuple[Redemption, Violation]]) -> list[Violation]:
        """What was found of redemptions that have not changed while the feed was read."""
        by_key = {(each.program_id, each.redemption_id): (each, told) for each, told in found}
        async with self._database.reading() as tx:
            now = await store.redemptions(tx, sorted(by_key))
        return [told for key, (before, told) in by_key.items() if now.get(key) == before]

    async def _heads(self) -> Mapping[int, int]:
        try:
            heads = await self._earning.GetHeads(feed.GetHeadsRequest(), timeout=_PAGE_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise refusal_of(error) from error
        return {each.partition: each.position for each in heads.heads}

    async def _page(self, partition: int, after: int) -> Sequence[feed.Event]:
        """The next events of a partition, none at its end."""
        async with self._database.reading() as tx:
            rows = await tx.select(
                tables.kernel.feed_cursors, [(EARNING, partition)], key=("source", "partition")
            )
        request = feed.ReadEventsRequest(
            partition=partition,
            after_position=after,
            page_size=_PAGE,
            incarnation=rows[0].incarnation if rows else "",
        )
        try:
            answer = await self._earning.ReadEvents(request, timeout=_PAGE_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise refusal_of(error) from error
        return answer.events


def fold(holds: Holds, events: Iterable[feed.Event]) -> None:
    """Take the holds that events of earning tell of."""
    for event in events:
        if event.payload.Is(events_pb2.HoldChanged.DESCRIPTOR):
            hold = events_pb2.HoldChanged.FromString(event.payload.value).hold
            holds.setdefault(hold.reference, {})[hold.hold_id] = hold


def compare(
    redemptions: Iterable[Redemption], holds: Holds, now: datetime
) -> Iterable[tuple[Redemption, Violation]]:
    """Compare finished redemptions with the holds of their points.

    A hold whose time is over is not open, whether or not earning has booked that yet.
    """
    for redemption in redemptions:
        found = holds.get(redemption.redemption_id, {}).values()
        spent = [
            (each.hold_id, each.points_captured, each.points_refunded)
            for each in found
            if each.state == ledger_pb2.Hold.STATE_CAPTURED
        ]
        open_holds = [
            each.hold_id
            for each in found
            if each.state == ledger_pb2.Hold.STATE_OPEN and wire.instant(each.expire_time) > now
        ]
        rule, expected = _expected(redemption)
        if rule and (spent != expected or open_holds):
            text = f"holds captured {spent}, open {open_holds}; expected {expected}"
            subject = f"{redemption.program_id} {redemption.redemption_id}"
            yield redemption, Violation(rule=rule, subject=subject, detail=text)


def _expected(redemption: Redemption) -> tuple[str, list[tuple[str, int, int]]]:
    """The rule for a redemption, and its captured holds: identifier, captured, refunded."""
    points = redemption.points
    match redemption.state:
        case State.COMPLETED:
            return "captured_once", [(redemption.hold_id, points, 0)]
        case State.CANCELLED:
            return "refunded_once", [(redemption.hold_id, points, points)]
        case State.FAILED:
            return "nothing_kept", []
        case State.PENDING | State.CANCELLING:
            return "", []


async def _findings(tx: Tx, program_id: str) -> list[Violation]:
    found: list[Violation] = []
    for rule in store_checks.CHECKS:
        for subject, expected, actual in await store_checks.findings(tx, program_id, rule):
            text = f"expected {expected!r}, found {actual!r}"
            found.append(Violation(rule=rule, subject=f"{program_id} {subject}", detail=text))
    return found


def _pieces(found: Sequence[Violation]) -> Iterable[tuple[Violation, ...]]:
    """At most 1,000 at once, and one piece also when there is nothing."""
    for start in range(0, max(len(found), 1), _VIOLATIONS_MAX):
        yield tuple(found[start : start + _VIOLATIONS_MAX])
