"""What a batch is decided over: loaded once, kept up to date while its commands are folded.

Everything that decisions change is noted here, for `store.save` to write.
"""

from copy import copy
from dataclasses import dataclass, field, fields
from typing import TypeAlias

from services.earning.commands import KeepLevel
from services.earning.counts import BudgetKey, Counts
from services.earning.decisions import Changes
from services.earning.domain import (
    ActivityId,
    ActivityRecord,
    CurrencyId,
    Entry,
    EntryType,
    Hold,
    HoldId,
    LevelFrom,
    Lot,
    Member,
    MemberId,
    MemberKey,
    ProgramId,
    Reversal,
    ReversalId,
    Wallet,
)
from services.earning.households_world import Households
from services.earning.ledger import Movement
from services.earning.member_records import MemberRecord, newcomer
from services.earning.points_records import Adjustment, AdjustmentId
from services.earning.referrals_world import Referrals
from services.earning.rules import Program
from services.earning.waiting_records import WaitingReversal
from shared import errors

Identifier: TypeAlias = tuple[ProgramId, MemberId]
MemberPlace: TypeAlias = tuple[ProgramId, MemberKey]
WalletKey: TypeAlias = tuple[ProgramId, MemberKey, CurrencyId]
ActivityKey: TypeAlias = tuple[ProgramId, ActivityId]
HoldKey: TypeAlias = tuple[ProgramId, HoldId]
Receipt: TypeAlias = tuple[ProgramId, str, str]
AdjustmentKey: TypeAlias = tuple[ProgramId, AdjustmentId]


