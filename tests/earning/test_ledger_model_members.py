"""Several members against a small model: what is asked for, given to friends, frozen and merged.

The model keeps each member's points as a list of heaps, oldest first, each with the name of what
brought it; it shares no code with the service. After each step every wallet is what the model says,
and at the end of each story a verification finds nothing. Every policy of returns has its turn.
"""

from collections.abc import Coroutine
from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar, TypeVar, cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from guerdon.earning.v1 import member_service_pb2 as members_pb
from guerdon.earning.v1 import points_service_pb2 as points_pb
from guerdon.earning.v1 import referral_service_pb2 as referrals_pb
from services.earning import wire_members, wire_points, wire_referrals
from services.earning.commands import Command
from services.earning.points_records import AdjustmentState
from services.earning.referral_records import ReferralCode
from services.earning.refusals import HoldsOpen, IdentifierTaken, InsufficientPoints, MemberFrozen
from services.earning.refusals_points import AdjustmentClosed
from services.earning.refusals_referrals import (
    AlreadyReferred,
    NotANewcomer,
    ReferralCycle,
    SelfReferral,
)
from shared import errors
from tests.earning.nodes import PROGRAM, order, purchase
from tests.earning.stories import Stories, told

T = TypeVar("T")
FRIEND, REFERRER, APPROVED_ABOVE = 7, 11, 20
ONLY_OWN, WITHIN_BALANCE, DEBT = "ONLY_THIS_ACTIVITY", "WITHIN_BALANCE", "ALLOW_DEBT"
REFERRAL = {
    "friend_points": FRIEND,
    "referrer_points": REFERRER,
    "activity_types": ["purchase"],
    "condition": "activity.lines[0].amount_minor >= 1000",
}


@dataclass
class Heap:
    """Points that came together."""

    name: str
    left: int


@dataclass
class Someone:
    """A member; whoever was merged has nothing, and `is_now` says who has it."""

    name: str
    heaps: list[Heap] = field(default_factory=list)
    debt: int = 0
    held: dict[str, list[tuple[Heap, int]]] = field(default_factory=dict)
    captured: dict[str, list[tuple[Heap, int]]] = field(default_factory=dict)
    spent: int = 0
    frozen: bool = False
    bought: bool = False
    is_now: "Someone | None" = None
    came_by: "Someone | None" = None

    @property
    def available(self) -> int:
        return sum(heap.left for heap in self.heaps)

    @property
    def now(self) -> "Someone":
        return self.is_now.now if self.is_now else self

    def get(self, points: int, name: str = "") -> None:
        self.heaps.append(Heap(name, points))
        self.repay()

    def repay(self) -> None:
        self.debt -= sum(points for _, points in self.take(min(self.debt, self.available)))

    def take(self, points: int, first: str = "", *, only: bool = False) -> list[tuple[Heap, int]]:
        """Take points of heaps of a name first, then of others unless `only`; what was there."""
        own = [heap for heap in self.heaps if first and heap.name == first]
        rest = [] if only else [heap for heap in self.heaps if heap not in own]
        taken = []
        for heap in [*own, *rest]:
            part = min(points, heap.left)
            heap.left -= part
            points -= part
            taken.append((heap, part))
        return taken

    def give_back(self, points: int, name: str, policy: str) -> None:
        taken = sum(part for _, part in self.take(points, name, only=policy == ONLY_OWN))
        if policy == DEBT:
            self.debt += points - taken


@dataclass
class Bought:
    """An activity that may be returned, and whom its referral rewarded."""

    points: int
    member: Someone
    rewarded: list[tuple[Someone, int]]


