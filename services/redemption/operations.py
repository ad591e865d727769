"""What a batch of commands does."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from services.redemption import domain, refusals, store, tables, wire
from services.redemption.commands import (
    Cancel,
    Command,
    Complete,
    Fail,
    FinishCancel,
    Issue,
    JoinMember,
    NoteLevel,
    Redeem,
)
from services.redemption.documents import Catalogues
from services.redemption.domain import (
    Attempt,
    Catalogue,
    MemberKey,
    Redemption,
    RedemptionChanged,
    Reward,
    Shelf,
    Voucher,
)
from services.redemption.store import RedemptionKey, ShelfKey, SlotKey
from shared import errors, member_names
from shared.batches import Run
from shared.database import Tx
from shared.decision import Decision
from shared.feed_log import FeedRecord
from shared.names import NameMember

State: TypeAlias = Attempt | JoinMember | NoteLevel | NameMember
Step: TypeAlias = Issue | Complete | Fail | FinishCancel | Cancel


@dataclass(slots=True, kw_only=True)
class World:
    """What a batch looks at, as it was loaded and as it is now."""

    catalogues: dict[str, tuple[int, Catalogue]]
    member_keys: dict[tuple[str, str], str]
    timelines: dict[tuple[str, str, str], list[tuple[datetime, str]]]
    stored: dict[RedemptionKey, Redemption]
    shelves: dict[ShelfKey, Shelf]
    slots: dict[SlotKey, dict[int, str]]
    redemptions: dict[RedemptionKey, Redemption] = field(default_factory=dict)
    vouchers: dict[RedemptionKey, Voucher] = field(default_factory=dict)
    joined: list[JoinMember] = field(default_factory=list)
    renamed: list[NameMember] = field(default_factory=list)
    levels: dict[tuple[str, str, str, datetime], str] = field(default_factory=dict)
    changed_shelves: dict[ShelfKey, None] = field(default_factory=dict)
    slots_taken: dict[tuple[SlotKey, int], str] = field(default_factory=dict)
    slots_freed: dict[tuple[SlotKey, int], None] = field(default_factory=dict)

    def attempt(self, redemption: Redemption) -> Attempt:
        """A redemption with its shelf and its member's slots."""
        shelf = (redemption.program_id, redemption.reward_id)
        slots = self.slots.get((*shelf, redemption.member_key), {})
        return Attempt(shelf=self.shelves[shelf], slots=frozenset(slots), redemption=redemption)

    def redemption(self, program_id: str, redemption_id: str) -> Redemption:
        """A redemption as it is now; refuses RedemptionNotFound."""
        key = (program_id, redemption_id)
        found = self.redemptions.get(key) or self.stored.get(key)
        if found is None:
            raise refusals.RedemptionNotFound(program_id=program_id, redemption_id=redemption_id)
        return found

    def put(self, state: State) -> None:
        """Take what a decision changed."""
        if isinstance(state, JoinMember):
            self.joined.append(state)
        elif isinstance(state, NameMember):
            self.renamed.append(state)
        elif isinstance(state, NoteLevel):
            place = (state.program_id, state.member_key, state.ladder_id, state.effective_time)
            self.levels[place] = state.level_id
        elif state.redemption is not None:
            self._put_attempt(state, state.redemption)

    def _put_attempt(self, state: Attempt, redemption: Redemption) -> None:
        shelf = (redemption.program_id, redemption.reward_id)
        if self.shelves.get(shelf) != state.shelf:
            self.shelves[shelf] = state.shelf
            self.changed_shelves[shelf] = None
        self.redemptions[redemption.program_id, redemption.redemption_id] = redemption
        member = (*shelf, redemption.member_key)
        present = self.slots.setdefault(member, {})
        for number in state.slots - present.keys():
            present[number] = redemption.redemption_id
            self.slots_taken[member, number] = redemption.redemption_id
        for number in present.keys() - state.slots:
            del present[number]
            if self.slots_taken.pop((member, number), None) is None:
                self.slots_freed[member, number] = None