@dataclass(slots=True, kw_only=True)
class World:
    """State by key.

    `keys` are the members that identifiers name; those in `claimed` are members only once a command
    enrols them. `lots` has a wallet's open lots, and those of its holds, if a command may use them.
    `receipts` are those that this batch claimed, with the activity that the claim names;
    `receipts_used` are those that are credited.
    `members` are those that commands change; `changed_members` are as they were before, and
    `released` are identifiers that a command took away and none has given since. `merged` are those
    into whom members were merged whom somebody still knows by a key, an activity or a hold.
    `further_activities` are those made or reversed that earned of further currencies. Nothing of a
    preview (`is_preview`) is ever saved. `referrals` and `households` are there
    if a command may need them.
    `ended_lots` are those whose points came to their end, whatever was done with them after that.
    `waiting` are reversals that came before their activity, by number; `may_wait` come now.
    """

    programs: dict[ProgramId, Program] = field(default_factory=dict)
    keys: dict[Identifier, MemberKey] = field(default_factory=dict)
    claimed: dict[Identifier, Member] = field(default_factory=dict)
    wallets: dict[WalletKey, Wallet] = field(default_factory=dict)
    lots: dict[WalletKey, dict[int, Lot]] = field(default_factory=dict)
    timelines: dict[MemberPlace, list[LevelFrom]] = field(default_factory=dict)
    activities: dict[ActivityKey, ActivityRecord] = field(default_factory=dict)
    holds: dict[HoldKey, Hold] = field(default_factory=dict)
    receipts: dict[Receipt, ActivityId] = field(default_factory=dict)
    receipts_used: dict[Receipt, ActivityId] = field(default_factory=dict)

    enrolled: list[Member] = field(default_factory=list)
    new_wallets: set[WalletKey] = field(default_factory=set)
    changed_wallets: set[WalletKey] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    made_lots: set[tuple[WalletKey, int]] = field(default_factory=set)
    changed_lots: set[tuple[WalletKey, int]] = field(default_factory=set)
    dated_lots: set[tuple[WalletKey, int]] = field(default_factory=set)
    ended_lots: dict[WalletKey, set[int]] = field(default_factory=dict)
    made_activities: set[ActivityKey] = field(default_factory=set)
    reversed_activities: dict[ActivityKey, set[int]] = field(default_factory=dict)
    reversals: list[Reversal] = field(default_factory=list)
    further_activities: set[ActivityKey] = field(default_factory=set)
    placed_holds: set[HoldKey] = field(default_factory=set)
    changed_holds: set[HoldKey] = field(default_factory=set)
    levels: list[KeepLevel] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)

    members: dict[MemberPlace, MemberRecord] = field(default_factory=dict)
    changed_members: dict[MemberPlace, MemberRecord] = field(default_factory=dict)
    released: set[Identifier] = field(default_factory=set)
    is_preview: bool = False
    merged: dict[MemberPlace, MemberKey] = field(default_factory=dict)

    adjustments: dict[AdjustmentKey, Adjustment] = field(default_factory=dict)
    made_adjustments: set[AdjustmentKey] = field(default_factory=set)
    changed_adjustments: set[AdjustmentKey] = field(default_factory=set)
    expired: dict[tuple[WalletKey, int], int] = field(default_factory=dict)

    referrals: Referrals | None = None
    households: Households | None = None

    waiting: dict[ActivityKey, dict[int, WaitingReversal]] = field(default_factory=dict)
    may_wait: set[tuple[ProgramId, ReversalId]] = field(default_factory=set)
    made_waiting: set[tuple[ActivityKey, int]] = field(default_factory=set)
    changed_waiting: set[tuple[ActivityKey, int]] = field(default_factory=set)

    def owner(self, program_id: ProgramId, member_key: MemberKey) -> MemberKey:
        """Whoever has what was a member's: itself, or whom it was merged into."""
        return self.merged.get((program_id, member_key), member_key)

    def budgets(self) -> dict[BudgetKey, int]:
        """The points of all budgets of the programs."""
        return {
            (program_id, rule_id): points
            for program_id, program in self.programs.items()
            for rules in (program.rules, *program.others)
            for rule_id, points in rules.budgets.items()
        }

    def put(self, state: Changes) -> None:
        """Take what a decision changed."""
        if state.member is not None:
            self._enroll(state.member)
        for member in state.members:
            self._change(member)
        for movement in state.movements:
            self._move(movement)
        for wallet in state.wallets:
            key = (wallet.program_id, wallet.member_key, wallet.currency_id)
            self.wallets[key] = wallet
            self.changed_wallets.add(key)
        if state.activity is not None:
            self._record(state.activity)
        if state.reversed_activity is not None:
            self._reverse(state.reversed_activity)
        if state.reversal is not None:
            self._return(state.reversal)
        if state.hold is not None:
            self._hold(state.hold)
        if state.level is not None:
            self.levels.append(state.level)
        if state.counted is not None:
            program_id, member_key = state.counted.place
            self.counts.put(state.counted, self.owner(program_id, member_key))
        if (
            state.adjustment is not None
            or state.referred is not None
            or state.housed is not None
            or state.waiting
            or state.then
        ):
            self._put_rare(state)

    def after(self, state: Changes) -> "World":
        """The world as it will be once `state` is put; this one stays as it is."""
        later = copy(self)
        for each in fields(self):
            setattr(later, each.name, _apart(getattr(self, each.name)))
        later.put(state)
        return later

    def _enroll(self, member: Member) -> None:
        del self.claimed[member.program_id, member.member_id]
        self.enrolled.append(member)
        self.members[member.program_id, member.member_key] = newcomer(member)
        program = self.programs[member.program_id]
        self._open((member.program_id, member.member_key, program.currency_id))
        for rules in program.others:
            self._open((member.program_id, member.member_key, rules.currency_id))

    def opened(self, key: WalletKey) -> Wallet:
        """A wallet of a member whose first one is here; one enrolled just now may get it now.

        Raises Interrupted for a wallet that nobody locked: sent again, the call finds it.
        """
        if key not in self.wallets:
            first = (key[0], key[1], self.programs[key[0]].currency_id)
            if first not in self.new_wallets:
                raise errors.Interrupted
            self._open(key)
        return self.wallets[key]

    def _open(self, key: WalletKey) -> None:
        self.new_wallets.add(key)
        self.wallets[key] = Wallet(program_id=key[0], member_key=key[1], currency_id=key[2])

    def _change(self, after: MemberRecord) -> None:
        place = (after.program_id, after.member_key)
        before = self.members[place]
        self.members[place] = after
        self.changed_members.setdefault(place, before)
        if after.merged_into:
            self.merged[place] = after.merged_into
            self.counts.follow(*place, after.merged_into)
            if self.referrals is not None:
                self.referrals.follow(*place, after.merged_into)
        for name in before.names - after.names:
            if self.keys.get((place[0], name)) == place[1]:
                del self.keys[place[0], name]
                self.released.add((place[0], name))
        for name in after.names:
            self.keys[place[0], name] = place[1]
            self.claimed.pop((place[0], name), None)
            self.released.discard((place[0], name))

    def _move(self, movement: Movement) -> None:
        wallet = movement.wallet
        key = (wallet.program_id, wallet.member_key, wallet.currency_id)
        self.wallets[key] = wallet
        self.changed_wallets.add(key)
        self.entries.append(movement.entry)
        lots = self.lots.setdefault(key, {})
        if movement.made is not None:
            lots[movement.made.lot_sequence] = movement.made
            self.made_lots.add((key, movement.made.lot_sequence))
        if movement.entry.type is EntryType.EXPIRE:
            ended = {lot.lot_sequence: lot for lot in movement.changed}
            lots.update(ended)
            self.ended_lots.setdefault(key, set()).update(ended)
            return
        for lot in movement.changed:
            lots[lot.lot_sequence] = lot
            self.changed_lots.add((key, lot.lot_sequence))
            if lot.lot_sequence == movement.entry.lot_sequence:
                self.dated_lots.add((key, lot.lot_sequence))

    def _record(self, made: ActivityRecord) -> None:
        key = (made.program_id, made.activity_id)
        self.activities[key] = made
        self.made_activities.add(key)
        if made.further:
            self.further_activities.add(key)
        if made.external_reference:
            receipt = (made.program_id, made.source, made.external_reference)
            self.receipts_used[receipt] = made.activity_id

    def _reverse(self, changed: ActivityRecord) -> None:
        key = (changed.program_id, changed.activity_id)
        self.activities[key] = changed
        if changed.further:
            self.further_activities.add(key)

    def _return(self, made: Reversal) -> None:
        self.reversals.append(made)
        lines = self.reversed_activities.setdefault((made.program_id, made.activity_id), set())
        lines.update([line.line_number for line in made.lines])

    def _hold(self, changed: Hold) -> None:
        key = (changed.program_id, changed.hold_id)
        (self.changed_holds if key in self.holds else self.placed_holds).add(key)
        self.holds[key] = changed

    def _adjust(self, changed: Adjustment) -> None:
        key = (changed.program_id, changed.adjustment_id)
        if key not in self.adjustments:
            self.made_adjustments.add(key)
        self.changed_adjustments.add(key)
        self.adjustments[key] = changed

    def _put_rare(self, state: Changes) -> None:
        if state.adjustment is not None:
            self._adjust(state.adjustment)
        if state.referred is not None:
            if self.referrals is None:
                raise AssertionError("what is decided about referrals was loaded")
            self.referrals.put(state.referred)
        if state.housed is not None:
            if self.households is None:
                raise AssertionError("what is decided about households was loaded")
            self.households.put(state.housed)
        for kept in state.waiting:
            key = (kept.order.program_id, kept.order.activity_id)
            if kept.number not in self.waiting.setdefault(key, {}):
                self.made_waiting.add((key, kept.number))
            self.changed_waiting.add((key, kept.number))
            self.waiting[key][kept.number] = kept
        for each in state.then:
            for movement in each.movements:  # a wallet may have been opened where it was decided
                wallet = movement.wallet
                self.opened((wallet.program_id, wallet.member_key, wallet.currency_id))
            self.put(each)


def _apart(part: object) -> object:
    """A part of a world that may be changed without the world; what it is made of never changes."""
    if isinstance(part, Counts | Referrals | Households):
        apart = copy(part)
        for each in fields(part):
            setattr(apart, each.name, _apart(getattr(part, each.name)))
        return apart
    if isinstance(part, dict):
        return {
            key: copy(each) if isinstance(each, dict | set | list) else each
            for key, each in part.items()
        }
    return copy(part) if isinstance(part, set | list) else part