class Members(Stories):
    """Runs a story against the service and the model."""

    policy: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.bought: dict[str, Bought] = {}
        self.asked: dict[str, tuple[Someone, int]] = {}
        self.referrers: dict[str, Someone] = {}
        self.people = [Someone(self.name(each)) for each in ("ann", "bob", "cara", "dan")]
        for each in self.people:
            self.run(self.node.enroll(each.name))

    def does(
        self, work: Coroutine[object, object, T], refused: type[errors.Refusal] | None
    ) -> T | None:
        """What a call answers; None if it was refused, which it must be if the model says so."""
        if refused is None:
            return self.run(work)
        with pytest.raises(refused):
            self.run(work)
        return None

    def call(self, command: Command) -> Coroutine[object, object, object]:
        return self.node.answer(command)

    def name(self, what: str) -> str:
        self.steps += 1
        return f"s{self.stories}-{what}-{self.steps}"

    def someone(self, data: st.DataObject) -> Someone:
        """A member that has not ended."""
        return data.draw(st.sampled_from([each for each in self.people if each.is_now is None]))

    @rule(data=st.data(), points=st.integers(1, 30))
    def buy(self, data: st.DataObject, points: int) -> None:
        who, name = self.someone(data), self.name("a")
        work = self.node.record(purchase(name, who.name, [(1, points * 100)]))
        if self.does(work, MemberFrozen if who.frozen else None) is None:
            return
        who.get(points, name)
        self.bought[name] = Bought(points, who, [])
        qualifies = points >= 10
        by, who.came_by = who.came_by, None if qualifies else who.came_by
        who.bought = who.bought or qualifies
        if qualifies and by is not None and by.now is not who:
            for side, gets in ((who, FRIEND), (by.now, REFERRER)):
                side.get(gets, f"referral of {name}")
                self.bought[name].rewarded.append((side, gets))

    @precondition(lambda self: self.bought)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.bought)))
        bought = self.bought.pop(name)
        self.run(self.node.reverse(order(self.name("v"), name)))
        bought.member.now.give_back(bought.points, name, self.policy)
        for side, points in bought.rewarded:
            side.now.give_back(points, f"referral of {name}", self.policy)

    @rule(data=st.data(), points=st.integers(1, 30))
    def credit(self, data: st.DataObject, points: int) -> None:
        who = self.someone(data)
        work = self.node.credit(points, who.name)
        if self.does(work, MemberFrozen if who.frozen else None) is not None:
            who.get(points)

    @rule(data=st.data(), points=st.integers(-40, 40).filter(bool))
    def adjust(self, data: st.DataObject, points: int) -> None:
        who = self.someone(data)
        waits = abs(points) > APPROVED_ABOVE
        short = -points > who.available
        made = self.does(self.node.adjust(points, who.name), InsufficientPoints if short else None)
        if made is not None and waits:
            assert made.state is AdjustmentState.AWAITING_APPROVAL
            self.asked[made.adjustment_id] = who, points
        elif made is not None:
            self.moved(who, points)

    def moved(self, who: Someone, points: int) -> None:
        if points > 0:
            who.get(points)
        else:
            who.take(-points)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), approves=st.booleans())
    def decide(self, data: st.DataObject, *, approves: bool) -> None:
        adjustment_id = data.draw(st.sampled_from(sorted(self.asked)))
        who, points = self.asked[adjustment_id]
        kind = points_pb.ApproveAdjustmentRequest if approves else points_pb.RejectAdjustmentRequest
        short = approves and -points > who.now.available

        def asks() -> Coroutine[object, object, object]:
            request = kind(
                request_id=self.name("d"),
                program_id=PROGRAM,
                adjustment_id=adjustment_id,
                actor="dan",
            )
            return self.call(wire_points.decide_from_proto(request))

        if self.does(asks(), InsufficientPoints if short else None) is None:
            return
        del self.asked[adjustment_id]
        if approves:
            self.moved(who.now, points)
        self.does(asks(), AdjustmentClosed)

    @precondition(lambda self: self.policy != ONLY_OWN)
    @rule(data=st.data(), points=st.integers(1, 40))
    def give(self, data: st.DataObject, points: int) -> None:
        """Points that were given away are no activity's own: not told where that would count."""
        who, to = self.someone(data), self.someone(data)
        if who is to:
            return
        refused = MemberFrozen if who.frozen or to.frozen else None
        short = InsufficientPoints if points > who.available else None
        if self.does(self.node.transfer(points, who.name, to.name), refused or short) is not None:
            who.take(points)
            to.get(points)

    @rule(data=st.data(), points=st.integers(1, 40))
    def hold(self, data: st.DataObject, points: int) -> None:
        who = self.someone(data)
        refused = MemberFrozen if who.frozen else None
        short = InsufficientPoints if points > who.available else None
        hold = self.does(self.node.hold(points, who.name), refused or short)
        if hold is not None:
            who.held[hold.hold_id] = who.take(points)

    @precondition(lambda self: any(each.held for each in self.people))
    @rule(data=st.data(), captures=st.booleans())
    def end_hold(self, data: st.DataObject, *, captures: bool) -> None:
        """A frozen member's holds end as any other's."""
        who = data.draw(st.sampled_from([each for each in self.people if each.held]))
        hold_id = data.draw(st.sampled_from(sorted(who.held)))
        self.run(self.node.capture(hold_id) if captures else self.node.void(hold_id))
        taken = who.held.pop(hold_id)
        if captures:
            who.spent += sum(points for _, points in taken)
            who.captured[hold_id] = taken
            return
        for heap, points in taken:
            heap.left += points
        who.repay()

    @precondition(lambda self: any(each.captured for each in self.people))
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        """What a member spent that was merged since comes back to whoever goes on."""
        who = data.draw(st.sampled_from([each for each in self.people if each.captured]))
        hold_id = data.draw(st.sampled_from(sorted(who.captured)))
        self.run(self.node.refund(hold_id))
        for heap, points in who.captured.pop(hold_id):
            who.spent -= points
            if who.is_now is None:
                heap.left += points
            else:
                who.now.heaps.append(Heap(heap.name, points))
        who.now.repay()

    @rule(data=st.data())
    def freeze_or_unfreeze(self, data: st.DataObject) -> None:
        who = self.someone(data)
        kind = members_pb.UnfreezeMemberRequest if who.frozen else members_pb.FreezeMemberRequest
        request = kind(request_id=self.name("f"), program_id=PROGRAM, member_id=who.name)
        self.run(self.call(wire_members.command_from_proto(request)))
        who.frozen = not who.frozen

    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        source, target = self.someone(data), self.someone(data)
        if source is target:
            return
        request = members_pb.MergeMembersRequest(
            request_id=self.name("m"),
            program_id=PROGRAM,
            source_member_id=source.name,
            target_member_id=target.name,
        )
        frozen = MemberFrozen if source.frozen or target.frozen else None
        held = HoldsOpen if source.held else None
        work = self.call(wire_members.command_from_proto(request))
        if self.does(work, frozen or held) is not None:
            self.end(source, target)

    def end(self, source: Someone, target: Someone) -> None:
        target.heaps += [Heap(heap.name, heap.left) for heap in source.heaps]
        target.debt += source.debt
        target.repay()
        source.heaps, source.debt, source.is_now = [], 0, target
        target.bought = target.bought or source.bought
        by = self.referrers.get(source.name)
        if by is not None and by.now is not target and target.name not in self.referrers:
            self.referrers[target.name], target.came_by = by, source.came_by

    @rule(data=st.data(), points=st.integers(1, 30), is_known=st.booleans())
    def claim_card(self, data: st.DataObject, points: int, *, is_known: bool) -> None:
        """A card earned without anybody's name; one that is somebody's is refused."""
        who, card = self.someone(data), Someone(self.name("card"))
        if is_known:
            self.run(self.node.enroll(card.name))
        else:
            name = self.name("a")
            self.run(self.node.record(purchase(name, card.name, [(1, points * 100)])))
            card.get(points, name)
            self.bought[name] = Bought(points, card, [])
            card.bought = points >= 10
        request = members_pb.ClaimCardRequest(
            request_id=self.name("k"), program_id=PROGRAM, member_id=who.name, card_id=card.name
        )
        taken = IdentifierTaken if is_known else MemberFrozen if who.frozen else None
        work = self.call(wire_members.command_from_proto(request))
        if self.does(work, taken) is not None:
            self.end(card, who)

    @precondition(lambda self: not any(each.is_now for each in self.people))
    @rule(data=st.data())
    def claim_referral(self, data: st.DataObject) -> None:
        """Before anybody was merged: whose friend a merged member is has tests of its own."""
        friend, by = self.someone(data), self.someone(data)
        if by.frozen or friend.frozen:
            return
        request = referrals_pb.GetReferralCodeRequest(program_id=PROGRAM, member_id=by.name)
        chance = sha256(self.name("chance").encode()).digest()
        made = self.run(self.call(wire_referrals.code_from_proto(request, chance)))
        code = cast("ReferralCode", made).code
        claim = referrals_pb.ClaimReferralRequest(
            request_id=self.name("r"), program_id=PROGRAM, member_id=friend.name, code=code
        )
        work = self.call(wire_referrals.claim_from_proto(claim, self.node.ids.new()))
        if self.does(work, self.not_referred(friend, by)) is not None:
            self.referrers[friend.name] = by
            friend.came_by = by

    def not_referred(self, friend: Someone, by: Someone) -> type[errors.Refusal] | None:
        if friend.name in self.referrers:
            return AlreadyReferred
        if friend is by:
            return SelfReferral
        above = [by]
        while above[-1].name in self.referrers:
            above.append(self.referrers[above[-1].name])
        if friend in above:
            return ReferralCycle
        return NotANewcomer if friend.bought else None

    @invariant()
    def wallets_are_what_the_model_says(self) -> None:
        for who in self.people:
            if who.is_now is None:
                wallet = self.run(self.node.wallet(who.name))
                assert (wallet.available, wallet.debt) == (who.available, who.debt)
                held = sum(points for taken in who.held.values() for _, points in taken)
                assert (wallet.held, wallet.spent) == (held, who.spent)


async def told_of_members(url: str, policy: str, examples: int) -> int:
    Members.policy = policy
    return await told(
        Members,
        url,
        examples=examples,
        referral=REFERRAL,
        adjustment_approval_above_points=APPROVED_ABOVE,
        reversal_policy=f"REVERSAL_POLICY_{policy}",
    )


@pytest.mark.parametrize("policy", [ONLY_OWN, WITHIN_BALANCE, DEBT])
async def test_every_story_of_members_on_sqlite_ends_as_the_model_says(
    sqlite_url: str, policy: str
) -> None:
    assert await told_of_members(sqlite_url, policy, 20) >= 20


async def test_every_story_of_members_on_postgresql_ends_as_the_model_says(
    postgres_url: str,
) -> None:
    assert await told_of_members(postgres_url, DEBT, 8) >= 8
