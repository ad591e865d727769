"""What a batch of commands does, and what a read answers.

A batch locks its members, folds their commands with `domain.decide`, and saves what changed.
Levels are decided with the ladders in force in the batch's own transaction: an apply holds all
cursors still while it makes a version, so each event meets the version of its place in the feed.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from services.tiers import domain, ladders, store, store_reads, tables, wire
from services.tiers.documents import TiersPrograms
from services.tiers.domain import Command, CountActivity, InForce, Member, MembershipView, TakeBack
from services.tiers.ladders import Ladder, MembershipChanged, TiersProgram
from services.tiers.rows import MemberPlace
from services.tiers.store_reads import ListedChange
from shared import errors, member_names, paging
from shared.batches import Run
from shared.clock import Clock
from shared.database import Database, Tx
from shared.decision import Decision
from shared.feed_log import FeedRecord
from shared.names import NameMember

_PAGE_SIZE = 50
_PAGE_SIZE_MAX = 1_000
_SEQUENCE_END = 2**62


# Writing -----------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class World:
    """The members that a batch is about, as they were loaded and as they are now."""

    in_force: dict[str, InForce]
    loaded: dict[MemberPlace, Member]
    members: dict[MemberPlace, Member] = field(default_factory=dict)

    def member(self, program_id: str, member_key: str) -> Member:
        """The member as it is now; one that is not known yet has no enrolment."""
        place = (program_id, member_key)
        known = self.members.get(place) or self.loaded.get(place)
        return known or Member(program_id=program_id, member_key=member_key)

    def put(self, state: Member) -> None:
        """Take a member as a decision left it."""
        self.members[state.program_id, state.member_key] = state


class TiersWork:
    """What the executor of batches needs to know of this service."""

    def __init__(self, programs: TiersPrograms) -> None:
        self._programs = programs

    async def load(self, tx: Tx, commands: Sequence[Command], now: datetime) -> World:
        """Lock the members in order, then load the ladders in force and where members stand."""
        places = {(each.program_id, each.member_key) for each in commands}
        members = await store.lock_members(tx, places)
        # What is followed is decided as of its own instant, by the version in force now.
        in_force = await load_in_force(tx, self._programs, {place[0] for place in places}, now)
        activities = {
            (each.program_id, each.member_key, each.activity_id)
            for each in commands
            if isinstance(each, TakeBack)
        }
        standings = await store.load_standings(tx, members, activities, _since(commands, in_force))
        for place, found in standings.items():
            members[place] = replace(members[place], standings=found)
        return World(in_force=in_force, loaded=members)

    def decide(self, world: World, command: Command, now: datetime) -> Decision[Member, None]:
        """Decide one command; nothing of a member that is not in the batch is looked at."""
        del now
        member = world.member(command.program_id, command.member_key)
        return domain.decide(world.in_force.get(command.program_id), member, command)

    async def save(self, tx: Tx, world: World, run: Run[Command]) -> None:
        """Save the members that changed, and every decision in its order."""
        changed = [(world.loaded.get(place), each) for place, each in sorted(world.members.items())]
        changes = [each for each in run.events if isinstance(each, MembershipChanged)]
        await store.save_members(tx, changed, changes)
        renamed = [each for each, _ in run.decided if isinstance(each, NameMember)]
        await member_names.rename(tx, tables.member_identifiers, renamed)

    def answer_type(self, command: Command) -> type:
        """No command of tiers has an answer or a key."""
        del command
        return type(None)

    def event_to_feed(self, event: object) -> FeedRecord:
        """The event as the feed keeps it."""
        if not isinstance(event, MembershipChanged):
            raise TypeError(f"{type(event).__name__} is no event of tiers")
        message = wire.changed_to_proto(event)
        return FeedRecord(
            program_id=event.program_id,
            member_key=event.member_key,
            type=message.DESCRIPTOR.full_name,
            payload=message.SerializeToString(),
        )


def _since(commands: Sequence[Command], in_force: dict[str, InForce]) -> date:
    """First day whose spend the batch may need: of its windows and of its activities."""
    days = [date.max]
    for each in commands:
        if not isinstance(each, CountActivity | TakeBack) or each.program_id not in in_force:
            continue
        rules = in_force[each.program_id].program
        today = rules.day_of(each.decide_time)
        days += [ladders.window_start(today, ladder.window_months) for ladder in rules.ladders]
        if isinstance(each, CountActivity):
            days.append(rules.day_of(each.occurred_time))
    return min(days)


async def load_in_force(
    tx: Tx,
    programs: TiersPrograms,
    program_ids: Collection[str],
    now: datetime | None = None,
) -> dict[str, InForce]:
    """The ladders in force by program; programs without a document are left out."""
    current = await programs.current(tx, sorted(program_ids), now)
    starts = await store.load_starts(tx, current)
    return {
        program_id: InForce(program=found.program, starts=starts[program_id])
        for program_id, found in current.items()
    }


# Reading -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderCounts:
    """Members by level that is effective now: the ladder's levels in order, then those it lost."""

    ladder_id: str
    levels: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How the members of a program are spread."""

    member_count: int
    ladders: tuple[LadderCounts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePage:
    """One page of decisions, newest first, and the token of the next, empty on the last."""

    changes: tuple[ListedChange, ...]
    next_page_token: str


class Memberships:
    """Answers where members stand, by the business clock's now."""

    def __init__(self, database: Database, programs: TiersPrograms, clock: Clock) -> None:
        self._database = database
        self._programs = programs
        self._clock = clock

    async def get(
        self, program_id: str, member_ids: Sequence[str], ladder_id: str
    ) -> list[MembershipView | errors.Refusal]:
        """Where each member stands, in the order of the identifiers; an empty ladder: the first.

        One that is not known is MemberNotFound, one that a new ladder has not taken in yet is
        NotReady. Refuses ProgramNotFound and LadderNotFound.
        """
        now = self._clock.now()
        async with self._database.reading() as tx:
            rules, ladder = await self._ladder(tx, program_id, ladder_id)
            keys = await store_reads.member_keys(tx, program_id, member_ids)
            held = await store_reads.memberships(
                tx, program_id, ladder.ladder_id, set(keys.values())
            )
            today = rules.day_of(now)
            spends = await store_reads.net_spends(
                tx,
                program_id,
                ladder.ladder_id,
                held,
                ladders.window_start(today, ladder.window_months),
                today,
            )
        views = {
            key: domain.view(
                rules,
                ladder,
                member_key=key,
                membership=membership,
                net_spend_minor=spends.get(key, 0),
                now=now,
            )
            for key, membership in held.items()
        }
        not_yet = errors.NotReady(what=f"ladder {ladder.ladder_id}")
        return [
            views.get(keys[each], not_yet)
            if each in keys
            else errors.MemberNotFound(member_id=each)
            for each in member_ids
        ]

    async def changes(
        self, program_id: str, member_id: str, ladder_id: str, *, page_size: int, page_token: str
    ) -> ChangePage:
        """Decisions on a member's level, newest first.

        Refuses ProgramNotFound, LadderNotFound, MemberNotFound and InvalidPageToken.
        """
        query = paging.digest_of("membership_changes", program_id, member_id, ladder_id)
        size = paging.page_size(page_size, _PAGE_SIZE, _PAGE_SIZE_MAX)
        async with self._database.reading() as tx:
            _, ladder = await self._ladder(tx, program_id, ladder_id)
            keys = await store_reads.member_keys(tx, program_id, [member_id])
            if member_id not in keys:
                raise errors.MemberNotFound(member_id=member_id)
            before = _before(paging.decode(page_token, query))
            listed = await store_reads.list_changes(
                tx,
                program_id,
                keys[member_id],
                ladder.ladder_id,
                before=before,
                count=size + 1,
            )
        shown = listed[:size]
        more = len(listed) > size
        return ChangePage(
            changes=tuple(shown),
            next_page_token=paging.encode(query, (shown[-1].change.sequence,)) if more else "",
        )

    async def summary(self, program_id: str) -> Summary:
        """How many members each level has now; refuses ProgramNotFound."""
        now = self._clock.now()
        async with self._database.reading() as tx:
            rules = (await self._programs.require(tx, program_id)).program
            members = await store_reads.member_count(tx, program_id)
            counts = await store_reads.level_counts(tx, program_id, now)
        return Summary(
            member_count=members,
            ladders=tuple(_ladder_counts(ladder, counts) for ladder in rules.ladders),
        )

    async def _ladder(self, tx: Tx, program_id: str, ladder_id: str) -> tuple[TiersProgram, Ladder]:
        rules = (await self._programs.require(tx, program_id)).program
        ladder = rules.ladder(ladder_id)
        if ladder is None:
            raise domain.LadderNotFound(program_id=program_id, ladder_id=ladder_id)
        return rules, ladder


def _before(position: tuple[str | int, ...] | None) -> int:
    """Sequence below which a page begins."""
    match position:
        case None:
            return _SEQUENCE_END
        case (int(sequence),) if 0 < sequence < _SEQUENCE_END:
            return sequence
        case _:
            raise errors.InvalidPageToken


def _ladder_counts(ladder: Ladder, counts: dict[tuple[str, str], int]) -> LadderCounts:
    known = [str(level.level_id) for level in ladder.levels]
    lost = sorted(
        level_id for id_, level_id in counts if id_ == ladder.ladder_id and level_id not in known
    )
    return LadderCounts(
        ladder_id=ladder.ladder_id,
        levels=tuple((each, counts.get((ladder.ladder_id, each), 0)) for each in known + lost),
    )
