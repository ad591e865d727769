"""Why an entry was booked: found by its member or activity, with all that is stored of it."""

from services.earning import (
    decisions,
    store_members,
    store_points,
    store_reads,
    store_referrals,
    store_stories,
)
from services.earning.audit_referrals import is_of_referral
from services.earning.documents import EarningPrograms
from services.earning.domain import (
    ActivityId,
    CurrencyId,
    Entry,
    EntryType,
    MemberId,
    MemberKey,
    ProgramId,
)
from services.earning.notes import read
from services.earning.points_records import AdjustmentId
from services.earning.referral_records import Referral, ReferralId, Side, lot_of
from services.earning.refusals import ActivityNotFound
from services.earning.refusals_points import EntryNotFound
from services.earning.stories import Origin, Story
from services.earning.world import WalletKey
from shared import errors
from shared.database import Database, Tx

_OF_HOLDS = {EntryType.HOLD, EntryType.CAPTURE, EntryType.VOID, EntryType.REFUND}


class Stories:
    """Tells why entries were booked; each is one transaction."""

    def __init__(self, database: Database, programs: EarningPrograms) -> None:
        self._database = database
        self._programs = programs

    async def of_member(
        self, program_id: ProgramId, member_id: MemberId, currency_id: CurrencyId, sequence: int
    ) -> Story:
        """The story of an entry of a member's wallet.

        Refuses ProgramNotFound, MemberNotFound, CurrencyNotFound, EntryNotFound.
        """
        async with self._database.reading() as tx:
            program = (await self._programs.require(tx, program_id)).program
            key = await store_reads.find_member(tx, program_id, member_id)
            if key is None:
                raise errors.MemberNotFound(member_id=member_id)
            currency = decisions.currency_of(program, currency_id)
            return await _story(tx, (program_id, key, currency), sequence)

    async def of_activity(
        self, program_id: ProgramId, activity_id: ActivityId, currency_id: CurrencyId
    ) -> Story:
        """The story of the entry that booked an activity's points.

        Refuses ProgramNotFound, ActivityNotFound, CurrencyNotFound, EntryNotFound.
        """
        async with self._database.reading() as tx:
            program = (await self._programs.require(tx, program_id)).program
            key = await store_stories.owner_of_activity(tx, program_id, activity_id)
            if key is None:
                raise ActivityNotFound(activity_id=activity_id)
            wallet = (program_id, key, decisions.currency_of(program, currency_id))
            sequence = await store_stories.sequence_of_activity(tx, wallet, activity_id)
            return await _story(tx, wallet, sequence)


async def _story(tx: Tx, wallet: WalletKey, sequence: int) -> Story:
    entry = await store_stories.entry(tx, wallet, sequence)
    if entry is None:
        raise EntryNotFound(sequence=sequence)
    hold = adjustment = None
    names: dict[MemberKey, MemberId] = {}
    if entry.type in _OF_HOLDS:
        hold = await store_stories.hold(tx, wallet[0], entry.reference)
        if hold is not None and hold.shares:
            keys = [each.member_key for each in hold.shares]
            names = await store_members.names(tx, wallet[0], keys)
    if entry.type is EntryType.ADJUST:
        key = (wallet[0], AdjustmentId(entry.reference))
        adjustment = (await store_points.load_adjustments(tx, [key])).get(key)
    referral = side = None
    name = MemberId("")
    other = read(entry.explanation).other_member_key
    if is_of_referral(entry):
        referral, side = await _referral(tx, wallet, entry)
        if referral is not None:
            is_friend = side is Side.FRIEND
            other = referral.referrer_key if is_friend else referral.friend_key
            name = await store_reads.name_member(tx, wallet[0], wallet[1])
    return Story(
        entry=entry,
        lots=await _lots(tx, wallet, entry),
        hold=hold,
        adjustment=adjustment,
        referral=referral,
        side=side,
        member_id=name,
        other_member_id=await _other(tx, wallet, other),
        names=names,
    )


async def _referral(tx: Tx, wallet: WalletKey, entry: Entry) -> tuple[Referral | None, Side | None]:
    """The referral that made an entry, and for which side; None for one that no referral knows."""
    found = await store_referrals.by_ids(tx, [(wallet[0], ReferralId(entry.reference))])
    for each in await store_referrals.bookings(tx, found):
        if lot_of(each) == (*wallet, entry.sequence):
            return found[0], each.side
    return None, None


async def _lots(tx: Tx, wallet: WalletKey, entry: Entry) -> tuple[Origin, ...]:
    used = {each.lot_sequence: each.points for each in entry.lot_uses}
    if entry.lot_sequence == entry.sequence:
        used[entry.sequence] = used.get(entry.sequence, 0) - entry.program_delta
    elif entry.lot_sequence:
        used.setdefault(entry.lot_sequence, 0)
    return tuple(
        Origin(
            lot_sequence=lot.lot_sequence,
            points=used[lot.lot_sequence],
            made_by=made.type,
            made_time=made.create_time,
            activity_id=lot.activity_id,
            expire_time=lot.expire_time,
        )
        for made, lot in await store_stories.lots(tx, wallet, list(used))
    )


async def _other(tx: Tx, wallet: WalletKey, member_key: MemberKey) -> MemberId:
    """A name of whoever has what was another member's.

    Empty when nothing names it, and for one who was merged into the wallet's member.
    """
    place = (wallet[0], member_key)
    owner = (await store_members.merged_into(tx, [place])).get(place, member_key)
    if not member_key or owner == wallet[1]:
        return MemberId("")
    return await store_reads.name_member(tx, wallet[0], owner)