class RedemptionWork:
    """What the executor of batches needs to know of this service."""

    def __init__(self, catalogues: Catalogues) -> None:
        self._catalogues = catalogues

    async def load(self, tx: Tx, commands: Sequence[Command], now: datetime) -> World:
        """Lock redemptions, then shelves, each in order; then load what hangs on them."""
        asked = [each for each in commands if isinstance(each, Redeem)]
        steps = [
            each
            for each in commands
            if not isinstance(each, Redeem | JoinMember | NoteLevel | NameMember)
        ]
        keys = {(each.program_id, each.redemption_id) for each in steps}
        stored = await store.redemptions(tx, sorted(keys), lock=True)
        members = await store.member_keys(tx, {(each.program_id, each.member_id) for each in asked})
        programs = {each.program_id for each in [*asked, *steps]}
        current = await self._catalogues.current(tx, sorted(programs), now)
        catalogues = {
            program_id: (found.version.version, found.program)
            for program_id, found in current.items()
        }
        gated = {
            (each.program_id, members[each.program_id, each.member_id])
            for each in asked
            if (each.program_id, each.member_id) in members
        }
        timelines = await store.timelines(tx, sorted(gated))
        wanted = {(each.program_id, each.reward_id) for each in asked}
        wanted |= {(each.program_id, each.reward_id) for each in stored.values()}
        shelves = await store.lock_shelves(tx, sorted(wanted))
        slots = await store.slots(tx, sorted(_slot_keys(asked, members, stored.values())))
        return World(
            catalogues=catalogues,
            member_keys=members,
            timelines=timelines,
            stored=stored,
            shelves=shelves,
            slots=slots,
        )

    def decide(self, world: World, command: Command, now: datetime) -> Decision[object, object]:
        """Decide one command over the world as it is now."""
        if isinstance(command, JoinMember | NoteLevel | NameMember):
            return Decision(state=command, answer=None)
        if isinstance(command, Redeem):
            return _redeem(world, command, now)
        return _step(world, command, now)

    async def save(self, tx: Tx, world: World, run: Run[Command]) -> None:
        """Write what changed, one statement per table and kind."""
        new = [each for key, each in world.redemptions.items() if key not in world.stored]
        changed = [
            each
            for key, each in world.redemptions.items()
            if key in world.stored and world.stored[key] != each
        ]
        await _save_members(tx, world.joined)
        await member_names.rename(tx, tables.member_identifiers, world.renamed)
        await store.save_levels(tx, world.levels)
        await store.insert_redemptions(tx, new)
        await store.update_redemptions(tx, changed)
        issued = [(world.redemptions[key], voucher) for key, voucher in world.vouchers.items()]
        await store.insert_vouchers(tx, issued, run.now)
        await store.save_shelves(tx, [world.shelves[key] for key in world.changed_shelves])
        await store.change_slots(
            tx,
            [(key, number, owner) for (key, number), owner in world.slots_taken.items()],
            list(world.slots_freed),
        )

    def answer_type(self, command: Command) -> type:
        """Every answer that is stored is a redemption."""
        del command
        return Redemption

    def event_to_feed(self, event: object) -> FeedRecord:
        """The event as the feed keeps it."""
        if not isinstance(event, RedemptionChanged):
            raise TypeError(f"{type(event).__name__} is no event of redemption")
        message = wire.event_to_proto(event)
        return FeedRecord(
            program_id=event.redemption.program_id,
            member_key=event.redemption.member_key,
            type=message.DESCRIPTOR.full_name,
            payload=message.SerializeToString(),
        )


def _step(world: World, command: Step, now: datetime) -> Decision[Attempt, Redemption]:
    """Decide about a redemption that is there."""
    _, catalogue = _catalogue(world, command.program_id)
    redemption = world.redemption(command.program_id, command.redemption_id)
    attempt = world.attempt(redemption)
    match command:
        case Issue():
            decision = domain.issue(attempt, command.hold_id, command.voucher, now)
            if command.voucher is not None and decision.answer != redemption:
                key = (redemption.program_id, redemption.redemption_id)
                world.vouchers[key] = command.voucher
            return decision
        case Complete():
            return domain.complete(attempt, now)
        case Fail():
            return domain.fail(attempt, errors.load(command.refusal), now)
        case Cancel():
            return domain.cancel(attempt, catalogue.cancel_window, now)
        case FinishCancel():
            return domain.finish_cancel(attempt, now)


def _redeem(world: World, command: Redeem, now: datetime) -> Decision[Attempt, Redemption]:
    version, catalogue = _catalogue(world, command.program_id)
    member_key = world.member_keys.get((command.program_id, command.member_id))
    if member_key is None:
        raise errors.MemberNotFound(member_id=command.member_id)
    reward = catalogue.rewards.get(command.reward_id)
    if reward is None:
        raise refusals.RewardNotFound(program_id=command.program_id, reward_id=command.reward_id)
    shelf_key = (command.program_id, command.reward_id)
    attempt = Attempt(
        shelf=world.shelves[shelf_key],
        slots=frozenset(world.slots.get((*shelf_key, member_key), {})),
        level_id=_level(world, command.program_id, member_key, reward, now),
    )
    return domain.redeem(
        attempt,
        reward,
        redemption_id=command.redemption_id,
        member_key=MemberKey(member_key),
        program_version=version,
        now=now,
        from_household=command.from_household,
    )


def _catalogue(world: World, program_id: str) -> tuple[int, Catalogue]:
    found = world.catalogues.get(program_id)
    if found is None:
        raise errors.ProgramNotFound(program_id=program_id)
    return found


def _level(world: World, program_id: str, member_key: str, reward: Reward, now: datetime) -> str:
    """The member's level now in the ladder of the reward's gate, "" when there is none."""
    if reward.tier_gate is None:
        return ""
    timeline = world.timelines.get((program_id, member_key, reward.tier_gate.ladder_id), [])
    return next((level for begins, level in reversed(timeline) if begins <= now), "")


def _slot_keys(
    asked: Iterable[Redeem],
    members: dict[tuple[str, str], str],
    redemptions: Iterable[Redemption],
) -> set[SlotKey]:
    keys: set[SlotKey] = {
        (each.program_id, each.reward_id, members[each.program_id, each.member_id])
        for each in asked
        if (each.program_id, each.member_id) in members
    }
    return keys | {(each.program_id, each.reward_id, each.member_key) for each in redemptions}


async def _save_members(tx: Tx, joined: Sequence[JoinMember]) -> None:
    members = [
        {
            "program_id": each.program_id,
            "member_key": each.member_key,
            "enroll_time": each.enroll_time,
        }
        for each in joined
    ]
    names = [
        {
            "program_id": each.program_id,
            "identifier": identifier,
            "kind": kind,
            "member_key": each.member_key,
            "assign_time": each.enroll_time,
        }
        for each in joined
        for kind, identifier in each.identifiers
    ]
    await store.save_members(tx, members, names)
