"""What a batch is decided over of referrals: a part of the world, there only if it is needed."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from services.earning.domain import ActivityId, MemberKey, ProgramId
from services.earning.pieces import Piece
from services.earning.referral_records import (
    Booking,
    Referral,
    ReferralId,
    ReferralState,
    Referred,
)

_Place = tuple[ProgramId, MemberKey]
_Id = tuple[ProgramId, ReferralId]


@dataclass(slots=True, kw_only=True)
class Referrals:
    """State by key.

    `owners` are the members whom codes belong to, `own` the codes of members. `referrers` are the
    chains above the owners of codes. `rewarded` counts the friends for whom members were rewarded,
    of those who may be rewarded now. `contents` are earlier activities of those who claim. `ended`
    are members that were merged, with whom they went to. `pieces` is what became of rewards' lots.
    """

    owners: dict[tuple[ProgramId, str], MemberKey] = field(default_factory=dict)
    own: dict[_Place, str] = field(default_factory=dict)
    by_id: dict[_Id, Referral] = field(default_factory=dict)
    of_friend: dict[_Place, _Id] = field(default_factory=dict)
    of_activity: dict[tuple[ProgramId, ActivityId], _Id] = field(default_factory=dict)
    bookings: dict[_Id, list[Booking]] = field(default_factory=dict)
    pieces: dict[Piece, set[Piece]] = field(default_factory=dict)
    referrers: dict[ProgramId, dict[MemberKey, MemberKey]] = field(default_factory=dict)
    rewarded: dict[_Place, int] = field(default_factory=dict)
    contents: dict[_Place, list[bytes]] = field(default_factory=dict)
    made: list[_Id] = field(default_factory=list)
    changed: set[_Id] = field(default_factory=set)
    booked: list[Booking] = field(default_factory=list)
    ended: list[tuple[ProgramId, MemberKey, MemberKey]] = field(default_factory=list)

    def take(self, found: Iterable[Referral]) -> None:
        """Referrals as they are stored."""
        for each in found:
            self._note(each)

    def by_friend(self, program_id: ProgramId, friend: MemberKey) -> Referral | None:
        """The referral by which a member came."""
        found = self.of_friend.get((program_id, friend))
        return None if found is None else self.by_id[found]

    def by_activity(self, program_id: ProgramId, activity_id: ActivityId) -> Referral | None:
        """The referral that an activity brought rewards for."""
        found = self.of_activity.get((program_id, activity_id))
        return None if found is None else self.by_id[found]

    def put(self, changed: Referred) -> None:
        """Take what a decision changed."""
        after = changed.referral
        id_ = (after.program_id, after.referral_id)
        before = self.by_id.get(id_)
        if before is None:
            self.made.append(id_)
        else:
            self._count(before, -1)
        self._count(after, 1)
        self._note(after)
        self.changed.add(id_)
        self.bookings.setdefault(id_, []).extend(changed.bookings)
        self.booked += changed.bookings

    def follow(self, program_id: ProgramId, source: MemberKey, target: MemberKey) -> None:
        """A member was merged into another: whom it brought, and by whom it came, goes along.

        What the target came by stands; and nobody comes to have been brought by itself.
        """
        self.ended.append((program_id, source, target))
        for id_, each in list(self.by_id.items()):
            if each.program_id != program_id:
                continue
            if each.referrer_key == source and each.friend_key != target:
                self._change(id_, replace(each, referrer_key=target))
            elif (
                each.friend_key == source
                and each.referrer_key != target
                and (program_id, target) not in self.of_friend
            ):
                del self.of_friend[program_id, source]
                self._change(id_, replace(each, friend_key=target))
        counts = [self.rewarded.pop((program_id, key), None) for key in (source, target)]
        known = [each for each in counts if each is not None]
        if len(known) == len(counts):
            self.rewarded[program_id, target] = sum(known)

    def _change(self, id_: _Id, after: Referral) -> None:
        self._note(after)
        self.changed.add(id_)

    def _note(self, referral: Referral) -> None:
        program_id = referral.program_id
        id_ = (program_id, referral.referral_id)
        self.by_id[id_] = referral
        self.of_friend[program_id, referral.friend_key] = id_
        if referral.activity_id:
            self.of_activity[program_id, referral.activity_id] = id_
        chains = self.referrers.setdefault(program_id, {})
        chains[referral.friend_key] = referral.referrer_key

    def _count(self, referral: Referral, change: int) -> None:
        place = (referral.program_id, referral.referrer_key)
        if referral.state is ReferralState.REWARDED and place in self.rewarded:
            self.rewarded[place] += change
